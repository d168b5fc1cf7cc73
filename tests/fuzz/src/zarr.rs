//! Zarr arrays: what `zarr.json` says, and chunks as their codecs left them.

use std::os::unix::fs::symlink;

use peerwren::matrix::Place;
use peerwren::matrix::zarr::ZarrMatrix;
use tokio::runtime::Runtime;

use super::scratch;

/// Names under which the first chunk of an array may lie.
const FIRST: [&str; 6] = ["c/0/0", "c/0", "c.0.0", "c.0", "0.0", "0"];
/// Largest chunk that is read, in entries, and the longest part of it.
const CHUNK_MAX: u64 = 1 << 16;
const SIDE_MAX: u64 = 32;

struct Array {
    place: Place,
    runtime: Runtime,
}

thread_local! {
    static ARRAY: Array = Array::make();
}

/// A line of metadata, then the bytes of the first chunk.
pub fn run(bytes: &[u8]) {
    let (metadata, chunk) = match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[][..]),
    };
    ARRAY.with(|array| array.read(metadata, chunk));
}

impl Array {
    /// An array whose first chunk has every name that it may have.
    fn make() -> Self {
        let folder = scratch::path("a.zarr");
        std::fs::create_dir_all(&folder).expect("a folder");
        for name in FIRST {
            // `c/0` is a folder for matrices and a chunk for vectors: vectors have it as `c.0` or `0`.
            if name != "c/0" {
                let path = folder.join(name);
                std::fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
                symlink(scratch::path("chunk"), path).expect("a link");
            }
        }
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            place: Place::Folder(folder),
            runtime: runtime.enable_time().build().expect("a runtime"),
        }
    }

    fn read(&self, metadata: &[u8], chunk: &[u8]) {
        scratch::file("a.zarr/zarr.json", metadata);
        scratch::file("chunk", chunk);
        let Ok(matrix) = ZarrMatrix::open(&self.place) else {
            return;
        };
        let (rows, cols) = matrix.shape();
        let entries = matrix.chunk().map(|(r, c)| u64::from(r) * u64::from(c));
        if entries.is_none_or(|entries| entries > CHUNK_MAX) {
            return;
        }
        let rows = rows.min(SIDE_MAX) as usize;
        let cols = cols.min(SIDE_MAX) as usize;
        let _ = self.runtime.block_on(matrix.read(0, 0, rows, cols));
    }
}
