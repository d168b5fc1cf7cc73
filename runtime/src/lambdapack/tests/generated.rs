//! Programs made at random, affine and not, against the oracle.

use proptest::prelude::*;

use super::super::{Program, ProgramError};
use super::oracle::compare;
use super::params;

/// An index expression over `vars`.
fn index(vars: &'static [&'static str]) -> impl Strategy<Value = String> {
    let var = prop::sample::select(vars);
    prop_oneof![
        4 => var.clone().prop_map(str::to_owned),
        3 => (var.clone(), -2i64..4).prop_map(|(v, c)| format!("{v} + {c}")),
        2 => (1i64..4, var.clone(), 0i64..3).prop_map(|(a, v, c)| format!("{a} * {v} - {c}")),
        2 => (var.clone(), var.clone()).prop_map(|(v, w)| format!("{v} + 2 * {w}")),
        2 => (var.clone(), var.clone()).prop_map(|(v, w)| format!("n - {v} - {w}")),
        2 => (var.clone(), 1i64..4).prop_map(|(v, c)| format!("{v} // {c}")),
        2 => (var.clone(), 2i64..4).prop_map(|(v, c)| format!("{v} % {c}")),
        2 => (var.clone(), var.clone()).prop_map(|(v, w)| format!("{v} + 2 ** ({w} % 5)")),
        1 => var.clone().prop_map(|v| format!("2 ** {v}")),
        1 => var.clone().prop_map(|v| format!("clog2({v} + 1)")),
        1 => (var.clone(), var.clone()).prop_map(|(v, w)| format!("min({v}, {w})")),
        1 => (var.clone(), var.clone()).prop_map(|(v, w)| format!("snake({v}, 2) + {w}")),
        1 => (var.clone(), var).prop_map(|(v, w)| format!("if {v} % 2 == 0 then {w} else {v} - 1")),
    ]
}

/// A condition over `i`, `l`, `j`.
fn condition() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "i + j < n",
        "j >= i",
        "i % 2 == 0",
        "l == 0 or j > 1",
        "not (i == j)",
        "j + 2 ** l < n",
        "i < j and l > 0",
        "tz(j) == l",
        "i // 2 == j // 2",
        "max(i, j) < 4",
        "1 == 1",
    ])
    .prop_map(str::to_owned)
}

/// A program of one nest: `T` is written once each task, at its own indices, and read through an
/// alias or directly at random places; reads outside are optional.
fn program() -> impl Strategy<Value = String> {
    const VARS: &[&str] = &["i", "l", "j"];
    let reads = prop::collection::vec((index(VARS), index(VARS), index(VARS), condition()), 1..4);
    let bounds = prop::sample::select(vec![
        ("0..n", "0..clog2(n)", "0..n - 2 ** l step 2 ** (l + 1)"),
        ("0..n", "0..2", "i..n"),
        ("1..n + 1 step 2", "0..clog2(n - i + 2)", "0..i"),
        ("0..n", "i % 2..3", "l..n - i step l + 1"),
        ("0..n", "0..3", "i // 2..min(n, i + 3)"),
    ]);
    (bounds, reads, condition(), index(&["i"]), any::<bool>()).prop_map(|((i, l, j), reads, guard, a, alias)| {
        // An input of its own makes every read exist; A's margins are wide enough for all indices.
        let mut text = "program generated
param n
def snake(i, p) = if i // p % 2 == 0 then i % p else p - 1 - i % p
input A[i in -30..300, l in -30..300, j in -30..300] : full(1, 1)
tile T[i, l, j] : full(1, 1)
tile U[i, l, j] : full(1, 1)
tile V[l, i, j] : full(1, 1)
"
        .to_owned();
        text += if alias {
            "alias U[i, l, 1] = A[l, i, l + i]\nalias V[l, i, j] = U[i, l, j + 1] when j < l\n"
        } else {
            "alias U[0, l, j] = A[l, j, 0] when l != j\nalias V[l, l, j] = A[l, 2 * j, 0]\n"
        };
        text += &format!("for i in {i} {{ for l in {l} {{\n  let z = {a}\n  for j in {j} {{\n if {guard} {{\n");
        let mut ins = vec!["A[z, l, j]".to_owned()];
        for (at, (x, y, w, when)) in reads.into_iter().enumerate() {
            let family = ["T", "U", "V"][at % 3];
            ins.push(format!("{family}[{x}, {y}, {w}] when {when}"));
        }
        text += &format!("T[i, l, j] = f({})\n}} else {{ T[i, l, j] = g(A[i, j, l]) }} }} }} }}", ins.join(", "));
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Reads of tiles that nobody writes are errors of such a program; all else must agree.
    #[test]
    fn generated_programs_equal_their_unrolling(source in program(), n in 1i64..8) {
        let parsed = match Program::parse("generated.lp", &source) {
            Ok(parsed) => parsed,
            Err(error) => panic!("{source}\n{}", error.render()),
        };
        let bound = match parsed.bind(&params(&format!("n={n}"))) {
            Ok(bound) => bound,
            Err(ProgramError::Text(_)) => return Ok(()),
            Err(error) => panic!("{source}\n{}", error.render()),
        };
        super::oracle::compare_relations(&bound);
        if bound.check().is_ok() {
            compare(&bound);
        }
    }
}
