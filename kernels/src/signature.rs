//! Signatures of kernels: a line of text, parsed once, checked against shapes. Integers only;
//! knows nothing of what a kernel computes.
//!
//! ```text
//! tsqrt(upper(n,n), full(m,n)) -> full(m,n), tfac(n,b), upper(n,n)
//! geqrt(full(m,n)) -> unit(m,r), tfac(r,b), upper(r,n) where r = min(m,n)
//! tsmqr(full(m,n), tfac(n,b), full(p,c), full(m,c)) -> full(p,c), full(m,c) where p >= n
//! colsum(full(m,n), full(1,n)?) -> full(1,n)
//! ```
//!
//! `any(m,n)` is an input of kind `full`, `unit`, `upper` or `lower`: the kernel reads its implied zeros and ones.
//! `few(m,n)` is a tile of at most `m` rows: the shapes that are checked bound it.
//! A size is a variable or a number. A variable takes the value of its first appearance and must
//! have it everywhere. `?` marks an argument that may be absent. Conditions after `where` compare
//! sums, products, `min` and `max` of variables and numbers by `=`, `<=`, `>=`; one over a variable
//! that no present argument binds is not looked at.

use std::collections::BTreeMap;
use std::fmt;

use crate::op::TaskShapes;
use crate::tile::{Kind, Shape};

/// What is wrong with a signature, or with shapes under one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The text is not a signature.
    #[error("signature `{text}`: expected {expected} at `{rest}`")]
    Syntax {
        /// The signature.
        text: String,
        /// What the grammar wants there.
        expected: String,
        /// The text from there on.
        rest: String,
    },
    /// Too few or too many arguments.
    #[error("{kernel}: expected {expected} {side}, got {got}")]
    Arity {
        /// The kernel's name.
        kernel: String,
        /// `inputs` or `outputs`.
        side: &'static str,
        /// A number, or a range such as `1 to 2`.
        expected: String,
        /// How many came.
        got: usize,
    },
    /// One argument does not fit.
    #[error("{kernel}: {side} {position} should be {expected}, got {got}")]
    Argument {
        /// The kernel's name.
        kernel: String,
        /// `input` or `output`.
        side: &'static str,
        /// Counted from 1.
        position: usize,
        /// The pattern, with what its variables already stand for.
        expected: String,
        /// The shape, or `nothing`.
        got: String,
    },
    /// Each argument fits, but a condition after `where` fails.
    #[error("{kernel}: requires {condition}, got {got}")]
    Condition {
        /// The kernel's name.
        kernel: String,
        /// The condition.
        condition: String,
        /// The values of its variables.
        got: String,
    },
}

/// How many arguments a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity {
    /// Inputs that must be there.
    pub inputs_min: usize,
    /// Inputs with the optional ones.
    pub inputs_max: usize,
    /// Outputs that must be there.
    pub outputs_min: usize,
    /// Outputs with the optional ones.
    pub outputs_max: usize,
}

/// A parsed signature.
#[derive(Clone, Debug)]
pub struct Signature {
    text: String,
    name: String,
    inputs: Vec<Pattern>,
    outputs: Vec<Pattern>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
struct Pattern {
    /// `None` for `any`.
    kind: Option<Kind>,
    rows: Size,
    cols: Size,
    optional: bool,
}

#[derive(Clone, Debug)]
enum Size {
    Variable(String),
    Number(u64),
}

#[derive(Clone, Debug)]
struct Condition {
    text: String,
    left: Expr,
    relation: Relation,
    right: Expr,
}

#[derive(Clone, Copy, Debug)]
enum Relation {
    Equal,
    AtMost,
    AtLeast,
}

#[derive(Clone, Debug)]
enum Expr {
    Size(Size),
    Add(Box<Expr>, Box<Expr>),
    Multiply(Box<Expr>, Box<Expr>),
    Min(Box<Expr>, Box<Expr>),
    Max(Box<Expr>, Box<Expr>),
}

type Binding = BTreeMap<String, u64>;

/// An input of any kind that is a dense matrix once unpacked.
const ANY: &str = "any";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

impl Signature {
    /// Parses a signature.
    ///
    /// # Errors
    /// [`SignatureError::Syntax`] names the place and what was expected there.
    pub fn parse(text: &str) -> Result<Signature, SignatureError> {
        Parser { text, at: 0 }.signature()
    }

    /// The kernel's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text it was parsed from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many arguments the kernel takes.
    #[must_use]
    pub fn arity(&self) -> Arity {
        let least = |side: &[Pattern]| {
            side.iter()
                .rposition(|pattern| !pattern.optional)
                .map_or(0, |last| last + 1)
        };
        Arity {
            inputs_min: least(&self.inputs),
            inputs_max: self.inputs.len(),
            outputs_min: least(&self.outputs),
            outputs_max: self.outputs.len(),
        }
    }

    /// Checks a task's shapes. Trailing optional arguments may be left out or be `None`.
    ///
    /// # Errors
    /// What was expected where, and what came.
    pub fn check(&self, shapes: &TaskShapes<'_>) -> Result<(), SignatureError> {
        let arity = self.arity();
        self.check_count(
            "inputs",
            shapes.inputs.len(),
            arity.inputs_min,
            arity.inputs_max,
        )?;
        self.check_count(
            "outputs",
            shapes.outputs.len(),
            arity.outputs_min,
            arity.outputs_max,
        )?;
        let mut binding = Binding::new();
        self.check_side("input", &self.inputs, shapes.inputs, &mut binding)?;
        self.check_side("output", &self.outputs, shapes.outputs, &mut binding)?;
        self.conditions
            .iter()
            .try_for_each(|condition| self.check_condition(condition, &binding))
    }

    fn check_count(
        &self,
        side: &'static str,
        got: usize,
        min: usize,
        max: usize,
    ) -> Result<(), SignatureError> {
        if (min..=max).contains(&got) {
            return Ok(());
        }
        let expected = if min == max {
            min.to_string()
        } else {
            format!("{min} to {max}")
        };
        Err(SignatureError::Arity {
            kernel: self.name.clone(),
            side,
            expected,
            got,
        })
    }

    fn check_side(
        &self,
        side: &'static str,
        patterns: &[Pattern],
        shapes: &[Option<Shape>],
        binding: &mut Binding,
    ) -> Result<(), SignatureError> {
        for (index, (pattern, shape)) in patterns.iter().zip(shapes).enumerate() {
            let before = binding.clone();
            let fits = match shape {
                None => pattern.optional,
                Some(shape) => pattern.unify(*shape, binding),
            };
            if !fits {
                return Err(SignatureError::Argument {
                    kernel: self.name.clone(),
                    side,
                    position: index + 1,
                    expected: pattern.explain(&before),
                    got: shape.map_or_else(|| "nothing".to_owned(), |shape| shape.to_string()),
                });
            }
        }
        Ok(())
    }

    fn check_condition(
        &self,
        condition: &Condition,
        binding: &Binding,
    ) -> Result<(), SignatureError> {
        let (Some(left), Some(right)) = (
            condition.left.value(binding),
            condition.right.value(binding),
        ) else {
            return Ok(());
        };
        let holds = match condition.relation {
            Relation::Equal => left == right,
            Relation::AtMost => left <= right,
            Relation::AtLeast => left >= right,
        };
        if holds {
            return Ok(());
        }
        let mut names = Vec::new();
        condition.left.variables(&mut names);
        condition.right.variables(&mut names);
        let got: Vec<String> = names
            .iter()
            .filter_map(|name| binding.get(*name).map(|value| format!("{name} = {value}")))
            .collect();
        Err(SignatureError::Condition {
            kernel: self.name.clone(),
            condition: condition.text.clone(),
            got: got.join(", "),
        })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Binds the variables; false when the shape does not fit. No tile has a size of 0.
    fn unify(&self, shape: Shape, binding: &mut Binding) -> bool {
        shape.rows > 0
            && shape.cols > 0
            && self.fits(shape.kind)
            && self.rows.unify(u64::from(shape.rows), binding)
            && self.cols.unify(u64::from(shape.cols), binding)
    }

    fn fits(&self, kind: Kind) -> bool {
        match self.kind {
            Some(expected) => kind == expected,
            None => matches!(kind, Kind::Full | Kind::Unit | Kind::Upper | Kind::Lower),
        }
    }

    /// `full(m,n)`, and what bound variables stand for: `full(m = 4,n)`.
    fn explain(&self, binding: &Binding) -> String {
        let size = |size: &Size| match size {
            Size::Number(number) => number.to_string(),
            Size::Variable(name) => match binding.get(name) {
                Some(value) => format!("{name} = {value}"),
                None => name.clone(),
            },
        };
        match self.kind {
            Some(Kind::Index) => format!("index({})", size(&self.rows)),
            kind => format!(
                "{}({}, {})",
                kind.map_or(ANY, Kind::name),
                size(&self.rows),
                size(&self.cols)
            ),
        }
    }
}

impl Size {
    fn unify(&self, actual: u64, binding: &mut Binding) -> bool {
        match self {
            Size::Number(number) => *number == actual,
            Size::Variable(name) => *binding.entry(name.clone()).or_insert(actual) == actual,
        }
    }
}

impl Expr {
    fn value(&self, binding: &Binding) -> Option<u64> {
        match self {
            Expr::Size(Size::Number(number)) => Some(*number),
            Expr::Size(Size::Variable(name)) => binding.get(name).copied(),
            Expr::Add(a, b) => a.value(binding)?.checked_add(b.value(binding)?),
            Expr::Multiply(a, b) => a.value(binding)?.checked_mul(b.value(binding)?),
            Expr::Min(a, b) => Some(a.value(binding)?.min(b.value(binding)?)),
            Expr::Max(a, b) => Some(a.value(binding)?.max(b.value(binding)?)),
        }
    }

    fn variables<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Expr::Size(Size::Number(_)) => {}
            Expr::Size(Size::Variable(name)) => {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
            Expr::Add(a, b) | Expr::Multiply(a, b) | Expr::Min(a, b) | Expr::Max(a, b) => {
                a.variables(names);
                b.variables(names);
            }
        }
    }
}

/// Recursive descent over the text; `at` is a byte offset.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn signature(mut self) -> Result<Signature, SignatureError> {
        let name = self.word("a kernel name")?.to_owned();
        self.expect("(")?;
        let inputs = if self.accept(")") {
            Vec::new()
        } else {
            self.patterns(Side::Input)?
        };
        self.expect("->")?;
        let outputs = self.patterns(Side::Output)?;
        let mut conditions = Vec::new();
        if self.accept("where") {
            loop {
                conditions.push(self.condition()?);
                if !self.accept(",") {
                    break;
                }
            }
        }
        self.skip_blanks();
        if self.at < self.text.len() {
            return Err(self.error("the end"));
        }
        Ok(Signature {
            text: self.text.to_owned(),
            name,
            inputs,
            outputs,
            conditions,
        })
    }

    fn patterns(&mut self, side: Side) -> Result<Vec<Pattern>, SignatureError> {
        let mut patterns = Vec::new();
        loop {
            patterns.push(self.pattern(side)?);
            if !self.accept(",") {
                break;
            }
        }
        if side == Side::Input {
            self.expect(")")?;
        }
        Ok(patterns)
    }

    fn pattern(&mut self, side: Side) -> Result<Pattern, SignatureError> {
        let kinds = match side {
            Side::Input => "one of full, unit, upper, lower, tfac, index, few, any",
            Side::Output => "one of full, unit, upper, lower, tfac, index, few",
        };
        let start = self.at;
        let word = self.word(kinds)?;
        let kind = Kind::from_name(word);
        if kind.is_none() && (word != ANY || side == Side::Output) {
            self.at = start;
            return Err(self.error(kinds));
        }
        self.expect("(")?;
        let rows = self.size()?;
        let cols = if kind == Some(Kind::Index) {
            Size::Number(1)
        } else {
            self.expect(",")?;
            self.size()?
        };
        self.expect(")")?;
        let optional = self.accept("?");
        Ok(Pattern {
            kind,
            rows,
            cols,
            optional,
        })
    }

    fn condition(&mut self) -> Result<Condition, SignatureError> {
        self.skip_blanks();
        let start = self.at;
        let left = self.sum()?;
        let relation = if self.accept("<=") {
            Relation::AtMost
        } else if self.accept(">=") {
            Relation::AtLeast
        } else if self.accept("=") {
            Relation::Equal
        } else {
            return Err(self.error("`=`, `<=` or `>=`"));
        };
        let right = self.sum()?;
        Ok(Condition {
            text: self.text[start..self.at].trim().to_owned(),
            left,
            relation,
            right,
        })
    }

    fn sum(&mut self) -> Result<Expr, SignatureError> {
        let mut sum = self.product()?;
        while self.accept("+") {
            sum = Expr::Add(Box::new(sum), Box::new(self.product()?));
        }
        Ok(sum)
    }

    fn product(&mut self) -> Result<Expr, SignatureError> {
        let mut product = self.term()?;
        while self.accept("*") {
            product = Expr::Multiply(Box::new(product), Box::new(self.term()?));
        }
        Ok(product)
    }

    fn term(&mut self) -> Result<Expr, SignatureError> {
        let size = self.size()?;
        let Size::Variable(name) = &size else {
            return Ok(Expr::Size(size));
        };
        if (name == "min" || name == "max") && self.accept("(") {
            let is_min = name == "min";
            let a = Box::new(self.sum()?);
            self.expect(",")?;
            let b = Box::new(self.sum()?);
            self.expect(")")?;
            return Ok(if is_min {
                Expr::Min(a, b)
            } else {
                Expr::Max(a, b)
            });
        }
        Ok(Expr::Size(size))
    }

    fn size(&mut self) -> Result<Size, SignatureError> {
        let start = self.at;
        let word = self.word("a variable or a number")?;
        if !word.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(Size::Variable(word.to_owned()));
        }
        match word.parse() {
            Ok(number) => Ok(Size::Number(number)),
            Err(_) => {
                self.at = start;
                Err(self.error("a variable or a number"))
            }
        }
    }

    fn word(&mut self, expected: &str) -> Result<&'a str, SignatureError> {
        self.skip_blanks();
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        if end == 0 {
            return Err(self.error(expected));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    fn accept(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), SignatureError> {
        if self.accept(token) {
            Ok(())
        } else {
            Err(self.error(&format!("`{token}`")))
        }
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn error(&self, expected: &str) -> SignatureError {
        let rest = self.text[self.at..].trim().chars().take(24).collect();
        SignatureError::Syntax {
            text: self.text.to_owned(),
            expected: expected.to_owned(),
            rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, inputs: &[Option<Shape>], outputs: &[Option<Shape>]) -> String {
        match Signature::parse(text).and_then(|s| s.check(&TaskShapes { inputs, outputs })) {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    const TSQRT: &str = "tsqrt(upper(n,n), full(m,n)) -> full(m,n), tfac(n,b), upper(n,n)";
    const GEQRT: &str = "geqrt(full(m,n)) -> unit(m,r), tfac(r,b), upper(r,n) where r = min(m,n)";
    const COLSUM: &str = "colsum(full(m,n), full(1,n)?) -> full(1,n)";

    #[test]
    fn shapes_are_unified_and_the_error_names_the_argument() {
        let (full, upper, tfac) = (Shape::full, Shape::upper, Shape::tfac);
        let good = [Some(full(7, 4)), Some(tfac(4, 2)), Some(upper(4, 4))];
        type Shapes<'a> = &'a [Option<Shape>];
        let cases: [(&str, Shapes<'_>, Shapes<'_>, &str); 11] = [
            (TSQRT, &[Some(upper(4, 4)), Some(full(7, 4))], &good, "ok"),
            (
                TSQRT,
                &[Some(upper(3, 4)), Some(full(7, 4))],
                &good,
                "tsqrt: input 1 should be upper(n, n), got upper(3,4)",
            ),
            (
                TSQRT,
                &[Some(upper(4, 4)), Some(full(7, 5))],
                &good,
                "tsqrt: input 2 should be full(m, n = 4), got full(7,5)",
            ),
            (
                TSQRT,
                &[Some(upper(4, 4)), None],
                &good,
                "tsqrt: input 2 should be full(m, n = 4), got nothing",
            ),
            (
                TSQRT,
                &[Some(upper(4, 4))],
                &good,
                "tsqrt: expected 2 inputs, got 1",
            ),
            (
                TSQRT,
                &[Some(upper(4, 4)), Some(full(7, 4))],
                &[Some(full(7, 4)), Some(tfac(4, 0)), Some(upper(4, 4))],
                "tsqrt: output 2 should be tfac(n = 4, b), got tfac(4,0)",
            ),
            (
                GEQRT,
                &[Some(full(3, 5))],
                &[Some(Shape::unit(3, 3)), Some(tfac(3, 8)), Some(upper(3, 5))],
                "ok",
            ),
            (
                GEQRT,
                &[Some(full(3, 5))],
                &[Some(Shape::unit(3, 2)), Some(tfac(2, 8)), Some(upper(2, 5))],
                "geqrt: requires r = min(m,n), got r = 2, m = 3, n = 5",
            ),
            (COLSUM, &[Some(full(3, 5))], &[Some(full(1, 5))], "ok"),
            (COLSUM, &[Some(full(3, 5)), None], &[Some(full(1, 5))], "ok"),
            (
                COLSUM,
                &[],
                &[Some(full(1, 5))],
                "colsum: expected 1 to 2 inputs, got 0",
            ),
        ];
        for (text, inputs, outputs, expected) in cases {
            assert_eq!(check(text, inputs, outputs), expected, "{text} {inputs:?}");
        }
    }

    #[test]
    fn any_takes_what_unpacks_to_a_dense_matrix() {
        let text = "f(any(m,n)) -> full(m,n)";
        for shape in [
            Shape::full(3, 2),
            Shape::unit(3, 2),
            Shape::upper(3, 2),
            Shape::lower(3, 2),
        ] {
            assert_eq!(
                check(text, &[Some(shape)], &[Some(Shape::full(3, 2))]),
                "ok"
            );
        }
        for shape in [Shape::tfac(3, 2), Shape::index(3), Shape::few(3, 2)] {
            let expected = format!("f: input 1 should be any(m, n), got {shape}");
            assert_eq!(
                check(text, &[Some(shape)], &[Some(Shape::full(3, 2))]),
                expected
            );
        }
    }

    #[test]
    fn bad_text_is_refused_with_its_place() {
        let cases = [
            ("", "signature ``: expected a kernel name at ``"),
            ("f(full(m,n)", "signature `f(full(m,n)`: expected `)` at ``"),
            (
                "f(fool(m,n)) -> full(m,n)",
                "signature `f(fool(m,n)) -> full(m,n)`: expected one of full, unit, upper, lower, tfac, index, few, any at `fool(m,n)) -> full(m,n)`",
            ),
            (
                "f() -> any(m,n)",
                "signature `f() -> any(m,n)`: expected one of full, unit, upper, lower, tfac, index, few at `any(m,n)`",
            ),
            (
                "f() -> full(9x,n)",
                "signature `f() -> full(9x,n)`: expected a variable or a number at `9x,n)`",
            ),
            (
                "f() -> full(m,n) where m < n",
                "signature `f() -> full(m,n) where m < n`: expected `=`, `<=` or `>=` at `< n`",
            ),
            (
                "f() -> index(m) and",
                "signature `f() -> index(m) and`: expected the end at `and`",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Signature::parse(text)
                    .map_err(|e| e.to_string())
                    .err()
                    .as_deref(),
                Some(expected)
            );
        }
    }
}
