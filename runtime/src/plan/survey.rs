//! Looks at every task of a plan once, before anything runs: kernels, signatures, sizes, sums. Never
//! builds a graph.

use peerwren_kernels::op::TaskShapes;

use super::{Plan, PlanError, id_of, program_error};

impl Plan {
    /// Checks every task of the newest phase once and adds up what the phase takes.
    pub(super) fn survey(&mut self) -> Result<(), PlanError> {
        let number = self.phases.len() - 1;
        let (mut tasks, mut flops, mut made) = (0_u64, 0_u64, 0_u64);
        let mut largest = self.largest.clone();
        let mut block_bytes_max = self.block_bytes_max;
        let file = self.phases[number].spec.file.clone();
        for task in self.phases[number].bound.tasks() {
            let name = self.phases[number].bound.kernel(task.stmt);
            let Some(kernel) = self.kernels.get(name) else {
                let known: Vec<_> = self.kernels.iter().map(|op| op.name().to_owned()).collect();
                let (kernel, known) = (name.to_owned(), known.join(", "));
                return Err(PlanError::NoKernel {
                    file,
                    kernel,
                    known,
                });
            };
            let bound = &self.phases[number].bound;
            for slots in [bound.inputs(task), bound.outputs(task)] {
                for tile in slots.map_err(program_error)?.present() {
                    bound.shape(tile).map_err(program_error)?;
                }
            }
            let id = id_of(number, task);
            let (inputs, outputs) = (self.input_slots(&id), self.output_slots(&id));
            let (inputs, outputs) = (self.shapes(&inputs), self.shapes(&outputs));
            let shapes = TaskShapes {
                inputs: &inputs,
                outputs: &outputs,
            };
            kernel
                .check(&shapes)
                .map_err(|error| PlanError::Signature {
                    file: file.clone(),
                    kernel: name.to_owned(),
                    at: task.at.to_string(),
                    error: error.to_string(),
                })?;
            let blocks = inputs
                .iter()
                .chain(&outputs)
                .flatten()
                .map(|shape| shape.bytes() as u64);
            block_bytes_max = blocks.clone().fold(block_bytes_max, u64::max);
            let need = blocks.sum::<u64>() + kernel.scratch_words(&shapes) as u64 * 8;
            if need > largest.0 {
                largest = (need, name.to_owned());
            }
            tasks += 1;
            made += outputs.iter().flatten().count() as u64;
            flops += kernel.flops(&shapes);
        }
        self.made += made;
        self.largest = largest;
        self.block_bytes_max = block_bytes_max;
        let phase = &mut self.phases[number];
        (phase.tasks, phase.flops) = (tasks, flops);
        Ok(())
    }
}
