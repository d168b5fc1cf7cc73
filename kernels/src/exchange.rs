//! What LU exchanges rows with: blocks of those rows alone that move, each with its place in column 0. Computes
//! nothing but the product that follows an exchange.
//!
//! A place is the number of a row among those of all tiles; `here` and `held` are the places of a tile's rows, one after
//! the other. Panel k of LU has as many winners as tile k has rows: the places, in the order of the pivots, of the
//! rows that tile k gets. A winner outside of tile k leaves a hole. The rows of tile k that do not win, from the first
//! on, go to the holes in the order of the winners: nothing moves between two other tiles.

use crate::gemm::{SUB, extent, gemm_flops, multiply_into};
use crate::op::{KernelError, KernelOp, TaskTiles};
use crate::product::product_words;
use crate::rows::{Span, number, word};
use crate::tile::TileRef;

/// What a span is of, in messages.
const PLACES: &str = "places of a tile's rows";

pub(crate) fn ops() -> Vec<KernelOp> {
    vec![
        // The rows of three tiles that are wanted: row t of the result is to be wanted(t), and goes to here(t).
        KernelOp::standard(
            "take_rows(index(q), index(q), index(m)?, full(m,c)?, index(p)?, full(p,c)?, index(r)?, full(r,c)?) \
             -> few(q,d) where d = c + 1",
            take,
        )
        .with_scratch(|shapes| 3 * shapes.input(0).0),
        // The rows of tile k that go to holes in three tiles: winners, here, tile k, and what the three hold.
        KernelOp::standard(
            "give_rows(index(q), index(q), full(q,c), index(m)?, index(p)?, index(r)?) -> few(q,d) where d = c + 1",
            give,
        )
        .with_scratch(|shapes| 3 * shapes.input(0).0),
        // A, or zeros, with those of the given rows that go here.
        KernelOp::standard(
            "put_rows(index(m), full(m,c)?, few(p,d)?, few(q,d)?, few(r,d)?, few(s,d)?) -> full(m,c) \
             where d = c + 1",
            |tiles| {
                let (here, before) = (tiles.input(0), tiles.optional_input(1));
                let given: [_; 4] = std::array::from_fn(|i| tiles.optional_input(i + 2));
                let ([output], _) = tiles.outputs();
                match before {
                    Some(before) => output.data.copy_from_slice(before.data),
                    None => output.data.fill(0.0),
                }
                given
                    .iter()
                    .flatten()
                    .try_for_each(|rows| put("put_rows", here, *rows, output.data))
            },
        ),
        // put_rows of one block, less A B.
        KernelOp::standard(
            "gemm_sub_rows(index(m), full(m,n), few(p,d), full(m,k), full(k,n)) -> full(m,n) where d = n + 1",
            |tiles| {
                let (here, c, rows) = (tiles.input(0), tiles.input(1), tiles.input(2));
                let factors = (tiles.input(3), tiles.input(4));
                let ([output], scratch) = tiles.outputs();
                output.data.copy_from_slice(c.data);
                put("gemm_sub_rows", here, rows, output.data)?;
                multiply_into(output, factors, scratch);
                Ok(())
            },
        )
        .with_flops(|shapes| gemm_flops(extent(shapes, 3, SUB)))
        .with_scratch(|shapes| product_words(extent(shapes, 3, SUB))),
        // Where rows were before a panel's exchange: their places after it, the panel's winners, the places of tile k.
        KernelOp::standard("came_from(index(m), index(q), index(q)) -> index(m)", came_from)
            .with_scratch(|shapes| 3 * shapes.input(1).0),
    ]
}

fn take(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (wanted, here) = (tiles.input(0), tiles.input(1));
    let mut held = Vec::new();
    for pair in [2, 4, 6] {
        let (places, tile) = (tiles.optional_input(pair), tiles.optional_input(pair + 1));
        if let (Some(places), Some(tile)) = (places, tile) {
            held.push((Span::of("take_rows", PLACES, places)?, tile));
        }
    }
    let ([output], scratch) = tiles.outputs();
    let cols = output.shape.cols as usize;
    // For each row that is found: which one is wanted, in which tile it is, and which row it is there.
    let (found, _) = scratch.as_chunks_mut::<3>();
    let mut count = 0;
    for (t, place) in wanted.data.iter().enumerate() {
        let place = number(*place);
        let row = |(span, _): &(Span, _)| span.row(place);
        let at = held
            .iter()
            .enumerate()
            .find_map(|(i, tile)| Some((i, row(tile)?)));
        if let Some((tile, row)) = at {
            found[count] = [t, tile, row].map(word);
            count += 1;
        }
    }
    output.keep_rows(count);
    let found = &found[..count];
    let mut columns = output.data[..count * cols].chunks_exact_mut(count.max(1));
    for (to, [t, ..]) in columns.next().into_iter().flatten().zip(found) {
        *to = here.data[number(*t)];
    }
    for (c, column) in columns.enumerate() {
        for (to, [_, tile, row]) in column.iter_mut().zip(found) {
            let (span, tile) = &held[number(*tile)];
            *to = tile.data[c * span.len + number(*row)];
        }
    }
    Ok(())
}

/// The holes of a panel, in the order of the winners, each with the row of tile k that goes there. Takes three words of
/// scratch a winner.
fn holes<'a>(winners: TileRef<'_>, here: Span, scratch: &'a mut [f64]) -> &'a mut [[f64; 2]] {
    let q = winners.data.len();
    let (wins, scratch) = scratch.split_at_mut(q);
    wins.fill(0.0);
    for place in winners.data {
        if let Some(row) = here.row(number(*place)) {
            wins[row] = 1.0;
        }
    }
    let mut losers = (0..here.len.min(q)).filter(|row| wins[*row] == 0.0);
    let (pairs, _) = scratch.as_chunks_mut::<2>();
    let mut count = 0;
    for place in winners.data {
        if here.row(number(*place)).is_none()
            && let Some(loser) = losers.next()
        {
            pairs[count] = [*place, word(loser)];
            count += 1;
        }
    }
    &mut pairs[..count]
}

fn give(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    const NAME: &str = "give_rows";
    let (winners, tile) = (tiles.input(0), tiles.input(2));
    let here = Span::of(NAME, PLACES, tiles.input(1))?;
    let mut held = Vec::new();
    for i in 3..6 {
        if let Some(places) = tiles.optional_input(i) {
            held.push(Span::of(NAME, PLACES, places)?);
        }
    }
    let ([output], scratch) = tiles.outputs();
    let cols = output.shape.cols as usize;
    let pairs = holes(winners, here, scratch);
    let mut count = 0;
    for i in 0..pairs.len() {
        let place = number(pairs[i][0]);
        if held.iter().any(|span| span.row(place).is_some()) {
            pairs[count] = pairs[i];
            count += 1;
        }
    }
    output.keep_rows(count);
    let pairs = &pairs[..count];
    let mut columns = output.data[..count * cols].chunks_exact_mut(count.max(1));
    for (to, [place, _]) in columns.next().into_iter().flatten().zip(pairs) {
        *to = *place;
    }
    for (column, from) in columns.zip(tile.data.chunks_exact(here.len)) {
        for (to, [_, row]) in column.iter_mut().zip(pairs) {
            *to = from[number(*row)];
        }
    }
    Ok(())
}

/// Writes those of the rows that go here over those of `output`.
fn put(
    name: &str,
    here: TileRef<'_>,
    rows: TileRef<'_>,
    output: &mut [f64],
) -> Result<(), KernelError> {
    let here = Span::of(name, PLACES, here)?;
    let count = rows.shape.rows as usize;
    let Some((places, entries)) = rows.data.split_at_checked(count).filter(|_| count > 0) else {
        return Ok(());
    };
    let columns = output.chunks_exact_mut(here.len);
    for (to, from) in columns.zip(entries.chunks_exact(count)) {
        for (place, x) in places.iter().zip(from) {
            if let Some(row) = here.row(number(*place)) {
                to[row] = *x;
            }
        }
    }
    Ok(())
}

fn came_from(tiles: &mut TaskTiles<'_, '_>) -> Result<(), KernelError> {
    let (places, winners) = (tiles.input(0), tiles.input(1));
    let here = Span::of("came_from", PLACES, tiles.input(2))?;
    let ([output], scratch) = tiles.outputs();
    let pairs = holes(winners, here, scratch);
    pairs.sort_unstable_by_key(|[hole, _]| number(*hole));
    for (to, place) in output.data.iter_mut().zip(places.data) {
        let hole = pairs.binary_search_by_key(&number(*place), |[hole, _]| number(*hole));
        *to = match hole {
            Ok(at) => word(here.first + number(pairs[at][1])),
            Err(_) => *place,
        };
    }
    Ok(())
}
