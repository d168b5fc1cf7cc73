//! Whatever is fed to it: an error, never a panic, never a long wait.

use proptest::prelude::*;

use super::super::{Program, Task};
use super::{bound, params};
use peerwren_transports::block::Indices;

/// Tries all that can be done with a text.
fn use_all(source: &str) {
    let Ok(program) = Program::parse("garbage.lp", source).map_err(|error| error.render()) else {
        return;
    };
    for text in ["m=5 n=5 nb=2", "n=5 nb=2", "m=5 n=3 nb=2 r=3 P=2"] {
        let bound = match program.bind(&params(text)) {
            Ok(bound) => bound,
            Err(error) => {
                error.render();
                continue;
            }
        };
        if bound.task_count() > 2_000 {
            continue;
        }
        if let Err(error) = bound.check() {
            error.render();
        }
    }
}

const WORDS: [&str; 56] = [
    "program",
    "param",
    "def",
    "require",
    "input",
    "tile",
    "alias",
    "output",
    "for",
    "in",
    "step",
    "if",
    "then",
    "else",
    "let",
    "where",
    "when",
    "prio",
    "and",
    "or",
    "not",
    "include",
    "m",
    "n",
    "nb",
    "i",
    "j",
    "k",
    "A",
    "S",
    "f",
    "full",
    "tfac",
    "min",
    "cdiv",
    "clog2",
    "0",
    "1",
    "2",
    "9223372036854775807",
    "..",
    "**",
    "//",
    "%",
    "+",
    "-",
    "*",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "=",
    "==",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_refused_or_read(source in "\\PC{0,80}") {
        use_all(&source);
        use_all(&format!("program x {source}"));
    }

    #[test]
    fn any_words_are_refused_or_read(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..60)) {
        use_all(&format!("program x param m = 1, n, nb {}", words.join(" ")));
    }

    #[test]
    fn mutated_programs_are_refused_or_read(
        name in prop::sample::select(vec!["qr_grid", "apply_q", "qr_numpywren", "apply_q_numpywren", "check_qr"]),
        at in 0usize..1000, word in prop::sample::select(&WORDS[..]), drop in 0usize..3,
    ) {
        let source = Program::shipped(name).expect("shipped");
        let mut words: Vec<&str> = source.split_inclusive(|c: char| !c.is_alphanumeric()).collect();
        let at = at * words.len() / 1000;
        for _ in 0..drop.min(words.len() - at) {
            words.remove(at);
        }
        words.insert(at, word);
        use_all(&words.concat());
    }

    #[test]
    fn any_task_is_refused_or_answered(stmt in 0u16..12, at in prop::collection::vec(any::<i32>(), 0..8)) {
        let program = bound("qr_grid", "m=21 n=13 nb=4 P=2 Q=2");
        let at: Vec<i64> = at.into_iter().map(i64::from).collect();
        let task = Task { stmt, at: Indices::new(&at).expect("eight at most") };
        let mut out = Vec::new();
        let known = program.tasks().any(|known| known == task);
        prop_assert_eq!(program.inputs(task).is_ok(), known);
        prop_assert_eq!(program.predecessors(task, &mut out).is_ok(), known);
        prop_assert_eq!(program.successors(task, &mut out).is_ok(), known);
        program.home(task);
        program.priority(task);
        program.describe(task);
        for family in 0..12 {
            let tile = super::super::Tile { family, at: task.at };
            program.readers(tile, &mut out);
            program.writer(tile);
            program.is_input(tile);
            program.is_result(tile, |_| true);
            let _ = program.shape(tile);
        }
    }
}
