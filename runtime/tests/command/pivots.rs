//! What LU moves between workers: the blocks that the model counts, with the rows that won and no others.

use peerwren::cost::{owner_blocks, owner_traffic};
use peerwren::lambdapack::{Bound, Program};
use peerwren::matrix::MatrixSource;

use crate::tools::{Folder, succeed};

/// Where rows were during a factorization of tiles of `nb` rows, from the order that they ended in.
struct History {
    nb: usize,
    panels: usize,
    /// `row_at[i]`: the matrix's row that became row i.
    row_at: Vec<usize>,
    /// `places[k][row]`: the place of a row before panel k.
    places: Vec<Vec<usize>>,
}

impl History {
    /// In each panel the winners go to the tile in their order, and those of its rows that did not win, from the
    /// first on, to the places that winners left.
    fn of(row_at: Vec<usize>, nb: usize, n: usize) -> History {
        let m = row_at.len();
        let panels = m.min(n).div_ceil(nb);
        let mut places = vec![(0..m).collect::<Vec<usize>>()];
        for k in 0..panels {
            let (first, last) = (k * nb, m.min((k + 1) * nb));
            let before = &places[k];
            let winners = &row_at[first..last];
            let mut after = before.clone();
            let mut losers: Vec<usize> = (0..m)
                .filter(|row| (first..last).contains(&before[*row]) && !winners.contains(row))
                .collect();
            losers.sort_by_key(|row| before[*row]);
            let holes = winners.iter().map(|row| before[*row]);
            for (loser, hole) in losers.into_iter().zip(holes.filter(|hole| *hole >= last)) {
                after[loser] = hole;
            }
            for (place, row) in (first..last).zip(winners) {
                after[*row] = place;
            }
            places.push(after);
        }
        History {
            nb,
            panels,
            row_at,
            places,
        }
    }

    /// How many rows of final tile i lie in group `e` before panel k, in tiles `from` to `to - 1`.
    fn count(&self, i: usize, k: usize, e: usize, tiles: (usize, usize), domains: usize) -> u64 {
        let group = |tile: usize| {
            let (block, at) = (tile / domains, tile % domains);
            let snake = if block % 2 == 0 { at } else { domains - 1 - at };
            tile / (3 * domains) * domains + snake
        };
        let rows = self.row_at.chunks(self.nb).nth(i).unwrap();
        let places = rows.iter().map(|row| self.places[k][*row] / self.nb);
        places
            .filter(|tile| group(*tile) == e && (tiles.0..tiles.1).contains(tile))
            .count() as u64
    }
}

/// Blocks and bytes that cross.
fn model(bound: &Bound, history: &History, domains: usize, workers: u32) -> [u64; 2] {
    let (taken, given) = (bound.family("TK").unwrap(), bound.family("GV").unwrap());
    let tiles = history.row_at.len().div_ceil(history.nb);
    let mut sums = [0; 2];
    owner_blocks(
        bound,
        workers,
        |_| None,
        |tile, shape, times| {
            let mut bytes = shape.bytes() as u64;
            if !shape.is_exact() {
                let [i, j, e] =
                    [0, 1, 2].map(|at| usize::try_from(tile.at.as_slice()[at]).unwrap());
                let rows = if tile.family == given {
                    history.count(i, i, e, (i + 1, tiles), domains)
                } else {
                    assert_eq!(tile.family, taken);
                    let before = if j > i { i } else { j + 1 };
                    let source = if i < history.panels {
                        tiles
                    } else {
                        history.panels
                    };
                    history.count(i, before, e, (before, source), domains)
                };
                assert!(rows <= u64::from(bound.shape(tile).unwrap().rows));
                bytes = 8 * rows * u64::from(shape.cols);
            }
            sums = [sums[0] + times, sums[1] + times * bytes];
        },
    )
    .unwrap();
    sums
}

#[test]
fn rows_that_win_cross_and_no_others() {
    let folder = Folder::new("pivots");
    let program = Program::parse("lu.lp", Program::shipped("lu").unwrap()).unwrap();
    let table = [
        (512, 512, 32, 2, 2, "chain"),
        (512, 512, 32, 4, 4, "binary"),
        (300, 130, 20, 3, 1, "chain"),
        (130, 300, 20, 5, 2, "chain"),
    ];
    for (m, n, nb, p, q, tree) in table {
        let what = format!("{m}x{n} in tiles of {nb} on {p}x{q}, {tree}");
        let workers = u32::try_from(p * q).unwrap();
        let how = format!("--tree grid:{p}x{q}:{tree} --workers {workers} --engine threads");
        succeed(
            &folder.0,
            &format!(
                "lu random:{m}x{n}:1 --block {nb} {how} --policy owner --p p.npy --report p.json --quiet"
            ),
        );
        let order = MatrixSource::open(&folder.0.join("p.npy")).unwrap();
        let mut row_at = vec![0.0; m];
        order.read_tile(0, 0, m, 1, &mut row_at).unwrap();
        let row_at = row_at.into_iter().map(|row| row as usize).collect();
        let history = History::of(row_at, nb, n);
        let sizes = [
            ("m", m),
            ("n", n),
            ("nb", nb),
            ("P", p),
            ("Q", q),
            ("HP", p),
            ("HQ", q),
            ("bin", usize::from(tree == "binary")),
        ];
        let sizes = sizes.map(|(name, value)| (name.to_owned(), value as i64));
        let bound = program.bind(&sizes.into()).unwrap();
        let report = folder.report("p.json");
        let [blocks, bytes] = model(&bound, &history, p, workers);
        assert_eq!(report["bytes"]["peer"], bytes, "{what}");
        assert_eq!(report["requests"]["peer_get"], blocks, "{what}");
        // Of random entries any row is as likely to win as any other, which is what is told before a run.
        let likely = owner_traffic(&bound, workers, |_| None).unwrap();
        assert_eq!(likely.blocks, blocks, "{what}");
        let ratio = likely.bytes as f64 / bytes as f64;
        assert!((0.9..1.1).contains(&ratio), "{what}: {ratio} of {bytes}");
    }
}
