//! Runs whose coordinator and workers have nothing but a bucket in common for control: the same bits, peers
//! that exchange blocks with each other nevertheless, and a bucket that is empty afterwards.

use peerwren_tests::command::{Folder, succeed};
use peerwren_tests::s3_server::S3Server;

#[test]
fn control_by_mail_in_a_bucket_gives_the_same_bits() {
    let (server, folder) = (S3Server::start(), Folder::new("mail"));
    let plan = "qr random:160x128:7 --block 32 --ib 8 --tree grid:2x1";
    let variables = server.variables();
    let expected = format!("{plan} --workers 1 --store blocks --q q1.npy --r r1.npy --quiet");
    succeed(&folder.0, &expected, &variables);
    let mail = format!(
        "{plan} --workers 2 --control store --store s3://bucket/runs --q q2.npy --r r2.npy --quiet \
         --report p.json"
    );
    succeed(&folder.0, &mail, &variables);
    for name in ["q", "r"] {
        let [one, two] = [1, 2].map(|n| folder.bytes(&format!("{name}{n}.npy")));
        assert!(one == two, "{name}: other bits");
    }
    let report: serde_json::Value = serde_json::from_slice(&folder.bytes("p.json")).unwrap();
    assert!(
        report["bytes"]["peer"].as_u64().unwrap() > 0,
        "peers exchange by QUIC"
    );
    assert_eq!(report["workers_lost"], 0);
    assert_eq!(server.keys(), [""; 0], "neither blocks nor mail are left");
}
