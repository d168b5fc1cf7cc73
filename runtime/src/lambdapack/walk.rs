//! Walks loops in the program's order, one task at a time. Keeps a counter a loop and no list.

use super::bound::Inner;
use super::code::{Code, Fault, Id};
use super::error::{ProgramError, Span};
use super::model::{Flow, Nest, Step};

/// Loop turns that counting may take: 2 ** 27 of 20 ns are 3 s; innermost loops take none.
const TURNS_MAX: u64 = 1 << 27;
/// Slots of a statement's variables: 24, see `expr`.
pub(crate) const WALK_SLOTS: usize = 24;

/// A statement list with jumps.
#[derive(Clone, Debug)]
pub(crate) enum Instr {
    /// Jumps behind `end` when the loop has no turn; `leaf`: nothing but tasks inside.
    Loop {
        slot: u8,
        lo: Id,
        hi: Id,
        step: Option<Id>,
        end: usize,
        leaf: bool,
        span: Span,
    },
    /// Back to `start` for another turn.
    Again {
        start: usize,
    },
    /// Jumps when the condition is not as wanted.
    Unless {
        cond: Id,
        want: bool,
        to: usize,
    },
    Jump {
        to: usize,
    },
    Let {
        slot: u8,
        value: Id,
    },
    Task(u16),
}

/// Flattens a program's statements.
pub(crate) fn flatten(body: &[Flow]) -> Vec<Instr> {
    let mut out = Vec::new();
    block(body, &mut out);
    out
}

fn block(body: &[Flow], out: &mut Vec<Instr>) {
    let bends = |flow: &Flow| matches!(flow, Flow::Loop { .. } | Flow::If { .. });
    for (at, flow) in body.iter().enumerate() {
        match flow {
            Flow::Loop {
                slot,
                lo,
                hi,
                step,
                body,
                span,
            } => {
                let start = open(
                    out,
                    *slot,
                    (*lo, *hi, *step),
                    !body.iter().any(bends),
                    *span,
                );
                block(body, out);
                close(out, start);
            }
            Flow::If { cond, then, other } => {
                let test = out.len();
                out.push(Instr::Jump { to: 0 });
                block(then, out);
                let skip = out.len();
                out.push(Instr::Jump { to: 0 });
                out[test] = Instr::Unless {
                    cond: *cond,
                    want: true,
                    to: out.len(),
                };
                block(other, out);
                out[skip] = Instr::Jump { to: out.len() };
            }
            // A name that no loop or condition can see is worked out with its task.
            Flow::Let { slot, value } if body[at..].iter().any(bends) => {
                out.push(Instr::Let {
                    slot: *slot,
                    value: *value,
                });
            }
            Flow::Let { .. } => {}
            Flow::Task(id) => out.push(Instr::Task(*id)),
        }
    }
}

fn open(
    out: &mut Vec<Instr>,
    slot: u8,
    range: (Id, Id, Option<Id>),
    leaf: bool,
    span: Span,
) -> usize {
    let (lo, hi, step) = range;
    out.push(Instr::Loop {
        slot,
        lo,
        hi,
        step,
        end: 0,
        leaf,
        span,
    });
    out.len() - 1
}

fn close(out: &mut Vec<Instr>, start: usize) {
    out.push(Instr::Again { start });
    let behind = out.len();
    if let Instr::Loop { end, .. } = &mut out[start] {
        *end = behind;
    }
}

/// The walk over nests of their own, one after the other, numbered from 0.
pub(crate) fn of_nests<'a>(nests: impl Iterator<Item = &'a Nest>) -> Vec<Instr> {
    of_numbered_nests(nests.enumerate())
}

/// The walk over nests of their own, one after the other, each with its number.
pub(crate) fn of_numbered_nests<'a>(nests: impl Iterator<Item = (usize, &'a Nest)>) -> Vec<Instr> {
    let mut out = Vec::new();
    for (id, nest) in nests {
        let (mut starts, mut tests) = (Vec::new(), Vec::new());
        for (at, step) in nest.steps.iter().enumerate() {
            match *step {
                Step::Loop {
                    slot,
                    lo,
                    hi,
                    step,
                    span,
                } => {
                    let leaf = at + 1 == nest.steps.len();
                    starts.push(open(&mut out, slot, (lo, hi, step), leaf, span));
                }
                Step::Guard { cond, want } => {
                    tests.push(out.len());
                    out.push(Instr::Unless { cond, want, to: 0 });
                }
                Step::Let { slot, value } => out.push(Instr::Let { slot, value }),
                Step::Where { .. } => {}
            }
        }
        out.push(Instr::Task(id as u16));
        // Conditions stand inside all loops here: a false one goes to the innermost loop's turn.
        let inside = out.len();
        for test in tests {
            if let Instr::Unless { to, .. } = &mut out[test] {
                *to = inside;
            }
        }
        for start in starts.into_iter().rev() {
            close(&mut out, start);
        }
    }
    out
}

/// The state of a walk.
#[derive(Clone, Debug)]
pub(crate) struct Walker {
    at: usize,
    pub(crate) env: [i64; WALK_SLOTS],
    /// End and step of the open loops.
    loops: Vec<(i64, i64)>,
    turns: u64,
}

/// Why a walk stops.
pub(crate) enum Stop {
    Fault(Fault),
    /// A loop whose step is not positive.
    Step(Span),
    /// A loop whose variable leaves 32 bits.
    Wide(Span),
    Turns(Span),
}

impl Walker {
    pub(crate) fn new() -> Self {
        Self {
            at: 0,
            env: [0; WALK_SLOTS],
            loops: Vec::new(),
            turns: 0,
        }
    }

    /// The next task's statement; its variables are in `env`.
    pub(crate) fn next(&mut self, code: &Code, instrs: &[Instr]) -> Result<Option<u16>, Stop> {
        while let Some(instr) = instrs.get(self.at) {
            self.at += 1;
            match instr {
                Instr::Task(id) => return Ok(Some(*id)),
                _ => self.step(code, instrs, instr)?,
            }
        }
        Ok(None)
    }

    /// As [`Walker::next`] for a walk that counting has been through.
    pub(crate) fn advance(&mut self, code: &Code, instrs: &[Instr]) -> Option<u16> {
        self.turns = 0;
        let Ok(next) = self.next(code, instrs) else {
            unreachable!("the same loops were walked when the program was bound")
        };
        next
    }

    fn step(&mut self, code: &Code, instrs: &[Instr], instr: &Instr) -> Result<(), Stop> {
        match instr {
            Instr::Loop { slot, end, .. } => match self.range(code, instr)? {
                Some((lo, hi, step)) => {
                    self.env[usize::from(*slot)] = lo;
                    self.loops.push((hi, step));
                }
                None => self.at = *end,
            },
            Instr::Again { start } => {
                let Instr::Loop { slot, span, .. } = &instrs[*start] else {
                    return Ok(());
                };
                let Some((hi, step)) = self.loops.last().copied() else {
                    return Ok(());
                };
                self.turns += 1;
                if self.turns > TURNS_MAX {
                    return Err(Stop::Turns(*span));
                }
                let value = self.env[usize::from(*slot)].saturating_add(step);
                if value < hi {
                    self.env[usize::from(*slot)] = value;
                    self.at = start + 1;
                } else {
                    self.loops.pop();
                }
            }
            Instr::Unless { cond, want, to } => {
                if (code.eval(*cond, &self.env).map_err(Stop::Fault)? != 0) != *want {
                    self.at = *to;
                }
            }
            Instr::Jump { to } => self.at = *to,
            Instr::Let { slot, value } => {
                self.env[usize::from(*slot)] = code.eval(*value, &self.env).map_err(Stop::Fault)?;
            }
            Instr::Task(_) => {}
        }
        Ok(())
    }

    /// First value, end and step of a loop; `None` if it has no turn.
    fn range(&self, code: &Code, instr: &Instr) -> Result<Option<(i64, i64, i64)>, Stop> {
        let Instr::Loop {
            lo, hi, step, span, ..
        } = instr
        else {
            return Ok(None);
        };
        let eval = |id: Id| code.eval(id, &self.env).map_err(Stop::Fault);
        let (lo, hi) = (eval(*lo)?, eval(*hi)?);
        let step = match step {
            Some(step) => eval(*step)?,
            None => 1,
        };
        if lo >= hi {
            return Ok(None);
        }
        if step <= 0 {
            return Err(Stop::Step(*span));
        }
        if i32::try_from(lo).is_err() || i32::try_from(hi - 1).is_err() {
            return Err(Stop::Wide(*span));
        }
        Ok(Some((lo, hi, step)))
    }
}

/// How often each statement occurs. Innermost loops are counted without walking them.
pub(crate) fn count(
    inner: &Inner,
    instrs: &[Instr],
    statements: usize,
) -> Result<Vec<u64>, ProgramError> {
    let mut counts = vec![0u64; statements];
    let mut walker = Walker::new();
    let mut walk = || -> Result<(), Stop> {
        while let Some(instr) = instrs.get(walker.at) {
            walker.at += 1;
            match instr {
                Instr::Task(id) => counts[usize::from(*id)] += 1,
                Instr::Loop {
                    end, leaf: true, ..
                } => {
                    let turns = walker
                        .range(&inner.code, instr)?
                        .map_or(0, |(lo, hi, step)| {
                            // Below 2 ** 32 turns: the range fits 32 bits.
                            ((hi - lo + step - 1) / step) as u64
                        });
                    for task in &instrs[walker.at..*end] {
                        if let Instr::Task(id) = task {
                            let count = &mut counts[usize::from(*id)];
                            *count = count.saturating_add(turns);
                        }
                    }
                    walker.at = *end;
                }
                _ => walker.step(&inner.code, instrs, instr)?,
            }
        }
        Ok(())
    };
    match walk() {
        Ok(()) => Ok(counts),
        Err(stop) => Err(inner.stopped(stop)),
    }
}
