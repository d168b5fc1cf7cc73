//! Resolves expressions: which variable, parameter or definition a name is. Bounds how deep and
//! how long an evaluation can be.

use std::collections::{BTreeMap, BTreeSet};

use super::ast::{BinaryOp, Expr, ExprKind, Name, UnaryOp};
use super::code::{Code, Id, Node};
use super::error::{ProgramError, Sources, Span};
use super::model::Model;
use super::resolve::Checked;

/// Levels of an evaluation, calls included: 300 frames of about 200 bytes are 60 kB of stack.
const EVAL_DEPTH_MAX: u32 = 300;
/// Operations of one evaluation, calls included; the shipped programs need at most about 2,400.
const EVAL_COST_MAX: u64 = 50_000;
/// Variables of a statement. With those of aliases and coordinates they must fit 64 bits.
const VARS_MAX: usize = 24;

/// The variables in scope, innermost last; a variable's place is its slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vars {
    names: Vec<String>,
}

impl Vars {
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn slot(&self, name: &str) -> Option<u8> {
        self.names
            .iter()
            .position(|n| n == name)
            .map(|slot| slot as u8)
    }

    /// Leaves the scopes entered since there were `count` variables.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.names.truncate(count);
    }
}

/// Depth and cost of a node's evaluation.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    depth: u32,
    cost: u64,
}

/// Parameters and definitions.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    params: BTreeMap<String, u16>,
    defs: BTreeMap<String, (u16, u8)>,
    def_sizes: Vec<Size>,
    /// The definition whose body is being read.
    pub(crate) defining: Option<String>,
    /// Every name that is defined somewhere.
    pub(crate) later: BTreeSet<String>,
    /// One for each node of the code.
    sizes: Vec<Size>,
}

impl Scope {
    pub(crate) fn declare_param(&mut self, sources: &Sources, name: &Name) -> Checked<()> {
        self.fresh(sources, name)?;
        self.params
            .insert(name.text.clone(), self.params.len() as u16);
        Ok(())
    }

    pub(crate) fn declare_def(
        &mut self,
        sources: &Sources,
        name: &Name,
        arity: u8,
        body: Id,
    ) -> Checked<()> {
        self.fresh(sources, name)?;
        self.defs
            .insert(name.text.clone(), (self.defs.len() as u16, arity));
        self.def_sizes.push(self.sizes[body as usize]);
        Ok(())
    }

    /// Whether `name` is neither a parameter nor a definition.
    pub(crate) fn free(&self, name: &str) -> bool {
        !self.params.contains_key(name) && !self.defs.contains_key(name)
    }

    /// Adds a variable, which may hide nothing.
    pub(crate) fn bind(&self, sources: &Sources, vars: &mut Vars, name: &Name) -> Checked<u8> {
        let hidden = if vars.slot(&name.text).is_some() {
            Some("a variable around it")
        } else if self.params.contains_key(&name.text) {
            Some("the parameter")
        } else if self.defs.contains_key(&name.text) {
            Some("the definition")
        } else {
            None
        };
        if let Some(what) = hidden {
            return Err(fault(
                sources,
                name.span,
                format!("`{}` hides {what} of that name", name.text),
            ));
        }
        if vars.names.len() == VARS_MAX {
            return Err(fault(
                sources,
                name.span,
                format!("more than {VARS_MAX} variables in scope"),
            ));
        }
        vars.names.push(name.text.clone());
        Ok((vars.names.len() - 1) as u8)
    }

    fn fresh(&self, sources: &Sources, name: &Name) -> Checked<()> {
        if builtin(&name.text).is_some() || name.text == "ceil" {
            return Err(fault(
                sources,
                name.span,
                format!("`{}` is built in", name.text),
            ));
        }
        if !self.free(&name.text) {
            return Err(fault(
                sources,
                name.span,
                format!("`{}` is declared twice", name.text),
            ));
        }
        Ok(())
    }

    /// Compiles `expr` into the model's code.
    pub(crate) fn expr(&mut self, model: &mut Model, expr: &Expr, vars: &Vars) -> Checked<Id> {
        let id = match &expr.kind {
            ExprKind::Int(value) => model.code.push(Node::Const(*value), expr.span),
            ExprKind::Name(name) => self.name(model, name, expr.span, vars)?,
            ExprKind::Call(name, args) => {
                let mut ids = Vec::new();
                for arg in args {
                    ids.push(self.expr(model, arg, vars)?);
                }
                self.call(model, name, &ids, expr.span)?
            }
            ExprKind::Unary(op, a) => {
                let a = self.expr(model, a, vars)?;
                model.code.push(Node::Unary(*op, a), expr.span)
            }
            ExprKind::Binary(op, a, b) => {
                let a = self.expr(model, a, vars)?;
                let b = self.expr(model, b, vars)?;
                model.code.push(Node::Binary(*op, a, b), expr.span)
            }
            ExprKind::If(cond, then, other) => {
                let cond = self.expr(model, cond, vars)?;
                let then = self.expr(model, then, vars)?;
                let other = self.expr(model, other, vars)?;
                model.code.push(Node::If(cond, then, other), expr.span)
            }
        };
        self.sync(&model.code);
        let size = self.sizes[id as usize];
        if size.depth > EVAL_DEPTH_MAX || size.cost > EVAL_COST_MAX {
            let text = format!(
                "evaluating this takes {} steps, {} deep; the limits are {EVAL_COST_MAX} and {EVAL_DEPTH_MAX}",
                size.cost, size.depth
            );
            return Err(ProgramError::TooLarge(Box::new(
                model.sources.diagnose(expr.span, text),
            )));
        }
        Ok(id)
    }

    /// Sizes the nodes added since the last call.
    pub(crate) fn sync(&mut self, code: &Code) {
        for at in self.sizes.len()..code.nodes.len() {
            let size = |id: Id| self.sizes[id as usize];
            let join = |ids: &[Id]| {
                ids.iter()
                    .map(|id| size(*id))
                    .fold(Size::default(), Size::and)
            };
            let below = match code.nodes[at] {
                Node::Const(_) | Node::Param(_) | Node::Var(_) => Size::default(),
                Node::Unary(_, a) => size(a),
                Node::Binary(_, a, b) => join(&[a, b]),
                Node::If(c, a, b) => join(&[c, a, b]),
                Node::Call(def, first) => {
                    let body = self.def_sizes[usize::from(def)];
                    join(code.call_args(def, first)).and(body)
                }
            };
            self.sizes.push(Size {
                depth: below.depth + 1,
                cost: below.cost.saturating_add(1),
            });
        }
    }

    fn name(&self, model: &mut Model, name: &str, span: Span, vars: &Vars) -> Checked<Id> {
        if let Some(slot) = vars.slot(name) {
            return Ok(model.code.push(Node::Var(slot), span));
        }
        if let Some(param) = self.params.get(name) {
            return Ok(model.code.push(Node::Param(*param), span));
        }
        match self.defs.get(name) {
            Some((def, 0)) => Ok(model.code.push_call(*def, &[], span)),
            Some((_, arity)) => {
                let text = format!("`{name}` takes {arity} arguments, none given");
                Err(fault(&model.sources, span, text))
            }
            None if self.later.contains(name) => {
                Err(self.no_definition(&model.sources, name, span))
            }
            None => Err(self.unknown(&model.sources, name, span, vars)),
        }
    }

    fn unknown(&self, sources: &Sources, name: &str, span: Span, vars: &Vars) -> ProgramError {
        let mut known: Vec<&str> = vars.names.iter().map(String::as_str).collect();
        known.extend(self.params.keys().map(String::as_str));
        known.extend(self.defs.keys().map(String::as_str));
        let text = format!("no variable, parameter or definition `{name}`");
        let diagnosis = sources.diagnose(span, text);
        ProgramError::Text(Box::new(
            diagnosis.help(format!("in scope above this: {}", known.join(", "))),
        ))
    }

    fn call(&self, model: &mut Model, name: &str, args: &[Id], span: Span) -> Checked<Id> {
        let wrong = |arity: &str| {
            let text = format!("`{name}` takes {arity} arguments, {} given", args.len());
            Err(fault(&model.sources, span, text))
        };
        match builtin(name) {
            Some(Builtin::One(op)) => match args {
                [a] => Ok(model.code.push(Node::Unary(op, *a), span)),
                _ => wrong("1"),
            },
            Some(Builtin::Two(op)) => match args {
                [a, b] => Ok(model.code.push(Node::Binary(op, *a, *b), span)),
                _ => wrong("2"),
            },
            Some(Builtin::Many(op)) => match args {
                [] | [_] => wrong("2 or more"),
                [first, rest @ ..] => Ok(rest.iter().fold(*first, |a, b| {
                    model.code.push(Node::Binary(op, a, *b), span)
                })),
            },
            None => match self.defs.get(name) {
                Some((def, arity)) if usize::from(*arity) == args.len() => {
                    Ok(model.code.push_call(*def, args, span))
                }
                Some((_, arity)) => wrong(&arity.to_string()),
                None => Err(self.no_definition(&model.sources, name, span)),
            },
        }
    }

    fn no_definition(&self, sources: &Sources, name: &str, span: Span) -> ProgramError {
        let help = "definitions cannot recurse: use a loop, or a built-in (clog2, flog2, clog, tz)";
        if self.defining.as_deref() == Some(name) {
            let text = format!("`{name}` calls itself");
            return ProgramError::Text(Box::new(sources.diagnose(span, text).help(help)));
        }
        if self.later.contains(name) {
            let text =
                format!("`{name}` is defined below this; a definition calls earlier ones only");
            return ProgramError::Text(Box::new(sources.diagnose(span, text).help(help)));
        }
        let known: Vec<&str> = self.defs.keys().map(String::as_str).collect();
        let text =
            format!("no definition `{name}` above this; a definition calls earlier ones only");
        let help = format!(
            "defined: {}; built in: min max abs cdiv clog2 flog2 clog tz",
            if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            }
        );
        ProgramError::Text(Box::new(sources.diagnose(span, text).help(help)))
    }
}

impl Size {
    fn and(self, other: Size) -> Size {
        Size {
            depth: self.depth.max(other.depth),
            cost: self.cost.saturating_add(other.cost),
        }
    }
}

enum Builtin {
    One(UnaryOp),
    Two(BinaryOp),
    Many(BinaryOp),
}

fn builtin(name: &str) -> Option<Builtin> {
    Some(match name {
        "abs" => Builtin::One(UnaryOp::Abs),
        "clog2" => Builtin::One(UnaryOp::Clog2),
        "flog2" => Builtin::One(UnaryOp::Flog2),
        "tz" => Builtin::One(UnaryOp::Tz),
        "cdiv" => Builtin::Two(BinaryOp::Cdiv),
        "clog" => Builtin::Two(BinaryOp::Clog),
        "min" => Builtin::Many(BinaryOp::Min),
        "max" => Builtin::Many(BinaryOp::Max),
        _ => return None,
    })
}

fn fault(sources: &Sources, span: Span, headline: String) -> ProgramError {
    ProgramError::Text(Box::new(sources.diagnose(span, headline)))
}
