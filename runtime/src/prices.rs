//! What a run in the cloud costs in dollars: a table of prices with its date, what was used, and what will
//! be used by estimate. Pure: never asks AWS, never reads a clock. Bytes that move are [`cost`](crate::cost)'s.
//!
//! Counted: Lambda's GB-seconds, requests and storage above 512 MB; S3's requests and, pro rata, its storage.
//! Not counted: free tiers, discounts and tiers of large use; logs; the driver's machine; and transfer,
//! which between Lambda and S3 of one region is free, and otherwise (a NAT gateway, the internet, workers'
//! exchange over public addresses) depends on the network: `peer_gb` and `internet_gb` are 0 unless set.

use std::ops::{AddAssign, Sub};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::report::CostEstimate;
use crate::text;

/// Longest file: ten prices and a name take less than a kB.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Seconds of a month of 30 days, by which storage is priced.
const MONTH_S: f64 = 30.0 * 86_400.0;
/// Storage of an instance that costs nothing, in MB.
const STORAGE_FREE_MB: u32 = 512;
/// A price above this is a slip of the pen: a GB-month or a million requests cost less everywhere.
const PRICE_MAX: f64 = 1_000.0;

/// Prices in US dollars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prices {
    /// Region and date, as the report's `table` names it.
    pub name: String,
    /// Where they come from.
    pub source: String,
    /// A GB-second of a function on x86_64 (a GB of 1,024 MB).
    pub lambda_x86_gb_s: f64,
    /// A GB-second of a function on arm64.
    pub lambda_arm_gb_s: f64,
    /// An invocation.
    pub lambda_request: f64,
    /// A GB-second of an instance's storage above 512 MB.
    pub lambda_storage_gb_s: f64,
    /// A PUT, POST or LIST.
    pub store_put: f64,
    /// A GET or HEAD.
    pub store_get: f64,
    /// A GB (10^9 bytes) stored for a month of 30 days.
    pub store_gb_month: f64,
    /// A GB that workers exchange.
    pub peer_gb: f64,
    /// A GB that leaves the region.
    pub internet_gb: f64,
}

impl Default for Prices {
    /// List prices of us-east-1.
    fn default() -> Self {
        Self {
            name: "aws us-east-1, 2026-05".to_owned(),
            source: "https://aws.amazon.com/lambda/pricing/ https://aws.amazon.com/s3/pricing/"
                .to_owned(),
            lambda_x86_gb_s: 0.000_016_666_7,
            lambda_arm_gb_s: 0.000_013_333_4,
            lambda_request: 0.20e-6,
            lambda_storage_gb_s: 0.000_000_030_9,
            store_put: 0.005e-3,
            store_get: 0.000_4e-3,
            store_gb_month: 0.023,
            peer_gb: 0.0,
            internet_gb: 0.0,
        }
    }
}

/// A table of prices that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "prices {path}: {reason}; expected JSON such as {{\"name\": \"eu-west-1, 2026-05\", \"store_get\": 4e-7}}"
)]
pub struct PricesError {
    path: String,
    reason: String,
}

impl Prices {
    /// Reads a table from JSON; what it leaves out is as in the default table.
    ///
    /// # Errors
    /// The file cannot be read, has unknown fields, no name, or a price that is none.
    pub fn read(path: &Path) -> Result<Self, PricesError> {
        let refused = |reason: String| PricesError {
            path: path.to_string_lossy().escape_debug().to_string(),
            reason,
        };
        let text = text::read(path, FILE_BYTES_MAX).map_err(|error| refused(error.to_string()))?;
        Self::parse(&text).map_err(refused)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let given: serde_json::Value =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        // A changed table under the old name would lie.
        if given["name"]
            .as_str()
            .is_none_or(|name| name.trim().is_empty())
        {
            return Err("has no name; name its region and date".to_owned());
        }
        let prices: Self = serde_json::from_value(given).map_err(|error| error.to_string())?;
        let named = [
            ("lambda_x86_gb_s", prices.lambda_x86_gb_s),
            ("lambda_arm_gb_s", prices.lambda_arm_gb_s),
            ("lambda_request", prices.lambda_request),
            ("lambda_storage_gb_s", prices.lambda_storage_gb_s),
            ("store_put", prices.store_put),
            ("store_get", prices.store_get),
            ("store_gb_month", prices.store_gb_month),
            ("peer_gb", prices.peer_gb),
            ("internet_gb", prices.internet_gb),
        ];
        match named
            .into_iter()
            .find(|(_, price)| !(0.0..=PRICE_MAX).contains(price))
        {
            Some((name, price)) => Err(format!(
                "{name} is {price}; expected dollars from 0 to {PRICE_MAX}"
            )),
            None => Ok(prices),
        }
    }

    /// What a use costs.
    pub fn dollars(&self, usage: &Usage) -> f64 {
        usage.gb_s_x86 * self.lambda_x86_gb_s
            + usage.gb_s_arm * self.lambda_arm_gb_s
            + usage.invocations as f64 * self.lambda_request
            + usage.storage_gb_s * self.lambda_storage_gb_s
            + usage.store_put as f64 * self.store_put
            + usage.store_get as f64 * self.store_get
            + usage.store_byte_s / 1e9 / MONTH_S * self.store_gb_month
            + usage.peer_bytes as f64 / 1e9 * self.peer_gb
            + usage.internet_bytes as f64 / 1e9 * self.internet_gb
    }

    /// The report's field: by estimate before, as measured after.
    pub fn report(&self, expected: &Usage, used: &Usage) -> CostEstimate {
        CostEstimate {
            estimate: self.dollars(expected),
            measured: self.dollars(used),
            gb_seconds: used.gb_s_x86 + used.gb_s_arm,
            invocations: used.invocations,
            table: self.name.clone(),
        }
    }
}

/// What was used of the cloud, or will be by estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// GB-seconds of functions on x86_64.
    pub gb_s_x86: f64,
    /// GB-seconds of functions on arm64.
    pub gb_s_arm: f64,
    /// Invocations.
    pub invocations: u64,
    /// GB-seconds of instances' storage above 512 MB.
    pub storage_gb_s: f64,
    /// PUT, POST and LIST requests, parts of large objects included.
    pub store_put: u64,
    /// GET and HEAD requests, ranges of large objects included.
    pub store_get: u64,
    /// Bytes stored times seconds.
    pub store_byte_s: f64,
    /// Bytes that workers exchanged.
    pub peer_bytes: u64,
    /// Bytes that left the region.
    pub internet_bytes: u64,
}

/// What one instance of a function is billed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceKind {
    /// Memory in MB.
    pub memory_mb: u32,
    /// Storage in MB, 512 of them free.
    pub storage_mb: u32,
    /// Whether its CPU is arm64.
    pub arm: bool,
}

impl Usage {
    /// Adds one invocation that ran for this long, initialisation included: whole milliseconds, rounded up.
    pub fn add_invocation(&mut self, kind: InstanceKind, duration_s: f64) {
        self.invocations += 1;
        self.add_time(kind, (duration_s.max(0.0) * 1e3).ceil() / 1e3);
    }

    fn add_time(&mut self, kind: InstanceKind, billed_s: f64) {
        let gb_s = f64::from(kind.memory_mb) / 1_024.0 * billed_s;
        *if kind.arm {
            &mut self.gb_s_arm
        } else {
            &mut self.gb_s_x86
        } += gb_s;
        let storage_mb = kind.storage_mb.saturating_sub(STORAGE_FREE_MB);
        self.storage_gb_s += f64::from(storage_mb) / 1_024.0 * billed_s;
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        self.gb_s_x86 += more.gb_s_x86;
        self.gb_s_arm += more.gb_s_arm;
        self.invocations += more.invocations;
        self.storage_gb_s += more.storage_gb_s;
        self.store_put += more.store_put;
        self.store_get += more.store_get;
        self.store_byte_s += more.store_byte_s;
        self.peer_bytes += more.peer_bytes;
        self.internet_bytes += more.internet_bytes;
    }
}

impl Sub for Usage {
    type Output = Self;

    /// What came between two totals, such as those at the ends of a phase.
    fn sub(self, before: Self) -> Self {
        Self {
            gb_s_x86: self.gb_s_x86 - before.gb_s_x86,
            gb_s_arm: self.gb_s_arm - before.gb_s_arm,
            invocations: self.invocations.saturating_sub(before.invocations),
            storage_gb_s: self.storage_gb_s - before.storage_gb_s,
            store_put: self.store_put.saturating_sub(before.store_put),
            store_get: self.store_get.saturating_sub(before.store_get),
            store_byte_s: self.store_byte_s - before.store_byte_s,
            peer_bytes: self.peer_bytes.saturating_sub(before.peer_bytes),
            internet_bytes: self.internet_bytes.saturating_sub(before.internet_bytes),
        }
    }
}

/// What a plan asks for, as far as it decides the cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Floating-point operations.
    pub flops: u64,
    /// Reads from the store.
    pub store_get: u64,
    /// Writes to the store.
    pub store_put: u64,
    /// Bytes read from the store.
    pub store_read: u64,
    /// Bytes written to the store.
    pub store_written: u64,
    /// Bytes between workers.
    pub peer: u64,
}

/// The workers that will do it. Speeds are assumptions until they are measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fleet {
    /// How many.
    pub workers: u32,
    /// Cores of each.
    pub cores: u32,
    /// What each is billed by.
    pub kind: InstanceKind,
    /// Longest life of each.
    pub timeout_s: f64,
    /// 10^9 useful operations a second and core.
    pub gflops: f64,
    /// Bytes a second that a worker takes in or gives out.
    pub bytes_s: f64,
    /// From an invocation to a worker's first task.
    pub startup_s: f64,
}

impl Fleet {
    /// A vCPU is half a core with AVX2: 10 GFLOP/s in QR is what such a core gives.
    pub const GFLOPS_ASSUMED: f64 = 10.0;
    /// 600 Mbit/s, which functions were seen to have.
    pub const BYTES_S_ASSUMED: f64 = 600e6 / 8.0;
    /// A cold start, joining and the self-test.
    pub const STARTUP_S_ASSUMED: f64 = 3.0;

    /// How long the work takes at best, in seconds: computing and moving overlap, so that the longer of both
    /// counts. Waiting for each other is not in it.
    pub fn duration_s(&self, work: &Work) -> f64 {
        let workers = f64::from(self.workers.max(1));
        let compute_s =
            work.flops as f64 / (workers * f64::from(self.cores.max(1)) * self.gflops * 1e9);
        let moved = work.store_read as f64 + work.store_written as f64 + work.peer as f64;
        compute_s.max(moved / (workers * self.bytes_s))
    }

    /// What the work will use at best: see [`duration_s`](Self::duration_s).
    pub fn usage(&self, work: &Work) -> Usage {
        self.usage_for(work, self.duration_s(work))
    }

    /// What the work will use in so many seconds: every worker for the whole duration, started again at each
    /// time-out.
    pub fn usage_for(&self, work: &Work, duration_s: f64) -> Usage {
        let life_s = (self.timeout_s - self.startup_s).max(1.0);
        let generations = (duration_s / life_s).ceil().max(1.0);
        let workers = f64::from(self.workers.max(1));
        let mut usage = Usage {
            invocations: (workers * generations) as u64,
            store_get: work.store_get,
            store_put: work.store_put,
            store_byte_s: work.store_written as f64 * duration_s,
            peer_bytes: work.peer,
            ..Usage::default()
        };
        usage.add_time(
            self.kind,
            workers * (duration_s + generations * self.startup_s),
        );
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: InstanceKind = InstanceKind {
        memory_mb: 2_048,
        storage_mb: 512,
        arm: false,
    };

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() <= 1e-9 * other.abs().max(1e-12)
    }

    #[test]
    fn an_invocation_is_billed_by_memory_and_whole_milliseconds() {
        let mut usage = Usage::default();
        usage.add_invocation(KIND, 1.000_1);
        assert!(close(usage.gb_s_x86, 2.0 * 1.001), "{usage:?}");
        assert_eq!(
            (usage.invocations, usage.gb_s_arm, usage.storage_gb_s),
            (1, 0.0, 0.0)
        );
        let arm = InstanceKind {
            arm: true,
            storage_mb: 512 + 1_024,
            ..KIND
        };
        usage.add_invocation(arm, 10.0);
        assert!(close(usage.gb_s_arm, 20.0) && close(usage.storage_gb_s, 10.0));
    }

    /// AWS's own example: 3 million requests of 120 ms at 1,536 MB on x86 are 540,000 GB-s, $9.00, and $0.60 of
    /// requests (free tier not counted).
    #[test]
    fn prices_give_the_sums_of_aws() {
        let prices = Prices::default();
        let usage = Usage {
            gb_s_x86: 540_000.0,
            invocations: 3_000_000,
            ..Usage::default()
        };
        assert!((prices.dollars(&usage) - 9.60).abs() < 0.001);
        // 10,000 GET, 1,000 PUT, 100 GB for 30 days.
        let store = Usage {
            store_get: 10_000,
            store_put: 1_000,
            store_byte_s: 100e9 * 30.0 * 86_400.0,
            ..Usage::default()
        };
        assert!(close(prices.dollars(&store), 0.004 + 0.005 + 2.3));
        assert_eq!(prices.dollars(&Usage::default()), 0.0);
        let moved = Usage {
            peer_bytes: 1 << 40,
            internet_bytes: 1 << 40,
            ..Usage::default()
        };
        assert_eq!(
            prices.dollars(&moved),
            0.0,
            "transfer is not counted unless it is priced"
        );
    }

    #[test]
    fn sums_and_differences_are_exact() {
        let (mut total, mut half) = (Usage::default(), Usage::default());
        half.add_invocation(KIND, 0.5);
        half.store_get = 7;
        total += half;
        total += half;
        assert_eq!(total - half, half);
        assert_eq!(total.invocations, 2);
    }

    #[test]
    fn a_table_names_itself_and_prices_are_prices() {
        let read = |text: &str| Prices::parse(text);
        let changed =
            read(r#"{"name": "eu-west-1, 2026-05", "store_get": 0.00000043}"#).expect("sound");
        assert_eq!(changed.store_get, 0.000_000_43);
        assert_eq!(changed.lambda_x86_gb_s, Prices::default().lambda_x86_gb_s);
        for (text, expected) in [
            (r#"{"store_get": 1}"#, "has no name"),
            (r#"{"name": "x", "store_get": -1}"#, "store_get is -1"),
            (r#"{"name": "x", "store_get": 5000}"#, "store_get is 5000"),
            (r#"{"name": "x", "get": 1}"#, "unknown field `get`"),
            ("[1]", "has no name"),
            ("{", "EOF"),
        ] {
            let reason = read(text).expect_err(expected);
            assert!(reason.starts_with(expected), "{reason}");
        }
    }

    #[test]
    fn an_estimate_counts_generations_and_the_longer_of_computing_and_moving() {
        let fleet = Fleet {
            workers: 4,
            cores: 1,
            kind: KIND,
            timeout_s: 103.0,
            gflops: 10.0,
            bytes_s: 75e6,
            startup_s: 3.0,
        };
        let work = Work {
            flops: 10_000_000_000_000,
            store_get: 5,
            store_put: 6,
            ..Work::default()
        };
        assert!(close(fleet.duration_s(&work), 250.0));
        let usage = fleet.usage(&work);
        assert_eq!(
            (usage.invocations, usage.store_get, usage.store_put),
            (12, 5, 6)
        );
        assert!(close(usage.gb_s_x86, 2.0 * 4.0 * (250.0 + 9.0)));
        let moving = Work {
            peer: 300_000_000_000,
            ..work
        };
        assert!(close(fleet.duration_s(&moving), 1_000.0));
        let cost = Prices::default().report(&usage, &usage);
        assert!(cost.estimate > 0.0 && cost.estimate == cost.measured && cost.invocations == 12);
        assert_eq!(cost.table, "aws us-east-1, 2026-05");
    }
}
