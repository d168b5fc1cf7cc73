//! Grids that are read or refused, the rows that they make, and what is written of fixed reports.

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;

use super::grid::Experiment;
use super::results::{Measured, Results};
use super::row::shell_line;
use super::shipped::SHIPPED;
use super::{Folder, Row};
use crate::report::{PhaseStats, ProfileSeries, Report};

const GRID: &str = r#"
title = "Trees"
repeat = 2
[run]
command = "qr"
inputs = "random:64x64:1"
check = true
[grid]
exchange = ["store", "peer"]
plan = [ { tree = "flat", workers = 1 }, { tree = "auto", workers = 2 } ]
[show]
exchange = "peer"
workers = 2
"#;

/// The head of a file, to which a table adds what is wrong.
const HEAD: &str = "title = \"t\"\n[run]\ncommand = \"qr\"\ninputs = \"random:64x64:1\"\n";

fn lines(text: &str) -> Vec<String> {
    let experiment = Experiment::parse("g.toml", text).unwrap();
    experiment.rows().iter().map(Row::line).collect()
}

#[test]
fn the_last_option_varies_fastest_and_repetitions_slowest() {
    let qr = "peerwren qr random:64x64:1 --check --exchange";
    let expected = [
        "store --tree flat --workers 1",
        "store --tree auto --workers 2",
        "peer --tree flat --workers 1",
        "peer --tree auto --workers 2",
    ];
    let expected = [expected, expected].concat();
    let expected: Vec<_> = expected.iter().map(|end| format!("{qr} {end}")).collect();
    assert_eq!(lines(GRID), expected);
    let experiment = Experiment::parse("g.toml", GRID).unwrap();
    assert_eq!(experiment.varied, ["exchange", "tree", "workers"]);
    assert_eq!(experiment.show, Some(3));
    assert_eq!(experiment.label(3), "exchange peer, tree auto, workers 2");
}

#[test]
fn options_become_words_as_their_kind_asks() {
    let table = [
        ("autoscale = 2\n", "--autoscale=2"),
        ("autoscale = true\npreload = false\n", "--autoscale"),
        (
            "advertise = [\"a:1\", \"b:2\"]\n",
            "--advertise a:1 --advertise b:2",
        ),
        ("store = \"/tmp/a b\"\n", "--store '/tmp/a b'"),
        ("beta = -1.50\n", "--beta -1.50"),
        ("block = 0x100\n", "--block 256"),
    ];
    for (text, words) in table {
        let expected = format!("peerwren qr random:64x64:1 {words}");
        assert_eq!(lines(&format!("{HEAD}{text}")), [expected], "{text}");
    }
    let simulated = "fleet = \"lambda-now\"\nset.nat.unreachable = 0.25\n[grid]\n\
        set.stragglers = { share = [0, 0.1] }\nexchange = [\"peer\"]\n";
    let sim = "peerwren sim qr random:64x64:1 --fleet lambda-now --set nat.unreachable=0.25";
    assert_eq!(
        lines(&format!("repeat = 2\n{HEAD}{simulated}")),
        [
            (0.to_string(), 1),
            ("0.1".into(), 1),
            ("0".into(), 2),
            ("0.1".into(), 2)
        ]
        .map(|(share, seed)| {
            format!("{sim} --set stragglers.share={share} --exchange peer --seed {seed}")
        })
    );
}

#[test]
fn what_cannot_be_is_refused_with_file_line_and_key() {
    let refused = [
        ("title = 1", "g.toml:1: title: expected a string, found 1"),
        (
            "titel = \"t\"",
            "g.toml:1: titel: expected title, repeat, [run], [grid] or [show]",
        ),
        (
            "title = \"t\"\nrepeat = 0",
            "g.toml:2: repeat: expected a number from 1 to 100, found 0",
        ),
        (
            "repeat = \"2\"",
            "g.toml:1: repeat: expected a number from 1 to 100, found `2`",
        ),
        ("run = 1", "g.toml:1: run: expected a table, found 1"),
        (
            "title = \"t\"\n[run]\ncommand = \"qr\"",
            "g.toml: expected inputs in [run] or [grid]",
        ),
        (
            "title = \"t\"\n[run]\ninputs = \"a\"",
            "g.toml: expected command in [run] or [grid]",
        ),
        (
            "[run]\ncommand = \"qr\"\ninputs = \"a\"",
            "g.toml: expected a title",
        ),
        ("a = [", "g.toml:1: unclosed array, expected `]`"),
    ];
    for (text, reason) in refused {
        let error = Experiment::parse("g.toml", text).unwrap_err();
        assert_eq!(error.to_string(), reason, "{text}");
    }
    // Each after HEAD, whose last line is 4.
    let refused = [
        (
            "block = []",
            "g.toml:5: run.block: expected a list of strings or numbers with at least one of them",
        ),
        (
            "block = 2026-01-01",
            "g.toml:5: block: expected a string, a number, a list or a table; found a date",
        ),
        ("alpha = nan", "g.toml:5: alpha: expected a finite number"),
        (
            "block = { a = 1 }",
            "g.toml:5: run.block: expected a value, found a table",
        ),
        (
            "report = \"r.json\"",
            "g.toml:5: run.report: rows cannot have it: the experiment keeps each row's report",
        ),
        (
            "q = \"q.npy\"",
            "g.toml:5: run.q: rows cannot have it: rows write no results, each would replace the last one's",
        ),
        (
            "--block = 4",
            "g.toml:5: run.--block: expected an option by its long name, without dashes before it",
        ),
        (
            "Block = 4",
            "g.toml:5: run.Block: expected an option by its long name, without dashes before it",
        ),
        (
            "tree = \"--quiet\"",
            "g.toml:5: run.tree: expected a value, found `--quiet`",
        ),
        (
            "set = 1\nfleet = \"f\"",
            "g.toml:5: run.set: expected a table of the fleet's keys, found 1",
        ),
        (
            "set.a = [1]\nfleet = \"f\"",
            "g.toml:5: run.set.a: expected a value, found a list",
        ),
        (
            "set.a = 1",
            "g.toml: set.a changes a fleet; expected fleet beside it",
        ),
        (
            "fleet = \"f\"\nengine = \"threads\"",
            "g.toml: engine and fleet are both given; a run is real or simulated",
        ),
        (
            "[grid]\nblock = 4",
            "g.toml:6: grid.block: expected a list of values, found 4",
        ),
        (
            "[grid]\nblock = []",
            "g.toml:6: grid.block: expected a list of values, found an empty one",
        ),
        (
            "[grid]\nblock = [4, 4]",
            "g.toml:6: grid.block: has 4 twice",
        ),
        (
            "[grid]\nblock = [4, { ib = 2 }]",
            "g.toml:6: grid.block: expected tables alone, or values alone",
        ),
        (
            "block = 4\n[grid]\nblock = [4, 8]",
            "g.toml: block is given twice for one run",
        ),
        (
            "[grid]\na = [{ ib = 4 }]\nib = [2]",
            "g.toml: ib is given twice for one run",
        ),
        (
            "[show]\nblock = 4",
            "g.toml:5: show: no combination of the grid has these values",
        ),
        (
            "[grid]\nset.a = 1",
            "g.toml:6: grid.set.a: expected a list of values, found 1",
        ),
        ("fleet = \"f\"\nseed = 1\n[grid]\nblock = [1]", ""),
    ];
    for (text, reason) in refused {
        let read = Experiment::parse("g.toml", &format!("{HEAD}{text}"));
        let told = read.map_or_else(|error| error.to_string(), |_| String::new());
        assert_eq!(told, reason, "{text}");
    }
    let many: Vec<_> = (1..=32).map(|n| n.to_string()).collect();
    let many = many.join(", ");
    let text = format!("repeat = 2\n{HEAD}[grid]\nblock = [{many}]\nib = [{many}]");
    assert_eq!(
        Experiment::parse("g.toml", &text).unwrap_err().to_string(),
        "g.toml: the grid has 32 x 32 x 2 repetitions = 2048 runs; at most 1000"
    );
    let text = format!("repeat = 2\n{HEAD}fleet = \"f\"\nseed = 4");
    assert_eq!(
        Experiment::parse("g.toml", &text).unwrap_err().to_string(),
        "g.toml: seed is given and repeat is above 1; repeated simulations have seeds of their own"
    );
}

#[test]
fn shipped_experiments_are_read_and_files_are_refused_by_name() {
    for shipped in SHIPPED {
        let experiment = Experiment::open(shipped.name).unwrap();
        assert!(!experiment.varied.is_empty(), "{}", shipped.name);
    }
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.toml");
    let told = Experiment::open(none.to_str().unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        told.contains("No such file") && told.contains("block-size"),
        "{told}"
    );
    let told = Experiment::open(folder.path().to_str().unwrap()).unwrap_err();
    assert!(
        told.to_string()
            .ends_with("expected a grid file, found a folder")
    );
    let long = folder.path().join("long.toml");
    fs::write(&long, " ".repeat((1 << 20) + 1)).unwrap();
    let told = Experiment::open(long.to_str().unwrap()).unwrap_err();
    assert!(told.to_string().ends_with("has more than 1048576 bytes"));
}

/// A report that differs from the next one in what its number says.
fn report(number: u64) -> Report {
    let mut factor = PhaseStats {
        factor_s: 0.5 * number as f64,
        compute_s: 0.25,
        tasks: 10,
        flops: 1_000_000_000,
        ..PhaseStats::default()
    };
    factor.bytes.peer = 32_768 * number;
    factor.bytes.store_read = 65_536;
    factor.requests.store_get = 3;
    let profile = ProfileSeries {
        t_s: vec![0.0, 0.25],
        ready: vec![1, 1],
        running: vec![1, 1],
        workers: vec![1, 2],
    };
    Report {
        command: "qr".to_owned(),
        m: 64,
        n: 64,
        block: 32,
        ib: 8,
        workers: 2,
        cores: 1,
        tree: "flat".to_owned(),
        factor,
        profile,
        ..Report::default()
    }
}

fn measured(experiment: &Experiment) -> Vec<Measured> {
    let rows = experiment.rows().into_iter();
    rows.map(|row| Measured {
        outcome: match 2 * row.point as u64 + u64::from(row.repetition) {
            8 => Err("a worker was | lost".to_owned()),
            number => Ok(report(number)),
        },
        row,
    })
    .collect()
}

fn results<'a>(experiment: &'a Experiment, measured: &'a [Measured]) -> Results<'a> {
    Results {
        experiment,
        measured,
        timeline: None,
        timeline_line: None,
        machine: "2 cores",
    }
}

#[test]
fn tables_of_fixed_reports_are_these() {
    let experiment = Experiment::parse("g.toml", GRID).unwrap();
    let measured = measured(&experiment);
    let results = results(&experiment, &measured);
    let csv = results.csv();
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows.len(), 9);
    let header = "point,repetition,option:exchange,option:tree,option:workers,command,input,m,n,block,ib,tree,";
    assert!(rows[0].starts_with(header), "{}", rows[0]);
    assert_eq!(
        rows[1],
        "1,1,store,flat,1,qr,,64,64,32,8,flat,2,1,,,,,0,0,0,0.5,0.25,0,0.75,2,10,0,1000000000,32768,32768,65536,\
         0,0,0,0,1,2,0,3,0,0,0,0,0,0,0,0,,,\
         peerwren qr random:64x64:1 --check --exchange store --tree flat --workers 1,"
    );
    let columns = rows[0].split(',').count();
    assert_eq!(rows[1].split(',').count(), columns);
    assert!(
        rows[8].ends_with("--workers 2,a worker was | lost"),
        "{}",
        rows[8]
    );
    let qr = "peerwren qr random:64x64:1 --check --exchange";
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        results.markdown(),
        format!(
            "# Trees\n\n7 of 8 runs so far, medians of 2 each. peerwren {version} on 2 cores.\n\n\
| exchange | tree | workers | time | GFLOP/s | between workers | store read | store requests | core-seconds | runs | line |\n\
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n\
| store | flat | 1 | 750 ms | 1.5 | 48 KiB (1.50x) | 64 KiB (2.00x) | 3 | 1.25 | 2 | `{qr} store --tree flat --workers 1` |\n\
| store | auto | 2 | 1.75 s | 0.583 | 112 KiB (3.50x) | 64 KiB (2.00x) | 3 | 3.25 | 2 | `{qr} store --tree auto --workers 2` |\n\
| peer | flat | 1 | 2.75 s | 0.367 | 176 KiB (5.50x) | 64 KiB (2.00x) | 3 | 5.25 | 2 | `{qr} peer --tree flat --workers 1` |\n\
| peer | auto | 2 | 3.50 s | 0.286 | 224 KiB (7.00x) | 64 KiB (2.00x) | 3 | 6.75 | 1, failed | `{qr} peer --tree auto --workers 2` |\n"
        )
    );
}

#[test]
fn the_page_is_one_file_and_whole() {
    let experiment =
        Experiment::parse("g.toml", &GRID.replace("Trees", "<Trees> & \\\"more\\\"")).unwrap();
    let measured = measured(&experiment);
    let page = results(&experiment, &measured).page();
    let names = crate::page::elements::elements(&page);
    let count = |name: &str| names.iter().filter(|seen| **seen == name).count();
    assert_eq!(
        (count("svg"), count("table"), count("script"), count("img")),
        (3, 2, 0, 0)
    );
    assert!(page.contains("<h1>&lt;Trees&gt; &amp; &quot;more&quot;</h1>"));
    assert!(page.contains("a worker was | lost"));
    let pictures: Vec<_> = results(&experiment, &measured).pictures();
    let pictures: Vec<_> = pictures.iter().map(|(name, _)| *name).collect();
    assert_eq!(pictures, ["bytes", "time", "profile"]);
    // Nothing was run yet.
    assert!(
        results(&experiment, &[])
            .page()
            .contains("0 of 8 runs so far")
    );
}

#[test]
fn a_folder_keeps_what_was_finished_under_the_same_line() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("out");
    let experiment = Experiment::parse("g.toml", GRID).unwrap();
    let rows = experiment.rows();
    let folder = Folder::open(&path, &experiment).unwrap();
    assert_eq!(folder.finished(&rows[0]), None);
    folder.keep(&rows[0], &report(3)).unwrap();
    let again = Folder::open(&path, &experiment).unwrap();
    assert_eq!(again.finished(&rows[0]), Some(report(3)));
    assert_eq!(again.finished(&rows[1]), None, "another repetition");
    let other = Row {
        words: [rows[0].words.as_slice(), &["--preload".to_owned()]].concat(),
        ..rows[0].clone()
    };
    assert_eq!(again.finished(&other), None, "another line");
    // Half of a report is none.
    let name = path.join("runs").join(format!("{}.json", rows[0].name()));
    fs::write(name, "{\"schema\": 1").unwrap();
    assert_eq!(again.finished(&rows[0]), None);
    fs::write(place.path().join("mine.txt"), "").unwrap();
    let told = Folder::check(place.path()).unwrap_err().to_string();
    assert!(
        told.ends_with("has files of something else; name a new folder, or one of an experiment")
    );
    let told = Folder::check(&place.path().join("mine.txt"))
        .unwrap_err()
        .to_string();
    assert!(told.ends_with("is a file; name a folder"), "{told}");
}

/// The words of a line as a POSIX shell takes them apart, as far as lines here go.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    let mut quoted = false;
    while let Some(c) = letters.next() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            '\\' if !quoted => word.get_or_insert_default().extend(letters.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

proptest! {
    #[test]
    fn a_line_is_taken_apart_into_its_words(words in prop::collection::vec("[ -~]{0,12}", 1..6)) {
        prop_assert_eq!(shell_words(&shell_line(&words)), words);
    }

    #[test]
    fn a_grid_has_each_combination_once(sizes in prop::collection::vec(1_usize..5, 0..5), repeat in 1_usize..4) {
        let mut text = format!("repeat = {repeat}\n{HEAD}[grid]\n");
        for (axis, size) in sizes.iter().enumerate() {
            let values: Vec<_> = (0..*size).map(|value| value.to_string()).collect();
            text.push_str(&format!("option{axis} = [{}]\n", values.join(", ")));
        }
        let rows = Experiment::parse("g.toml", &text).unwrap().rows();
        let count = sizes.iter().product::<usize>() * repeat;
        prop_assert_eq!(rows.len(), count);
        let names: BTreeSet<_> = rows.iter().map(Row::name).collect();
        prop_assert_eq!(names.len(), count);
        let mut repetitions = rows.chunks(count / repeat);
        let first = repetitions.next().unwrap();
        // Digits of one length: the first varies slowest.
        prop_assert!(first.is_sorted_by_key(|row| &row.words));
        for again in repetitions {
            prop_assert!(again.iter().map(|row| &row.words).eq(first.iter().map(|row| &row.words)));
        }
    }
}
