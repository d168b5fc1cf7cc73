//! What is chosen where block and tree are left open: by a model of a run's time, from the shape, the
//! workers, their cores and their memory. Never looks at the machine: the same options give the same choice
//! everywhere, for the model's worker is fixed unless a calibration is named, and it is reckoned with
//! additions, products and quotients alone, which round alike on every CPU.
//!
//! A run takes the time of its computing, of its moving and of what cannot be done at once, the chain of
//! panels; that the three overlap is left out, so that bytes count where computing would hide them.
//! Bytes are those of the owners (paper-notes/counting-model.md), in entries of an m x n matrix on P x Q
//! ranks: a QR moves (Q - 1) (m n - n^2 / 2) of V and (P - 1) n^2 / 2 of the heads' rows, a Cholesky
//! factorization (P + Q - 2) n^2 / 2, an LU one as much as a QR and the rows that change places, a product
//! on P x Q x Z ranks (Q - 1) m l + (P - 1) l n + (Z - 1) m n.

use std::fmt;

use super::calibration::Calibration;
use super::{ByteSize, Heads};

/// Bounds of the automatic block: below, kernels are slow; above, they are not faster and parallelism is
/// scarce.
const BLOCKS: std::ops::RangeInclusive<u64> = 128..=1024;
/// The automatic block is a multiple of this.
const BLOCK_STEP: u64 = 64;
/// Tiles that a task and the two that fetch beside it hold, at most.
const TASK_TILES: u64 = 8;

/// What is to be computed, as far as the choices depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Rows of the first input.
    pub m: u64,
    /// Columns of the matrix that is factored, or of the product.
    pub n: u64,
    /// How it is computed.
    pub method: Method,
}

/// Families of algorithms whose work and bytes grow alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Panels of reflectors: QR, least squares.
    Qr,
    /// The same from both sides, to a band.
    Bidiagonal,
    /// The lower half of a symmetric matrix.
    Cholesky,
    /// Panels of pivots.
    Lu,
    /// A sum of products over so many columns of A.
    Product {
        /// Columns of A, which are the rows of B.
        depth: u64,
    },
}

impl Problem {
    /// A QR factorization, or what is placed like one.
    #[must_use]
    pub fn qr(m: u64, n: u64) -> Self {
        Self {
            m,
            n,
            method: Method::Qr,
        }
    }
}

/// Who is to work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Crew<'a> {
    pub(super) workers: u32,
    pub(super) cores: u32,
    /// Bytes of a worker.
    pub(super) memory: u64,
    pub(super) calibration: &'a Calibration,
}

/// Ranks in rows, columns and layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) p: u32,
    pub(super) q: u32,
    pub(super) layers: u32,
}

/// A block and a grid with what the model says of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) block: u32,
    pub(super) grid: Grid,
    estimate: Estimate,
    /// How many were looked at.
    among: usize,
}

/// What the model says of one block and grid.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Estimate {
    /// Computing, on each of the ranks' cores.
    compute_s: f64,
    /// Taking in what others made, each worker on its own line.
    move_s: f64,
    /// What is done one after the other.
    path_s: f64,
    /// Entries that workers take in from each other, or read again of an input.
    entries: f64,
}

impl Estimate {
    fn time_s(&self) -> f64 {
        self.compute_s + self.move_s + self.path_s
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.3} s by the model (computing {:.3}, moving {:.3}, the chain of panels {:.3})",
            self.time_s(),
            self.compute_s,
            self.move_s,
            self.path_s
        )
    }
}

impl Choice {
    /// Why, in a sentence.
    pub(super) fn reason(&self, crew: &Crew<'_>) -> String {
        let moved = ByteSize((8.0 * self.estimate.entries) as u64);
        let worker = &crew.calibration.name;
        if self.among < 2 {
            return format!(
                "the only choice: {}, {moved} moved ({worker})",
                self.estimate
            );
        }
        let (among, estimate) = (self.among, &self.estimate);
        format!("the least of {among} blocks and grids: {estimate}, {moved} moved ({worker})")
    }
}

/// The best block and grid; `block` and `grid` where they are given.
pub(super) fn choose(
    problem: &Problem,
    crew: &Crew<'_>,
    block: Option<u32>,
    grid: Option<Grid>,
) -> Choice {
    let blocks = block.map_or_else(|| blocks(problem, crew), |block| vec![block]);
    let pairs = blocks.into_iter().flat_map(|block| {
        let grids = grid.map_or_else(|| grids(problem, crew, block), |grid| vec![grid]);
        grids.into_iter().map(move |grid| (block, grid))
    });
    let pairs: Vec<_> = pairs.collect();
    let choices = pairs.iter().map(|&(block, grid)| Choice {
        block,
        grid,
        estimate: estimate(problem, crew, block, grid),
        among: pairs.len(),
    });
    let time_s = |choice: &Choice| choice.estimate.time_s();
    let best = choices.min_by(|one, other| time_s(one).total_cmp(&time_s(other)));
    best.expect("there is a block and a grid")
}

/// The tree over the heads of `mt` x `nt` tiles: a chain moves less and is short where panels follow each
/// other, pairs are shorter where there are few panels.
pub(super) fn heads(mt: u64, nt: u64) -> Heads {
    if mt <= 2 * nt {
        Heads::Chain
    } else {
        Heads::Binary
    }
}

/// Blocks to choose from, smallest first; never larger than the matrix, nor than a worker has room for.
fn blocks(problem: &Problem, crew: &Crew<'_>) -> Vec<u32> {
    let sides = [problem.m, problem.n, problem.depth()];
    let longest = sides.into_iter().max().unwrap_or(1).max(1);
    let fits = |block: &u64| {
        let bytes = 8 * block * block * TASK_TILES * u64::from(crew.cores);
        *block == *BLOCKS.start() || bytes <= crew.memory
    };
    let steps = BLOCKS.step_by(BLOCK_STEP as usize).filter(fits);
    let mut blocks: Vec<_> = steps.map(|block| block.min(longest) as u32).collect();
    blocks.dedup();
    blocks
}

/// The grid of one layer that is most nearly square: for homes under trees that the model does not know, which
/// are compared with each other on the same homes.
pub(super) fn nearly_square(problem: &Problem, crew: &Crew<'_>, block: u32) -> Grid {
    let oblong = |grid: &Grid| f64::from(grid.p.max(grid.q)) / f64::from(grid.p.min(grid.q));
    let flat = grids(problem, crew, block).into_iter();
    let flat = flat.filter(|grid| grid.layers == 1);
    // Of a product of one tile more than one rank fits in layers alone.
    let alone = Grid {
        p: 1,
        q: 1,
        layers: 1,
    };
    let squarest = flat.min_by(|one, other| oblong(one).total_cmp(&oblong(other)));
    squarest.unwrap_or(alone)
}

/// Grids to choose from, the best of equals first: few layers, the longer side along the longer side of the
/// matrix. A prime number of workers above 3 may leave one as a helper.
fn grids(problem: &Problem, crew: &Crew<'_>, block: u32) -> Vec<Grid> {
    let (mt, nt, lt) = problem.tiles(block);
    let whole = factors(crew.workers);
    let is_prime = crew.workers > 3 && whole.len() == 2;
    let spare = if is_prime { crew.workers - 1 } else { 0 };
    let sizes = [crew.workers, spare].into_iter().filter(|size| *size > 0);
    let mut grids = Vec::new();
    for size in sizes {
        for layers in factors(size) {
            if layers > 1 && !matches!(problem.method, Method::Product { .. }) {
                continue;
            }
            let rows = factors(size / layers).into_iter();
            grids.extend(rows.map(|p| Grid {
                p,
                q: size / layers / p,
                layers,
            }));
        }
    }
    let fits =
        |g: &Grid| u64::from(g.p) <= mt && u64::from(g.q) <= nt && u64::from(g.layers) <= lt.max(1);
    if grids.iter().any(fits) {
        grids.retain(fits);
    } else {
        // Ranks beyond the tiles would own nothing.
        for grid in &mut grids {
            grid.p = u64::from(grid.p).min(mt) as u32;
            grid.q = u64::from(grid.q).min(nt) as u32;
            grid.layers = u64::from(grid.layers).min(lt.max(1)) as u32;
        }
    }
    let along = |g: &Grid| {
        if mt >= nt {
            (g.layers, g.q, g.p)
        } else {
            (g.layers, g.p, g.q)
        }
    };
    let size = |g: &Grid| std::cmp::Reverse(g.p * g.q * g.layers);
    grids.sort_by_key(|grid| (size(grid), along(grid)));
    grids
}

/// Every divisor.
fn factors(number: u32) -> Vec<u32> {
    (1..=number)
        .filter(|factor| number.is_multiple_of(*factor))
        .collect()
}

/// Entries that cross by the model, on a grid of rows, columns and layers.
#[cfg(test)]
pub(crate) fn crossing(problem: &Problem, block: u32, (p, q, layers): (u32, u32, u32)) -> f64 {
    let crew = Crew {
        workers: p * q * layers,
        cores: 1,
        memory: u64::MAX,
        calibration: &Calibration::default(),
    };
    estimate(problem, &crew, block, Grid { p, q, layers }).entries
}

/// The model of one block and grid.
fn estimate(problem: &Problem, crew: &Crew<'_>, block: u32, grid: Grid) -> Estimate {
    let worker = crew.calibration;
    let (mt, nt, lt) = problem.tiles(block);
    let (m, n, l) = (
        problem.m as f64,
        problem.n as f64,
        problem.depth().max(1) as f64,
    );
    let (p, q, z) = (f64::from(grid.p), f64::from(grid.q), f64::from(grid.layers));
    let nb = f64::from(block);
    let ranks = p * q * z;
    let rate = worker.flops_s * nb / (nb + worker.half_block);
    // The longest share of rows and columns over the mean one.
    let share = |tiles: u64, ranks: u32| {
        let longest = tiles.div_ceil(ranks.into());
        (longest * u64::from(ranks)) as f64 / tiles.max(1) as f64
    };
    let uneven = share(mt, grid.p) * share(nt, grid.q) * share(lt.max(1), grid.layers);
    let (kernel, least) = (nb * nb * nb / rate, m.min(n));
    let hop = if ranks > 1.0 {
        worker.fetch_s + 8.0 * nb * nb / worker.bytes_s
    } else {
        0.0
    };
    let (panels, domain) = (mt.min(nt) as f64, mt as f64 / p);
    // m n - k^2 / 2 entries on and below the diagonal, k^2 / 2 above.
    let (lower, upper) = (
        m * least - least * least / 2.0,
        n * least - least * least / 2.0,
    );
    let (flops, task_flops, entries, path_s) = match problem.method {
        Method::Qr => {
            let flops = 2.0 * least * least * (m.max(n) - least / 3.0);
            let merges = match heads(mt, nt) {
                Heads::Chain => p - 1.0,
                Heads::Binary => f64::from(grid.p.next_power_of_two().ilog2()),
            };
            let path = panels * (4.0 * kernel + hop)
                + domain * 2.0 * kernel
                + merges * (2.0 * kernel / 3.0 + hop);
            (flops, 4.0, (q - 1.0) * lower + (p - 1.0) * upper, path)
        }
        Method::Bidiagonal => {
            let flops = 4.0 * least * least * (m.max(n) - least / 3.0);
            let moved = (p + q - 2.0) * (lower + upper);
            let ends = 2.0 * kernel * (domain + nt as f64 / q);
            (
                flops,
                4.0,
                moved,
                panels * (8.0 * kernel + 2.0 * hop) + ends,
            )
        }
        Method::Cholesky => {
            let flops = n * n * n / 3.0;
            let path = panels * (7.0 / 3.0 * kernel + hop);
            (flops, 2.0, (p + q - 2.0) * n * n / 2.0, path)
        }
        Method::Lu => {
            let flops = m * n * least - (m + n) * least * least / 2.0 + least * least * least / 3.0;
            // Winners and what they take the places of on and above the diagonal, and L's rows once.
            let rows = 1.5 * (p - 1.0) / p * least * n;
            let moved = (q - 1.0) * lower + (p - 1.0) * upper + rows;
            // Each panel plays down its domain, then between the heads.
            let match_s = 5.0 / 3.0 * kernel;
            let path =
                panels * (domain / 2.0 * match_s + (p - 1.0) * (match_s + hop) + 2.0 * kernel);
            (2.0 * flops, 2.0, moved, path)
        }
        Method::Product { .. } => {
            let moved = (q - 1.0) * m * l + (p - 1.0) * l * n + (z - 1.0) * m * n;
            (2.0 * m * l * n, 2.0, moved, 2.0 * kernel + z * hop)
        }
    };
    let threads = ranks * f64::from(crew.cores);
    let tasks = flops / (task_flops * nb * nb * nb);
    Estimate {
        compute_s: (flops / rate + tasks * worker.task_s) / threads * uneven,
        move_s: 8.0 * entries / (ranks * worker.bytes_s),
        path_s,
        entries,
    }
}

impl Problem {
    fn depth(&self) -> u64 {
        match self.method {
            Method::Product { depth } => depth,
            _ => 0,
        }
    }

    /// Tiles along m, n and the depth.
    fn tiles(&self, block: u32) -> (u64, u64, u64) {
        let tiles = |side: u64| side.div_ceil(block.into());
        (
            tiles(self.m).max(1),
            tiles(self.n).max(1),
            tiles(self.depth()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(problem: Problem, workers: u32, cores: u32, block: Option<u32>) -> Choice {
        let crew = Crew {
            workers,
            cores,
            memory: u64::MAX,
            calibration: &Calibration::default(),
        };
        choose(&problem, &crew, block, None)
    }

    #[test]
    fn grids_fit_workers_and_shape() {
        let table = [
            ((1, 16, 16), (1, 1)),
            ((2, 16, 16), (1, 2)),
            ((2, 16, 32), (1, 2)),
            ((3, 16, 16), (1, 3)),
            ((4, 16, 16), (2, 2)),
            ((5, 16, 16), (2, 2)),
            ((6, 16, 16), (2, 3)),
            ((7, 16, 16), (2, 3)),
            ((8, 16, 16), (2, 4)),
            ((13, 16, 16), (3, 4)),
            ((16, 16, 16), (4, 4)),
            ((64, 64, 64), (8, 8)),
            ((16, 256, 4), (16, 1)),
            ((16, 1000, 1), (16, 1)),
            ((7, 1000, 1), (7, 1)),
            ((16, 64, 16), (8, 2)),
            ((16, 1, 1), (1, 1)),
            ((4, 1, 50), (1, 4)),
            ((4, 3, 3), (2, 2)),
            ((5, 3, 9), (1, 5)),
        ];
        for ((workers, mt, nt), (p, q)) in table {
            let problem = Problem::qr(256 * mt, 256 * nt);
            let grid = Grid { p, q, layers: 1 };
            let chosen = best(problem, workers, 1, Some(256)).grid;
            assert_eq!(chosen, grid, "{workers} workers, {mt} x {nt} tiles");
        }
    }

    #[test]
    fn products_take_layers_where_these_move_less() {
        let product = |m, n, depth| Problem {
            m,
            n,
            method: Method::Product { depth },
        };
        let table = [
            ((4096, 4096, 4096), 4, (2, 2, 1)),
            ((4096, 4096, 4096), 8, (2, 2, 2)),
            ((4096, 4096, 4096), 16, (4, 2, 2)),
            ((8192, 8192, 8192), 64, (4, 4, 4)),
            // A long sum of a small product: each worker adds up a part.
            ((256, 256, 16_384), 8, (1, 1, 8)),
            ((16_384, 512, 512), 8, (8, 1, 1)),
        ];
        for ((m, n, depth), workers, (p, q, layers)) in table {
            let chosen = best(product(m, n, depth), workers, 1, Some(256)).grid;
            let grid = Grid { p, q, layers };
            assert_eq!(chosen, grid, "{m} x {depth} x {n} on {workers} workers");
        }
    }

    #[test]
    fn blocks_follow_shape_and_crew() {
        let table = [
            ((1, 1), 4, 1, 1),
            ((5, 3), 4, 1, 5),
            ((100, 100), 4, 1, 100),
            ((4096, 4096), 4, 1, 256),
            ((4096, 4096), 1, 1, 512),
            ((8192, 8192), 4, 1, 512),
            ((262_144, 262_144), 64, 6, 1024),
            ((65_536, 512), 4, 1, 192),
        ];
        for ((m, n), workers, cores, block) in table {
            let chosen = best(Problem::qr(m, n), workers, cores, None).block;
            assert_eq!(
                chosen, block,
                "{m} x {n} on {workers} workers of {cores} cores"
            );
        }
        let crew = Crew {
            workers: 1,
            cores: 1,
            memory: 16 << 20,
            calibration: &Calibration::default(),
        };
        assert_eq!(
            choose(&Problem::qr(8192, 8192), &crew, None, None).block,
            512
        );
        // On faster lines and cores a task must be larger to be worth its overhead.
        let fast = Calibration {
            flops_s: 75e9,
            bytes_s: 1e9,
            fetch_s: 1e-3,
            ..Calibration::default()
        };
        let crew = Crew {
            workers: 4,
            memory: u64::MAX,
            calibration: &fast,
            ..crew
        };
        assert_eq!(
            choose(&Problem::qr(4096, 4096), &crew, None, None).block,
            448
        );
    }
}
