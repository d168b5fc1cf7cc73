//! One suite for every store: what a backend must do, and what the file store does besides.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use peerwren_transports::block::{Block, BlockKey, Indices};
use peerwren_transports::store::{BlockStore, Created, Objects, Place, StoreError};

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

/// Calls `check` with each backend, empty, on a runtime like a worker's.
fn every_backend(name: &str, check: impl AsyncFn(BlockStore)) {
    let folder = Folder::new(name);
    let place = Place::Folder(folder.0.join("a/b"));
    block_on(async {
        check(BlockStore::memory(1 << 30)).await;
        check(BlockStore::open(&place).await.unwrap()).await;
    });
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

/// Calls `check` with the objects of each backend, empty.
fn every_place(name: &str, check: impl AsyncFn(Objects)) {
    every_backend(name, async |store| check(store.objects(7)).await);
}

#[test]
fn objects_are_put_got_replaced_and_deleted() {
    every_place("objects", async |objects| {
        assert_eq!(objects.get("a/b", 10).await.unwrap(), None);
        objects.put("a/b", b"one".to_vec()).await.unwrap();
        objects.put("a/b", b"three".to_vec()).await.unwrap();
        let got = objects.get("a/b", 5).await.unwrap();
        assert_eq!(got, Some(b"three".to_vec()));
        // What other names start with is no object.
        assert_eq!(objects.get("a", 5).await.unwrap(), None);
        assert_eq!(objects.get("a/b/c", 5).await.unwrap(), None);
        let below = objects.at("a");
        assert_eq!(below.get("b", 5).await.unwrap(), got);
        match objects.get("a/b", 4).await {
            Err(StoreError::TooLong {
                bytes_max: 4,
                got: 5,
                ..
            }) => {}
            other => panic!("{other:?}"),
        }
        objects.delete("a/b").await.unwrap();
        objects.delete("a/b").await.unwrap();
        objects.delete("a").await.unwrap();
        assert_eq!(objects.get("a/b", 5).await.unwrap(), None);
    });
}

#[test]
fn an_object_is_created_once() {
    every_place("create", async |objects| {
        let create = async |bytes: &[u8]| objects.create("a/1", bytes.to_vec()).await.unwrap();
        assert_eq!(create(b"one").await, Created::New);
        assert_eq!(create(b"one").await, Created::Same);
        assert_eq!(create(b"two").await, Created::Clash);
        assert_eq!(create(b"three").await, Created::Clash);
        assert_eq!(create(b"").await, Created::Clash);
        let got = objects.get("a/1", 10).await.unwrap();
        assert_eq!(got, Some(b"one".to_vec()));
        objects.delete("a/1").await.unwrap();
        assert_eq!(create(b"two").await, Created::New);
        assert_eq!(objects.list("").await.unwrap(), [("a/1".to_owned(), 3)]);
    });
}

#[test]
fn of_many_creators_one_succeeds() {
    every_place("creators", async |objects| {
        let creators: Vec<_> = (0..20u8)
            .map(|number| {
                let objects = objects.clone();
                tokio::spawn(async move { objects.create("x", vec![number]).await.unwrap() })
            })
            .collect();
        let mut new = 0;
        for creator in creators {
            match creator.await.unwrap() {
                Created::New => new += 1,
                Created::Clash => {}
                Created::Same => panic!("no two create the same bytes"),
            }
        }
        assert_eq!(new, 1);
    });
}

#[test]
fn objects_are_listed_and_deleted_by_the_start_of_their_names() {
    every_place("prefix", async |objects| {
        let names = ["a", "a.b/1", "aa/1", "aa/2/3", "b/1"];
        for name in names {
            objects.put(name, name.as_bytes().to_vec()).await.unwrap();
        }
        let list = async |prefix: &str| {
            let listed = objects.list(prefix).await.unwrap();
            assert!(listed.iter().all(|(name, len)| *len == name.len() as u64));
            listed.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(list("").await, names);
        assert_eq!(list("a").await, ["a", "a.b/1", "aa/1", "aa/2/3"]);
        assert_eq!(list("aa/").await, ["aa/1", "aa/2/3"]);
        assert_eq!(list("aa/2").await, ["aa/2/3"]);
        assert_eq!(list("a/").await, [""; 0]);
        assert_eq!(list("c").await, [""; 0]);
        assert_eq!(objects.at("aa").list("2/").await.unwrap()[0].0, "2/3");
        objects.delete_all("c").await.unwrap();
        objects.delete_all("aa/2").await.unwrap();
        assert_eq!(list("").await, ["a", "a.b/1", "aa/1", "b/1"]);
        objects.delete_all("aa/").await.unwrap();
        objects.delete_all("a.").await.unwrap();
        assert_eq!(list("").await, ["a", "b/1"]);
        objects.delete_all("").await.unwrap();
        assert_eq!(list("").await, [""; 0]);
    });
}

#[test]
fn names_that_would_lead_elsewhere_are_refused() {
    every_place("names", async |objects| {
        let long = "a".repeat(600);
        for name in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\nb", &long] {
            let put = objects.put(name, b"x".to_vec()).await;
            assert!(
                matches!(put, Err(StoreError::Name { .. })),
                "{name}: {put:?}"
            );
            assert!(objects.get(name, 9).await.is_err(), "{name}");
        }
    });
}
