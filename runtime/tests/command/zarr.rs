//! Zarr arrays as inputs and results in folders: the bits of `.npy` files, bytes that add up, and nothing
//! half-written that looks whole.

use std::fs;
use std::io::Read;
use std::path::Path;

use peerwren::matrix::MatrixSource;

use crate::tools::{Folder, children, is_alive, peerwren, signal, start, succeed, wait_until};

/// All entries as bits, column by column.
fn bits(folder: &Folder, name: &str) -> Vec<u64> {
    let source = MatrixSource::parse(folder.0.join(name).to_str().unwrap()).unwrap();
    let (m, n) = source.shape();
    let mut out = vec![0.0; (m * n) as usize];
    let read = source.read_tile(0, 0, m as usize, n as usize, &mut out);
    read.unwrap_or_else(|error| panic!("{error}"));
    out.iter().map(|entry| entry.to_bits()).collect()
}

/// Bytes of a chunk: entries and checksum.
fn chunk_bytes(rows: u64, cols: u64) -> u64 {
    rows * cols * 8 + 4
}

/// Names of an array's chunks, sorted.
fn chunks(array: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for row in fs::read_dir(array.join("c")).unwrap() {
        for chunk in fs::read_dir(row.unwrap().path()).unwrap() {
            let path = chunk.unwrap().path();
            let name = path.strip_prefix(array.join("c")).unwrap();
            names.push(name.to_str().unwrap().to_owned());
        }
    }
    names.sort();
    names
}

#[test]
fn results_have_the_bits_of_files_and_cost_their_chunks() {
    let folder = Folder::new("zarr-results");
    // Rows, columns, block and the rest; with edges, tall, wide, every exchange, engine and tree kind.
    let table = [
        (160, 96, 32, "--workers 2"),
        (50, 70, 16, "--workers 2 --exchange cache --durability all"),
        (70, 50, 16, "--workers 3 --engine threads --tree binary"),
        (
            200,
            9,
            16,
            "--workers 2 --engine threads --store memory --tree flat",
        ),
        (
            64,
            64,
            16,
            "--workers 2 --engine threads --tree numpywren --exchange store",
        ),
        (33, 33, 16, "--workers 2 --exchange store"),
        (5, 3, 8, "--workers 1 --engine threads"),
    ];
    for (m, n, block, options) in table {
        let k = std::cmp::min(m, n);
        let line = format!("qr random:{m}x{n}:3 --block {block} --ib 8 {options} --check");
        let line = line.replace("--ib 8", if block < 9 { "--ib 2" } else { "--ib 8" });
        succeed(
            &folder.0,
            &format!("{line} --q q.npy --r r.npy --report npy.json --quiet"),
        );
        succeed(
            &folder.0,
            &format!("{line} --q q.zarr --r r.zarr --report zarr.json --quiet"),
        );
        assert_eq!(bits(&folder, "q.npy"), bits(&folder, "q.zarr"), "{line}: Q");
        assert_eq!(bits(&folder, "r.npy"), bits(&folder, "r.zarr"), "{line}: R");

        let tiles = |length: u64| length.div_ceil(block);
        let upper: Vec<_> = (0..tiles(k))
            .flat_map(|i| (i..tiles(n)).map(move |j| format!("{i}/{j}")))
            .collect();
        let mut expected = upper.clone();
        expected.sort();
        assert_eq!(
            chunks(&folder.0.join("r.zarr")),
            expected,
            "{line}: chunks below the diagonal"
        );
        let report = folder.report("zarr.json");
        let r_bytes = upper.len() as u64 * chunk_bytes(k.min(block), n.min(block));
        let q_bytes = tiles(m) * tiles(k) * chunk_bytes(m.min(block), k.min(block));
        assert_eq!(report["outputs_written"], r_bytes, "{line}");
        assert_eq!(report["q"]["outputs_written"], q_bytes, "{line}");
        assert!(report["bytes"]["store_written"].as_u64().unwrap() >= r_bytes);
        if !options.contains("exchange") {
            assert_eq!(report["bytes"]["store_written"], r_bytes, "{line}");
            assert_eq!(report["requests"]["store_put"], upper.len(), "{line}");
        }
        assert_eq!(
            report["plan"]["digest"],
            folder.report("npy.json")["plan"]["digest"],
            "where results go decides no bits"
        );
    }
    let names = folder.names();
    assert_eq!(
        names,
        [
            "npy.json",
            "q.npy",
            "q.zarr",
            "r.npy",
            "r.zarr",
            "zarr.json"
        ]
    );
}

#[test]
fn an_array_is_read_by_chunks_and_chunks_that_are_not_there_cost_nothing() {
    let folder = Folder::new("zarr-input");
    let line = "qr random:96x96:3 --block 32 --ib 8 --workers 2 --engine threads --quiet";
    succeed(&folder.0, &format!("{line} --r a.npy"));
    succeed(&folder.0, &format!("{line} --r a.zarr"));
    // Tiles that are chunks, and tiles that are not.
    for (block, read) in [(32, 6 * chunk_bytes(32, 32)), (24, 0)] {
        let line =
            format!("--block {block} --ib 8 --tree grid:2x1 --workers 2 --quiet --report p.json");
        succeed(&folder.0, &format!("qr a.npy {line} --r r1.npy"));
        succeed(&folder.0, &format!("qr a.zarr {line} --r r2.npy"));
        assert_eq!(
            bits(&folder, "r1.npy"),
            bits(&folder, "r2.npy"),
            "block {block}"
        );
        let report = folder.report("p.json");
        assert_eq!(report["inputs_read"], report["bytes"]["store_read"]);
        if read > 0 {
            assert_eq!(report["inputs_read"], read);
            assert_eq!(report["requests"]["store_get"], 6);
        }
    }
    // An input is never overwritten, under no name.
    fs::create_dir(folder.0.join("sub")).unwrap();
    for (result, reason) in [
        ("a.zarr", "is also an input; inputs are never overwritten"),
        (
            "sub/../a.zarr",
            "is also an input; inputs are never overwritten",
        ),
        (
            "a.zarr/b.zarr",
            "is also an input; inputs are never overwritten",
        ),
    ] {
        let output = peerwren(&folder.0, &format!("qr a.zarr --r {result}"));
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told, format!("error: output {result}: {reason}\n"));
    }
}

#[test]
fn a_run_that_fails_leaves_no_array() {
    let folder = Folder::new("zarr-fails");
    let line = "qr random:96x96:3 --block 32 --ib 8 --workers 2 --engine threads --quiet";
    succeed(&folder.0, &format!("{line} --q a.zarr"));
    let chunk = folder.0.join("a.zarr/c/2/2");
    let mut bytes = fs::read(&chunk).unwrap();
    bytes[100] ^= 1;
    fs::write(&chunk, bytes).unwrap();
    let output = peerwren(
        &folder.0,
        "qr a.zarr --block 32 --workers 2 --q q.zarr --r r.zarr",
    );
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("a.zarr/c/2/2: its checksum is "), "{told}");
    assert_eq!(folder.names(), ["a.zarr"], "nothing half-written is left");
}

/// Takes a second or more on any machine, in many small tasks.
const PLAN: &str = "qr random:1200x900:5 --block 50 --ib 10 --tree grid:2x2";

#[test]
fn lost_workers_and_a_killed_driver_leave_whole_arrays_or_none_that_open() {
    let folder = Folder::new("zarr-killed");
    succeed(
        &folder.0,
        &format!("{PLAN} --workers 1 --q q.npy --r r.npy --check --quiet"),
    );
    let line = format!("{PLAN} --workers 3 --q q.zarr --r r.zarr --check --quiet");
    // A file whose name is not a number is half of a chunk.
    let has_chunks = || {
        let row = fs::read_dir(folder.0.join("r.zarr/c/0"));
        let mut names = row
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name());
        names.any(|name| {
            name.to_str()
                .is_some_and(|name| name.parse::<u32>().is_ok())
        })
    };

    // Whoever kills the driver leaves chunks, which do not open.
    let mut run = start(&folder.0, &line);
    wait_until("a chunk of R", || has_chunks() || !is_alive(run.id()));
    signal("KILL", run.id());
    run.wait().unwrap();
    assert!(has_chunks() && !folder.0.join("r.zarr/zarr.json").exists());
    let output = peerwren(&folder.0, "qr r.zarr");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        told,
        "error: r.zarr: expected a Zarr v3 array, found chunks without zarr.json: it was not finished\n"
    );

    // An interrupted run removes them, those of the run before too.
    let mut run = start(&folder.0, &line);
    wait_until("workers", || {
        !children(run.id()).is_empty() || !is_alive(run.id())
    });
    wait_until("a chunk of R", || has_chunks() || !is_alive(run.id()));
    signal("INT", run.id());
    assert_eq!(run.wait().unwrap().code(), Some(1));
    assert_eq!(folder.names(), ["q.npy", "r.npy"]);

    let mut run = start(&folder.0, &line);
    wait_until("a chunk of R", || has_chunks() || !is_alive(run.id()));
    if let Some(&worker) = children(run.id()).last() {
        signal("KILL", worker);
    }
    let mut told = String::new();
    let status = run.wait().unwrap();
    run.stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert!(status.success(), "{told}");
    assert!(
        bits(&folder, "q.npy") == bits(&folder, "q.zarr"),
        "Q has other bits"
    );
    assert!(
        bits(&folder, "r.npy") == bits(&folder, "r.zarr"),
        "R has other bits"
    );
}

/// Workers elsewhere do not see this machine's files: they are tiled into the store first.
#[test]
fn a_local_input_of_workers_elsewhere_is_uploaded_and_counted() {
    let folder = Folder::new("zarr-upload");
    let line = "qr random:90x50:3 --block 16 --ib 4 --workers 1 --quiet";
    succeed(&folder.0, &format!("{line} --q a.npy --r a.zarr"));
    for (input, (m, n)) in [("a.npy", (90_u64, 50_u64)), ("a.zarr", (50, 50))] {
        let plan = format!("qr {input} --block 16 --ib 4 --tree grid:1x1 --quiet");
        succeed(&folder.0, &format!("{plan} --workers 1 --r r1.npy"));
        let run = start(
            &folder.0,
            &format!(
                "coordinator --listen 127.0.0.1:0 --token run.token {plan} --workers 1 --store store \
                 --r r2.npy --report p.json"
            ),
        );
        wait_until("the token", || {
            folder.0.join("run.token").exists() || !is_alive(run.id())
        });
        let worker = start(&folder.0, "worker --token run.token --cores 1");
        for mut process in [run, worker] {
            let mut told = String::new();
            let status = process.wait().unwrap();
            process
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut told)
                .unwrap();
            assert!(status.success(), "{input}: {told}");
        }
        assert_eq!(bits(&folder, "r1.npy"), bits(&folder, "r2.npy"), "{input}");
        let report = folder.report("p.json");
        let chunks = m.div_ceil(16) * n.div_ceil(16);
        let uploaded = chunks * chunk_bytes(16, 16);
        assert_eq!(report["inputs_uploaded"], uploaded, "{input}");
        assert_eq!(report["inputs_read"], uploaded, "{input}: each chunk once");
        let written = uploaded + report["outputs_written"].as_u64().unwrap();
        assert_eq!(report["bytes"]["store_written"], written, "{input}");
        assert!(
            fs::read_dir(folder.0.join("store"))
                .unwrap()
                .next()
                .is_none(),
            "the upload is removed with the run"
        );
    }
}
