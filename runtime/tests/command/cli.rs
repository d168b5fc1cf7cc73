//! The command's answers to what it cannot do: one line, the right exit status, no file.

use std::fs;

use crate::tools::{Folder, peerwren_with as peerwren};

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

fn f8(values: &[f64]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// The files of every test here.
fn inputs(folder: &Folder) {
    let four = f8(&[1.0, 2.0, 3.0, 4.0]);
    let files: [(&str, Vec<u8>); 12] = [
        ("good.npy", npy("'<f8'", "(2, 2)", &four)),
        ("text.npy", b"1,2\n3,4\n".to_vec()),
        ("zero.npy", vec![]),
        ("short.npy", npy("'<f8'", "(2, 2)", &four[..31])),
        ("0d.npy", npy("'<f8'", "()", &four)),
        ("3d.npy", npy("'<f8'", "(2, 2, 1)", &four)),
        ("empty.npy", npy("'<f8'", "(0, 2)", &[])),
        ("complex.npy", npy("'<c16'", "(1, 2)", &four)),
        ("strings.npy", npy("'<U2'", "(2, 2)", &four)),
        (
            "nan.npy",
            npy("'<f8'", "(2, 2)", &f8(&[1.0, 2.0, f64::NAN, 4.0])),
        ),
        (
            "inf.npy",
            npy("'<f4'", "(1, 2)", &[0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x7f]),
        ),
        ("a.zarr", vec![]),
    ];
    for (name, bytes) in files {
        fs::write(folder.0.join(name), bytes).unwrap();
    }
    fs::create_dir(folder.0.join("folder.npy")).unwrap();
}

/// Arguments, and the one line that they get. Exit status 2, standard output empty, no file made.
const REFUSED: &[(&str, &str)] = &[
    // inputs
    (
        "qr none.npy",
        "none.npy: no such file; expected a .npy file, a Zarr array (folder or s3://bucket/key), random:MxN[:seed] or spd:N[:seed]",
    ),
    (
        "qr folder.npy",
        "folder.npy: expected a .npy file, found a folder",
    ),
    (
        "qr text.npy",
        "text.npy: expected a .npy file, found other data, starting with `1,2\\n3,4\\n`",
    ),
    (
        "qr zero.npy",
        "zero.npy: expected a .npy file, found an empty file",
    ),
    (
        "qr short.npy",
        "short.npy: truncated: its header promises 102 bytes, the file has 101",
    ),
    (
        "qr 0d.npy",
        "0d.npy: expected a 1-d or 2-d array, found shape ()",
    ),
    (
        "qr 3d.npy",
        "3d.npy: expected a 1-d or 2-d array, found shape (2, 2, 1)",
    ),
    (
        "qr empty.npy",
        "empty.npy: expected a matrix with at least one entry, found shape (0, 2)",
    ),
    (
        "qr complex.npy",
        "complex.npy: expected booleans, integers, float32 or float64, found complex numbers (<c16)",
    ),
    (
        "qr strings.npy",
        "strings.npy: expected booleans, integers, float32 or float64, found strings (<U2)",
    ),
    (
        "qr nan.npy",
        "nan.npy: expected finite entries, found NaN at [1, 0] (counted from 0)",
    ),
    (
        "qr inf.npy",
        "inf.npy: expected finite entries, found inf at [0, 1] (counted from 0)",
    ),
    (
        "qr random:0x5",
        "input `random:0x5`: a matrix of 0 x 5 is empty; expected at least 1 x 1",
    ),
    (
        "qr random:5",
        "input `random:5`: expected random:MxN[:seed] with whole numbers, M and N at least 1",
    ),
    (
        "qr spd:5x5",
        "input `spd:5x5`: N is `5x5`; expected spd:N[:seed] with whole numbers, N at least 1",
    ),
    (
        "qr a.zarr",
        "a.zarr: expected a Zarr v3 array, found a file",
    ),
    (
        "qr s3://bucket/a.npy",
        "input `s3://bucket/a.npy`: a .npy file is read from this machine's disk alone; on S3 expected a Zarr array",
    ),
    // options
    ("qr good.npy --block 0", "--block is 0; expected 1 to 16384"),
    ("qr good.npy --ib 3", "--ib is 3; expected 1 to 2"),
    (
        "qr good.npy --workers 0",
        "--workers is 0; expected 1 to 4096",
    ),
    (
        "qr good.npy --workers 5000",
        "--workers is 5000; expected 1 to 4096",
    ),
    ("qr good.npy --cores 0", "--cores is 0; expected 1 to 1024"),
    (
        "qr good.npy --memory 0",
        "--memory is 0; expected the bytes of a worker, such as 1GiB",
    ),
    (
        "qr good.npy --preload --exchange store",
        "--preload needs a cache, which --exchange store does without; leave one out",
    ),
    (
        "qr good.npy --store memory",
        "--store memory needs --engine threads: processes share no memory; name a folder",
    ),
    (
        "qr random:5x4 --tree numpywren",
        "--tree numpywren takes square matrices of whole tiles only; the matrix is 5 x 4 in tiles of 5",
    ),
    (
        "qr good.npy --block two",
        "invalid value 'two' for '--block <NB>': expected a whole number below 2^32",
    ),
    (
        "qr good.npy --workers -1",
        "invalid value '-1' for '--workers <N>': expected a whole number below 2^32",
    ),
    (
        "qr good.npy --tree grid:2",
        "invalid value 'grid:2' for '--tree <TREE>': expected grid:PxQ[:chain|:binary] with whole P and Q, such as grid:2x2",
    ),
    (
        "qr good.npy --tree grid:0x2",
        "invalid value 'grid:0x2' for '--tree <TREE>': a grid has at least 1 row, 1 column and 1 layer of ranks",
    ),
    (
        "qr good.npy --memory 5MB",
        "invalid value '5MB' for '--memory <BYTES>': expected bytes, or a number with KiB, MiB, GiB or TiB, such as 256MiB",
    ),
    (
        "qr good.npy --engine lambda",
        "invalid value 'lambda' for '--engine <ENGINE>': expected threads, processes or lambda:NAME",
    ),
    (
        "qr good.npy --engine lambda:f",
        "--engine lambda:NAME needs --store s3://bucket/prefix: workers on Lambda share nothing else",
    ),
    (
        "qr good.npy --autoscale=0",
        "invalid value '0' for '--autoscale[=<FACTOR>]': expected a factor from 0.001 to 1000, such as 0.5",
    ),
    (
        "qr good.npy --durability checkpoint:0",
        "invalid value 'checkpoint:0' for '--durability <WHICH>': expected checkpoint[:SECONDS] with 1 to 604800 whole seconds, such as checkpoint:120",
    ),
    (
        "qr good.npy --store s3://b",
        "invalid value 's3://b' for '--store <STORE>': \"s3://b\": a bucket's name has 3 to 63 of a-z, 0-9, `-` and `.`; expected a folder or s3://bucket/prefix",
    ),
    (
        "qr good.npy --trace folder.npy",
        "trace folder.npy: is a folder; name a file",
    ),
    (
        "qr good.npy --trace none/t.json",
        "trace none/t.json: its folder does not exist",
    ),
    (
        "qr good.npy --trace p.json --report p.json",
        "--report and --trace are both p.json; name two files",
    ),
    (
        "plan qr good.npy --trace t.json",
        "--trace is of a run, and `peerwren plan` runs nothing; leave it out",
    ),
    (
        "story V[1,0]",
        "the following required arguments were not provided: --trace <FILE.json>",
    ),
    (
        "qr good.npy --plan p.json",
        "plan p.json: No such file or directory (os error 2)",
    ),
    (
        "qr good.npy --calibration c.json",
        "calibration c.json: No such file or directory (os error 2)",
    ),
    (
        "store ls",
        "the following required arguments were not provided: <PLACE>",
    ),
    (
        "store ls missing",
        "cannot use missing as a store: No such file or directory (os error 2)",
    ),
    (
        "store rm .",
        "the following required arguments were not provided: <RUN>",
    ),
    (
        "store rm . 12",
        "invalid value '12' for '[RUN]': expected 16 hexadecimal digits, as `peerwren store ls` shows them",
    ),
    (
        "store rm . --all",
        "no run has anything in .; nothing is removed",
    ),
    (
        "store rm . 00000000000000ff",
        "run 00000000000000ff has nothing in .; see `peerwren store ls .`",
    ),
    (
        "store ls s3://bucket//x",
        "invalid value 's3://bucket//x' for '<PLACE>': \"s3://bucket//x\": a prefix is parts with `/` between them, none empty, `.` or `..`; expected a folder or s3://bucket/prefix",
    ),
    // resume
    (
        "resume ../x",
        "`../x` is no run; expected its hexadecimal number or the first digits of it, as `peerwren resume` lists them",
    ),
    (
        "resume --forget",
        "the following required arguments were not provided: <RUN>",
    ),
    // usage
    (
        "",
        "expected a subcommand; this version has: qr, tsqr, cholesky, lu, gemm, trsm, solve, posv, lstsq, svd, run, plan, sim, experiment, story, resume, coordinator, worker, doctor, store, lambda, completions, man; try --help",
    ),
    (
        "qr",
        "the following required arguments were not provided: <INPUT>",
    ),
    ("qr good.npy nan.npy", "unexpected argument 'nan.npy' found"),
    (
        "qr good.npy --blok 5",
        "unexpected argument '--blok' found; tip: a similar argument exists: '--block'",
    ),
    (
        "qr good.npy --block",
        "a value is required for '--block <NB>' but none was supplied",
    ),
    (
        "qr good.npy --block 1 --block 2",
        "the argument '--block <NB>' cannot be used multiple times",
    ),
    (
        "qrr good.npy",
        "`qrr` is no subcommand; this version has: qr, tsqr, cholesky, lu, gemm, trsm, solve, posv, lstsq, svd, run, plan, sim, experiment, story, resume, coordinator, worker, doctor, store, lambda, completions, man",
    ),
    // outputs, found before the work
    (
        "qr good.npy --q q.txt",
        "output q.txt: expected a name that ends in .npy or .zarr",
    ),
    (
        "qr good.npy --q a.zarr",
        "output a.zarr: is a file; a Zarr array is a folder",
    ),
    (
        "qr good.npy --q s3://bucket/q.npy",
        "output s3://bucket/q.npy: a .npy file is written to this machine's disk alone; on S3 name a .zarr array",
    ),
    (
        "qr good.npy --q x.zarr --r ./x.zarr",
        "--q and --r are both ./x.zarr; name two files",
    ),
    (
        "qr good.npy --q folder.npy",
        "output folder.npy: is a folder; name a file",
    ),
    (
        "qr good.npy --q none/q.npy",
        "output none/q.npy: its folder none does not exist",
    ),
    (
        "qr good.npy --q good.npy",
        "output good.npy: is also an input; inputs are never overwritten",
    ),
    (
        "qr good.npy --q x.npy --r ./x.npy",
        "--q and --r are both ./x.npy; name two files",
    ),
    (
        "qr good.npy --report good.npy",
        "the input and --report are both good.npy; name two files",
    ),
    (
        "qr good.npy --report none/r.json",
        "report none/r.json: its folder does not exist",
    ),
];

#[test]
fn bad_usage_and_input_get_one_line_status_2_and_no_file() {
    let folder = Folder::new("refused");
    inputs(&folder);
    let before = folder.names();
    for (arguments, reason) in REFUSED {
        let mut words: Vec<_> = arguments.split_whitespace().collect();
        if arguments.starts_with("qr ") && !arguments.contains("--r ") {
            words.extend(["--r", "result.npy"]);
        }
        let output = peerwren(&folder.0, &words, &[]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told, format!("error: {reason}\n"), "peerwren {arguments}");
        assert_eq!(output.status.code(), Some(2), "peerwren {arguments}");
        assert!(output.stdout.is_empty(), "peerwren {arguments}");
        assert_eq!(folder.names(), before, "peerwren {arguments}");
    }
}

#[test]
fn an_unreadable_or_read_only_place_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new("permissions");
    inputs(&folder);
    let secret = folder.0.join("secret.npy");
    fs::write(&secret, npy("'<f8'", "(1, 1)", &f8(&[1.0]))).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&secret).is_ok() {
        // The superuser reads everything; permissions cannot be tested here.
        return;
    }
    let locked = folder.0.join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
    let table = [
        ("qr secret.npy", "error: secret.npy: cannot be read: "),
        (
            "qr good.npy --r locked/r.npy",
            "error: output locked/r.npy: its folder locked cannot be written: ",
        ),
        (
            "qr good.npy --report locked/r.json",
            "error: report locked/r.json: its folder cannot be written: ",
        ),
    ];
    for (arguments, reason) in table {
        let words: Vec<_> = arguments.split_whitespace().collect();
        let output = peerwren(&folder.0, &words, &[]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.starts_with(reason) && told.lines().count() == 1,
            "{told}"
        );
        assert_eq!(output.status.code(), Some(2));
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn options_come_from_the_environment_too() {
    let folder = Folder::new("environment");
    inputs(&folder);
    let table = [
        ("PEERWREN_BLOCK", "0", "--block is 0; expected 1 to 16384"),
        (
            "PEERWREN_WORKERS",
            "0",
            "--workers is 0; expected 1 to 4096",
        ),
        (
            "PEERWREN_TRACE",
            "none/t.json",
            "trace none/t.json: its folder does not exist",
        ),
        (
            "PEERWREN_Q",
            "q.txt",
            "output q.txt: expected a name that ends in .npy or .zarr",
        ),
        (
            "PEERWREN_EXCHANGE",
            "mail",
            "invalid value 'mail' for '--exchange <HOW>': expected peer, cache or store",
        ),
    ];
    for (name, value, reason) in table {
        let output = peerwren(&folder.0, &["qr", "good.npy"], &[(name, value)]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (told, output.status.code()),
            (format!("error: {reason}\n"), Some(2))
        );
    }
    // The command line goes first.
    let output = peerwren(
        &folder.0,
        &["qr", "good.npy", "--block", "0"],
        &[("PEERWREN_BLOCK", "x")],
    );
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: --block is 0; expected 1 to 16384\n"
    );
}

#[test]
fn help_version_completions_and_manual_are_there() {
    let folder = Folder::new("help");
    let run = |arguments: &[&str]| {
        let output = peerwren(&folder.0, arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let version = run(&["--version"]);
    assert!(
        version.starts_with(&format!("peerwren {} (commit ", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
    let help = run(&["qr", "--help"]);
    let words = [
        "--block",
        "--ib",
        "--tree",
        "--workers",
        "--cores",
        "--engine",
        "--exchange",
        "--policy",
        "--durability",
        "--store",
        "--memory",
        "--preload",
        "--q",
        "--r",
        "--check",
        "--report",
        "--trace",
        "--log",
        "--quiet",
        "[default: processes]",
        "[default: auto]",
        "Plan:",
        "Workers:",
        "Blocks:",
        "Results:",
        "Example:",
        "peerwren qr a.npy",
    ];
    for word in words {
        assert!(help.contains(word), "{word} in\n{help}");
    }
    assert!(run(&["--help"]).contains("PEERWREN_BLOCK"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(&["completions", shell]).contains("exchange"), "{shell}");
    }
    assert!(run(&["man"]).contains(".TH peerwren 1"));
    assert!(run(&["man", "qr"]).contains("\\-\\-exchange"));
}
