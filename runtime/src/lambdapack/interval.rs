//! Bounds on what an expression can be, and the inverse question: which values of a variable
//! bring an expression into a range. Both err on the large side, so that nothing is lost; every
//! candidate is checked forwards elsewhere.

use super::ast::{BinaryOp, UnaryOp};
use super::code::{ARITY_MAX, Code, Fault, Id, Node};

/// Beyond it a bound says nothing.
const FAR: i64 = i64::MAX / 4;

/// The integers from `lo` to `hi`, both included, that leave `rest` when divided by `modulus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) lo: i64,
    pub(crate) hi: i64,
    pub(crate) modulus: i64,
    pub(crate) rest: i64,
}

impl Set {
    pub(crate) const ALL: Set = Set {
        lo: -FAR,
        hi: FAR,
        modulus: 1,
        rest: 0,
    };
    const NONE: Set = Set {
        lo: 1,
        hi: 0,
        modulus: 1,
        rest: 0,
    };

    pub(crate) fn range(lo: i64, hi: i64) -> Set {
        Set {
            lo: lo.max(-FAR),
            hi: hi.min(FAR),
            modulus: 1,
            rest: 0,
        }
    }

    pub(crate) fn one(value: i64) -> Set {
        Set::range(value, value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lo > self.hi
    }

    /// The only member, if there is exactly one by the bounds.
    pub(crate) fn single(&self) -> Option<i64> {
        (self.lo == self.hi && (self.modulus == 1 || self.lo.rem_euclid(self.modulus) == self.rest))
            .then_some(self.lo)
    }

    /// The least member, then every `modulus`-th.
    pub(crate) fn first(&self) -> i64 {
        self.lo + (self.rest - self.lo).rem_euclid(self.modulus)
    }

    fn shift(self, by: i64) -> Set {
        let Set {
            lo,
            hi,
            modulus,
            rest,
        } = self;
        let moved = |at: i64| {
            if at.abs() >= FAR {
                at
            } else {
                at.saturating_add(by).clamp(-FAR, FAR)
            }
        };
        let rest = (i128::from(rest) + i128::from(by)).rem_euclid(i128::from(modulus)) as i64;
        Set {
            lo: moved(lo),
            hi: moved(hi),
            modulus,
            rest,
        }
    }

    fn negate(self) -> Set {
        Set {
            lo: -self.hi,
            hi: -self.lo,
            rest: (-self.rest).rem_euclid(self.modulus),
            ..self
        }
    }

    /// The values that both sets allow. Where two moduli do not combine, the larger is kept.
    pub(crate) fn and(self, other: Set) -> Set {
        let (lo, hi) = (self.lo.max(other.lo), self.hi.min(other.hi));
        let (big, small) = if self.modulus >= other.modulus {
            (self, other)
        } else {
            (other, self)
        };
        let (mut modulus, mut rest) = (big.modulus, big.rest);
        if small.modulus > 1 {
            let (g, inverse) = gcd(big.modulus, small.modulus);
            let gap = small.rest - big.rest;
            if gap % g != 0 {
                return Set::NONE;
            }
            let step = small.modulus / g;
            if let Some(joined) = modulus.checked_mul(step).filter(|m| *m < FAR) {
                let times =
                    (i128::from(gap / g) * i128::from(inverse)).rem_euclid(i128::from(step));
                rest =
                    ((i128::from(rest) + i128::from(modulus) * times) % i128::from(joined)) as i64;
                modulus = joined;
            }
        }
        Set {
            lo,
            hi,
            modulus,
            rest,
        }
    }
}

/// The greatest common divisor `g` of `a` and `b`, and the inverse of `a / g` modulo `b / g`.
fn gcd(a: i64, b: i64) -> (i64, i64) {
    let (mut r, mut x) = ((a, b), (1i64, 0i64));
    while r.1 != 0 {
        let q = r.0 / r.1;
        r = (r.1, r.0 - q * r.1);
        x = (x.1, x.0 - q * x.1);
    }
    (r.0, x.0.rem_euclid((b / r.0).max(1)))
}

/// Which values of variable `slot` can bring `id` into `want`, the other variables being known.
/// `slot` must occur below `id`; where it occurs in two operands at once, nothing is excluded.
pub(crate) fn narrow(code: &Code, id: Id, slot: u8, want: Set, env: &[i64]) -> Result<Set, Fault> {
    if want.is_empty() {
        return Ok(Set::NONE);
    }
    let has = |id: Id| code.mask(id) >> slot & 1 == 1;
    match code.node(id) {
        Node::Var(_) => Ok(want),
        Node::Const(_) | Node::Param(_) => Ok(Set::ALL),
        Node::Unary(op, a) => match through_unary(op, want) {
            Some(want) => narrow(code, a, slot, want, env),
            None => Ok(Set::ALL),
        },
        Node::Binary(_, a, b) if has(a) && has(b) => Ok(Set::ALL),
        Node::Binary(op, a, b) if has(a) => match through_left(op, want, code.eval(b, env)?) {
            Some(want) => narrow(code, a, slot, want, env),
            None => Ok(Set::ALL),
        },
        Node::Binary(op, a, b) => match through_right(op, want, code.eval(a, env)?) {
            Some(want) => narrow(code, b, slot, want, env),
            None => Ok(Set::ALL),
        },
        Node::If(cond, then, other) => {
            if has(cond) {
                return Ok(Set::ALL);
            }
            let chosen = if code.eval(cond, env)? != 0 {
                then
            } else {
                other
            };
            if has(chosen) {
                narrow(code, chosen, slot, want, env)
            } else {
                Ok(Set::ALL)
            }
        }
        Node::Call(def, first) => {
            let args = code.call_args(def, first);
            let mut frame = [0; ARITY_MAX];
            let mut found = None;
            for (at, arg) in args.iter().enumerate() {
                if has(*arg) {
                    if found.replace(at).is_some() {
                        return Ok(Set::ALL);
                    }
                } else {
                    frame[at] = code.eval(*arg, env)?;
                }
            }
            let Some(at) = found else { return Ok(Set::ALL) };
            let body = code.defs[usize::from(def)].body;
            if code.mask(body) >> at & 1 == 0 {
                return Ok(Set::ALL);
            }
            let want = narrow(code, body, at as u8, want, &frame)?;
            if want == Set::ALL {
                Ok(want)
            } else {
                narrow(code, args[at], slot, want, env)
            }
        }
    }
}

fn through_unary(op: UnaryOp, want: Set) -> Option<Set> {
    match op {
        UnaryOp::Neg => Some(want.negate()),
        UnaryOp::Clog2 => {
            // clog2(x) = l for 2 ** (l - 1) < x <= 2 ** l
            let lo = if want.lo <= 0 {
                1
            } else {
                power(2, want.lo - 1).saturating_add(1)
            };
            Some(if want.hi < 0 {
                Set::NONE
            } else {
                Set::range(lo, power(2, want.hi))
            })
        }
        UnaryOp::Flog2 => {
            let lo = if want.lo <= 0 { 1 } else { power(2, want.lo) };
            let hi = power(2, want.hi.saturating_add(1)).saturating_sub(1);
            Some(if want.hi < 0 {
                Set::NONE
            } else {
                Set::range(lo, hi)
            })
        }
        UnaryOp::Abs => Some(if want.hi < 0 {
            Set::NONE
        } else {
            Set::range(-want.hi, want.hi)
        }),
        UnaryOp::Not | UnaryOp::Tz => None,
    }
}

/// `base ** exponent`, at most [`FAR`].
fn power(base: i64, exponent: i64) -> i64 {
    u32::try_from(exponent.clamp(0, 63))
        .ok()
        .and_then(|e| base.checked_pow(e))
        .unwrap_or(FAR)
        .min(FAR)
}

/// The `x` with `x op b` in `want`.
fn through_left(op: BinaryOp, want: Set, b: i64) -> Option<Set> {
    match op {
        BinaryOp::Add => Some(want.shift(b.checked_neg()?)),
        BinaryOp::Sub => Some(want.shift(b)),
        BinaryOp::Mul => times(want, b),
        BinaryOp::Div if b > 0 => {
            let lo = if want.lo <= -FAR {
                -FAR
            } else {
                want.lo.saturating_mul(b)
            };
            let hi = if want.hi >= FAR {
                FAR
            } else {
                want.hi.saturating_mul(b).saturating_add(b - 1)
            };
            Some(Set::range(lo, hi))
        }
        BinaryOp::Cdiv if b > 0 => {
            let lo = if want.lo <= -FAR {
                -FAR
            } else {
                (want.lo - 1).saturating_mul(b).saturating_add(1)
            };
            let hi = if want.hi >= FAR {
                FAR
            } else {
                want.hi.saturating_mul(b)
            };
            Some(Set::range(lo, hi))
        }
        BinaryOp::Mod if b > 0 => match want.single() {
            Some(rest) if (0..b).contains(&rest) => Some(Set {
                modulus: b,
                rest,
                ..Set::ALL
            }),
            Some(_) => Some(Set::NONE),
            None => None,
        },
        BinaryOp::Min => Some(if b < want.lo {
            Set::NONE
        } else {
            Set::range(want.lo, if b > want.hi { want.hi } else { FAR })
        }),
        BinaryOp::Max => Some(if b > want.hi {
            Set::NONE
        } else {
            Set::range(if b < want.lo { want.lo } else { -FAR }, want.hi)
        }),
        _ => None,
    }
}

/// The `x` with `a op x` in `want`.
fn through_right(op: BinaryOp, want: Set, a: i64) -> Option<Set> {
    match op {
        BinaryOp::Add | BinaryOp::Mul | BinaryOp::Min | BinaryOp::Max => through_left(op, want, a),
        BinaryOp::Sub => Some(want.negate().shift(a)),
        BinaryOp::Pow if a >= 2 => {
            let (mut lo, mut hi) = (0, 62);
            while lo <= 62 && power(a, lo) < want.lo {
                lo += 1;
            }
            while hi >= 0 && power(a, hi) > want.hi {
                hi -= 1;
            }
            Some(Set::range(lo, hi))
        }
        _ => None,
    }
}

/// The `x` with `x * by` in `want`.
fn times(want: Set, by: i64) -> Option<Set> {
    if by == 0 {
        let zero = want.lo <= 0 && want.hi >= 0 && want.rest == 0;
        return Some(if zero { Set::ALL } else { Set::NONE });
    }
    let (want, by) = if by < 0 {
        (want.negate(), by.checked_neg()?)
    } else {
        (want, by)
    };
    let lo = if want.lo <= -FAR {
        -FAR
    } else {
        want.lo.div_euclid(by) + i64::from(want.lo.rem_euclid(by) != 0)
    };
    let hi = if want.hi >= FAR {
        FAR
    } else {
        want.hi.div_euclid(by)
    };
    let (g, inverse) = gcd(by, want.modulus);
    if want.rest % g != 0 {
        return Some(Set::NONE);
    }
    let modulus = want.modulus / g;
    let rest =
        (i128::from(want.rest / g) * i128::from(inverse)).rem_euclid(i128::from(modulus)) as i64;
    Some(Set {
        lo,
        hi,
        modulus,
        rest,
    })
}

/// Bounds of `id` where each variable `v` lies within `env[v]`. Faults are ignored: they have no
/// value that could lie outside.
pub(crate) fn bounds(code: &Code, id: Id, env: &[(i64, i64)]) -> (i64, i64) {
    match code.node(id) {
        Node::Const(value) => (value.max(-FAR), value.min(FAR)),
        Node::Param(_) => (-FAR, FAR),
        Node::Var(slot) => env[usize::from(slot)],
        Node::Unary(op, a) => unary_bounds(op, bounds(code, a, env)),
        Node::Binary(op, a, b) => binary_bounds(op, bounds(code, a, env), bounds(code, b, env)),
        Node::If(cond, then, other) => {
            let (lo, hi) = bounds(code, cond, env);
            if lo > 0 || hi < 0 {
                return bounds(code, then, env);
            }
            let other = bounds(code, other, env);
            if (lo, hi) == (0, 0) {
                return other;
            }
            let then = bounds(code, then, env);
            (then.0.min(other.0), then.1.max(other.1))
        }
        Node::Call(def, first) => {
            let mut frame = [(0, 0); ARITY_MAX];
            for (slot, arg) in frame.iter_mut().zip(code.call_args(def, first)) {
                *slot = bounds(code, *arg, env);
            }
            bounds(code, code.defs[usize::from(def)].body, &frame)
        }
    }
}

fn unary_bounds(op: UnaryOp, a: (i64, i64)) -> (i64, i64) {
    match op {
        UnaryOp::Neg => (-a.1, -a.0),
        UnaryOp::Not => (0, 1),
        UnaryOp::Abs if a.0 >= 0 => a,
        UnaryOp::Abs => (0, a.0.abs().max(a.1)),
        UnaryOp::Clog2 | UnaryOp::Flog2 => {
            let log = |at: i64| super::code::unary(op, at.max(1)).unwrap_or(62);
            (log(a.0), log(a.1))
        }
        UnaryOp::Tz => (0, 62),
    }
}

fn binary_bounds(op: BinaryOp, a: (i64, i64), b: (i64, i64)) -> (i64, i64) {
    let wide = |lo: i128, hi: i128| {
        let far = i128::from(FAR);
        (lo.clamp(-far, far) as i64, hi.clamp(-far, far) as i64)
    };
    let corners = |of: &dyn Fn(i128, i128) -> i128, b: (i64, i64)| {
        let all = [(a.0, b.0), (a.0, b.1), (a.1, b.0), (a.1, b.1)];
        let all = all.map(|(x, y)| of(i128::from(x), i128::from(y)));
        wide(
            all.into_iter().min().unwrap_or(0),
            all.into_iter().max().unwrap_or(0),
        )
    };
    let positive = (b.0.max(1), b.1.max(1));
    match op {
        BinaryOp::Add => wide(
            i128::from(a.0) + i128::from(b.0),
            i128::from(a.1) + i128::from(b.1),
        ),
        BinaryOp::Sub => wide(
            i128::from(a.0) - i128::from(b.1),
            i128::from(a.1) - i128::from(b.0),
        ),
        BinaryOp::Mul => corners(&|x, y| x * y, b),
        BinaryOp::Div => corners(&|x, y| x.div_euclid(y), positive),
        BinaryOp::Cdiv => corners(&|x, y| -(-x).div_euclid(y), positive),
        BinaryOp::Mod => (
            0,
            if a.0 >= 0 {
                a.1.min(positive.1 - 1)
            } else {
                positive.1 - 1
            },
        ),
        BinaryOp::Pow if a.0 >= 1 => (power(a.0, b.0), power(a.1, b.1)),
        BinaryOp::Pow => (-FAR, FAR),
        BinaryOp::Min => (a.0.min(b.0), a.1.min(b.1)),
        BinaryOp::Max => (a.0.max(b.0), a.1.max(b.1)),
        BinaryOp::Clog => (0, 63),
        BinaryOp::Lt => decide(a.1 < b.0, a.0 >= b.1),
        BinaryOp::Le => decide(a.1 <= b.0, a.0 > b.1),
        BinaryOp::Gt => decide(a.0 > b.1, a.1 <= b.0),
        BinaryOp::Ge => decide(a.0 >= b.1, a.1 < b.0),
        BinaryOp::Eq | BinaryOp::Ne | BinaryOp::And | BinaryOp::Or => (0, 1),
    }
}

fn decide(always: bool, never: bool) -> (i64, i64) {
    (i64::from(always), i64::from(!never))
}
