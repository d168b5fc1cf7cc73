//! Fills in what the user left open and refuses contradictions, before anything runs.
//!
//! What changes the bits of a result is block, inner block and tree. Where these are given, nothing else of
//! the run or the machine enters; where they are left open, they follow from the shape, the workers, their cores and
//! memory, and the calibration (see `choose`).

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::choices::write_grid;
use super::choose::{Crew, Grid, choose, heads, nearly_square};
use super::{
    BLOCK_MAX, ByteSize, CORES_MAX, ControlChoice, Durability, EngineKind, Exchange, Heads,
    MachineFacts, Policy, Problem, RemoteOptions, RunOptions, ScalingOptions, StoreChoice,
    TreeChoice, WORKER_MEMORY_PERCENT, WORKERS_MAX,
};
use crate::machine::policy::AHEAD;
use crate::prices::Prices;

/// As the programs have it where they are not told otherwise.
const LOOKAHEAD: u32 = 8;
/// Beyond the columns of every matrix that was tried.
const LOOKAHEAD_MAX: u32 = 1 << 20;

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
    /// How far panels run ahead of the updates behind them, where that was given: a step to the next panel
    /// weighs as much as so many columns. It changes the order of tasks, never a bit of a result.
    pub lookahead: Option<u32>,
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
    /// Whether they were given. What is free on a machine now changes no plan.
    pub is_memory_given: bool,
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
    /// What was left open and chosen here.
    pub chosen: Vec<Chosen>,
}

/// An option that was left open, what was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Name of the option.
    pub option: String,
    /// What was chosen.
    pub value: String,
    /// Why, in a sentence.
    pub reason: String,
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
        /// Rank grids, between which the products of a sum are divided; 1 for all but a matrix product.
        layers: u32,
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
            Self::Grid {
                p,
                q,
                layers,
                heads,
            } => {
                write_grid(f, *p, *q, *layers)?;
                write!(f, ":{heads}")
            }
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
    /// Fills in every default for the QR of an `m` x `n` matrix and checks the whole.
    ///
    /// # Errors
    /// A value out of its bounds or a contradiction, by the names of the options.
    pub fn resolve(&self, m: u64, n: u64, facts: &MachineFacts) -> Result<Resolved, OptionError> {
        self.resolve_for(&Problem::qr(m, n), facts)
    }

    /// Fills in every default for a problem and checks the whole.
    ///
    /// # Errors
    /// A value out of its bounds or a contradiction, by the names of the options.
    pub fn resolve_for(
        &self,
        problem: &Problem,
        facts: &MachineFacts,
    ) -> Result<Resolved, OptionError> {
        let (m, n) = (problem.m, problem.n);
        let workers = self
            .workers
            .unwrap_or_else(|| facts.cores.clamp(1, WORKERS_MAX));
        in_range("workers", workers.into(), 1, WORKERS_MAX.into())?;
        in_range("cores", self.cores.into(), 1, CORES_MAX.into())?;
        if let Some(block) = self.block {
            in_range("block", block.into(), 1, BLOCK_MAX.into())?;
        }
        let memory = match self.memory {
            Some(0) => {
                return Err(contradiction(
                    "--memory is 0; expected the bytes of a worker, such as 1GiB",
                ));
            }
            Some(bytes) => bytes,
            None => facts.memory_available_bytes / 100 * WORKER_MEMORY_PERCENT / u64::from(workers),
        };
        let crew = Crew {
            workers,
            cores: self.cores,
            // What is free on the machine now must not change the plan.
            memory: self.memory.unwrap_or(u64::MAX),
            calibration: &self.calibration,
        };
        let (block, tree, chosen) = self.resolve_block_and_tree(problem, &crew)?;
        let ib = self.ib.unwrap_or_else(|| auto_ib(block));
        in_range("ib", ib.into(), 1, block.into())?;
        if let Some(lookahead) = self.lookahead {
            in_range("lookahead", lookahead.into(), 1, LOOKAHEAD_MAX.into())?;
        }
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
            lookahead: self.lookahead,
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
            is_memory_given: self.memory.is_some(),
            preload: self.preload,
            listen: self.listen,
            advertise: self.advertise.clone(),
            remote: self.remote.clone(),
            control: self.control_way(),
            stun: self.stun.clone(),
            prices: self.prices.clone(),
            chosen,
        })
    }

    fn resolve_block_and_tree(
        &self,
        problem: &Problem,
        crew: &Crew<'_>,
    ) -> Result<(u32, Tree, Vec<Chosen>), OptionError> {
        let given = match self.tree {
            TreeChoice::Grid { p, q, layers, .. } => {
                let ranks = [p, q, layers].map(u64::from).into_iter();
                let ranks = ranks.fold(1, u64::saturating_mul);
                in_range("tree grid:PxQ", ranks, 1, WORKERS_MAX.into())?;
                Some(Grid { p, q, layers })
            }
            _ => None,
        };
        let choice = choose(problem, crew, self.block, given);
        let block = choice.block;
        let Grid { p, q, layers } = match self.tree {
            TreeChoice::Flat | TreeChoice::Binary | TreeChoice::Numpywren => {
                nearly_square(problem, crew, block)
            }
            TreeChoice::Auto | TreeChoice::Grid { .. } => choice.grid,
        };
        let tiles = |side: u64| side.div_ceil(block.into());
        let by_shape = heads(tiles(problem.m), tiles(problem.n));
        let tree = match self.tree {
            TreeChoice::Flat => Tree::Flat { p, q },
            TreeChoice::Binary => Tree::Binary { p, q },
            TreeChoice::Numpywren => Tree::Numpywren { p, q },
            TreeChoice::Auto => Tree::Grid {
                p,
                q,
                layers,
                heads: by_shape,
            },
            TreeChoice::Grid { heads, .. } => Tree::Grid {
                p,
                q,
                layers,
                heads: heads.unwrap_or(by_shape),
            },
        };
        let mut chosen = Vec::new();
        let mut add = |option: &str, value: String| {
            chosen.push(Chosen {
                option: option.to_owned(),
                value,
                reason: choice.reason(crew),
            });
        };
        if self.block.is_none() {
            add("block", block.to_string());
        }
        if self.tree == TreeChoice::Auto {
            add("tree", tree.to_string());
        }
        Ok((block, tree, chosen))
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

impl Resolved {
    /// Tiles that a worker's memory has for what lives between tasks, each of which takes so many beside; none
    /// where memory was not given.
    pub(crate) fn room(&self, tiles_a_task: u32) -> Option<u64> {
        let tile = u64::from(self.block).pow(2) * 8;
        let tasks = u64::from(self.cores) + AHEAD as u64;
        let room = (self.memory / tile).saturating_sub(tasks * u64::from(tiles_a_task));
        self.is_memory_given.then_some(room)
    }

    /// The parameter that says how far panels run ahead of the updates behind them, in a program of `columns`
    /// columns of tiles that keeps `live` tiles and whose updates take so many each; none where it is as the
    /// program has it. Panels run ahead where blocks have room; where the memory that was given is too small for
    /// that, one comes after the other: in simulations that took 10 to 14% less time, with a fifth to a half less
    /// between workers.
    pub(crate) fn lookahead(
        &self,
        columns: u64,
        live: u64,
        tiles_a_task: u32,
    ) -> Option<(&'static str, u64)> {
        let is_small = |room| live.div_ceil(self.workers.into()) > room;
        let look = match self.lookahead {
            Some(given) => given.into(),
            None if self.room(tiles_a_task).is_some_and(is_small) => {
                columns.clamp(LOOKAHEAD.into(), LOOKAHEAD_MAX.into())
            }
            None => LOOKAHEAD.into(),
        };
        (look != u64::from(LOOKAHEAD)).then_some(("look", look))
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

fn auto_ib(block: u32) -> u32 {
    let ib = if block <= 512 { 32 } else { 64 };
    ib.min(block)
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
                layers: 1,
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
    fn inner_blocks_follow_the_block_alone() {
        assert_eq!([1, 16, 512, 513].map(auto_ib), [1, 16, 32, 64]);
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
    fn trees_that_are_compared_have_the_same_homes() {
        for (workers, side, homes) in [
            (4, 1000, (2, 2)),
            (4, 64, (1, 1)),
            (16, 1000, (4, 4)),
            (6, 1000, (3, 2)),
            (7, 1000, (3, 2)),
        ] {
            for tree in ["flat", "binary", "numpywren"] {
                let options = RunOptions {
                    workers: Some(workers),
                    block: Some(64),
                    tree: tree.parse().unwrap(),
                    ..RunOptions::default()
                };
                let resolved = options.resolve(side, side, &FACTS).unwrap();
                assert_eq!(resolved.tree.grid(), homes, "{tree}, {workers} workers");
            }
        }
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
                "--ib is 0; expected 1 to 256",
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
                        layers: 1,
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
