//! The programs of the guide are read and checked, and its errors are what one sees.
//!
//! A program's fence has its parameters behind it, as `n10 nb4`: rustdoc takes no `=` there.

use super::super::Program;
use super::{bound, params};

const PAGES: [(&str, &str); 2] = [
    ("lambdapack.md", include_str!("../../../docs/lambdapack.md")),
    ("tutorial.md", include_str!("../../../docs/tutorial.md")),
];

/// The fenced parts of a page: what stands behind the fence, and the text.
fn fences(page: &str) -> Vec<(&str, &str)> {
    let mut out = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find("```") {
        let (word, inner) = rest[at + 3..].split_once('\n').expect("a line");
        let (text, after) = inner.split_once("```").expect("a fence that closes");
        out.push((word, text));
        rest = after;
    }
    out
}

#[test]
fn programs_of_the_guide_are_sound_and_its_errors_are_shown() {
    let mut seen = (0, 0);
    for (page, text) in PAGES {
        let fences = fences(text);
        for (at, (word, source)) in fences.iter().enumerate() {
            let Some(words) = word.strip_prefix("lambdapack") else {
                continue;
            };
            let name = source.split_whitespace().nth(1).expect("program NAME");
            let program = Program::parse(&format!("{name}.lp"), source);
            let what = format!("{page}, {name}");
            if words.trim() == "wrong" {
                let error = program.and_then(|program| program.check_small_models());
                let error = error.expect_err(&what).render();
                let (shown, expected) = fences[at + 1];
                assert_eq!(
                    (shown, expected.trim_end()),
                    ("text", error.as_str()),
                    "{what}"
                );
                seen.1 += 1;
            } else {
                let program = program.unwrap_or_else(|e| panic!("{what}: {}", e.render()));
                let pairs = words.split_whitespace().map(|word| {
                    let digit = word.find(|c: char| c.is_ascii_digit()).expect("a value");
                    format!("{}={} ", &word[..digit], &word[digit..])
                });
                let bound = program.bind(&params(&pairs.collect::<String>()));
                let bound = bound.unwrap_or_else(|e| panic!("{what}: {}", e.render()));
                assert!(bound.task_count() > 1, "{what}");
                bound
                    .check()
                    .unwrap_or_else(|e| panic!("{what}: {}", e.render()));
                let models = program.check_small_models();
                models.unwrap_or_else(|e| panic!("{what}: {}", e.render()));
                seen.0 += 1;
            }
        }
    }
    assert_eq!(seen, (7, 3), "programs and errors of the guide");
}

#[test]
fn a_small_program_is_drawn_and_a_large_one_is_refused() {
    let dot = bound("qr_grid", "m=12 n=8 nb=4 P=2")
        .to_dot()
        .expect("small");
    let tasks = bound("qr_grid", "m=12 n=8 nb=4 P=2").task_count() as usize;
    assert_eq!(dot.matches("shape=box").count(), 1);
    assert_eq!(
        dot.lines().filter(|line| line.contains("(k=")).count(),
        tasks
    );
    assert!(dot.contains("[label=\"geqrt(k=0, s=0)\"];"), "{dot}");
    assert!(dot.contains("peripheries=2"), "{dot}");
    assert!(dot.starts_with("digraph qr_grid {\n") && dot.ends_with("}\n"));
    let error = bound("qr_grid", "m=4000 n=4000 nb=4")
        .to_dot()
        .expect_err("large");
    assert!(
        error.to_string().contains("a graph is drawn of up to 1000"),
        "{error}"
    );
}
