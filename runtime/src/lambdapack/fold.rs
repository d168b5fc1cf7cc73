//! Puts parameters into a program's expressions: folds constants, decides what is decided, and
//! makes one copy of a definition for each set of constant arguments it is called with. Never
//! changes a value, and leaves every fault where it would happen.

use std::collections::HashMap;

use super::ast::{BinaryOp, UnaryOp};
use super::code::{ARITY_MAX, Code, Def, Id, MEMOS_MAX, Memo, Node, binary, unary};

/// Copies of definitions; beyond it constant arguments are passed like others.
const COPIES_MAX: usize = 2000;
/// Operations below which a definition is sooner evaluated than looked up.
const MEMO_COST_MIN: u64 = 5;

/// What stands for a variable of the source code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Value {
    Const(i64),
    Slot(u8),
}

/// Turns code with parameters into code without.
pub(crate) struct Folder<'a> {
    from: &'a Code,
    params: &'a [i64],
    out: Code,
    costs: Vec<u64>,
    memos: usize,
    copies: HashMap<(u16, Vec<Value>), u16>,
}

impl<'a> Folder<'a> {
    pub(crate) fn new(from: &'a Code, params: &'a [i64]) -> Self {
        let (out, costs, copies) = (Code::default(), Vec::new(), HashMap::new());
        Self {
            from,
            params,
            out,
            costs,
            memos: 0,
            copies,
        }
    }

    pub(crate) fn finish(self) -> Code {
        self.out
    }

    pub(crate) fn code(&self) -> &Code {
        &self.out
    }

    /// The folded `id`, its variables moved up by `offset` slots.
    pub(crate) fn fold(&mut self, id: Id, offset: u8) -> Id {
        self.walk(id, &|slot| Value::Slot(slot + offset))
    }

    /// A node of our own making: variable `slot`, with the place of `id`'s text.
    pub(crate) fn var(&mut self, slot: u8, like: Id) -> Id {
        self.push(Node::Var(slot), like)
    }

    fn push(&mut self, node: Node, like: Id) -> Id {
        let id = self.out.push(node, self.from.spans[like as usize]);
        self.price(id);
        id
    }

    /// Notes the cost of the newest node, which bounds nothing and only chooses what to remember.
    fn price(&mut self, id: Id) {
        let cost = |id: Id| self.costs[id as usize];
        let below = match self.out.node(id) {
            Node::Const(_) | Node::Param(_) | Node::Var(_) => 0,
            Node::Unary(_, a) => cost(a),
            Node::Binary(_, a, b) => cost(a).saturating_add(cost(b)),
            Node::If(c, a, b) => cost(c).saturating_add(cost(a)).saturating_add(cost(b)),
            Node::Call(def, first) => {
                let args = self.out.call_args(def, first);
                let body = &self.out.defs[usize::from(def)];
                let call = if matches!(body.memo, Memo::None) {
                    cost(body.body)
                } else {
                    2
                };
                args.iter()
                    .fold(call, |sum, arg| sum.saturating_add(cost(*arg)))
            }
        };
        self.costs.push(below.saturating_add(1));
    }

    fn walk(&mut self, id: Id, vars: &dyn Fn(u8) -> Value) -> Id {
        match self.from.node(id) {
            Node::Const(value) => self.push(Node::Const(value), id),
            Node::Param(param) => self.push(Node::Const(self.params[usize::from(param)]), id),
            Node::Var(slot) => match vars(slot) {
                Value::Const(value) => self.push(Node::Const(value), id),
                Value::Slot(slot) => self.push(Node::Var(slot), id),
            },
            Node::Unary(op, a) => {
                let a = self.walk(a, vars);
                match self.out.constant(a).map(|a| unary(op, a)) {
                    Some(Ok(value)) => self.push(Node::Const(value), id),
                    _ => self.push(Node::Unary(op, a), id),
                }
            }
            Node::Binary(op, a, b) => {
                let a = self.walk(a, vars);
                if let (BinaryOp::And | BinaryOp::Or, Some(known)) = (op, self.out.constant(a)) {
                    if (op == BinaryOp::And) == (known == 0) {
                        return self.push(Node::Const(i64::from(known != 0)), id);
                    }
                    let b = self.walk(b, vars);
                    return self.truth(b, id);
                }
                let b = self.walk(b, vars);
                self.pair(op, a, b, id)
            }
            Node::If(cond, then, other) => {
                let cond = self.walk(cond, vars);
                if let Some(known) = self.out.constant(cond) {
                    return self.walk(if known != 0 { then } else { other }, vars);
                }
                let then = self.walk(then, vars);
                let other = self.walk(other, vars);
                self.push(Node::If(cond, then, other), id)
            }
            Node::Call(def, first) => self.call(def, first, id, vars),
        }
    }

    /// `a op b` without the operations that change nothing.
    fn pair(&mut self, op: BinaryOp, a: Id, b: Id, like: Id) -> Id {
        match (op, self.out.constant(a), self.out.constant(b)) {
            (_, Some(x), Some(y)) => match binary(op, x, y) {
                Ok(value) => self.push(Node::Const(value), like),
                Err(_) => self.push(Node::Binary(op, a, b), like),
            },
            (BinaryOp::Add | BinaryOp::Sub, _, Some(0))
            | (BinaryOp::Mul | BinaryOp::Div, _, Some(1)) => a,
            (BinaryOp::Add, Some(0), _) | (BinaryOp::Mul, Some(1), _) => b,
            _ => self.push(Node::Binary(op, a, b), like),
        }
    }

    /// `id` as 0 or 1.
    fn truth(&mut self, id: Id, like: Id) -> Id {
        match self.out.node(id) {
            Node::Const(value) => self.push(Node::Const(i64::from(value != 0)), like),
            Node::Unary(UnaryOp::Not, _)
            | Node::Binary(
                BinaryOp::Eq
                | BinaryOp::Ne
                | BinaryOp::Lt
                | BinaryOp::Le
                | BinaryOp::Gt
                | BinaryOp::Ge
                | BinaryOp::And
                | BinaryOp::Or,
                ..,
            ) => id,
            _ => {
                let zero = self.push(Node::Const(0), like);
                self.push(Node::Binary(BinaryOp::Ne, id, zero), like)
            }
        }
    }

    fn call(&mut self, def: u16, first: u32, id: Id, vars: &dyn Fn(u8) -> Value) -> Id {
        let from = self.from;
        let mut args = Vec::new();
        let mut key = Vec::new();
        for arg in from.call_args(def, first) {
            let arg = self.walk(*arg, vars);
            match self.out.constant(arg) {
                Some(value) if self.copies.len() < COPIES_MAX => key.push(Value::Const(value)),
                _ => {
                    key.push(Value::Slot(args.len() as u8));
                    args.push(arg);
                }
            }
        }
        let copy = self.copy(def, key);
        if args.is_empty()
            && let Ok(value) = self.out.call(copy, &[0; ARITY_MAX])
        {
            return self.push(Node::Const(value), id);
        }
        let call = self.out.push_call(copy, &args, from.spans[id as usize]);
        self.price(call);
        call
    }

    /// The definition `def` with some of its arguments fixed.
    fn copy(&mut self, def: u16, key: Vec<Value>) -> u16 {
        if let Some(copy) = self.copies.get(&(def, key.clone())) {
            return *copy;
        }
        let body = self.walk(self.from.defs[usize::from(def)].body, &|slot| {
            key[usize::from(slot)]
        });
        let arity = key
            .iter()
            .filter(|value| matches!(value, Value::Slot(_)))
            .count() as u8;
        let worth = self.costs[body as usize] >= MEMO_COST_MIN && self.memos < MEMOS_MAX;
        let memo = match arity {
            1 if worth => Memo::One(Default::default()),
            2 if worth => Memo::Two(Default::default()),
            _ => Memo::None,
        };
        self.memos += usize::from(!matches!(memo, Memo::None));
        let copy = self.out.defs.len() as u16;
        self.out.defs.push(Def { body, arity, memo });
        self.copies.insert((def, key), copy);
        copy
    }
}
