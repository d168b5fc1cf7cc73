//! Binds a program to parameters: checks what it requires, folds every expression, plans every
//! query. Never evaluates a task.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bound::{Bound, Inner};
use super::code::{Fault, Id};
use super::error::{Diagnosis, ProgramError, Span};
use super::fold::Folder;
use super::model::{
    Access, AliasDecl, FamilyDecl, Flow, Model, Nest, OutputDecl, Pattern, ShapeTree, Step, TaskDecl,
};
use super::planner::Planner;
use super::query::{Query, SLOTS_MAX};
use super::walk;

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

/// Binds `model` to `params`.
pub(crate) fn bind(model: &Arc<Model>, given: &BTreeMap<String, i64>) -> Result<Bound, ProgramError> {
    let params = parameters(model, given)?;
    for (cond, text, span) in &model.requires {
        match evaluate(model, *cond, &params) {
            Ok(0) => return Err(refused(model, *span, text.clone(), given)),
            Ok(_) => {}
            Err((span, text)) => return Err(refused(model, span, text, given)),
        }
    }
    let mut folder = Folder::new(&model.code, &params);
    let families: Vec<FamilyDecl> = model.families.iter().map(|f| family(&mut folder, f)).collect();
    let aliases: Vec<AliasDecl> = model.aliases.iter().map(|a| alias(&mut folder, a, 0)).collect();
    let tasks: Vec<TaskDecl> = model.tasks.iter().map(|t| task(&mut folder, t)).collect();
    let outputs: Vec<OutputDecl> = model.outputs.iter().map(|o| output(&mut folder, o)).collect();
    let body = walk::flatten(&flows(&mut folder, &model.body));
    let output_walk = walk::of_nests(outputs.iter().map(|o| &o.nest));
    let input_nests = families.iter().enumerate().filter_map(|(at, f)| Some((at, f.input.as_ref()?)));
    let input_walk = walk::of_numbered_nests(input_nests);
    let names = (0..SLOTS_MAX as u8).map(|slot| folder.var(slot, 0)).collect();
    let queries = Build { model, folder: &mut folder, names, count: 0 }.queries(&tasks, &outputs)?;
    let code = folder.finish();
    let mut inner = Inner {
        model: model.clone(),
        params,
        code,
        families,
        aliases,
        tasks,
        outputs,
        body,
        output_walk,
        input_walk,
        queries,
        counts: Vec::new(),
    };
    inner.counts = walk::count(&inner, &inner.body, inner.tasks.len())?;
    walk::count(&inner, &inner.output_walk, inner.outputs.len())?;
    walk::count(&inner, &inner.input_walk, inner.families.len())?;
    let bound = Bound::new(inner);
    bound.check_results()?;
    Ok(bound)
}

fn parameters(model: &Model, given: &BTreeMap<String, i64>) -> Result<Vec<i64>, ProgramError> {
    let start = Span::default();
    let names: Vec<&str> = model.params.iter().map(|p| p.name.as_str()).collect();
    if let Some(unknown) = given.keys().find(|name| !names.contains(&name.as_str())) {
        let text = format!("{} has no parameter `{unknown}`; it has: {}", model.name, names.join(", "));
        return Err(ProgramError::Parameters(Box::new(model.sources.diagnose(start, text))));
    }
    let mut values = Vec::new();
    for param in &model.params {
        let value = match (given.get(&param.name), param.default) {
            (Some(value), _) => *value,
            (None, Some(default)) => evaluate(model, default, &values)
                .map_err(|(span, text)| refused(model, span, text, given))?,
            (None, None) => {
                let text = format!("{} needs the parameter `{}`", model.name, param.name);
                return Err(ProgramError::Parameters(Box::new(model.sources.diagnose(start, text))));
            }
        };
        values.push(value);
    }
    Ok(values)
}

/// The value of an expression without variables.
fn evaluate(model: &Model, id: Id, params: &[i64]) -> Result<i64, (Span, String)> {
    let mut folder = Folder::new(&model.code, params);
    let id = folder.fold(id, 0);
    let code = folder.finish();
    code.eval(id, &[]).map_err(|Fault { kind, at }| (code.spans[at as usize], kind.text().to_owned()))
}

fn refused(model: &Model, span: Span, text: String, given: &BTreeMap<String, i64>) -> ProgramError {
    let given: Vec<String> = given.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let diagnosis = model.sources.diagnose(span, format!("{}: {text}", model.name));
    ProgramError::Parameters(Box::new(diagnosis.help(format!("given: {}", given.join(", ")))))
}

// Folding, one declaration at a time.

fn family(folder: &mut Folder<'_>, decl: &FamilyDecl) -> FamilyDecl {
    FamilyDecl {
        name: decl.name.clone(),
        span: decl.span,
        input: decl.input.as_ref().map(|nest| fold_nest(folder, nest)),
        indices: decl.indices.clone(),
        shape: shape(folder, &decl.shape),
        aliases: decl.aliases.clone(),
    }
}

fn shape(folder: &mut Folder<'_>, tree: &ShapeTree) -> ShapeTree {
    match tree {
        ShapeTree::Make { kind, rows, cols, span } => {
            ShapeTree::Make { kind: *kind, rows: folder.fold(*rows, 0), cols: folder.fold(*cols, 0), span: *span }
        }
        ShapeTree::If(cond, then, other) => {
            let cond = folder.fold(*cond, 0);
            match folder.code().constant(cond) {
                Some(known) => shape(folder, if known != 0 { then } else { other }),
                None => ShapeTree::If(cond, Box::new(shape(folder, then)), Box::new(shape(folder, other))),
            }
        }
    }
}

fn access(folder: &mut Folder<'_>, access: &Access, offset: u8) -> Access {
    Access {
        family: access.family,
        index: access.index.iter().map(|id| folder.fold(*id, offset)).collect(),
        when: access.when.map(|id| folder.fold(id, offset)),
        span: access.span,
    }
}

fn alias(folder: &mut Folder<'_>, decl: &AliasDecl, offset: u8) -> AliasDecl {
    let patterns = decl.patterns.iter().map(|pattern| match pattern {
        Pattern::Bind(slot) => Pattern::Bind(slot + offset),
        Pattern::Equal(id) => Pattern::Equal(folder.fold(*id, offset)),
    });
    let patterns = patterns.collect();
    AliasDecl { patterns, vars: decl.vars, target: access(folder, &decl.target, offset), span: decl.span }
}

fn fold_nest(folder: &mut Folder<'_>, nest: &Nest) -> Nest {
    let mut fold = |id: Id| folder.fold(id, 0);
    let steps = nest.steps.iter().map(|step| match *step {
        Step::Loop { slot, lo, hi, step, span } => {
            Step::Loop { slot, lo: fold(lo), hi: fold(hi), step: step.map(&mut fold), span }
        }
        Step::Let { slot, value } => Step::Let { slot, value: fold(value) },
        Step::Where { slot, value, span } => Step::Where { slot, value: fold(value), span },
        Step::Guard { cond, want } => Step::Guard { cond: fold(cond), want },
    });
    Nest { steps: steps.collect(), names: nest.names.clone() }
}

fn task(folder: &mut Folder<'_>, decl: &TaskDecl) -> TaskDecl {
    TaskDecl {
        kernel: decl.kernel.clone(),
        nest: fold_nest(folder, &decl.nest),
        outs: decl.outs.iter().map(|a| access(folder, a, 0)).collect(),
        ins: decl.ins.iter().map(|a| access(folder, a, 0)).collect(),
        home: decl.home.map(|id| folder.fold(id, 0)),
        prio: decl.prio.map(|id| folder.fold(id, 0)),
        span: decl.span,
    }
}

fn output(folder: &mut Folder<'_>, decl: &OutputDecl) -> OutputDecl {
    OutputDecl {
        output: decl.output,
        nest: fold_nest(folder, &decl.nest),
        access: access(folder, &decl.access, 0),
    }
}

fn flows(folder: &mut Folder<'_>, body: &[Flow]) -> Vec<Flow> {
    let mut out = Vec::new();
    for flow in body {
        out.push(match flow {
            Flow::Loop { slot, lo, hi, step, body, span } => Flow::Loop {
                slot: *slot,
                lo: folder.fold(*lo, 0),
                hi: folder.fold(*hi, 0),
                step: step.map(|id| folder.fold(id, 0)),
                body: flows(folder, body),
                span: *span,
            },
            Flow::If { cond, then, other } => {
                let cond = folder.fold(*cond, 0);
                Flow::If { cond, then: flows(folder, then), other: flows(folder, other) }
            }
            Flow::Let { slot, value } => Flow::Let { slot: *slot, value: folder.fold(*value, 0) },
            Flow::Task(id) => Flow::Task(*id),
        });
    }
    out
}

/// Plans the queries.
struct Build<'a, 'b> {
    model: &'a Model,
    folder: &'a mut Folder<'b>,
    /// A node for each variable.
    names: Vec<Id>,
    count: usize,
}

/// A way from a reference to a family: the aliases on it.
struct Way {
    family: u16,
    aliases: Vec<usize>,
}

impl Build<'_, '_> {
    fn queries(mut self, tasks: &[TaskDecl], outputs: &[OutputDecl]) -> Result<Queries, ProgramError> {
        let families = self.model.families.len();
        let blank = || (0..families).map(|_| Vec::new()).collect::<Vec<Vec<Query>>>();
        let mut queries =
            Queries { readers: blank(), writers: blank(), results: blank(), starters: Vec::new() };
        for (owner, task) in tasks.iter().enumerate() {
            let owner = owner as u16;
            for access in &task.outs {
                let way = Way { family: access.family, aliases: Vec::new() };
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
                let query = self.query(owner as u16, &output.nest, &output.access, &way, true, span)?;
                queries.results[usize::from(way.family)].extend(query);
            }
        }
        Ok(queries)
    }

    /// The tasks of `task` whose most telling input may be one of the program's.
    fn starters(&mut self, owner: u16, task: &TaskDecl) -> Result<Option<Vec<Query>>, ProgramError> {
        let is_input = |family: u16| self.model.families[usize::from(family)].input.is_some();
        // A reference straight to an input family excludes no task.
        let telling = |access: &&Access| access.when.is_none() && !is_input(access.family);
        let Some(access) = task.ins.iter().find(telling).or(task.ins.iter().find(|a| a.when.is_none()))
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
        let mut out = vec![Way { family, aliases: Vec::new() }];
        let mut at = 0;
        while at < out.len() && out.len() <= QUERIES_MAX {
            for place in &self.model.families[usize::from(out[at].family)].aliases {
                let mut aliases = out[at].aliases.clone();
                aliases.push(*place);
                out.push(Way { family: self.model.aliases[*place].target.family, aliases });
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
        let vars: usize = way.aliases.iter().map(|a| usize::from(self.model.aliases[*a].vars)).sum();
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
                Step::Loop { slot, lo, hi, step, .. } => {
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
        Ok(planner.plan().map(|ops| Query { owner, coords: next as u8, ops }))
    }
}
