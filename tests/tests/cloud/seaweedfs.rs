//! Acceptance with a real object store: SeaweedFS.

use std::fs;
use std::time::Instant;

use peerwren_tests::command::succeed;
use peerwren_tests::conformance::{self, key};
use peerwren_tests::seaweedfs::SeaweedFs;
use peerwren_transports::block::Block;
use peerwren_transports::store::{BlockStore, Objects};

use crate::stores::block_on;

#[test]
fn seaweedfs_conforms_and_serves_a_run() {
    let Some(server) = SeaweedFs::start() else {
        return;
    };
    let mut settings = server.settings();
    settings.limits.part_bytes = 5 << 20;
    settings.limits.multipart_from = 6 << 20;
    block_on(async {
        let opened = Objects::open_with(&server.place("suite"), &settings).await;
        let objects = opened.unwrap();
        conformance::check(&objects).await;
        // In parts and in ranges.
        let store = BlockStore::on(objects.clone());
        let (key, block) = (key(1, 1, &[1]), Block::from_bytes(&vec![7; (16 << 20) + 8]));
        store.put(&key, &block).await.unwrap();
        let got = store.get(&key, block.len()).await.unwrap().unwrap();
        assert_eq!(got.digest(), block.digest());
        store.delete_run(1).await.unwrap();
        assert_eq!(objects.list("").await.unwrap(), []);
    });
    let folder = std::env::temp_dir().join(format!("peerwren-weed-run-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let qr = |store: &str| {
        let line = format!(
            "qr random:128x96:3 --block 16 --ib 4 --tree grid:2x1 --workers 2 --exchange store \
             --store {store} --r r.npy --check --quiet"
        );
        succeed(&folder, &line, &server.variables());
        fs::read(folder.join("r.npy")).unwrap()
    };
    assert_eq!(qr("s3://bucket/run"), qr("blocks"));
    let left = succeed(&folder, "store ls s3://bucket/run", &server.variables());
    assert_eq!(left, "no run has anything in s3://bucket/run\n");
    fs::remove_dir_all(&folder).unwrap();
}

/// Not a test: `cargo test --release .. --ignored --nocapture speed` prints what was measured.
#[test]
#[ignore = "measures; nothing can fail"]
fn speed_of_blocks_to_and_from_seaweedfs() {
    let Some(server) = SeaweedFs::start() else {
        return;
    };
    block_on(async {
        let place = server.place("speed");
        let opened = Objects::open_with(&place, &server.settings()).await;
        let store = BlockStore::on(opened.unwrap());
        for (len, count) in [(8 << 20, 32), (128 << 20, 4)] {
            let block = Block::from_bytes(&vec![3; len]);
            let keys: Vec<_> = (0..count)
                .map(|index| key(1, 1, &[len as i64, index]))
                .collect();
            let mib = (len >> 20) as f64 * count as f64;
            for at_once in [1, 4] {
                let began = Instant::now();
                for some in keys.chunks(at_once) {
                    let puts = some.iter().map(|key| store.put(key, &block));
                    futures_util::future::try_join_all(puts).await.unwrap();
                }
                let put = mib / began.elapsed().as_secs_f64();
                let began = Instant::now();
                for some in keys.chunks(at_once) {
                    let gets = some.iter().map(|key| store.get(key, len));
                    futures_util::future::try_join_all(gets).await.unwrap();
                }
                let got = mib / began.elapsed().as_secs_f64();
                let line = format!(
                    "{} MiB, {at_once} at once: put {put:.0} MiB/s, get {got:.0} MiB/s\n",
                    len >> 20
                );
                std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
            }
        }
    });
}
