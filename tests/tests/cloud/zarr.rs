//! Zarr arrays in a bucket and beside zarr-python: the bits of files, each chunk moved once, and what
//! cannot be meant refused before anything runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use peerwren::matrix::MatrixSource;
use peerwren_tests::command;
use peerwren_tests::s3_server::S3Server;
use peerwren_tests::s3_server::faults::{On, Want};
use peerwren_transports::store::Objects;
use serde_json::Value;

use crate::stores::block_on;

/// A folder of the test's own, removed at its end, and a bucket.
struct Bench {
    folder: PathBuf,
    server: S3Server,
    executable: PathBuf,
}

impl Bench {
    /// None where the command was not built, which was said aloud.
    fn new(name: &str) -> Option<Self> {
        let executable = command::peerwren()?;
        let folder = tempfile::Builder::new()
            .prefix(&format!("peerwren-{name}-"))
            .tempdir();
        let folder = folder.unwrap().keep();
        let server = S3Server::start();
        Some(Self {
            folder,
            server,
            executable,
        })
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.executable);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("PEERWREN_") || name.starts_with("AWS_") {
                command.env_remove(&*name);
            }
        }
        command
            .current_dir(&self.folder)
            .args(line.split_whitespace())
            .envs(self.server.variables())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn succeed(&self, line: &str) {
        let output = self.run(line);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "peerwren {line}: {told}");
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.folder.join("p.json")).unwrap()).unwrap()
    }

    /// The entries of an array of the bucket as bits, by way of a copy in the folder.
    fn bucket_bits(&self, name: &str) -> Vec<u64> {
        let copy = self.folder.join(format!("copy-of-{name}"));
        block_on(async {
            let place = self.server.place(name);
            let objects = Objects::join_with(&place, &self.server.settings())
                .await
                .unwrap();
            for (key, bytes) in objects.list("").await.unwrap() {
                let path = copy.join(&key);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let object = objects.get(&key, bytes as usize).await.unwrap().unwrap();
                fs::write(path, object).unwrap();
            }
        });
        let bits = bits(&copy);
        fs::remove_dir_all(copy).unwrap();
        bits
    }

    fn file_bits(&self, name: &str) -> Vec<u64> {
        bits(&self.folder.join(name))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn bits(path: &Path) -> Vec<u64> {
    let source = MatrixSource::parse(path.to_str().unwrap()).unwrap();
    let (m, n) = source.shape();
    let mut out = vec![0.0; (m * n) as usize];
    let read = source.read_tile(0, 0, m as usize, n as usize, &mut out);
    read.unwrap_or_else(|error| panic!("{error}"));
    out.iter().map(|entry| entry.to_bits()).collect()
}

#[test]
fn a_factorization_in_a_bucket_moves_each_chunk_once() {
    let Some(bench) = Bench::new("once") else {
        return;
    };
    let make = "qr random:512x512:1 --block 64 --workers 2 --engine threads --quiet";
    bench.succeed(&format!("{make} --q a.npy"));
    bench.succeed(&format!("{make} --q s3://bucket/a.zarr"));
    assert_eq!(bench.bucket_bits("a.zarr"), bench.file_bits("a.npy"));

    let options = "--block 64 --workers 4 --durability outputs --check --quiet --report p.json";
    bench.succeed(&format!("qr a.npy {options} --q q.npy --r r.npy"));
    bench.server.faults().clear();
    bench.succeed(&format!(
        "qr s3://bucket/a.zarr {options} --q s3://bucket/q.zarr --r s3://bucket/r.zarr"
    ));
    assert_eq!(bench.bucket_bits("q.zarr"), bench.file_bits("q.npy"), "Q");
    assert_eq!(bench.bucket_bits("r.zarr"), bench.file_bits("r.npy"), "R");

    let chunk = 64 * 64 * 8 + 4;
    let report = bench.report();
    let figures = |phase: &str| {
        ["store_read", "store_written"].map(|name| {
            let figure = report.pointer(&format!("{phase}/bytes/{name}"));
            figure.and_then(Value::as_u64).unwrap()
        })
    };
    // 8 x 8 chunks of the input, those of R on and above the diagonal, 8 x 8 of Q.
    assert_eq!(figures(""), [64 * chunk, 36 * chunk]);
    assert_eq!(figures("/q"), [0, 64 * chunk]);
    assert_eq!(report["inputs_read"], 64 * chunk);
    assert_eq!(report["outputs_written"], 36 * chunk);
    assert_eq!(report["q"]["outputs_written"], 64 * chunk);
    assert_eq!(report["inputs_uploaded"], 0);
    assert_eq!(report["requests"]["store_get"], 64);
    let keys = bench.server.keys();
    let of = |array: &str| keys.iter().filter(|key| key.starts_with(array)).count();
    // With zarr.json each, and no block beside them.
    assert_eq!((of("r.zarr/"), of("q.zarr/"), of("a.zarr/")), (37, 65, 65));
    assert_eq!(keys.len(), 37 + 65 + 65);
}

#[test]
fn faults_of_the_bucket_and_every_exchange_give_the_same_bits() {
    let Some(bench) = Bench::new("faults") else {
        return;
    };
    let plan = "qr random:96x80:7 --block 16 --ib 4 --tree grid:2x1 --workers 2 --check --quiet";
    bench.succeed(&format!("{plan} --q q.npy --r r.npy"));
    for options in [
        "--engine threads",
        "--exchange cache --durability all",
        "--exchange store --engine threads --store memory",
    ] {
        bench.server.faults().at_random(11, 5);
        bench.succeed(&format!(
            "{plan} {options} --q s3://bucket/d/q.zarr --r s3://bucket/d/r.zarr"
        ));
        bench.server.faults().clear();
        assert_eq!(
            bench.bucket_bits("d/q.zarr"),
            bench.file_bits("q.npy"),
            "{options}"
        );
        assert_eq!(
            bench.bucket_bits("d/r.zarr"),
            bench.file_bits("r.npy"),
            "{options}"
        );
    }
    // A bucket that takes nothing any more: the run fails and leaves nothing in it.
    bench.server.faults().set(On::Put, 12, Want::Pass);
    bench
        .server
        .faults()
        .set(On::Put, 1000, Want::Status(403, "AccessDenied"));
    let output = bench.run(&format!(
        "{plan} --q s3://bucket/e/q.zarr --r s3://bucket/e/r.zarr"
    ));
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("AccessDenied"), "{told}");
    let left: Vec<_> = bench
        .server
        .keys()
        .into_iter()
        .filter(|key| key.starts_with("e/"))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn an_interrupted_run_leaves_no_array_in_the_bucket() {
    let Some(bench) = Bench::new("interrupt") else {
        return;
    };
    let line = "qr random:1200x900:5 --block 50 --ib 10 --workers 2 --quiet --check";
    let mut run = bench
        .command(&format!(
            "{line} --r s3://bucket/r.zarr --q s3://bucket/q.zarr"
        ))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !bench
        .server
        .keys()
        .iter()
        .any(|key| key.starts_with("r.zarr/c/"))
    {
        assert!(
            Instant::now() < deadline,
            "waited a minute for a chunk of R"
        );
        assert!(run.try_wait().unwrap().is_none(), "ended without a chunk");
        std::thread::sleep(Duration::from_millis(5));
    }
    let sent = Command::new("kill")
        .args(["-s", "INT", &run.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(1));
    assert_eq!(bench.server.keys(), [""; 0]);
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_runs() {
    let Some(bench) = Bench::new("refused") else {
        return;
    };
    bench.succeed("qr random:9x9:1 --workers 1 --engine threads --quiet --r s3://bucket/a.zarr");
    bench.server.write("notes/r.zarr/readme.txt", b"mine");
    let before = bench.server.keys();
    let table = [
        (
            "s3://bucket/none.zarr",
            "",
            "s3://bucket/none.zarr: expected a Zarr v3 array, found no zarr.json",
        ),
        ("s3://missing/a.zarr", "", "missing"),
        (
            "random:9x9",
            "--r s3://missing/r.zarr",
            "output s3://missing/r.zarr: ",
        ),
        (
            "random:9x9",
            "--r s3://b/r.zarr",
            "a bucket's name has 3 to 63",
        ),
        (
            "random:9x9",
            "--r s3://bucket/notes/r.zarr",
            "holds `readme.txt`; only a Zarr array is replaced",
        ),
        (
            "s3://bucket/a.zarr",
            "--r s3://bucket/a.zarr",
            "is also an input; inputs are never overwritten",
        ),
        (
            "s3://bucket/a.zarr",
            "--r s3://bucket/a.zarr/r.zarr",
            "is also an input; inputs are never overwritten",
        ),
        (
            "random:9x9",
            "--q s3://bucket/x.zarr --r s3://bucket/x.zarr",
            "--q and --r are both s3://bucket/x.zarr",
        ),
    ];
    for (input, options, reason) in table {
        let output = bench.run(&format!("qr {input} {options}"));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{input} {options}: {told}");
        assert!(
            told.contains(reason) && told.lines().count() == 1,
            "{input} {options}: {told}"
        );
        assert_eq!(bench.server.keys(), before, "{input} {options}");
    }
}

/// A Python that has zarr; none was said aloud.
fn python() -> Option<std::ffi::OsString> {
    let python = std::env::var_os("PEERWREN_PYTHON").filter(|python| !python.is_empty());
    if python.is_none() {
        command::say("SKIPPED: PEERWREN_PYTHON names no Python that has zarr 3 and numpy");
    }
    python
}

fn script(bench: &Bench, python: &std::ffi::OsStr, arguments: &str) {
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/zarr_python.py"))
        .args(arguments.split_whitespace())
        .current_dir(&bench.folder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {told}");
}

#[test]
fn zarr_python_and_peerwren_read_each_others_arrays() {
    let (Some(python), Some(bench)) = (python(), Bench::new("python")) else {
        return;
    };
    let script = |arguments: &str| script(&bench, &python, arguments);
    // With edges, tall, wide, and one chunk alone.
    for (shape, block) in [("100x70", 16), ("200x9", 16), ("9x200", 32), ("5x5", 8)] {
        let line = format!(
            "qr random:{shape}:3 --block {block} --ib 4 --workers 2 --engine threads --quiet"
        );
        bench.succeed(&format!("{line} --q q.npy --r r.npy"));
        bench.succeed(&format!("{line} --q q.zarr --r r.zarr"));
        script("read q.zarr q.npy");
        script("read r.zarr r.npy");
    }
    // Vectors, of float64 and of int64.
    let line = "random:50x70:3 --block 16 --workers 2 --engine threads --quiet";
    for (operation, name) in [("lu", "p"), ("svd", "s")] {
        bench.succeed(&format!("{operation} {line} --{name} {name}.npy"));
        bench.succeed(&format!("{operation} {line} --{name} {name}.zarr"));
        script(&format!("read {name}.zarr {name}.npy"));
    }
    // What zarr-python writes with our codecs is read, in chunks that are tiles and in others.
    bench.succeed("qr random:60x40:3 --block 16 --ib 4 --workers 2 --quiet --r a.npy");
    for (number, (rows, cols)) in [(16, 16), (7, 40)].into_iter().enumerate() {
        script(&format!("write a.npy a{number}.zarr {rows} {cols}"));
        for (input, r) in [("a.npy", "r1.npy"), (&*format!("a{number}.zarr"), "r2.npy")] {
            let options = "--block 16 --ib 4 --tree grid:1x1 --workers 2 --quiet";
            bench.succeed(&format!("qr {input} {options} --r {r}"));
        }
        assert_eq!(bench.file_bits("r1.npy"), bench.file_bits("r2.npy"));
    }
}

/// What zarr-python writes by its defaults and otherwise is read as NumPy has it, and factored with the same
/// bits, from a folder and from a bucket.
#[test]
fn arrays_in_zarr_pythons_own_layouts_are_read() {
    let (Some(python), Some(bench)) = (python(), Bench::new("foreign")) else {
        return;
    };
    script(&bench, &python, "foreign f");
    let folder = bench.folder.join("f");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".npy").map(str::to_owned))
        .collect();
    names.sort();
    assert_eq!(names.len(), 25, "{names:?}");
    for name in &names {
        let array = bench.file_bits(&format!("f/{name}.zarr"));
        assert_eq!(array, bench.file_bits(&format!("f/{name}.npy")), "{name}");
        let source = folder.join(format!("{name}.zarr"));
        let source = MatrixSource::parse(source.to_str().unwrap()).unwrap();
        assert_eq!(source.is_vector(), name == "vector");
    }
    // Tiles that are chunks, smaller, larger, and across them.
    for (name, block) in [
        ("default", 16),
        ("chunked", 16),
        ("odd", 9),
        ("sharded", 24),
        ("int32", 5),
    ] {
        let options = format!("--block {block} --tree grid:2x1 --workers 2 --quiet");
        bench.succeed(&format!("qr f/{name}.npy {options} --r r1.npy"));
        bench.succeed(&format!(
            "qr f/{name}.zarr {options} --r r2.npy --report p.json"
        ));
        assert_eq!(
            bench.file_bits("r1.npy"),
            bench.file_bits("r2.npy"),
            "{name}"
        );
        let report = bench.report();
        assert_eq!(
            report["inputs_read"], report["bytes"]["store_read"],
            "{name}"
        );
    }
    for path in ["zarr.json", "c/0/0", "c/1/2"] {
        let object = fs::read(folder.join("chunked.zarr").join(path)).unwrap();
        bench.server.write(&format!("b.zarr/{path}"), &object);
    }
    let options = "--block 16 --tree grid:2x1 --workers 2 --quiet";
    bench.succeed(&format!(
        "qr s3://bucket/b.zarr {options} --r s3://bucket/r.zarr"
    ));
    assert_eq!(
        bench
            .server
            .keys()
            .iter()
            .filter(|key| key.starts_with("r.zarr"))
            .count(),
        7
    );

    // A chunk that was damaged is named.
    let chunk = folder.join("both.zarr/c/1/0");
    let mut bytes = fs::read(&chunk).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&chunk, bytes).unwrap();
    let table = [
        ("both", 1, "f/both.zarr/c/1/0: "),
        (
            "wide",
            1,
            "f/wide.zarr: expected finite entries, found NaN at [",
        ),
        (
            "narrow",
            1,
            "f/narrow.zarr: expected finite entries, found inf at [",
        ),
        (
            "complex",
            2,
            "f/complex.zarr/zarr.json: expected data type float64, float32, bool or integers of up to 64 bits, \
             found \"complex128\"",
        ),
        (
            "cube",
            2,
            "f/cube.zarr/zarr.json: expected a 1-d or 2-d array, found shape [3,3,3]",
        ),
        (
            "second",
            2,
            "f/second.zarr: expected a Zarr v3 array, found a Zarr v2 array",
        ),
    ];
    for (name, status, reason) in table {
        let output = bench.run(&format!(
            "qr f/{name}.zarr --block 16 --workers 1 --quiet --r r.npy"
        ));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{name}: {told}");
        let mut lines = told.lines().filter(|line| line.starts_with("error: "));
        let line = lines.next().unwrap_or_default();
        assert!(
            line.contains(reason) && lines.next().is_none(),
            "{name}: {told}"
        );
    }
}
