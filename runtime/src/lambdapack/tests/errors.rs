//! What the writer of a wrong program sees.

use super::super::{Program, ProgramError};
use super::{params, shipped};

const CHOLESKY: &str = r#"program cholesky
param n, nb
def nt = cdiv(n, nb)
def sz(i) = min(nb, n - i * nb)
input A[i in 0..nt, j in 0..i + 1] : full(sz(i), sz(j))
tile S[i, j, k] : full(sz(i), sz(j))
tile L[i, j] : if i == j then lower(sz(i), sz(i)) else full(sz(i), sz(j))
alias S[i, j, 0] = A[i, j]
output L[i in 0..nt, j in 0..i + 1] = L[i, j]
for k in 0..nt {
  L[k, k] = potrf(S[k, k, k])
  for i in k + 1..nt {
    L[i, k] = trsm(L[k, k], S[i, k, k])
    for j in k + 1..i + 1 {
      S[i, j, k + 1] = syrk(S[i, j, k], L[i, k], L[j, k])
    }
  }
}
"#;

/// The rendered error of `CHOLESKY` with `from` replaced by `to`.
fn error(from: &str, to: &str) -> String {
    assert!(CHOLESKY.contains(from), "{from}");
    let source = CHOLESKY.replacen(from, to, 1);
    let result =
        Program::parse("cholesky.lp", &source).and_then(|program| program.check_small_models());
    result.expect_err("a wrong program").render()
}

fn headline(from: &str, to: &str) -> String {
    let text = error(from, to);
    text.lines()
        .next()
        .unwrap_or("")
        .trim_start_matches("error: ")
        .to_owned()
}

#[test]
fn the_program_itself_is_sound() {
    let program = Program::parse("cholesky.lp", CHOLESKY).expect("a sound program");
    assert!(program.check_small_models().expect("sound models") > 10);
    let bound = program.bind(&params("n=64 nb=4")).expect("bound");
    assert_eq!(bound.task_count(), 816);
    assert_eq!(
        program
            .bind(&params("n=64 nb=1"))
            .expect("bound")
            .task_count(),
        45_760
    );
}

#[test]
fn an_error_shows_the_line_and_a_caret() {
    let expected = "error: no tile family `LL`; declared: A, S, L
  --> cholesky.lp:13:20
   |
13 |     L[i, k] = trsm(LL[k, k], S[i, k, k])
   |                    ^^";
    assert_eq!(error("trsm(L[k", "trsm(LL[k"), expected);
    let expected =
        "error: `/` is not an integer operation; write `//` (floor) or cdiv(a, b) (ceiling)
 --> cholesky.lp:3:12
  |
3 | def nt = n / nb
  |            ^";
    assert_eq!(error("cdiv(n, nb)", "n / nb"), expected);
}

#[test]
fn names_arity_and_ranks_are_checked_when_read() {
    for (from, to, expected) in [
        (
            "cdiv(n, nb)",
            "cdiv(n, mb)",
            "no variable, parameter or definition `mb`",
        ),
        (
            "cdiv(n, nb)",
            "cdiv(n)",
            "`cdiv` takes 2 arguments, 1 given",
        ),
        (
            "cdiv(n, nb)",
            "size(n)",
            "no definition `size` above this; a definition calls earlier ones only",
        ),
        (
            "full(sz(i), sz(j))",
            "full(sz(i, j), sz(j))",
            "`sz` takes 1 arguments, 2 given",
        ),
        (
            "full(sz(i), sz(j))",
            "full(sz(i))",
            "full takes 2 sizes, 1 given",
        ),
        (
            "full(sz(i), sz(j))",
            "few(sz(i))",
            "few takes 2 or 3 sizes, 1 given",
        ),
        ("S[k, k, k]", "S[k, k]", "S has 3 indices, 2 given"),
        (
            "for i in k + 1..nt",
            "for k in k + 1..nt",
            "`k` hides a variable around it of that name",
        ),
        (
            "for j in k",
            "for nb in k",
            "`nb` hides the parameter of that name",
        ),
        (
            "L[k, k] = potrf",
            "A[k, k] = potrf",
            "A is an input; no task may write it",
        ),
        (
            "potrf(S[k, k, k])",
            "potrf(S[k, k, k]) @ i",
            "no variable, parameter or definition `i`",
        ),
        (
            "tile S[i, j, k]",
            "tile A[i, j, k]",
            "the family A is declared twice",
        ),
        (
            "alias S[i, j, 0] = A[i, j]",
            "alias S[i, j, 0] = S[i, j, 1]",
            "this alias leads back to its own family",
        ),
        (
            "for k in 0..nt {",
            "for k in 0..nt",
            "expected `{`, found `L`",
        ),
        ("n - i * nb", "n - 1.5 * nb", "expected `)`, found `.`"),
        (
            "param n, nb",
            "include \"x.lp\" param n, nb",
            "no file `x.lp` to include",
        ),
        ("def nt = cdiv(n, nb)", "def min = 1", "`min` is built in"),
        (
            "def nt = cdiv(n, nb)",
            "def nt = if n == 0 then 0 else nt",
            "`nt` calls itself",
        ),
        (
            "def nt = cdiv(n, nb)",
            "def nt = cdiv(sz(n), nb)",
            "`sz` is defined below this; a definition calls earlier ones only",
        ),
        (
            "def nt = cdiv(n, nb)",
            "def nt = sz",
            "`sz` is defined below this; a definition calls earlier ones only",
        ),
    ] {
        let found = headline(from, to);
        if to.contains("1.5") {
            assert!(found.starts_with("`.` has no meaning here"), "{found}");
        } else {
            assert_eq!(found, expected, "{from} -> {to}");
        }
    }
}

#[test]
fn small_models_find_what_reading_cannot() {
    for (from, to, expected) in [
        (
            "S[i, j, k + 1] = syrk",
            "S[i, j, 1] = syrk",
            " is written twice: by syrk(",
        ),
        (
            "L[i, k], L[j, k]",
            "L[i, k], L[j, k + 1]",
            "tasks wait for each other: ",
        ),
        (
            "= potrf(S[k, k, k])",
            "= potrf(S[k, k, k + 1])",
            "is never written, but potrf(k=",
        ),
        (
            "= syrk(S[i, j, k]",
            "= syrk(S[i, j, k + 2]",
            "is never written, but syrk(k=",
        ),
        (
            "= L[i, j]",
            "= S[i, j, j + 1]",
            "is never written, but L asks for it",
        ),
        (
            "lower(sz(i), sz(i))",
            "lower(sz(i), n - nb)",
            "a tile cannot be",
        ),
        (
            "potrf(S[k, k, k])",
            "potrf(S[k, k, k]) @ k % (k - 1)",
            "a divisor must be positive at potrf(k=",
        ),
        (
            "S[i, j, k + 1] = syrk(S[i, j, k]",
            "S[i, j, k] = syrk(S[i, j, k + 1]",
            " under the name of an alias",
        ),
        (
            "= trsm(L[k, k], S[i, k, k])",
            "= trsm(L[k, k], S[i, k, k + 1])",
            "is never written, but trsm(k=",
        ),
        (
            "k in 0..nt {",
            "k in 0..nt step nt - 4 {",
            "a loop's step must be positive",
        ),
    ] {
        let found = headline(from, to);
        assert!(found.contains(expected), "{from} -> {to}: {found}");
    }
    // The first clash in the program's order, at the least sizes that show it.
    let twice = CHOLESKY.replace("S[i, j, k + 1] = syrk", "S[i, j, 1] = syrk");
    let program = Program::parse("cholesky.lp", &twice).expect("well-formed");
    let error = program
        .bind(&params("n=3 nb=1"))
        .expect("bound")
        .check()
        .expect_err("written twice");
    let expected =
        "error: S[2, 2, 1] is written twice: by syrk(k=0, i=2, j=2) and syrk(k=1, i=2, j=2)
  --> cholesky.lp:15:7
   |
15 |       S[i, j, 1] = syrk(S[i, j, k], L[i, k], L[j, k])
   |       ^^^^^^^^^^
   = help: seen with n=3, nb=1";
    assert_eq!(error.render(), expected);
}

#[test]
fn a_circle_is_named() {
    let source = "program circle
param n
tile X[i]:full(1, 1)
tile Y[i]:full(1, 1)
for i in 0..n { X[i] = f(Y[i]) Y[i] = g(X[i]) }";
    let program = Program::parse("circle.lp", source).expect("well-formed");
    let error = program.check_small_models().expect_err("a circle");
    let text = error.diagnosis().headline().to_owned();
    assert_eq!(
        text,
        "tasks wait for each other: g(i=0) -> f(i=0) -> g(i=0)"
    );
}

#[test]
fn a_false_inverse_is_named_with_its_values() {
    let source = "program inverse
param n
input A[i in 0..n] : full(1, 1)
tile X[i] : full(1, 1)
for i in 0..n {
  let j = (i + 1) % n where i == (j - 1) % (n + 1)
  X[j] = copy(A[i])
}";
    let program = Program::parse("inverse.lp", source).expect("well-formed");
    let error = program
        .bind(&params("n=3"))
        .expect("bound")
        .check()
        .expect_err("a false inverse");
    let expected = "error: declared inverse is false at i=2, j=0
 --> inverse.lp:6:29
  |
6 |   let j = (i + 1) % n where i == (j - 1) % (n + 1)
  |                             ^^^^^^^^^^^^^^^^^^^^^^";
    assert_eq!(error.render(), expected);
}

#[test]
fn wrong_parameters_are_named() {
    let qr = shipped("qr_grid");
    for (text, expected) in [
        ("m=4 n=4", "qr_grid needs the parameter `nb`"),
        (
            "m=4 n=4 nb=2 grid=3",
            "qr_grid has no parameter `grid`; it has: m, n, nb, ib, P, Q, bin, rot, HP, HQ, r, look",
        ),
        (
            "m=0 n=4 nb=2",
            "qr_grid: the matrix must have rows and columns",
        ),
        (
            "m=4 n=4 nb=0",
            "qr_grid: a block must be 1 or more, its inner block 1 to the block",
        ),
        (
            "m=4 n=4 nb=2 P=0",
            "qr_grid: a grid has 1 x 1 ranks or more",
        ),
    ] {
        let error = qr.bind(&params(text)).expect_err("wrong parameters");
        assert!(matches!(error, ProgramError::Parameters(_)));
        assert_eq!(error.diagnosis().headline(), expected);
    }
    let error = qr
        .bind(&params("m=9223372036854775807 n=9223372036854775807 nb=1"))
        .expect_err("too wide");
    assert_eq!(
        error.diagnosis().headline(),
        "a loop's variable must fit 32 bits"
    );
    let error = shipped("qr_numpywren")
        .bind(&params("n=2000000000 nb=1"))
        .expect_err("too many");
    assert!(matches!(error, ProgramError::TooLarge(_)), "{error:?}");
}

#[test]
fn nesting_and_size_are_bounded() {
    let deep = |n: usize| format!("program p def a = {}1{}", "(".repeat(n), ")".repeat(n));
    let sums = format!("program p def a = 1{}", " + 1".repeat(5000));
    let blocks = format!("program p {}", "for i in 0..1 {".repeat(5000));
    let nots = format!("program p def a = {}1", "not ".repeat(5000));
    let minus = format!("program p def a = {}1", "-".repeat(5000));
    let powers = format!("program p def a = 1{}", " ** 1".repeat(5000));
    for source in [deep(5000), sums, blocks, nots, minus, powers] {
        let error = Program::parse("p.lp", &source).expect_err("too deep");
        assert!(
            error.diagnosis().headline().starts_with("nested more than"),
            "{error}"
        );
    }
    // Doubling definitions: 2 ** 40 operations.
    let mut source = "program p def f0(x) = x + x".to_owned();
    for at in 1..40 {
        source += &format!(" def f{at}(x) = f{0}(x) + f{0}(x + 1)", at - 1);
    }
    let error = Program::parse("p.lp", &source).expect_err("too long");
    assert!(matches!(error, ProgramError::TooLarge(_)), "{error}");
}
