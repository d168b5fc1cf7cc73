//! What a traced run tells on its way, kept on disk until its end, and the file that it becomes: whole or
//! not at all. Events are few bytes there and are put into words when the run is over, all of them on one
//! clock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::Record;
use super::chrome::{self, Header};
use super::clocks::Clocks;
use crate::control;
use crate::plan::Plan;
use crate::whole::{is_special, write_whole};

/// Longest record on disk: a message's events.
const RECORD_BYTES_MAX: u32 = 8 << 20;

/// Where a trace goes.
#[derive(Clone, Debug)]
pub(crate) struct TraceFile {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
}

impl TraceFile {
    /// Why it cannot be written, in one line.
    pub(crate) fn failed(&self, error: &io::Error) -> String {
        let path = self.path.to_string_lossy().escape_debug().to_string();
        format!("trace {path}: cannot be written: {error}")
    }
}

/// The events of a run so far.
#[derive(Debug)]
pub(crate) struct Spool {
    file: BufWriter<File>,
    /// Why it is not complete, if it is not: then there is no trace.
    broken: Option<io::Error>,
}

impl Spool {
    /// Opens a file beside the trace, or with the temporary ones where that is a device. It has no name any
    /// more when this returns, so that nothing is left of it however the run ends.
    pub(crate) fn open(trace: &Path, run: u64) -> io::Result<Self> {
        let path = if is_special(trace) {
            std::env::temp_dir().join(format!(".peerwren-trace-{run:016x}.spool"))
        } else {
            trace.with_file_name(format!(".peerwren-trace-{run:016x}.spool"))
        };
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self {
            file: BufWriter::new(file),
            broken: None,
        })
    }

    /// Adds what has happened since.
    pub(crate) fn add(&mut self, records: &[Record]) {
        for record in records {
            if is_idle(record) || self.broken.is_some() {
                continue;
            }
            let bytes = control::encode(record);
            // Records are messages, which are no longer.
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let written = self.file.write_all(&length.to_le_bytes());
            self.broken = written.and_then(|()| self.file.write_all(&bytes)).err();
        }
    }

    /// Writes the trace.
    ///
    /// # Errors
    /// A full disk, or a folder that cannot be written any more; then nothing is left behind.
    pub(crate) fn finish(
        &mut self,
        trace: &TraceFile,
        plan: &Plan,
        outcome: &str,
    ) -> io::Result<()> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        self.file.flush()?;
        let file = self.file.get_mut();
        let mut clocks = Clocks::default();
        each(file, |record| {
            clocks.learn(&record);
            Ok(())
        })?;
        let name = format!(".peerwren-trace-{:016x}.tmp", plan.run());
        let temporary = trace.path.with_file_name(name);
        write_whole(&trace.path, &temporary, |out| {
            let mut picture =
                chrome::Writer::begin(&mut *out, plan, &clocks, &trace.header, outcome)?;
            each(file, |record| picture.add(record))?;
            picture.end()
        })
    }
}

/// Whether a record says nothing, not even of clocks that matter.
fn is_idle(record: &Record) -> bool {
    matches!(record, Record::Heard { events, .. } if events.is_empty())
}

/// Reads all records from the first on.
fn each(file: &mut File, mut of: impl FnMut(Record) -> io::Result<()>) -> io::Result<()> {
    file.rewind()?;
    let mut reader = BufReader::new(file);
    let mut length = [0; 4];
    let mut bytes = Vec::new();
    loop {
        match reader.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let length = u32::from_le_bytes(length);
        if length > RECORD_BYTES_MAX {
            return Err(io::Error::other("the events on disk are damaged"));
        }
        bytes.resize(length as usize, 0);
        reader.read_exact(&mut bytes)?;
        of(control::decode(&bytes).map_err(io::Error::other)?)?;
    }
}
