//! Small programs as graphs for Graphviz. Never used where a program runs.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::bound::Bound;
use super::error::{ProgramError, Span};
use super::task::Task;

/// Tasks of a graph that a person, and Graphviz, can still take in.
const TASKS_MAX: u64 = 1_000;

impl Bound {
    /// Draws the program in Graphviz's language: a box for each task, an arrow for each tile that one
    /// task makes and another reads; tasks that make a tile of an output have a double line.
    ///
    /// # Errors
    ///
    /// [`ProgramError::TooLarge`] beyond 1,000 tasks, [`ProgramError::Text`] where a task has no value.
    pub fn to_dot(&self) -> Result<String, ProgramError> {
        let count = self.task_count();
        if count > TASKS_MAX {
            let text = format!(
                "{} has {count} tasks at these parameters; a graph is drawn of up to {TASKS_MAX}",
                self.program_name()
            );
            let diagnosis = self.inner.model.sources.diagnose(Span::default(), text);
            let help = "give smaller parameters: fewer tiles show the same shape";
            return Err(ProgramError::TooLarge(Box::new(diagnosis.help(help))));
        }
        let tasks: Vec<Task> = self.tasks().collect();
        let number: BTreeMap<Task, usize> = tasks.iter().copied().zip(0..).collect();
        let mut out = format!("digraph {} {{\n  node [shape=box];\n", self.program_name());
        let mut readers = Vec::new();
        for (at, task) in tasks.iter().enumerate() {
            let failed = |error| ProgramError::Text(Box::new(self.diagnosis_of(error)));
            let outputs = self.outputs(*task).map_err(failed)?;
            self.inputs(*task).map_err(failed)?;
            let is_result = outputs.present().any(|tile| self.is_result(tile, |_| true));
            let lines = if is_result { ", peripheries=2" } else { "" };
            // Names have letters, digits and `_` alone: nothing needs escaping.
            let _ = writeln!(out, "  t{at} [label=\"{}\"{lines}];", self.describe(*task));
            for tile in outputs.present() {
                readers.clear();
                self.readers(tile, &mut readers);
                for reader in readers.iter().filter_map(|reader| number.get(reader)) {
                    let name = self.describe_tile(tile);
                    let _ = writeln!(out, "  t{at} -> t{reader} [label=\"{name}\"];");
                }
            }
        }
        out.push_str("}\n");
        Ok(out)
    }
}
