//! A task's variables, its tiles and their shapes, worked out forwards and checked.

use peerwren_kernels::tile::{Kind, Shape};
use peerwren_transports::block::{Indices, RANK_MAX};

use super::bound::Bound;
use super::code::{Code, Fault, Id};
use super::error::{Diagnosis, Span, TaskError};
use super::model::{Access, Generator, Nest, Pattern, ShapeTree, Step};
use super::task::{Generated, Slots, Task, Tile};
use super::walk::WALK_SLOTS;

/// Rows or columns of a tile: 2 ** 31 - 1, so that a product of two fits 64 bits.
const SIDE_MAX: i64 = i32::MAX as i64;

/// Why indices, a tile or a shape have no value.
pub(crate) enum Wrong {
    Fault(Fault),
    /// The indices are not those of a task or an input.
    Outside,
    /// A declared inverse does not hold.
    Inverse(Span),
    /// An index does not fit 32 bits.
    Wide,
    /// Two aliases match: the second's place.
    Ambiguous(Span),
    /// A size is out of range.
    Size(Span, String),
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Bound {
    /// The variables of a task, lets included, if the program has it.
    pub(crate) fn env(&self, task: Task) -> Result<[i64; WALK_SLOTS], TaskError> {
        let none = || TaskError::NoSuchTask {
            stmt: task.stmt,
            at: task.at.as_slice().to_vec(),
        };
        let decl = self
            .inner
            .tasks
            .get(usize::from(task.stmt))
            .ok_or_else(none)?;
        let mut env = [0; WALK_SLOTS];
        match self.fill(&decl.nest, task.at, &mut env) {
            Ok(()) => Ok(env),
            Err(Wrong::Outside) => Err(none()),
            Err(Wrong::Inverse(span)) => {
                let values: Vec<String> = decl
                    .nest
                    .names
                    .iter()
                    .zip(env)
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                let text = format!("declared inverse is false at {}", values.join(", "));
                Err(TaskError::Program(Box::new(
                    self.inner.model.sources.diagnose(span, text),
                )))
            }
            Err(wrong) => Err(self.wrong(wrong, decl.span, task)),
        }
    }

    /// Sets the variables of `nest` whose loops are at `at`.
    pub(crate) fn fill(
        &self,
        nest: &Nest,
        at: Indices,
        env: &mut [i64; WALK_SLOTS],
    ) -> Result<(), Wrong> {
        let code = &self.inner.code;
        let mut at = at.as_slice().iter();
        for step in &nest.steps {
            match step {
                Step::Loop {
                    slot, lo, hi, step, ..
                } => {
                    let value = i64::from(*at.next().ok_or(Wrong::Outside)?);
                    let lo = code.eval(*lo, env)?;
                    if value < lo || value >= code.eval(*hi, env)? {
                        return Err(Wrong::Outside);
                    }
                    if let Some(step) = step
                        && value.abs_diff(lo) % code.eval(*step, env)?.max(1) as u64 != 0
                    {
                        return Err(Wrong::Outside);
                    }
                    env[usize::from(*slot)] = value;
                }
                Step::Let { slot, value } => env[usize::from(*slot)] = code.eval(*value, env)?,
                Step::Where { slot, value, span } => {
                    if code.eval(*value, env)? != env[usize::from(*slot)] {
                        return Err(Wrong::Inverse(*span));
                    }
                }
                Step::Guard { cond, want } => {
                    if (code.eval(*cond, env)? != 0) != *want {
                        return Err(Wrong::Outside);
                    }
                }
            }
        }
        if at.next().is_some() {
            Err(Wrong::Outside)
        } else {
            Ok(())
        }
    }

    /// The tiles that `accesses` of `task` name.
    pub(crate) fn operands(
        &self,
        task: Task,
        accesses: &[Access],
        env: &[i64; WALK_SLOTS],
    ) -> Result<Slots, TaskError> {
        let mut slots = Slots::default();
        for access in accesses {
            slots.push(
                self.operand(access, env)
                    .map_err(|wrong| self.wrong(wrong, access.span, task))?,
            );
        }
        Ok(slots)
    }

    fn operand(&self, access: &Access, env: &[i64; WALK_SLOTS]) -> Result<Option<Tile>, Wrong> {
        if let Some(when) = access.when
            && self.inner.code.eval(when, env)? == 0
        {
            return Ok(None);
        }
        let tile = self.tile_of(access, env)?;
        let input = self.inner.families[usize::from(tile.family)]
            .input
            .is_some();
        if input && !self.is_input(tile) {
            let text = format!("{} is outside the declared input", self.describe_tile(tile));
            return Err(Wrong::Size(access.span, text));
        }
        Ok(Some(tile))
    }

    /// The tile that `access` names, aliases followed.
    pub(crate) fn tile_of(&self, access: &Access, env: &[i64]) -> Result<Tile, Wrong> {
        let mut index = [0; RANK_MAX];
        for (place, id) in index.iter_mut().zip(&access.index) {
            *place = self.inner.code.eval(*id, env)?;
        }
        self.follow(access.family, index)
    }

    /// Follows aliases from `family[index]`. Ends, since no alias leads back to its family.
    pub(crate) fn follow(
        &self,
        mut family: u16,
        mut index: [i64; RANK_MAX],
    ) -> Result<Tile, Wrong> {
        loop {
            let decl = &self.inner.families[usize::from(family)];
            let mut next = None;
            for place in &decl.aliases {
                let Some(env) = self.matched(*place, &index)? else {
                    continue;
                };
                let alias = &self.inner.aliases[*place];
                if next.is_some() {
                    return Err(Wrong::Ambiguous(alias.span));
                }
                let mut to = [0; RANK_MAX];
                for (place, id) in to.iter_mut().zip(&alias.target.index) {
                    *place = self.inner.code.eval(*id, &env)?;
                }
                next = Some((alias.target.family, to));
            }
            match next {
                Some((to, at)) => (family, index) = (to, at),
                None => {
                    let at = Indices::new(&index[..decl.indices.len()]).ok_or(Wrong::Wide)?;
                    return Ok(Tile { family, at });
                }
            }
        }
    }

    /// The variables that alias `place` binds where it matches `index`.
    fn matched(
        &self,
        place: usize,
        index: &[i64; RANK_MAX],
    ) -> Result<Option<[i64; WALK_SLOTS]>, Wrong> {
        let code: &Code = &self.inner.code;
        let alias = &self.inner.aliases[place];
        let mut env = [0; WALK_SLOTS];
        for (pattern, value) in alias.patterns.iter().zip(index) {
            if let Pattern::Bind(slot) = pattern {
                env[usize::from(*slot)] = *value;
            }
        }
        // Constants first: they cannot fail, and mostly decide.
        for constants in [true, false] {
            for (pattern, value) in alias.patterns.iter().zip(index) {
                if let Pattern::Equal(id) = pattern
                    && code.constant(*id).is_some() == constants
                    && code.eval(*id, &env)? != *value
                {
                    return Ok(None);
                }
            }
        }
        match alias.target.when {
            Some(when) if code.eval(when, &env)? == 0 => Ok(None),
            _ => Ok(Some(env)),
        }
    }

    /// The shape of `tile` as its family declares it.
    pub(crate) fn shape_of(&self, tile: Tile) -> Result<Shape, TaskError> {
        self.declared(tile, |(shape, _), _| Ok(shape))
    }

    /// The same with as many rows as its family takes for likely.
    pub(crate) fn likely_shape_of(&self, tile: Tile) -> Result<Shape, TaskError> {
        self.declared(tile, |(shape, likely), env| {
            let Some(likely) = likely else {
                return Ok(shape);
            };
            let rows = self.inner.code.eval(likely, env)?;
            let rows = rows.clamp(0, shape.rows.into()) as u32;
            Ok(Shape { rows, ..shape })
        })
    }

    /// What `view` makes of the shape of `tile`, and of the rows that are likely.
    fn declared(
        &self,
        tile: Tile,
        view: impl Fn((Shape, Option<Id>), &[i64; RANK_MAX]) -> Result<Shape, Wrong>,
    ) -> Result<Shape, TaskError> {
        let none = || TaskError::NoSuchTask {
            stmt: tile.family,
            at: tile.at.as_slice().to_vec(),
        };
        let decl = self
            .inner
            .families
            .get(usize::from(tile.family))
            .ok_or_else(none)?;
        let mut env = [0; RANK_MAX];
        for (slot, value) in env.iter_mut().zip(tile.at.as_slice()) {
            *slot = i64::from(*value);
        }
        let declared = self.shape_in(&decl.shape, &env);
        let viewed = declared.and_then(|declared| view(declared, &env));
        viewed.map_err(|wrong| {
            let at = format!(" in the shape of {}", self.describe_tile(tile));
            TaskError::Program(Box::new(self.diagnose(wrong, decl.span, &at)))
        })
    }

    /// How `tile` is made, if its family has a generator.
    pub(crate) fn generated(&self, tile: Tile) -> Result<Option<Generated>, TaskError> {
        let decl = self.inner.families.get(usize::from(tile.family));
        let Some((decl, made)) = decl.and_then(|decl| Some((decl, decl.generator?))) else {
            return Ok(None);
        };
        let mut env = [0; RANK_MAX];
        for (slot, value) in env.iter_mut().zip(tile.at.as_slice()) {
            *slot = i64::from(*value);
        }
        let eval = |id| self.inner.code.eval(id, &env);
        let made = match made {
            Generator::Zeros => Ok(Generated::Zeros),
            Generator::Eye { row, col } => eval(row).and_then(|row| {
                Ok(Generated::Eye {
                    row,
                    col: eval(col)?,
                })
            }),
            Generator::Iota { first } => eval(first).map(|first| Generated::Iota { first }),
        };
        made.map(Some).map_err(|fault| {
            let at = format!(" in the generator of {}", self.describe_tile(tile));
            TaskError::Program(Box::new(self.diagnose(fault.into(), decl.span, &at)))
        })
    }

    fn shape_in(
        &self,
        tree: &ShapeTree,
        env: &[i64; RANK_MAX],
    ) -> Result<(Shape, Option<Id>), Wrong> {
        let code = &self.inner.code;
        match tree {
            ShapeTree::If(cond, then, other) => {
                let chosen = if code.eval(*cond, env)? != 0 {
                    then
                } else {
                    other
                };
                self.shape_in(chosen, env)
            }
            ShapeTree::Make {
                kind,
                rows,
                cols,
                likely,
                span,
            } => {
                let (rows, cols) = (code.eval(*rows, env)?, code.eval(*cols, env)?);
                let size = |side: i64| (1..=SIDE_MAX).contains(&side).then_some(side as u32);
                let (Some(rows), Some(cols)) = (size(rows), size(cols)) else {
                    return Err(Wrong::Size(
                        *span,
                        format!("a tile cannot be {rows} x {cols}"),
                    ));
                };
                if *kind == Kind::Unit && cols > rows {
                    let text =
                        format!("a unit tile has no more columns than rows, not {rows} x {cols}");
                    return Err(Wrong::Size(*span, text));
                }
                let shape = Shape {
                    kind: *kind,
                    rows,
                    cols,
                };
                Ok((shape, *likely))
            }
        }
    }

    /// What is wrong with a task that reads a tile that nobody writes.
    pub(crate) fn unwritten(&self, task: Task, place: usize, tile: Tile) -> TaskError {
        let span = self.inner.tasks[usize::from(task.stmt)].ins[place].span;
        let text = format!(
            "{} is never written, but {} reads it",
            self.describe_tile(tile),
            self.describe(task)
        );
        TaskError::Program(Box::new(self.inner.model.sources.diagnose(span, text)))
    }

    fn wrong(&self, wrong: Wrong, span: Span, task: Task) -> TaskError {
        let at = format!(" at {}", self.describe(task));
        TaskError::Program(Box::new(self.diagnose(wrong, span, &at)))
    }

    /// Puts `wrong` into words; `span` is where it happened if it does not know better.
    pub(crate) fn diagnose(&self, wrong: Wrong, span: Span, at: &str) -> Diagnosis {
        let sources = &self.inner.model.sources;
        match wrong {
            Wrong::Fault(fault) => {
                let place = self.inner.code.spans[fault.at as usize];
                sources.diagnose(place, format!("{}{at}", fault.kind.text()))
            }
            Wrong::Outside => sources.diagnose(span, format!("indices out of range{at}")),
            Wrong::Inverse(place) => {
                sources.diagnose(place, format!("declared inverse is false{at}"))
            }
            Wrong::Wide => sources.diagnose(span, format!("an index does not fit 32 bits{at}")),
            Wrong::Ambiguous(place) => {
                sources.diagnose(place, format!("this alias matches besides another one{at}"))
            }
            Wrong::Size(place, text) => sources.diagnose(place, format!("{text}{at}")),
        }
    }
}
