//! Indices in which several loop variables occur together: solved by elimination, not by trying.

use proptest::prelude::*;

use super::super::query::TRIED;
use super::super::{Bound, Program};
use super::oracle::{compare, compare_relations};
use super::params;

fn bound(source: &str, text: &str) -> Bound {
    let bound = Program::parse("coupled.lp", source).and_then(|p| p.bind(&params(text)));
    match bound {
        Ok(bound) => bound,
        Err(error) => panic!("{source}\n{}", error.render()),
    }
}

/// Values tried to find the writer of every tile, and how many tiles there are.
fn tried(bound: &Bound) -> (u64, u64) {
    let tiles: Vec<_> = bound
        .tasks()
        .flat_map(|task| {
            bound
                .outputs(task)
                .expect("outputs")
                .present()
                .collect::<Vec<_>>()
        })
        .collect();
    TRIED.with(|tried| tried.set(0));
    for tile in &tiles {
        assert!(
            bound.writer(*tile).is_some(),
            "{}",
            bound.describe_tile(*tile)
        );
    }
    (TRIED.with(std::cell::Cell::get), tiles.len() as u64)
}

#[test]
fn as_many_equations_as_unknowns_need_no_trying() {
    for (index, rank) in [
        ("i + j, i - j", 2),
        ("2 * i + 3 * j, i + j", 2),
        ("i + j, j + k, i + k", 3),
        ("i + 2 * j + 3 * k, j - k, 5 - k - i", 3),
        ("both(i, j), n - (i - j)", 2),
        ("d + j, d - j", 2),
        ("j + i + i, j + j - i", 2),
    ] {
        let names: Vec<String> = (0..rank).map(|at| format!("a{at}")).collect();
        let inner = if rank == 3 {
            "for k in 0..n {"
        } else {
            "for k in 0..1 {"
        };
        let source = format!(
            "program coupled param n def both(x, y) = x + 2 * y
tile T[{0}] : full(1, 1)
for i in 0..n {{ for j in 0..n {{ {inner} let d = 2 * i + 1
T[{index}] = f() }} }} }}",
            names.join(", ")
        );
        let small = bound(&source, "n=5");
        small
            .check()
            .unwrap_or_else(|error| panic!("{}", error.render()));
        compare_relations(&small);
        // `k` in `0..1` is a loop too: of its one value nothing is known from the tile.
        let (tried, tiles) = tried(&bound(&source, "n=16"));
        let most = if rank == 3 { 0 } else { tiles };
        assert!(tried <= most, "{index}: {tried} values for {tiles} tiles");
    }
}

#[test]
fn fewer_equations_than_unknowns_try_one_variable() {
    let source = "program coupled param n
tile T[a] : full(1, 1)
for i in 0..n { for j in 0..2 { T[2 * i + j] = f() } }";
    compare(&bound(source, "n=9"));
    // The variable with the fewest values is tried; the other follows.
    let (tried, tiles) = tried(&bound(source, "n=500"));
    assert!(tried <= 2 * tiles, "{tried} values for {tiles} tiles");
}

#[test]
fn elimination_keeps_to_integers_and_to_faults() {
    // i + j and i - j have the same parity: half of the tiles that are asked for have no writer.
    let source = "program coupled param n
tile T[a, b] : full(1, 1)
tile U[a, b] : full(1, 1)
for i in 0..n { for j in 0..n {
  T[i + j, i - j] = f()
  U[i, j] = g(T[i, j] when i >= j and (i + j) % 2 == 0 and (i + j) // 2 < n and i // (1 + j) >= 0)
} }";
    for n in 1..7 {
        let bound = bound(source, &format!("n={n}"));
        bound
            .check()
            .unwrap_or_else(|error| panic!("{}", error.render()));
        compare(&bound);
    }
}

/// One linear index over `vars`, with small factors.
fn linear(vars: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(-2i64..3, vars).prop_map(|factors| {
        let terms = factors
            .iter()
            .enumerate()
            .filter(|(_, factor)| **factor != 0);
        let terms: Vec<String> = terms
            .map(|(at, factor)| format!("{factor} * v{at}"))
            .collect();
        if terms.is_empty() {
            "0".to_owned()
        } else {
            terms.join(" + ")
        }
    })
}

/// A program of any rank: a task writes its own tile and one at indices that are distinct by a
/// triangular change of variables, and reads tiles at coupled indices.
fn program() -> impl Strategy<Value = String> {
    (1usize..=8).prop_flat_map(|rank| {
        let lower = prop::collection::vec(-2i64..3, rank * rank);
        let reads = prop::collection::vec(
            (
                prop::collection::vec(linear(rank), rank),
                prop::sample::select(vec!["T", "U"]),
            ),
            1..3,
        );
        let lead = prop::sample::select(vec!["0", "1", "clog2(n)", "2 ** (n % 2)"]);
        (lower, reads, lead).prop_map(move |(lower, reads, lead)| {
            let names: Vec<String> = (0..rank).map(|at| format!("v{at}")).collect();
            let all = names.join(", ");
            let mut text = format!(
                "program coupled\nparam n\ntile T[{all}] : full(1, 1)\ntile U[{all}] : full(1, 1)\n"
            );
            // 2 values each but for the first loop: at most 2 ** 7 x 4 tasks.
            for (at, name) in names.iter().enumerate() {
                let range = if at == 0 {
                    format!("{lead}..{lead} + n")
                } else {
                    "0..2".to_owned()
                };
                text += &format!("for {name} in {range} {{ ");
            }
            let index = (0..rank).map(|at| {
                let mut sum = names[at].clone();
                for (before, name) in names[..at].iter().enumerate() {
                    let factor = lower[at * rank + before];
                    if factor != 0 {
                        sum += &format!(" + {factor} * {name}");
                    }
                }
                sum
            });
            let index: Vec<String> = index.collect();
            let ins = reads
                .iter()
                .map(|(index, family)| format!("{family}[{}]", index.join(", ")));
            let ins: Vec<String> = ins.collect();
            text += &format!(
                "\nT[{all}], U[{}] = f({})\n{}",
                index.join(", "),
                ins.join(", "),
                "}".repeat(rank)
            );
            text
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn programs_of_any_rank_equal_their_unrolling(source in program(), n in 1i64..5) {
        compare_relations(&bound(&source, &format!("n={n}")));
    }
}
