//! One suite for every store: what a backend must do, and what the file store does besides.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use peerwren_transports::block::{Block, BlockKey, Indices};
use peerwren_transports::store::{BlockStore, FileStore, MemoryStore, StoreError};

/// A folder of the test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("peerwren-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key(run: u64, matrix: u16, indices: &[i64]) -> BlockKey {
    BlockKey::new(run, matrix, Indices::new(indices).unwrap())
}

/// Calls `check` with each backend, empty, on a runtime like a worker's.
fn every_backend(name: &str, check: impl AsyncFn(BlockStore)) {
    let folder = Folder::new(name);
    let file = FileStore::open(folder.0.join("a/b")).unwrap();
    let memory = MemoryStore::new(1 << 30);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for store in [BlockStore::Memory(memory), BlockStore::File(file)] {
        runtime.block_on(check(store));
    }
}

#[test]
fn what_is_put_is_got() {
    every_backend("put", async |store| {
        for (number, len) in [0, 1, 8, 4096, (1 << 20) + 5].into_iter().enumerate() {
            let key = key(u64::MAX, 65535, &[number as i64, -1]);
            let block = Block::from_bytes(&vec![number as u8; len]);
            assert_eq!(store.get(&key, len).await.unwrap(), None);
            store.put(&key, &block).await.unwrap();
            store.put(&key, &block).await.unwrap();
            let got = store.get(&key, len).await.unwrap().unwrap();
            assert_eq!(got, block);
            assert_eq!(got.digest(), block.digest());
        }
    });
}

#[test]
fn a_block_of_another_length_is_an_error() {
    every_backend("length", async |store| {
        let key = key(1, 2, &[3]);
        store
            .put(&key, &Block::from_bytes(&[7; 100]))
            .await
            .unwrap();
        match store.get(&key, 101).await {
            Err(StoreError::Length {
                expected: 101,
                got: 100,
                ..
            }) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn runs_are_listed_and_deleted_apart() {
    every_backend("runs", async |store| {
        let mut keys = Vec::new();
        for number in 0..40 {
            let key = key(1, number % 3, &[i64::from(number), 0, -7]);
            store.put(&key, &Block::from_bytes(b"one")).await.unwrap();
            keys.push(key);
        }
        let other = key(2, 0, &[]);
        store.put(&other, &Block::from_bytes(b"two")).await.unwrap();
        keys.sort_unstable();
        assert_eq!(store.list(1).await.unwrap(), keys);
        assert_eq!(store.list(3).await.unwrap(), []);
        store.delete_run(1).await.unwrap();
        store.delete_run(1).await.unwrap();
        assert_eq!(store.list(1).await.unwrap(), []);
        assert_eq!(store.get(&keys[0], 3).await.unwrap(), None);
        assert_eq!(store.list(2).await.unwrap(), [other]);
    });
}

#[test]
fn many_tasks_read_whole_blocks_while_they_are_written_again() {
    const LEN: usize = 300_000;
    every_backend("whole", async |store| {
        let key = key(1, 1, &[1, 1]);
        let block = Block::from_bytes(&[9; LEN]);
        let tasks: Vec<_> = (0..40)
            .map(|number| {
                let (store, block) = (store.clone(), block.clone());
                tokio::spawn(async move {
                    if number % 2 == 0 {
                        store.put(&key, &block).await.unwrap();
                    } else if let Some(got) = store.get(&key, LEN).await.unwrap() {
                        assert_eq!(got, block);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(store.list(1).await.unwrap(), [key]);
    });
}

#[test]
fn a_full_memory_store_says_so_and_keeps_what_it_has() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = BlockStore::Memory(MemoryStore::new(100));
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
        let error = FileStore::open(&wrong).unwrap_err();
        assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
        assert!(
            error.to_string().contains(&wrong.display().to_string()),
            "{error}"
        );
    }
    FileStore::open(&folder.0).unwrap();
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
    let store = BlockStore::File(FileStore::open(&root).unwrap());
    FileStore::join(&root).unwrap();
    fs::remove_dir_all(&root).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let put = runtime.block_on(store.put(&key(1, 1, &[1]), &Block::from_bytes(&[1; 8])));
    assert!(put.is_err(), "a block was put into a store that is gone");
    let joined = FileStore::join(&root).unwrap_err();
    assert!(matches!(joined, StoreError::Unusable { .. }), "{joined:?}");
    assert!(!root.exists());
}

#[test]
fn what_a_killed_writer_left_is_no_block_and_goes_with_the_run() {
    let folder = Folder::new("left");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = BlockStore::File(FileStore::open(&folder.0).unwrap());
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let outcome = std::panic::catch_unwind(|| {
        runtime.block_on(async {
            let store = BlockStore::File(FileStore::open(&folder.0).unwrap());
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
