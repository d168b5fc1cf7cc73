//! Files as NumPy writes them, read and refused; results, whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::matrix::{
    ArrayForm, Entries, InputError, MatrixSource, NpyMatrix, NpyWriter, OutputError, Place,
    ResultPlace,
};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("peerwren-{name}-"))
            .tempdir();
        Self(folder.unwrap().keep())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let text = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

/// The bytes of entry (i, j) as `descr` has them, and the f64 that it stands for.
fn entry(descr: &str, i: u64, j: u64) -> (Vec<u8>, f64) {
    let k = (i * 7 + j * 3) as i64;
    macro_rules! as_bytes {
        ($t:ty, $v:expr) => {{
            let v = $v as $t;
            let bytes = if descr.starts_with('>') {
                v.to_be_bytes()
            } else {
                v.to_le_bytes()
            };
            (bytes.to_vec(), v as f64)
        }};
    }
    match &descr[1..] {
        "b1" => (vec![(k % 2) as u8], (k % 2) as f64),
        "i1" => as_bytes!(i8, k % 100 - 50),
        "i2" => as_bytes!(i16, k * 100 - 5000),
        "i4" => as_bytes!(i32, k * 100_000 - 5_000_000),
        "i8" => as_bytes!(i64, i64::MAX - k),
        "u1" => as_bytes!(u8, k),
        "u2" => as_bytes!(u16, k * 500),
        "u4" => as_bytes!(u32, u32::MAX as i64 - k),
        "u8" => as_bytes!(u64, u64::MAX - k as u64),
        "f4" => as_bytes!(f32, k as f32 / 3.0),
        _ => as_bytes!(f64, k as f64 / 3.0 - 1e300),
    }
}

const TYPES: [&str; 20] = [
    "|b1", "|i1", "<i2", ">i2", "<i4", ">i4", "<i8", ">i8", "|u1", "<u2", ">u2", "<u4", ">u4",
    "<u8", ">u8", "<f4", ">f4", "<f8", ">f8", "=f8",
];

fn whole(descr: &str, fortran: bool, m: u64, n: u64) -> Vec<u8> {
    let mut data = Vec::new();
    let (outer, inner) = if fortran { (n, m) } else { (m, n) };
    for o in 0..outer {
        for i in 0..inner {
            let (row, col) = if fortran { (i, o) } else { (o, i) };
            data.extend(entry(descr, row, col).0);
        }
    }
    npy(
        &format!("'{descr}'"),
        fortran,
        &format!("({m}, {n})"),
        &data,
    )
}

proptest! {
    #[test]
    fn any_tile_of_any_file_reads_as_its_entries(
        descr in prop::sample::select(&TYPES[..]),
        fortran: bool,
        (row0, rows, below) in (0u64..20, 1usize..20, 0u64..3),
        (col0, cols, right) in (0u64..20, 1usize..20, 0u64..3),
    ) {
        let folder = Folder::new("any-tile");
        let (m, n) = (row0 + rows as u64 + below, col0 + cols as u64 + right);
        let path = folder.file("a.npy", &whole(descr, fortran, m, n));
        let a = NpyMatrix::open(&path).unwrap();
        prop_assert_eq!((a.rows(), a.cols()), (m, n));
        let mut out = vec![f64::NAN; rows * cols];
        a.read_tile(row0, col0, rows, cols, &mut out).unwrap();
        for j in 0..cols {
            for i in 0..rows {
                let (_, value) = entry(descr, row0 + i as u64, col0 + j as u64);
                prop_assert_eq!(out[j * rows + i], value, "[{}, {}]", i, j);
            }
        }
        a.scan_finite().unwrap();
    }

    #[test]
    fn written_tiles_read_back(m in 1u64..30, n in 1u64..30, block in 1u32..12) {
        let folder = Folder::new("read-back");
        let path = folder.0.join("r.npy");
        let writer = NpyWriter::create(&path, ArrayForm::matrix(m, n)).unwrap();
        let tiling = crate::matrix::Tiling::new(m, n, block, block).unwrap();
        let value = |i: u64, j: u64| (i * 100 + j) as f64 + 0.5;
        for at in tiling.indices().filter(|at| at.i() <= at.j()) {
            let t = tiling.rect(at);
            let tile: Vec<f64> = (0..t.cols as u64)
                .flat_map(|j| (0..t.rows as u64).map(move |i| value(t.row0 + i, t.col0 + j)))
                .collect();
            writer.write_tile(t.row0, t.col0, t.rows, t.cols, &tile).unwrap();
        }
        prop_assert!(!path.exists());
        writer.finish().unwrap();
        prop_assert_eq!(folder.names(), ["r.npy"]);
        let a = NpyMatrix::open(&path).unwrap();
        let mut out = vec![f64::NAN; (m * n) as usize];
        a.read_tile(0, 0, m as usize, n as usize, &mut out).unwrap();
        for j in 0..n {
            for i in 0..m {
                let written = i / u64::from(block) <= j / u64::from(block);
                let expected = if written { value(i, j) } else { 0.0 };
                prop_assert_eq!(out[(j * m + i) as usize], expected);
            }
        }
    }
}

#[test]
fn an_array_of_one_dimension_is_a_column() {
    let folder = Folder::new("vector");
    let data: Vec<u8> = (0..9).flat_map(|i| f64::from(i).to_le_bytes()).collect();
    for fortran in [false, true] {
        let path = folder.file("v.npy", &npy("'<f8'", fortran, "(9,)", &data));
        let source = MatrixSource::open(&path).unwrap();
        assert!(source.is_vector());
        assert_eq!(source.shape(), (9, 1));
        let mut out = [0.0; 4];
        source.read_tile(3, 0, 4, 1, &mut out).unwrap();
        assert_eq!(out, [3.0, 4.0, 5.0, 6.0]);
        assert!(!source.transposed().is_vector());
    }
    let path = folder.file("m.npy", &npy("'<f8'", false, "(9, 1)", &data));
    assert!(!MatrixSource::open(&path).unwrap().is_vector());
}

/// The bytes that NumPy 2 writes for `numpy.array([3, -1, 9007199254740993])` and
/// `numpy.array([0.5, 0.25])`.
#[test]
fn vectors_and_whole_numbers_are_written_as_numpy_does() {
    let folder = Folder::new("forms");
    let numbers = [3, -1, 9_007_199_254_740_993_i64];
    let words = numbers.map(|number| f64::from_bits(number as u64));
    let table = [
        (Entries::I64, "(3,)", "<i8", words.as_slice()),
        (Entries::F64, "(2,)", "<f8", &[0.5, 0.25]),
    ];
    for (entries, shape, descr, words) in table {
        let path = folder.0.join("p.npy");
        let form = ArrayForm {
            is_vector: true,
            entries,
            ..ArrayForm::matrix(words.len() as u64, 1)
        };
        let writer = NpyWriter::create(&path, form).unwrap();
        let (first, rest) = words.split_at(1);
        writer.write_tile(0, 0, 1, 1, first).unwrap();
        writer.write_tile(1, 0, rest.len(), 1, rest).unwrap();
        writer.finish().unwrap();
        let mut text =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        text += &" ".repeat(128 - 10 - 1 - text.len());
        let mut expected = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        expected.extend(text.bytes().chain([b'\n']));
        expected.extend(words.iter().flat_map(|word| word.to_bits().to_le_bytes()));
        assert_eq!(fs::read(&path).unwrap(), expected);
    }
    let form = ArrayForm {
        is_vector: true,
        ..ArrayForm::matrix(3, 2)
    };
    let told = NpyWriter::create(&folder.0.join("p.npy"), form).unwrap_err();
    assert!(
        told.is_usage() && told.to_string().contains("has 1 column, found 2"),
        "{told}"
    );
}

#[test]
fn long_runs_are_read_in_pieces() {
    let folder = Folder::new("pieces");
    let (m, n) = (9, 10_000);
    for (fortran, descr) in [(false, "<f8"), (true, "<f4"), (true, "<f8")] {
        let (m, n) = if fortran { (n, m) } else { (m, n) };
        let a = NpyMatrix::open(&folder.file("a.npy", &whole(descr, fortran, m, n))).unwrap();
        let mut out = vec![f64::NAN; (m * n) as usize];
        a.read_tile(0, 0, m as usize, n as usize, &mut out).unwrap();
        for j in 0..n {
            for i in 0..m {
                assert_eq!(
                    out[(j * m + i) as usize],
                    entry(descr, i, j).1,
                    "{descr} [{i}, {j}]"
                );
            }
        }
    }
}

#[test]
fn bad_files_are_refused_in_one_line() {
    let folder = Folder::new("bad");
    let f8 = |values: &[f64]| {
        values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let six = f8(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let table: [(&str, Vec<u8>, &str); 15] = [
        ("empty", vec![], "expected a .npy file, found an empty file"),
        (
            "csv",
            b"1,2\n3,4\n".to_vec(),
            "expected a .npy file, found other data, starting with `1,2\\n3,4\\n`",
        ),
        (
            "1d",
            npy("'<f8'", false, "(0,)", &[]),
            "expected a matrix with at least one entry, found shape (0,)",
        ),
        (
            "long",
            npy("'<f8'", false, "(9223372036854775807,)", &six),
            "expected a matrix of fewer than 2^63 bytes, found shape (9223372036854775807,)",
        ),
        (
            "0d",
            npy("'<f8'", false, "()", &six),
            "expected a 1-d or 2-d array, found shape ()",
        ),
        (
            "3d",
            npy("'<f8'", false, "(1, 2, 3)", &six),
            "expected a 1-d or 2-d array, found shape (1, 2, 3)",
        ),
        (
            "none",
            npy("'<f8'", false, "(0, 3)", &[]),
            "expected a matrix with at least one entry, found shape (0, 3)",
        ),
        (
            "huge",
            npy("'<f8'", false, "(4294967296, 4294967296)", &six),
            "expected a matrix of fewer than 2^63 bytes, found shape (4294967296, 4294967296)",
        ),
        (
            "short",
            npy("'<f8'", false, "(2, 3)", &six[..40]),
            "truncated: its header promises 118 bytes, the file has 110",
        ),
        (
            "complex",
            npy("'<c16'", false, "(1, 3)", &six),
            "expected booleans, integers, float32 or float64, found complex numbers (<c16)",
        ),
        (
            "string",
            npy("'<U2'", false, "(2, 3)", &six),
            "expected booleans, integers, float32 or float64, found strings (<U2)",
        ),
        (
            "object",
            npy("'|O'", false, "(2, 3)", &six),
            "expected booleans, integers, float32 or float64, found Python objects (|O)",
        ),
        (
            "struct",
            npy("[('a', '<f8')]", false, "(2, 3)", &six),
            "expected booleans, integers, float32 or float64, found a structured type",
        ),
        (
            "nan",
            npy(
                "'<f8'",
                false,
                "(2, 3)",
                &f8(&[1.0, 2.0, 3.0, 4.0, f64::NAN, f64::INFINITY]),
            ),
            "expected finite entries, found NaN at [1, 1] (counted from 0)",
        ),
        (
            "inf",
            npy(
                "'<f8'",
                true,
                "(2, 3)",
                &f8(&[1.0, 2.0, 3.0, f64::NEG_INFINITY, f64::NAN, 6.0]),
            ),
            "expected finite entries, found -inf at [1, 1] (counted from 0)",
        ),
    ];
    for (name, bytes, reason) in table {
        let path = folder.file(name, &bytes);
        let error = MatrixSource::open(&path)
            .and_then(|a| a.validate())
            .unwrap_err();
        assert_eq!(error.to_string(), format!("{}: {reason}", path.display()));
    }
    let missing = folder.0.join("mis\nsing");
    assert_eq!(
        NpyMatrix::open(&missing).unwrap_err().to_string(),
        format!(
            "{}/mis\\nsing: no such file; expected a .npy file, a Zarr array (folder or s3://bucket/key), random:MxN[:seed] or spd:N[:seed]",
            folder.0.display()
        )
    );
    assert_eq!(
        NpyMatrix::open(&folder.0).unwrap_err().to_string(),
        format!(
            "{}: expected a .npy file, found a folder",
            folder.0.display()
        )
    );
    assert_eq!(
        NpyMatrix::open(Path::new("/dev/zero"))
            .unwrap_err()
            .to_string(),
        "/dev/zero: expected a .npy file, found a device, pipe or socket"
    );
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    let folder = Folder::new("shrinks");
    let path = folder.file("a.npy", &whole("<f8", false, 10, 10));
    let a = NpyMatrix::open(&path).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(300)
        .unwrap();
    let mut out = vec![0.0; 100];
    assert!(matches!(
        a.read_tile(0, 0, 10, 10, &mut out),
        Err(InputError::Changed { .. })
    ));
    assert!(matches!(a.scan_finite(), Err(InputError::Changed { .. })));
}

#[test]
fn a_worker_reopens_the_same_input_or_refuses() {
    let folder = Folder::new("reopen");
    let path = folder.file("a.npy", &whole("<f8", false, 4, 5));
    for text in ["random:7x3:9", path.to_str().unwrap()] {
        let source = MatrixSource::parse(text).unwrap();
        let spec = source.spec().unwrap();
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&spec).unwrap();
        let again =
            rkyv::from_bytes::<crate::matrix::SourceSpec, rkyv::rancor::Error>(&bytes).unwrap();
        assert_eq!(again, spec);
        let other = again.open().unwrap();
        assert_eq!(other.shape(), source.shape());
        let (mut x, mut y) = (vec![0.0; 6], vec![1.0; 6]);
        source.read_tile(1, 1, 3, 2, &mut x).unwrap();
        other.read_tile(1, 1, 3, 2, &mut y).unwrap();
        assert_eq!(x, y);
        assert_eq!(source.to_string(), text);
    }
    let spec = MatrixSource::open(&path).unwrap().spec().unwrap();
    folder.file("a.npy", &whole("<f8", false, 4, 6));
    assert!(matches!(spec.open(), Err(InputError::Changed { .. })));
    assert!(
        MatrixSource::eye(3, 2)
            .unwrap()
            .spec()
            .unwrap()
            .open()
            .is_ok()
    );
}

#[test]
fn the_identity_has_ones_on_its_diagonal() {
    let eye = MatrixSource::eye(6, 4).unwrap();
    let mut out = vec![9.0; 6];
    eye.read_tile(2, 1, 3, 2, &mut out).unwrap();
    assert_eq!(out, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn what_names_no_input_is_told_what_does() {
    let forms = "expected a .npy file, a Zarr array (folder or s3://bucket/key), random:MxN[:seed] or \
                 spd:N[:seed]";
    let table = [
        (
            "spd:5x5",
            "input `spd:5x5`: N is `5x5`; expected spd:N[:seed] with whole numbers, N at least 1".to_owned(),
        ),
        (
            "s3://b/k",
            "input `s3://b/k`: \"s3://b/k\": a bucket's name has 3 to 63 of a-z, 0-9, `-` and `.`; \
             expected a folder or s3://bucket/prefix"
                .to_owned(),
        ),
        (
            "a.zarr",
            format!("a.zarr: no such file; {forms}"),
        ),
        ("", format!("input ``: {forms}")),
    ];
    for (text, reason) in table {
        assert_eq!(MatrixSource::parse(text).unwrap_err().to_string(), reason);
    }
}

#[test]
fn outputs_are_checked_before_the_work() {
    let folder = Folder::new("outputs");
    let at = |name: &str| folder.0.join(name);
    let input = folder.file("a.npy", &whole("<f8", false, 2, 2));
    fs::create_dir(at("folder.npy")).unwrap();
    std::os::unix::fs::symlink(&input, at("link.npy")).unwrap();
    let root = folder.0.display();
    let table = [
        (at("r.npy"), None),
        (
            at("r.txt"),
            Some("expected a name that ends in .npy or .zarr".to_owned()),
        ),
        (at("r.zarr"), None),
        (
            at("none/r.npy"),
            Some(format!("its folder {root}/none does not exist")),
        ),
        (
            at("a.npy/r.npy"),
            Some(format!("{root}/a.npy is not a folder")),
        ),
        (
            at("folder.npy"),
            Some("is a folder; name a file".to_owned()),
        ),
        (
            at("a.npy"),
            Some("is also an input; inputs are never overwritten".to_owned()),
        ),
        (
            at("link.npy"),
            Some("is also an input; inputs are never overwritten".to_owned()),
        ),
        (
            at("./folder.npy/../a.npy"),
            Some("is also an input; inputs are never overwritten".to_owned()),
        ),
    ];
    for (path, reason) in table {
        let checked = ResultPlace::parse(&path).and_then(|result| {
            let input = Place::Folder(input.clone());
            result.check_writable(Some(&input))
        });
        let came = checked.err().map(|error| {
            assert!(error.is_usage());
            error.to_string()
        });
        assert_eq!(
            came,
            reason.map(|reason| format!("output {}: {reason}", path.display()))
        );
    }
    assert_eq!(folder.names().len(), 3, "the check leaves nothing behind");
}

#[test]
fn an_unfinished_result_leaves_the_old_file_and_nothing_else() {
    let folder = Folder::new("unfinished");
    let path = folder.file("r.npy", b"old");
    let writer = NpyWriter::create(&path, ArrayForm::matrix(3, 3)).unwrap();
    writer.write_tile(0, 0, 3, 3, &[1.0; 9]).unwrap();
    assert_eq!(folder.names().len(), 2);
    drop(writer);
    assert_eq!(folder.names(), ["r.npy"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn threads_write_side_by_side() {
    let folder = Folder::new("threads");
    let path = folder.0.join("r.npy");
    let writer = NpyWriter::create(&path, ArrayForm::matrix(64, 64)).unwrap();
    std::thread::scope(|scope| {
        for block in 0..4u64 {
            let writer = &writer;
            scope.spawn(move || {
                for j in 0..64 {
                    writer
                        .write_tile(block * 16, j, 16, 1, &[block as f64; 16])
                        .unwrap();
                }
            });
        }
    });
    writer.finish().unwrap();
    let a = NpyMatrix::open(&path).unwrap();
    let mut out = vec![9.0; 64 * 64];
    a.read_tile(0, 0, 64, 64, &mut out).unwrap();
    assert!(
        out.iter()
            .enumerate()
            .all(|(k, v)| *v == (k % 64 / 16) as f64)
    );
}

#[test]
fn a_full_disk_is_named() {
    // A matrix beyond what any file system here holds is refused when its file is sized.
    let folder = Folder::new("full");
    let error = NpyWriter::create(&folder.0.join("r.npy"), ArrayForm::matrix(1 << 30, 1 << 29))
        .unwrap_err();
    assert!(
        matches!(error, OutputError::Full { .. } | OutputError::Failed { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("r.npy"));
    assert!(folder.names().is_empty());
}
