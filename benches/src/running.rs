//! A process that runs beside the benchmark, which looks at it and signals to its children. Nothing that
//! was started outlives the benchmark, whatever ends that.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::call::{Call, RUN_S, last_line, no_setpriv};

/// Between two looks at a process whose end is waited for.
const LOOK: Duration = Duration::from_millis(5);
/// How long a process may take that was asked to end: a run takes its workers and its store with it.
const GRACE: Duration = Duration::from_secs(10);
/// Ticks of /proc's times a second, the same on every Linux.
const TICKS_PER_S: f64 = 100.0;

/// A process that has been started; asked to end when dropped.
pub struct Running {
    line: String,
    child: Child,
    errors: Option<JoinHandle<String>>,
    began: Instant,
}

impl Running {
    /// Starts a call.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(call: &Call) -> Result<Self, String> {
        let mut child = call
            .command(&[])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| no_setpriv(&error))?;
        let said = child.stderr.take();
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut said) = said {
                // What came before an error is told.
                let _ = said.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Self {
            line: call.to_string(),
            child,
            errors: Some(errors),
            began: Instant::now(),
        })
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its live children, the one started first first.
    pub fn children(&self) -> Vec<u32> {
        children(self.id())
    }

    /// Whether it goes on; one that takes too long does not.
    ///
    /// # Errors
    /// It takes longer than anything here may.
    pub fn is_on(&mut self) -> Result<bool, String> {
        let status = self.child.try_wait().map_err(|error| error.to_string())?;
        if status.is_none() && self.began.elapsed().as_secs() > u64::from(RUN_S) {
            self.end();
            return Err(format!("`{}` took more than {RUN_S} s", self.line));
        }
        Ok(status.is_none())
    }

    /// Waits for its end, which must be a good one.
    ///
    /// # Errors
    /// It fails or takes too long.
    pub fn finish(mut self) -> Result<(), String> {
        while self.is_on()? {
            std::thread::sleep(LOOK);
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() {
            return Ok(());
        }
        Err(self.failure(status))
    }

    /// What went wrong, in one line.
    fn failure(&mut self, status: ExitStatus) -> String {
        let told = self.errors.take().and_then(|errors| errors.join().ok());
        let told = told.unwrap_or_default();
        format!("`{}`: {status}: {}", self.line, last_line(&told))
    }

    /// Asks it to end, and makes it end when it does not.
    fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        send(self.id(), Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        // It may have ended in this moment.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a signal; a process that is gone by now gets none.
pub fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

/// The live children of a process, the lowest number first.
pub fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let mut found: Vec<u32> = Vec::new();
    for thread in threads.into_iter().flatten().flatten() {
        let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(
            list.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    found.retain(|&pid| stat(pid).is_some_and(|(state, _)| state != 'Z'));
    found.sort_unstable();
    found
}

/// The computing time of a process's children, those that are gone included: a clock that shows how much
/// of a run's work is done, however busy the machine is.
#[derive(Debug, Default)]
pub struct Worked(BTreeMap<u32, f64>);

impl Worked {
    /// Looks at the children; returns the seconds of all so far.
    pub fn look(&mut self, pids: &[u32]) -> f64 {
        for &pid in pids {
            if let Some((_, seconds)) = stat(pid) {
                self.0.insert(pid, seconds);
            }
        }
        self.0.values().sum()
    }
}

/// CPU time of the threads of one name of a process; 0 of one that is gone.
pub fn cpu_of(pid: u32, name: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let read = |folder: &Path| {
        let comm = fs::read_to_string(folder.join("comm")).ok()?;
        let stat = fs::read_to_string(folder.join("schedstat")).ok()?;
        let ns: u64 = stat.split_whitespace().next()?.parse().ok()?;
        (comm.trim() == name).then_some(Duration::from_nanos(ns))
    };
    let threads = threads.into_iter().flatten().flatten();
    threads.filter_map(|thread| read(&thread.path())).sum()
}

/// State of a process and its computing time in seconds.
fn stat(pid: u32) -> Option<(char, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before the last parenthesis may have blanks.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((
        fields.first()?.chars().next()?,
        (ticks(11)? + ticks(12)?) / TICKS_PER_S,
    ))
}
