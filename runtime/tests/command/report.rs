//! The report's form: a contract that other tools read.

use std::collections::BTreeSet;

use peerwren::matrix::ResultPlace;
use peerwren::options::Chosen;
use peerwren::report::{
    ByteCounts, CostEstimate, PairMoves, PhaseStats, PlanRecord, ProfileSeries, Report,
    RequestCounts, SCHEMA, SCHEMA_VERSION, StatementMoves, WorkerStats, summarize,
};
use serde_json::{Value, json};

use crate::schema::violations;
use crate::tools::{Folder, peerwren, succeed};

fn for_tsmqr(block: &str, peer: u64) -> StatementMoves {
    StatementMoves {
        phase: "factor".into(),
        program: "qr_grid.lp".into(),
        statement: 4,
        line: 52,
        kernel: "tsmqr".into(),
        block: block.into(),
        peer,
        ..StatementMoves::default()
    }
}

fn sample() -> Report {
    let factor = PhaseStats {
        factor_s: 1.25,
        compute_s: 4.5,
        fetch_s: 1.5,
        tasks: 1894,
        tasks_recomputed: 3,
        flops: 91_625_968_981,
        bytes: ByteCounts {
            store_read: 134_217_728,
            store_written: 0,
            peer: 138_240_000,
            cache_hit: 1 << 30,
        },
        inputs_read: 134_217_728,
        requests: RequestCounts {
            store_get: 256,
            store_put: 0,
            peer_get: 700,
            peer_failed: 1,
            peer_referred: 40,
            peer_wrong: 0,
        },
        peak_cache_bytes: 90 << 20,
        workers_lost: 1,
        workers_replaced: 1,
        moved_by_statement: vec![for_tsmqr("V", 103_680_000), for_tsmqr("T", 34_560_000)],
        moved_by_pair: vec![PairMoves {
            from: 0,
            to: 1,
            bytes: 138_240_000,
            blocks: 700,
        }],
        cost_usd: CostEstimate::default(),
        per_worker: vec![WorkerStats {
            id: 0,
            host: "localhost".into(),
            cores: 1,
            tasks: 470,
            ..WorkerStats::default()
        }],
        ..PhaseStats::default()
    };
    Report {
        schema: SCHEMA_VERSION,
        command: "qr".into(),
        version: "0.1.0".into(),
        plan: PlanRecord {
            input: "random:4096x4096:1".into(),
            program: "qr_grid".into(),
            digest: "ab12".into(),
        },
        m: 4096,
        n: 4096,
        block: 256,
        ib: 32,
        tree: "grid:2x2:chain".into(),
        chosen: vec![Chosen {
            option: "block".into(),
            value: "256".into(),
            reason: "the least".into(),
        }],
        workers: 4,
        cores: 1,
        engine: "processes".into(),
        exchange: "peer".into(),
        policy: "locality".into(),
        durability: "outputs".into(),
        memory: 1 << 30,
        wall_s: 2.5,
        startup_s: 0.125,
        preload_s: 0.0,
        profile: ProfileSeries::default(),
        factor,
        q: PhaseStats::default(),
        check: PhaseStats {
            tasks: 16,
            factor_s: 0.25,
            ..PhaseStats::default()
        },
        residual: Some(0.5),
        orthogonality: Some(1.5),
    }
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

#[test]
fn a_report_is_what_the_schema_says() {
    let mut report = sample();
    for _ in 0..2 {
        let value: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(violations(&schema(), &value), [""; 0]);
        assert_eq!(serde_json::from_value::<Report>(value).unwrap(), report);
        (report.residual, report.orthogonality) = (None, None);
    }
}

#[test]
fn the_schema_has_every_field_and_no_other() {
    let schema = schema();
    let value = serde_json::to_value(sample()).unwrap();
    let pairs = [
        (&schema, &value),
        (&schema["$defs"]["PhaseStats"], &value["q"]),
        (&schema["$defs"]["PlanRecord"], &value["plan"]),
        (&schema["$defs"]["Chosen"], &value["chosen"][0]),
        (&schema["$defs"]["ProfileSeries"], &value["profile"]),
        (&schema["$defs"]["ByteCounts"], &value["bytes"]),
        (&schema["$defs"]["RequestCounts"], &value["requests"]),
        (&schema["$defs"]["CostEstimate"], &value["cost_usd"]),
        (&schema["$defs"]["WorkerStats"], &value["per_worker"][0]),
        (
            &schema["$defs"]["StatementMoves"],
            &value["moved_by_statement"][0],
        ),
        (&schema["$defs"]["PairMoves"], &value["moved_by_pair"][0]),
    ];
    for (schema, value) in pairs {
        let described = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<BTreeSet<_>>();
        let written = value.as_object().unwrap().keys().collect::<BTreeSet<_>>();
        assert_eq!(described, written);
    }
}

#[test]
fn the_contracts_fields_are_there() {
    let names = "schema command version plan m n block ib tree workers cores engine exchange durability \
        wall_s startup_s preload_s factor_s compute_s fetch_s tasks tasks_recomputed tasks_restored flops bytes inputs_read \
        inputs_uploaded outputs_written requests peak_cache_bytes workers_lost workers_replaced \
        leases_expired moved_by_statement moved_by_pair cost_usd per_worker q check residual orthogonality";
    let value = serde_json::to_value(sample()).unwrap();
    for name in names.split_whitespace() {
        assert!(value.get(name).is_some(), "{name}");
    }
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|name| name.to_string())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        keys(&value["bytes"]),
        set(&["store_read", "store_written", "peer", "cache_hit"])
    );
    assert_eq!(
        keys(&value["requests"]),
        set(&[
            "store_get",
            "store_put",
            "peer_get",
            "peer_failed",
            "peer_referred",
            "peer_wrong"
        ])
    );
    let costs = ["estimate", "measured", "gb_seconds", "invocations", "table"];
    assert_eq!(keys(&value["cost_usd"]), set(&costs));
}

#[test]
fn a_wrong_report_is_found() {
    let cases: [(&str, Value, &str); 5] = [
        ("/schema", json!(2), "$.schema: 2 is not 1"),
        ("/tasks", json!(-1), "$.tasks: -1 is less than 0"),
        ("/wall_s", Value::Null, "$.wall_s: null is no \"number\""),
        (
            "/exchange",
            json!("gpu"),
            "$.exchange: \"gpu\" is none of [\"peer\",\"cache\",\"store\"]",
        ),
        ("/q/bytes", json!({}), "$.q.bytes: `store_read` is missing"),
    ];
    for (place, wrong, expected) in cases {
        let mut value = serde_json::to_value(sample()).unwrap();
        *value.pointer_mut(place).unwrap() = wrong;
        assert!(
            violations(&schema(), &value).contains(&expected.to_owned()),
            "{place}"
        );
    }
}

#[test]
fn a_report_is_written_whole_or_not_at_all() {
    let folder = std::env::temp_dir().join(format!("peerwren-report-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("p.json");
    Report::check_writable(&path).unwrap();
    assert!(!path.exists());
    sample().write(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), sample().to_json());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    let table = [
        (folder.clone(), "is a folder; name a file"),
        (folder.join("none/p.json"), "its folder does not exist"),
    ];
    for (path, reason) in table {
        let error = Report::check_writable(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("report {}: {reason}", path.display())
        );
        assert!(sample().write(&path).is_err());
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_summary_reads_well() {
    let text = summarize(
        &sample(),
        &[
            ("q".into(), ResultPlace::Npy("q.npy".into())),
            ("r".into(), ResultPlace::Npy("r.npy".into())),
        ],
    )
    .to_string();
    let expected = "\
qr of random:4096x4096:1
  matrix    4096 x 4096, 128 MiB as float64
  plan      16 x 16 tiles of 256 (ib 32), tree grid:2x2:chain
  workers   4 workers of 1 core, engine processes, exchange peer
  time      2.50 s in all: startup 125 ms, factorization 1.25 s
  speed     73.3 GFLOP/s, cores 90% busy
  tasks     1,894, 3 recomputed
  moved      132 MiB between workers, 1.03 times the matrix
             128 MiB read from the store, 1.00 times the matrix
  mostly    V for tsmqr 75%, T for tsmqr 25%
  memory    peak cache 90 MiB of 1 GiB a worker
  faults    1 worker lost, 1 replaced, 1 request to a peer failed
  checking  16 tasks in 250 ms, 0 B between workers, 0 B through the store
  checked   sound: |A - QR| is 0.50, |I - Q'Q| is 1.50 (LAPACK's ratios, below 30 is sound)
  Q         written to q.npy
  R         written to r.npy
";
    assert_eq!(text, expected);
    // What ran in the cloud says what it cost, all phases together.
    let mut report = sample();
    for phase in [&mut report.factor, &mut report.check] {
        phase.cost_usd = CostEstimate {
            estimate: 0.25,
            measured: 0.125,
            table: "aws us-east-1, 2026-05".into(),
            ..CostEstimate::default()
        };
    }
    let text = summarize(&report, &[]).to_string();
    let cost = text.lines().find(|line| line.contains("cost")).unwrap();
    assert_eq!(
        cost.split_once("cost").unwrap().1.trim(),
        "$0.2500, $0.5000 by estimate (prices: aws us-east-1, 2026-05)"
    );
}

/// The plan of a report, replayed by other workers, gives the same bits and moves the same tasks.
#[test]
fn a_plan_is_replayed() {
    let folder = Folder::new("replay");
    let first = "random:150x110:3 --workers 3 --block 40 --ib 7 --tree grid:2x1:binary --engine threads --quiet";
    succeed(&folder.0, &format!("qr {first} --r a.npy --report a.json"));
    let again = "random:150x110:3 --workers 2 --engine threads --quiet --plan a.json";
    succeed(&folder.0, &format!("qr {again} --r b.npy --report b.json"));
    assert_eq!(folder.bytes("a.npy"), folder.bytes("b.npy"));
    let (a, b) = (folder.report("a.json"), folder.report("b.json"));
    for name in ["plan", "block", "ib", "tree", "tasks"] {
        assert_eq!(a[name], b[name], "{name}");
    }
    assert_eq!((&a["workers"], &b["workers"]), (&3.into(), &2.into()));
    assert_eq!(b["chosen"].as_array().map(Vec::len), Some(0));

    let refused = [
        (
            "qr random:50x50 --plan a.json",
            "plan a.json: is of qr of 150 x 110, and this is qr of 50 x 50",
        ),
        (
            "qr random:150x110:3 --ib 4 --plan a.json",
            "plan a.json: chooses --ib too; leave out --ib or --plan",
        ),
        (
            "qr random:150x110:3 --plan a.json --report a.json",
            "--report and --plan are both a.json; name two files",
        ),
    ];
    for (line, reason) in refused {
        let output = peerwren(&folder.0, line);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told, format!("error: {reason}\n"), "peerwren {line}");
        assert_eq!(output.status.code(), Some(2), "peerwren {line}");
    }
}
