//! What an emulated account is like and which faults it has. Owns the knobs and what chance decides by
//! them; never acts on them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The account, its limits, its delays and its faults. As JSON every field may be left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The account's number, twelve digits.
    pub account: String,
    /// The region's name.
    pub region: String,
    /// Invocations at once in the whole account; AWS gives 1,000, new accounts far fewer.
    pub concurrency: u32,
    /// Largest payload of an invocation with RequestResponse, and of any response.
    pub request_bytes_max: usize,
    /// Largest payload of an Event: 1 MiB, before October 2025 256 KiB.
    pub event_bytes_max: usize,
    /// How long a new or updated function stays `Pending` or `InProgress`.
    pub activation_ms: u64,
    /// Delays before the first, second, .. retry of a failed event; AWS waits 1 and 2 minutes.
    pub retry_delays_ms: Vec<u64>,
    /// How long an instance may take until it asks for its first event.
    pub init_timeout_ms: u64,
    /// How long a warm instance stays without events before it ends.
    pub idle_ms: u64,
    /// Descriptors that an instance may open.
    pub descriptors: u64,
    /// Added to the environment of every instance, such as `AWS_ENDPOINT_URL_S3`: the way from an
    /// emulated instance to an emulated S3.
    pub environment: BTreeMap<String, String>,
    /// Roles that functions can assume; any, where this is left out.
    pub roles: Option<BTreeSet<String>>,
    /// Operations that callers may not use, such as `CreateFunction`.
    pub denied: BTreeSet<String>,
    /// The one access key that is known; any, where this is left out.
    pub access_key: Option<String>,
    /// What goes wrong.
    pub faults: Faults,
}

/// What goes wrong, by table (ordinals count from 0) and by chance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Decides all chances: the same seed and the same order of requests give the same faults.
    pub seed: u64,
    /// Events, by their ordinal, that are delivered twice.
    pub duplicates: BTreeSet<u64>,
    /// Chance of an event to be delivered twice.
    pub duplicate_rate: f64,
    /// Delay before an instance's process starts.
    pub cold_start_ms: u64,
    /// Instances, by their ordinal, whose initialisation fails.
    pub init_failures: BTreeSet<u64>,
    /// Chance of an instance to fail when it initialises.
    pub init_failure_rate: f64,
    /// Executions, by their ordinal, whose process is killed, and after how many ms.
    pub crashes: BTreeMap<u64, u64>,
    /// Chance of an execution to be killed after `crash_after_ms`.
    pub crash_rate: f64,
    /// See `crash_rate`.
    pub crash_after_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            concurrency: 1_000,
            request_bytes_max: 6 << 20,
            event_bytes_max: 1 << 20,
            activation_ms: 50,
            retry_delays_ms: vec![60_000, 120_000],
            init_timeout_ms: 10_000,
            idle_ms: 300_000,
            descriptors: 1_024,
            environment: BTreeMap::new(),
            roles: None,
            denied: BTreeSet::new(),
            access_key: None,
            faults: Faults::default(),
        }
    }
}

impl Settings {
    /// The resource name of a function.
    pub fn function_arn(&self, name: &str) -> String {
        format!(
            "arn:aws:lambda:{}:{}:function:{name}",
            self.region, self.account
        )
    }

    /// Least concurrency that reservations must leave to functions without one: 100, or all of a smaller
    /// account's.
    pub(crate) fn unreserved_min(&self) -> u32 {
        self.concurrency.min(100)
    }
}

/// What chance is asked about; each kind has draws of its own.
#[derive(Clone, Copy)]
enum Draw {
    Duplicate = 1,
    Init = 2,
    Crash = 3,
}

impl Faults {
    pub(crate) fn duplicates(&self, event: u64) -> bool {
        self.duplicates.contains(&event)
            || self.happens(Draw::Duplicate, event, self.duplicate_rate)
    }

    pub(crate) fn init_fails(&self, instance: u64) -> bool {
        self.init_failures.contains(&instance)
            || self.happens(Draw::Init, instance, self.init_failure_rate)
    }

    /// After how many ms this execution's process is killed, if it is.
    pub(crate) fn crash_ms(&self, execution: u64) -> Option<u64> {
        let by_chance = || {
            self.happens(Draw::Crash, execution, self.crash_rate)
                .then_some(self.crash_after_ms)
        };
        self.crashes.get(&execution).copied().or_else(by_chance)
    }

    fn happens(&self, draw: Draw, ordinal: u64, rate: f64) -> bool {
        let mixed = mix(mix(self.seed ^ (draw as u64) << 56).wrapping_add(ordinal));
        // 53 bits are a double's precision.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64 <= rate && rate > 0.0
    }
}

/// splitmix64's finaliser: scatters neighbouring numbers.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::Faults;

    #[test]
    fn chances_follow_the_seed_and_the_rate() {
        let count = |seed, rate| {
            let faults = Faults {
                seed,
                duplicate_rate: rate,
                ..Faults::default()
            };
            (0..10_000)
                .filter(|event| faults.duplicates(*event))
                .count()
        };
        assert_eq!(count(1, 0.0), 0);
        assert_eq!(count(1, 1.0), 10_000);
        assert!((2_800..3_200).contains(&count(1, 0.3)));
        assert_eq!(count(7, 0.3), count(7, 0.3));
        assert_ne!(count(1, 0.3), count(2, 0.3));
    }
}
