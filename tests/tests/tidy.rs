//! Holds the rules of who may import whom, by reading the sources and manifests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines.
const FILE_LINES_MAX: usize = 800;
/// The median source file is shorter than this.
const FILE_LINES_MEDIAN_MAX: usize = 300;

/// A part of the tree and the words that its code never says.
struct Rule {
    parts: &'static [&'static str],
    never: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        parts: &["runtime/src/machine"],
        never: &[
            "tokio",
            "actix",
            "quinn",
            "Instant",
            "SystemTime",
            "async",
            "await",
            "std::fs",
            "std::net",
            "std::thread",
            "std::env",
            "HashMap",
            "HashSet",
            "crate::actors",
            "crate::engine",
            "crate::sim",
            "crate::linalg",
        ],
        why: "machines have no I/O, no clock, no async and one order of iteration",
    },
    Rule {
        parts: &[
            "runtime/src/lambdapack",
            "runtime/src/options",
            "runtime/src/report",
        ],
        never: &[
            "tokio",
            "actix",
            "quinn",
            "crate::actors",
            "crate::engine",
            "crate::sim",
        ],
        why: "what describes a run does not run it",
    },
    Rule {
        parts: &["runtime/src/forecast"],
        never: &[
            "tokio",
            "actix",
            "quinn",
            "std::fs",
            "std::net",
            "std::thread",
            "std::env",
            "crate::engine",
            "crate::run",
        ],
        why: "a forecast runs nothing, but for kernels that it measures",
    },
    Rule {
        parts: &["kernels/src"],
        never: &[
            "peerwren",
            "peerwren_transports",
            "tokio",
            "actix",
            "quinn",
            "rustls",
            "std::net",
            "BlockKey",
        ],
        why: "kernels never know keys or networks",
    },
    Rule {
        parts: &["transports/src"],
        never: &["peerwren", "peerwren_kernels", "faer", "actix"],
        why: "transports never know tasks, messages' meaning or arithmetic",
    },
    Rule {
        parts: &["runtime/src/actors"],
        never: &["crate::sim"],
        why: "actors and the simulator never know each other",
    },
    Rule {
        parts: &["runtime/src/sim"],
        never: &["crate::actors", "actix", "tokio"],
        why: "actors and the simulator never know each other",
    },
    Rule {
        parts: &[
            "runtime/src/actors",
            "runtime/src/engine",
            "runtime/src/lambdapack",
            "runtime/src/linalg",
            "runtime/src/machine",
            "runtime/src/matrix",
            "runtime/src/plan",
            "runtime/src/run",
        ],
        never: &["faer", "ndarray"],
        why: "other libraries' matrices come and go by the session alone; kernels compute",
    },
    Rule {
        parts: &["runtime", "kernels", "transports", "tests", "benches"],
        never: &["do_send", "todo!", "unimplemented!"],
        why: "mailboxes are bounded and nothing is left open",
    },
];

/// Files of the library that may read a clock: everything else is given the time.
const CLOCK_READERS: &[&str] = &[
    "runtime/src/actors/clock.rs",
    "runtime/src/bin/",
    "transports/src/quic/",
    "transports/src/store/s3/requests.rs",
];

/// A manifest and the dependencies that it never has, developing ones aside.
const MANIFESTS: &[(&str, &[&str])] = &[
    (
        "kernels/Cargo.toml",
        &[
            "peerwren",
            "peerwren-transports",
            "tokio",
            "actix",
            "quinn",
            "rustls",
        ],
    ),
    (
        "transports/Cargo.toml",
        &["peerwren", "peerwren-kernels", "faer", "actix"],
    ),
    ("runtime/Cargo.toml", &["quinn", "rustls", "rcgen"]),
];

/// Second TLS stacks and their like, wherever they would come from.
const LOCK_NEVER: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "openssl",
    "openssl-sys",
    "native-tls",
];

#[test]
fn every_part_imports_only_what_it_may() {
    let root = root();
    let mut broken = Vec::new();
    for rule in RULES {
        for file in rule.parts.iter().flat_map(|part| sources(&root.join(part))) {
            let name = shown(&root, &file);
            // The machines' tests build plans as the library does and read a seed to replay.
            if name == "tests/tests/tidy.rs" || name.starts_with("runtime/src/machine/tests/") {
                continue;
            }
            for (number, line) in code_lines(&read(&file)) {
                for word in rule.never.iter().filter(|word| says(&line, word)) {
                    broken.push(format!("{name}:{number}: `{word}`: {}", rule.why));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_the_clock_reads_the_time() {
    let root = root();
    let mut broken = Vec::new();
    for part in ["runtime/src", "kernels/src", "transports/src"] {
        for file in sources(&root.join(part)) {
            let name = shown(&root, &file);
            if CLOCK_READERS.iter().any(|reader| name.starts_with(reader)) {
                continue;
            }
            for (number, line) in code_lines(&read(&file)) {
                if says(&line, "Instant::now") || says(&line, "SystemTime::now") {
                    broken.push(format!("{name}:{number}: reads a clock; be given the time"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn manifests_keep_the_layers_apart() {
    let root = root();
    for (manifest, never) in MANIFESTS {
        let has = dependencies(&read(&root.join(manifest)));
        let wrong: Vec<_> = never.iter().filter(|name| has.contains(**name)).collect();
        assert!(wrong.is_empty(), "{manifest} depends on {wrong:?}");
        assert!(
            !has.is_empty(),
            "{manifest} has no dependencies: is it read right?"
        );
    }
    let lock = read(&root.join("Cargo.lock"));
    for name in LOCK_NEVER {
        assert!(
            !lock.contains(&format!("name = \"{name}\"\n")),
            "Cargo.lock has {name}"
        );
    }
}

#[test]
fn files_are_short_and_say_what_they_own() {
    let root = root();
    let mut lengths = Vec::new();
    let mut broken = Vec::new();
    for part in ["runtime", "kernels", "transports", "tests", "benches"] {
        for file in sources(&root.join(part)) {
            let (name, text) = (shown(&root, &file), read(&file));
            let lines = text.lines().count();
            lengths.push(lines);
            if lines > FILE_LINES_MAX {
                broken.push(format!("{name}: {lines} lines; at most {FILE_LINES_MAX}"));
            }
            if !text.starts_with("//!") {
                broken.push(format!(
                    "{name}: does not open with `//!`, what it owns and never does"
                ));
            }
        }
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    if median >= FILE_LINES_MEDIAN_MAX {
        broken.push(format!(
            "the median file has {median} lines; under {FILE_LINES_MEDIAN_MAX} is wanted"
        ));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_rules_can_be_broken() {
    let text = "//! tokio\nuse std::time::Instant; // actix\nlet url = \"qu\\\"inn\";\nlet raw = r#\"a \" quinn\"#; let quote = '\"';\n/* async */\nfn asynchronous() {}\n";
    let lines = code_lines(text);
    let said = |word: &str| lines.iter().any(|(_, line)| says(line, word));
    assert!(said("Instant"));
    assert!(!said("tokio") && !said("actix") && !said("quinn") && !said("async"));
    assert!(says("actor.do_send(x)", "do_send") && says("use crate::sim::World;", "crate::sim"));
    assert!(
        !says("use crate::simple;", "crate::sim") && !says("use peerwren_kernels::op;", "peerwren")
    );
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\nb.workspace = true\n\
        [dev-dependencies]\nc = \"1\"\n[dependencies.d]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\ne = \"1\"\n";
    let expected = ["a", "b", "d", "e"].map(str::to_owned);
    assert_eq!(dependencies(manifest), BTreeSet::from(expected));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in the workspace")
        .into()
}

fn shown(root: &Path, file: &Path) -> String {
    file.strip_prefix(root)
        .expect("files lie under the root")
        .to_string_lossy()
        .into_owned()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Every Rust source below a folder, in order; none where the folder does not exist yet.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a listed entry").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines of a file with their numbers, without comments and the contents of strings.
fn code_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut within = Within::Code;
    for (number, line) in text.lines().enumerate() {
        let mut code = String::new();
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let (next, length) = match &within {
                Within::Comment if rest.starts_with("*/") => (Within::Code, 2),
                Within::Text(end) if rest.starts_with(end.as_str()) => (Within::Code, end.len()),
                // An escape hides the next character, in plain strings only.
                Within::Text(end) if end == "\"" && c == '\\' => (within, rest.len().min(2)),
                Within::Comment | Within::Text(_) => (within, c.len_utf8()),
                Within::Code if rest.starts_with("//") => break,
                Within::Code if rest.starts_with("/*") => (Within::Comment, 2),
                Within::Code if rest.starts_with("'\"'") => (Within::Code, 3),
                Within::Code => match raw_string(rest, &code) {
                    Some((length, end)) => (Within::Text(end), length),
                    None if c == '"' => (Within::Text("\"".to_owned()), 1),
                    None => {
                        code.push(c);
                        (Within::Code, c.len_utf8())
                    }
                },
            };
            within = next;
            rest = rest.get(length..).unwrap_or("");
        }
        lines.push((number + 1, code));
    }
    lines
}

/// Where a place of a source file lies.
enum Within {
    Code,
    Comment,
    /// A string that ends with these characters.
    Text(String),
}

/// Length of the start of a raw string, and its end, if one starts here.
fn raw_string(rest: &str, before: &str) -> Option<(usize, String)> {
    let opened = rest.strip_prefix('r')?;
    if before.ends_with(|c: char| c.is_alphanumeric() && c != 'b' || c == '_') {
        return None;
    }
    let hashes = opened.len() - opened.trim_start_matches('#').len();
    opened[hashes..]
        .starts_with('"')
        .then(|| (hashes + 2, format!("\"{}", "#".repeat(hashes))))
}

/// Whether a line says a word or path as a whole.
fn says(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(joins) && !after.is_some_and(joins)
    })
}

/// Names of the dependencies of a manifest, developing ones aside.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            inside = section == "dependencies" || section.ends_with(".dependencies");
            if let Some(name) = section.strip_prefix("dependencies.") {
                names.insert(name.to_owned());
            }
        } else if inside && let Some((name, _)) = line.split_once('=') {
            let name = name.trim().split('.').next().expect("split gives one part");
            names.insert(name.to_owned());
        }
    }
    names
}
