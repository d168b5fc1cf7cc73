//! Plans of programs that are not shipped: where inputs come from, and what is refused.

use std::sync::Arc;

use peerwren_kernels::op::KernelSet;
use peerwren_transports::block::{BlockKey, Indices};

use super::{InputFrom, Kept, PhaseSpec, Plan, PlanError, PlanSpec, Source};
use crate::lambdapack::Generated;
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
    let matrix = |m: u64| InputFrom::Matrix(SourceSpec::Random { m, n: m, seed: 1 }, 2);
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
