//! Plans of programs that are not shipped: where inputs come from, and what is refused.

use std::sync::Arc;

use peerwren_kernels::op::KernelSet;
use peerwren_transports::block::{BlockKey, Indices};

use super::{InputFrom, Kept, PhaseSpec, Plan, PlanError, PlanSpec, Source};
use crate::lambdapack::{Generated, Program};
use crate::matrix::SourceSpec;

const SOURCE: &str = "program user
include \"sizes.lp\"
param m, nb, extra = 0
input A[i in 0..cdiv(m, nb)] : lower(size(m, nb, i), size(m, nb, i))
input E[i in 0..1] : full(nb, nb) = eye(0, i)
input X[i in 0..extra] : full(nb, nb)
tile Y[i, j] : full(nb, nb)
output Y[i in 0..1, j in 0..1] = Y[i, j]
Y[0, 0] = identity(E[0])
";

fn spec(source: &str, params: &[(&str, i64)], inputs: &[(&str, u64)]) -> PlanSpec {
    let matrix = |m: u64| InputFrom::Matrix(SourceSpec::random(m, m, 1), (2, 2));
    let inputs = inputs
        .iter()
        .map(|(name, m)| ((*name).to_owned(), matrix(*m)));
    let phase = PhaseSpec {
        name: "user".to_owned(),
        file: "user.lp".to_owned(),
        source: source.to_owned(),
        includes: vec![(
            "sizes.lp".to_owned(),
            "def size(m, nb, i) = min(nb, m - i * nb)".to_owned(),
        )],
        params: params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect(),
        inputs: inputs.collect(),
        results: vec![Kept {
            output: "Y".to_owned(),
            array: None,
        }],
    };
    PlanSpec {
        run: 1,
        phases: vec![phase],
    }
}

fn plan(source: &str, params: &[(&str, i64)], inputs: &[(&str, u64)]) -> Result<Arc<Plan>, String> {
    Plan::new(spec(source, params, inputs), KernelSet::standard())
        .map_err(|error: PlanError| error.to_string())
}

fn key(matrix: u16, at: &[i64]) -> BlockKey {
    BlockKey {
        run: 1,
        matrix,
        indices: Indices::new(at).expect("a rank"),
    }
}

#[test]
fn generated_inputs_are_sources_that_nobody_gives() {
    let params = [("m", 1), ("nb", 2)];
    let plan = plan(SOURCE, &params, &[("A", 1)]).expect("a sound plan");
    let (a, e) = (key(0, &[0]), key(1, &[0]));
    assert!(plan.is_source(&a) && plan.is_input(&a));
    assert!(plan.is_source(&e) && !plan.is_input(&e));
    assert_eq!(plan.sources(0), [a], "constants are not the user's input");
    let made = Source::Generated(Generated::Eye { row: 0, col: 0 });
    assert_eq!(plan.source_of(&e), Some(made));
    assert!(matches!(
        plan.source_of(&a),
        Some(Source::Matrix { row: 0, col: 0, .. })
    ));
    let mut readers = Vec::new();
    plan.readers(&e, &mut readers);
    assert_eq!(readers.len(), 1);
    assert_eq!(plan.starters(0), readers);
    assert_eq!(plan.source_of(&key(3, &[0, 0])), None);
}

#[test]
fn what_cannot_be_an_input_is_refused_with_a_sentence() {
    let params: &[(&str, i64)] = &[("m", 3), ("nb", 2)];
    for (source, params, inputs, expected) in [
        (
            SOURCE.to_owned(),
            params,
            &[][..],
            "user.lp: input `A` is not given",
        ),
        (
            SOURCE.to_owned(),
            &[("m", 3), ("nb", 2), ("extra", 1)],
            &[("A", 3)],
            "user.lp: input `X` is not given",
        ),
        (
            SOURCE.to_owned(),
            params,
            &[("A", 3), ("E", 3)],
            "user.lp: input `E` is made by the program itself: it is not given",
        ),
        (
            SOURCE.to_owned(),
            params,
            &[("A", 3), ("B", 3)],
            "user.lp: input `B` is none of the program's: A, E, X",
        ),
        (
            SOURCE.to_owned(),
            params,
            &[("A", 3), ("A", 3)],
            "user.lp: input `A` is given twice",
        ),
        (
            SOURCE.to_owned(),
            &[("m", 5), ("nb", 2)],
            &[("A", 4)],
            "user.lp: input `A` cannot give A[2]: lower(1,1) at row 4, column 0 does not lie in a \
             matrix of 4 x 4",
        ),
        (
            SOURCE.replacen("lower(size(m, nb, i), size(m, nb, i))", "index(nb)", 1),
            params,
            &[("A", 9)],
            "user.lp: input `A` cannot give A[0]: a matrix has no index tiles",
        ),
        (
            SOURCE.replacen("A[i in 0..cdiv(m, nb)]", "A[i in -1..2]", 1),
            params,
            &[("A", 9)],
            "user.lp: input `A` cannot give A[-1]: a matrix has tiles [i, j], or [i] in one column, \
             from 0 on",
        ),
    ] {
        let refused = plan(&source, params, inputs).expect_err(expected);
        assert_eq!(refused, expected);
    }
}

/// What the user of a program with one changed line sees.
fn explained(from: &str, to: &str) -> String {
    assert!(SOURCE.contains(from), "{from}");
    let source = SOURCE.replacen(from, to, 1);
    let params = [("m", 3), ("nb", 2)];
    let refused = Plan::new(spec(&source, &params, &[("A", 3)]), KernelSet::standard());
    refused.expect_err("a wrong program").explain()
}

#[test]
fn wrong_programs_are_refused_at_the_parameters_of_the_run_with_a_caret() {
    let text = explained("= identity(E[0])", "= identty(E[0])");
    let expected = "no kernel `identty`
 --> user.lp:9:11
  |
9 | Y[0, 0] = identty(E[0])
  |           ^^^^^^^
  = help: there are: ";
    assert!(text.starts_with(expected), "{text}");

    let text = explained("= identity(E[0])", "= identity(A[0])");
    assert!(
        text.contains("at identity()\n --> user.lp:9:11\n"),
        "{text}"
    );
    assert!(text.contains("identity"), "{text}");

    let text = explained("= identity(E[0])", "= identity(Y[0, 1])");
    let expected = "Y[0, 1] is never written, but identity() reads it
 --> user.lp:9:20
  |
9 | Y[0, 0] = identity(Y[0, 1])
  |                    ^^^^^^^";
    assert_eq!(text, expected);

    let text = explained(
        "Y[0, 0] = identity(E[0])",
        "for k in 0..m { Y[k // 2, 0] = identity(E[0]) }",
    );
    let expected = "Y[0, 0] is written twice: by identity(k=0) and identity(k=1)
 --> user.lp:9:17
  |
9 | for k in 0..m { Y[k // 2, 0] = identity(E[0]) }
  |                 ^^^^^^^^^^^^
  = help: seen with extra=0, m=3, nb=2";
    assert_eq!(text, expected);
}

/// What a worker is sent of a program: never its tasks, so that it is as long for any matrix.
#[test]
fn a_program_travels_in_less_than_8_kb_at_any_size() {
    for name in Program::shipped_names() {
        let text = Program::shipped(name).expect("shipped");
        if !text.starts_with("program ") {
            continue;
        }
        let length = |value: i64| {
            let program = Program::parse(name, text).expect("a sound program");
            let params: Vec<(&str, i64)> =
                program.params().map(|(name, _)| (name, value)).collect();
            let mut spec = spec(text, &params, &[]);
            spec.phases[0].includes.clear();
            crate::control::encode(&spec).len()
        };
        assert_eq!(length(1), length(1 << 40), "{name}");
        assert!(length(1) < 8_000, "{name}: {} bytes", length(1));
    }
}

/// Programs too large to be unrolled are checked on small models and, task by task, as they are.
#[test]
fn large_programs_are_checked_too() {
    const LARGE: &str = "program large
param n, nb = 1
tile X[i, j] : full(nb, nb)
input A[i in 0..1] : full(nb, nb) = zeros
output X[i in 0..1] = X[0, 0]
for i in 0..n { for j in 0..n { X[i, j] = identity(A[0]) } }
";
    let large = |source: &str| {
        let mut spec = spec(source, &[("n", 100)], &[]);
        spec.phases[0].results.clear();
        Plan::new(spec, KernelSet::standard())
    };
    let plan = large(LARGE).expect("a sound plan");
    assert_eq!(plan.task_count(0), 10_000);
    assert!(plan.warnings().is_empty(), "{:?}", plan.warnings());
    // Wrong where n is small alone: a warning.
    let source = LARGE.replacen("0..1] = X[0, 0]", "0..1] = X[3, 3]", 1);
    let plan = large(&source).expect("sound at the parameters of the run");
    let warnings: Vec<_> = plan.warnings().iter().map(|w| w.headline()).collect();
    assert_eq!(warnings, ["X[3, 3] is never written, but X asks for it"]);
    // Tasks that wait for each other would never end.
    let source = LARGE.replacen("identity(A[0])", "gram_step(A[0], X[j, i])", 1);
    let text = large(&source).expect_err("a circle").explain();
    assert!(
        text.starts_with("tasks wait for each other: gram_step(i="),
        "{text}"
    );
    for (to, expected) in [
        ("X[i, j % 8]", "is written twice: by identity(i="),
        // Seen only where n is large: small models have at most 13 x 13 tasks.
        ("X[i, j % 90]", "is written twice: by identity(i="),
    ] {
        let text = large(&LARGE.replacen("X[i, j] =", &format!("{to} ="), 1))
            .expect_err("two writers")
            .explain();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn tiles_that_nobody_reads_are_told_of_and_do_no_harm() {
    let source = SOURCE.replacen(
        "Y[0, 0] = identity(E[0])",
        "Y[0, 0] = identity(E[0])\nfor j in 1..3 { Y[0, j] = identity(Y[0, j - 1]) }
Y[1, 0] = identity(Y[0, 0])",
        1,
    );
    let plan = plan(&source, &[("m", 3), ("nb", 2)], &[("A", 3)]).expect("a sound plan");
    let warnings: Vec<String> = plan.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["identity makes Y[1, 0] and nobody reads it (user.lp:11:1)"]
    );
}

/// A phase shows a block of an earlier one as its own output: who reads it there reads that block.
#[test]
fn readers_are_found_through_phases_that_only_show_a_block() {
    const SHOWS: &str = "program shows
param nb
input B[i in 0..1] : full(nb, nb)
tile Z[i] : full(nb, nb)
output X[i in 0..1] = B[i]
Z[0] = identity(B[0])
";
    const MAKES: &str = "program makes
param nb
input A[i in 0..1] : full(nb, nb) = zeros
tile Y[i] : full(nb, nb)
output X[i in 0..1] = Y[i]
Y[0] = identity(A[0])
";
    let phase = |source: &str, from: Option<u8>| {
        let mut phase = spec(source, &[("nb", 2)], &[]).phases.remove(0);
        (phase.includes, phase.results) = (Vec::new(), Vec::new());
        let link = |from| ("B".to_owned(), InputFrom::Phase(from, "X".to_owned()));
        phase.inputs = from.map(link).into_iter().collect();
        phase
    };
    let phases = vec![
        phase(MAKES, None),
        phase(SHOWS, Some(0)),
        phase(SHOWS, Some(1)),
    ];
    let plan = Plan::new(PlanSpec { run: 1, phases }, KernelSet::standard());
    let plan = plan.expect("a sound plan");
    let made = plan.tasks(0).next().expect("one task");
    let mut found = Vec::new();
    plan.readers(&plan.outputs(&made)[0], &mut found);
    let expected: Vec<_> = plan.tasks(1).chain(plan.tasks(2)).collect();
    assert_eq!(found, expected);
}
