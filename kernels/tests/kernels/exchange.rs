//! The exchange of rows between tiles: whatever wins, what moves is what must, and nothing is lost.

use proptest::prelude::*;

use crate::harness::{Dense, Flavour, Poison, Tile, run, try_run_some};
use peerwren_kernels::{KernelError, Kind, Shape};

const CLEAN: Poison = Poison {
    value: f64::NAN,
    offset: 0,
};

fn index(rows: &[usize]) -> Tile {
    Tile::new(Shape::index(rows.len() as u32), |i| {
        f64::from_bits(rows[i] as u64)
    })
}

fn numbers(tile: &Tile) -> Vec<usize> {
    tile.data
        .iter()
        .map(|word| word.to_bits() as usize)
        .collect()
}

fn places(tile: usize, nb: usize, m: usize) -> Tile {
    let rows: Vec<usize> = (tile * nb..m.min((tile + 1) * nb)).collect();
    index(&rows)
}

/// Runs a kernel whose inputs are where they are given.
fn move_rows(name: &str, inputs: &[Option<&Tile>], output: Shape) -> Tile {
    let out = try_run_some(name, inputs, &[output], CLEAN);
    out.unwrap_or_else(|error| panic!("{name}: {error}"))
        .remove(0)
}

/// An order of 0 .. m that a seed draws.
fn shuffled(m: usize, mut seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..m).collect();
    for i in (1..m).rev() {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99);
        order.swap(i, (seed >> 33) as usize % (i + 1));
    }
    order
}

/// One panel's exchange of a matrix of `m` rows in tiles of `nb`, the winners as given: tile 0 has them in their
/// order, each other row is where `came_from` says, and no row of another tile than 0 has moved that did not win.
fn check_exchange(m: usize, nb: usize, c: usize, winners: &[usize]) {
    let what = format!("{m} rows in tiles of {nb}, winners {winners:?}");
    let a = Flavour::Random.matrix(m, c, 3);
    let count = m.div_ceil(nb);
    let tiles: Vec<Tile> = (0..count)
        .map(|i| Tile::full(&a.rows(i * nb, m.min((i + 1) * nb))))
        .collect();
    let here: Vec<Tile> = (0..count).map(|i| places(i, nb, m)).collect();
    let wins = index(winners);
    let few = Shape::few(winners.len() as u32, c as u32 + 1);
    let (mut taken, mut given) = (Vec::new(), Vec::new());
    for group in (0..count).collect::<Vec<_>>().chunks(3) {
        let mut inputs = vec![Some(&wins), Some(&here[0])];
        for i in group {
            inputs.extend([Some(&here[*i]), Some(&tiles[*i])]);
        }
        taken.push(move_rows("take_rows", &inputs, few));
        let mut inputs = vec![Some(&wins), Some(&here[0]), Some(&tiles[0])];
        inputs.extend(group.iter().map(|i| (*i > 0).then_some(&here[*i])));
        given.push(move_rows("give_rows", &inputs, few));
    }
    let rows = |blocks: &[Tile]| {
        blocks
            .iter()
            .map(|block| block.shape.rows as usize)
            .sum::<usize>()
    };
    let leave = winners.iter().filter(|row| **row >= nb.min(m)).count();
    assert_eq!(
        (rows(&taken), rows(&given)),
        (winners.len(), leave),
        "{what}"
    );
    let mut after = Vec::new();
    let mut top: Option<Tile> = None;
    for blocks in taken.chunks(4) {
        let mut inputs = vec![Some(&here[0]), top.as_ref()];
        inputs.extend(blocks.iter().map(Some));
        top = Some(move_rows("put_rows", &inputs, tiles[0].shape));
    }
    after.extend(top);
    for i in 1..count {
        let inputs = [Some(&here[i]), Some(&tiles[i]), Some(&given[i / 3])];
        let exchanged = move_rows("put_rows", &inputs, tiles[i].shape);
        let (l, u) = (
            Flavour::Random.matrix(tiles[i].shape.rows as usize, 5, 4),
            Flavour::Random.matrix(5, c, 5),
        );
        let (l, u) = (Tile::full(&l), Tile::full(&u));
        let inputs = [inputs[0], inputs[1], inputs[2], Some(&l), Some(&u)];
        let fused = move_rows("gemm_sub_rows", &inputs, tiles[i].shape);
        let apart = run("gemm_sub", &[&exchanged, &l, &u], &[tiles[i].shape]);
        assert_eq!(fused, apart[0], "{what}: the product after it");
        after.push(exchanged);
    }
    for (i, tile) in after.iter().enumerate() {
        let inputs = [Some(&here[i]), Some(&wins), Some(&here[0])];
        let mut from = numbers(&move_rows("came_from", &inputs, here[i].shape));
        if i == 0 {
            from = winners.to_vec();
        } else {
            let stays = |(place, from): (usize, &usize)| *from == i * nb + place || *from < nb;
            assert!(from.iter().enumerate().all(stays), "{what}: {from:?}");
        }
        let expected = Dense::new(from.len(), c, |row, j| a.at(from[row], j));
        assert_eq!(tile.dense(), expected, "{what}: tile {i}");
    }
}

#[test]
fn all_none_or_some_of_the_winners_are_elsewhere() {
    check_exchange(8, 4, 3, &[0, 1, 2, 3]);
    check_exchange(8, 4, 3, &[3, 1, 0, 2]);
    check_exchange(8, 4, 3, &[4, 5, 6, 7]);
    check_exchange(8, 4, 3, &[7, 2, 4, 0]);
    check_exchange(4, 4, 3, &[2, 1, 3, 0]);
    check_exchange(1, 4, 1, &[0]);
}

#[test]
fn blocks_of_no_rows_are_empty_and_change_nothing() {
    let (wins, here) = (index(&[1, 0]), index(&[0, 1]));
    let a = Tile::full(&Flavour::Random.matrix(2, 3, 1));
    let few = Shape::few(2, 4);
    let none = move_rows("take_rows", &[Some(&wins), Some(&here)], few);
    assert_eq!((none.shape, none.data.len()), (Shape::few(0, 4), 0));
    let other = index(&[2, 3]);
    let inputs = [Some(&wins), Some(&here), Some(&a), Some(&other)];
    assert_eq!(move_rows("give_rows", &inputs, few), none);
    let inputs = [Some(&here), Some(&a), Some(&none)];
    assert_eq!(move_rows("put_rows", &inputs, a.shape), a);
    let zeros = move_rows("put_rows", &[Some(&here), None, Some(&none)], a.shape);
    assert_eq!(zeros.data, [0.0; 6]);
}

#[test]
fn places_that_do_not_follow_one_another_are_refused() {
    let a = Tile::full(&Flavour::Random.matrix(2, 3, 1));
    let (good, few) = (
        index(&[0, 1]),
        Tile::of(Kind::Full, &Flavour::Random.matrix(2, 4, 1)),
    );
    let few = Tile {
        shape: Shape::few(2, 4),
        ..few
    };
    for bad in [
        [1, 0],
        [0, 2],
        [usize::MAX, 0],
        [usize::MAX - 1, usize::MAX],
    ] {
        let bad = index(&bad);
        let cases: [(&str, &[&Tile], Shape); 4] = [
            ("take_rows", &[&good, &good, &bad, &a], few.shape),
            ("give_rows", &[&good, &bad, &a], few.shape),
            ("put_rows", &[&bad, &a, &few], a.shape),
            ("came_from", &[&good, &good, &bad], good.shape),
        ];
        for (name, inputs, output) in cases {
            let inputs: Vec<_> = inputs.iter().map(|tile| Some(*tile)).collect();
            let error = try_run_some(name, &inputs, &[output], CLEAN);
            assert!(matches!(error, Err(KernelError::Failed(_))), "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_winners(m in 1..40_usize, nb in 1..12_usize, c in 1..9_usize, seed: u64) {
        let winners = shuffled(m, seed);
        check_exchange(m, nb, c, &winners[..nb.min(m)]);
    }
}
