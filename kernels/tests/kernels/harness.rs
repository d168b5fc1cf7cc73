//! Runs kernels on owned tiles and computes residuals in dense arithmetic.

use peerwren_kernels::{
    KernelError, KernelSet, Kind, Shape, TaskShapes, TaskTiles, TileMut, TileRef,
};

/// A tile with its words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tile {
    pub(crate) shape: Shape,
    pub(crate) data: Vec<f64>,
}

impl Tile {
    pub(crate) fn new(shape: Shape, entry: impl FnMut(usize) -> f64) -> Tile {
        Tile {
            shape,
            data: (0..shape.words()).map(entry).collect(),
        }
    }

    pub(crate) fn full(m: &Dense) -> Tile {
        Tile {
            shape: Shape::full(m.rows as u32, m.cols as u32),
            data: m.data.clone(),
        }
    }

    pub(crate) fn upper(m: &Dense) -> Tile {
        Tile::of(Kind::Upper, m)
    }

    /// The stored part of a dense matrix.
    pub(crate) fn of(kind: Kind, m: &Dense) -> Tile {
        let shape = Shape {
            kind,
            rows: m.rows as u32,
            cols: m.cols as u32,
        };
        let mut data = vec![0.0; shape.words()];
        TileMut::new(shape, &mut data).pack(&m.data, m.rows);
        Tile { shape, data }
    }

    /// The shape that a plan may give it: no bound of few rows is 0.
    fn planned(&self) -> Shape {
        let rows = self.shape.rows.max(1);
        Shape { rows, ..self.shape }
    }

    pub(crate) fn dense(&self) -> Dense {
        assert_ne!(self.shape.kind, Kind::Tfac);
        let (rows, cols) = self.shape.dense();
        let mut data = vec![f64::NAN; rows * cols];
        TileRef::new(self.shape, &self.data).unpack(&mut data, rows);
        Dense { rows, cols, data }
    }
}

/// A dense column-major matrix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) data: Vec<f64>,
}

impl Dense {
    pub(crate) fn new(
        rows: usize,
        cols: usize,
        mut entry: impl FnMut(usize, usize) -> f64,
    ) -> Dense {
        let data = (0..rows * cols)
            .map(|at| entry(at % rows, at / rows))
            .collect();
        Dense { rows, cols, data }
    }

    pub(crate) fn identity(n: usize) -> Dense {
        Dense::new(n, n, |i, j| f64::from(i == j))
    }

    pub(crate) fn at(&self, i: usize, j: usize) -> f64 {
        self.data[j * self.rows + i]
    }

    pub(crate) fn stack(&self, below: &Dense) -> Dense {
        let entry = |i, j| {
            if i < self.rows {
                self.at(i, j)
            } else {
                below.at(i - self.rows, j)
            }
        };
        Dense::new(self.rows + below.rows, self.cols, entry)
    }

    pub(crate) fn rows(&self, from: usize, to: usize) -> Dense {
        Dense::new(to - from, self.cols, |i, j| self.at(from + i, j))
    }

    pub(crate) fn amax(&self) -> f64 {
        self.data.iter().fold(0.0, |max, x| {
            if x.is_nan() {
                f64::INFINITY
            } else {
                max.max(x.abs())
            }
        })
    }

    /// Largest column sum.
    pub(crate) fn norm(&self) -> f64 {
        let sums = self
            .data
            .chunks(self.rows)
            .map(|c| c.iter().map(|x| x.abs()).sum::<f64>());
        sums.fold(0.0, |max, x| {
            if x.is_nan() {
                f64::INFINITY
            } else {
                max.max(x)
            }
        })
    }

    pub(crate) fn times(&self, other: &Dense) -> Dense {
        let mut product = Dense::new(self.rows, other.cols, |_, _| 0.0);
        for j in 0..other.cols {
            for k in 0..self.cols {
                for i in 0..self.rows {
                    product.data[j * self.rows + i] += self.at(i, k) * other.at(k, j);
                }
            }
        }
        product
    }

    pub(crate) fn transposed(&self) -> Dense {
        Dense::new(self.cols, self.rows, |i, j| self.at(j, i))
    }

    pub(crate) fn minus(&self, other: &Dense) -> Dense {
        Dense::new(self.rows, self.cols, |i, j| self.at(i, j) - other.at(i, j))
    }

    /// Divided by `scale`; zeros where that is zero.
    pub(crate) fn scaled(&self, scale: f64) -> Dense {
        Dense::new(self.rows, self.cols, |i, j| {
            if scale == 0.0 {
                0.0
            } else {
                self.at(i, j) / scale
            }
        })
    }
}

/// eps of the residual ratios: 2^-53.
pub(crate) const EPS: f64 = f64::EPSILON / 2.0;

/// |A - Q R| / (max(m, n) eps |A|), A scaled by its largest entry first. Below the normal range an
/// entry of R itself is no finer than the smallest number, whatever computes it.
pub(crate) fn residual(a: &Dense, q: &Dense, r: &Dense) -> f64 {
    let scale = a.amax();
    let (a, r) = (a.scaled(scale), r.scaled(scale));
    let error = a.minus(&q.times(&r)).norm();
    let eps = EPS.max(f64::from_bits(1) / scale);
    if error == 0.0 {
        0.0
    } else {
        error / (a.rows.max(a.cols) as f64 * eps * a.norm())
    }
}

/// |I - Q'Q| / (m eps).
pub(crate) fn orthogonality(q: &Dense) -> f64 {
    let gram = q.transposed().times(q);
    Dense::identity(q.cols).minus(&gram).norm() / (q.rows as f64 * EPS)
}

/// Words that stand for the rubbish in buffers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Poison {
    pub(crate) value: f64,
    /// Words before each buffer: moves its alignment.
    pub(crate) offset: usize,
}

pub(crate) fn run(name: &str, inputs: &[&Tile], outputs: &[Shape]) -> Vec<Tile> {
    let poison = Poison {
        value: f64::NAN,
        offset: 0,
    };
    try_run(name, inputs, outputs, poison).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) fn try_run(
    name: &str,
    inputs: &[&Tile],
    outputs: &[Shape],
    poison: Poison,
) -> Result<Vec<Tile>, KernelError> {
    let inputs: Vec<_> = inputs.iter().map(|tile| Some(*tile)).collect();
    try_run_some(name, &inputs, outputs, poison)
}

/// The same where some inputs are absent.
pub(crate) fn try_run_some(
    name: &str,
    inputs: &[Option<&Tile>],
    outputs: &[Shape],
    poison: Poison,
) -> Result<Vec<Tile>, KernelError> {
    let kernels = KernelSet::standard();
    let op = kernels
        .get(name)
        .unwrap_or_else(|| panic!("no kernel {name}"));
    let input_shapes: Vec<_> = inputs.iter().map(|tile| tile.map(Tile::planned)).collect();
    let output_shapes: Vec<_> = outputs.iter().copied().map(Some).collect();
    let shapes = TaskShapes {
        inputs: &input_shapes,
        outputs: &output_shapes,
    };
    op.check(&shapes).unwrap_or_else(|error| panic!("{error}"));
    let Poison { value, offset } = poison;
    let copies: Vec<Vec<f64>> = inputs
        .iter()
        .map(|tile| {
            let words = tile.map_or(&[][..], |tile| &tile.data);
            [&vec![value; offset], words].concat()
        })
        .collect();
    let mut results: Vec<Vec<f64>> = outputs
        .iter()
        .map(|shape| vec![value; offset + shape.words()])
        .collect();
    let mut scratch = vec![value; offset + op.scratch_words(&shapes)];
    let refs: Vec<_> = inputs
        .iter()
        .zip(&copies)
        .map(|(tile, copy)| tile.map(|tile| TileRef::new(tile.shape, &copy[offset..])))
        .collect();
    let mut muts: Vec<_> = outputs
        .iter()
        .zip(&mut results)
        .map(|(shape, data)| Some(TileMut::new(*shape, &mut data[offset..])))
        .collect();
    op.run(&mut TaskTiles {
        inputs: &refs,
        outputs: &mut muts,
        scratch: &mut scratch[offset..],
    })?;
    let made: Vec<Shape> = muts.iter().flatten().map(|tile| tile.shape).collect();
    Ok(made
        .into_iter()
        .zip(results)
        .map(|(shape, data)| Tile {
            shape,
            data: data[offset..offset + shape.words()].to_vec(),
        })
        .collect())
}

/// Small, reproducible random numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Uniform in [-1, 1).
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

/// The matrices that every kernel must factor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flavour {
    Random,
    /// Columns fall by powers of ten.
    Graded,
    /// Of rank at most 2.
    RankTwo,
    Zero,
    /// Some rows and columns are zeros.
    Holes,
    Tiny,
    Subnormal,
    Huge,
    /// Rows and columns between 1e-300 and 1e300.
    Wild,
    Ones,
    Identity,
}

impl Flavour {
    pub(crate) const ALL: [Flavour; 11] = [
        Flavour::Random,
        Flavour::Graded,
        Flavour::RankTwo,
        Flavour::Zero,
        Flavour::Holes,
        Flavour::Tiny,
        Flavour::Subnormal,
        Flavour::Huge,
        Flavour::Wild,
        Flavour::Ones,
        Flavour::Identity,
    ];

    pub(crate) fn matrix(self, rows: usize, cols: usize, seed: u64) -> Dense {
        let mut random = Random(seed);
        let left: Vec<[f64; 2]> = (0..rows).map(|_| [random.next(), random.next()]).collect();
        let right: Vec<[f64; 2]> = (0..cols).map(|_| [random.next(), random.next()]).collect();
        Dense::new(rows, cols, |i, j| match self {
            Flavour::Random => random.next(),
            Flavour::Graded => random.next() * 10_f64.powi(-3 * (j as i32 % 60)),
            Flavour::RankTwo => left[i][0] * right[j][0] + left[i][1] * right[j][1],
            Flavour::Zero => 0.0,
            Flavour::Holes => {
                if i % 5 == 1 || j % 3 == 1 {
                    0.0
                } else {
                    random.next()
                }
            }
            Flavour::Tiny => random.next() * 1e-300,
            Flavour::Subnormal => random.next() * 1e-310,
            Flavour::Huge => random.next() * 1e300,
            Flavour::Wild => {
                random.next() * 10_f64.powi([300, -300, 150, -150, 0, -160, 120][(i * 3 + j) % 7])
            }
            Flavour::Ones => 1.0,
            Flavour::Identity => f64::from(i == j),
        })
    }
}
