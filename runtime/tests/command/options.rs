//! Every option of every subcommand, as the command's own help lists them, with values that nobody should give:
//! status 2 and one line, or a value that is in fact good. Never a panic, a wait, or a file where it is refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::tools::{Folder, command, peerwren_with};

/// The longest that a refusal, or a tiny run with a value that is good, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Processes at a time.
const AT_A_TIME: usize = 4;

/// A subcommand: its words, its options, and whether each takes a value.
struct Subcommand {
    words: Vec<String>,
    options: Vec<(String, bool)>,
    positional: usize,
}

/// Reads the help of each subcommand, from the top down.
fn subcommands(folder: &Folder) -> Vec<Subcommand> {
    let mut found = Vec::new();
    let mut left = VecDeque::from([Vec::<String>::new()]);
    while let Some(words) = left.pop_front() {
        let line: Vec<_> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let output = peerwren_with(&folder.0, &line, &[]);
        assert_eq!(output.status.code(), Some(0), "{line:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        let mut section = "";
        let mut options = BTreeMap::new();
        let mut positional = 0;
        let mut inner = 0;
        for line in help.lines() {
            let text = line.trim();
            if !line.starts_with(' ') && text.ends_with(':') {
                section = text;
            } else if section == "Commands:" && line.starts_with("  ") && !line.starts_with("   ") {
                let name = text.split(' ').next().unwrap();
                left.push_back(words.iter().cloned().chain([name.to_owned()]).collect());
                inner += 1;
            } else if section == "Arguments:" && (text.starts_with('<') || text.starts_with('[')) {
                positional += 1;
            } else if text.starts_with('-')
                && let Some((_, rest)) = text.split_once("--")
            {
                let end = rest.find(|c: char| c != '-' && !c.is_ascii_alphanumeric());
                let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
                let takes_value = rest.trim_start().starts_with(['<', '[', '=']);
                options.insert(name.to_owned(), takes_value);
            }
        }
        if inner == 0 {
            found.push(Subcommand {
                words,
                options: options.into_iter().collect(),
                positional,
            });
        }
    }
    found
}

/// Arguments that make a subcommand one that does little and ends soon: inputs, then options.
fn base(words: &[String]) -> (Vec<&'static str>, Vec<(&'static str, &'static str)>) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let operation = |name: &str| match name {
        "cholesky" => vec!["spd:6"],
        "gemm" | "solve" | "trsm" | "lstsq" => vec!["random:6x6", "random:6x1:2"],
        "posv" => vec!["spd:6", "random:6x1"],
        "run" => vec!["p.lp"],
        _ => vec!["random:6x4"],
    };
    match words.as_slice() {
        ["coordinator", name] => (
            operation(name),
            vec![
                ("store", "store"),
                ("workers", "1"),
                ("start-timeout", "1"),
                ("listen", "127.0.0.1:0"),
            ],
        ),
        ["plan" | "sim", name] => (operation(name), vec![("workers", "1")]),
        ["worker"] => (vec![], vec![("token", "none.token"), ("orphan", "1")]),
        ["experiment"] => (vec!["block-size"], vec![("dry-run", "")]),
        ["story"] => (vec!["V[0,0]"], vec![("trace", "none.json")]),
        ["store", "ls"] => (vec!["."], vec![]),
        ["store", "rm"] => (vec!["."], vec![("all", "")]),
        ["completions"] => (vec!["bash"], vec![]),
        ["lambda", "deploy"] => (vec!["none.zip"], vec![("role", "arn")]),
        ["lambda", _] => (vec!["f"], vec![]),
        ["resume" | "doctor" | "man"] => (vec![], vec![]),
        [name] => (
            operation(name),
            vec![("workers", "1"), ("engine", "threads")],
        ),
        other => panic!("a subcommand that this test does not know: {other:?}"),
    }
}

/// What nobody should give.
fn values() -> Vec<OsString> {
    let long = "9".repeat(5000);
    let texts = [
        "",
        " ",
        "-1",
        "0",
        "18446744073709551616",
        "1e999",
        "nan",
        "x y\nz",
        "\u{202e}é",
        "../..",
        "/dev/null/x",
        &long,
    ];
    let mut values: Vec<OsString> = texts.iter().map(OsString::from).collect();
    values.push(OsString::from_vec(b"\xff\xfe".to_vec()));
    values
}

/// One call that is to be made.
struct Call {
    words: Vec<OsString>,
}

/// Runs a call in a folder of its own and judges it.
fn try_one(call: &Call) -> Result<(), String> {
    let folder = Folder::new("option");
    fs::write(folder.0.join("p.lp"), "program p\nparam n = 4\n").unwrap();
    let before = folder.names();
    let proxy = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_MAX_ATTEMPTS", "1"),
    ];
    let mut command = command(&folder.0, &[], &proxy);
    command
        .args(&call.words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut process = command.spawn().map_err(|error| error.to_string())?;
    let mut stderr = process.stderr.take().unwrap();
    let told = std::thread::spawn(move || {
        let mut told = Vec::new();
        stderr.read_to_end(&mut told).map(|_| told)
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE {
            let _ = process.kill();
            let _ = process.wait();
            return Err("it does not end".to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let told = told.join().unwrap().unwrap();
    let told = String::from_utf8_lossy(&told);
    let errors = told.lines().filter(|line| line.starts_with("error:"));
    match (status.code(), errors.count()) {
        _ if told.contains("panicked") => Err(format!("it panics: {told}")),
        (Some(0), 0) => Ok(()),
        (Some(1), 1) => Ok(()),
        (Some(2), 1) if told.lines().count() > 1 && !told.contains("p.lp") => {
            Err(format!("more than a line: {told}"))
        }
        (Some(2), 1) if folder.names() != before => {
            Err(format!("it leaves {:?}: {told}", folder.names()))
        }
        (Some(2), 1) => Ok(()),
        (status, _) => Err(format!("status {status:?}: {told}")),
    }
}

fn check(calls: Vec<Call>) {
    let count = calls.len();
    let left = Mutex::new(calls);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some(call) = left.lock().unwrap().pop() else {
                        return;
                    };
                    if let Err(reason) = try_one(&call) {
                        let mut line = format!("{:?}", call.words);
                        line.truncate(300);
                        failed.lock().unwrap().push(format!("{line}\n    {reason}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {count} calls:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// A subcommand with one of its options set so, and what else it needs.
fn call(subcommand: &Subcommand, option: &str, value: Option<&OsStr>) -> Call {
    let (inputs, options) = base(&subcommand.words);
    let mut words: Vec<OsString> = subcommand.words.iter().map(OsString::from).collect();
    words.extend(inputs.iter().map(OsString::from));
    for (name, set) in options {
        if name != option {
            words.push(format!("--{name}").into());
            words.extend((!set.is_empty()).then(|| set.into()));
        }
    }
    let mut word = OsString::from(format!("--{option}"));
    if let Some(value) = value {
        word.push("=");
        word.push(value);
    }
    words.push(word);
    Call { words }
}

#[test]
fn every_option_takes_any_value_without_harm() {
    let folder = Folder::new("options");
    let mut known = BTreeSet::new();
    let mut calls = Vec::new();
    let subcommands = subcommands(&folder);
    assert!(subcommands.len() > 40, "{}", subcommands.len());
    for subcommand in &subcommands {
        for (option, takes_value) in &subcommand.options {
            if option == "help" || option == "version" {
                continue;
            }
            // What many subcommands share is parsed by the same code: all values once, one value elsewhere.
            let is_new = known.insert(option.clone());
            let values = if is_new {
                values()
            } else {
                vec![OsString::from("-1")]
            };
            let is_flag = !takes_value;
            calls.extend(
                values
                    .iter()
                    .map(|value| call(subcommand, option, Some(value))),
            );
            if !is_flag && is_new {
                calls.push(call(subcommand, option, None));
            }
        }
    }
    assert!(known.len() > 60, "{known:?}");
    check(calls);
}

#[test]
fn every_argument_takes_any_value_without_harm() {
    let folder = Folder::new("arguments");
    let mut calls = Vec::new();
    for subcommand in &subcommands(&folder) {
        let (inputs, options) = base(&subcommand.words);
        let mut given: Vec<OsString> = values();
        given.extend(
            [
                "random:99999999999999999999x5",
                "random:9223372036854775807x9223372036854775807",
                "random:4294967296x4294967296",
                "random:-1x5",
                "spd:4294967295",
                "s3://",
                "/dev/zero",
                "/dev/null",
                "/",
            ]
            .map(OsString::from),
        );
        // Nested operations are the same code as those at the top.
        let is_nested = subcommand.words.len() > 1 && subcommand.words[0] != "lambda";
        if is_nested {
            given
                .retain(|value| value == "/dev/zero" || value.to_string_lossy().contains("random"));
        }
        for place in 0..subcommand.positional {
            for value in &given {
                let mut words: Vec<OsString> =
                    subcommand.words.iter().map(OsString::from).collect();
                let mut arguments: Vec<OsString> = inputs.iter().map(OsString::from).collect();
                arguments.resize(arguments.len().max(place + 1), OsString::new());
                arguments[place].clone_from(value);
                for (name, set) in &options {
                    words.push(format!("--{name}").into());
                    words.extend((!set.is_empty()).then(|| set.into()));
                }
                // What begins with a dash is an argument after this.
                words.push("--".into());
                words.extend(arguments);
                calls.push(Call { words });
            }
        }
    }
    check(calls);
}

/// Files of every kind that are endless, empty, huge, folders, or not what they should be.
#[test]
fn every_file_may_be_anything() {
    let folder = Folder::new("files");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.0.join(name);
        fs::write(&path, bytes).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let huge = file("huge", b"x");
    let sparse = fs::OpenOptions::new().write(true).open(&huge).unwrap();
    sparse.set_len(1 << 40).unwrap();
    let contents = [
        "/dev/zero".to_owned(),
        "/dev/null".to_owned(),
        folder.0.to_str().unwrap().to_owned(),
        huge,
        file("nested", "[".repeat(1 << 16).as_bytes()),
        file("json", b"{\"name\": 5, \"flops_s\": -1, \"m\": 1e400}"),
        file(
            "toml",
            b"a = [1, {b = 2}]\n[x.y]\nz = 99999999999999999999\n",
        ),
        file("binary", b"\xff\xfe\x00\x01"),
        file("npy", b"\x93NUMPY\x01\x00\xff\xff"),
    ];
    let kinds = [
        "qr {}",
        "qr random:6x4 --plan {}",
        "qr random:6x4 --prices {}",
        "qr random:6x4 --calibration {}",
        "sim qr random:6x4 --fleet {}",
        "experiment {} --dry-run",
        "run {}",
        "story V[0,0] --trace {}",
        "worker --token {} --orphan 1",
        "lambda deploy {} --role arn:aws:iam::123456789012:role/x",
        "doctor --join 127.0.0.1:1 --token {}",
    ];
    let mut calls = Vec::new();
    for kind in kinds {
        for content in &contents {
            let words = kind
                .split(' ')
                .map(|word| word.replace("{}", content).into());
            calls.push(Call {
                words: words.collect(),
            });
        }
    }
    check(calls);
}
