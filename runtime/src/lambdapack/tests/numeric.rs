//! The shipped QR programs run on the real kernels, from what they say of themselves alone.

use std::collections::BTreeMap;

use peerwren_kernels::op::{KernelSet, TaskShapes, TaskTiles};
use peerwren_kernels::tile::{Shape, TileMut, TileRef};

use super::super::{Bound, Task, Tile};
use super::bound;

type Blocks = BTreeMap<Tile, Vec<f64>>;

/// Runs all tasks in an order that the dependencies allow; `blocks` holds the inputs at first.
fn run(bound: &Bound, kernels: &KernelSet, blocks: &mut Blocks) {
    let mut waiting: BTreeMap<Task, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for task in bound.tasks() {
        found.clear();
        bound
            .predecessors(task, &mut found)
            .unwrap_or_else(|error| panic!("{}", error.render()));
        waiting.insert(task, found.len());
    }
    let mut ready: Vec<Task> = bound.starters().collect();
    let mut done = 0;
    while let Some(task) = ready.pop() {
        run_task(bound, kernels, blocks, task);
        done += 1;
        found.clear();
        bound.successors(task, &mut found).expect("successors");
        for next in &found {
            let left = waiting.get_mut(next).expect("a task");
            *left -= 1;
            if *left == 0 {
                ready.push(*next);
            }
        }
    }
    assert_eq!(done, waiting.len(), "{bound:?}");
}

fn run_task(bound: &Bound, kernels: &KernelSet, blocks: &mut Blocks, task: Task) {
    let what = || format!("{bound:?}: {}", bound.describe(task));
    let kernel = kernels
        .get(bound.kernel(task.stmt))
        .unwrap_or_else(|| panic!("no kernel for {}", what()));
    let (ins, outs) = (
        bound.inputs(task).expect("inputs"),
        bound.outputs(task).expect("outputs"),
    );
    let shape = |tile: Option<Tile>| tile.map(|tile| bound.shape(tile).expect("a shape"));
    let in_shapes: Vec<Option<Shape>> = ins.iter().map(|tile| shape(*tile)).collect();
    let out_shapes: Vec<Option<Shape>> = outs.iter().map(|tile| shape(*tile)).collect();
    let shapes = TaskShapes {
        inputs: &in_shapes,
        outputs: &out_shapes,
    };
    if let Err(error) = kernel.check(&shapes) {
        panic!("{}: {error}", what());
    }
    let mut made: Vec<Option<Vec<f64>>> = out_shapes
        .iter()
        .map(|shape| shape.map(|shape| vec![f64::NAN; shape.words()]))
        .collect();
    let inputs: Vec<Option<TileRef<'_>>> = ins
        .iter()
        .zip(&in_shapes)
        .map(|(tile, shape)| Some(TileRef::new((*shape)?, &blocks[&(*tile)?])))
        .collect();
    let mut outputs: Vec<Option<TileMut<'_>>> = made
        .iter_mut()
        .zip(&out_shapes)
        .map(|(data, shape)| Some(TileMut::new((*shape)?, data.as_mut()?)))
        .collect();
    let mut scratch = vec![f64::NAN; kernel.scratch_words(&shapes)];
    let mut tiles = TaskTiles {
        inputs: &inputs,
        outputs: &mut outputs,
        scratch: &mut scratch,
    };
    if let Err(error) = kernel.run(&mut tiles) {
        panic!("{}: {error}", what());
    }
    drop((inputs, outputs));
    for (tile, data) in outs.iter().zip(made) {
        if let (Some(tile), Some(data)) = (tile, data) {
            blocks.insert(*tile, data);
        }
    }
}

/// The input tiles of family `name`, each made by `tile`.
fn fill(bound: &Bound, blocks: &mut Blocks, name: &str, tile: impl Fn(&[i32], Shape) -> Vec<f64>) {
    let family = bound.family(name).expect("a family");
    for at in bound.input_tiles().filter(|tile| tile.family == family) {
        blocks.insert(
            at,
            tile(at.at.as_slice(), bound.shape(at).expect("a shape")),
        );
    }
}

/// The output `name` of a program that ran, by indices.
fn output(bound: &Bound, blocks: &Blocks, name: &str) -> BTreeMap<Vec<i32>, Vec<f64>> {
    let place = bound
        .output_names()
        .iter()
        .position(|output| output == name)
        .expect("an output");
    bound
        .results()
        .filter(|result| usize::from(result.output) == place)
        .map(|result| (result.at.as_slice().to_vec(), blocks[&result.tile].clone()))
        .collect()
}

/// Entry (i, j) by `entry`, tiles of `nb`.
fn dense(nb: usize, entry: impl Fn(usize, usize) -> f64) -> impl Fn(&[i32], Shape) -> Vec<f64> {
    move |at, shape| {
        let (i0, j0) = (at[0] as usize * nb, at[1] as usize * nb);
        let columns = (0..shape.cols as usize).map(|j| j0 + j);
        columns
            .flat_map(|j| (0..shape.rows as usize).map(move |i| (i0 + i, j)))
            .map(|(i, j)| entry(i, j))
            .collect()
    }
}

/// Numbers in [-1, 1) that depend on i and j alone.
fn noise(i: usize, j: usize) -> f64 {
    let mut x = (i as u64) << 32 | j as u64;
    for _ in 0..3 {
        x = (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Both ratios of a factorization, computed by the check program.
struct Case<'a> {
    factor: &'a str,
    apply: &'a str,
    a: &'a str,
    m: usize,
    n: usize,
    nb: usize,
    options: &'a str,
}

impl Case<'_> {
    /// Residual and orthogonality of `entry`'s matrix; `spoil` is added to R's first entry.
    fn ratios(
        &self,
        kernels: &KernelSet,
        entry: impl Fn(usize, usize) -> f64,
        spoil: f64,
    ) -> (f64, f64) {
        let Self {
            m, n, nb, options, ..
        } = *self;
        let k = m.min(n);
        let square = self.factor == "qr_numpywren";
        let sizes = if square {
            format!("n={n} nb={nb}")
        } else {
            format!("m={m} n={n} nb={nb} {options}")
        };
        let factor = bound(self.factor, &sizes);
        let mut blocks = Blocks::new();
        fill(&factor, &mut blocks, self.a, dense(nb, &entry));
        run(&factor, kernels, &mut blocks);
        let thin = if square { "" } else { "thin=1" };
        let apply = bound(self.apply, &format!("{sizes} r={k} {thin}"));
        let mut q_blocks = Blocks::new();
        fill(
            &apply,
            &mut q_blocks,
            "B",
            dense(nb, |i, j| f64::from(u8::from(i == j))),
        );
        for family in ["V", "T", "V2", "T2"] {
            if apply.family(family).is_some() {
                fill(&apply, &mut q_blocks, family, |at, shape| {
                    let index: Vec<i64> = at.iter().map(|i| i64::from(*i)).collect();
                    let made = factor
                        .family(family)
                        .and_then(|id| factor.resolve(id, &index))
                        .expect("a tile");
                    assert_eq!(
                        factor.shape(made).expect("a shape"),
                        shape,
                        "{family}{at:?}"
                    );
                    blocks[&made].clone()
                });
            }
        }
        run(&apply, kernels, &mut q_blocks);
        let check = bound(
            "check_qr",
            &format!("m={m} n={n} nb={nb} HP=2 HQ=2 dense={}", u8::from(square)),
        );
        let (q, mut r) = (
            output(&apply, &q_blocks, "X"),
            output(&factor, &blocks, "R"),
        );
        r.get_mut(&vec![0, 0]).expect("R's first tile")[0] += spoil;
        let mut all = Blocks::new();
        fill(&check, &mut all, "A", dense(nb, &entry));
        fill(&check, &mut all, "Q", |at, _| q[at].clone());
        fill(&check, &mut all, "R", |at, shape| {
            assert_eq!(r[at].len(), shape.words(), "R{at:?} of {factor:?}");
            r[at].clone()
        });
        run(&check, kernels, &mut all);
        let norm = |name: &str| output(&check, &all, name)[&vec![0, 0]][0];
        let (rnorm, anorm, onorm) = (norm("rnorm"), norm("anorm"), norm("onorm"));
        let eps = f64::EPSILON / 2.0;
        let residual = if rnorm == 0.0 {
            0.0
        } else {
            rnorm / (m.max(n) as f64 * eps * anorm)
        };
        (residual, onorm / (m as f64 * eps))
    }
}

const TREES: [&str; 7] = [
    "P=1",
    "P=2 Q=2",
    "P=2 Q=2 bin=1 rot=0",
    "P=3 Q=2 rot=0",
    "P=4 Q=1 bin=1",
    "P=4 Q=4",
    "P=99 bin=1 HP=2 HQ=2",
];

#[test]
fn every_tree_factors_every_shape() {
    let kernels = KernelSet::standard();
    let nb = 5usize;
    let sides = [1usize, 4, 5, 6, 14, 23, 30, 38];
    for (m, n) in sides.iter().flat_map(|m| sides.map(|n| (*m, n))) {
        for options in TREES {
            // A binary tree over all rows has as many domains as rows of tiles.
            let options = options.replace("99", &m.div_ceil(nb).to_string());
            let options = format!("ib=2 {options}");
            let case = Case {
                factor: "qr_grid",
                apply: "apply_q",
                a: "A",
                m,
                n,
                nb,
                options: &options,
            };
            let (residual, orthogonality) = case.ratios(&kernels, noise, 0.0);
            assert!(
                residual < 30.0 && orthogonality < 30.0,
                "{m} x {n} {options}: {residual} {orthogonality}"
            );
        }
    }
}

#[test]
fn the_authors_tree_factors_squares() {
    let kernels = KernelSet::standard();
    for tiles in 1..9 {
        let (n, nb) = (4 * tiles, 4);
        let case = Case {
            factor: "qr_numpywren",
            apply: "apply_q_numpywren",
            a: "I",
            m: n,
            n,
            nb,
            options: "",
        };
        let (residual, orthogonality) = case.ratios(&kernels, noise, 0.0);
        assert!(
            residual < 30.0 && orthogonality < 30.0,
            "{n}: {residual} {orthogonality}"
        );
    }
}

#[test]
fn the_check_sees_a_wrong_factor_and_bears_a_zero_matrix() {
    let kernels = KernelSet::standard();
    let case = Case {
        factor: "qr_grid",
        apply: "apply_q",
        a: "A",
        m: 17,
        n: 12,
        nb: 5,
        options: "P=2",
    };
    let (residual, orthogonality) = case.ratios(&kernels, noise, 1e-9);
    assert!(
        residual > 1e3 && orthogonality < 30.0,
        "{residual} {orthogonality}"
    );
    assert_eq!(case.ratios(&kernels, |_, _| 0.0, 0.0).0, 0.0);
}
