//! Metadata that are read or refused by name, chunks in every form against a plain oracle, chunks that lie.

use std::io::Write;

use proptest::prelude::*;
use serde_json::json;

use super::super::chunk::ChunkError;
use super::super::input::{Opened, ZarrMatrix, wait};
use super::super::metadata::Form;
use super::super::tests::{Folder, crc32c};
use super::*;
use crate::matrix::{MatrixSource, Moved};

/// As zarr-python writes them by default, in one chunk.
fn metadata(shape: &[u64], chunk: &[u64], data_type: &str, codecs: Value) -> Value {
    json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": codecs,
        "attributes": {},
    })
}

fn usual() -> Value {
    json!([{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd",
        "configuration": {"level": 0, "checksum": false}}])
}

fn read(value: &Value) -> Result<Foreign, String> {
    match Form::decode(value.to_string().as_bytes()) {
        Ok(Form::Foreign(form)) => Ok(form),
        Ok(Form::Ours(_)) => Err("ours".to_owned()),
        Err(Unread::Foreign { expected, found }) => {
            Err(format!("expected {expected}, found {found}"))
        }
        Err(Unread::NotZarr(found)) => Err(found),
    }
}

#[test]
fn what_is_not_read_is_named() {
    let bytes = json!({"name": "bytes", "configuration": {"endian": "little"}});
    let turn = json!({"name": "transpose", "configuration": {"order": [1, 0]}});
    let blosc = json!({"name": "blosc", "configuration": {"cname": "lz4"}});
    let shard = |inner: [u64; 2], index: Value| {
        json!({"name": "sharding_indexed", "configuration": {"chunk_shape": inner, "codecs": [bytes],
            "index_codecs": index}})
    };
    let table = [
        ("/attributes", json!({"by": "hand"}), ""),
        (
            "/shape",
            json!([]),
            "expected a 1-d or 2-d array, found shape []",
        ),
        (
            "/shape",
            json!([9, 9, 9]),
            "expected a 1-d or 2-d array, found shape [9,9,9]",
        ),
        (
            "/shape",
            json!([0, 9]),
            "expected a matrix of 1 to 2^63 - 1 bytes as float64, found a matrix of 0 x 9",
        ),
        (
            "/shape",
            json!([1_u64 << 40, 1_u64 << 40]),
            "expected a matrix of 1 to 2^63 - 1 bytes as float64",
        ),
        (
            "/data_type",
            json!("complex128"),
            "expected data type float64, float32, bool or integers of up to 64 bits, found \"complex128\"",
        ),
        (
            "/data_type",
            json!({"name": "structured"}),
            "expected data type float64, float32",
        ),
        (
            "/chunk_grid/name",
            json!("rectilinear"),
            "expected a regular chunk grid, found rectilinear",
        ),
        (
            "/chunk_grid/configuration/chunk_shape",
            json!([4]),
            "expected a chunk size for each dimension, found [4]",
        ),
        (
            "/chunk_grid/configuration/chunk_shape",
            json!([4, 0]),
            "expected chunks of 1 entry to 512 MiB",
        ),
        (
            "/chunk_grid/configuration/chunk_shape",
            json!([4, -1]),
            "expected a chunk size for each dimension",
        ),
        (
            "/chunk_grid/configuration/chunk_shape",
            json!([8192, 8193]),
            "expected chunks of 1 entry to 512 MiB as float64, found chunks of [8192,8193]",
        ),
        (
            "/chunk_grid/configuration/chunk_shape",
            json!([u64::MAX, u64::MAX]),
            "expected chunks of 1 entry",
        ),
        (
            "/chunk_grid/configuration/chunk_shape",
            json!([8192, 8192]),
            "",
        ),
        ("/chunk_key_encoding/name", json!("v2"), ""),
        (
            "/chunk_key_encoding/name",
            json!("hashed"),
            "expected chunk keys `default` or `v2`, found hashed",
        ),
        (
            "/chunk_key_encoding/configuration/separator",
            json!("."),
            "",
        ),
        (
            "/chunk_key_encoding/configuration/separator",
            json!("-"),
            "expected separator `/` or `.`, found \"-\"",
        ),
        ("/fill_value", json!("NaN"), ""),
        (
            "/fill_value",
            json!("none"),
            "expected a fill value of the data type, found \"none\"",
        ),
        (
            "/fill_value",
            json!(null),
            "expected a fill value of the data type, found null",
        ),
        (
            "/codecs",
            json!([]),
            "expected a codec that makes bytes of entries, found ",
        ),
        (
            "/codecs",
            json!([turn]),
            "expected a codec that makes bytes of entries, found transpose",
        ),
        (
            "/codecs",
            json!([bytes, blosc]),
            "expected codecs crc32c, gzip or zstd after bytes, found blosc {\"cname\"",
        ),
        (
            "/codecs",
            json!(["vlen-utf8"]),
            "expected codecs transpose, bytes, crc32c, gzip, zstd or, outermost",
        ),
        (
            "/codecs",
            json!(["bytes"]),
            "expected codec bytes with endian little or big, found bytes",
        ),
        (
            "/codecs",
            json!([{"name": "transpose", "configuration": {"order": [1, 1]}}, bytes]),
            "expected an order of all dimensions, found transpose {\"order\":[1,1]}",
        ),
        (
            "/codecs",
            json!([turn, turn, bytes, "gzip", "crc32c", "zstd"]),
            "",
        ),
        (
            "/codecs",
            json!([shard([2, 5], json!([bytes, "crc32c"]))]),
            "",
        ),
        (
            "/codecs",
            json!([shard([3, 5], json!([bytes, "crc32c"]))]),
            "expected inner chunks that divide a shard",
        ),
        (
            "/codecs",
            json!([shard([2, 5], json!([bytes, "gzip"]))]),
            "expected index codecs bytes and crc32c",
        ),
        (
            "/codecs",
            json!([turn, shard([2, 5], json!([bytes]))]),
            "expected codecs transpose, bytes, crc32c",
        ),
    ];
    for (pointer, value, reason) in table {
        let mut metadata = metadata(&[9, 8], &[4, 5], "float64", usual());
        *metadata.pointer_mut(pointer).unwrap() = value.clone();
        let told = read(&metadata).err().unwrap_or_default();
        let fits = told.starts_with(reason) && told.is_empty() == reason.is_empty();
        assert!(fits, "{pointer} {value}: {told}");
    }
    let mut extended = metadata(&[9, 8], &[4, 5], "float64", usual());
    extended["rotated"] = json!({"by": 2});
    assert_eq!(
        read(&extended).unwrap_err(),
        "expected no extension, found `rotated`"
    );
    extended["rotated"] = json!({"must_understand": false});
    extended["storage_transformers"] = json!(["indexed"]);
    let told = read(&extended).unwrap_err();
    assert_eq!(told, "expected no storage transformers, found \"indexed\"");
}

#[test]
fn fill_values_are_numbers_words_or_bits() {
    let table = [
        (
            ElementKind::F8,
            json!(0.30000000000000004),
            Some(0.30000000000000004),
        ),
        (ElementKind::F8, json!("-Infinity"), Some(f64::NEG_INFINITY)),
        (ElementKind::F8, json!("0xbff8000000000000"), Some(-1.5)),
        (ElementKind::F8, json!("0xbff8"), None),
        (ElementKind::F4, json!(0.1), Some(f64::from(0.1_f32))),
        (ElementKind::F4, json!("Infinity"), Some(f64::INFINITY)),
        (ElementKind::F4, json!("0x3fc00000"), Some(1.5)),
        (ElementKind::F4, json!("0x+fc00000"), None),
        (ElementKind::I1, json!(-128), Some(-128.0)),
        (ElementKind::I1, json!(128), None),
        (ElementKind::U1, json!(-1), None),
        (ElementKind::I8, json!(i64::MIN), Some(i64::MIN as f64)),
        (ElementKind::I8, json!(u64::MAX), None),
        (ElementKind::U8, json!(u64::MAX), Some(u64::MAX as f64)),
        (ElementKind::U8, json!(1.5), None),
        (ElementKind::I4, json!("NaN"), None),
        (ElementKind::Bool, json!(true), Some(1.0)),
        (ElementKind::Bool, json!(1), None),
    ];
    for (kind, value, expected) in table {
        assert_eq!(fill(kind, &value), expected, "{kind:?} {value}");
    }
    assert!(fill(ElementKind::F8, &json!("NaN")).unwrap().is_nan());
}

/// Data types and, by a small whole number, the bytes of an entry that stands for it.
const TYPES: [&str; 11] = [
    "float64", "float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "bool",
];

fn entry_bytes(data_type: &str, value: u8, big_endian: bool) -> Vec<u8> {
    let mut bytes = match data_type {
        "float64" => f64::from(value).to_le_bytes().to_vec(),
        "float32" => f32::from(value).to_le_bytes().to_vec(),
        "bool" => vec![value % 2],
        _ => {
            let width = data_type
                .trim_start_matches(char::is_alphabetic)
                .parse::<usize>()
                .unwrap()
                / 8;
            u64::from(value).to_le_bytes()[..width].to_vec()
        }
    };
    if big_endian {
        bytes.reverse();
    }
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn packed(packing: &str, bytes: Vec<u8>) -> Vec<u8> {
    match packing {
        "gzip" => gzip(&bytes),
        "zstd" => zstd(&bytes),
        _ => {
            let checksum = crc32c(&bytes).to_le_bytes();
            [bytes, checksum.to_vec()].concat()
        }
    }
}

/// How a test's array is stored.
#[derive(Clone, Debug)]
struct Stored {
    data_type: &'static str,
    is_turned: bool,
    big_endian: bool,
    packings: Vec<&'static str>,
    /// Inner chunks along rows and columns of a shard.
    shard: Option<(usize, usize)>,
    index_first: bool,
}

impl Stored {
    fn codecs(&self, chunk: (usize, usize)) -> Value {
        let endian = if self.big_endian { "big" } else { "little" };
        let mut codecs = vec![];
        if self.is_turned {
            codecs.push(json!({"name": "transpose", "configuration": {"order": [1, 0]}}));
        }
        codecs.push(json!({"name": "bytes", "configuration": {"endian": endian}}));
        codecs.extend(self.packings.iter().map(|name| json!(name)));
        let Some((down, across)) = self.shard else {
            return json!(codecs);
        };
        let location = if self.index_first { "start" } else { "end" };
        json!([{"name": "sharding_indexed", "configuration": {
            "chunk_shape": [chunk.0 / down, chunk.1 / across],
            "codecs": codecs,
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, "crc32c"],
            "index_location": location,
        }}])
    }

    /// A chunk of `rows` x `cols`, or an inner one.
    fn chunk(&self, (rows, cols): (usize, usize), value: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        let entry = |i, j| entry_bytes(self.data_type, value(i, j), self.big_endian);
        let mut bytes = Vec::new();
        if self.is_turned {
            (0..cols).for_each(|j| (0..rows).for_each(|i| bytes.extend(entry(i, j))));
        } else {
            (0..rows).for_each(|i| (0..cols).for_each(|j| bytes.extend(entry(i, j))));
        }
        self.packings
            .iter()
            .fold(bytes, |bytes, packing| packed(packing, bytes))
    }

    fn object(&self, chunk: (usize, usize), value: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        let Some((down, across)) = self.shard else {
            return self.chunk(chunk, value);
        };
        let (rows, cols) = (chunk.0 / down, chunk.1 / across);
        let index_bytes = down * across * 16 + 4;
        let first = if self.index_first { index_bytes } else { 0 };
        let (mut index, mut chunks) = (Vec::new(), Vec::new());
        for (i, j) in (0..down).flat_map(|i| (0..across).map(move |j| (i, j))) {
            let value = |r: usize, c: usize| value(i * rows + r, j * cols + c);
            let is_absent = (0..rows).all(|r| (0..cols).all(|c| value(r, c) == FILL));
            let (at, bytes) = if is_absent {
                (u64::MAX, u64::MAX)
            } else {
                let bytes = self.chunk((rows, cols), value);
                let at = first + chunks.len();
                chunks.extend(&bytes);
                (at as u64, bytes.len() as u64)
            };
            index.extend(at.to_le_bytes());
            index.extend(bytes.to_le_bytes());
        }
        let index = packed("crc32c", index);
        if self.index_first {
            [index, chunks].concat()
        } else {
            [chunks, index].concat()
        }
    }
}

/// The fill value: 1 is a number of each type.
const FILL: u8 = 1;

fn stored() -> impl Strategy<Value = Stored> {
    let packing = prop::sample::select(vec!["gzip", "zstd", "crc32c"]);
    (
        prop::sample::select(TYPES.to_vec()),
        any::<[bool; 3]>(),
        prop::collection::vec(packing, 0..3),
        prop::option::of((1..3_usize, 1..3_usize)),
    )
        .prop_map(
            |(data_type, [is_turned, big_endian, index_first], packings, shard)| Stored {
                data_type,
                is_turned,
                big_endian,
                packings,
                shard,
                index_first,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_part_of_any_array_is_its_entries(
        stored in stored(), (m, n) in (1..40_u64, 1..40_u64), (rows, cols) in (1..20_usize, 1..20_usize),
        is_v2: bool, by_dot: bool, part in any::<[prop::sample::Index; 4]>(), absent in 0..5_u64,
    ) {
        let (down, across) = stored.shard.unwrap_or((1, 1));
        let (rows, cols) = (rows * down, cols * across);
        let folder = Folder::new("foreign");
        let array = folder.0.join("a.zarr");
        let separator = if by_dot { "." } else { "/" };
        let value = |i: u64, j: u64| {
            let chunk = (i / rows as u64, j / cols as u64);
            let is_absent = (chunk.0 + 2 * chunk.1) % 5 == absent || (i / 7 + j / 5).is_multiple_of(3);
            if is_absent { FILL } else { ((3 * i + 7 * j) % 120) as u8 }
        };
        let shown = |value: u8| {
            if stored.data_type == "bool" { f64::from(value % 2) } else { f64::from(value) }
        };
        let mut metadata = metadata(
            &[m, n], &[rows as u64, cols as u64], stored.data_type, stored.codecs((rows, cols)),
        );
        metadata["fill_value"] = if stored.data_type == "bool" { json!(true) } else { json!(FILL) };
        metadata["chunk_key_encoding"] = json!({
            "name": if is_v2 { "v2" } else { "default" }, "configuration": {"separator": separator},
        });
        std::fs::create_dir_all(&array).unwrap();
        std::fs::write(array.join("zarr.json"), metadata.to_string()).unwrap();
        let mut lengths = std::collections::BTreeMap::new();
        for i in 0..m.div_ceil(rows as u64) {
            for j in 0..n.div_ceil(cols as u64) {
                let (row0, col0) = (i * rows as u64, j * cols as u64);
                let value = |r: usize, c: usize| value(row0 + r as u64, col0 + c as u64);
                if (0..rows).all(|r| (0..cols).all(|c| value(r, c) == FILL)) {
                    continue;
                }
                let object = stored.object((rows, cols), value);
                let prefix = if is_v2 { String::new() } else { format!("c{separator}") };
                let path = array.join(format!("{prefix}{i}{separator}{j}"));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                lengths.insert((i, j), object.len() as u64);
                std::fs::write(path, object).unwrap();
            }
        }
        let (row0, col0) = (part[0].index(m as usize), part[1].index(n as usize));
        let height = 1 + part[2].index(m as usize - row0);
        let width = 1 + part[3].index(n as usize - col0);
        let read = wait(async {
            let (array, _) = Opened::find(&folder.place("a.zarr")).await.unwrap();
            array.read_part((row0 as u64, col0 as u64), height, width).await
        });
        let (tile, moved) = read.map_err(|error| TestCaseError::fail(error.to_string()))?;
        for c in 0..width {
            for r in 0..height {
                let expected = shown(value((row0 + r) as u64, (col0 + c) as u64));
                prop_assert_eq!(tile.as_f64()[c * height + r], expected, "[{}, {}]", r, c);
            }
        }
        let overlapped = lengths.iter().filter(|((i, j), _)| {
            let meets = |at: u64, side: usize, first: usize, length: usize| {
                let (start, end) = (at as usize * side, (at as usize + 1) * side);
                start < first + length && first < end
            };
            meets(*i, rows, row0, height) && meets(*j, cols, col0, width)
        });
        let (mut bytes, mut requests) = (0, 0);
        for (_, length) in overlapped {
            bytes += length;
            requests += 1;
        }
        prop_assert_eq!(moved, Moved { bytes, requests }, "stored bytes count");
    }

    /// Whatever the bytes, they are refused or decoded, within the bounds.
    #[test]
    fn garbage_is_refused(
        stored in stored(), bytes in prop::collection::vec(any::<u8>(), 0..300),
        cut in any::<prop::sample::Index>(), flipped in any::<prop::sample::Index>(),
    ) {
        let (down, across) = stored.shard.unwrap_or((1, 1));
        let chunk = (3 * down, 4 * across);
        let metadata = metadata(
            &[9, 9], &[chunk.0 as u64, chunk.1 as u64], stored.data_type, stored.codecs(chunk),
        );
        let Ok(mut form) = read(&metadata.tap(stored.data_type)) else {
            return Ok(());
        };
        form.fill = 0.0;
        let _ = form.codecs.decode(&bytes, 0.0);
        let mut object = stored.object(chunk, |i, j| 2 + (i + 5 * j) as u8);
        prop_assert!(object.len() <= form.codecs.stored_bytes_max());
        let whole = form.codecs.decode(&object, 0.0).unwrap();
        let cut_object = object[..cut.index(object.len())].to_vec();
        prop_assert!(form.codecs.decode(&cut_object, 0.0).is_err());
        let bit = flipped.index(object.len() * 8);
        object[bit / 8] ^= 1 << (bit % 8);
        let came = form.codecs.decode(&object, 0.0);
        if stored.packings.last() == Some(&"crc32c") && stored.shard.is_none() {
            let is_checksum = matches!(came, Err(ChunkError::Checksum { .. }));
            prop_assert!(is_checksum);
        }
        if stored.packings.contains(&"crc32c") {
            // gzip's header has bits that mean nothing to a reader.
            prop_assert!(came.is_err() || came == Ok(whole));
        }
    }
}

trait Tap {
    fn tap(self, data_type: &str) -> Value;
}

impl Tap for Value {
    /// With a fill value of the type.
    fn tap(mut self, data_type: &str) -> Value {
        if data_type == "bool" {
            self["fill_value"] = json!(false);
        }
        self
    }
}

#[test]
fn chunks_that_promise_more_than_a_chunk_are_cut_off() {
    let zeros = vec![0; 32 << 20];
    for (codec, bomb) in [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros))] {
        assert!(bomb.len() < 1 << 20, "{codec}: {}", bomb.len());
        let codecs = json!([{"name": "bytes", "configuration": {"endian": "little"}}, codec]);
        let form = read(&metadata(&[9, 9], &[4, 5], "float64", codecs)).unwrap();
        let told = form.codecs.decode(&bomb, 0.0).unwrap_err().to_string();
        assert_eq!(
            told,
            format!("codec {codec}: expected at most 4276 bytes in it, found more")
        );
        let short = packed(codec, vec![0; 8]);
        let told = form.codecs.decode(&short, 0.0).unwrap_err().to_string();
        assert_eq!(told, "expected 160 bytes, found 8");
    }
}

#[test]
fn a_chunk_that_many_tiles_share_moves_once() {
    let folder = Folder::new("shared");
    let array = folder.0.join("a.zarr");
    let form = Stored {
        data_type: "float64",
        is_turned: false,
        big_endian: false,
        packings: vec!["zstd"],
        shard: None,
        index_first: false,
    };
    let value = |i: usize, j: usize| ((3 * i + j) % 100) as u8;
    let object = form.object((64, 48), value);
    std::fs::create_dir_all(array.join("c/0")).unwrap();
    let metadata = metadata(&[64, 48], &[64, 48], "float64", form.codecs((64, 48)));
    std::fs::write(array.join("zarr.json"), metadata.to_string()).unwrap();
    std::fs::write(array.join("c/0/0"), &object).unwrap();
    let matrix = ZarrMatrix::open(&folder.place("a.zarr")).unwrap();
    let read = wait(async {
        let mut all = Moved::default();
        for (i, j) in (0..4).flat_map(|i| (0..3).map(move |j| (i, j))) {
            let (tile, moved) = matrix.read(16 * i, 16 * j, 16, 16).await.unwrap();
            assert_eq!(
                tile.as_f64()[1],
                f64::from(value(16 * i as usize + 1, 16 * j as usize))
            );
            all += moved;
        }
        // A tile that is the chunk has no use for one that is kept, nor keeps it.
        let (_, whole) = matrix.read(0, 0, 64, 48).await.unwrap();
        assert_eq!(whole, Moved::once(object.len() as u64));
        all
    });
    assert_eq!(read, Moved::once(object.len() as u64));
}

#[test]
fn an_array_of_one_dimension_is_a_column_and_a_damaged_chunk_is_named() {
    let folder = Folder::new("vector");
    let array = folder.0.join("v.zarr");
    std::fs::create_dir_all(array.join("c")).unwrap();
    let codecs = json!([{"name": "bytes", "configuration": {"endian": "big"}}, "crc32c"]);
    let mut metadata = metadata(&[7], &[3], "int16", codecs);
    metadata["fill_value"] = json!(-9);
    std::fs::write(array.join("zarr.json"), metadata.to_string()).unwrap();
    let chunk = packed(
        "crc32c",
        [5_i16, -6, 300]
            .iter()
            .flat_map(|v| v.to_be_bytes())
            .collect(),
    );
    std::fs::write(array.join("c/1"), &chunk).unwrap();
    let source = MatrixSource::parse(array.to_str().unwrap()).unwrap();
    assert!(source.is_vector());
    assert_eq!(source.shape(), (7, 1));
    let again = source.spec().unwrap().open().unwrap();
    assert!(again.is_vector() && !again.clone().transposed().is_vector());
    let mut out = [0.0; 7];
    again.read_tile(0, 0, 7, 1, &mut out).unwrap();
    assert_eq!(out, [-9.0, -9.0, -9.0, 5.0, -6.0, 300.0, -9.0]);
    let mut damaged = chunk;
    damaged[1] ^= 4;
    std::fs::write(array.join("c/1"), damaged).unwrap();
    let told = again
        .read_tile(3, 0, 1, 1, &mut out[..1])
        .unwrap_err()
        .to_string();
    let place = array.display();
    assert!(
        told.starts_with(&format!("{place}/c/1: its checksum is ")),
        "{told}"
    );
    // A fill value that is no number is found when it is read.
    metadata["data_type"] = json!("float32");
    metadata["fill_value"] = json!("NaN");
    std::fs::write(array.join("zarr.json"), metadata.to_string()).unwrap();
    let source = MatrixSource::parse(array.to_str().unwrap()).unwrap();
    let told = source
        .read_tile(6, 0, 1, 1, &mut out[..1])
        .unwrap_err()
        .to_string();
    assert_eq!(
        told,
        format!("{place}: expected finite entries, found NaN at [6, 0] (counted from 0)")
    );
}
