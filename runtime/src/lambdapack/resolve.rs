//! Gives every name its meaning and checks what can be checked without parameters: names, arity,
//! ranks, shadowing, assigned inputs. Never evaluates anything.

use std::collections::BTreeMap;

use peerwren_kernels::tile::Kind;
use peerwren_transports::block::RANK_MAX;

use super::ast::{Binder, Expr, ExprKind, File, Item, Name, Ref, View};
use super::code::{ARITY_MAX, Def, Memo};
use super::error::{ProgramError, Sources, Span};
use super::expr::{Scope, Vars};
use super::model::{
    Access, AliasDecl, FamilyDecl, Generator, Model, Nest, OutputDecl, Param, Pattern, ShapeTree,
    Step,
};
use super::statements;

/// Inputs of a task, and outputs: gemm's 4-ary add takes 4, a tree of 8 would fit.
pub(crate) const OPERANDS_MAX: usize = 8;
/// Families, aliases, statements, definitions: each at most this many.
const DECLARED_MAX: usize = 1000;

pub(crate) type Checked<T> = Result<T, ProgramError>;

/// What the declarations so far mean.
pub(crate) struct Resolver {
    pub(crate) model: Model,
    pub(crate) scope: Scope,
    families: BTreeMap<String, u16>,
}

/// Resolves a whole program.
pub(crate) fn resolve(sources: Sources, file: &File) -> Checked<Model> {
    let model = Model {
        name: file.name.text.clone(),
        sources,
        ..Model::default()
    };
    let mut resolver = Resolver {
        model,
        scope: Scope::default(),
        families: BTreeMap::new(),
    };
    for item in &file.items {
        if let Item::Def { name, .. } = item {
            resolver.scope.later.insert(name.text.clone());
        }
    }
    // Definitions may be used by any declaration, families by any statement: hence the order.
    for item in &file.items {
        resolver.names(item)?;
    }
    for item in &file.items {
        resolver.family(item)?;
    }
    for item in &file.items {
        resolver.alias(item)?;
    }
    resolver.alias_cycles()?;
    for item in &file.items {
        if let Item::Output {
            name,
            binders,
            view,
        } = item
        {
            resolver.output(name, binders, view)?;
        }
    }
    statements::resolve(&mut resolver, file)?;
    let mut model = resolver.model;
    model.code.defs.shrink_to_fit();
    Ok(model)
}

impl Resolver {
    fn names(&mut self, item: &Item) -> Checked<()> {
        match item {
            Item::Param { name, default } => {
                let default = match default {
                    Some(value) => Some(self.expr(value, &Vars::default())?),
                    None => None,
                };
                self.scope.declare_param(&self.model.sources, name)?;
                self.model.params.push(Param {
                    name: name.text.clone(),
                    default,
                });
                self.limit(self.model.params.len(), name.span, "parameters")
            }
            Item::Def { name, args, body } => {
                let mut vars = Vars::default();
                for arg in args {
                    self.bind(&mut vars, arg)?;
                }
                if args.len() > ARITY_MAX {
                    return Err(self.fault(name.span, format!("more than {ARITY_MAX} arguments")));
                }
                self.scope.defining = Some(name.text.clone());
                let body = self.expr(body, &vars)?;
                self.scope.defining = None;
                let arity = args.len() as u8;
                self.scope
                    .declare_def(&self.model.sources, name, arity, body)?;
                self.model.code.defs.push(Def {
                    body,
                    arity,
                    memo: Memo::None,
                });
                self.limit(self.model.code.defs.len(), name.span, "definitions")
            }
            Item::Require { cond, text } => {
                let id = self.expr(cond, &Vars::default())?;
                self.model.requires.push((id, text.clone(), cond.span));
                self.limit(self.model.requires.len(), cond.span, "requirements")
            }
            _ => Ok(()),
        }
    }

    fn family(&mut self, item: &Item) -> Checked<()> {
        let Item::Family {
            input,
            name,
            binders,
            when,
            shape,
            generator,
        } = item
        else {
            return Ok(());
        };
        if self.families.contains_key(&name.text) {
            return Err(self.fault(
                name.span,
                format!("the family {} is declared twice", name.text),
            ));
        }
        self.rank(name, binders.len())?;
        let (mut nest, vars) = self.binders(binders, *input)?;
        if let Some(when) = when {
            let cond = self.expr(when, &vars)?;
            nest.steps.push(Step::Guard { cond, want: true });
        }
        let shape = self.shape(shape, &vars)?;
        let generator = match generator {
            Some(made) if *input => Some(self.generator(made, &shape, &vars)?),
            Some(made) => {
                let text = format!("{} is no input: its tiles are made by tasks", name.text);
                return Err(self.fault(made.span, text));
            }
            None => None,
        };
        self.families
            .insert(name.text.clone(), self.model.families.len() as u16);
        self.model.families.push(FamilyDecl {
            name: name.text.clone(),
            span: name.span,
            input: input.then_some(nest),
            indices: vars.names().to_vec(),
            shape,
            generator,
            aliases: Vec::new(),
        });
        self.limit(self.model.families.len(), name.span, "families")
    }

    /// The loops over `binders`; their ranges are needed when `ranged`.
    fn binders(&mut self, binders: &[Binder], ranged: bool) -> Checked<(Nest, Vars)> {
        let mut nest = Nest::default();
        let mut vars = Vars::default();
        for binder in binders {
            let range = match &binder.range {
                Some((lo, hi)) => Some((self.expr(lo, &vars)?, self.expr(hi, &vars)?)),
                None if ranged => {
                    let text = format!(
                        "the index {0} needs a range: {0} in lo..hi",
                        binder.name.text
                    );
                    return Err(self.fault(binder.name.span, text));
                }
                None => None,
            };
            let slot = self.bind(&mut vars, &binder.name)?;
            if let Some((lo, hi)) = range {
                nest.steps.push(Step::Loop {
                    slot,
                    lo,
                    hi,
                    step: None,
                    span: binder.name.span,
                });
            }
        }
        nest.names = vars.names().to_vec();
        Ok((nest, vars))
    }

    fn shape(&mut self, expr: &Expr, vars: &Vars) -> Checked<ShapeTree> {
        match &expr.kind {
            ExprKind::If(cond, then, other) => Ok(ShapeTree::If(
                self.expr(cond, vars)?,
                Box::new(self.shape(then, vars)?),
                Box::new(self.shape(other, vars)?),
            )),
            ExprKind::Call(name, args) => {
                let (kind, arity) = match name.as_str() {
                    "full" => (Kind::Full, 2),
                    "unit" => (Kind::Unit, 2),
                    "upper" => (Kind::Upper, 2),
                    "lower" => (Kind::Lower, 2),
                    "tfac" => (Kind::Tfac, 2),
                    "index" => (Kind::Index, 1),
                    "few" => (Kind::Few, 2),
                    _ => return Err(self.no_shape(expr)),
                };
                let most = if kind == Kind::Few { 3 } else { arity };
                if !(arity..=most).contains(&args.len()) {
                    let arity = if most > arity {
                        format!("{arity} or {most}")
                    } else {
                        arity.to_string()
                    };
                    let text = format!("{name} takes {arity} sizes, {} given", args.len());
                    return Err(self.fault(expr.span, text));
                }
                let rows = self.expr(&args[0], vars)?;
                let cols = match args.get(1) {
                    Some(cols) => self.expr(cols, vars)?,
                    None => self.model.code.push(super::code::Node::Const(1), expr.span),
                };
                let likely = args.get(2).map(|rows| self.expr(rows, vars)).transpose()?;
                self.scope.sync(&self.model.code);
                Ok(ShapeTree::Make {
                    kind,
                    rows,
                    cols,
                    likely,
                    span: expr.span,
                })
            }
            _ => Err(self.no_shape(expr)),
        }
    }

    fn generator(&mut self, expr: &Expr, shape: &ShapeTree, vars: &Vars) -> Checked<Generator> {
        let (name, args) = match &expr.kind {
            ExprKind::Name(name) => (name.as_str(), &[] as &[Expr]),
            ExprKind::Call(name, args) => (name.as_str(), args.as_slice()),
            _ => ("", &[] as &[Expr]),
        };
        let mut ids = Vec::new();
        for arg in args {
            ids.push(self.expr(arg, vars)?);
        }
        let (made, kinds): (_, &[Kind]) = match (name, ids.as_slice()) {
            ("zeros", []) => {
                use Kind::{Full, Index, Lower, Tfac, Upper};
                (Generator::Zeros, &[Full, Upper, Lower, Tfac, Index])
            }
            ("eye", [row, col]) => {
                let (row, col) = (*row, *col);
                let made = Generator::Eye { row, col };
                (made, &[Kind::Full, Kind::Upper, Kind::Lower])
            }
            ("iota", [first]) => (Generator::Iota { first: *first }, &[Kind::Index]),
            _ => {
                let text = "expected a generator: zeros, eye(row, col) or iota(first)";
                return Err(self.fault(expr.span, text));
            }
        };
        for kind in shape.kinds() {
            if !kinds.contains(&kind) {
                let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                let text = format!(
                    "{name} makes tiles that are {}, not {}",
                    kinds.join(", "),
                    kind.name()
                );
                return Err(self.fault(expr.span, text));
            }
        }
        Ok(made)
    }

    fn no_shape(&self, expr: &Expr) -> ProgramError {
        let text = "expected a shape: full(m, n), unit(m, r), upper(r, n), lower(m, n), tfac(k, ib), index(n) or few(m, n, likely)";
        self.fault(expr.span, text)
    }

    fn alias(&mut self, item: &Item) -> Checked<()> {
        let Item::Alias {
            family,
            patterns,
            target,
            span,
        } = item
        else {
            return Ok(());
        };
        let id = self.family_id(family)?;
        let decl = &self.model.families[usize::from(id)];
        if decl.input.is_some() {
            let text = format!(
                "{} is an input; an alias must be a declared tile family",
                family.text
            );
            return Err(self.fault(family.span, text));
        }
        let rank = decl.indices.len();
        self.same_rank(family, rank, patterns.len(), *span)?;
        // Bare new names bind; they may stand in the other patterns, before or after.
        let mut vars = Vars::default();
        let mut slots = Vec::new();
        for pattern in patterns {
            let bare = match &pattern.kind {
                ExprKind::Name(name) if self.scope.free(name) && vars.slot(name).is_none() => {
                    Some(name)
                }
                _ => None,
            };
            slots.push(match bare {
                Some(name) => {
                    let name = Name {
                        text: name.clone(),
                        span: pattern.span,
                    };
                    Some(self.bind(&mut vars, &name)?)
                }
                None => None,
            });
        }
        let mut parsed = Vec::new();
        for (pattern, slot) in patterns.iter().zip(slots) {
            parsed.push(match slot {
                Some(slot) => Pattern::Bind(slot),
                None => Pattern::Equal(self.expr(pattern, &vars)?),
            });
        }
        let target = self.access(target, &vars)?;
        let place = self.model.aliases.len();
        let vars = vars.names().len() as u8;
        self.model.aliases.push(AliasDecl {
            patterns: parsed,
            vars,
            target,
            span: *span,
        });
        self.model.families[usize::from(id)].aliases.push(place);
        self.limit(self.model.aliases.len(), *span, "aliases")
    }

    /// Refuses families that are aliases of themselves, so that following aliases always ends.
    fn alias_cycles(&self) -> Checked<()> {
        let count = self.model.families.len();
        for alias in &self.model.aliases {
            let mut reached = vec![false; count];
            let mut todo = vec![alias.target.family];
            while let Some(family) = todo.pop() {
                for place in &self.model.families[usize::from(family)].aliases {
                    if std::ptr::eq(&self.model.aliases[*place], alias) {
                        let text = "this alias leads back to its own family";
                        return Err(self.fault(alias.span, text));
                    }
                    let next = self.model.aliases[*place].target.family;
                    if !std::mem::replace(&mut reached[usize::from(next)], true) {
                        todo.push(next);
                    }
                }
            }
        }
        Ok(())
    }

    fn output(&mut self, name: &Name, binders: &[Binder], view: &View) -> Checked<()> {
        if self.model.output_names.contains(&name.text) {
            return Err(self.fault(
                name.span,
                format!("the output {} is declared twice", name.text),
            ));
        }
        self.rank(name, binders.len())?;
        let (nest, vars) = self.binders(binders, true)?;
        let output = self.model.output_names.len() as u16;
        self.model.output_names.push(name.text.clone());
        self.limit(self.model.output_names.len(), name.span, "outputs")?;
        self.view(output, view, nest, &vars)
    }

    fn view(&mut self, output: u16, view: &View, nest: Nest, vars: &Vars) -> Checked<()> {
        match view {
            View::Ref(reference) => {
                let access = self.access(reference, vars)?;
                if let Some(when) = &reference.when {
                    return Err(self.fault(
                        when.span,
                        "an output's tile is always there: no `when` here",
                    ));
                }
                self.model.outputs.push(OutputDecl {
                    output,
                    nest,
                    access,
                });
                Ok(())
            }
            View::If(cond, then, other) => {
                let cond = self.expr(cond, vars)?;
                for (view, want) in [(then, true), (other, false)] {
                    let mut nest = nest.clone();
                    nest.steps.push(Step::Guard { cond, want });
                    self.view(output, view, nest, vars)?;
                }
                Ok(())
            }
        }
    }

    // For statements too.

    pub(crate) fn access(&mut self, reference: &Ref, vars: &Vars) -> Checked<Access> {
        let family = self.family_id(&reference.family)?;
        let rank = self.model.families[usize::from(family)].indices.len();
        self.same_rank(
            &reference.family,
            rank,
            reference.index.len(),
            reference.span,
        )?;
        let mut index = Vec::new();
        for expr in &reference.index {
            index.push(self.expr(expr, vars)?);
        }
        let when = match &reference.when {
            Some(when) => Some(self.expr(when, vars)?),
            None => None,
        };
        Ok(Access {
            family,
            index,
            when,
            span: reference.span,
        })
    }

    pub(crate) fn expr(&mut self, expr: &Expr, vars: &Vars) -> Checked<super::code::Id> {
        self.scope.expr(&mut self.model, expr, vars)
    }

    pub(crate) fn bind(&self, vars: &mut Vars, name: &Name) -> Checked<u8> {
        self.scope.bind(&self.model.sources, vars, name)
    }

    pub(crate) fn fault(&self, span: Span, headline: impl Into<String>) -> ProgramError {
        ProgramError::Text(Box::new(self.model.sources.diagnose(span, headline)))
    }

    pub(crate) fn limit(&self, count: usize, span: Span, what: &str) -> Checked<()> {
        if count <= DECLARED_MAX {
            return Ok(());
        }
        let text = format!("more than {DECLARED_MAX} {what}");
        Err(ProgramError::TooLarge(Box::new(
            self.model.sources.diagnose(span, text),
        )))
    }

    fn family_id(&self, name: &Name) -> Checked<u16> {
        self.families.get(&name.text).copied().ok_or_else(|| {
            let declared: Vec<&str> = self
                .model
                .families
                .iter()
                .map(|f| f.name.as_str())
                .collect();
            let text = format!(
                "no tile family `{}`; declared: {}",
                name.text,
                declared.join(", ")
            );
            self.fault(name.span, text)
        })
    }

    fn rank(&self, name: &Name, rank: usize) -> Checked<()> {
        if (1..=RANK_MAX).contains(&rank) {
            return Ok(());
        }
        Err(self.fault(
            name.span,
            format!(
                "{} has {rank} indices; 1 to {RANK_MAX} are possible",
                name.text
            ),
        ))
    }

    fn same_rank(&self, name: &Name, rank: usize, given: usize, span: Span) -> Checked<()> {
        if rank == given {
            return Ok(());
        }
        Err(self.fault(
            span,
            format!("{} has {rank} indices, {given} given", name.text),
        ))
    }
}
