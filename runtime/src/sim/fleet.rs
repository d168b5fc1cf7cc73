//! What a simulated fleet is: its machines, lines, store and mishaps, as a file describes them. Reads and
//! checks such files; simulates nothing.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::options::{ByteSize, Durability, EngineKind, RunOptions};
use crate::prices::InstanceKind;
use crate::text;

/// The fleets that are shipped, by name.
pub const SHIPPED: [(&str, &str); 3] = [
    ("lambda-now", include_str!("fleets/lambda-now.toml")),
    ("paper-2018", include_str!("fleets/paper-2018.toml")),
    ("this-machine", include_str!("fleets/this-machine.toml")),
];

/// Longest fleet file: a thousand times what one has.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A fleet of workers that is simulated. Times are in seconds, speeds in bytes a second; what a file leaves
/// out is as in a fleet of perfect machines.
///
/// ```
/// use peerwren::sim::Fleet;
///
/// let fleet = Fleet::named("lambda-now", &["nat.unreachable=0.25".to_owned()])?;
/// assert_eq!((fleet.worker.cores, fleet.nat.unreachable), (6, 0.25));
/// # Ok::<(), peerwren::sim::FleetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// What it is called in reports.
    pub name: String,
    /// A worker's machine.
    pub worker: WorkerModel,
    /// How fast a core runs kernels.
    pub kernels: KernelModel,
    /// Messages and lines between workers.
    pub network: NetworkModel,
    /// The object store.
    pub store: StoreModel,
    /// Where inputs come from.
    #[serde(default)]
    pub inputs: InputModel,
    /// Pairs of workers that no packets pass between.
    #[serde(default)]
    pub nat: NatModel,
    /// Workers that are slower than others.
    #[serde(default)]
    pub stragglers: StragglerModel,
    /// Workers that die.
    #[serde(default)]
    pub faults: FaultModel,
    /// The one machine that all workers share, if they do.
    #[serde(default)]
    pub machine: Option<MachineModel>,
    /// The Lambda function that workers are billed as, if they are.
    #[serde(default)]
    pub function: Option<FunctionModel>,
}

/// A worker's machine.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerModel {
    /// Compute threads, each with a core; `--cores` changes it.
    pub cores: u32,
    /// What `--memory` is where it is not given: memory for blocks and scratch.
    #[serde(deserialize_with = "size")]
    pub memory: u64,
    /// From asking for a worker to its greeting, and how much more or less it may be.
    #[serde(default)]
    pub start_s: f64,
    /// See `start_s`.
    #[serde(default)]
    pub start_spread_s: f64,
    /// Workers that are started in a second, beyond the first `starts_at_once`; 0 for no limit.
    #[serde(default)]
    pub starts_per_s: f64,
    /// See `starts_per_s`.
    #[serde(default)]
    pub starts_at_once: u32,
    /// After which a worker is ended, whatever it does; 0 for never.
    #[serde(default)]
    pub life_s: f64,
    /// Into a worker.
    pub bytes_in_s: f64,
    /// Out of a worker.
    pub bytes_out_s: f64,
}

/// How fast a core runs kernels: at a tile side `nb`, `gflops nb / (nb + half_block)`, unless `at` has
/// measured figures.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelModel {
    /// 10^9 useful operations a second on large tiles.
    pub gflops: f64,
    /// The tile side at which half of that is reached.
    #[serde(default)]
    pub half_block: f64,
    /// Bytes read and written a second by kernels without operations, such as copies.
    pub bytes_s: f64,
    /// What a task takes of its thread beside the kernel, hashing included.
    #[serde(default)]
    pub task_s: f64,
    /// How much longer or shorter a kernel may take, as a share.
    #[serde(default)]
    pub spread: f64,
    /// Measured figures by kernel, then by tile side: 10^9 operations a second; of kernels without operations
    /// 10^9 bytes. Between two sides they are interpolated, beyond them the nearest counts.
    #[serde(default)]
    pub at: BTreeMap<String, BTreeMap<String, f64>>,
}

/// Messages and lines between workers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkModel {
    /// There and back, between any two.
    pub round_trip_s: f64,
    /// What a message takes of the coordinator, which reads one after the other.
    #[serde(default)]
    pub message_s: f64,
    /// What serving a block takes beside its bytes and one round trip.
    #[serde(default)]
    pub serve_s: f64,
    /// How long a worker may be silent; it gives ten signs of life in this time.
    #[serde(default = "lease_s")]
    pub lease_s: f64,
}

/// The object store.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreModel {
    /// From asking for an object to its first byte.
    pub get_s: f64,
    /// From an object's last byte to the answer.
    pub put_s: f64,
    /// Of one request.
    pub bytes_s: f64,
    /// Of all requests together; 0 for no limit.
    #[serde(default)]
    pub total_bytes_s: f64,
    /// Objects read in a second; 0 for no limit.
    #[serde(default)]
    pub gets_per_s: f64,
    /// Objects written in a second; 0 for no limit.
    #[serde(default)]
    pub puts_per_s: f64,
}

/// Where inputs come from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputModel {
    /// Whether they are read from the store; otherwise each worker computes or reads its own.
    pub from_store: bool,
    /// Bytes a second of those that are not.
    #[serde(default = "local_bytes_s")]
    pub bytes_s: f64,
}

/// Pairs of workers that no packets pass between.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatModel {
    /// Share of pairs, 0 to 1.
    pub unreachable: f64,
    /// What finding a path takes, where there are NATs; 0 where there are none.
    pub punch_s: f64,
}

/// Workers that are slower than others.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StragglerModel {
    /// Share of workers, 0 to 1.
    pub share: f64,
    /// How many times as long their kernels take.
    pub slowdown: f64,
}

/// Workers that die.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultModel {
    /// How often each worker dies in an hour, on average.
    pub kills_per_hour: f64,
    /// After which that is noticed.
    pub notice_s: f64,
}

/// One machine that all workers share.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineModel {
    /// Cores for all workers' threads.
    pub cores: u32,
    /// Core-seconds that a worker takes to send or receive a GB.
    #[serde(default)]
    pub move_s_per_gb: f64,
}

/// A Lambda function.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionModel {
    /// Memory that is billed, in MB.
    pub memory_mb: u32,
    /// Whether its CPU is arm64.
    #[serde(default)]
    pub arm: bool,
}

/// Storage of an instance that costs nothing, in MB.
const STORAGE_FREE_MB: u32 = 512;

impl FunctionModel {
    /// What it is billed by.
    #[must_use]
    pub fn kind(&self) -> InstanceKind {
        InstanceKind {
            memory_mb: self.memory_mb,
            storage_mb: STORAGE_FREE_MB,
            arm: self.arm,
        }
    }
}

impl Default for InputModel {
    fn default() -> Self {
        Self {
            from_store: true,
            bytes_s: local_bytes_s(),
        }
    }
}

impl Default for FaultModel {
    fn default() -> Self {
        Self {
            kills_per_hour: 0.0,
            notice_s: 5.0,
        }
    }
}

fn lease_s() -> f64 {
    10.0
}

fn local_bytes_s() -> f64 {
    2e9
}

fn size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let size: Result<ByteSize, _> = text.parse();
    size.map(|size| size.0).map_err(serde::de::Error::custom)
}

/// A fleet that cannot be simulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fleet {name}: {problem}")]
pub struct FleetError {
    name: String,
    problem: String,
}

impl Fleet {
    /// The fleet of this name, or of a TOML file at this path, with some of its keys set otherwise: each
    /// `KEY=VALUE`, such as `nat.unreachable=0.25`.
    ///
    /// # Errors
    /// No such fleet or file, unknown keys, or values out of their bounds.
    pub fn named(name: &str, set: &[String]) -> Result<Self, FleetError> {
        let error = |problem: String| FleetError {
            name: name.escape_debug().to_string(),
            problem,
        };
        let shipped = SHIPPED.iter().find(|(known, _)| *known == name);
        let text = match shipped {
            Some((_, text)) => (*text).to_owned(),
            None => read(Path::new(name)).map_err(error)?,
        };
        Self::parse(&text, set).map_err(error)
    }

    /// Options of a run on this fleet: what they leave open follows the fleet, not this machine.
    #[must_use]
    pub fn options(&self, given: RunOptions) -> RunOptions {
        RunOptions {
            memory: given.memory.or(Some(self.worker.memory)),
            durability: given.durability.or(self.function.map(|_| {
                let function = EngineKind::Lambda(self.name.clone());
                Durability::default_with(&function)
            })),
            ..given
        }
    }

    fn parse(text: &str, set: &[String]) -> Result<Self, String> {
        let one_line = |error: toml::de::Error| {
            let message = error.message().replace('\n', ", ");
            match error.span() {
                Some(span) => {
                    let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
                    format!("line {line}: {message}")
                }
                None => message,
            }
        };
        let mut table: toml::Table = text.parse().map_err(one_line)?;
        for change in set {
            assign(&mut table, change)?;
        }
        let fleet: Self = match set {
            // Errors of the text know their lines.
            [] => toml::from_str(text).map_err(one_line)?,
            _ => table.try_into().map_err(|error: toml::de::Error| {
                error.to_string().trim_end().replace('\n', ", ")
            })?,
        };
        fleet.check()?;
        Ok(fleet)
    }

    fn check(&self) -> Result<(), String> {
        let share = [
            ("nat.unreachable", self.nat.unreachable),
            ("stragglers.share", self.stragglers.share),
            ("kernels.spread", self.kernels.spread),
        ];
        let zero_or_more = [
            ("worker.start_s", self.worker.start_s),
            ("worker.start_spread_s", self.worker.start_spread_s),
            ("worker.starts_per_s", self.worker.starts_per_s),
            ("worker.life_s", self.worker.life_s),
            ("kernels.half_block", self.kernels.half_block),
            ("kernels.task_s", self.kernels.task_s),
            ("network.round_trip_s", self.network.round_trip_s),
            ("network.message_s", self.network.message_s),
            ("network.serve_s", self.network.serve_s),
            ("store.get_s", self.store.get_s),
            ("store.put_s", self.store.put_s),
            ("store.total_bytes_s", self.store.total_bytes_s),
            ("store.gets_per_s", self.store.gets_per_s),
            ("store.puts_per_s", self.store.puts_per_s),
            ("nat.punch_s", self.nat.punch_s),
            ("stragglers.slowdown", self.stragglers.slowdown),
            ("faults.kills_per_hour", self.faults.kills_per_hour),
            ("faults.notice_s", self.faults.notice_s),
        ];
        let mut positive = vec![
            ("worker.bytes_in_s".to_owned(), self.worker.bytes_in_s),
            ("worker.bytes_out_s".to_owned(), self.worker.bytes_out_s),
            ("kernels.gflops".to_owned(), self.kernels.gflops),
            ("kernels.bytes_s".to_owned(), self.kernels.bytes_s),
            ("network.lease_s".to_owned(), self.network.lease_s),
            ("store.bytes_s".to_owned(), self.store.bytes_s),
            ("inputs.bytes_s".to_owned(), self.inputs.bytes_s),
        ];
        for (kernel, sides) in &self.kernels.at {
            for (side, rate) in sides {
                let key = format!("kernels.at.{kernel}.{side}");
                if side.parse::<u32>().is_ok_and(|side| side > 0) {
                    positive.push((key, *rate));
                } else {
                    return Err(format!("{key} is no tile side; expected a whole number"));
                }
            }
        }
        for (key, came) in share {
            within(key, came, 0.0, 1.0)?;
        }
        for (key, came) in zero_or_more {
            within(key, came, 0.0, NUMBER_MAX)?;
        }
        for (key, came) in positive {
            within(&key, came, NUMBER_MIN, NUMBER_MAX)?;
        }
        let cores = self.machine.as_ref().map_or(1, |machine| machine.cores);
        within("machine.cores", cores.into(), 1.0, 1024.0)?;
        within("worker.cores", self.worker.cores.into(), 1.0, 1024.0)?;
        within("worker.memory", self.worker.memory as f64, 1.0, NUMBER_MAX)?;
        let memory_mb = self.function.map_or(128, |function| function.memory_mb);
        within("function.memory_mb", memory_mb.into(), 128.0, 1e6)?;
        let move_s = self.machine.as_ref().map_or(0.0, |m| m.move_s_per_gb);
        within("machine.move_s_per_gb", move_s, 0.0, 1e3)?;
        if self.stragglers.share > 0.0 {
            within(
                "stragglers.slowdown",
                self.stragglers.slowdown,
                1.0,
                NUMBER_MAX,
            )?;
        }
        Ok(())
    }
}

/// Beyond every machine.
const NUMBER_MAX: f64 = 1e15;
/// Below every speed.
const NUMBER_MIN: f64 = 1e-6;

fn within(key: &str, came: f64, least: f64, most: f64) -> Result<(), String> {
    if (least..=most).contains(&came) {
        Ok(())
    } else {
        Err(format!("{key} is {came}; expected {least} to {most}"))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
    let known = names.join(", ");
    let expected = |error: std::io::Error| {
        format!("{error}; expected a TOML file, or one of the fleets that are shipped: {known}")
    };
    text::read(path, FILE_BYTES_MAX).map_err(expected)
}

/// Sets one key of a table.
fn assign(table: &mut toml::Table, change: &str) -> Result<(), String> {
    let expected = || {
        format!(
            "--set {}: expected KEY=VALUE, such as nat.unreachable=0.25",
            change.escape_debug()
        )
    };
    let (path, value) = change.split_once('=').ok_or_else(expected)?;
    let parsed: Result<toml::Table, _> = format!("value = {value}").parse();
    let value = match parsed {
        Ok(mut parsed) if parsed.len() == 1 => parsed.remove("value").ok_or_else(expected)?,
        // A word without its quotes.
        _ => toml::Value::String(value.to_owned()),
    };
    let mut names: Vec<&str> = path.split('.').map(str::trim).collect();
    let last = names.pop().filter(|last| !last.is_empty());
    let last = last.ok_or_else(expected)?;
    let mut inner = table;
    for name in names {
        let entry = inner
            .entry(name)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        inner = entry.as_table_mut().ok_or_else(expected)?;
    }
    // A whole number is as good as one with a point where the file has one.
    let value = match (inner.get(last), value) {
        (Some(toml::Value::Float(_)), toml::Value::Integer(whole)) => {
            toml::Value::Float(whole as f64)
        }
        (_, value) => value,
    };
    inner.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_fleets_are_sound() {
        for (name, _) in SHIPPED {
            let fleet = Fleet::named(name, &[]).unwrap();
            assert_eq!(fleet.name, name);
        }
    }

    #[test]
    fn keys_can_be_set() {
        let set = |changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|text| (*text).to_owned()).collect();
            Fleet::named("lambda-now", &changes).map_err(|error| error.to_string())
        };
        let fleet = set(&[
            "stragglers.share=0.1",
            "stragglers.slowdown=3",
            "worker.memory=1GiB",
        ]);
        let fleet = fleet.unwrap();
        assert_eq!(
            (fleet.stragglers.share, fleet.stragglers.slowdown),
            (0.1, 3.0)
        );
        assert_eq!(fleet.worker.memory, 1 << 30);
        let table = [
            (
                "nat.unreachable=2",
                "fleet lambda-now: nat.unreachable is 2; expected 0 to 1",
            ),
            (
                "nat",
                "fleet lambda-now: --set nat: expected KEY=VALUE, such as nat.unreachable=0.25",
            ),
            (
                "worker.bytes_in_s=-1",
                "fleet lambda-now: worker.bytes_in_s is -1; expected 0.000001 to 1000000000000000",
            ),
            (
                "name.x=1",
                "fleet lambda-now: --set name.x=1: expected KEY=VALUE, such as nat.unreachable=0.25",
            ),
        ];
        for (change, told) in table {
            assert_eq!(set(&[change]).unwrap_err(), told);
        }
        let unknown = set(&["nat.unreachables=0.5"]).unwrap_err();
        assert!(
            unknown.contains("unknown field `unreachables`") && !unknown.contains('\n'),
            "{unknown}"
        );
    }

    #[test]
    fn what_is_wrong_in_a_file_is_named() {
        let told = |text: &str| Fleet::parse(text, &[]).unwrap_err();
        assert_eq!(
            told("name = \"x\"\nworker = 3\n"),
            "line 2: invalid type: integer `3`, expected struct WorkerModel"
        );
        assert!(told("name = ").starts_with("line 1: "));
        assert!(told("").contains("missing field `name`"));
        let missing = Fleet::named("no-such-fleet.toml", &[])
            .unwrap_err()
            .to_string();
        assert!(
            missing.starts_with("fleet no-such-fleet.toml: ")
                && missing.ends_with(
                    "one of the fleets that are shipped: lambda-now, paper-2018, this-machine"
                ),
            "{missing}"
        );
    }
}
