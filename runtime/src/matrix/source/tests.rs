//! Every kind of source, sliced and transposed again and again, against a plain matrix.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::matrix::SourceSpec;
use crate::matrix::zarr::upload;

/// A whole matrix in memory, column-major.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    m: usize,
    n: usize,
    bits: Vec<u64>,
}

impl Plain {
    fn of(source: &MatrixSource) -> Self {
        let (m, n) = source.shape();
        Self::part(source, (0, 0), m as usize, n as usize)
    }

    fn part(source: &MatrixSource, (row0, col0): (u64, u64), m: usize, n: usize) -> Self {
        let mut out = vec![f64::NAN; m * n];
        source.read_tile(row0, col0, m, n, &mut out).unwrap();
        let bits = out.iter().map(|entry| entry.to_bits()).collect();
        Self { m, n, bits }
    }

    fn made(m: usize, n: usize, bits: impl Fn(usize, usize) -> u64) -> Self {
        let columns = (0..n).flat_map(|j| (0..m).map(move |i| (i, j)));
        let bits = columns.map(|(i, j)| bits(i, j)).collect();
        Self { m, n, bits }
    }

    fn transposed(&self) -> Self {
        Self::made(self.n, self.m, |i, j| self.bits[i * self.m + j])
    }

    fn slice(&self, rows: Range<usize>, cols: Range<usize>) -> Self {
        let (row0, col0) = (rows.start, cols.start);
        Self::made(rows.len(), cols.len(), |i, j| {
            self.bits[(col0 + j) * self.m + row0 + i]
        })
    }
}

/// A folder with one matrix in every form that is read.
struct Inputs {
    folder: PathBuf,
    sources: Vec<MatrixSource>,
}

impl Inputs {
    fn new() -> Self {
        static SERIAL: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("peerwren-s-{}-{serial}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let random = MatrixSource::parse("random:23x17:5").unwrap();
        let npy = folder.join("a.npy");
        let writer =
            crate::matrix::NpyWriter::create(&npy, crate::matrix::ArrayForm::matrix(23, 17))
                .unwrap();
        let mut entries = vec![0.0; 23 * 17];
        random.read_tile(0, 0, 23, 17, &mut entries).unwrap();
        writer.write_tile(0, 0, 23, 17, &entries).unwrap();
        writer.finish().unwrap();
        let place = Place::Folder(folder.join("a.zarr"));
        let zarr = waiting(upload(&random, &place, (5, 5))).unwrap().0;
        let sources = vec![
            MatrixSource::open(&npy).unwrap(),
            zarr,
            MatrixSource::eye(9, 14).unwrap(),
            MatrixSource::parse("spd:13:2").unwrap(),
            MatrixSource::scalar(-2.5),
            random,
        ];
        Self { folder, sources }
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn waiting<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// A way to look at a matrix: places are taken modulo its size.
#[derive(Clone, Debug)]
enum Step {
    Transpose,
    Slice([prop::sample::Index; 4]),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let slice = any::<[prop::sample::Index; 4]>().prop_map(Step::Slice);
    prop::collection::vec(prop_oneof![Just(Step::Transpose), slice], 0..5)
}

/// A range within `0..length` that is not empty.
fn range(length: usize, one: &prop::sample::Index, other: &prop::sample::Index) -> Range<usize> {
    let start = one.index(length);
    start..start + 1 + other.index(length - start)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_view_of_a_view_is_what_a_plain_matrix_shows(
        which in 0..6_usize, steps in steps(), tile in any::<[prop::sample::Index; 4]>(),
    ) {
        let inputs = Inputs::new();
        let mut source = inputs.sources[which].clone();
        let mut plain = Plain::of(&source);
        for step in &steps {
            (source, plain) = match step {
                Step::Transpose => (source.transposed(), plain.transposed()),
                Step::Slice([a, b, c, d]) => {
                    let (rows, cols) = (range(plain.m, a, b), range(plain.n, c, d));
                    let wide = |range: &Range<usize>| range.start as u64..range.end as u64;
                    let sliced = source.slice(wide(&rows), wide(&cols)).unwrap();
                    (sliced, plain.slice(rows, cols))
                }
            };
        }
        prop_assert_eq!(source.shape(), (plain.m as u64, plain.n as u64));
        prop_assert_eq!(&Plain::of(&source), &plain, "{}", &source);

        let (rows, cols) = (range(plain.m, &tile[0], &tile[1]), range(plain.n, &tile[2], &tile[3]));
        let at = (rows.start as u64, cols.start as u64);
        let expected = plain.slice(rows.clone(), cols.clone());
        // As a worker reads it, from what came with the plan.
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&source.spec().unwrap()).unwrap();
        let spec = rkyv::from_bytes::<SourceSpec, rkyv::rancor::Error>(&bytes).unwrap();
        prop_assert_eq!(spec.shape(), source.shape());
        let opened = spec.open().unwrap();
        let shown = opened.to_string();
        // Paths are absolute in a specification, and here they were before.
        prop_assert_eq!(&shown, &source.to_string());
        let (read, moved) = waiting(opened.part(at.0, at.1, rows.len(), cols.len())).unwrap();
        let bits = read.as_f64().iter().map(|entry| entry.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(&bits, &expected.bits);
        prop_assert!(moved.bytes >= bits.len() as u64 * 8 && moved.requests >= 1);
        prop_assert_eq!(Plain::part(&opened, at, rows.len(), cols.len()), expected);

        // What is uploaded is what the view shows.
        let place = Place::Folder(inputs.folder.join("up.zarr"));
        let (there, _) = waiting(upload(&source, &place, (4, 4))).unwrap();
        prop_assert_eq!(&Plain::of(&there), &plain);
    }
}

#[test]
fn views_are_shown_and_refused_by_name() {
    let a = MatrixSource::parse("random:9x4:1").unwrap();
    let table = [
        (a.clone(), "random:9x4:1"),
        (a.clone().transposed(), "random:9x4:1 transposed"),
        (a.clone().transposed().transposed(), "random:9x4:1"),
        (
            a.clone().slice(2..9, 1..3).unwrap(),
            "random:9x4:1[2..9, 1..3]",
        ),
        (
            a.clone()
                .slice(2..9, 1..3)
                .unwrap()
                .slice(1..2, 0..1)
                .unwrap(),
            "random:9x4:1[3..4, 1..2]",
        ),
        (MatrixSource::scalar(2.5), "2.5"),
    ];
    for (source, shown) in table {
        assert_eq!(source.to_string(), shown);
    }
    let refused = a.clone().transposed().slice(0..5, 0..1).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "input `random:9x4:1 transposed`: rows 0..5; expected a range that is not empty within 0..4"
    );
    let mut spec = a.spec().unwrap();
    spec.view.col0 = u64::MAX;
    let refused = spec.open().unwrap_err().to_string();
    assert_eq!(
        refused,
        "input `random:9x4:1`: expected a part of it, found 9 x 4 from [0, 18446744073709551615]"
    );
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let refused = MatrixSource::scalar(value).validate().unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("input `{value}`: expected a finite number")
        );
    }
    MatrixSource::scalar(-0.0).validate().unwrap();
    assert!(MatrixSource::parse("2.5").is_err(), "a file is meant");
    let constant = |source: MatrixSource| source.spec().unwrap().is_constant();
    assert!(constant(MatrixSource::scalar(1.0)) && constant(MatrixSource::eye(2, 2).unwrap()));
    assert!(!constant(a));
}
