//! A kernel's error in the terms of the whole matrix. Knows tiles and tasks, not what a kernel computes.

use peerwren_kernels::op::KernelError;

use super::{Plan, TaskId};

impl Plan {
    /// Says why a task has no result. A row of a tile becomes a row of the matrix: the tile is the
    /// task's first output, its first index counts tiles of the program's `nb` rows.
    #[must_use]
    pub fn explain(&self, task: &TaskId, error: &KernelError) -> String {
        let in_matrix = |order: usize| order as u64 + self.first_row(task);
        match *error {
            KernelError::NotPositiveDefinite { order } => {
                let order = in_matrix(order);
                let error = KernelError::NotPositiveDefinite {
                    order: usize::try_from(order).unwrap_or(usize::MAX),
                };
                format!("{error}: the matrix is not positive definite")
            }
            KernelError::Singular { order } => format!(
                "diagonal entry {} of the triangle is exactly zero: the matrix is singular",
                in_matrix(order)
            ),
            _ => error.to_string(),
        }
    }

    fn first_row(&self, task: &TaskId) -> u64 {
        let bound = &self.phases[usize::from(task.phase)].bound;
        let rows = bound.params().get("nb").copied().unwrap_or(0);
        let output = self.outputs(task).into_iter().next();
        let tile = output.and_then(|key| key.indices.get(0)).unwrap_or(0);
        u64::try_from(i64::from(tile) * rows).unwrap_or(0)
    }
}
