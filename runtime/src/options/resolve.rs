//! Fills in what the user left open and refuses contradictions, before anything runs.
//!
//! What changes the bits of a result (block, inner block, tree) follows from the shape and, for the
//! automatic tree alone, from the number of workers; nothing else of the machine enters.

use std::fmt;
use std::net::SocketAddr;

use super::{
    BLOCK_MAX, ByteSize, CORES_MAX, ControlChoice, Durability, EngineKind, Exchange, Heads,
    MachineFacts, Policy, RemoteOptions, RunOptions, ScalingOptions, StoreChoice, TreeChoice,
    WORKER_MEMORY_PERCENT, WORKERS_MAX,
};
use crate::prices::Prices;

/// The automatic block aims at this many tiles along the side of a square matrix.
const TILES_A_SIDE: u64 = 16;
/// Bounds of the automatic block: below, kernels are slow; above, parallelism is scarce.
const AUTO_BLOCK: std::ops::RangeInclusive<u64> = 128..=1024;
/// The automatic block is a multiple of this.
const AUTO_BLOCK_STEP: u64 = 64;

/// A run's options with nothing left open.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Rows of the matrix.
    pub m: u64,
    /// Columns of the matrix.
    pub n: u64,
    /// Side of a tile.
    pub block: u32,
    /// Inner block of the kernels, at most `block`.
    pub ib: u32,
    /// Reduction tree and rank grid.
    pub tree: Tree,
    /// Number of workers; with `scaling` the most there may be.
    pub workers: u32,
    /// How the number of workers follows the work; fixed when absent.
    pub scaling: Option<ScalingOptions>,
    /// Cores of each worker.
    pub cores: u32,
    /// What runs the workers.
    pub engine: EngineKind,
    /// How blocks move.
    pub exchange: Exchange,
    /// How tasks are placed.
    pub policy: Policy,
    /// Which blocks outlive the loss of a worker.
    pub durability: Durability,
    /// Where blocks go that leave a worker.
    pub store: StoreChoice,
    /// Bytes of memory of each worker.
    pub memory: u64,
    /// Whether inputs are in the workers' caches before the first kernel starts.
    pub preload: bool,
    /// Where the coordinator's socket is bound.
    pub listen: SocketAddr,
    /// Where else workers reach it, `host:port` each, best first.
    pub advertise: Vec<String>,
    /// How workers on other machines join; none do when absent.
    pub remote: Option<RemoteOptions>,
    /// How control reaches workers.
    pub control: ControlChoice,
    /// STUN servers that tell workers their outside addresses.
    pub stun: Vec<String>,
    /// What a run on Lambda is priced by.
    pub prices: Prices,
}

/// A reduction tree with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tree {
    /// One chain down each panel; ranks in a grid of `p` x `q`.
    Flat {
        /// Rows of the rank grid.
        p: u32,
        /// Columns of the rank grid.
        q: u32,
    },
    /// A binary tree over all rows of each panel; ranks in a grid of `p` x `q`.
    Binary {
        /// Rows of the rank grid.
        p: u32,
        /// Columns of the rank grid.
        q: u32,
    },
    /// A chain within each of `p` row domains, then a tree over their heads.
    Grid {
        /// Row domains, and rows of the rank grid.
        p: u32,
        /// Columns of the rank grid.
        q: u32,
        /// Tree over the heads.
        heads: Heads,
    },
    /// The tree of numpywren; ranks in a grid of `p` x `q`.
    Numpywren {
        /// Rows of the rank grid.
        p: u32,
        /// Columns of the rank grid.
        q: u32,
    },
}

impl Tree {
    /// Rows and columns of the rank grid. For all but [`Tree::Grid`] it only places tasks.
    pub fn grid(&self) -> (u32, u32) {
        match *self {
            Self::Flat { p, q }
            | Self::Binary { p, q }
            | Self::Grid { p, q, .. }
            | Self::Numpywren { p, q } => (p, q),
        }
    }
}

impl fmt::Display for Tree {
    /// The form that `--tree` takes to get the same tree again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat { .. } => f.write_str("flat"),
            Self::Binary { .. } => f.write_str("binary"),
            Self::Grid { p, q, heads } => write!(f, "grid:{p}x{q}:{heads}"),
            Self::Numpywren { .. } => f.write_str("numpywren"),
        }
    }
}

/// Options that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// A number outside its bounds.
    #[error("--{option} is {came}; expected {least} to {most}")]
    OutOfRange {
        /// Name of the option.
        option: &'static str,
        /// What was given.
        came: u64,
        /// Smallest value.
        least: u64,
        /// Largest value.
        most: u64,
    },
    /// Two options that exclude each other, or an option that excludes the matrix.
    #[error("{0}")]
    Contradiction(String),
}

impl RunOptions {
    /// Fills in every default for an `m` x `n` matrix and checks the whole.
    ///
    /// # Errors
    /// A value out of its bounds or a contradiction, by the names of the options.
    pub fn resolve(&self, m: u64, n: u64, facts: &MachineFacts) -> Result<Resolved, OptionError> {
        let workers = self
            .workers
            .unwrap_or_else(|| facts.cores.clamp(1, WORKERS_MAX));
        let block = self.block.unwrap_or_else(|| auto_block(m, n));
        let ib = self.ib.unwrap_or_else(|| auto_ib(block));
        in_range("workers", workers.into(), 1, WORKERS_MAX.into())?;
        in_range("cores", self.cores.into(), 1, CORES_MAX.into())?;
        in_range("block", block.into(), 1, BLOCK_MAX.into())?;
        in_range("ib", ib.into(), 1, block.into())?;
        let tree = self.resolve_tree(m, n, block, workers)?;
        let memory = match self.memory {
            Some(0) => {
                return Err(contradiction(
                    "--memory is 0; expected the bytes of a worker, such as 1GiB",
                ));
            }
            Some(bytes) => bytes,
            None => facts.memory_available_bytes / 100 * WORKER_MEMORY_PERCENT / u64::from(workers),
        };
        self.check_engine()?;
        if self.store == StoreChoice::Memory && self.engine == EngineKind::Processes {
            return Err(contradiction(
                "--store memory needs --engine threads: processes share no memory; name a folder",
            ));
        }
        let durability = self.durability;
        let durability = durability.unwrap_or_else(|| Durability::default_with(&self.engine));
        if let (Durability::Checkpoint { .. }, StoreChoice::Memory) = (durability, &self.store) {
            return Err(contradiction(
                "--durability checkpoint needs a store that outlives the driver, which --store memory does \
                 not; name a folder",
            ));
        }
        if self.scaling.is_some() && self.engine == EngineKind::Remote {
            return Err(contradiction(
                "--autoscale starts and ends workers, which a coordinator of volunteers does not; leave it out",
            ));
        }
        if self.stun.len() > super::STUN_MAX {
            return Err(OptionError::Contradiction(format!(
                "--stun names {} servers; expected at most {}",
                self.stun.len(),
                super::STUN_MAX
            )));
        }
        if self.preload && self.exchange == Exchange::Store {
            return Err(contradiction(
                "--preload needs a cache, which --exchange store does without; leave one out",
            ));
        }
        Ok(Resolved {
            m,
            n,
            block,
            ib,
            tree,
            workers,
            scaling: self.scaling,
            cores: self.cores,
            engine: self.engine.clone(),
            exchange: self.exchange,
            policy: self.policy,
            durability,
            store: self.store.clone(),
            memory,
            preload: self.preload,
            listen: self.listen,
            advertise: self.advertise.clone(),
            remote: self.remote.clone(),
            control: self.control_way(),
            stun: self.stun.clone(),
            prices: self.prices.clone(),
        })
    }

    fn resolve_tree(&self, m: u64, n: u64, block: u32, workers: u32) -> Result<Tree, OptionError> {
        let (mt, nt) = (m.div_ceil(block.into()), n.div_ceil(block.into()));
        let (p, q) = auto_grid(workers, mt, nt);
        let by_shape = if mt <= 2 * nt {
            Heads::Chain
        } else {
            Heads::Binary
        };
        Ok(match self.tree {
            TreeChoice::Auto => Tree::Grid {
                p,
                q,
                heads: by_shape,
            },
            TreeChoice::Flat => Tree::Flat { p, q },
            TreeChoice::Binary => Tree::Binary { p, q },
            TreeChoice::Grid { p, q, heads } => {
                in_range(
                    "tree grid:PxQ",
                    u64::from(p) * u64::from(q),
                    1,
                    WORKERS_MAX.into(),
                )?;
                Tree::Grid {
                    p,
                    q,
                    heads: heads.unwrap_or(by_shape),
                }
            }
            TreeChoice::Numpywren => Tree::Numpywren { p, q },
        })
    }
}

impl Resolved {
    /// Whether a run leaves behind what `peerwren resume` needs: checkpoints, in a store that outlives the
    /// driver.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.durability.checkpoint_s().is_some() && self.store != StoreChoice::Memory
    }
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} x {}, tiles of {} (ib {}), tree {}, {} workers x {} cores ({}), exchange {}, policy {}, \
             durability {}, store {}, {} a worker",
            self.m,
            self.n,
            self.block,
            self.ib,
            self.tree,
            self.workers,
            self.cores,
            self.engine,
            self.exchange,
            self.policy,
            self.durability,
            self.store,
            ByteSize(self.memory),
        )
    }
}

fn contradiction(text: &str) -> OptionError {
    OptionError::Contradiction(text.into())
}

fn in_range(option: &'static str, came: u64, least: u64, most: u64) -> Result<(), OptionError> {
    if (least..=most).contains(&came) {
        Ok(())
    } else {
        Err(OptionError::OutOfRange {
            option,
            came,
            least,
            most,
        })
    }
}

/// A sixteenth of the geometric mean of the sides, never larger than the matrix.
fn auto_block(m: u64, n: u64) -> u32 {
    let side = (u128::from(m) * u128::from(n)).isqrt() as u64;
    let block = side
        .div_ceil(TILES_A_SIDE)
        .next_multiple_of(AUTO_BLOCK_STEP);
    let block = block.clamp(*AUTO_BLOCK.start(), *AUTO_BLOCK.end());
    block.min(m.max(n)) as u32
}

fn auto_ib(block: u32) -> u32 {
    let ib = if block <= 512 { 32 } else { 64 };
    ib.min(block)
}

/// The rank grid for `workers` on `mt` x `nt` tiles: the most nearly square one; for tall matrices the
/// one whose sides are most nearly in the ratio of the matrix's, so `workers` x 1 for very tall ones.
/// A prime number above 3 may leave one worker without ranks, as a helper.
fn auto_grid(workers: u32, mt: u64, nt: u64) -> (u32, u32) {
    let (tall, wide) = if mt > 2 * nt { (mt, nt) } else { (1, 1) };
    let whole = divisor_pairs(workers);
    let prime = workers > 3 && whole.len() == 2;
    let spare = if prime {
        divisor_pairs(workers - 1)
    } else {
        Vec::new()
    };
    // How many times a grid is off the wanted ratio, times what leaving a worker out costs, as an
    // exact fraction: floats could choose differently on another machine.
    let badness = |(p, q): (u32, u32)| {
        let (a, b) = (
            u128::from(p) * u128::from(wide),
            u128::from(q) * u128::from(tall),
        );
        let used = u128::from(p) * u128::from(q);
        (a.max(b) * u128::from(workers), a.min(b) * used)
    };
    let better = |x: (u32, u32), y: (u32, u32)| {
        let ((xa, xb), (ya, yb)) = (badness(x), badness(y));
        xa * yb < ya * xb
    };
    // Equal grids: more rows for tall and square matrices, more columns for wide ones.
    let mut grids: Vec<_> = whole.into_iter().chain(spare).collect();
    let fits = |(p, q): &(u32, u32)| u64::from(*p) <= mt && u64::from(*q) <= nt;
    if grids.iter().any(fits) {
        grids.retain(fits);
    }
    grids.sort_by_key(|(p, q)| if mt >= nt { (*q, *p) } else { (*p, *q) });
    let best = grids
        .into_iter()
        .reduce(|best, grid| if better(grid, best) { grid } else { best });
    let (p, q) = best.unwrap_or((1, 1));
    // Where no grid fits, ranks beyond the tiles would own nothing.
    (u64::from(p).min(mt) as u32, u64::from(q).min(nt) as u32)
}

/// Every (p, q) with p q = `product`.
fn divisor_pairs(product: u32) -> Vec<(u32, u32)> {
    (1..=product)
        .filter(|p| product.is_multiple_of(*p))
        .map(|p| (p, product / p))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FACTS: MachineFacts = MachineFacts {
        cores: 4,
        memory_available_bytes: 10 << 30,
    };

    #[test]
    fn defaults_are_those_of_the_contract() {
        let r = RunOptions::default().resolve(4096, 4096, &FACTS).unwrap();
        assert_eq!((r.block, r.ib, r.workers, r.cores), (256, 32, 4, 1));
        assert_eq!(
            r.tree,
            Tree::Grid {
                p: 2,
                q: 2,
                heads: Heads::Chain
            }
        );
        assert_eq!(
            (r.engine, r.exchange, r.policy),
            (EngineKind::Processes, Exchange::Peer, Policy::Locality)
        );
        assert_eq!(
            (r.durability, r.store, r.preload),
            (Durability::Outputs, StoreChoice::Temporary, false)
        );
        assert_eq!(r.memory, (10 << 30) / 100 * 80 / 4);
    }

    #[test]
    fn blocks_follow_the_shape() {
        let table = [
            ((1, 1), 1),
            ((5, 3), 5),
            ((100, 100), 100),
            ((1000, 1000), 128),
            ((4096, 4096), 256),
            ((8192, 8192), 512),
            ((262_144, 262_144), 1024),
            ((1_000_000, 100), 640),
            ((100, 1_000_000), 640),
        ];
        for ((m, n), block) in table {
            assert_eq!(auto_block(m, n), block, "{m} x {n}");
        }
        assert_eq!([1, 16, 512, 513].map(auto_ib), [1, 16, 32, 64]);
    }

    #[test]
    fn grids_fit_workers_and_shape() {
        let table = [
            ((1, 16, 16), (1, 1)),
            ((2, 16, 16), (2, 1)),
            ((2, 16, 32), (1, 2)),
            ((3, 16, 16), (3, 1)),
            ((4, 16, 16), (2, 2)),
            ((5, 16, 16), (2, 2)),
            ((6, 16, 16), (3, 2)),
            ((7, 16, 16), (3, 2)),
            ((8, 16, 16), (4, 2)),
            ((13, 16, 16), (4, 3)),
            ((16, 16, 16), (4, 4)),
            ((64, 64, 64), (8, 8)),
            ((16, 256, 4), (16, 1)),
            ((16, 1000, 1), (16, 1)),
            ((7, 1000, 1), (7, 1)),
            ((16, 64, 16), (8, 2)),
            ((16, 1, 1), (1, 1)),
            ((4, 1, 50), (1, 4)),
            ((4, 3, 3), (2, 2)),
            ((5, 3, 9), (2, 2)),
        ];
        for ((workers, mt, nt), grid) in table {
            assert_eq!(
                auto_grid(workers, mt, nt),
                grid,
                "{workers} workers, {mt} x {nt} tiles"
            );
        }
    }

    #[test]
    fn heads_follow_the_shape() {
        let heads = |m, n| {
            let options = RunOptions {
                block: Some(100),
                tree: "grid:4x1".parse().unwrap(),
                ..RunOptions::default()
            };
            options.resolve(m, n, &FACTS).unwrap().tree.to_string()
        };
        assert_eq!(heads(2000, 1000), "grid:4x1:chain");
        assert_eq!(heads(2001, 1000), "grid:4x1:binary");
    }

    #[test]
    fn refuses_contradictions_by_name() {
        let base = RunOptions::default();
        let table = [
            (
                RunOptions {
                    block: Some(0),
                    ..base.clone()
                },
                "--block is 0; expected 1 to 16384",
            ),
            (
                RunOptions {
                    block: Some(20_000),
                    ..base.clone()
                },
                "--block is 20000; expected 1 to 16384",
            ),
            (
                RunOptions {
                    ib: Some(0),
                    ..base.clone()
                },
                "--ib is 0; expected 1 to 128",
            ),
            (
                RunOptions {
                    block: Some(64),
                    ib: Some(65),
                    ..base.clone()
                },
                "--ib is 65; expected 1 to 64",
            ),
            (
                RunOptions {
                    workers: Some(0),
                    ..base.clone()
                },
                "--workers is 0; expected 1 to 4096",
            ),
            (
                RunOptions {
                    workers: Some(5000),
                    ..base.clone()
                },
                "--workers is 5000; expected 1 to 4096",
            ),
            (
                RunOptions {
                    cores: 0,
                    ..base.clone()
                },
                "--cores is 0; expected 1 to 1024",
            ),
            (
                RunOptions {
                    memory: Some(0),
                    ..base.clone()
                },
                "--memory is 0; expected the bytes of a worker, such as 1GiB",
            ),
            (
                RunOptions {
                    durability: Some(Durability::Checkpoint { every_s: 5 }),
                    engine: EngineKind::Threads,
                    store: StoreChoice::Memory,
                    ..base.clone()
                },
                "--durability checkpoint needs a store that outlives the driver, which --store memory does \
                 not; name a folder",
            ),
            (
                RunOptions {
                    store: StoreChoice::Memory,
                    ..base.clone()
                },
                "--store memory needs --engine threads: processes share no memory; name a folder",
            ),
            (
                RunOptions {
                    tree: TreeChoice::Grid {
                        p: 100,
                        q: 100,
                        heads: None,
                    },
                    ..base.clone()
                },
                "--tree grid:PxQ is 10000; expected 1 to 4096",
            ),
        ];
        for (options, text) in table {
            assert_eq!(
                options.resolve(1000, 1000, &FACTS).unwrap_err().to_string(),
                text
            );
        }
    }

    proptest! {
        #[test]
        fn automatic_choices_are_always_legal(m in 1u64..1 << 40, n in 1u64..1 << 20, workers in 1u32..300) {
            let r = RunOptions { workers: Some(workers), ..RunOptions::default() }.resolve(m, n, &FACTS).unwrap();
            let (p, q) = r.tree.grid();
            prop_assert!(p >= 1 && q >= 1 && p * q <= workers);
            prop_assert!(u64::from(p) <= m.div_ceil(r.block.into()));
            prop_assert!(r.ib >= 1 && r.ib <= r.block);
            // The grid of the report gives the same tree again, whatever the workers.
            let again = RunOptions { workers: Some(1), block: Some(r.block), tree: r.tree.to_string().parse().unwrap(), ..RunOptions::default() };
            prop_assert_eq!(again.resolve(m, n, &FACTS).unwrap().tree, r.tree);
        }
    }
}
