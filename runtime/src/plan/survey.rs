//! Looks at every task of a plan once, before anything runs: kernels, signatures, single assignment,
//! sizes, sums. Never builds a graph.

use std::collections::BTreeMap;

use peerwren_kernels::op::{KernelOp, TaskShapes};
use peerwren_kernels::tile::Shape;

use super::{Family, InputFrom, Plan, PlanError, task_error};
use crate::lambdapack::{Bound, CHECKED_TASKS_MAX, Program, Slots, Task, is_circle};

/// Tasks whose writers are looked for one by one; of more, so many evenly spread: 2 ** 17 x 7 tiles of
/// 1 us are 1 s.
const WRITERS_CHECKED_MAX: u64 = 1 << 17;

/// What the tasks of a phase come to.
#[derive(Default)]
struct Sums {
    tasks: u64,
    flops: u64,
    made: u64,
}

impl Plan {
    /// Checks the newest phase's program if no test has: unrolled where it is small, else on small
    /// models. What is wrong with those alone is a warning, but for tasks that wait for each other.
    pub(super) fn check_program(&mut self, program: &Program) -> Result<(), PlanError> {
        let Some(phase) = self.phases.last().filter(|_| !program.is_shipped()) else {
            return Ok(());
        };
        if phase.bound.task_count() <= CHECKED_TASKS_MAX {
            phase.bound.check()?;
        } else {
            let given: BTreeMap<String, i64> = phase.spec.params.iter().cloned().collect();
            match program.check_models_like(&given) {
                Ok(_) => {}
                Err(error) if is_circle(&error) => return Err(error.into()),
                Err(error) => self.warnings.push(error.diagnosis().clone()),
            }
        }
        Ok(())
    }

    /// Checks every task of the newest phase once and adds up what the phase takes.
    pub(super) fn survey(&mut self) -> Result<(), PlanError> {
        let number = self.phases.len() - 1;
        let bound = self.phases[number].bound.clone();
        let kernels = self.kernels_of(&bound)?;
        let spread = bound.task_count().div_ceil(WRITERS_CHECKED_MAX).max(1);
        let mut sums = Sums::default();
        for task in bound.tasks() {
            let ins = bound.inputs(task).map_err(task_error(&bound))?;
            let outs = bound.outputs(task).map_err(task_error(&bound))?;
            if sums.tasks.is_multiple_of(spread) {
                bound.check_task(task, &ins, &outs)?;
            }
            let kernel = &kernels[usize::from(task.stmt)];
            self.add_task(number, &bound, kernel, task, (&ins, &outs), &mut sums)?;
        }
        self.made += sums.made;
        let phase = &mut self.phases[number];
        (phase.tasks, phase.flops) = (sums.tasks, sums.flops);
        Ok(())
    }

    /// The kernel of each statement.
    fn kernels_of(&self, bound: &Bound) -> Result<Vec<KernelOp>, PlanError> {
        let find = |stmt: u16| {
            let name = bound.kernel(stmt);
            self.kernels.get(name).cloned().ok_or_else(|| {
                let known: Vec<_> = self.kernels.iter().map(KernelOp::name).collect();
                let diagnosis = bound.fault_at(stmt, format!("no kernel `{name}`"));
                let help = format!("there are: {}", known.join(", "));
                PlanError::NoKernel(Box::new(diagnosis.help(help)))
            })
        };
        (0..bound.statements()).map(find).collect()
    }

    fn add_task(
        &mut self,
        number: usize,
        bound: &Bound,
        kernel: &KernelOp,
        task: Task,
        (ins, outs): (&Slots, &Slots),
        sums: &mut Sums,
    ) -> Result<(), PlanError> {
        let inputs = self.slot_shapes(number, bound, ins)?;
        let outputs = self.slot_shapes(number, bound, outs)?;
        let shapes = TaskShapes {
            inputs: &inputs[..ins.len()],
            outputs: &outputs[..outs.len()],
        };
        kernel.check(&shapes).map_err(|error| {
            let text = format!("{error} at {}", bound.describe(task));
            PlanError::Signature(Box::new(bound.fault_at(task.stmt, text)))
        })?;
        let blocks = inputs.iter().chain(&outputs).flatten();
        let mut need = kernel.scratch_words(&shapes) as u64 * 8;
        for shape in blocks {
            let bytes = shape.bytes() as u64;
            self.block_bytes_max = self.block_bytes_max.max(bytes);
            need += bytes;
        }
        if need > self.largest.0 {
            self.largest = (need, kernel.name().to_owned());
        }
        sums.tasks += 1;
        sums.made += outs.present().count() as u64;
        sums.flops += kernel.flops(&shapes);
        Ok(())
    }

    /// The shapes of a task's tiles; those of a link are its block's.
    fn slot_shapes(
        &self,
        number: usize,
        bound: &Bound,
        slots: &Slots,
    ) -> Result<[Option<Shape>; 8], PlanError> {
        let mut shapes = [None; 8];
        for (shape, tile) in shapes.iter_mut().zip(slots.iter()) {
            let Some(tile) = *tile else { continue };
            let declared = bound.shape(tile).map_err(task_error(bound))?;
            if !declared.is_exact() {
                bound.likely_shape(tile).map_err(task_error(bound))?;
            }
            let family = &self.families[usize::from(self.phases[number].base + tile.family)];
            *shape = Some(match family {
                Family::Link { .. } => self.shape(&self.key(number, tile)),
                _ => declared,
            });
        }
        Ok(shapes)
    }

    /// Looks for tiles that nobody reads, in phases that are not shipped.
    pub(super) fn warn(&mut self) {
        let mut warnings = std::mem::take(&mut self.warnings);
        for (number, phase) in self.phases.iter().enumerate() {
            if phase.is_shipped || phase.tasks > CHECKED_TASKS_MAX {
                continue;
            }
            for (family, warning) in phase.bound.dead_blocks() {
                let name = phase.bound.family_name(family);
                let later = self.phases[number..]
                    .iter()
                    .flat_map(|phase| &phase.spec.inputs);
                let mut links = later.filter_map(|(_, from)| match from {
                    InputFrom::Phase(of, name) => Some((usize::from(*of), name.as_str())),
                    InputFrom::Matrix(..) => None,
                });
                if !links.any(|link| link == (number, name)) {
                    warnings.push(warning);
                }
            }
        }
        self.warnings = warnings;
    }
}
