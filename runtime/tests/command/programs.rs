//! Programs of the user's own: by the command with the kernels that there are, from Rust with others.

use std::fs;

use peerwren::kernels::op::{KernelOp, KernelSet};
use peerwren::lambdapack::Program;
use peerwren::linalg::{Operation, ProgramCall, Request, plan, run};
use peerwren::matrix::{MatrixSource, ResultPlace};
use peerwren::options::{EngineKind, Exchange, MachineFacts, Policy, RunOptions, StoreChoice};

use crate::tools::{Folder, peerwren, peerwren_with};

/// y = A x in tiles of 4 x 3, with what is sums beside it and the numbers of A's rows.
const PRODUCT: &str = "program product
param m, n
include \"sizes.lp\"
input A[i in 0..mt, j in 0..nt] : full(rows(i), cols(j))
input x[j in 0..nt] : full(cols(j), 1)
input q[i in 0..mt] : index(rows(i)) = iota(4 * i)
tile y[i, j] : full(rows(i), 1)
tile p[i] : index(rows(i))
output y[i in 0..mt] = y[i, nt]
output Y[i in 0..mt, j in 0..1] = y[i, nt]
output last[i in 0..1] = y[mt - 1, nt]
output p[i in 0..mt] = p[i]
for i in 0..mt {
  for j in 0..nt { y[i, j + 1] = gemm(y[i, j] when j > 0, A[i, j], x[j]) }
  p[i] = copy_rows(q[i])
}
";

const SIZES: &str = "def mt = cdiv(m, 4)
def nt = cdiv(n, 3)
def rows(i) = min(4, m - i * 4)
def cols(j) = min(3, n - j * 3)
";

/// Writes the program, without the statement whose kernel is not shipped.
fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    let text: Vec<&str> = PRODUCT
        .lines()
        .filter(|line| !line.contains("p[i]") && !line.contains("input q"))
        .collect();
    fs::write(folder.0.join("product.lp"), text.join("\n")).unwrap();
    fs::write(folder.0.join("sizes.lp"), SIZES).unwrap();
    folder
}

fn whole(source: &MatrixSource) -> Vec<f64> {
    let (m, n) = source.shape();
    let mut out = vec![0.0; (m * n) as usize];
    source
        .read_tile(0, 0, m as usize, n as usize, &mut out)
        .unwrap();
    out
}

/// The plain product of `random:10x7:1` and `random:7x1:2`.
fn expected() -> Vec<f64> {
    let of = |text: &str| whole(&MatrixSource::parse(text).unwrap());
    let (a, x) = (of("random:10x7:1"), of("random:7x1:2"));
    let row = |i: usize| (0..7).map(|j| a[j * 10 + i] * x[j]).sum();
    (0..10).map(row).collect()
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 1e-14,
            "{found} is not {expected}"
        );
    }
}

#[test]
fn a_program_runs_by_the_command_and_its_outputs_are_arrays_of_their_own_shape() {
    let folder = folder("program");
    let line = "run product.lp --param m=10 --param n=7 --input A=random:10x7:1 --input x=random:7x1:2 --workers 2";
    let outputs = "--output y=y.npy --output Y=Y.zarr --output last=last.npy --report r.json";
    let output = peerwren(&folder.0, &format!("{line} {outputs}"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        summary.starts_with("run of product.lp m=10 n=7 A=random:10x7:1 x=random:7x1:2\n"),
        "{summary}"
    );
    let open = |name: &str| MatrixSource::parse(folder.0.join(name).to_str().unwrap()).unwrap();
    close(&whole(&open("y.npy")), &expected());
    close(&whole(&open("Y.zarr")), &expected());
    close(&whole(&open("last.npy")), &expected()[8..]);
    let is_vector = ["y.npy", "Y.zarr", "last.npy"].map(|name| open(name).is_vector());
    assert_eq!(is_vector, [true, false, true]);
    let report = folder.report("r.json");
    assert_eq!(
        (&report["command"], &report["tasks"]),
        (&"run".into(), &9.into())
    );
    assert_eq!(report["block"], 4, "the longest side of a tile");
    assert_eq!(report["flops"], 2 * 10 * 7);
}

/// A program goes where other operations go: its parameters from the environment, `plan` before anything runs.
#[test]
fn a_program_is_planned_with_parameters_of_the_environment() {
    let folder = folder("environment");
    let arguments = "plan run product.lp --input A=random:10x7:1 --input x=random:7x1:2 --dot graph.dot --report p.json";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let sizes = [("PEERWREN_PARAM", "m=10,n=7")];
    let output = peerwren_with(&folder.0, &arguments, &sizes);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        page.starts_with("plan of run of product.lp m=10 n=7 A=random:10x7:1"),
        "{page}"
    );
    assert!(page.contains("tasks    9,"), "{page}");
    assert_eq!(folder.report("p.json")["tasks"], 9);
    let graph = String::from_utf8(folder.bytes("graph.dot")).unwrap();
    assert!(graph.contains("gemm(i=0, j=0)"), "{graph}");
}

#[test]
fn what_does_not_fit_a_program_is_told_before_anything_runs() {
    let folder = folder("misfits");
    fs::write(
        folder.0.join("far.lp"),
        "program far\ninput A[i in 1..2] : full(4, 4)\ntile B[i] : full(4, 4)\n\
        output B[i in 0..1] = B[i]\noutput A[i in 1..2] = A[i]\nB[0] = identity(A[1])",
    )
    .unwrap();
    fs::write(
        folder.0.join("same.lp"),
        "program same\ninput A[i in 0..1] : full(4, 4)\ntile B[i] : full(4, 4)\n\
        output B[i in 0..1] = B[i]\noutput A[i in 0..1] = A[i]\nB[0] = identity(A[0])",
    )
    .unwrap();
    let a = "--input A=random:10x7:1";
    let x = "--input x=random:7x1:2";
    let sizes = "--param m=10 --param n=7";
    let table = [
        (
            format!("product.lp {sizes} {a}"),
            "product.lp: input `x` is not given",
        ),
        (
            format!("product.lp {sizes} --input A=random:10x8:1 {x}"),
            "product.lp: input `A` is 10 x 8, but the program reads 10 x 7 with these parameters",
        ),
        (
            format!("product.lp {sizes} {a} {x} --input z=spd:3"),
            "product.lp: input `z` is none of the program's: A, x",
        ),
        (
            format!("product.lp {sizes} {a} {x} --output z=z.npy"),
            "z is no result of product.lp; expected each of these at most once: y, Y, last",
        ),
        (
            format!("product.lp {sizes} --param m=3"),
            "--param m is given twice",
        ),
        (
            format!("product.lp {sizes} {a} {a}"),
            "--input A is given twice",
        ),
        (
            "product.lp --block 4".to_owned(),
            "--block is for the algorithms that are built in",
        ),
        ("product.lp --param m".to_owned(), "expected NAME=INTEGER"),
        ("product.lp --input A".to_owned(), "expected NAME=MATRIX"),
        ("none.lp".to_owned(), "none.lp: cannot be read"),
        (
            "far.lp --input A=random:8x4".to_owned(),
            "far.lp: input `A` has tiles of one index alone, 1, so that the rows before it cannot be told",
        ),
        (
            "same.lp --input A=random:4x4 --output A=a.npy".to_owned(),
            "same.lp: output `A` shows A[0], which no task writes",
        ),
    ];
    for (line, text) in table {
        let output = peerwren(&folder.0, &format!("run {line}"));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line}: {told}");
        assert!(told.contains(text), "{line}: {told}");
        assert_eq!(told.lines().count(), 1, "{line}: {told}");
    }
    assert_eq!(
        folder.names(),
        ["far.lp", "product.lp", "same.lp", "sizes.lp"]
    );
}

/// A program that is wrong is shown with the place in its text.
#[test]
fn a_wrong_program_is_shown() {
    let folder = folder("wrong");
    let text = fs::read_to_string(folder.0.join("product.lp")).unwrap();
    let table = [
        (
            "gemm(y[i, j] when j > 0",
            "gem(y[i, j] when j > 0",
            "error: no kernel `gem`",
        ),
        (
            "when j > 0",
            "when j >= 0",
            "error: y[0, 0] is never written",
        ),
        (
            "y[i, j + 1] =",
            "y[i, j // 2] =",
            "error: y[0, 0] is written twice",
        ),
    ];
    for (right, wrong, headline) in table {
        fs::write(folder.0.join("product.lp"), text.replacen(right, wrong, 1)).unwrap();
        let line = "run product.lp --param m=10 --param n=7 --input A=random:10x7:1 --input x=random:7x1:2";
        let output = peerwren(&folder.0, line);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.starts_with(headline), "{told}");
        assert!(
            told.contains("--> product.lp:") && told.contains("^^^"),
            "{told}"
        );
    }
}

/// From Rust: a kernel of one's own, and an output of integers.
#[test]
fn a_program_runs_with_a_kernel_of_the_users_own() {
    let folder = Folder::new("own-kernel");
    let mut kernels = KernelSet::standard();
    let copy = KernelOp::new("copy_rows(index(n)) -> index(n)", |tiles| {
        let from = tiles.input(0);
        let ([to], _) = tiles.outputs();
        to.data.copy_from_slice(from.data);
        Ok(())
    });
    kernels.register(copy.unwrap()).unwrap();
    let program = Program::parse_with("product.lp", PRODUCT, &[("sizes.lp", SIZES)]).unwrap();
    let call = ProgramCall::new(program)
        .param("m", 10)
        .param("n", 7)
        .input("A")
        .input("x");
    let inputs = ["random:10x7:1", "random:7x1:2"].map(|text| MatrixSource::parse(text).unwrap());
    let operation = Operation::Program(Box::new(call));
    let (m, n) = operation
        .shape(&inputs.each_ref().map(MatrixSource::shape))
        .unwrap();
    let options = RunOptions {
        workers: Some(3),
        engine: EngineKind::Threads,
        store: StoreChoice::Memory,
        ..RunOptions::default()
    };
    let options = options.resolve(m, n, &MachineFacts::read()).unwrap();
    let place = |name: &str| ResultPlace::parse(&folder.0.join(name)).unwrap();
    let mut request = Request::new(operation, inputs.to_vec(), options)
        .wanting("p", place("p.zarr"))
        .wanting("y", place("y.npy"));
    // Without it the plan is refused by the kernel's name.
    let refused = run(request.clone(), &mut |_| {}).unwrap_err().to_string();
    assert!(refused.starts_with("no kernel `copy_rows`"), "{refused}");
    request.kernels = kernels;
    let tasks = run(request.clone(), &mut |_| {})
        .unwrap()
        .report
        .factor
        .tasks;
    assert_eq!(tasks, 9 + 3);
    let open = |name: &str| MatrixSource::parse(folder.0.join(name).to_str().unwrap()).unwrap();
    close(&whole(&open("y.npy")), &expected());
    assert_eq!(
        whole(&open("p.zarr")),
        (0..10).map(f64::from).collect::<Vec<_>>()
    );
    let metadata = fs::read_to_string(folder.0.join("p.zarr/zarr.json")).unwrap();
    assert!(metadata.contains("\"int64\""), "{metadata}");
    // The files that it includes are part of the plan; the shipped ones need not be.
    let job = plan(&request).unwrap();
    assert_eq!(
        job.plan.phases[0].includes,
        [("sizes.lp".to_owned(), SIZES.to_owned())]
    );
}

/// What is positive of each row block, as many rows as there are, travels and is summed.
const SIEVE: &str = "program sieve
param mt
input A[i in 0..mt] : full(8, 1)
tile F[i] : few(8, 1)
tile s[i] : full(1, 1)
alias s[0] = z[0]
input z[i in 0..1] : full(1, 1) = zeros
output s[i in 0..mt] = s[i + 1]
for i in 0..mt {
  F[i] = positive(A[i]) @ i
  s[i + 1] = plus(s[i], F[i]) @ i + 1
}
";

/// Blocks that are shorter than their shape allows, and empty ones, come whole by every way, count what they
/// are, and a worker's memory and a checkpoint hold them.
#[test]
fn blocks_whose_length_shows_when_they_are_made_come_by_every_way() {
    let folder = Folder::new("few");
    let mut kernels = KernelSet::standard();
    let positive = KernelOp::new("positive(full(m,n)) -> few(m,n)", |tiles| {
        let from = tiles.input(0);
        let ([to], _) = tiles.outputs();
        let kept = from.data.iter().filter(|x| **x > 0.0);
        let count = kept.clone().count();
        to.data.iter_mut().zip(kept).for_each(|(to, x)| *to = *x);
        to.keep_rows(count);
        Ok(())
    });
    kernels.register(positive.unwrap()).unwrap();
    let plus = KernelOp::new("plus(full(1,1), few(m,1)) -> full(1,1)", |tiles| {
        let (before, rows) = (tiles.input(0).data[0], tiles.input(1));
        let there = rows.shape.rows as usize == rows.data.len();
        let ([to], _) = tiles.outputs();
        to.data[0] = rows.data.iter().sum::<f64>() + if there { before } else { f64::NAN };
        Ok(())
    });
    kernels.register(plus.unwrap()).unwrap();
    // Of 12 blocks of 8 the second has no positive entry, the third nothing else.
    let value = |i: usize| match i / 8 {
        1 => -1.0,
        2 => 2.0,
        _ => (i * 37 % 11) as f64 - 5.0,
    };
    let entries: Vec<f64> = (0..96).map(value).collect();
    let positive: Vec<f64> = entries.iter().copied().filter(|x| *x > 0.0).collect();
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (96,), }";
    let mut npy = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    npy.extend(format!("{header:<117}\n").into_bytes());
    npy.extend(entries.iter().flat_map(|x| x.to_le_bytes()));
    fs::write(folder.0.join("a.npy"), npy).unwrap();
    let input = MatrixSource::parse(folder.0.join("a.npy").to_str().unwrap()).unwrap();

    for exchange in [Exchange::Peer, Exchange::Cache, Exchange::Store] {
        for place in [StoreChoice::Memory, StoreChoice::Temporary] {
            let program = Program::parse("sieve.lp", SIEVE).unwrap();
            let call = ProgramCall::new(program).param("mt", 12).input("A");
            let operation = Operation::Program(Box::new(call));
            let (m, n) = operation.shape(&[input.shape()]).unwrap();
            let options = RunOptions {
                workers: Some(2),
                engine: EngineKind::Threads,
                policy: Policy::Owner,
                exchange,
                store: place,
                ..RunOptions::default()
            };
            let options = options.resolve(m, n, &MachineFacts::read()).unwrap();
            let result = ResultPlace::parse(&folder.0.join("s.npy")).unwrap();
            let mut request =
                Request::new(operation, vec![input.clone()], options).wanting("s", result);
            request.kernels = kernels.clone();
            let report = run(request, &mut |_| {}).unwrap().report;
            let sum = MatrixSource::parse(folder.0.join("s.npy").to_str().unwrap()).unwrap();
            let expected = positive.iter().sum();
            assert_eq!(whole(&sum).last(), Some(&expected), "{exchange:?}");
            let bytes = report.factor.bytes;
            let (few, sums) = (8 * positive.len() as u64, 8 * 12);
            match exchange {
                // Every block goes to the other worker but the first sum, which each makes for itself.
                Exchange::Peer => assert_eq!(bytes.peer, few + sums - 8),
                _ => assert_eq!((bytes.peer, bytes.store_written), (0, few + sums)),
            }
        }
    }
}
