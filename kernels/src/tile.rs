//! Tiles: what a kernel reads and writes. Knows layouts and lengths, never keys or networks.
//!
//! A tile is at rest as it is in memory: 8-byte words, column-major, triangles packed. A kernel
//! that wants a dense triangle unpacks it into its scratch.

use std::fmt;

/// How the words of a tile are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `rows` x `cols` f64, column-major, leading dimension `rows`.
    Full,
    /// Unit lower trapezoid `rows` x `cols`, `cols <= rows`: column `j` stores its
    /// `rows - 1 - j` entries below the diagonal; ones and zeros are implied.
    Unit,
    /// Upper trapezoid: column `j` stores its first `min(j + 1, rows)` entries.
    Upper,
    /// Lower trapezoid: column `j` stores its entries from row `j` on.
    Lower,
    /// Compact WY factors of `rows` reflectors with inner block `cols`: for each group of `cols`
    /// reflectors (the last may be smaller) one packed upper triangle.
    Tfac,
    /// `rows` indices (i64 bits, one a word), `cols` is 1.
    Index,
    /// At most `rows` rows of `cols` columns, laid out as [`Kind::Full`] with the rows that there are.
    /// How many there are shows when the tile is made: its shape in a plan is a bound, perhaps of
    /// nothing.
    Few,
}

impl Kind {
    /// The name in programs and signatures: `full`, `unit`, `upper`, `lower`, `tfac`, `index`,
    /// `few`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Full => "full",
            Kind::Unit => "unit",
            Kind::Upper => "upper",
            Kind::Lower => "lower",
            Kind::Tfac => "tfac",
            Kind::Index => "index",
            Kind::Few => "few",
        }
    }

    /// The kind with this name, or `None`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Kind> {
        let all = [
            Kind::Full,
            Kind::Unit,
            Kind::Upper,
            Kind::Lower,
            Kind::Tfac,
            Kind::Index,
            Kind::Few,
        ];
        all.into_iter().find(|kind| kind.name() == name)
    }
}

/// Kind and size of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    /// The layout.
    pub kind: Kind,
    /// Rows; for [`Kind::Tfac`] the number of reflectors; for [`Kind::Few`] the most that there may
    /// be, or those that there are in a tile that is made.
    pub rows: u32,
    /// Columns; for [`Kind::Tfac`] the inner block.
    pub cols: u32,
}

/// Where the stored entries of one column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First stored row.
    pub(crate) row: usize,
    /// Stored entries.
    pub(crate) len: usize,
    /// Word at which they begin.
    pub(crate) offset: usize,
}

impl Shape {
    /// `rows` x `cols`, dense.
    #[must_use]
    pub const fn full(rows: u32, cols: u32) -> Shape {
        Shape {
            kind: Kind::Full,
            rows,
            cols,
        }
    }

    /// Unit lower trapezoid, `cols <= rows`.
    #[must_use]
    pub const fn unit(rows: u32, cols: u32) -> Shape {
        Shape {
            kind: Kind::Unit,
            rows,
            cols,
        }
    }

    /// Upper trapezoid.
    #[must_use]
    pub const fn upper(rows: u32, cols: u32) -> Shape {
        Shape {
            kind: Kind::Upper,
            rows,
            cols,
        }
    }

    /// Lower trapezoid.
    #[must_use]
    pub const fn lower(rows: u32, cols: u32) -> Shape {
        Shape {
            kind: Kind::Lower,
            rows,
            cols,
        }
    }

    /// Compact WY factors of `reflectors` reflectors in groups of `ib`.
    #[must_use]
    pub const fn tfac(reflectors: u32, ib: u32) -> Shape {
        Shape {
            kind: Kind::Tfac,
            rows: reflectors,
            cols: ib,
        }
    }

    /// `rows` indices.
    #[must_use]
    pub const fn index(rows: u32) -> Shape {
        Shape {
            kind: Kind::Index,
            rows,
            cols: 1,
        }
    }

    /// At most `rows` x `cols`, dense.
    #[must_use]
    pub const fn few(rows: u32, cols: u32) -> Shape {
        Shape {
            kind: Kind::Few,
            rows,
            cols,
        }
    }

    /// Whether every tile of this shape has [`Shape::words`] words. Those of a [`Kind::Few`] may have
    /// fewer.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        !matches!(self.kind, Kind::Few)
    }

    /// The shape of a tile of so many words that a plan gives this shape; `None` where it is none.
    ///
    /// ```
    /// # use peerwren_kernels::tile::Shape;
    /// assert_eq!(Shape::few(3, 2).of_words(4), Some(Shape::few(2, 2)));
    /// assert_eq!(Shape::few(3, 2).of_words(0), Some(Shape::few(0, 2)));
    /// assert_eq!(Shape::few(3, 2).of_words(5), None);
    /// assert_eq!(Shape::full(3, 2).of_words(4), None);
    /// ```
    #[must_use]
    pub fn of_words(self, words: usize) -> Option<Shape> {
        let cols = (self.cols as usize).max(1);
        if words == self.words() {
            return Some(self);
        }
        let is_part = !self.is_exact() && words.is_multiple_of(cols) && words < self.words();
        is_part.then(|| Shape {
            rows: (words / cols) as u32,
            ..self
        })
    }

    /// Number of 8-byte words stored; of a [`Kind::Few`] the most.
    ///
    /// ```
    /// # use peerwren_kernels::tile::Shape;
    /// assert_eq!(Shape::full(3, 2).words(), 6);
    /// assert_eq!(Shape::upper(2, 3).words(), 5);
    /// assert_eq!(Shape::tfac(5, 2).words(), 3 + 3 + 1);
    /// ```
    #[must_use]
    pub fn words(self) -> usize {
        let (rows, cols) = (self.rows as usize, self.cols as usize);
        match self.kind {
            Kind::Tfac => self.triangles_before(rows),
            Kind::Index => rows,
            _ => self.offset(cols),
        }
    }

    /// Number of bytes stored: 8 a word; of a [`Kind::Few`] the most.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.words() * 8
    }

    /// Rows and columns of the dense matrix that [`TileRef::unpack`] writes: those of the shape,
    /// but `min(ib, k)` x `k` for the `k` reflectors of a [`Kind::Tfac`].
    #[must_use]
    pub fn dense(self) -> (usize, usize) {
        let (rows, cols) = (self.rows as usize, self.cols as usize);
        if self.kind == Kind::Tfac {
            (rows.min(cols), rows)
        } else {
            (rows, cols)
        }
    }

    /// Where the stored entries of dense column `j` are.
    pub(crate) fn span(self, j: usize) -> Span {
        let rows = self.rows as usize;
        let offset = self.offset(j);
        match self.kind {
            Kind::Full | Kind::Index | Kind::Few => Span {
                row: 0,
                len: rows,
                offset,
            },
            Kind::Unit => Span {
                row: j + 1,
                len: rows.saturating_sub(j + 1),
                offset,
            },
            Kind::Upper => Span {
                row: 0,
                len: rows.min(j + 1),
                offset,
            },
            Kind::Lower => Span {
                row: j,
                len: rows.saturating_sub(j),
                offset,
            },
            Kind::Tfac => Span {
                row: 0,
                len: j % self.cols as usize + 1,
                offset,
            },
        }
    }

    /// Words stored before dense column `j`.
    fn offset(self, j: usize) -> usize {
        let rows = self.rows as usize;
        match self.kind {
            Kind::Full | Kind::Index | Kind::Few => rows * j,
            Kind::Unit => {
                let j = j.min(rows);
                (rows * j).saturating_sub(j * (j + 1) / 2)
            }
            Kind::Upper => {
                let j_tri = j.min(rows);
                j_tri * (j_tri + 1) / 2 + (j - j_tri) * rows
            }
            Kind::Lower => {
                let j = j.min(rows);
                rows * j - j * j.saturating_sub(1) / 2
            }
            Kind::Tfac => self.triangles_before(j),
        }
    }

    /// Words of the packed triangles before reflector `j`.
    fn triangles_before(self, j: usize) -> usize {
        let ib = (self.cols as usize).max(1);
        let (groups, rest) = (j / ib, j % ib);
        groups * (ib * (ib + 1) / 2) + rest * (rest + 1) / 2
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Index => write!(f, "index({})", self.rows),
            kind => write!(f, "{}({},{})", kind.name(), self.rows, self.cols),
        }
    }
}

/// A tile that is read.
#[derive(Clone, Copy, Debug)]
pub struct TileRef<'a> {
    /// Kind and size.
    pub shape: Shape,
    /// [`Shape::words`] words.
    pub data: &'a [f64],
}

impl<'a> TileRef<'a> {
    /// A tile over `data`.
    ///
    /// # Panics
    /// When `data` has not [`Shape::words`] words.
    #[must_use]
    pub fn new(shape: Shape, data: &'a [f64]) -> TileRef<'a> {
        assert_eq!(
            data.len(),
            shape.words(),
            "a {shape} tile has the words of its shape"
        );
        TileRef { shape, data }
    }

    /// The stored entries of dense column `j`, and the row of the first.
    pub(crate) fn column(&self, j: usize) -> (usize, &'a [f64]) {
        let span = self.shape.span(j);
        (span.row, &self.data[span.offset..span.offset + span.len])
    }

    /// Writes the tile as a dense column-major matrix with leading dimension `ld`, implied zeros
    /// and ones included ([`Shape::dense`] gives its size). For `tfac` the triangles lie side by
    /// side, each in its own columns.
    ///
    /// # Panics
    /// When `ld` is less than the dense rows, or `dense` too short.
    pub fn unpack(&self, dense: &mut [f64], ld: usize) {
        let (rows, cols) = self.shape.dense();
        assert!(ld >= rows, "the leading dimension is at least the rows");
        for j in 0..cols {
            let (row, stored) = self.column(j);
            let column = &mut dense[j * ld..j * ld + rows];
            let head = row.min(rows);
            column[..head].fill(0.0);
            if self.shape.kind == Kind::Unit && head > 0 && row == head {
                column[head - 1] = 1.0;
            }
            column[head..head + stored.len()].copy_from_slice(stored);
            column[head + stored.len()..].fill(0.0);
        }
    }
}

/// A tile that is written.
#[derive(Debug)]
pub struct TileMut<'a> {
    /// Kind and size.
    pub shape: Shape,
    /// [`Shape::words`] words, or more where [`TileMut::keep_rows`] said so.
    pub data: &'a mut [f64],
}

impl<'a> TileMut<'a> {
    /// A tile over `data`.
    ///
    /// # Panics
    /// When `data` has not [`Shape::words`] words.
    #[must_use]
    pub fn new(shape: Shape, data: &'a mut [f64]) -> TileMut<'a> {
        assert_eq!(
            data.len(),
            shape.words(),
            "a {shape} tile has the words of its shape"
        );
        TileMut { shape, data }
    }

    /// Says that a [`Kind::Few`] tile has `rows` rows: they are in the first `rows` x `cols` words, the
    /// others are nobody's.
    ///
    /// # Panics
    /// When the tile is of another kind or has no room for so many.
    pub fn keep_rows(&mut self, rows: usize) {
        assert!(
            self.shape.kind == Kind::Few && rows <= self.shape.rows as usize,
            "a {} tile does not have {rows} rows",
            self.shape
        );
        self.shape.rows = rows as u32;
    }

    /// Stores the entries that this kind keeps out of a dense column-major matrix with leading
    /// dimension `ld`; the inverse of [`TileRef::unpack`]. The others are not looked at.
    ///
    /// # Panics
    /// When `dense` is too short.
    pub fn pack(&mut self, dense: &[f64], ld: usize) {
        let (_, cols) = self.shape.dense();
        for j in 0..cols {
            let span = self.shape.span(j);
            let from = j * ld + span.row.min(ld);
            self.data[span.offset..span.offset + span.len]
                .copy_from_slice(&dense[from..from + span.len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_stored_entries_and_packing_inverts_unpacking() {
        for rows in 1..9_u32 {
            for cols in 1..9_u32 {
                let shapes = [
                    Shape::full(rows, cols),
                    Shape::unit(rows.max(cols), cols),
                    Shape::upper(rows, cols),
                    Shape::lower(rows, cols),
                    Shape::tfac(rows, cols),
                    Shape::index(rows),
                    Shape::few(rows, cols),
                ];
                for shape in shapes {
                    let (dense_rows, dense_cols) = shape.dense();
                    let stored: usize = (0..dense_cols).map(|j| shape.span(j).len).sum();
                    assert_eq!(stored, shape.words(), "{shape}");
                    let data: Vec<f64> = (0..stored).map(|i| i as f64 + 1.0).collect();
                    let ld = dense_rows + 2;
                    let mut dense = vec![-7.0; ld * dense_cols];
                    TileRef::new(shape, &data).unpack(&mut dense, ld);
                    let mut back = vec![0.0; stored];
                    TileMut::new(shape, &mut back).pack(&dense, ld);
                    assert_eq!(back, data, "{shape}");
                }
            }
        }
    }

    #[test]
    fn a_tile_of_few_rows_has_any_number_of_them_up_to_its_bound() {
        let bound = Shape::few(3, 2);
        for words in 0..9 {
            let rows = (words % 2 == 0 && words <= 6).then_some(words as u32 / 2);
            let expected = rows.map(|rows| Shape::few(rows, 2));
            assert_eq!(bound.of_words(words), expected, "{words}");
            let exact = (words == 6).then_some(Shape::full(3, 2));
            assert_eq!(Shape::full(3, 2).of_words(words), exact, "{words}");
        }
        let mut data = [0.0; 6];
        let mut tile = TileMut::new(bound, &mut data);
        tile.keep_rows(0);
        assert_eq!((tile.shape, tile.shape.words()), (Shape::few(0, 2), 0));
    }

    #[test]
    #[should_panic(expected = "a few(3,2) tile does not have 4 rows")]
    fn a_tile_of_few_rows_keeps_to_its_bound() {
        let mut data = [0.0; 6];
        TileMut::new(Shape::few(3, 2), &mut data).keep_rows(4);
    }

    #[test]
    fn implied_entries_appear() {
        let mut dense = [9.0; 6];
        TileRef::new(Shape::unit(3, 2), &[2.0, 3.0, 4.0]).unpack(&mut dense, 3);
        assert_eq!(dense, [1.0, 2.0, 3.0, 0.0, 1.0, 4.0]);
        TileRef::new(Shape::upper(2, 3), &[1.0, 2.0, 3.0, 4.0, 5.0]).unpack(&mut dense, 2);
        assert_eq!(dense, [1.0, 0.0, 2.0, 3.0, 4.0, 5.0]);
    }
}
