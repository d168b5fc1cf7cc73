//! A program whose names are resolved, before its parameters are known.

use super::code::{Code, Id};
use super::error::{Sources, Span};
use peerwren_kernels::tile::Kind;

/// A parameter, with its default.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) default: Option<Id>,
}

/// The shape of a tile: a choice of kinds with their sizes.
#[derive(Clone, Debug)]
pub(crate) enum ShapeTree {
    Make {
        kind: Kind,
        rows: Id,
        cols: Id,
        /// Of few rows, how many are likely.
        likely: Option<Id>,
        span: Span,
    },
    If(Id, Box<ShapeTree>, Box<ShapeTree>),
}

impl ShapeTree {
    /// The kinds that it chooses from.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        match self {
            Self::Make { kind, .. } => vec![*kind],
            Self::If(_, then, other) => {
                let mut kinds = then.kinds();
                kinds.extend(other.kinds());
                kinds
            }
        }
    }
}

/// How the tiles of an input are made; the expressions see the family's indices.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Generator {
    Zeros,
    Eye { row: Id, col: Id },
    Iota { first: Id },
}

/// A declared set of tiles.
#[derive(Debug)]
pub(crate) struct FamilyDecl {
    pub(crate) name: String,
    pub(crate) span: Span,
    /// The tiles that exist, for an input.
    pub(crate) input: Option<Nest>,
    pub(crate) indices: Vec<String>,
    pub(crate) shape: ShapeTree,
    /// For an input that nobody gives.
    pub(crate) generator: Option<Generator>,
    /// Places in `Model::aliases`.
    pub(crate) aliases: Vec<usize>,
}

/// A tile as a statement names it.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) family: u16,
    pub(crate) index: Vec<Id>,
    pub(crate) when: Option<Id>,
    pub(crate) span: Span,
}

/// One index of an alias: a new name, or a value that the index must have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pattern {
    Bind(u8),
    Equal(Id),
}

/// `family[patterns]` is the same block as `target`.
#[derive(Clone, Debug)]
pub(crate) struct AliasDecl {
    pub(crate) patterns: Vec<Pattern>,
    /// Variables that the patterns bind.
    pub(crate) vars: u8,
    pub(crate) target: Access,
    pub(crate) span: Span,
}

/// One condition on the variables of a statement, outermost first.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Loop {
        slot: u8,
        lo: Id,
        hi: Id,
        step: Option<Id>,
        span: Span,
    },
    Let {
        slot: u8,
        value: Id,
    },
    /// The declared inverse of a let above it.
    Where {
        slot: u8,
        value: Id,
        span: Span,
    },
    Guard {
        cond: Id,
        want: bool,
    },
}

/// The variables of a statement and what they must fulfil.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nest {
    pub(crate) steps: Vec<Step>,
    /// The variables' names, by slot.
    pub(crate) names: Vec<String>,
}

impl Nest {
    /// The slots of the loop variables, outermost first.
    pub(crate) fn loops(&self) -> impl Iterator<Item = u8> {
        self.steps.iter().filter_map(|step| match step {
            Step::Loop { slot, .. } => Some(*slot),
            _ => None,
        })
    }
}

/// A statement.
#[derive(Clone, Debug)]
pub(crate) struct TaskDecl {
    pub(crate) kernel: String,
    pub(crate) nest: Nest,
    pub(crate) outs: Vec<Access>,
    pub(crate) ins: Vec<Access>,
    pub(crate) home: Option<Id>,
    pub(crate) prio: Option<Id>,
    /// From the first output to the kernel.
    pub(crate) span: Span,
    pub(crate) kernel_span: Span,
}

/// One reference of an output's view, with the condition under which it is chosen.
#[derive(Clone, Debug)]
pub(crate) struct OutputDecl {
    /// Place in `Model::output_names`.
    pub(crate) output: u16,
    pub(crate) nest: Nest,
    pub(crate) access: Access,
}

/// The statements as they nest, for walking them in the program's order.
#[derive(Clone, Debug)]
pub(crate) enum Flow {
    Loop {
        slot: u8,
        lo: Id,
        hi: Id,
        step: Option<Id>,
        body: Vec<Flow>,
        span: Span,
    },
    If {
        cond: Id,
        then: Vec<Flow>,
        other: Vec<Flow>,
    },
    Let {
        slot: u8,
        value: Id,
    },
    Task(u16),
}

/// The whole program. `code` holds every expression; `def_names` go with `code.defs`.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) sources: Sources,
    pub(crate) code: Code,
    pub(crate) params: Vec<Param>,
    pub(crate) requires: Vec<(Id, String, Span)>,
    pub(crate) families: Vec<FamilyDecl>,
    pub(crate) aliases: Vec<AliasDecl>,
    pub(crate) output_names: Vec<String>,
    pub(crate) outputs: Vec<OutputDecl>,
    pub(crate) tasks: Vec<TaskDecl>,
    pub(crate) body: Vec<Flow>,
}
