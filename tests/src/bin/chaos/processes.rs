//! The processes of one run: a driver that is followed and struck, workers that join by themselves, and whoever is
//! left of all of them. Never judges what a run brought.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use peerwren_benches::running::{children, send};
use peerwren_tests::command::clean;
use rustix::process::Signal;

use crate::draw::{Blow, Strike};
use crate::place::{Hosts, Place, address};

/// Between two looks at a run.
const LOOK: Duration = Duration::from_millis(5);
/// Between two listings of a store.
const LISTING: Duration = Duration::from_millis(50);
/// A run that takes longer stands still.
const RUN_MAX: Duration = Duration::from_secs(240);
/// Who looks every 5 ms and comes so late was stopped itself, with all it runs: such a time is no run's.
const STALL: Duration = Duration::from_secs(2);
/// Looks until workers have taken too long to notice that their run is over: 50 s, since those that were cut off
/// wait for it to come back.
const LOOKS_MAX: u32 = 1000;
/// How long a worker waits for a coordinator.
const ORPHAN_S: u32 = 25;

/// A run's folder and what all its processes have in common.
pub(crate) struct Site<'a> {
    pub(crate) program: &'a Path,
    pub(crate) folder: PathBuf,
    pub(crate) place: Place,
    pub(crate) hosts: Option<&'a Hosts>,
    /// Children of this program that are none of the run's.
    pub(crate) others: Vec<u32>,
}

/// A driver's end.
pub(crate) struct Ended {
    /// Its status; none where it was killed.
    pub(crate) status: Option<i32>,
    /// What it said last.
    pub(crate) told: String,
    pub(crate) took: Duration,
    /// Whether this program itself stood still meanwhile.
    pub(crate) stalled: bool,
    /// Times that something was done to it or to its workers.
    pub(crate) struck: u32,
}

/// What is done at a time.
enum Deed {
    Blow(Blow),
    Continue(Vec<u32>),
    Mend(u32),
    FullRate(u32),
    StoreBack,
}

struct Due {
    at: Duration,
    after_checkpoint: bool,
    deed: Deed,
}

impl Site<'_> {
    /// A command of this run, on a host where one is named, which writes what it says to a file.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(&self, host: Option<u32>, line: &str, log: &str) -> Result<Child, String> {
        let own = |name: &str| self.folder.join(name).to_string_lossy().into_owned();
        let mut variables = self.place.variables();
        variables.extend([("PEERWREN_STATE", own("state")), ("TMPDIR", own("tmp"))]);
        // setpriv becomes what follows, which dies when this program does.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let (Some(host), Some(hosts)) = (host, self.hosts) {
            command.args(hosts.words(host));
        }
        command.arg(self.program);
        let log = self.folder.join(log);
        let told = |error: std::io::Error| format!("{}: {error}", log.display());
        let file = File::create(&log).map_err(told)?;
        clean(command, &self.folder, line, &variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("setpriv, which util-linux brings: {error}"))
    }

    /// Starts workers that join by themselves once the token is there.
    ///
    /// # Errors
    /// There is no token in time.
    pub(crate) fn join(&self, count: u32, driver: &mut Child) -> Result<Vec<Child>, String> {
        let token = self.folder.join("run.token");
        let began = Instant::now();
        while !token.is_file() {
            if began.elapsed() > RUN_MAX || !matches!(driver.try_wait(), Ok(None)) {
                return Err("the coordinator wrote no token".to_owned());
            }
            std::thread::sleep(LOOK);
        }
        let worker = |number| {
            let host = self.hosts.map(|_| number);
            let listen = host.map_or("127.0.0.1".to_owned(), address);
            let line = format!(
                "worker --token run.token --cores 1 --memory 1GiB --listen {listen}:0 --orphan {ORPHAN_S} --log info \
                 --quiet"
            );
            self.start(host, &line, &format!("worker-{number}.log"))
        };
        (1..=count).map(worker).collect()
    }

    /// Follows a driver to its end and does what is due; `joined` are workers that are not its children.
    ///
    /// # Errors
    /// The run stands still, or something cannot be done to it.
    pub(crate) fn follow(
        &self,
        driver: &mut Child,
        log: &str,
        joined: &[u32],
        strikes: &[Strike],
        calm: Duration,
    ) -> Result<Ended, String> {
        let mut due: Vec<Due> = strikes.iter().map(|strike| Due::of(strike, calm)).collect();
        let began = Instant::now();
        let (mut looked, mut stalled, mut struck) = (began, false, 0);
        let waits = due.iter().any(|due| due.after_checkpoint);
        let (mut has_checkpoint, mut listed) = (false, None);
        let status = loop {
            stalled |= looked.elapsed() > STALL;
            looked = Instant::now();
            if let Some(status) = driver.try_wait().map_err(|error| error.to_string())? {
                break status;
            }
            let now = began.elapsed();
            if now > RUN_MAX && !stalled {
                send(driver.id(), Signal::KILL);
                return Err(format!(
                    "it stands still: no end in {} s",
                    RUN_MAX.as_secs()
                ));
            }
            if listed.is_none_or(|at: Instant| at.elapsed() > LISTING) && !has_checkpoint {
                has_checkpoint = waits && self.place.newest_manifest() > 0;
                listed = Some(Instant::now());
            }
            let is_due = |due: &Due| now >= due.at && (has_checkpoint || !due.after_checkpoint);
            let Some(next) = due.iter().position(is_due) else {
                std::thread::sleep(LOOK);
                continue;
            };
            let deed = due.remove(next).deed;
            struck += u32::from(matches!(deed, Deed::Blow(_)));
            if let Some((long, undo)) = self.perform(deed, driver.id(), joined)? {
                due.push(Due {
                    at: now + long,
                    after_checkpoint: false,
                    deed: undo,
                });
            }
            // What was done here may have taken its time.
            looked = Instant::now();
        };
        for left in due {
            if !matches!(left.deed, Deed::Blow(_)) {
                self.perform(left.deed, driver.id(), joined)?;
            }
        }
        let told = fs::read_to_string(self.folder.join(log)).unwrap_or_default();
        let told = told.lines().rfind(|line| !line.trim().is_empty());
        Ok(Ended {
            status: status.code(),
            told: told.unwrap_or_default().to_owned(),
            took: began.elapsed(),
            stalled,
            struck,
        })
    }

    /// Does something; returns what undoes it, and when.
    fn perform(
        &self,
        deed: Deed,
        driver: u32,
        joined: &[u32],
    ) -> Result<Option<(Duration, Deed)>, String> {
        let workers = || {
            let mut workers = if joined.is_empty() {
                children(driver)
            } else {
                joined.to_vec()
            };
            workers.retain(|&pid| is_alive(pid));
            workers
        };
        let some_of = |part: f64| {
            let workers = workers();
            let count = (part * workers.len() as f64).round().max(1.0) as usize;
            workers.into_iter().take(count).collect::<Vec<_>>()
        };
        let hosts = || self.hosts.ok_or("there are no hosts");
        match deed {
            Deed::Blow(Blow::Kill(part)) => {
                for pid in some_of(part) {
                    send(pid, Signal::KILL);
                }
            }
            Deed::Blow(Blow::Pause(part, long)) => {
                let pids = some_of(part);
                for &pid in &pids {
                    send(pid, Signal::STOP);
                }
                return Ok(Some((long, Deed::Continue(pids))));
            }
            Deed::Continue(pids) => pids.into_iter().for_each(|pid| send(pid, Signal::CONT)),
            Deed::Blow(Blow::Cut(host, long)) => {
                hosts()?.ask("cut", &[host])?;
                return Ok(Some((long, Deed::Mend(host))));
            }
            Deed::Mend(host) => hosts()?.ask("mend", &[host])?,
            Deed::Blow(Blow::Slow(host, rate, long)) => {
                hosts()?.ask("rate", &[host, rate])?;
                return Ok(Some((long, Deed::FullRate(host))));
            }
            Deed::FullRate(host) => hosts()?.ask("rate", &[host, 600])?,
            Deed::Blow(Blow::Store(want, long)) => {
                self.faults()?.all(Some(want));
                return Ok(Some((long, Deed::StoreBack)));
            }
            Deed::StoreBack => self.faults()?.all(None),
            Deed::Blow(Blow::Errors(percent)) => self.faults()?.at_random(percent, percent),
            Deed::Blow(Blow::Fill) => self.place.fill()?,
            Deed::Blow(Blow::Driver) => send(driver, Signal::KILL),
        }
        Ok(None)
    }

    fn faults(&self) -> Result<&peerwren_tests::s3_server::faults::Faults, String> {
        let server = self.place.server();
        let server = server.ok_or("only a server can fail")?;
        Ok(server.faults())
    }

    /// Waits until no process of this run is there any more; those that do not end are killed and told.
    ///
    /// # Errors
    /// Some have to be killed.
    pub(crate) fn all_end(&self) -> Result<(), String> {
        for _ in 0..LOOKS_MAX {
            if self.processes().is_empty() {
                return Ok(());
            }
            std::thread::sleep(LOOK * 10);
        }
        let left = self.processes();
        left.iter().for_each(|&pid| send(pid, Signal::KILL));
        Err(format!("processes are left: {left:?}"))
    }

    /// The live processes of this run: orphans become this program's children ([`adopt_orphans`]).
    fn processes(&self) -> Vec<u32> {
        let mut all = children(std::process::id());
        all.retain(|pid| !self.others.contains(pid));
        all
    }
}

/// Makes this program the parent of processes whose own parent dies, so that nobody is overlooked.
///
/// # Errors
/// The system refuses.
pub(crate) fn adopt_orphans() -> Result<(), String> {
    let this = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(this)).map_err(|error| format!("prctl: {error}"))
}

impl Due {
    fn of(strike: &Strike, calm: Duration) -> Self {
        Self {
            at: calm.mul_f64(strike.at),
            after_checkpoint: strike.after_checkpoint,
            deed: Deed::Blow(strike.blow),
        }
    }
}

/// Whether a process runs and is not a zombie.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
