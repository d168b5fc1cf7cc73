//! A program as written: names are strings, nothing is checked but the grammar.

use super::error::Span;

/// A name and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// An integer expression, or a shape where one is expected.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
    /// Levels below, this one included: bounds every recursion over the tree.
    pub(crate) depth: u32,
}

/// What an expression is made of.
#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    Int(i64),
    Name(String),
    Call(String, Vec<Expr>),
    Unary(UnaryOp, Box<Expr>),
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
}

/// Operators and built-in functions of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnaryOp {
    Neg,
    Not,
    Abs,
    Clog2,
    Flog2,
    Tz,
}

/// Operators and built-in functions of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Cdiv,
    Min,
    Max,
    Clog,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
}

/// `NAME[e, ..] when e`.
#[derive(Clone, Debug)]
pub(crate) struct Ref {
    pub(crate) family: Name,
    pub(crate) index: Vec<Expr>,
    pub(crate) when: Option<Expr>,
    pub(crate) span: Span,
}

/// `v in lo..hi`, or `v` alone.
#[derive(Clone, Debug)]
pub(crate) struct Binder {
    pub(crate) name: Name,
    pub(crate) range: Option<(Expr, Expr)>,
}

/// A reference that a condition chooses.
#[derive(Clone, Debug)]
pub(crate) enum View {
    Ref(Ref),
    If(Expr, Box<View>, Box<View>),
}

/// What stands in a block.
#[derive(Clone, Debug)]
pub(crate) enum Stmt {
    For {
        var: Name,
        lo: Expr,
        hi: Expr,
        step: Option<Expr>,
        body: Vec<Stmt>,
    },
    If {
        cond: Expr,
        then: Vec<Stmt>,
        otherwise: Vec<Stmt>,
    },
    Let {
        var: Name,
        value: Expr,
        inverses: Vec<(Name, Expr)>,
    },
    Task(TaskStmt),
}

/// `outs = kernel(ins) @ home prio p`.
#[derive(Clone, Debug)]
pub(crate) struct TaskStmt {
    pub(crate) outs: Vec<Ref>,
    pub(crate) kernel: Name,
    pub(crate) ins: Vec<Ref>,
    pub(crate) home: Option<Expr>,
    pub(crate) prio: Option<Expr>,
}

/// A declaration or a statement at the top.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Param {
        name: Name,
        default: Option<Expr>,
    },
    Def {
        name: Name,
        args: Vec<Name>,
        body: Expr,
    },
    Require {
        cond: Expr,
        text: String,
    },
    Family {
        input: bool,
        name: Name,
        binders: Vec<Binder>,
        when: Option<Expr>,
        shape: Expr,
        /// How the tiles of an input are made that nobody gives.
        generator: Option<Expr>,
    },
    Alias {
        family: Name,
        patterns: Vec<Expr>,
        target: Ref,
        span: Span,
    },
    Output {
        name: Name,
        binders: Vec<Binder>,
        view: View,
    },
    Stmt(Stmt),
}

/// A whole file with its includes in place.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) name: Name,
    pub(crate) items: Vec<Item>,
}
