//! Counts the blocks that a program moves, without running it: through the object store, and
//! between workers that keep what they have; blocks of few rows as what is likely. Never schedules; a
//! run does a little worse than the strict owners counted here, since it trades bytes for time.

use std::ops::AddAssign;

use peerwren_kernels::tile::{Kind, Shape};

use crate::lambdapack::{Bound, Task, TaskError, Tile};

/// Blocks moved, and how much they are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// How many blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The same in tiles: see [`tile_weight`].
    pub tiles: f64,
}

impl Traffic {
    fn add(&mut self, shape: Shape, times: u64) {
        self.blocks += times;
        self.bytes += times * shape.bytes() as u64;
        self.tiles += times as f64 * tile_weight(shape.kind);
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
        self.tiles += other.tiles;
    }
}

/// The part of a full tile that a tile of this kind is, whatever its size: triangles and unit
/// trapezoids half, compact WY factors 0.06 (ib = 32 of nb = 512, about), indices nothing, few rows all.
pub fn tile_weight(kind: Kind) -> f64 {
    match kind {
        Kind::Full | Kind::Few => 1.0,
        Kind::Unit | Kind::Upper | Kind::Lower => 0.5,
        Kind::Tfac => 0.06,
        Kind::Index => 0.0,
    }
}

/// What goes through the object store when every task reads its inputs from it and writes its
/// outputs to it: numpywren's way, no cache.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StoreTraffic {
    /// Inputs of tasks, the program's own among them.
    pub read: Traffic,
    /// Outputs of tasks.
    pub written: Traffic,
}

/// Counts [`StoreTraffic`], task by task.
///
/// # Errors
///
/// Where a task or a shape has no value.
pub fn store_traffic(bound: &Bound) -> Result<StoreTraffic, TaskError> {
    let mut traffic = StoreTraffic::default();
    for task in bound.tasks() {
        for tile in bound.inputs(task)?.present() {
            traffic.read.add(bound.likely_shape(tile)?, 1);
        }
        for tile in bound.outputs(task)?.present() {
            traffic.written.add(bound.likely_shape(tile)?, 1);
        }
    }
    Ok(traffic)
}

/// Counts what crosses between `workers` when each task runs at its home rank modulo `workers`
/// and a worker keeps every block it has made or fetched: each block goes once to each other worker
/// that reads it.
///
/// `input_at` says which worker has an input of the program; `None` counts nothing for it (every
/// worker loads its own from the store). A task without a home runs at rank 0.
///
/// # Errors
///
/// Where a task or a shape has no value.
pub fn owner_traffic(
    bound: &Bound,
    workers: u32,
    input_at: impl Fn(Tile) -> Option<u32>,
) -> Result<Traffic, TaskError> {
    let mut traffic = Traffic::default();
    owner_blocks(bound, workers, input_at, |_, shape, times| {
        traffic.add(shape, times);
    })?;
    Ok(traffic)
}

/// Tells which blocks [`owner_traffic`] counts: `sent(block, shape, times)`, where a block goes to `times` workers
/// that have not made it. The shape of a block of few rows is the likely one.
///
/// # Errors
///
/// Where a task or a shape has no value.
pub fn owner_blocks(
    bound: &Bound,
    workers: u32,
    input_at: impl Fn(Tile) -> Option<u32>,
    mut sent: impl FnMut(Tile, Shape, u64),
) -> Result<(), TaskError> {
    let workers = i64::from(workers.max(1));
    let place = |task: Task| bound.home(task).unwrap_or(0).rem_euclid(workers);
    let (mut readers, mut places) = (Vec::new(), Vec::new());
    let mut send = |tile: Tile, from: i64| -> Result<(), TaskError> {
        readers.clear();
        bound.readers(tile, &mut readers);
        places.clear();
        places.extend(
            readers
                .iter()
                .map(|reader| place(*reader))
                .filter(|to| *to != from),
        );
        places.sort_unstable();
        places.dedup();
        if !places.is_empty() {
            sent(tile, bound.likely_shape(tile)?, places.len() as u64);
        }
        Ok(())
    };
    for tile in bound.input_tiles() {
        if let Some(from) = input_at(tile) {
            send(tile, i64::from(from))?;
        }
    }
    for task in bound.tasks() {
        let from = place(task);
        for tile in bound.outputs(task)?.present() {
            send(tile, from)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambdapack::Program;

    /// qr_grid on square tiles; `cyclic` deals rows and columns cyclically instead of snake-wise.
    fn qr(tiles: i64, options: &str, cyclic: bool) -> Bound {
        let mut domains = Program::shipped("row_domains").expect("shipped").to_owned();
        if cyclic {
            for (name, body) in [
                ("snake(i, p)", "i % p"),
                ("flip(k, w)", "w"),
                ("dom(k, s)", "(k + s) % P"),
                ("slot(k, d)", "(d - k) % P"),
                ("heads(k)", "min(P, mt - k)"),
            ] {
                let start = domains.find(&format!("def {name}")).expect("a definition");
                let end = start + domains[start + 1..].find("\ndef").map_or(0, |at| at + 1);
                domains.replace_range(start..end, &format!("def {name} = {body}"));
            }
        }
        let source = Program::shipped("qr_grid").expect("shipped");
        let program = Program::parse_with("qr_grid.lp", source, &[("row_domains.lp", &domains)]);
        let text = format!("m={0} n={0} nb=8 ib=1 {options}", 8 * tiles);
        let params = text.split_whitespace().filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        match program.and_then(|program| program.bind(&params.collect())) {
            Ok(bound) => bound,
            Err(error) => panic!("{}", error.render()),
        }
    }

    fn peers(tiles: i64, options: &str, workers: u32, cyclic: bool) -> i64 {
        owner_traffic(&qr(tiles, options, cyclic), workers, |_| None)
            .expect("a sound program")
            .tiles
            .round() as i64
    }

    /// The table of the design: tiles that cross, T counted as 0.06 tile, triangles as half.
    #[test]
    fn the_store_moves_what_the_flat_tree_reads_and_writes() {
        for (tiles, expected) in [(16, 6_982.0), (32, 55_559.0)] {
            let traffic = store_traffic(&qr(tiles, "P=1", false)).expect("a sound program");
            assert_eq!(
                (traffic.read.tiles + traffic.written.tiles).ceil(),
                expected,
                "{tiles} tiles"
            );
        }
    }

    #[test]
    fn flat_and_binary_trees_move_as_much_as_the_matrix_many_times() {
        let flat = "P=1 HP=2 HQ=2";
        assert_eq!(peers(16, flat, 4, true), 1_436);
        assert_eq!(peers(32, flat, 4, true), 11_207);
        assert_eq!(peers(32, "P=1 HP=4 HQ=4", 16, true), 12_287);
        assert_eq!(peers(16, "P=16 bin=1 HP=2 HQ=2", 4, true), 1_509);
        assert_eq!(peers(32, "P=32 bin=1 HP=2 HQ=2", 4, true), 11_499);
        assert_eq!(peers(32, "P=32 bin=1 HP=4 HQ=4", 16, true), 15_369);
    }

    #[test]
    fn the_grid_tree_moves_little() {
        for cyclic in [false, true] {
            assert_eq!(peers(16, "P=2 Q=2 bin=1", 4, cyclic), 264);
            assert_eq!(peers(32, "P=2 Q=2 bin=1", 4, cyclic), 1_056);
            assert_eq!(peers(16, "P=4 Q=4 bin=1", 16, cyclic), 909);
            assert_eq!(peers(32, "P=4 Q=4 bin=1", 16, cyclic), 3_676);
        }
        // A chain over the heads is better still, and rotation costs nothing.
        for rot in ["rot=0", "rot=1"] {
            assert_eq!(peers(16, &format!("P=4 Q=4 {rot}"), 16, false), 785);
        }
    }

    #[test]
    fn bytes_are_those_of_the_shapes() {
        // 2 x 1 tiles of 8 x 8 on two ranks: the one tile that crosses is the triangle of row 1.
        let source = Program::shipped("qr_grid").expect("shipped");
        let program = Program::parse("qr_grid.lp", source).expect("a sound program");
        let params = [("m", 16), ("n", 8), ("nb", 8), ("ib", 4), ("P", 2)];
        let bound = program
            .bind(&params.map(|(name, value)| (name.to_owned(), value)).into())
            .expect("bound");
        let traffic = owner_traffic(&bound, 2, |_| None).expect("a sound program");
        assert_eq!(
            traffic,
            Traffic {
                blocks: 1,
                bytes: 36 * 8,
                tiles: 0.5
            }
        );
        // With all inputs at rank 0, row 1's tile crosses too.
        let traffic = owner_traffic(&bound, 2, |_| Some(0)).expect("a sound program");
        assert_eq!(traffic.bytes, (36 + 64) * 8);
    }

    /// What the automatic choices reckon with is what the programs move, but for triangles and edges.
    #[test]
    fn choices_reckon_with_what_programs_move() {
        use crate::options::{Method, Problem, crossing};
        let (tiles, nb) = (24_u64, 8_u32);
        let n = tiles * u64::from(nb);
        let product = Method::Product { depth: n };
        let table = [
            ("qr_grid", Method::Qr, "ib=1 ", "m n", (2, 2, 1)),
            ("qr_grid", Method::Qr, "ib=1 ", "m n", (1, 4, 1)),
            ("qr_grid", Method::Qr, "ib=1 ", "m n", (4, 4, 1)),
            ("cholesky", Method::Cholesky, "", "n", (2, 2, 1)),
            ("cholesky", Method::Cholesky, "", "n", (4, 4, 1)),
            ("gemm", product, "", "m n l", (2, 2, 1)),
            ("gemm", product, "", "m n l", (2, 2, 2)),
            ("gemm", product, "", "m n l", (4, 2, 2)),
            ("gemm", product, "", "m n l", (1, 2, 4)),
        ];
        for (name, method, options, sides, (p, q, z)) in table {
            let mut text = format!("{options} nb={nb} P={p} Q={q}");
            for side in sides.split_whitespace() {
                text += &format!(" {side}={n}");
            }
            if z > 1 {
                text += &format!(" Z={z}");
            }
            let bound = shipped(name, &text);
            let workers = p * q * z;
            let at = |task: Task| bound.home(task).unwrap_or(0);
            let first = |tile: Tile| {
                let mut readers = Vec::new();
                bound.readers(tile, &mut readers);
                readers.first().map(|reader| at(*reader) as u32)
            };
            let is_product = method == product;
            let input_at = |tile| if is_product { first(tile) } else { None };
            let traffic = owner_traffic(&bound, workers, input_at).expect("a sound program");
            let problem = Problem { m: n, n, method };
            let model = crossing(&problem, nb, (p, q, z)) / f64::from(nb * nb);
            let ratio = traffic.tiles / model;
            let exactly = if is_product { 0.999..1.001 } else { 0.8..1.1 };
            assert!(
                exactly.contains(&ratio),
                "{name} on {p} x {q} x {z}: {ratio}"
            );
        }
    }

    fn shipped(name: &str, params: &str) -> Bound {
        let source = Program::shipped(name).expect("shipped");
        let program = Program::parse(&format!("{name}.lp"), source).expect("a sound program");
        let params = params.split_whitespace().filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        program.bind(&params.collect()).expect("bound")
    }
}
