//! How a side computes: the settings of which each side takes its best. Runs nothing.

use std::fmt;

use peerwren_benches::scalapack::BLOCKS;

use crate::cases::{CORES, Case, Who};
use crate::work::Operation;

/// One way to run a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) who: Who,
    /// Side of a block, tile or chunk; 0 where there is none.
    pub(crate) block: u32,
    /// Rows and columns of ranks.
    pub(crate) grid: (u32, u32),
    /// peerwren's command.
    pub(crate) command: &'static str,
}

impl Setting {
    /// The setting of a side that has no choice.
    pub(crate) fn of(who: Who) -> Self {
        Self {
            who,
            block: 0,
            grid: (1, 1),
            command: "",
        }
    }

    /// All settings that a side tries.
    pub(crate) fn all(who: Who, case: &Case) -> Vec<Self> {
        let own = Self::of(who);
        match who {
            Who::Scalapack(ranks) => own.on_grids(ranks),
            Who::ScalapackAsSet | Who::MklScalapack => own.on_grids(CORES),
            Who::OpenBlas(_) | Who::Mkl => vec![own],
            Who::Dask => dask_chunks(case)
                .into_iter()
                .map(|block| Self { block, ..own })
                .collect(),
            Who::Peerwren { block, .. } => {
                let blocks = block.map_or_else(|| case.blocks.clone(), |block| vec![block]);
                let commands = case.commands.iter();
                commands
                    .flat_map(|command| {
                        blocks.iter().map(move |&block| Self {
                            block,
                            command,
                            ..own
                        })
                    })
                    .collect()
            }
        }
    }

    /// Every block on every grid of so many ranks; more ranks than cores try the blocks in the middle alone.
    fn on_grids(self, ranks: u32) -> Vec<Self> {
        let blocks = if ranks > CORES {
            &BLOCKS[1..3]
        } else {
            &BLOCKS
        };
        let grids = (1..=ranks).filter(|p| ranks.is_multiple_of(*p));
        grids
            .flat_map(|p| {
                blocks.iter().map(move |&block| Self {
                    block,
                    grid: (p, ranks / p),
                    ..self
                })
            })
            .collect()
    }
}

/// Rows of a tall matrix's chunks, or sides of a product's: a chunk for each thread, and smaller ones.
fn dask_chunks(case: &Case) -> Vec<u32> {
    let threads = match case.work.operation {
        Operation::Qr => [CORES, 4 * CORES, 16 * CORES],
        _ => [CORES, 2 * CORES, 4 * CORES],
    };
    threads.iter().map(|parts| case.work.m / parts).collect()
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p, q) = self.grid;
        match self.who {
            Who::Scalapack(_) | Who::ScalapackAsSet | Who::MklScalapack => {
                write!(f, "block {} on {p} x {q}", self.block)
            }
            Who::OpenBlas(_) | Who::Mkl => f.write_str("as it is"),
            Who::Dask => write!(f, "chunk {}", self.block),
            Who::Peerwren { .. } => write!(f, "{}, block {}", self.command, self.block),
        }
    }
}
