//! What a store on S3 does about large objects, faults, two who write at once, and a user's mistakes.

use std::time::Duration;

use peerwren_tests::conformance::key;
use peerwren_tests::s3_server::faults::{On, Want};
use peerwren_tests::s3_server::{self, S3Server};
use peerwren_transports::block::Block;
use peerwren_transports::store::{BlockStore, Created, Objects, Place, S3Settings, StoreError};

use crate::stores::block_on;

/// Parts of the least size that S3 takes, and waits that a test can wait for.
fn small_parts(server: &S3Server) -> S3Settings {
    let mut settings = server.settings();
    settings.limits.part_bytes = 5 << 20;
    settings.limits.multipart_from = 6 << 20;
    settings.limits.backoff_first = Duration::from_millis(1);
    settings
}

async fn opened(server: &S3Server) -> Objects {
    let opened = Objects::open_with(&server.place("run"), &small_parts(server)).await;
    let objects = opened.unwrap();
    server.faults().clear();
    objects
}

/// Bytes of which no part is like another.
fn block(len: usize) -> Block {
    let mut state = 7u32;
    let bytes: Vec<u8> = (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    Block::from_bytes(&bytes)
}

#[test]
fn large_blocks_are_written_in_parts_and_read_in_ranges() {
    let server = S3Server::start();
    block_on(async {
        let store = BlockStore::on(opened(&server).await);
        // Parts / ranges: below the bound in one piece; the last part may be small.
        for (len, parts, ranges) in [
            (5 << 20, 0, 1),
            ((5 << 20) + 1, 0, 2),
            (6 << 20, 2, 2),
            ((10 << 20) + 8, 3, 3),
        ] {
            let (key, block) = (key(1, 1, &[len as i64]), block(len));
            server.faults().clear();
            store.put(&key, &block).await.unwrap();
            assert_eq!(server.faults().asked(On::Part), parts, "{len}");
            let got = store.get(&key, len).await.unwrap().unwrap();
            assert_eq!(got.digest(), block.digest());
            assert_eq!(server.faults().asked(On::Get), ranges, "{len}");
            let short = store.get(&key, len - 1).await.unwrap_err();
            assert!(matches!(short, StoreError::Length { .. }), "{short:?}");
        }
        assert_eq!(server.uploads(), [""; 0]);
    });
}

#[test]
fn every_fault_is_survived() {
    let server = S3Server::start();
    let all = [
        On::Get,
        On::Put,
        On::List,
        On::Delete,
        On::DeleteMany,
        On::Begin,
        On::Part,
        On::Complete,
        On::ListUploads,
    ];
    let wants = [
        Want::Status(500, "InternalError"),
        Want::Status(503, "SlowDown"),
        Want::Status(502, ""),
        Want::NoAnswer,
        Want::CutAfter(0),
        Want::CutAfter(1000),
        Want::Delay(Duration::from_millis(20)),
    ];
    block_on(async {
        let objects = opened(&server).await;
        let small = block(10_000);
        let large = block((10 << 20) + 8);
        let store = BlockStore::on(objects.clone());
        for want in wants {
            server.faults().clear();
            for on in all {
                server.faults().set(on, 2, want);
            }
            for (index, block) in [&small, &large].into_iter().enumerate() {
                let key = key(1, 1, &[index as i64]);
                store.put(&key, block).await.unwrap();
                let got = store.get(&key, block.len()).await.unwrap().unwrap();
                assert_eq!(got.digest(), block.digest(), "{want:?}");
            }
            assert_eq!(store.list(1).await.unwrap().len(), 2, "{want:?}");
            objects.put("x", b"x".to_vec()).await.unwrap();
            objects.delete("x").await.unwrap();
            store.delete_run(1).await.unwrap();
            assert_eq!(server.keys(), [""; 0], "{want:?}");
            assert_eq!(server.uploads(), [""; 0], "{want:?}");
        }
    });
}

#[test]
fn a_store_full_of_faults_still_conforms() {
    let server = S3Server::start();
    block_on(async {
        let objects = opened(&server).await;
        server.faults().at_random(20_261_122, 10);
        peerwren_tests::conformance::check_but_creating(&objects).await;
        server.faults().clear();
        assert_eq!(server.keys(), [""; 0]);
    });
}

#[test]
fn a_service_that_stays_broken_is_told_with_its_last_words() {
    let server = S3Server::start();
    let mut settings = small_parts(&server);
    settings.limits.tries_max = 3;
    block_on(async {
        let opened = Objects::open_with(&server.place("run"), &settings).await;
        let objects = opened.unwrap();
        server.faults().clear();
        server
            .faults()
            .set(On::Get, 100, Want::Status(503, "SlowDown"));
        let error = objects.get("a", 10).await.unwrap_err();
        let told = error.to_string();
        for part in ["s3://bucket/run/a", "SlowDown", "3 tries", "later"] {
            assert!(told.contains(part), "{told}");
        }
        assert!(matches!(error, StoreError::Unavailable { tries: 3, .. }));
        assert_eq!(server.faults().asked(On::Get), 3);
        server.faults().clear();
        assert_eq!(objects.get("a", 10).await.unwrap(), None);
    });
}

#[test]
fn a_body_that_never_comes_whole_is_no_block() {
    let server = S3Server::start();
    block_on(async {
        let store = BlockStore::on(opened(&server).await);
        let (key, block) = (key(1, 1, &[1]), block(100_000));
        store.put(&key, &block).await.unwrap();
        server.faults().set(On::Get, 100, Want::CutAfter(5000));
        let error = store.get(&key, block.len()).await.unwrap_err();
        // How much of it is seen before the line is cut is the system's to say.
        assert!(
            matches!(error, StoreError::Unavailable { tries: 12, .. }),
            "{error:?}"
        );
    });
}

#[test]
fn a_write_in_parts_that_fails_or_is_given_up_leaves_no_part() {
    let server = S3Server::start();
    let (key, block) = (key(1, 1, &[1]), block(11 << 20));
    block_on(async {
        let store = BlockStore::on(opened(&server).await);
        server
            .faults()
            .set(On::Part, 1, Want::Status(403, "AccessDenied"));
        let refused = store.put(&key, &block).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused { .. }), "{refused:?}");
        assert_eq!(server.uploads(), [""; 0]);
        assert_eq!(store.get(&key, block.len()).await.unwrap(), None);

        server.faults().clear();
        server
            .faults()
            .set(On::Part, 9, Want::Delay(Duration::from_secs(60)));
        tokio::select! {
            done = store.put(&key, &block) => panic!("{done:?}"),
            () = until(|| server.faults().asked(On::Part) > 0) => {}
        }
        assert_eq!(server.uploads().len(), 1);
        until(|| server.uploads().is_empty()).await;
    });
}

#[test]
fn what_a_killed_writer_left_goes_with_the_run() {
    let server = S3Server::start();
    let (key, block) = (key(1, 1, &[1]), block(11 << 20));
    block_on(async {
        let store = BlockStore::on(opened(&server).await);
        server
            .faults()
            .set(On::Part, 99, Want::Delay(Duration::from_secs(60)));
        tokio::select! {
            done = store.put(&key, &block) => panic!("{done:?}"),
            () = until(|| server.faults().asked(On::Part) > 0) => {}
        }
        // This runtime ends here, and with it all that it would still do.
    });
    assert_eq!(server.uploads().len(), 1);
    block_on(async {
        let store = BlockStore::on(opened(&server).await);
        store.delete_run(2).await.unwrap();
        assert_eq!(server.uploads().len(), 1, "of another run");
        store.delete_run(1).await.unwrap();
    });
    assert_eq!(server.uploads(), [""; 0]);
}

#[test]
fn creating_heeds_who_was_first() {
    let server = S3Server::start();
    block_on(async {
        let objects = opened(&server).await;
        let create = async |bytes: &[u8]| objects.create("a", bytes.to_vec()).await.unwrap();
        // Two at once: the service asks one to come again.
        let conflict = Want::Status(409, "ConditionalRequestConflict");
        server.faults().set(On::Put, 2, conflict);
        assert_eq!(create(b"one").await, Created::New);
        assert_eq!(server.faults().asked(On::Put), 3);
        assert_eq!(create(b"one").await, Created::Same);
        assert_eq!(create(b"other").await, Created::Clash);
        // The answer to the first try was lost: the second finds what the first wrote.
        server.faults().set(On::Put, 1, Want::NoAnswer);
        let lost = objects.create("b", b"two".to_vec()).await.unwrap();
        assert_eq!(lost, Created::Same);
        // It was there, but is gone when it is looked at.
        server
            .faults()
            .set(On::Put, 1, Want::Status(412, "PreconditionFailed"));
        let gone = objects.create("c", b"three".to_vec()).await.unwrap();
        assert_eq!(gone, Created::New);
    });
}

#[test]
fn a_service_without_conditional_writes_is_refused() {
    let server = S3Server::start();
    for (answer, said) in [
        (Want::Status(200, ""), "in spite of If-None-Match"),
        (Want::Status(501, "NotImplemented"), "NotImplemented"),
    ] {
        server.faults().clear();
        server.faults().set(On::Put, 1, Want::Pass);
        server.faults().set(On::Put, 1, answer);
        let place = server.place("run");
        let opened = block_on(Objects::open_with(&place, &server.settings()));
        let told = opened.unwrap_err().to_string();
        assert!(told.contains(said), "{told}");
        assert!(told.contains("choose another service"), "{told}");
        assert_eq!(server.keys(), [""; 0], "the probe leaves nothing");
    }
}

#[test]
fn more_objects_than_a_page_are_listed_and_deleted() {
    let server = S3Server::start();
    let names: Vec<_> = (0..1010).map(|number| format!("{number:04}/x")).collect();
    for name in &names {
        server.write(&format!("run/{name}"), b"abc");
    }
    server.write("other/x", b"stays");
    block_on(async {
        let objects = opened(&server).await;
        let listed = objects.list("").await.unwrap();
        assert_eq!(server.faults().asked(On::List), 2);
        assert!(listed.iter().all(|(_, len)| *len == 3));
        let listed: Vec<_> = listed.into_iter().map(|(name, _)| name).collect();
        assert_eq!(listed, names);
        let mut settings = server.settings();
        settings.limits.page = 3;
        let place = server.place("run");
        let paged = Objects::join_with(&place, &settings).await.unwrap();
        let listed = paged.list("000").await.unwrap();
        assert_eq!(listed.len(), 10);
        assert_eq!(server.faults().asked(On::List), 2 + 4);
        objects.delete_all("").await.unwrap();
    });
    assert_eq!(server.keys(), ["other/x"]);
}

#[test]
fn mistakes_of_a_user_are_told_with_what_to_do() {
    let server = S3Server::start();
    let told = |place: &Place, settings: &S3Settings| {
        let opened = block_on(Objects::open_with(place, settings));
        opened.unwrap_err().to_string()
    };
    let says = |text: String, parts: &[&str]| {
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(!text.contains('\n'), "{text}");
    };
    let keys = |id: &str, secret: &str| {
        let mut settings = server.settings();
        let keys = settings.keys.as_mut().unwrap();
        keys.access_key_id = id.to_owned();
        keys.secret_access_key = secret.to_owned();
        settings
    };
    let place = server.place("run");
    let wrong = keys(s3_server::ACCESS_KEY, "wrong");
    says(
        told(&place, &wrong),
        &["s3://bucket/run/", "SignatureDoesNotMatch", "AWS_SECRET"],
    );
    let unknown = keys("nobody", "wrong");
    says(
        told(&place, &unknown),
        &["s3://bucket/run/", "AWS_ACCESS_KEY_ID"],
    );
    let missing = "s3://missing/run".parse().unwrap();
    says(
        told(&missing, &server.settings()),
        &[
            "s3://missing/run/",
            "NoSuchBucket",
            "aws s3 mb s3://missing",
        ],
    );
    server
        .faults()
        .set(On::Put, 1, Want::Status(403, "AccessDenied"));
    says(
        told(&place, &server.settings()),
        &["AccessDenied", "s3:PutObject", "arn:aws:s3:::bucket/*"],
    );
    server
        .faults()
        .set(On::Put, 1, Want::Status(301, "PermanentRedirect"));
    says(
        told(&place, &server.settings()),
        &["PermanentRedirect", "AWS_REGION"],
    );
    let mut nowhere = small_parts(&server);
    nowhere.limits.tries_max = 2;
    nowhere.endpoint = Some("http://127.0.0.1:1".to_owned());
    says(
        told(&place, &nowhere),
        &["cannot be reached", "2 tries", "AWS_ENDPOINT_URL"],
    );
    nowhere.endpoint = Some("127.0.0.1:1".to_owned());
    says(told(&place, &nowhere), &["127.0.0.1:1", "http://host:port"]);
}

/// Waits for the other side to come to something.
async fn until(done: impl Fn() -> bool) {
    let looking = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let looked = tokio::time::timeout(Duration::from_secs(60), looking).await;
    looked.expect("it comes to it within a minute");
}
