//! One suite for every store: what a backend must do, whatever it is made of. Never knows which one
//! it checks.

use peerwren_transports::block::{Block, BlockKey, BlockLen, Indices};
use peerwren_transports::store::{BlockStore, Created, Objects, StoreError};

/// Runs all checks, each below a name of its own, and leaves nothing behind.
///
/// # Panics
/// The store does not do what it must.
pub async fn check(objects: &Objects) {
    an_object_is_created_once(objects.at("created")).await;
    of_many_creators_one_succeeds(objects.at("creators")).await;
    check_but_creating(objects).await;
}

/// Runs all checks but those of who creates an object: where answers get lost, the one who created it
/// may find it there.
///
/// # Panics
/// The store does not do what it must.
pub async fn check_but_creating(objects: &Objects) {
    let store = |name: &str| BlockStore::on(objects.at(name));
    what_is_put_is_got(store("put")).await;
    a_block_of_another_length_is_an_error(store("length")).await;
    a_block_may_be_shorter_than_its_bound(store("bound")).await;
    runs_are_listed_and_deleted_apart(store("runs")).await;
    many_tasks_read_whole_blocks_while_they_are_written_again(store("whole")).await;
    objects_are_put_got_replaced_and_deleted(objects.at("objects")).await;
    objects_are_listed_and_deleted_by_the_start_of_their_names(objects.at("names")).await;
    names_that_would_lead_elsewhere_are_refused(objects.at("refused")).await;
    objects.delete_all("").await.unwrap();
    assert_eq!(objects.list("").await.unwrap(), []);
}

/// Names a block.
pub fn key(run: u64, matrix: u16, indices: &[i64]) -> BlockKey {
    BlockKey::new(run, matrix, Indices::new(indices).unwrap())
}

async fn what_is_put_is_got(store: BlockStore) {
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
}

async fn a_block_of_another_length_is_an_error(store: BlockStore) {
    let key = key(1, 2, &[3]);
    store
        .put(&key, &Block::from_bytes(&[7; 100]))
        .await
        .unwrap();
    match store.get(&key, 101).await {
        Err(StoreError::Length {
            expected: BlockLen::Exactly(101),
            got: 100,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

async fn a_block_may_be_shorter_than_its_bound(store: BlockStore) {
    for (number, len) in [0, 8, 100].into_iter().enumerate() {
        let key = key(1, 2, &[number as i64]);
        let block = Block::from_bytes(&vec![number as u8; len]);
        store.put(&key, &block).await.unwrap();
        let got = store.get(&key, BlockLen::AtMost(100)).await.unwrap();
        assert_eq!(got.unwrap(), block);
        if len == 0 {
            continue;
        }
        let bound = BlockLen::AtMost(len - 1);
        match store.get(&key, bound).await {
            Err(StoreError::Length { expected, got, .. }) => {
                assert_eq!((expected, got), (bound, len as u64));
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn runs_are_listed_and_deleted_apart(store: BlockStore) {
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
}

async fn many_tasks_read_whole_blocks_while_they_are_written_again(store: BlockStore) {
    const LEN: usize = 300_000;
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
}

async fn objects_are_put_got_replaced_and_deleted(objects: Objects) {
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
}

async fn an_object_is_created_once(objects: Objects) {
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
}

async fn of_many_creators_one_succeeds(objects: Objects) {
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
}

async fn objects_are_listed_and_deleted_by_the_start_of_their_names(objects: Objects) {
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
}

async fn names_that_would_lead_elsewhere_are_refused(objects: Objects) {
    let long = "a".repeat(600);
    for name in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\nb", &long] {
        let put = objects.put(name, b"x".to_vec()).await;
        assert!(
            matches!(put, Err(StoreError::Name { .. })),
            "{name}: {put:?}"
        );
        assert!(objects.get(name, 9).await.is_err(), "{name}");
    }
}
