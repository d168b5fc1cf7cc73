//! Products of dense matrices on [`crate::micro`]: blocks of A are packed, B is read where it is, or its transpose copied
//! a block at a time. Knows leading dimensions, not tiles.

use crate::micro::{Band, Cpu, Multiply, Part, Place, Store, Stride};
use crate::pack::{Dense, beside, beside_pitch, beside_words, pack, pack_transposed, packed_words};

/// Depth that is multiplied at a time.
const DEPTH: usize = 512;
/// Rows of A that are packed at a time: 120 x 512 words are 480 KB, which leaves half of a second-level cache of
/// 1 MB to B and C. A multiple of the highest panel.
const ROWS: usize = 120;

/// A dense column-major matrix that is read, or its transpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    data: &'a [f64],
    ld: usize,
    transposed: bool,
}

impl<'a> View<'a> {
    /// The matrix itself.
    pub(crate) fn plain(data: &'a [f64], ld: usize) -> View<'a> {
        View {
            data,
            ld,
            transposed: false,
        }
    }

    /// The transpose of what `data` holds.
    pub(crate) fn transposed(data: &'a [f64], ld: usize) -> View<'a> {
        View {
            data,
            ld,
            transposed: true,
        }
    }

    /// The entries from (`row`, `col`) on.
    fn from(self, row: usize, col: usize) -> &'a [f64] {
        let (row, col) = if self.transposed {
            (col, row)
        } else {
            (row, col)
        };
        &self.data[col * self.ld + row..]
    }
}

/// Rows and columns of C, and the depth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
}

/// Scratch words of a [`product`] of this extent whose B is not transposed. No less for a larger extent.
pub(crate) fn product_words(Extent { m, k, .. }: Extent) -> usize {
    packed_words(m.min(ROWS), k.min(DEPTH))
}

/// The same where B is transposed.
pub(crate) fn product_nt_words(extent: Extent) -> usize {
    product_words(extent) + beside_words(extent.n, extent.k.min(DEPTH))
}

/// The `m` x `n` part of C at the start of `c` (leading dimension `ldc`) becomes what `store` says of A B.
pub(crate) fn product(
    cpu: Cpu,
    (c, ldc): (&mut [f64], usize),
    Extent { m, n, k }: Extent,
    (a, b): (View<'_>, View<'_>),
    (store, part): (Store<'_>, Part),
    scratch: &mut [f64],
) {
    let (packed, flipped) = scratch.split_at_mut(packed_words(m.min(ROWS), k.min(DEPTH)));
    for k0 in (0..k).step_by(DEPTH) {
        let kb = DEPTH.min(k - k0);
        let (b, stride) = if b.transposed {
            beside((b.from(k0, 0), b.ld), (n, kb), flipped);
            (&*flipped, Stride::Beside(beside_pitch(kb)))
        } else {
            (b.from(k0, 0), Stride::Fixed(b.ld))
        };
        let store = match store {
            _ if k0 == 0 => store,
            Store::Set | Store::AddFrom(_) | Store::AddAt(..) => Store::Add,
            Store::SubFrom(_) => Store::Sub,
            Store::Add | Store::Sub => store,
        };
        for r0 in (0..m).step_by(ROWS) {
            let rows = ROWS.min(m - r0);
            let part = match part {
                Part::All => Part::All,
                Part::Lower { shift } => Part::Lower {
                    shift: shift - r0 as isize,
                },
            };
            let a = if a.transposed {
                let columns = dense(a.from(r0, k0), a.ld, kb);
                pack_transposed(cpu, packed, (rows, kb), Band::default(), &columns)
            } else {
                let columns = dense(a.from(r0, k0), a.ld, rows);
                pack(cpu, packed, (rows, kb), Band::default(), &columns)
            };
            let place = Place {
                row: r0,
                ..Place::dense(ldc)
            };
            cpu.dispatch(Multiply {
                a,
                b: (b, Place::whole(stride)),
                dst: (c, place),
                cols: n,
                store,
                part,
                also: None,
            });
        }
    }
}

fn dense(data: &[f64], ld: usize, rows: usize) -> Dense<'_> {
    Dense {
        data,
        ld,
        rows,
        rise: usize::MAX,
    }
}
