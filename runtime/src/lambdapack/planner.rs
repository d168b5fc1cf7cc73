//! Plans the schedule of a query: which condition gives which variable. Never runs one.

use super::ast::{BinaryOp, UnaryOp};
use super::code::{Code, Id, Node};
use super::interval::bounds;
use super::linear::{self, Linear};
use super::query::{Cut, Op, Rel, SLOTS_MAX, Test};

/// A variable that a loop runs over.
#[derive(Clone, Copy, Debug)]
struct LoopVar {
    slot: u8,
    lo: Id,
    hi: Id,
    step: Option<Id>,
}

#[derive(Debug)]
struct Condition {
    test: Test,
    mask: u64,
    /// Used exactly by an earlier step.
    done: bool,
    /// The loop whose bound or step it is.
    of_loop: Option<u8>,
}

/// Collects unknowns and conditions; [`Planner::plan`] then orders them.
pub(crate) struct Planner<'a> {
    code: &'a Code,
    conditions: Vec<Condition>,
    /// `slot == value`, believed where useful: declared inverses.
    hints: Vec<(u8, Id)>,
    loops: Vec<LoopVar>,
    unknown: u64,
    around: [(i64, i64); SLOTS_MAX],
    ops: Vec<Op>,
}

/// What to do next, cheapest first.
enum Choice {
    Assign(u8, Id, Option<usize>),
    Solve(u8, Cut),
    Combine(u8, Linear),
    Branch { slot: u8, ranged: bool },
}

impl<'a> Planner<'a> {
    pub(crate) fn new(code: &'a Code) -> Self {
        Self {
            code,
            conditions: Vec::new(),
            hints: Vec::new(),
            loops: Vec::new(),
            unknown: 0,
            around: [(i64::MIN / 4, i64::MAX / 4); SLOTS_MAX],
            ops: Vec::new(),
        }
    }

    /// Adds a loop variable; `var` is a node of it.
    pub(crate) fn loop_var(&mut self, slot: u8, var: Id, lo: Id, hi: Id, step: Option<Id>) {
        self.unknown |= 1 << slot;
        let (least, most) = (
            bounds(self.code, lo, &self.around).0,
            bounds(self.code, hi, &self.around).1,
        );
        self.around[usize::from(slot)] = (least, most.saturating_sub(1).max(least));
        self.loops.push(LoopVar { slot, lo, hi, step });
        self.condition(
            Test::Compare {
                left: var,
                rel: Rel::Ge,
                right: lo,
            },
            Some(slot),
        );
        self.condition(
            Test::Compare {
                left: var,
                rel: Rel::Lt,
                right: hi,
            },
            Some(slot),
        );
        if let Some(step) = step {
            self.condition(Test::Step { slot, lo, step }, Some(slot));
        }
    }

    /// Adds a variable that is `value`; `var` is a node of it.
    pub(crate) fn let_var(&mut self, slot: u8, var: Id, value: Id) {
        self.unknown |= 1 << slot;
        self.around[usize::from(slot)] = bounds(self.code, value, &self.around);
        self.condition(
            Test::Compare {
                left: var,
                rel: Rel::Eq,
                right: value,
            },
            None,
        );
    }

    pub(crate) fn hint(&mut self, slot: u8, value: Id) {
        self.hints.push((slot, value));
    }

    pub(crate) fn equal(&mut self, left: Id, right: Id) {
        self.condition(
            Test::Compare {
                left,
                rel: Rel::Eq,
                right,
            },
            None,
        );
    }

    /// Adds a condition, taken apart where it is an `and`, a `not` or a comparison.
    pub(crate) fn truth(&mut self, id: Id, want: bool) {
        match self.code.node(id) {
            Node::Unary(UnaryOp::Not, a) => self.truth(a, !want),
            Node::Binary(BinaryOp::And, a, b) if want => {
                self.truth(a, true);
                self.truth(b, true);
            }
            Node::Binary(BinaryOp::Or, a, b) if !want => {
                self.truth(a, false);
                self.truth(b, false);
            }
            Node::Binary(op, left, right) if relation(op).is_some() => {
                let rel = relation(op).unwrap_or(Rel::Eq);
                let rel = if want { rel } else { rel.negated() };
                self.condition(Test::Compare { left, rel, right }, None);
            }
            _ => self.condition(Test::Truth { id, want }, None),
        }
    }

    fn condition(&mut self, test: Test, of_loop: Option<u8>) {
        let mask = |id: Id| self.code.mask(id);
        let mask = match test {
            Test::Compare { left, right, .. } => mask(left) | mask(right),
            Test::Truth { id, .. } => mask(id),
            Test::Step { slot, lo, step } => 1 << slot | mask(lo) | mask(step),
        };
        self.conditions.push(Condition {
            test,
            mask,
            done: false,
            of_loop,
        });
    }

    /// The schedule that finds all unknowns; none if a condition on constants is false.
    pub(crate) fn plan(mut self) -> Option<Box<[Op]>> {
        loop {
            if !self.check_known() {
                return None;
            }
            if self.unknown == 0 {
                return Some(self.ops.into());
            }
            match self.choose() {
                Choice::Assign(slot, value, condition) => {
                    if let Some(at) = condition {
                        self.conditions[at].done = true;
                    }
                    self.ops.push(Op::Assign { slot, value });
                    self.unknown &= !(1 << slot);
                }
                Choice::Solve(slot, cut) => {
                    self.ops.push(Op::Solve { slot, cut });
                    self.unknown &= !(1 << slot);
                }
                Choice::Combine(slot, linear) => {
                    self.ops.push(Op::Combine { slot, linear });
                    self.unknown &= !(1 << slot);
                }
                Choice::Branch { slot, ranged } => self.branch(slot, ranged),
            }
        }
    }

    /// Checks every condition whose variables are all known; `false` if one never holds.
    fn check_known(&mut self) -> bool {
        for condition in &mut self.conditions {
            if !condition.done && condition.mask & self.unknown == 0 {
                condition.done = true;
                match always(self.code, &condition.test) {
                    Some(true) => {}
                    Some(false) => return false,
                    None => self.ops.push(Op::Check(condition.test)),
                }
            }
        }
        true
    }

    fn known(&self, id: Id) -> bool {
        self.code.mask(id) & self.unknown == 0
    }

    fn choose(&self) -> Choice {
        if let Some(choice) = self.assignment() {
            return choice;
        }
        let equations = self.equations();
        if let Some((slot, cut, 1)) = equations.first() {
            return Choice::Solve(*slot, *cut);
        }
        let left = self.conditions.iter().filter_map(|c| match c.test {
            Test::Compare {
                left,
                rel: Rel::Eq,
                right,
            } if !c.done => Some((left, right)),
            _ => None,
        });
        if let Some((slot, linear)) = linear::eliminate(self.code, left, self.unknown) {
            return Choice::Combine(slot, linear);
        }
        // Coupled variables first: trying one of them decides another.
        let mut best: Option<((bool, i64), Choice)> = None;
        let mut offer = |slot: u8, size: i64, choice: Choice| {
            let coupled = self.conditions.iter().any(|c| {
                !c.done
                    && c.of_loop.is_none()
                    && matches!(c.test, Test::Compare { rel: Rel::Eq, .. })
                    && c.mask >> slot & 1 == 1
                    && (c.mask & self.unknown).count_ones() > 1
            });
            let rank = (!coupled, size);
            if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                best = Some((rank, choice));
            }
        };
        for (slot, _, values) in equations {
            offer(
                slot,
                values,
                Choice::Branch {
                    slot,
                    ranged: false,
                },
            );
        }
        for var in self
            .loops
            .iter()
            .filter(|var| self.unknown >> var.slot & 1 == 1)
        {
            let (lo, hi) = self.around[usize::from(var.slot)];
            let size = hi.saturating_sub(lo).saturating_add(1);
            let known = |id: Id| self.known(id);
            let ranged = known(var.lo) && known(var.hi) && var.step.is_none_or(known);
            // Where the range is not yet known, more values are tried than there are.
            let size = if ranged { size } else { size.saturating_mul(2) };
            offer(
                var.slot,
                size,
                Choice::Branch {
                    slot: var.slot,
                    ranged,
                },
            );
        }
        // Unknown lets alone cannot remain: each depends on loop variables and earlier lets.
        best.expect("a let becomes known with the variables above it")
            .1
    }

    /// An unknown variable that equals a known value.
    fn assignment(&self) -> Option<Choice> {
        for (at, condition) in self.conditions.iter().enumerate().filter(|(_, c)| !c.done) {
            let Test::Compare {
                left,
                rel: Rel::Eq,
                right,
            } = condition.test
            else {
                continue;
            };
            for (var, value) in [(left, right), (right, left)] {
                if let Node::Var(slot) = self.code.node(var)
                    && self.unknown >> slot & 1 == 1
                    && self.known(value)
                {
                    return Some(Choice::Assign(slot, value, Some(at)));
                }
            }
        }
        let mut hints = self.hints.iter();
        hints
            .find(|(slot, value)| self.unknown >> slot & 1 == 1 && self.known(*value))
            .map(|(slot, value)| Choice::Assign(*slot, *value, None))
    }

    /// The equations with one unknown that they limit to a few values: variable, cut, how many.
    fn equations(&self) -> Vec<(u8, Cut, i64)> {
        let mut out = Vec::new();
        for condition in &self.conditions {
            if let Some((slot, cut)) = self.cut(condition)
                && cut.rel == Rel::Eq
                && let Some(values) = solutions(self.code, cut.of, slot)
            {
                out.push((slot, cut, values));
            }
        }
        // Those with one solution first.
        out.sort_by_key(|(_, _, values)| *values);
        out
    }

    /// `condition` as a cut of its only unknown variable, if that stands on one side alone.
    fn cut(&self, condition: &Condition) -> Option<(u8, Cut)> {
        let Test::Compare { left, rel, right } = condition.test else {
            return None;
        };
        let unknown = condition.mask & self.unknown;
        if condition.done || rel == Rel::Ne || unknown.count_ones() != 1 {
            return None;
        }
        let slot = unknown.trailing_zeros() as u8;
        let cut = match (self.known(left), self.known(right)) {
            (false, true) => Cut {
                of: left,
                rel,
                bound: right,
            },
            (true, false) => Cut {
                of: right,
                rel: rel.swapped(),
                bound: left,
            },
            _ => return None,
        };
        Some((slot, cut))
    }

    fn branch(&mut self, slot: u8, ranged: bool) {
        let mut cuts = Vec::new();
        let mut used = Vec::new();
        for (at, condition) in self.conditions.iter().enumerate() {
            if let Some((cut_slot, cut)) = self.cut(condition)
                && cut_slot == slot
            {
                let own = ranged && condition.of_loop == Some(slot);
                if !own {
                    cuts.push(cut);
                }
                if own || (cut.rel != Rel::Eq && affine(self.code, cut.of)) {
                    used.push(at);
                }
            } else if ranged
                && condition.of_loop == Some(slot)
                && matches!(condition.test, Test::Step { .. })
            {
                used.push(at);
            }
        }
        for at in used {
            self.conditions[at].done = true;
        }
        let var = self.loops.iter().find(|var| var.slot == slot);
        let range = var.filter(|_| ranged).map(|var| (var.lo, var.hi, var.step));
        let around = self.around[usize::from(slot)];
        self.ops.push(Op::Branch {
            slot,
            range,
            around,
            cuts: cuts.into(),
        });
        self.unknown &= !(1 << slot);
    }
}

/// What a condition on constants says.
fn always(code: &Code, test: &Test) -> Option<bool> {
    match *test {
        Test::Compare { left, rel, right } => {
            Some(rel.holds(code.constant(left)?, code.constant(right)?))
        }
        Test::Truth { id, want } => Some((code.constant(id)? != 0) == want),
        Test::Step { .. } => None,
    }
}

fn relation(op: BinaryOp) -> Option<Rel> {
    Some(match op {
        BinaryOp::Eq => Rel::Eq,
        BinaryOp::Ne => Rel::Ne,
        BinaryOp::Lt => Rel::Lt,
        BinaryOp::Le => Rel::Le,
        BinaryOp::Gt => Rel::Gt,
        BinaryOp::Ge => Rel::Ge,
        _ => return None,
    })
}

/// How many values of variable `slot` give `id` one value, where that is certain; 1 means one or
/// none.
fn solutions(code: &Code, id: Id, slot: u8) -> Option<i64> {
    let has = |id: Id| code.mask(id) >> slot & 1 == 1;
    match code.node(id) {
        Node::Var(_) => Some(1),
        Node::Unary(UnaryOp::Neg, a) => solutions(code, a, slot),
        Node::Binary(op, a, b) => match (op, has(a), has(b)) {
            (_, true, true) => None,
            (BinaryOp::Add | BinaryOp::Sub, true, _) => solutions(code, a, slot),
            (BinaryOp::Add | BinaryOp::Sub, ..) => solutions(code, b, slot),
            (BinaryOp::Mul, true, _) if code.constant(b).is_some_and(|c| c != 0) => {
                solutions(code, a, slot)
            }
            (BinaryOp::Mul, _, true) if code.constant(a).is_some_and(|c| c != 0) => {
                solutions(code, b, slot)
            }
            (BinaryOp::Pow, false, _) if code.constant(a).is_some_and(|c| c >= 2) => {
                solutions(code, b, slot)
            }
            (BinaryOp::Div | BinaryOp::Cdiv, true, _) => {
                let by = code.constant(b).filter(|c| *c > 0)?;
                Some(solutions(code, a, slot)?.saturating_mul(by))
            }
            _ => None,
        },
        Node::If(cond, then, other) if !has(cond) && has(then) && has(other) => {
            Some(solutions(code, then, slot)?.max(solutions(code, other, slot)?))
        }
        Node::Call(def, first) => {
            let args = code.call_args(def, first);
            let mut places = (0..args.len()).filter(|at| has(args[*at]));
            let (at, None) = (places.next()?, places.next()) else {
                return None;
            };
            let body = code.defs[usize::from(def)].body;
            if code.mask(body) >> at & 1 == 0 {
                return None;
            }
            Some(solutions(code, body, at as u8)?.saturating_mul(solutions(code, args[at], slot)?))
        }
        _ => None,
    }
}

/// Whether a cut through `id` is exact: sums and differences alone lie above the variable.
fn affine(code: &Code, id: Id) -> bool {
    match code.node(id) {
        Node::Var(_) | Node::Const(_) => true,
        Node::Binary(BinaryOp::Add | BinaryOp::Sub, a, b) => {
            code.mask(a) & code.mask(b) == 0 && affine(code, a) && affine(code, b)
        }
        _ => false,
    }
}
