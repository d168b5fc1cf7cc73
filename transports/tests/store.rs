//! What stores in a folder and in memory do beside what every store must do (tests/src/conformance.rs).

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use peerwren_transports::block::{Block, BlockKey, Indices};
use peerwren_transports::store::{BlockStore, Objects, Place, StoreError};

/// A folder of the test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("peerwren-{name}-"))
            .tempdir();
        Self(folder.unwrap().keep())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn key(run: u64, matrix: u16, indices: &[i64]) -> BlockKey {
    BlockKey::new(run, matrix, Indices::new(indices).unwrap())
}

#[test]
fn a_full_memory_store_says_so_and_keeps_what_it_has() {
    block_on(async {
        let store = BlockStore::memory(100);
        let block = Block::from_bytes(&[1; 60]);
        store.put(&key(1, 1, &[1]), &block).await.unwrap();
        store.put(&key(1, 1, &[1]), &block).await.unwrap();
        let full = store.put(&key(1, 1, &[2]), &block).await;
        assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
        assert_eq!(store.list(1).await.unwrap().len(), 1);
        store.delete_run(1).await.unwrap();
        store.put(&key(1, 1, &[2]), &block).await.unwrap();
    });
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_by_name() {
    let folder = Folder::new("unusable");
    let file = folder.0.join("file");
    fs::write(&file, b"not a folder").unwrap();
    for wrong in [
        file.clone(),
        file.join("below"),
        PathBuf::from("/proc/peerwren"),
    ] {
        let error = block_on(Objects::open(&Place::Folder(wrong.clone()))).unwrap_err();
        assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
        assert!(
            error.to_string().contains(&wrong.display().to_string()),
            "{error}"
        );
    }
    block_on(Objects::open(&Place::Folder(folder.0.clone()))).unwrap();
    let left: Vec<_> = fs::read_dir(&folder.0)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["file"], "the probe leaves nothing");
}

#[test]
fn a_store_that_was_removed_stays_removed() {
    let folder = Folder::new("removed");
    let root = folder.0.join("store");
    let place = Place::Folder(root.clone());
    let store = block_on(BlockStore::open(&place)).unwrap();
    block_on(BlockStore::join(&place)).unwrap();
    fs::remove_dir_all(&root).unwrap();
    let put = block_on(store.put(&key(1, 1, &[1]), &Block::from_bytes(&[1; 8])));
    assert!(put.is_err(), "a block was put into a store that is gone");
    let joined = block_on(BlockStore::join(&place)).unwrap_err();
    assert!(matches!(joined, StoreError::Unusable { .. }), "{joined:?}");
    assert!(!root.exists());
}

#[test]
fn what_a_killed_writer_left_is_no_block_and_goes_with_the_run() {
    let folder = Folder::new("left");
    block_on(async {
        let store = BlockStore::open(&Place::Folder(folder.0.clone()))
            .await
            .unwrap();
        let key = key(1, 1, &[1]);
        store.put(&key, &Block::from_bytes(b"whole")).await.unwrap();
        let run = folder.0.join(format!("{:016x}", 1));
        let hash = fs::read_dir(&run).unwrap().next().unwrap().unwrap().path();
        fs::write(hash.join(".new-1-2-3"), b"ha").unwrap();
        fs::write(hash.join("1.x"), b"foreign").unwrap();
        fs::write(run.join("foreign"), b"foreign").unwrap();
        assert_eq!(store.list(1).await.unwrap(), [key]);
        store.delete_run(1).await.unwrap();
        assert!(!run.exists());
    });
}

#[test]
fn a_full_disk_is_told_from_other_errors() {
    let folder = Folder::new("full");
    let mount = |arguments: &[&str]| {
        let mounted = Command::new("mount")
            .args(arguments)
            .arg(&folder.0)
            .output();
        mounted.is_ok_and(|output| output.status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=1m", "peerwren-test"]) {
        // Only root may mount a file system small enough to fill.
        let skipped = b"SKIPPED: a full disk cannot be made here (mount needs root)\n";
        std::io::stderr().write_all(skipped).unwrap();
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        block_on(async {
            let store = BlockStore::open(&Place::Folder(folder.0.clone()))
                .await
                .unwrap();
            let small = Block::from_bytes(&[1; 300_000]);
            store.put(&key(1, 1, &[0]), &small).await.unwrap();
            let big = Block::from_bytes(&[1; 900_000]);
            let error = store.put(&key(1, 1, &[1]), &big).await.unwrap_err();
            assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
            assert!(
                error.to_string().contains(&folder.0.display().to_string()),
                "{error}"
            );
            assert_eq!(store.list(1).await.unwrap(), [key(1, 1, &[0])]);
            // What was written in part is gone: there is room again.
            store
                .put(&key(1, 1, &[2]), &Block::from_bytes(&[1; 500_000]))
                .await
                .unwrap();
        });
    });
    assert!(
        Command::new("umount")
            .arg(&folder.0)
            .status()
            .unwrap()
            .success()
    );
    outcome.unwrap();
}
