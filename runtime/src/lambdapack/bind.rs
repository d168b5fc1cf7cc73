//! Binds a program to parameters: checks what it requires, folds every expression, plans every
//! query. Never evaluates a task.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bound::{Bound, Inner};
use super::code::{Fault, Id};
use super::error::{ProgramError, Span};
use super::fold::Folder;
use super::model::{
    Access, AliasDecl, FamilyDecl, Flow, Generator, Model, Nest, OutputDecl, Pattern, ShapeTree,
    Step, TaskDecl,
};
use super::queries::Build;
use super::query::SLOTS_MAX;
use super::walk;

/// Binds `model` to `params`.
pub(crate) fn bind(
    model: &Arc<Model>,
    given: &BTreeMap<String, i64>,
) -> Result<Bound, ProgramError> {
    let params = parameters(model, given)?;
    for (cond, text, span) in &model.requires {
        match evaluate(model, *cond, &params) {
            Ok(0) => return Err(refused(model, *span, text.clone(), given)),
            Ok(_) => {}
            Err((span, text)) => return Err(refused(model, span, text, given)),
        }
    }
    let mut folder = Folder::new(&model.code, &params);
    let families: Vec<FamilyDecl> = model
        .families
        .iter()
        .map(|f| family(&mut folder, f))
        .collect();
    let aliases: Vec<AliasDecl> = model
        .aliases
        .iter()
        .map(|a| alias(&mut folder, a, 0))
        .collect();
    let tasks: Vec<TaskDecl> = model.tasks.iter().map(|t| task(&mut folder, t)).collect();
    let outputs: Vec<OutputDecl> = model
        .outputs
        .iter()
        .map(|o| output(&mut folder, o))
        .collect();
    let body = walk::flatten(&flows(&mut folder, &model.body));
    let output_walk = walk::of_nests(outputs.iter().map(|o| &o.nest));
    let input_nests = families
        .iter()
        .enumerate()
        .filter_map(|(at, f)| Some((at, f.input.as_ref()?)));
    let input_walk = walk::of_numbered_nests(input_nests);
    let names = (0..SLOTS_MAX as u8)
        .map(|slot| folder.var(slot, 0))
        .collect();
    let queries = Build {
        model,
        folder: &mut folder,
        names,
        count: 0,
    }
    .queries(&tasks, &outputs)?;
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
        input_counts: Vec::new(),
    };
    inner.counts = walk::count(&inner, &inner.body, inner.tasks.len())?;
    walk::count(&inner, &inner.output_walk, inner.outputs.len())?;
    inner.input_counts = walk::count(&inner, &inner.input_walk, inner.families.len())?;
    let bound = Bound::new(inner);
    bound.check_results()?;
    Ok(bound)
}

fn parameters(model: &Model, given: &BTreeMap<String, i64>) -> Result<Vec<i64>, ProgramError> {
    let start = Span::default();
    let names: Vec<&str> = model.params.iter().map(|p| p.name.as_str()).collect();
    if let Some(unknown) = given.keys().find(|name| !names.contains(&name.as_str())) {
        let text = format!(
            "{} has no parameter `{unknown}`; it has: {}",
            model.name,
            names.join(", ")
        );
        return Err(ProgramError::Parameters(Box::new(
            model.sources.diagnose(start, text),
        )));
    }
    let mut values = Vec::new();
    for param in &model.params {
        let value = match (given.get(&param.name), param.default) {
            (Some(value), _) => *value,
            (None, Some(default)) => evaluate(model, default, &values)
                .map_err(|(span, text)| refused(model, span, text, given))?,
            (None, None) => {
                let text = format!("{} needs the parameter `{}`", model.name, param.name);
                return Err(ProgramError::Parameters(Box::new(
                    model.sources.diagnose(start, text),
                )));
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
    code.eval(id, &[])
        .map_err(|Fault { kind, at }| (code.spans[at as usize], kind.text().to_owned()))
}

fn refused(model: &Model, span: Span, text: String, given: &BTreeMap<String, i64>) -> ProgramError {
    let given: Vec<String> = given
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let diagnosis = model
        .sources
        .diagnose(span, format!("{}: {text}", model.name));
    ProgramError::Parameters(Box::new(
        diagnosis.help(format!("given: {}", given.join(", "))),
    ))
}

// Folding, one declaration at a time.

fn family(folder: &mut Folder<'_>, decl: &FamilyDecl) -> FamilyDecl {
    FamilyDecl {
        name: decl.name.clone(),
        span: decl.span,
        input: decl.input.as_ref().map(|nest| fold_nest(folder, nest)),
        indices: decl.indices.clone(),
        shape: shape(folder, &decl.shape),
        generator: decl.generator.map(|made| generator(folder, made)),
        aliases: decl.aliases.clone(),
    }
}

fn generator(folder: &mut Folder<'_>, made: Generator) -> Generator {
    match made {
        Generator::Zeros => Generator::Zeros,
        Generator::Eye { row, col } => Generator::Eye {
            row: folder.fold(row, 0),
            col: folder.fold(col, 0),
        },
        Generator::Iota { first } => Generator::Iota {
            first: folder.fold(first, 0),
        },
    }
}

fn shape(folder: &mut Folder<'_>, tree: &ShapeTree) -> ShapeTree {
    match tree {
        ShapeTree::Make {
            kind,
            rows,
            cols,
            likely,
            span,
        } => ShapeTree::Make {
            kind: *kind,
            rows: folder.fold(*rows, 0),
            cols: folder.fold(*cols, 0),
            likely: likely.map(|id| folder.fold(id, 0)),
            span: *span,
        },
        ShapeTree::If(cond, then, other) => {
            let cond = folder.fold(*cond, 0);
            match folder.code().constant(cond) {
                Some(known) => shape(folder, if known != 0 { then } else { other }),
                None => ShapeTree::If(
                    cond,
                    Box::new(shape(folder, then)),
                    Box::new(shape(folder, other)),
                ),
            }
        }
    }
}

fn access(folder: &mut Folder<'_>, access: &Access, offset: u8) -> Access {
    Access {
        family: access.family,
        index: access
            .index
            .iter()
            .map(|id| folder.fold(*id, offset))
            .collect(),
        when: access.when.map(|id| folder.fold(id, offset)),
        span: access.span,
    }
}

pub(crate) fn alias(folder: &mut Folder<'_>, decl: &AliasDecl, offset: u8) -> AliasDecl {
    let patterns = decl.patterns.iter().map(|pattern| match pattern {
        Pattern::Bind(slot) => Pattern::Bind(slot + offset),
        Pattern::Equal(id) => Pattern::Equal(folder.fold(*id, offset)),
    });
    let patterns = patterns.collect();
    AliasDecl {
        patterns,
        vars: decl.vars,
        target: access(folder, &decl.target, offset),
        span: decl.span,
    }
}

fn fold_nest(folder: &mut Folder<'_>, nest: &Nest) -> Nest {
    let mut fold = |id: Id| folder.fold(id, 0);
    let steps = nest.steps.iter().map(|step| match *step {
        Step::Loop {
            slot,
            lo,
            hi,
            step,
            span,
        } => Step::Loop {
            slot,
            lo: fold(lo),
            hi: fold(hi),
            step: step.map(&mut fold),
            span,
        },
        Step::Let { slot, value } => Step::Let {
            slot,
            value: fold(value),
        },
        Step::Where { slot, value, span } => Step::Where {
            slot,
            value: fold(value),
            span,
        },
        Step::Guard { cond, want } => Step::Guard {
            cond: fold(cond),
            want,
        },
    });
    Nest {
        steps: steps.collect(),
        names: nest.names.clone(),
    }
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
        kernel_span: decl.kernel_span,
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
            Flow::Loop {
                slot,
                lo,
                hi,
                step,
                body,
                span,
            } => Flow::Loop {
                slot: *slot,
                lo: folder.fold(*lo, 0),
                hi: folder.fold(*hi, 0),
                step: step.map(|id| folder.fold(id, 0)),
                body: flows(folder, body),
                span: *span,
            },
            Flow::If { cond, then, other } => {
                let cond = folder.fold(*cond, 0);
                Flow::If {
                    cond,
                    then: flows(folder, then),
                    other: flows(folder, other),
                }
            }
            Flow::Let { slot, value } => Flow::Let {
                slot: *slot,
                value: folder.fold(*value, 0),
            },
            Flow::Task(id) => Flow::Task(*id),
        });
    }
    out
}
