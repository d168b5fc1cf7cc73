//! Integer elimination: from several equations in several unknowns, one with a single unknown. What
//! follows is a consequence of the equations, never more; they are checked elsewhere as they stand.

use std::collections::BTreeMap;

use super::ast::{BinaryOp, UnaryOp};
use super::code::{Code, Fault, Id, Node};

/// `factor` times the variable is `constant` plus the sum of `times` times the value of each term.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    factor: i64,
    constant: i64,
    terms: Box<[(i64, Id)]>,
}

impl Linear {
    /// The variable's value, if it is a 64-bit integer.
    ///
    /// # Errors
    /// A term that has no value.
    pub(crate) fn solve(&self, code: &Code, env: &[i64]) -> Result<Option<i64>, Fault> {
        let mut sum = i128::from(self.constant);
        for (times, id) in &self.terms {
            let term = i128::from(*times).checked_mul(i128::from(code.eval(*id, env)?));
            match term.and_then(|term| sum.checked_add(term)) {
                Some(more) => sum = more,
                None => return Ok(None),
            }
        }
        let factor = i128::from(self.factor);
        let whole = sum % factor == 0;
        Ok(whole.then(|| i64::try_from(sum / factor).ok()).flatten())
    }
}

/// A sum that is zero (or, while it is built, an expression): unknowns, known expressions, a constant.
#[derive(Clone, Debug, Default)]
struct Row {
    unknown: BTreeMap<u8, i64>,
    known: Vec<(i64, Id)>,
    constant: i64,
}

impl Row {
    /// Adds `times` times `other`; `None` where a number grows too large.
    fn add(&mut self, other: &Row, times: i64) -> Option<()> {
        for (slot, factor) in &other.unknown {
            let sum = self.unknown.entry(*slot).or_default();
            *sum = sum.checked_add(factor.checked_mul(times)?)?;
        }
        self.unknown.retain(|_, factor| *factor != 0);
        for (factor, id) in &other.known {
            let factor = factor.checked_mul(times)?;
            match self.known.iter_mut().find(|(_, known)| known == id) {
                Some((sum, _)) => *sum = sum.checked_add(factor)?,
                None => self.known.push((factor, *id)),
            }
        }
        self.known.retain(|(factor, _)| *factor != 0);
        self.constant = self
            .constant
            .checked_add(other.constant.checked_mul(times)?)?;
        Some(())
    }

    fn factor(&self, slot: u8) -> i64 {
        self.unknown.get(&slot).copied().unwrap_or(0)
    }

    /// Takes `slot` out by means of `pivot`.
    fn eliminate(&mut self, slot: u8, pivot: &Row) -> Option<()> {
        let (mine, its) = (self.factor(slot), pivot.factor(slot));
        let g = gcd(mine, its);
        let mut out = Row::default();
        out.add(self, its / g)?;
        out.add(pivot, (mine / g).checked_neg()?)?;
        *self = out;
        Some(())
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1).max(1)
}

/// A variable that `equations` (left and right sides) give once those with the unknowns of `unknown`
/// are combined.
pub(crate) fn eliminate(
    code: &Code,
    equations: impl Iterator<Item = (Id, Id)>,
    unknown: u64,
) -> Option<(u8, Linear)> {
    let mut rows: Vec<Row> = equations
        .filter_map(|(left, right)| {
            let mut row = expression(code, left, unknown)?;
            row.add(&expression(code, right, unknown)?, -1)?;
            (!row.unknown.is_empty()).then_some(row)
        })
        .collect();
    let mut next = 0;
    for slot in (0..64u8).filter(|slot| unknown >> slot & 1 == 1) {
        let candidates = (next..rows.len()).filter(|at| rows[*at].factor(slot) != 0);
        // The smallest factor keeps the others small.
        let Some(at) = candidates.min_by_key(|at| rows[*at].factor(slot).unsigned_abs()) else {
            continue;
        };
        rows.swap(next, at);
        let pivot = rows[next].clone();
        for (at, row) in rows.iter_mut().enumerate() {
            if at != next && row.factor(slot) != 0 {
                row.eliminate(slot, &pivot)?;
            }
        }
        next += 1;
    }
    let row = rows.into_iter().find(|row| row.unknown.len() == 1)?;
    let (slot, factor) = row.unknown.first_key_value()?;
    let terms: Option<Vec<_>> = row
        .known
        .iter()
        .map(|(times, id)| Some((times.checked_neg()?, *id)))
        .collect();
    let linear = Linear {
        factor: *factor,
        constant: row.constant.checked_neg()?,
        terms: terms?.into(),
    };
    Some((*slot, linear))
}

/// `id` as a sum with constant factors of the unknowns, if it is one.
fn expression(code: &Code, id: Id, unknown: u64) -> Option<Row> {
    if code.mask(id) & unknown == 0 && code.constant(id).is_none() {
        let known = vec![(1, id)];
        return Some(Row {
            known,
            ..Row::default()
        });
    }
    sum(
        code,
        id,
        &|slot| {
            let unknown = [(slot, 1)].into();
            Some(Row {
                unknown,
                ..Row::default()
            })
        },
        &|id| expression(code, id, unknown),
    )
}

/// The same one level down: `var` says what a variable is, `inner` what an operand is.
fn sum(
    code: &Code,
    id: Id,
    var: &dyn Fn(u8) -> Option<Row>,
    inner: &dyn Fn(Id) -> Option<Row>,
) -> Option<Row> {
    let mut row = Row::default();
    match code.node(id) {
        Node::Const(value) => row.constant = value,
        Node::Var(slot) => row = var(slot)?,
        Node::Unary(UnaryOp::Neg, a) => row.add(&inner(a)?, -1)?,
        Node::Binary(BinaryOp::Add, a, b) => {
            row = inner(a)?;
            row.add(&inner(b)?, 1)?;
        }
        Node::Binary(BinaryOp::Sub, a, b) => {
            row = inner(a)?;
            row.add(&inner(b)?, -1)?;
        }
        Node::Binary(BinaryOp::Mul, a, b) => match (code.constant(a), code.constant(b)) {
            (Some(times), _) => row.add(&inner(b)?, times)?,
            (_, Some(times)) => row.add(&inner(a)?, times)?,
            _ => return None,
        },
        Node::Call(def, first) => {
            let args: Option<Vec<Row>> = code
                .call_args(def, first)
                .iter()
                .map(|arg| inner(*arg))
                .collect();
            return body(code, code.defs[usize::from(def)].body, &args?);
        }
        _ => return None,
    }
    Some(row)
}

/// The body of a definition whose arguments are sums.
fn body(code: &Code, id: Id, args: &[Row]) -> Option<Row> {
    sum(
        code,
        id,
        &|slot| args.get(usize::from(slot)).cloned(),
        &|id| body(code, id, args),
    )
}
