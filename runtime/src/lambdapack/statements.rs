//! Resolves statements: loops, conditions, lets and tasks.

use peerwren_transports::block::RANK_MAX;

use super::ast::{File, Item, Stmt, TaskStmt};
use super::expr::Vars;
use super::model::{Flow, Nest, Step, TaskDecl};
use super::resolve::{Checked, OPERANDS_MAX, Resolver};

/// Resolves the statements of `file` into the model's `body` and `tasks`.
pub(crate) fn resolve(resolver: &mut Resolver, file: &File) -> Checked<()> {
    let mut walk = Walk {
        resolver,
        vars: Vars::default(),
        steps: Vec::new(),
    };
    let mut body = Vec::new();
    for item in &file.items {
        if let Item::Stmt(stmt) = item {
            walk.stmt(stmt, &mut body)?;
        }
    }
    if body.is_empty() {
        let text = format!("the program {} has no statement", file.name.text);
        return Err(walk.resolver.fault(file.name.span, text));
    }
    resolver.model.body = body;
    Ok(())
}

/// The way down to a statement.
struct Walk<'a> {
    resolver: &'a mut Resolver,
    vars: Vars,
    steps: Vec<Step>,
}

impl Walk<'_> {
    fn block(&mut self, stmts: &[Stmt]) -> Checked<Vec<Flow>> {
        let (vars, steps) = (self.vars.names().len(), self.steps.len());
        let mut out = Vec::new();
        for stmt in stmts {
            self.stmt(stmt, &mut out)?;
        }
        self.vars.truncate(vars);
        self.steps.truncate(steps);
        Ok(out)
    }

    fn stmt(&mut self, stmt: &Stmt, out: &mut Vec<Flow>) -> Checked<()> {
        match stmt {
            Stmt::For {
                var,
                lo,
                hi,
                step,
                body,
            } => {
                let lo = self.resolver.expr(lo, &self.vars)?;
                let hi = self.resolver.expr(hi, &self.vars)?;
                let step = match step {
                    Some(step) => Some(self.resolver.expr(step, &self.vars)?),
                    None => None,
                };
                let (vars, steps) = (self.vars.names().len(), self.steps.len());
                let slot = self.resolver.bind(&mut self.vars, var)?;
                self.steps.push(Step::Loop {
                    slot,
                    lo,
                    hi,
                    step,
                    span: var.span,
                });
                let loops = self
                    .steps
                    .iter()
                    .filter(|s| matches!(s, Step::Loop { .. }))
                    .count();
                if loops > RANK_MAX {
                    let text = format!("more than {RANK_MAX} loops around a task");
                    return Err(self.resolver.fault(var.span, text));
                }
                let body = self.block(body)?;
                self.vars.truncate(vars);
                self.steps.truncate(steps);
                out.push(Flow::Loop {
                    slot,
                    lo,
                    hi,
                    step,
                    body,
                    span: var.span,
                });
            }
            Stmt::If {
                cond,
                then,
                otherwise,
            } => {
                let cond = self.resolver.expr(cond, &self.vars)?;
                self.steps.push(Step::Guard { cond, want: true });
                let then = self.block(then)?;
                self.steps.pop();
                self.steps.push(Step::Guard { cond, want: false });
                let other = self.block(otherwise)?;
                self.steps.pop();
                out.push(Flow::If { cond, then, other });
            }
            Stmt::Let {
                var,
                value,
                inverses,
            } => {
                let value = self.resolver.expr(value, &self.vars)?;
                let slot = self.resolver.bind(&mut self.vars, var)?;
                self.steps.push(Step::Let { slot, value });
                out.push(Flow::Let { slot, value });
                for (name, inverse) in inverses {
                    let Some(target) = self.vars.slot(&name.text).filter(|s| *s != slot) else {
                        let text = format!("`{}` is not a variable around this let", name.text);
                        return Err(self.resolver.fault(name.span, text));
                    };
                    let value = self.resolver.expr(inverse, &self.vars)?;
                    let span = name.span.to(inverse.span);
                    self.steps.push(Step::Where {
                        slot: target,
                        value,
                        span,
                    });
                }
            }
            Stmt::Task(task) => out.push(Flow::Task(self.task(task)?)),
        }
        Ok(())
    }

    fn task(&mut self, task: &TaskStmt) -> Checked<u16> {
        let span = task.outs[0].span.to(task.kernel.span);
        for (count, what) in [(task.outs.len(), "outputs"), (task.ins.len(), "inputs")] {
            if count > OPERANDS_MAX {
                let text = format!("{count} {what}; a task may have {OPERANDS_MAX}");
                return Err(self.resolver.fault(span, text));
            }
        }
        let mut outs = Vec::new();
        for reference in &task.outs {
            let access = self.resolver.access(reference, &self.vars)?;
            if self.resolver.model.families[usize::from(access.family)]
                .input
                .is_some()
            {
                let text = format!(
                    "{} is an input; no task may write it",
                    reference.family.text
                );
                return Err(self.resolver.fault(reference.span, text));
            }
            outs.push(access);
        }
        let mut ins = Vec::new();
        for reference in &task.ins {
            ins.push(self.resolver.access(reference, &self.vars)?);
        }
        let mut hint = |expr: &Option<super::ast::Expr>| match expr {
            Some(expr) => self.resolver.expr(expr, &self.vars).map(Some),
            None => Ok(None),
        };
        let (home, prio) = (hint(&task.home)?, hint(&task.prio)?);
        let nest = Nest {
            steps: self.steps.clone(),
            names: self.vars.names().to_vec(),
        };
        let id = self.resolver.model.tasks.len() as u16;
        self.resolver.model.tasks.push(TaskDecl {
            kernel: task.kernel.text.clone(),
            nest,
            outs,
            ins,
            home,
            prio,
            span,
            kernel_span: task.kernel.span,
        });
        self.resolver
            .limit(self.resolver.model.tasks.len(), span, "statements")?;
        Ok(id)
    }
}
