//! Metadata against a golden file and a table, chunks against a plain oracle, arrays in folders.

use std::path::PathBuf;

use peerwren_kernels::tile::{Shape, TileRef};
use peerwren_transports::block::Block;
use peerwren_transports::store::{Objects, Place};
use proptest::prelude::*;

use super::array::{Found, ZarrArray, look};
use super::chunk::{self, ChunkError};
use super::input::{Opened, ZarrMatrix, wait};
use super::metadata::{Form, Layout, Unread};
use super::{check_writable, upload, uploaded};
use crate::matrix::{ArrayForm, MatrixSource, Moved, ResultPlace, overlap};

const GOLDEN: &str = include_str!("golden.json");

/// A folder of a test's own, removed at its end.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("peerwren-{name}-"))
            .tempdir();
        Self(folder.unwrap().keep())
    }

    pub(super) fn place(&self, name: &str) -> Place {
        Place::Folder(self.0.join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn metadata_are_the_golden_file() {
    let layout = Layout::tiled(ArrayForm::matrix(9, 3), (4, 4)).unwrap();
    assert_eq!(layout.encode(), GOLDEN);
    assert_eq!(Form::decode(GOLDEN.as_bytes()), Ok(Form::Ours(layout)));
    assert_eq!((layout.shape(), layout.chunk()), ((9, 3), (4, 3)));
    assert_eq!(layout.chunk_bytes(), 4 * 3 * 8 + 4);
}

/// As zarr-python 3.1 writes it for the same codecs.
#[test]
fn metadata_of_zarr_python_are_read() {
    let text = r#"{"shape":[5,7],"data_type":"float64","chunk_grid":{"name":"regular","configuration":
        {"chunk_shape":[3,4]}},"chunk_key_encoding":{"name":"default","configuration":{"separator":"/"}},
        "fill_value":0.0,"codecs":[{"name":"transpose","configuration":{"order":[1,0]}},{"name":"bytes",
        "configuration":{"endian":"little"}},{"name":"crc32c"}],"attributes":{"by":"hand"},
        "zarr_format":3,"node_type":"array","storage_transformers":[],"dimension_names":["i",null],
        "x-note":{"must_understand":false}}"#;
    assert_eq!(
        Form::decode(text.as_bytes()),
        Ok(Form::Ours(
            Layout::new(ArrayForm::matrix(5, 7), (3, 4)).unwrap()
        ))
    );
}

#[test]
fn what_is_no_array_is_named() {
    for (text, found) in [
        ("", "no JSON"),
        (
            "{\"zarr_format\": 3, \"node_type\": \"group\"}",
            "a Zarr group",
        ),
        ("{\"zarr_format\": 2}", "Zarr format 2"),
        ("[]", "JSON without `zarr_format`"),
        (
            "{\"zarr_format\": 3, \"node_type\": \"array\"}",
            "metadata that is wrong: missing field",
        ),
    ] {
        let Err(Unread::NotZarr(was)) = Form::decode(text.as_bytes()) else {
            panic!("{text} was read")
        };
        assert!(was.starts_with(found), "{text}: {was}");
    }
}

/// CRC-32C bit by bit: the reflected polynomial 0x82F63B78.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn checksums_are_those_of_rfc_3720() {
    let ascending: Vec<u8> = (0..32).collect();
    for (bytes, checksum) in [
        (&b"123456789"[..], 0xe306_9283),
        (&[0; 32][..], 0x8a91_36aa),
        (&[0xff; 32][..], 0x62a8_ab43),
        (&ascending[..], 0x46dd_794e),
    ] {
        assert_eq!(crc_fast::crc32_iscsi(bytes), checksum);
        assert_eq!(crc32c(bytes), checksum, "the oracle");
    }
}

/// A shape of any kind that is at most `rows` x `cols`.
fn shape_in(rows: u32, cols: u32) -> impl Strategy<Value = Shape> {
    (1..=rows, 1..=cols, 0..4).prop_map(|(rows, cols, kind)| match kind {
        0 => Shape::full(rows, cols),
        1 => Shape::upper(rows, cols),
        2 => Shape::lower(rows, cols),
        _ => Shape::unit(rows, cols.min(rows)),
    })
}

proptest! {
    #[test]
    fn chunks_are_their_tiles_column_by_column_with_zeros_and_a_checksum(
        (rows, cols, shape) in (1..20_u32, 1..20_u32)
            .prop_flat_map(|(rows, cols)| (Just(rows), Just(cols), shape_in(rows, cols))),
        seed: u64, flipped: prop::sample::Index, cut: prop::sample::Index,
    ) {
        let layout = Layout::new(ArrayForm::matrix(100, 100), (rows, cols)).unwrap();
        // Any bits: NaN, infinities and minus zero come back as they were.
        let words: Vec<f64> = (0..shape.words() as u64)
            .map(|i| f64::from_bits((seed ^ i).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
            .collect();
        let chunk = chunk::encode(&layout, shape, &words);
        let (tile_rows, tile_cols) = (shape.rows as usize, shape.cols as usize);
        let mut dense = vec![0.0; tile_rows * tile_cols];
        TileRef::new(shape, &words).unpack(&mut dense, tile_rows);
        let mut expected = Vec::new();
        for j in 0..cols as usize {
            for i in 0..rows as usize {
                let inside = i < tile_rows && j < tile_cols;
                let entry = if inside { dense[j * tile_rows + i] } else { 0.0 };
                expected.extend(entry.to_le_bytes());
            }
        }
        expected.extend(crc32c(&expected).to_le_bytes());
        prop_assert_eq!(chunk.as_bytes(), expected.as_slice());

        let back = chunk::decode(&layout, shape, chunk.as_bytes()).unwrap();
        let bits = |words: &[f64]| words.iter().map(|word| word.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(back.as_f64()), bits(&words));

        let mut damaged = chunk.as_bytes().to_vec();
        let bit = flipped.index(damaged.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        let refused = chunk::decode(&layout, shape, &damaged);
        let is_checksum = matches!(refused, Err(ChunkError::Checksum { .. }));
        prop_assert!(is_checksum);
        let short = &chunk.as_bytes()[..cut.index(chunk.len())];
        let refused = chunk::decode(&layout, shape, short);
        let is_length = matches!(refused, Err(ChunkError::Length { .. }));
        prop_assert!(is_length);
    }

    #[test]
    fn any_part_of_an_array_is_read_out_of_the_chunks_that_it_overlaps(
        m in 1..30_u64, n in 1..30_u64, rows in 1..12_u32, cols in 1..12_u32, absent in 0..5_u64,
        part in any::<[prop::sample::Index; 4]>(),
    ) {
        let folder = Folder::new("parts");
        let layout = Layout::new(ArrayForm::matrix(m, n), (rows, cols)).unwrap();
        let is_absent = |i: u64, j: u64| (i + 2 * j) % 5 == absent;
        let entry = |i: u64, j: u64| {
            let chunk = (i / u64::from(rows), j / u64::from(cols));
            if is_absent(chunk.0, chunk.1) { 0.0 } else { (100 * i + j + 1) as f64 }
        };
        let (row0, col0) = (part[0].index(m as usize) as u64, part[1].index(n as usize) as u64);
        let (height, width) = (
            1 + part[2].index((m - row0) as usize),
            1 + part[3].index((n - col0) as usize),
        );
        let (tile, moved) = wait(async {
            let array = ZarrArray::create(&folder.place("a.zarr"), layout).await.unwrap();
            for i in 0..m.div_ceil(rows.into()) {
                for j in 0..n.div_ceil(cols.into()) {
                    let (first_row, first_col) = (i * u64::from(rows), j * u64::from(cols));
                    let shape = Shape::full(
                        u64::from(rows).min(m - first_row) as u32,
                        u64::from(cols).min(n - first_col) as u32,
                    );
                    let entries: Vec<_> = (0..shape.cols.into())
                        .flat_map(|c| (0..shape.rows.into()).map(move |r| (r, c)))
                        .map(|(r, c): (u64, u64)| entry(first_row + r, first_col + c))
                        .collect();
                    if !is_absent(i, j) {
                        let block = Block::from_bytes(bytemuck::cast_slice(&entries));
                        array.write((i, j), shape, block).await.unwrap();
                    }
                }
            }
            array.finish().await.unwrap();
            let (array, _) = Opened::find(&folder.place("a.zarr")).await.unwrap();
            array.read_part((row0, col0), height, width).await.unwrap()
        });
        for c in 0..width {
            for r in 0..height {
                let expected = entry(row0 + r as u64, col0 + c as u64);
                prop_assert_eq!(tile.as_f64()[c * height + r], expected);
            }
        }
        let chunks = |first: u64, length: usize, side: u32| {
            let last = first + length as u64 - 1;
            first / u64::from(side)..=last / u64::from(side)
        };
        let read = chunks(row0, height, rows)
            .flat_map(|i| chunks(col0, width, cols).map(move |j| (i, j)))
            .filter(|&(i, j)| !is_absent(i, j))
            .count() as u64;
        let bytes = read * layout.chunk_bytes() as u64;
        prop_assert_eq!(moved, Moved { bytes, requests: read });
    }
}

#[test]
fn an_array_opens_when_it_is_finished_and_not_before() {
    let folder = Folder::new("unfinished");
    let place = folder.place("r.zarr");
    let layout = Layout::tiled(ArrayForm::matrix(4, 4), (2, 2)).unwrap();
    let tile = Block::from_bytes(bytemuck::cast_slice(&[1.0, 2.0, 3.0, 4.0]));
    let shape = Shape::full(2, 2);
    let told = || ZarrMatrix::open(&place).unwrap_err().to_string();
    let shown = place.to_string();
    assert_eq!(
        told(),
        format!(
            "{shown}: no such file; expected a .npy file, a Zarr array (folder or s3://bucket/key), \
             random:MxN[:seed] or spd:N[:seed]"
        )
    );
    let array = wait(ZarrArray::create(&place, layout)).unwrap();
    assert_eq!(
        told(),
        format!("{shown}: expected a Zarr v3 array, found no zarr.json")
    );
    wait(array.write((1, 1), shape, tile.clone())).unwrap();
    let unfinished = format!(
        "{shown}: expected a Zarr v3 array, found chunks without zarr.json: it was not finished"
    );
    assert_eq!(told(), unfinished);
    wait(array.finish()).unwrap();
    let source = MatrixSource::open_zarr(&place).unwrap();
    let mut out = [9.0; 16];
    source.read_tile(0, 0, 4, 4, &mut out).unwrap();
    let expected = [
        0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0,
    ];
    assert_eq!(out, expected);

    // Written again: from the first moment on the old array is not there.
    let array = wait(ZarrArray::create(&place, layout)).unwrap();
    assert!(told().ends_with("found no zarr.json"), "{}", told());
    assert!(source.read_tile(0, 0, 1, 1, &mut [0.0]).is_err());
    wait(array.write((0, 0), shape, tile)).unwrap();
    wait(array.discard()).unwrap();
    assert!(!folder.0.join("r.zarr").exists(), "nothing is left");
}

#[test]
fn what_is_damaged_changed_or_not_finite_is_told() {
    let folder = Folder::new("damaged");
    let place = folder.place("a.zarr");
    let layout = Layout::tiled(ArrayForm::matrix(2, 2), (2, 2)).unwrap();
    let write = |values: [f64; 4]| {
        wait(async {
            let array = ZarrArray::create(&place, layout).await.unwrap();
            let tile = Block::from_bytes(bytemuck::cast_slice(&values));
            array.write((0, 0), Shape::full(2, 2), tile).await.unwrap();
            array.finish().await.unwrap();
        });
    };
    let read = |source: &MatrixSource| {
        let read = source.read_tile(0, 0, 2, 2, &mut [0.0; 4]);
        read.map_err(|error| error.to_string())
    };
    write([1.0, 2.0, f64::NAN, 4.0]);
    let source = MatrixSource::open_zarr(&place).unwrap();
    assert_eq!(
        read(&source),
        Err(format!(
            "{place}: expected finite entries, found NaN at [0, 1] (counted from 0)"
        ))
    );
    write([1.0, 2.0, 3.0, 4.0]);
    assert_eq!(read(&source), Ok(()));
    let chunk = folder.0.join("a.zarr/c/0/0");
    let mut bytes = std::fs::read(&chunk).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&chunk, &bytes).unwrap();
    let told = read(&source).unwrap_err();
    assert!(
        told.starts_with(&format!("{place}/c/0/0: its checksum is ")),
        "{told}"
    );
    std::fs::write(&chunk, &bytes[..9]).unwrap();
    assert_eq!(
        read(&source),
        Err(format!("{place}/c/0/0: expected 36 bytes, found 9"))
    );
    wait(ZarrArray::create(
        &place,
        Layout::tiled(ArrayForm::matrix(3, 3), (2, 2)).unwrap(),
    ))
    .and_then(|array| wait(array.finish()))
    .unwrap();
    let told = read(&source).unwrap_err();
    assert_eq!(
        told,
        format!("{place}: the file changed while the run was using it; start again")
    );
}

#[test]
fn what_a_killed_worker_left_of_a_chunk_is_not_in_the_array() {
    let folder = Folder::new("rest");
    let place = folder.place("r.zarr");
    let layout = Layout::tiled(ArrayForm::matrix(9, 3), (4, 4)).unwrap();
    let array = wait(ZarrArray::create(&place, layout)).unwrap();
    let shape = Shape::full(4, 3);
    let tile = Block::from_bytes(&[0; 4 * 3 * 8]);
    wait(array.write((0, 0), shape, tile)).unwrap();
    let chunks = folder.0.join("r.zarr/c/0");
    let rest = chunks.join(".new-1f-00ff-2");
    std::fs::write(&rest, "half a chu").unwrap();
    wait(array.finish()).unwrap();
    let left = std::fs::read_dir(chunks).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["0"]);
}

#[test]
fn only_an_array_is_replaced() {
    let folder = Folder::new("replaced");
    let make = |name: &str, contents: &str| {
        let path = folder.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    };
    make("array.zarr/zarr.json", GOLDEN);
    make("array.zarr/README", "kept");
    make("foreign.zarr/zarr.json", &GOLDEN.replace("crc32c", "zstd"));
    make("unfinished.zarr/c/0/12", "");
    make(
        "group.zarr/zarr.json",
        "{\"zarr_format\": 3, \"node_type\": \"group\"}",
    );
    make("notes.zarr/notes.txt", "");
    make("deep.zarr/c/0/0/0", "");
    make("file.zarr", "");
    std::fs::create_dir(folder.0.join("empty.zarr")).unwrap();
    let table = [
        ("new.zarr", None),
        ("empty.zarr", None),
        ("array.zarr", None),
        ("foreign.zarr", None),
        ("unfinished.zarr", None),
        (
            "group.zarr",
            Some("holds a Zarr group; only a Zarr array is replaced, name another place"),
        ),
        (
            "notes.zarr",
            Some("holds `notes.txt`; only a Zarr array is replaced, name another place"),
        ),
        (
            "deep.zarr",
            Some("holds `c/0/0/0`; only a Zarr array is replaced, name another place"),
        ),
        ("file.zarr", Some("is a file; a Zarr array is a folder")),
        ("none/r.zarr", Some("its folder")),
    ];
    for (name, reason) in table {
        let came = check_writable(&folder.place(name)).err();
        let told = came.map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(told.is_empty(), reason.is_none(), "{name}: {told}");
        let expected = format!("{}: {}", folder.place(name), reason.unwrap_or_default());
        assert!(
            reason.is_none() || told.contains(&expected),
            "{name}: {told}"
        );
    }
    assert!(
        !folder.0.join("new.zarr").exists(),
        "the check leaves nothing behind"
    );
    let layout = Layout::tiled(ArrayForm::matrix(9, 3), (4, 4)).unwrap();
    let array = wait(ZarrArray::create(&folder.place("array.zarr"), layout)).unwrap();
    wait(array.discard()).unwrap();
    assert!(
        folder.0.join("array.zarr/README").exists(),
        "what is not the array's stays"
    );
    let left = wait(async {
        let place = folder.place("array.zarr");
        let objects = Objects::join(&place).await.unwrap();
        look(&objects).await.unwrap()
    });
    assert_eq!(left, Found::Other("`README`".to_owned()));
}

#[test]
fn an_upload_is_the_matrix_in_chunks() {
    let folder = Folder::new("upload");
    let source = MatrixSource::parse("random:45x31:7").unwrap();
    let place = folder.place("run/input-A.zarr");
    let found = |tile| wait(uploaded(&source, &place, tile));
    assert!(found((8, 8)).is_none(), "nothing is there yet");
    let (there, moved) = wait(upload(&source, &place, (8, 8))).unwrap();
    assert_eq!(
        moved,
        Moved {
            bytes: 6 * 4 * (8 * 8 * 8 + 4),
            requests: 6 * 4
        }
    );
    let whole = |source: &MatrixSource| {
        let mut out = vec![0.0; 45 * 31];
        source.read_tile(0, 0, 45, 31, &mut out).unwrap();
        out
    };
    assert_eq!(whole(&there), whole(&source));
    let again = there.spec().unwrap().open().unwrap();
    assert_eq!(whole(&again), whole(&source));
    let found_again = found((8, 8)).expect("it is there");
    assert_eq!(found_again.spec().unwrap(), there.spec().unwrap());
    assert!(found((9, 9)).is_none(), "in other chunks");
}

#[test]
fn results_are_named_npy_or_zarr_and_places_are_compared() {
    let s3 = |prefix: &str| format!("s3://bucket/{prefix}").parse::<Place>().unwrap();
    let table = [
        ("r.npy", Ok(ResultPlace::Npy("r.npy".into()))),
        (
            "a/r.zarr",
            Ok(ResultPlace::Zarr(Place::Folder("a/r.zarr".into()))),
        ),
        (
            "s3://bucket/a/r.zarr",
            Ok(ResultPlace::Zarr(s3("a/r.zarr"))),
        ),
        (
            "s3://bucket/r.npy",
            Err("a .npy file is written to this machine's disk alone; on S3 name a .zarr array"),
        ),
        ("r.txt", Err("expected a name that ends in .npy or .zarr")),
        ("r", Err("expected a name that ends in .npy or .zarr")),
        (
            "s3://bucket.zarr",
            Err("expected s3://bucket/name.zarr, found a bucket alone"),
        ),
    ];
    for (name, expected) in table {
        let came = ResultPlace::parse(name.as_ref()).map_err(|error| error.to_string());
        let expected = expected.map_err(|reason| format!("output {name}: {reason}"));
        assert_eq!(came, expected);
    }
    assert!(overlap(&s3("a"), &s3("a")));
    assert!(overlap(&s3("a/b.zarr"), &s3("a")) && overlap(&s3("a"), &s3("a/b.zarr")));
    assert!(!overlap(&s3("a/b"), &s3("a/bc")) && !overlap(&s3("a"), &Place::Folder("a".into())));
    let folder = Folder::new("overlap");
    std::fs::create_dir(folder.0.join("a.zarr")).unwrap();
    assert!(overlap(
        &folder.place("a.zarr"),
        &folder.place("a.zarr/../a.zarr")
    ));
    assert!(overlap(
        &folder.place("a.zarr"),
        &folder.place("a.zarr/r.npy")
    ));
    assert!(!overlap(&folder.place("a.zarr"), &folder.place("b.zarr")));
}
