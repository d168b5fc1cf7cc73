//! Solves "which tasks touch this tile" from the index expressions. A schedule is planned once for
//! each reference of the program: what to compute, what to invert, what to try, in which order.
//! Every condition is either used exactly or checked, so each answer is one. Never unrolls.

use super::code::{Code, Id};
use super::interval::{Set, narrow};
use super::linear::Linear;

/// Variables of a statement, of the aliases on the way, and coordinates of the tile.
pub(crate) const SLOTS_MAX: usize = 64;

#[cfg(test)]
thread_local! {
    /// Values that branches have tried on this thread.
    pub(crate) static TRIED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// The values of all variables of a query.
pub(crate) type Env = [i64; SLOTS_MAX];

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rel {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Rel {
    pub(crate) fn holds(self, a: i64, b: i64) -> bool {
        match self {
            Self::Eq => a == b,
            Self::Ne => a != b,
            Self::Lt => a < b,
            Self::Le => a <= b,
            Self::Gt => a > b,
            Self::Ge => a >= b,
        }
    }

    /// `b rel' a` where `a rel b`.
    pub(crate) fn swapped(self) -> Rel {
        match self {
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
            same => same,
        }
    }

    pub(crate) fn negated(self) -> Rel {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Lt => Self::Ge,
            Self::Le => Self::Gt,
            Self::Gt => Self::Le,
            Self::Ge => Self::Lt,
        }
    }

    /// The `x` with `x rel bound`.
    fn set(self, bound: i64) -> Set {
        match self {
            Self::Eq => Set::one(bound),
            Self::Ne => Set::ALL,
            Self::Lt => Set::range(i64::MIN, bound.saturating_sub(1)),
            Self::Le => Set::range(i64::MIN, bound),
            Self::Gt => Set::range(bound.saturating_add(1), i64::MAX),
            Self::Ge => Set::range(bound, i64::MAX),
        }
    }
}

/// A condition on variables.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Test {
    Compare {
        left: Id,
        rel: Rel,
        right: Id,
    },
    Truth {
        id: Id,
        want: bool,
    },
    /// `slot` is `lo` plus a multiple of `step`.
    Step {
        slot: u8,
        lo: Id,
        step: Id,
    },
}

/// `of rel bound`, where the wanted variable is below `of` alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) of: Id,
    pub(crate) rel: Rel,
    pub(crate) bound: Id,
}

/// One step of a schedule.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// The variable is the value.
    Assign {
        slot: u8,
        value: Id,
    },
    /// The variable is the only one that fulfils the cut, an equation.
    Solve {
        slot: u8,
        cut: Cut,
    },
    /// The variable is what several equations give together.
    Combine {
        slot: u8,
        linear: Linear,
    },
    Check(Test),
    /// The variable is one of `lo..hi` by `step`, within `around` and all cuts.
    Branch {
        slot: u8,
        range: Option<(Id, Id, Option<Id>)>,
        around: (i64, i64),
        cuts: Box<[Cut]>,
    },
}

/// A planned schedule.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The statement, or the output's declaration.
    pub(crate) owner: u16,
    /// Where the tile's coordinates are put.
    pub(crate) coords: u8,
    pub(crate) ops: Box<[Op]>,
}

impl Query {
    /// Calls `found` with the variables of each solution, the coordinates being in `env`, until it
    /// says `true`; tells whether it did.
    pub(crate) fn run(
        &self,
        code: &Code,
        env: &mut Env,
        found: &mut dyn FnMut(&Env) -> bool,
    ) -> bool {
        run(code, &self.ops, env, found)
    }
}

fn run(code: &Code, ops: &[Op], env: &mut Env, found: &mut dyn FnMut(&Env) -> bool) -> bool {
    for (at, op) in ops.iter().enumerate() {
        match op {
            Op::Assign { slot, value } => match code.eval(*value, env) {
                Ok(value) => env[usize::from(*slot)] = value,
                Err(_) => return false,
            },
            Op::Solve { slot, cut } => {
                match apply(code, cut, *slot, env).and_then(|set| set.single()) {
                    Some(value) => env[usize::from(*slot)] = value,
                    None => return false,
                }
            }
            Op::Combine { slot, linear } => match linear.solve(code, env) {
                Ok(Some(value)) => env[usize::from(*slot)] = value,
                _ => return false,
            },
            Op::Check(test) => {
                if !holds(code, test, env) {
                    return false;
                }
            }
            Op::Branch {
                slot,
                range,
                around,
                cuts,
            } => {
                let Some(set) = branch(code, *slot, range, *around, cuts, env) else {
                    return false;
                };
                let mut value = set.first();
                while value <= set.hi {
                    #[cfg(test)]
                    TRIED.with(|tried| tried.set(tried.get() + 1));
                    env[usize::from(*slot)] = value;
                    if run(code, &ops[at + 1..], env, found) {
                        return true;
                    }
                    value += set.modulus;
                }
                return false;
            }
        }
    }
    found(env)
}

/// An evaluation that fails has no solution: `None`.
fn apply(code: &Code, cut: &Cut, slot: u8, env: &Env) -> Option<Set> {
    let bound = code.eval(cut.bound, env).ok()?;
    narrow(code, cut.of, slot, cut.rel.set(bound), env).ok()
}

fn branch(
    code: &Code,
    slot: u8,
    range: &Option<(Id, Id, Option<Id>)>,
    around: (i64, i64),
    cuts: &[Cut],
    env: &Env,
) -> Option<Set> {
    let mut set = Set::range(around.0, around.1);
    if let Some((lo, hi, step)) = range {
        let lo = code.eval(*lo, env).ok()?;
        set = set.and(Set::range(lo, code.eval(*hi, env).ok()?.saturating_sub(1)));
        if let Some(step) = step {
            let step = code.eval(*step, env).ok().filter(|step| *step > 0)?;
            set = set.and(Set {
                modulus: step,
                rest: lo.rem_euclid(step),
                ..Set::ALL
            });
        }
    }
    for cut in cuts {
        if set.is_empty() {
            return None;
        }
        set = set.and(apply(code, cut, slot, env)?);
    }
    Some(set)
}

fn holds(code: &Code, test: &Test, env: &Env) -> bool {
    match *test {
        Test::Compare { left, rel, right } => match (code.eval(left, env), code.eval(right, env)) {
            (Ok(left), Ok(right)) => rel.holds(left, right),
            _ => false,
        },
        Test::Truth { id, want } => code.eval(id, env).is_ok_and(|value| (value != 0) == want),
        Test::Step { slot, lo, step } => match (code.eval(lo, env), code.eval(step, env)) {
            (Ok(lo), Ok(step)) if step > 0 => env[usize::from(slot)]
                .checked_sub(lo)
                .is_some_and(|gap| gap % step == 0),
            _ => false,
        },
    }
}
