//! How fast kernels are taken to run on one thread: given, never measured here.

use std::collections::BTreeMap;

use super::task::Work;
use crate::prices::Fleet;

/// Bytes a second that a kernel without operations is taken to read and write where none was measured.
const BYTES_S_ASSUMED: f64 = 2e9;

/// Rates by kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    flops: BTreeMap<String, f64>,
    bytes: BTreeMap<String, f64>,
    /// Of kernels that are not in these: operations and bytes a second.
    others: [f64; 2],
}

/// What a kernel's duration follows, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    /// Operations or bytes a second.
    pub(super) per_s: f64,
    pub(super) is_measured: bool,
}

impl Rates {
    /// Rates of kernels by name: operations a second, and bytes a second of those that have no operations.
    /// A kernel without a rate takes the median of those of its kind; without any, operations take
    /// [`Fleet::GFLOPS_ASSUMED`] and bytes 2 GB/s. Rates that are not positive are left out.
    #[must_use]
    pub fn new(flops: BTreeMap<String, f64>, bytes: BTreeMap<String, f64>) -> Self {
        let positive = |mut rates: BTreeMap<String, f64>| {
            rates.retain(|_, rate| rate.is_finite() && *rate > 0.0);
            rates
        };
        let (flops, bytes) = (positive(flops), positive(bytes));
        let others = [
            median(&flops).unwrap_or(Fleet::GFLOPS_ASSUMED * 1e9),
            median(&bytes).unwrap_or(BYTES_S_ASSUMED),
        ];
        Self {
            flops,
            bytes,
            others,
        }
    }

    /// The rates that are assumed where none is measured.
    #[must_use]
    pub fn assumed() -> Self {
        Self::new(BTreeMap::new(), BTreeMap::new())
    }

    /// Whether any kernel's rate was measured.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        !self.flops.is_empty() || !self.bytes.is_empty()
    }

    /// Kernels with rates of their own: operations a second, or bytes where a kernel has no operations.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        let all = self.flops.iter().chain(&self.bytes);
        all.map(|(kernel, per_s)| (kernel.as_str(), *per_s))
    }

    pub(super) fn rate(&self, kernel: &str, work: Work) -> Rate {
        let (known, other) = match work {
            Work::Flops(_) => (&self.flops, self.others[0]),
            Work::Bytes(_) => (&self.bytes, self.others[1]),
        };
        match known.get(kernel) {
            Some(&per_s) => Rate {
                per_s,
                is_measured: true,
            },
            None => Rate {
                per_s: other,
                is_measured: false,
            },
        }
    }

    /// How long a task takes on one thread.
    pub(super) fn seconds(&self, kernel: &str, work: Work) -> f64 {
        let (Work::Flops(amount) | Work::Bytes(amount)) = work;
        amount as f64 / self.rate(kernel, work).per_s
    }
}

fn median(rates: &BTreeMap<String, f64>) -> Option<f64> {
    let mut rates: Vec<f64> = rates.values().copied().collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied()
}
