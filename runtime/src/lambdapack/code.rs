//! Integer expressions, compiled: an arena of small nodes and its exact evaluation. Definitions
//! are called, never inlined; those of one or two arguments remember their values. Never knows
//! tiles or tasks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use super::ast::{BinaryOp, UnaryOp};
use super::error::Span;

/// A node of a [`Code`].
pub(crate) type Id = u32;

/// Most arguments of a definition.
pub(crate) const ARITY_MAX: usize = 8;
/// Arguments `0..ONE_SIDE` of a definition of one argument are remembered: 16 KiB.
const ONE_SIDE: i64 = 4096;
/// Arguments `0..TWO_SIDE` of a definition of two arguments are remembered: 256 KiB.
const TWO_SIDE: i64 = 256;
/// 64 tables of at most 256 KiB = 16 MiB a bound program.
pub(crate) const MEMOS_MAX: usize = 64;
/// Marks a value that is not yet known.
const UNKNOWN: i32 = i32::MIN;

/// One operation; its operands are earlier nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Const(i64),
    /// A parameter of the program: only before binding.
    Param(u16),
    /// A loop or let variable, or the argument of a definition.
    Var(u8),
    Unary(UnaryOp, Id),
    Binary(BinaryOp, Id, Id),
    If(Id, Id, Id),
    /// A definition called with the arguments from this place of `Code::args` on.
    Call(u16, u32),
}

/// A definition: its body sees its arguments as `Var(0)`, `Var(1)`, ..
#[derive(Debug)]
pub(crate) struct Def {
    pub(crate) body: Id,
    pub(crate) arity: u8,
    pub(crate) memo: Memo,
}

/// What a definition remembers of its values; any thread may fill it in, with the same values.
#[derive(Debug)]
pub(crate) enum Memo {
    None,
    One(OnceLock<Box<[AtomicI32]>>),
    Two(OnceLock<Box<[AtomicI32]>>),
}

/// Why an evaluation has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Overflow,
    NotPositiveDivisor,
    Exponent,
    Logarithm,
}

impl FaultKind {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Overflow => "the value does not fit 64 bits",
            Self::NotPositiveDivisor => "a divisor must be positive",
            Self::Exponent => "an exponent must be 0 to 62",
            Self::Logarithm => "a logarithm needs a positive number and a base of at least 2",
        }
    }
}

/// A failed evaluation and the node that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) at: Id,
}

/// Nodes with their places in the text, the lists of call arguments, and the definitions.
#[derive(Debug, Default)]
pub(crate) struct Code {
    pub(crate) nodes: Vec<Node>,
    pub(crate) spans: Vec<Span>,
    /// For each node the variables below it, one bit each.
    pub(crate) masks: Vec<u64>,
    pub(crate) args: Vec<Id>,
    pub(crate) defs: Vec<Def>,
}

impl Code {
    /// Adds a node whose operands are there already.
    pub(crate) fn push(&mut self, node: Node, span: Span) -> Id {
        let of = |id: Id| self.masks[id as usize];
        let mask = match node {
            Node::Const(_) | Node::Param(_) => 0,
            Node::Var(slot) => 1 << slot,
            Node::Unary(_, a) => of(a),
            Node::Binary(_, a, b) => of(a) | of(b),
            Node::If(c, a, b) => of(c) | of(a) | of(b),
            Node::Call(def, first) => self.call_args(def, first).iter().fold(0, |m, a| m | of(*a)),
        };
        self.nodes.push(node);
        self.spans.push(span);
        self.masks.push(mask);
        (self.nodes.len() - 1) as Id
    }

    /// Adds a call of `def`.
    pub(crate) fn push_call(&mut self, def: u16, args: &[Id], span: Span) -> Id {
        let first = self.args.len() as u32;
        self.args.extend_from_slice(args);
        self.push(Node::Call(def, first), span)
    }

    pub(crate) fn node(&self, id: Id) -> Node {
        self.nodes[id as usize]
    }

    pub(crate) fn mask(&self, id: Id) -> u64 {
        self.masks[id as usize]
    }

    pub(crate) fn constant(&self, id: Id) -> Option<i64> {
        if let Node::Const(value) = self.node(id) {
            Some(value)
        } else {
            None
        }
    }

    /// The arguments of a call.
    pub(crate) fn call_args(&self, def: u16, first: u32) -> &[Id] {
        let arity = usize::from(self.defs[usize::from(def)].arity);
        &self.args[first as usize..first as usize + arity]
    }

    /// The value of `id` where variable `v` is `env[v]`.
    pub(crate) fn eval(&self, id: Id, env: &[i64]) -> Result<i64, Fault> {
        match self.nodes[id as usize] {
            Node::Const(value) => Ok(value),
            Node::Var(slot) => Ok(env[usize::from(slot)]),
            Node::Unary(op, a) => {
                unary(op, self.eval(a, env)?).map_err(|kind| Fault { kind, at: id })
            }
            Node::Binary(op, a, b) => {
                let left = self.eval(a, env)?;
                match op {
                    BinaryOp::And if left == 0 => return Ok(0),
                    BinaryOp::Or if left != 0 => return Ok(1),
                    _ => {}
                }
                binary(op, left, self.eval(b, env)?).map_err(|kind| Fault { kind, at: id })
            }
            Node::If(cond, then, other) => {
                let chosen = if self.eval(cond, env)? != 0 {
                    then
                } else {
                    other
                };
                self.eval(chosen, env)
            }
            Node::Call(def, first) => {
                let mut frame = [0; ARITY_MAX];
                for (slot, arg) in frame.iter_mut().zip(self.call_args(def, first)) {
                    *slot = self.eval(*arg, env)?;
                }
                self.call(def, &frame)
            }
            Node::Param(_) => unreachable!("parameters are replaced before anything is evaluated"),
        }
    }

    /// The value of definition `def` for the arguments in `frame`.
    pub(crate) fn call(&self, def: u16, frame: &[i64; ARITY_MAX]) -> Result<i64, Fault> {
        let def = &self.defs[usize::from(def)];
        let (table, at) = match &def.memo {
            Memo::One(table) if (0..ONE_SIDE).contains(&frame[0]) => {
                (table.get_or_init(|| blank(ONE_SIDE)), frame[0])
            }
            Memo::Two(table)
                if (0..TWO_SIDE).contains(&frame[0]) && (0..TWO_SIDE).contains(&frame[1]) =>
            {
                (
                    table.get_or_init(|| blank(TWO_SIDE * TWO_SIDE)),
                    frame[0] * TWO_SIDE + frame[1],
                )
            }
            _ => return self.eval(def.body, frame),
        };
        let known = table[at as usize].load(Ordering::Relaxed);
        if known != UNKNOWN {
            return Ok(i64::from(known));
        }
        let value = self.eval(def.body, frame)?;
        if let Ok(small) = i32::try_from(value) {
            table[at as usize].store(small, Ordering::Relaxed);
        }
        Ok(value)
    }
}

fn blank(len: i64) -> Box<[AtomicI32]> {
    (0..len).map(|_| AtomicI32::new(UNKNOWN)).collect()
}

/// The exact value of a unary operation.
pub(crate) fn unary(op: UnaryOp, a: i64) -> Result<i64, FaultKind> {
    match op {
        UnaryOp::Neg => a.checked_neg().ok_or(FaultKind::Overflow),
        UnaryOp::Not => Ok(i64::from(a == 0)),
        UnaryOp::Abs => a.checked_abs().ok_or(FaultKind::Overflow),
        UnaryOp::Clog2 if a > 0 => Ok(clog2(a)),
        UnaryOp::Flog2 if a > 0 => Ok(i64::from(63 - a.leading_zeros())),
        UnaryOp::Clog2 | UnaryOp::Flog2 => Err(FaultKind::Logarithm),
        UnaryOp::Tz => Ok(if a == 0 {
            62
        } else {
            i64::from(a.trailing_zeros()).min(62)
        }),
    }
}

/// The least `l` with `2 ** l >= a`, for positive `a`.
fn clog2(a: i64) -> i64 {
    if a <= 1 {
        0
    } else {
        i64::from(64 - (a - 1).leading_zeros())
    }
}

/// The exact value of a binary operation.
pub(crate) fn binary(op: BinaryOp, a: i64, b: i64) -> Result<i64, FaultKind> {
    let whole = |value: Option<i64>| value.ok_or(FaultKind::Overflow);
    match op {
        BinaryOp::Add => whole(a.checked_add(b)),
        BinaryOp::Sub => whole(a.checked_sub(b)),
        BinaryOp::Mul => whole(a.checked_mul(b)),
        BinaryOp::Div | BinaryOp::Mod | BinaryOp::Cdiv if b <= 0 => {
            Err(FaultKind::NotPositiveDivisor)
        }
        BinaryOp::Div => Ok(a.div_euclid(b)),
        BinaryOp::Mod => Ok(a.rem_euclid(b)),
        BinaryOp::Cdiv => Ok(a.div_euclid(b) + i64::from(a.rem_euclid(b) != 0)),
        BinaryOp::Pow => match u32::try_from(b) {
            Ok(exponent @ 0..=62) => whole(a.checked_pow(exponent)),
            _ => Err(FaultKind::Exponent),
        },
        BinaryOp::Min => Ok(a.min(b)),
        BinaryOp::Max => Ok(a.max(b)),
        BinaryOp::Clog => clog(a, b),
        BinaryOp::Eq => Ok(i64::from(a == b)),
        BinaryOp::Ne => Ok(i64::from(a != b)),
        BinaryOp::Lt => Ok(i64::from(a < b)),
        BinaryOp::Le => Ok(i64::from(a <= b)),
        BinaryOp::Gt => Ok(i64::from(a > b)),
        BinaryOp::Ge => Ok(i64::from(a >= b)),
        BinaryOp::And => Ok(i64::from(a != 0 && b != 0)),
        BinaryOp::Or => Ok(i64::from(a != 0 || b != 0)),
    }
}

/// The least `l` with `base ** l >= x`.
fn clog(base: i64, x: i64) -> Result<i64, FaultKind> {
    if base < 2 || x < 1 {
        return Err(FaultKind::Logarithm);
    }
    let (mut power, mut l) = (1i64, 0);
    while power < x {
        power = power.saturating_mul(base);
        l += 1;
    }
    Ok(l)
}
