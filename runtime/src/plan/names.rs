//! What a plan's statements, families, blocks and tasks are called where people read of them.

use peerwren_transports::block::BlockKey;

use super::{Family, Plan, TaskId};
use crate::control::{Moves, Purpose};

impl Plan {
    /// The names of all families by number: a family's own where no other phase has one of that name,
    /// else `PROGRAM.NAME`, or `PROGRAM@PHASE.NAME` where several phases run one program.
    #[must_use]
    pub fn family_labels(&self) -> Vec<String> {
        let own: Vec<_> = (0..self.families.len())
            .map(|number| {
                let after = self
                    .phases
                    .partition_point(|phase| usize::from(phase.base) <= number);
                let phase = &self.phases[after - 1];
                let family = u16::try_from(number).expect("families are numbered by u16");
                (after - 1, phase.bound.family_name(family - phase.base))
            })
            .collect();
        // A link has no blocks of its own.
        let is_shared = |name: &str| {
            let families = own.iter().zip(&self.families);
            let owners = families
                .filter(|((_, n), family)| *n == name && !matches!(family, Family::Link { .. }));
            owners.count() > 1
        };
        own.iter()
            .map(|(phase, name)| match is_shared(name) {
                true => format!("{}.{name}", self.phase_label(*phase)),
                false => (*name).to_owned(),
            })
            .collect()
    }

    /// The name of a phase's program, with the phase's number from 1 where several run it.
    fn phase_label(&self, phase: usize) -> String {
        let stem = |phase: &super::Phase| {
            let file = phase.spec.file.as_str();
            file.strip_suffix(".lp").unwrap_or(file).to_owned()
        };
        let name = stem(&self.phases[phase]);
        let runs = self.phases.iter().filter(|other| stem(other) == name);
        if runs.count() > 1 {
            format!("{name}@{}", phase + 1)
        } else {
            name
        }
    }

    /// File and line, from 1, of a statement's kernel call.
    #[must_use]
    pub fn statement_place(&self, phase: usize, stmt: u16) -> (&str, usize) {
        self.phases[phase].bound.statement_place(stmt)
    }

    /// Whether a worker's counts speak of a statement and a family that there are.
    #[must_use]
    pub fn knows(&self, moves: &Moves) -> bool {
        let has_statement = match moves.purpose {
            Purpose::Task { phase, stmt } => {
                let phase = self.phases.get(usize::from(phase));
                phase.is_some_and(|phase| stmt < phase.bound.statements())
            }
            Purpose::Preload | Purpose::Handover => true,
        };
        has_statement && usize::from(moves.family) < self.families.len()
    }

    /// The kernel that a statement calls.
    #[must_use]
    pub fn statement_kernel(&self, phase: usize, stmt: u16) -> &str {
        self.phases[phase].bound.kernel(stmt)
    }

    /// `tsmqr(k=0, i=1, j=2)`: a task as people read it.
    #[must_use]
    pub fn describe(&self, task: &TaskId) -> String {
        let (phase, task) = self.of(task);
        self.phases[phase].bound.describe(task)
    }
}

/// `V[1,0]`: a block as people read it. `labels` are [`Plan::family_labels`].
#[must_use]
pub fn block_name(labels: &[String], key: &BlockKey) -> String {
    match labels.get(usize::from(key.matrix)) {
        Some(label) => format!("{label}[{}]", key.indices),
        None => key.to_string(),
    }
}
