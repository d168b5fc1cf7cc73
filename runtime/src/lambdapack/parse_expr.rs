//! Expressions of the grammar, loosest operator first.

use super::ast::{BinaryOp, Expr, ExprKind, UnaryOp};
use super::error::Span;
use super::lexer::Word;
use super::parser::{EXPR_DEPTH_MAX, Parsed, Parser};

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.deeper(EXPR_DEPTH_MAX, |p| {
            let first = p.peek().span;
            if !p.take("if") {
                return p.binary(0);
            }
            let cond = p.expr()?;
            p.expect("then")?;
            let then = p.expr()?;
            p.expect("else")?;
            let other = p.expr()?;
            let depth = 1 + cond.depth.max(then.depth).max(other.depth);
            let span = first.to(other.span);
            let kind = ExprKind::If(Box::new(cond), Box::new(then), Box::new(other));
            p.built(kind, span, depth)
        })
    }

    /// Levels: or, and, comparisons, sums, products; `not` binds looser than a comparison.
    fn binary(&mut self, level: usize) -> Parsed<Expr> {
        const LEVELS: [&[(&str, BinaryOp)]; 5] = [
            &[("or", BinaryOp::Or)],
            &[("and", BinaryOp::And)],
            &[
                ("==", BinaryOp::Eq),
                ("!=", BinaryOp::Ne),
                ("<=", BinaryOp::Le),
                (">=", BinaryOp::Ge),
                ("<", BinaryOp::Lt),
                (">", BinaryOp::Gt),
            ],
            &[("+", BinaryOp::Add), ("-", BinaryOp::Sub)],
            &[
                ("*", BinaryOp::Mul),
                ("//", BinaryOp::Div),
                ("%", BinaryOp::Mod),
            ],
        ];
        if level == LEVELS.len() {
            return self.unary();
        }
        if level == 2 && self.peek().word == Word::Sign("not") {
            let first = self.advance().span;
            return self.deeper(EXPR_DEPTH_MAX, |p| {
                let of = p.binary(2)?;
                let (span, depth) = (first.to(of.span), of.depth + 1);
                p.built(ExprKind::Unary(UnaryOp::Not, Box::new(of)), span, depth)
            });
        }
        let mut left = self.binary(level + 1)?;
        loop {
            let Word::Sign(sign) = self.peek().word else {
                return Ok(left);
            };
            if sign == "/" && level == 4 {
                let text =
                    "`/` is not an integer operation; write `//` (floor) or cdiv(a, b) (ceiling)";
                return Err(self.fault(self.peek().span, text));
            }
            let Some((_, op)) = LEVELS[level].iter().find(|(s, _)| *s == sign) else {
                return Ok(left);
            };
            self.advance();
            let right = self.binary(level + 1)?;
            left = self.pair(*op, left, right)?;
            if level == 2
                && matches!(
                    self.peek().word,
                    Word::Sign("==" | "!=" | "<" | ">" | "<=" | ">=")
                )
            {
                return Err(self.fault(
                    self.peek().span,
                    "comparisons do not chain; join them with `and`",
                ));
            }
        }
    }

    fn unary(&mut self) -> Parsed<Expr> {
        if self.peek().word != Word::Sign("-") {
            return self.power();
        }
        let first = self.advance().span;
        self.deeper(EXPR_DEPTH_MAX, |p| {
            let of = p.unary()?;
            let (span, depth) = (first.to(of.span), of.depth + 1);
            p.built(ExprKind::Unary(UnaryOp::Neg, Box::new(of)), span, depth)
        })
    }

    fn power(&mut self) -> Parsed<Expr> {
        let base = self.atom()?;
        if !self.take("**") {
            return Ok(base);
        }
        // Right-associative: 2 ** -1 is written, and refused when evaluated.
        let exponent = self.deeper(EXPR_DEPTH_MAX, Self::unary)?;
        self.pair(BinaryOp::Pow, base, exponent)
    }

    fn atom(&mut self) -> Parsed<Expr> {
        let token = self.peek().clone();
        match token.word {
            Word::Int(value) => {
                self.advance();
                self.built(ExprKind::Int(value), token.span, 1)
            }
            Word::Sign("(") => {
                self.advance();
                let mut inner = self.expr()?;
                inner.span = token.span.to(self.peek().span);
                if !self.take(")") {
                    return Err(self.unexpected("`)`"));
                }
                Ok(inner)
            }
            Word::Name(name) => {
                self.advance();
                if !self.take("(") {
                    return self.built(ExprKind::Name(name), token.span, 1);
                }
                if name == "ceil" {
                    return self.ceil(token.span);
                }
                let args = self.list(")", Self::expr)?;
                self.call(name, args, token.span)
            }
            Word::Sign("if") => self.expr(),
            _ => Err(self.unexpected("an expression")),
        }
    }

    /// `ceil(a / b)` and `ceil(log2(x))`, the only places where a fraction may be written.
    fn ceil(&mut self, first: Span) -> Parsed<Expr> {
        if self.peek().word == Word::Name("log2".to_owned()) {
            self.advance();
            self.expect("(")?;
            let arg = self.expr()?;
            self.expect(")")?;
            self.expect(")")?;
            return self.call("clog2".to_owned(), vec![arg], first);
        }
        let above = self.unary()?;
        if !self.take("/") {
            return Err(self.fault(
                first,
                "ceil takes a / b or log2(x); otherwise write cdiv or clog2",
            ));
        }
        let below = self.unary()?;
        self.expect(")")?;
        self.call("cdiv".to_owned(), vec![above, below], first)
    }

    fn call(&self, name: String, args: Vec<Expr>, first: Span) -> Parsed<Expr> {
        let depth = 1 + args.iter().map(|arg| arg.depth).max().unwrap_or(0);
        let span = first.to(self.tokens[self.at - 1].span);
        self.built(ExprKind::Call(name, args), span, depth)
    }

    fn pair(&self, op: BinaryOp, left: Expr, right: Expr) -> Parsed<Expr> {
        let depth = 1 + left.depth.max(right.depth);
        let span = left.span.to(right.span);
        self.built(
            ExprKind::Binary(op, Box::new(left), Box::new(right)),
            span,
            depth,
        )
    }

    fn built(&self, kind: ExprKind, span: Span, depth: u32) -> Parsed<Expr> {
        if depth > EXPR_DEPTH_MAX {
            return Err(self.too_deep(span, EXPR_DEPTH_MAX));
        }
        Ok(Expr { kind, span, depth })
    }
}
