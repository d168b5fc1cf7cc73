//! How long a task takes on a simulated core. Follows the fleet's figures alone, never a clock.

use std::collections::BTreeMap;

use super::fleet::KernelModel;
use crate::plan::{Plan, TaskId};

/// Rates of kernels, found once.
#[derive(Debug)]
pub(super) struct Kernels {
    model: KernelModel,
    /// By kernel: tile sides, rising, and what is done at each in a second.
    at: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Kernels {
    pub(super) fn new(model: &KernelModel) -> Self {
        let sides = |sides: &BTreeMap<String, f64>| {
            let points = sides.iter().filter_map(|(side, rate)| {
                let side: f64 = side.parse().ok()?;
                Some((side, rate * 1e9))
            });
            let mut points: Vec<(f64, f64)> = points.collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            points
        };
        let at = model.at.iter();
        Self {
            at: at
                .map(|(kernel, known)| (kernel.clone(), sides(known)))
                .filter(|(_, points)| !points.is_empty())
                .collect(),
            model: model.clone(),
        }
    }

    /// Nanoseconds of a task's kernel, on a core that nothing disturbs.
    pub(super) fn nanos(&self, plan: &Plan, task: &TaskId) -> f64 {
        let (inputs, outputs) = (plan.input_slots(task), plan.output_slots(task));
        let (inputs, outputs) = (plan.shapes(&inputs), plan.shapes(&outputs));
        let shapes = || inputs.iter().chain(&outputs).flatten();
        let flops = plan.facts(task).flops;
        let side = shapes().map(|shape| {
            let (rows, cols) = shape.dense();
            (rows as f64 * cols as f64).sqrt()
        });
        let side = side.fold(1.0, f64::max);
        let work = if flops > 0 {
            flops as f64
        } else {
            shapes().map(|shape| shape.bytes() as f64).sum()
        };
        work / self.rate(plan.kernel(task), side, flops > 0) * 1e9
    }

    /// What is done in a second.
    fn rate(&self, kernel: &str, side: f64, has_flops: bool) -> f64 {
        let Some(points) = self.at.get(kernel) else {
            return if has_flops {
                self.model.gflops * 1e9 * side / (side + self.model.half_block)
            } else {
                self.model.bytes_s
            };
        };
        let above = points.partition_point(|(known, _)| *known < side);
        match (above.checked_sub(1).map(|at| points[at]), points.get(above)) {
            (None, Some((_, rate))) => *rate,
            (Some((_, rate)), None) => rate,
            (Some((low, slow)), Some(&(high, fast))) => {
                let part = (side - low) / (high - low);
                slow + part * (fast - slow)
            }
            (None, None) => self.model.bytes_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_the_tile() {
        let at = BTreeMap::from([("128".to_owned(), 20.0), ("512".to_owned(), 50.0)]);
        let kernels = Kernels::new(&KernelModel {
            gflops: 60.0,
            half_block: 100.0,
            bytes_s: 3e9,
            task_s: 0.0,
            spread: 0.0,
            at: BTreeMap::from([("gemm".to_owned(), at)]),
        });
        let table = [
            ("gemm", 64.0, true, 20e9),
            ("gemm", 128.0, true, 20e9),
            ("gemm", 320.0, true, 35e9),
            ("gemm", 512.0, true, 50e9),
            ("gemm", 4096.0, true, 50e9),
            ("trsm", 100.0, true, 30e9),
            ("trsm", 500.0, true, 50e9),
            ("copy", 500.0, false, 3e9),
        ];
        for (kernel, side, has_flops, expected) in table {
            let rate = kernels.rate(kernel, side, has_flops);
            assert_eq!(rate, expected, "{kernel} at {side}");
        }
    }
}
