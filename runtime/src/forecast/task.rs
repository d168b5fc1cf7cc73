//! One task of a plan as a forecast sees it: its blocks, their shapes, and how much work it is.

use peerwren_kernels::op::{KernelOp, TaskShapes};
use peerwren_kernels::tile::Shape;
use peerwren_transports::block::BlockKey;

use crate::plan::{Plan, TaskId};

/// A task's blocks and its work.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// In the order of the kernel's arguments.
    pub(super) inputs: Vec<Option<BlockKey>>,
    /// In the order of the kernel's results.
    pub(super) outputs: Vec<Option<BlockKey>>,
    /// Shapes of the inputs.
    pub(super) input_shapes: Vec<Option<Shape>>,
    /// Shapes of the outputs.
    pub(super) output_shapes: Vec<Option<Shape>>,
    /// What the inputs likely come to.
    pub(super) input_bytes: Vec<Option<u64>>,
    /// What the outputs likely come to.
    pub(super) output_bytes: Vec<Option<u64>>,
    /// Useful floating-point operations.
    pub(super) flops: u64,
}

impl View {
    pub(super) fn of(plan: &Plan, task: &TaskId) -> Self {
        let (inputs, outputs) = (plan.input_slots(task), plan.output_slots(task));
        let (input_shapes, output_shapes) = (plan.shapes(&inputs), plan.shapes(&outputs));
        let flops = kernel(plan, task).flops(&TaskShapes {
            inputs: &input_shapes,
            outputs: &output_shapes,
        });
        let likely = |(key, shape): (&Option<BlockKey>, &Option<Shape>)| match (*shape)? {
            shape if shape.is_exact() => Some(shape.bytes() as u64),
            _ => Some(plan.likely_bytes(key.as_ref()?)),
        };
        let (ins, outs) = (
            inputs.iter().zip(&input_shapes),
            outputs.iter().zip(&output_shapes),
        );
        Self {
            input_bytes: ins.map(likely).collect(),
            output_bytes: outs.map(likely).collect(),
            inputs,
            outputs,
            input_shapes,
            output_shapes,
            flops,
        }
    }

    /// What its duration is taken to be proportional to.
    pub(super) fn work(&self) -> Work {
        match self.flops {
            0 => Work::Bytes(bytes(&self.input_shapes) + bytes(&self.output_shapes)),
            flops => Work::Flops(flops),
        }
    }

    /// Each input once, with its bytes.
    pub(super) fn reads(&self) -> Vec<(BlockKey, u64)> {
        let mut reads: Vec<(BlockKey, u64)> = Vec::with_capacity(self.inputs.len());
        for (key, bytes) in pairs(&self.inputs, &self.input_bytes) {
            if reads.iter().all(|(known, _)| *known != key) {
                reads.push((key, bytes));
            }
        }
        reads
    }

    /// Each output with its bytes.
    pub(super) fn makes(&self) -> impl Iterator<Item = (BlockKey, u64)> {
        pairs(&self.outputs, &self.output_bytes)
    }
}

/// How much a task has to do: operations, or bytes read and written where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Flops(u64),
    Bytes(u64),
}

pub(super) fn kernel<'a>(plan: &'a Plan, task: &TaskId) -> &'a KernelOp {
    let name = plan.kernel(task);
    plan.kernels().get(name).expect("the plan was checked")
}

fn pairs(
    keys: &[Option<BlockKey>],
    bytes: &[Option<u64>],
) -> impl Iterator<Item = (BlockKey, u64)> {
    let pairs = keys.iter().zip(bytes);
    pairs.filter_map(|(key, bytes)| Some(((*key)?, (*bytes)?)))
}

pub(super) fn bytes(shapes: &[Option<Shape>]) -> u64 {
    shapes.iter().flatten().map(|s| s.bytes() as u64).sum()
}
