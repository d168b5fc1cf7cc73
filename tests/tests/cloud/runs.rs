//! Whole runs whose store is a bucket, and what `peerwren store` shows and removes of them.

use std::time::Duration;

use peerwren_tests::command::{Folder, run, succeed};
use peerwren_tests::conformance::key;
use peerwren_tests::s3_server::S3Server;
use peerwren_tests::s3_server::faults::{On, Want};
use peerwren_transports::block::Block;
use peerwren_transports::store::{BlockStore, Objects, Place};

use crate::stores::block_on;

#[test]
fn a_run_over_a_bucket_gives_the_same_bits_and_leaves_nothing() {
    let (server, folder) = (S3Server::start(), Folder::new("bits"));
    let qr = |store: &str, options: &str, name: &str| {
        let line = format!(
            "qr random:96x80:7 --block 16 --ib 4 --tree grid:2x1 --workers 2 --store {store} {options} \
             --q q{name}.npy --r r{name}.npy --check --quiet --report {name}.json"
        );
        succeed(&folder.0, &line, &server.variables());
        (
            folder.bytes(&format!("q{name}.npy")),
            folder.bytes(&format!("r{name}.npy")),
        )
    };
    let expected = qr("blocks", "", "file");
    for (name, options) in [
        ("a", "--engine processes"),
        ("b", "--engine threads --exchange cache --durability all"),
        ("c", "--engine processes --exchange store"),
    ] {
        server.faults().clear();
        assert_eq!(qr("s3://bucket/runs", options, name), expected, "{options}");
        assert!(server.faults().asked(On::Put) > 10, "{options}");
        assert_eq!(server.keys(), [""; 0], "{options}");
        assert_eq!(server.uploads(), [""; 0], "{options}");
    }
}

/// Two runs below one prefix at once: each has a part of its own there, and both are right.
#[test]
fn two_runs_share_a_prefix() {
    let (server, folder) = (S3Server::start(), Folder::new("shared"));
    let qr = |name: &str| {
        let line = format!(
            "qr random:96x80:7 --block 16 --ib 4 --tree grid:2x1 --workers 2 --exchange store --durability all \
             --store s3://bucket/runs --r r{name}.npy --quiet"
        );
        succeed(&folder.0, &line, &server.variables());
        folder.bytes(&format!("r{name}.npy"))
    };
    let (one, other) = std::thread::scope(|scope| {
        let [one, other] = ["a", "b"].map(|name| scope.spawn(|| qr(name)));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert!(one == other && one == qr("c"), "other bits");
    assert_eq!(server.keys(), [""; 0]);
}

#[test]
fn a_run_survives_faults_of_its_bucket_and_tells_those_it_does_not() {
    let (server, folder) = (S3Server::start(), Folder::new("faults"));
    let qr = "qr random:64x64:1 --block 16 --ib 4 --workers 2 --exchange store --store s3://bucket/x \
              --check --quiet";
    server.faults().at_random(7, 5);
    succeed(&folder.0, qr, &server.variables());
    server.faults().clear();
    assert_eq!(server.keys(), [""; 0]);
    // The probe goes right; what workers write is refused.
    server.faults().set(On::Put, 2, Want::Pass);
    server
        .faults()
        .set(On::Put, 1000, Want::Status(403, "AccessDenied"));
    let failed = run(&folder.0, qr, &server.variables());
    let told = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1), "{told}");
    let last = told.lines().last().unwrap_or_default();
    for part in ["s3://bucket/x/", "AccessDenied", "s3:PutObject"] {
        assert!(last.contains(part), "{told}");
    }
}

#[test]
fn a_run_waits_for_a_bucket_that_is_out() {
    let (server, folder) = (S3Server::start(), Folder::new("out"));
    let qr = |name: &str| {
        format!(
            "qr random:64x64:1 --block 16 --ib 4 --workers 2 --exchange store --store s3://bucket/x --r {name}.npy \
             --quiet"
        )
    };
    succeed(&folder.0, &qr("calm"), &server.variables());
    let before = server.faults().asked(On::Put);
    let out = Want::Status(503, "ServiceUnavailable");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| succeed(&folder.0, &qr("own"), &server.variables()));
        while server.faults().asked(On::Put) < before + 5 && !run.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.faults().all(Some(out));
        std::thread::sleep(Duration::from_secs(3));
        server.faults().all(None);
    });
    assert_eq!(folder.bytes("own.npy"), folder.bytes("calm.npy"));
    assert_eq!(server.keys(), [""; 0]);
}

#[test]
fn a_bucket_that_cannot_be_used_is_refused_before_anything_runs() {
    let (server, folder) = (S3Server::start(), Folder::new("refused"));
    let told = |line: &str, variables: &[(&str, String)]| {
        let output = run(&folder.0, line, variables);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        told
    };
    let qr = "qr random:9x9:1 --quiet --store";
    let missing = told(&format!("{qr} s3://missing/x"), &server.variables());
    assert!(missing.contains("aws s3 mb s3://missing"), "{missing}");
    let nobody: Vec<_> = server.variables();
    let nobody: Vec<_> = nobody
        .into_iter()
        .filter(|(name, _)| !name.contains("KEY"))
        .collect();
    for line in [
        format!("{qr} s3://bucket/x"),
        "store ls s3://bucket/x".to_owned(),
    ] {
        let none = told(&line, &nobody);
        assert!(
            none.contains("no credentials") && none.contains("AWS_ACCESS_KEY_ID"),
            "{none}"
        );
    }
}

#[test]
fn what_runs_left_is_listed_and_removed() {
    let (server, folder) = (S3Server::start(), Folder::new("left"));
    let (keys, place) = (server.variables(), server.place("runs"));
    for (text, place, settings) in [
        (
            "blocks",
            Place::Folder(folder.0.join("blocks")),
            server.settings(),
        ),
        ("s3://bucket/runs", place, server.settings()),
    ] {
        let store = block_on(async {
            let objects = Objects::open_with(&place, &settings).await.unwrap();
            let store = BlockStore::on(objects.clone());
            for (run, index) in [(255, 1), (255, 2), (7, 1)] {
                let block = Block::from_bytes(&[1; 1024]);
                store.put(&key(run, 1, &[index]), &block).await.unwrap();
            }
            let of_run = store.objects(255);
            of_run.put("manifest/1", vec![0; 2048]).await.unwrap();
            objects.put("mine", b"stays".to_vec()).await.unwrap();
            store
        });
        let listed = succeed(&folder.0, &format!("store ls {text}"), &keys);
        let rows: Vec<Vec<_>> = listed
            .lines()
            .map(|row| row.split_whitespace().collect())
            .collect();
        assert_eq!(
            rows[0][..5],
            ["RUN", "BLOCKS", "OTHER", "SIZE", "UNFINISHED"]
        );
        assert_eq!(
            rows[1][..6],
            ["0000000000000007", "1", "0", "1", "KiB", "0"]
        );
        assert_eq!(
            rows[2][..6],
            ["00000000000000ff", "2", "1", "4", "KiB", "0"]
        );
        assert_eq!(
            (rows[1].last(), rows[2].last()),
            (Some(&"no"), Some(&"yes"))
        );

        let line = format!("store rm {text} 00000000000000ff");
        let removed = succeed(&folder.0, &line, &keys);
        let expected =
            "removed run 00000000000000ff: 2 blocks, 1 other objects, 4 KiB, 0 unfinished writes\n";
        assert_eq!(removed, expected);
        let again = run(&folder.0, &line, &keys);
        assert_eq!(again.status.code(), Some(2));
        let all = succeed(&folder.0, &format!("store rm {text} --all"), &keys);
        assert!(
            all.starts_with("removed run 0000000000000007: 1 blocks"),
            "{all}"
        );
        assert_eq!(block_on(store.runs()).unwrap(), []);
        let listed = succeed(&folder.0, &format!("store ls {text}"), &keys);
        assert_eq!(listed, format!("no run has anything in {text}\n"));
    }
    assert_eq!(server.keys(), ["runs/mine"]);
    assert!(folder.0.join("blocks/mine").is_file());
}

#[test]
fn a_write_in_parts_that_was_left_is_shown_and_removed_with_its_run() {
    let (server, folder) = (S3Server::start(), Folder::new("unfinished"));
    let mut settings = server.settings();
    settings.limits.part_bytes = 5 << 20;
    settings.limits.multipart_from = 6 << 20;
    block_on(async {
        let objects = Objects::open_with(&server.place("runs"), &settings).await;
        let store = BlockStore::on(objects.unwrap());
        // The first upload's id is lost with the answer; the block goes with the second.
        server.faults().set(On::Begin, 1, Want::NoAnswer);
        let block = Block::from_bytes(&vec![1; 7 << 20]);
        store.put(&key(255, 1, &[1]), &block).await.unwrap();
    });
    assert_eq!(server.uploads().len(), 1);
    let listed = succeed(&folder.0, "store ls s3://bucket/runs", &server.variables());
    let row: Vec<_> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..6], ["00000000000000ff", "1", "0", "7", "MiB", "1"]);
    let line = "store rm s3://bucket/runs 00000000000000ff";
    let removed = succeed(&folder.0, line, &server.variables());
    assert!(removed.contains("1 unfinished writes"), "{removed}");
    assert_eq!(server.uploads(), [""; 0]);
    assert_eq!(server.keys(), [""; 0]);
}
