//! Plans all queries of a bound program: for each reference of a statement, and each way from it
//! through aliases, which tasks it connects with a tile.

use super::bind::alias;
use super::code::Id;
use super::error::{Diagnosis, ProgramError, Span};
use super::fold::Folder;
use super::model::{Access, Model, Nest, OutputDecl, Pattern, Step, TaskDecl};
use super::planner::Planner;
use super::query::{Query, SLOTS_MAX};

/// Ways from references through aliases to families; the shipped programs have under 200.
const QUERIES_MAX: usize = 10_000;

/// Queries by the family that they ask about.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    pub(crate) readers: Vec<Vec<Query>>,
    pub(crate) writers: Vec<Vec<Query>>,
    pub(crate) results: Vec<Vec<Query>>,
    /// For each statement, the tasks whose leading input comes from the program's inputs; `None`
    /// where every task must be looked at.
    pub(crate) starters: Vec<Option<Vec<Query>>>,
}

/// Plans the queries.
pub(crate) struct Build<'a, 'b> {
    pub(crate) model: &'a Model,
    pub(crate) folder: &'a mut Folder<'b>,
    /// A node for each variable.
    pub(crate) names: Vec<Id>,
    pub(crate) count: usize,
}

/// A way from a reference to a family: the aliases on it.
struct Way {
    family: u16,
    aliases: Vec<usize>,
}

impl Build<'_, '_> {
    pub(crate) fn queries(
        mut self,
        tasks: &[TaskDecl],
        outputs: &[OutputDecl],
    ) -> Result<Queries, ProgramError> {
        let families = self.model.families.len();
        let blank = || {
            (0..families)
                .map(|_| Vec::new())
                .collect::<Vec<Vec<Query>>>()
        };
        let mut queries = Queries {
            readers: blank(),
            writers: blank(),
            results: blank(),
            starters: Vec::new(),
        };
        for (owner, task) in tasks.iter().enumerate() {
            let owner = owner as u16;
            for access in &task.outs {
                let way = Way {
                    family: access.family,
                    aliases: Vec::new(),
                };
                let query = self.query(owner, &task.nest, access, &way, true, access.span)?;
                queries.writers[usize::from(access.family)].extend(query);
            }
            for access in &task.ins {
                for way in self.ways(access.family) {
                    let query = self.query(owner, &task.nest, access, &way, true, access.span)?;
                    queries.readers[usize::from(way.family)].extend(query);
                }
            }
            let starters = self.starters(owner, task)?;
            queries.starters.push(starters);
        }
        for (owner, output) in outputs.iter().enumerate() {
            for way in self.ways(output.access.family) {
                let span = output.access.span;
                let query =
                    self.query(owner as u16, &output.nest, &output.access, &way, true, span)?;
                queries.results[usize::from(way.family)].extend(query);
            }
        }
        Ok(queries)
    }

    /// The tasks of `task` whose most telling input may be one of the program's.
    fn starters(
        &mut self,
        owner: u16,
        task: &TaskDecl,
    ) -> Result<Option<Vec<Query>>, ProgramError> {
        let is_input = |family: u16| self.model.families[usize::from(family)].input.is_some();
        // A reference straight to an input family excludes no task.
        let telling = |access: &&Access| access.when.is_none() && !is_input(access.family);
        let Some(access) = task
            .ins
            .iter()
            .find(telling)
            .or(task.ins.iter().find(|a| a.when.is_none()))
        else {
            return Ok(None);
        };
        let mut queries = Vec::new();
        for way in self.ways(access.family) {
            if is_input(way.family) {
                queries.extend(self.query(owner, &task.nest, access, &way, false, access.span)?);
            }
        }
        Ok(Some(queries))
    }

    fn ways(&self, family: u16) -> Vec<Way> {
        let mut out = vec![Way {
            family,
            aliases: Vec::new(),
        }];
        let mut at = 0;
        while at < out.len() && out.len() <= QUERIES_MAX {
            for place in &self.model.families[usize::from(out[at].family)].aliases {
                let mut aliases = out[at].aliases.clone();
                aliases.push(*place);
                out.push(Way {
                    family: self.model.aliases[*place].target.family,
                    aliases,
                });
            }
            at += 1;
        }
        out
    }

    /// The query for the tasks (or outputs) whose `access` leads by `way` to the tile at the
    /// coordinates, or to any tile when `coords` is false; none if that cannot be.
    fn query(
        &mut self,
        owner: u16,
        nest: &Nest,
        reference: &Access,
        way: &Way,
        coords: bool,
        span: Span,
    ) -> Result<Option<Query>, ProgramError> {
        let limit = |text: &str| {
            let diagnosis: Diagnosis = self.model.sources.diagnose(span, text);
            Err(ProgramError::TooLarge(Box::new(diagnosis)))
        };
        self.count += 1;
        if self.count > QUERIES_MAX {
            return limit("too many aliases lead away from this tile");
        }
        let mut next = nest.names.len();
        let vars: usize = way
            .aliases
            .iter()
            .map(|a| usize::from(self.model.aliases[*a].vars))
            .sum();
        let rank = self.model.families[usize::from(way.family)].indices.len();
        if next + vars + rank > SLOTS_MAX {
            return limit("too many variables on the way through aliases from this tile");
        }
        // Everything is folded before the planner looks at the code.
        let mut index = reference.index.clone();
        let mut hops = Vec::new();
        for place in &way.aliases {
            let decl = &self.model.aliases[*place];
            let folded = alias(self.folder, decl, next as u8);
            next += usize::from(decl.vars);
            let target = folded.target.index.clone();
            hops.push((std::mem::replace(&mut index, target), folded));
        }
        let names = &self.names;
        let mut planner = Planner::new(self.folder.code());
        for step in &nest.steps {
            match *step {
                Step::Loop {
                    slot, lo, hi, step, ..
                } => {
                    planner.loop_var(slot, names[usize::from(slot)], lo, hi, step);
                }
                Step::Let { slot, value } => planner.let_var(slot, names[usize::from(slot)], value),
                Step::Where { slot, value, .. } => planner.hint(slot, value),
                Step::Guard { cond, want } => planner.truth(cond, want),
            }
        }
        if let Some(when) = reference.when {
            planner.truth(when, true);
        }
        for (index, hop) in &hops {
            for (pattern, value) in hop.patterns.iter().zip(index) {
                match *pattern {
                    Pattern::Bind(slot) => planner.let_var(slot, names[usize::from(slot)], *value),
                    Pattern::Equal(id) => planner.equal(*value, id),
                }
            }
            if let Some(when) = hop.target.when {
                planner.truth(when, true);
            }
        }
        if coords {
            for (at, value) in index.iter().enumerate() {
                planner.equal(*value, names[next + at]);
            }
        }
        Ok(planner.plan().map(|ops| Query {
            owner,
            coords: next as u8,
            ops,
        }))
    }
}
