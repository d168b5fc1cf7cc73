//! One run as it was drawn: calm first, then struck, and what must hold of its end. Never draws.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use peerwren_benches::report::Report;
use peerwren_benches::running::children;

use crate::draw::{Drawn, Fault, Setting, Strike};
use crate::place::{Hosts, Place, address};
use crate::processes::{Ended, Site};

/// Between two looks at a worker, and how many until it has taken too long to end after its run: a minute's.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 3000;
/// Drivers that a run may take.
const DRIVERS_MAX: usize = 4;
/// Digests of results by the work that makes them.
pub(crate) type Known = BTreeMap<&'static str, blake3::Hash>;

/// What a run took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    pub(crate) lost: f64,
    pub(crate) again: f64,
    pub(crate) restored: f64,
    /// Tasks of the newest manifests that killed drivers left.
    pub(crate) durable: f64,
    pub(crate) peer_bytes: f64,
    pub(crate) read_bytes: f64,
    pub(crate) written_bytes: f64,
}

/// A run's end that is as it must be.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) calm: Figures,
    /// None where the run was to fail, and did.
    pub(crate) own: Option<Figures>,
    pub(crate) struck: u32,
    /// Whether this program stood still meanwhile, so that times tell nothing.
    pub(crate) stalled: bool,
}

/// A run's parts that are the same for the calm and the struck one.
pub(crate) struct Attempt<'a> {
    pub(crate) drawn: &'a Drawn,
    pub(crate) program: &'a Path,
    pub(crate) hosts: Option<&'a Hosts>,
}

impl Attempt<'_> {
    /// Runs it twice below a folder and judges both.
    ///
    /// # Errors
    /// Something is not as it must be.
    pub(crate) fn run(&self, folder: &Path, known: &mut Known) -> Result<Outcome, String> {
        let calm = self.site(&folder.join("calm"))?;
        let (calm, _, one) = self
            .session_to_end(&calm, &[], Duration::ZERO, known)
            .map_err(|error| format!("the calm run: {error}"))?;
        let calm = calm.ok_or("the calm run failed as only a struck one may")?;
        let own = self.site(&folder.join("own"))?;
        let length = Duration::from_secs_f64(calm.seconds);
        let (own, struck, other) = self.session_to_end(&own, &self.drawn.strikes, length, known)?;
        Ok(Outcome {
            calm,
            own,
            struck,
            stalled: one || other,
        })
    }

    fn site(&self, folder: &Path) -> Result<Site<'_>, String> {
        for name in ["", "tmp"] {
            let folder = folder.join(name);
            let made = fs::create_dir_all(&folder);
            made.map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let place = Place::new(self.drawn.store, folder)?;
        Ok(Site {
            program: self.program,
            folder: folder.to_owned(),
            place,
            others: children(std::process::id()),
            hosts: self.hosts.filter(|_| self.drawn.setting == Setting::Hosts),
        })
    }

    /// Runs drivers until one brings the results, or the run fails as it may; whether it was stalled is last.
    fn session_to_end(
        &self,
        site: &Site,
        strikes: &[Vec<Strike>],
        calm: Duration,
        known: &mut Known,
    ) -> Result<(Option<Figures>, u32, bool), String> {
        let (mut joined, mut struck, mut stalled) = (Vec::new(), 0, false);
        let mut figures = Figures::default();
        let mut durable = None;
        for number in 0..DRIVERS_MAX {
            let log = format!("driver-{number}.log");
            let line = match number {
                0 => self.line(site),
                _ => self.resuming(site)?,
            };
            let host = site.hosts.map(|_| 1);
            let mut driver = site.start(host, &line, &log)?;
            if number == 0 && self.drawn.setting != Setting::Local {
                joined = site.join(self.drawn.workers, &mut driver)?;
            }
            let pids: Vec<u32> = joined.iter().map(Child::id).collect();
            let strikes = strikes.get(number).map_or(&[][..], Vec::as_slice);
            let ended = site.follow(&mut driver, &log, &pids, strikes, calm)?;
            figures.seconds += ended.took.as_secs_f64();
            (struck, stalled) = (struck + ended.struck, stalled | ended.stalled);
            match (ended.status, self.drawn.fault) {
                (Some(0), _) => {
                    self.whole(site, &mut figures, durable, known)?;
                    self.workers_end(joined, struck)?;
                    self.nothing_is_left(site)?;
                    return Ok((Some(figures), struck, stalled));
                }
                (None, _) if ended.struck > 0 => {
                    site.workers_of_a_dead_driver_end(pids.is_empty())?;
                    durable = self.durable(site, number)?.or(durable);
                }
                (Some(1), Fault::DiskFull | Fault::DiskRoom) if struck > 0 => {
                    self.full_disk_was_told(site, &ended)?;
                    site.place.make_room()?;
                    if site.place.newest_manifest() == 0 {
                        self.nothing_is_left(site)?;
                        return Ok((None, struck, stalled));
                    }
                    durable = self.durable(site, number)?;
                }
                (status, _) => {
                    return Err(format!(
                        "driver {number} ended with {status:?}: {}",
                        ended.told
                    ));
                }
            }
        }
        Err(format!("{DRIVERS_MAX} drivers did not finish it"))
    }

    /// The run's command line.
    fn line(&self, site: &Site) -> String {
        let Drawn {
            work,
            workers,
            exchange,
            durability,
            ..
        } = self.drawn;
        let how = match self.drawn.setting {
            Setting::Local => String::new(),
            Setting::Joining => "coordinator --listen 127.0.0.1:0 --token run.token ".to_owned(),
            Setting::Hosts => format!(
                "coordinator --listen {}:7000 --token run.token ",
                address(1)
            ),
        };
        let results = work.results.iter();
        let results: Vec<_> = results.map(|name| format!("--{name} {name}.npy")).collect();
        format!(
            "{how}{} --workers {workers} --store {} --exchange {exchange} --durability {} {} --report \
             report.json --log info --quiet",
            work.line,
            site.place.argument(),
            durability.name(),
            results.join(" ")
        )
    }

    /// The command line that goes on with a run whose driver is dead.
    fn resuming(&self, site: &Site) -> Result<String, String> {
        let runs = names(&site.folder.join("state/runs"));
        let [run] = runs.as_slice() else {
            return Err(format!("expected one run to resume, found {runs:?}"));
        };
        Ok(format!("resume {run} --log info --quiet"))
    }

    /// Tasks in the newest manifest that a dead driver left, as it said when it began it.
    fn durable(&self, site: &Site, driver: usize) -> Result<Option<f64>, String> {
        let newest = site.place.newest_manifest();
        if newest == 0 {
            return Ok(None);
        }
        for number in (0..=driver).rev() {
            let log = site.folder.join(format!("driver-{number}.log"));
            let said = fs::read_to_string(log).unwrap_or_default();
            let begun = format!("a checkpoint begins number={newest} tasks=");
            if let Some((_, rest)) = said.rsplit_once(&begun) {
                let tasks = rest.split_whitespace().next().unwrap_or_default();
                return tasks
                    .parse()
                    .map(Some)
                    .map_err(|_| format!("its log has no number of tasks but {tasks}"));
            }
        }
        Err(format!("no driver's log has checkpoint {newest}"))
    }

    /// Checks results and report of a run that ended well; the report's figures.
    fn whole(
        &self,
        site: &Site,
        figures: &mut Figures,
        durable: Option<f64>,
        known: &mut Known,
    ) -> Result<(), String> {
        let mut hash = blake3::Hasher::new();
        for name in self.drawn.work.results {
            let file = site.folder.join(format!("{name}.npy"));
            let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            hash.update(&bytes);
        }
        let hash = hash.finalize();
        if *known.entry(self.drawn.work.line).or_insert(hash) != hash {
            return Err("the results have other bits".to_owned());
        }
        let report = Report::read(&site.folder.join("report.json"))?;
        let sum = |field: &str| -> Result<f64, String> {
            Ok(report.number(field)? + report.number(&format!("/q{field}"))?)
        };
        figures.lost = sum("/workers_lost")?;
        figures.again = sum("/tasks_recomputed")?;
        figures.restored = sum("/tasks_restored")?;
        figures.peer_bytes = sum("/bytes/peer")?;
        figures.read_bytes = sum("/bytes/store_read")?;
        figures.written_bytes = sum("/bytes/store_written")?;
        figures.durable = durable.unwrap_or(0.0);
        let (restored, durable) = (figures.restored, figures.durable);
        if restored != durable {
            return Err(format!(
                "{durable} tasks were durable, {restored} were restored"
            ));
        }
        if durable > 0.0 && figures.again > 0.0 {
            return Err(format!(
                "{} tasks ran again in a resumed run that lost nobody",
                figures.again
            ));
        }
        Ok(())
    }

    /// Joined workers end by themselves; well, where nothing was done to them.
    fn workers_end(&self, joined: Vec<Child>, struck: u32) -> Result<(), String> {
        for mut worker in joined {
            // Looks are counted, not time, in which this program may stand still.
            for look in 0.. {
                match worker.try_wait().map_err(|error| error.to_string())? {
                    None if look < LOOKS_MAX => std::thread::sleep(LOOK),
                    None => {
                        // It is killed for its folder's sake.
                        let _ = worker.kill();
                        let _ = worker.wait();
                        return Err("a worker does not end after its run".to_owned());
                    }
                    Some(status) => {
                        let is_unharmed = struck == 0 || self.drawn.fault == Fault::Outlived;
                        if is_unharmed && !status.success() {
                            return Err(format!("an unharmed worker ended with {status}"));
                        }
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn full_disk_was_told(&self, site: &Site, ended: &Ended) -> Result<(), String> {
        if !(ended.told.starts_with("error: ") && ended.told.contains("no room left in the store"))
        {
            return Err(format!("a full disk is told as: {}", ended.told));
        }
        let results = self.drawn.work.results.iter();
        let mut results = results.map(|name| site.folder.join(format!("{name}.npy")));
        match results.find(|file| file.exists()) {
            Some(file) => Err(format!("{} is there, half-written", file.display())),
            None => site.all_end(),
        }
    }

    /// No process, no object in the store, no temporary file, nothing to be resumed.
    fn nothing_is_left(&self, site: &Site) -> Result<(), String> {
        site.all_end()?;
        let mut left = site.place.objects();
        left.extend(names(&site.folder.join("tmp")));
        left.extend(names(&site.folder.join("state/runs")));
        left.extend(
            names(&site.folder)
                .into_iter()
                .filter(|name| name == "run.token"),
        );
        if left.is_empty() {
            return Ok(());
        }
        left.truncate(9);
        Err(format!("this is left: {}", left.join(" ")))
    }
}

/// What a folder has; nothing where there is none.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

impl Site<'_> {
    /// Workers that a dead driver has started end; those that joined by themselves may live.
    fn workers_of_a_dead_driver_end(&self, started_by_it: bool) -> Result<(), String> {
        if started_by_it {
            self.all_end()
        } else {
            Ok(())
        }
    }
}
