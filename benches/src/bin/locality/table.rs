//! What trees move, counted in tiles: the counting model (`paper-notes/counting-model.md`) beside real runs.
//! Owns the cases and the model's published figures; counts nothing itself.

use peerwren_benches::figures::{listed, table};

use crate::options::{Bench, figures, largest};

/// Side of a tile, and inner block: T takes 1/16 of a tile.
const TILE: [u32; 2] = [32, 2];
/// Bytes of such a tile.
const TILE_BYTES: f64 = 8.0 * 32.0 * 32.0;

/// One program on so many tiles and workers.
struct Case {
    tiles: u32,
    /// Rows and columns of the grid of workers.
    side: u32,
    tree: Tree,
    /// What the counting model has for it, where it was counted there.
    counted: Option<u32>,
}

#[derive(Clone, Copy)]
enum Tree {
    /// The flat tree, every block through the store: the leanest program without a cache.
    Store,
    Flat,
    Binary,
    /// A tree of the workers' grid, binary over the heads of its domains, or a chain.
    GridBinary,
    GridChain,
}

impl Case {
    fn name(&self) -> String {
        let Self { tiles, side, .. } = self;
        format!("{tiles} tiles, {side}x{side}, {}", self.tree())
    }

    fn tree(&self) -> String {
        let side = self.side;
        match self.tree {
            Tree::Store => "flat, store only".to_owned(),
            Tree::Flat => "flat".to_owned(),
            Tree::Binary => "binary".to_owned(),
            Tree::GridBinary => format!("grid:{side}x{side}:binary"),
            Tree::GridChain => format!("grid:{side}x{side}:chain"),
        }
    }

    fn line(&self) -> String {
        let [block, ib] = TILE;
        let (n, workers) = (self.tiles * block, self.side * self.side);
        let tree = self.tree();
        let (tree, exchange) = match self.tree {
            Tree::Store => ("flat", "store"),
            _ => (tree.as_str(), "peer"),
        };
        format!(
            "qr random:{n}x{n}:1 --block {block} --ib {ib} --tree {tree} --workers {workers} --cores 1 \
             --exchange {exchange}"
        )
    }
}

fn cases(small: bool) -> Vec<Case> {
    use Tree::{Binary, Flat, GridBinary, GridChain, Store};
    let counted = [
        (
            16,
            2,
            [Some(6_982), Some(1_436), Some(1_509), Some(264), None],
        ),
        (
            32,
            2,
            [Some(55_559), Some(11_207), Some(11_499), Some(1_056), None],
        ),
        (16, 4, [None, None, None, Some(909), Some(785)]),
        (32, 4, [None, Some(12_287), Some(15_369), Some(3_676), None]),
    ];
    let mut cases = Vec::new();
    for (tiles, side, counts) in counted {
        let trees = [Store, Flat, Binary, GridBinary, GridChain];
        for (tree, counted) in trees.into_iter().zip(counts) {
            // Through the store, who computes makes no difference.
            if matches!(tree, Store) && side > 2 || small && tiles > 16 {
                continue;
            }
            cases.push(Case {
                tiles,
                side,
                tree,
                counted,
            });
        }
    }
    cases
}

/// Prints the table.
pub(crate) fn run(bench: &Bench) -> Result<(), String> {
    let mut rows = Vec::new();
    for case in bench.wanted(cases(bench.small), Case::name)? {
        rows.push(row(bench, &case)?);
    }
    let head = "| tiles a side | workers | tree | counting model | plan | policy owner | policy locality |";
    println!("\n{}", table(head, &rows));
    let [block, ib] = TILE;
    println!(
        "\nIn tiles of {block} (ib {ib}), the largest of {} runs. Store only: read and written, inputs and \
         results included; else what workers received from each other. The counting model deals rows of the \
         flat and the binary tree cyclically, the programs snake-wise.",
        bench.repeat
    );
    Ok(())
}

fn row(bench: &Bench, case: &Case) -> Result<String, String> {
    let line = case.line();
    let is_store = matches!(case.tree, Tree::Store);
    let model = bench.model(&line)?;
    let model = if is_store {
        model.number("/bytes/store/store_read/bytes")?
            + model.number("/bytes/store/store_written/bytes")?
    } else {
        model.number("/bytes/peer/peer/bytes")?
    };
    let mut measured = Vec::new();
    for policy in ["owner", "locality"] {
        let reports = bench.repeated(&format!("{line} --policy {policy}"))?;
        let bytes = figures(&reports, |report| {
            if is_store {
                report.store_bytes()
            } else {
                report.peer_bytes()
            }
        })?;
        let tiles: Vec<f64> = bytes.iter().map(|bytes| bytes / TILE_BYTES).collect();
        println!("    tiles: {}", listed(&tiles, 1));
        measured.push(largest(&tiles));
    }
    let Case {
        tiles,
        side,
        counted,
        ..
    } = case;
    Ok(format!(
        "| {tiles} | {side}x{side} | {} | {} | {:.0} | {:.0} | {:.0} |",
        case.tree(),
        counted.map_or("-".to_owned(), |counted| counted.to_string()),
        model / TILE_BYTES,
        measured[0],
        measured[1]
    ))
}
