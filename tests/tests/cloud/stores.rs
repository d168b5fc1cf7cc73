//! The conformance suite on each store.

use std::fs;

use peerwren_tests::conformance;
use peerwren_tests::s3_server::S3Server;
use peerwren_transports::store::{Objects, Place};

/// A runtime like a worker's: one thread for all but files.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

#[test]
fn memory_conforms() {
    block_on(conformance::check(&Objects::memory()));
}

#[test]
fn a_folder_conforms() {
    let folder = std::env::temp_dir().join(format!("peerwren-conform-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    block_on(async {
        let place = Place::Folder(folder.join("a/b"));
        conformance::check(&Objects::open(&place).await.unwrap()).await;
        // What is opened again has what was written before.
        let written = Objects::open(&place).await.unwrap();
        written.put("x", b"there".to_vec()).await.unwrap();
        let read = Objects::join(&place).await.unwrap();
        assert_eq!(read.get("x", 5).await.unwrap(), Some(b"there".to_vec()));
    });
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_bucket_conforms() {
    let server = S3Server::start();
    block_on(async {
        for prefix in ["", "runs/of mine"] {
            let place = server.place(prefix);
            let objects = Objects::open_with(&place, &server.settings())
                .await
                .unwrap();
            conformance::check(&objects).await;
        }
    });
    assert_eq!(
        server.keys(),
        [""; 0],
        "the probes and the suite leave nothing"
    );
}
