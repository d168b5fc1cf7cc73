//! Words to a program as written. Knows the grammar, never what a name means.

use std::sync::Arc;

use super::ast::{Binder, File, Item, Name, Ref, Stmt, TaskStmt, View};
use super::error::{ProgramError, SourceFile, Sources, Span};
use super::lexer::{self, SOURCE_BYTES_MAX, Token, Word};

/// Levels of an expression, parentheses included; recursion over one needs about 200 bytes a level.
pub(super) const EXPR_DEPTH_MAX: u32 = 100;
/// Nested `for` and `if` blocks and views.
const BLOCK_DEPTH_MAX: u32 = 40;
/// Files that one program may include, itself counted.
const FILES_MAX: usize = 16;

/// Reads the first of `sources` and, through `include`, others found by `find`.
pub(crate) fn parse(
    sources: &mut Sources,
    find: &dyn Fn(&str) -> Option<SourceFile>,
) -> Result<File, ProgramError> {
    let tokens = words_of(sources, 0)?;
    let mut parser = Parser {
        sources,
        find,
        within: vec![0],
        tokens,
        at: 0,
        depth: 0,
    };
    parser.expect("program")?;
    let name = parser.name("the program's name")?;
    let items = parser.items()?;
    Ok(File { name, items })
}

fn words_of(sources: &Sources, file: u16) -> Result<Vec<Token>, ProgramError> {
    let bytes = sources.files[usize::from(file)].text.len();
    if bytes > SOURCE_BYTES_MAX {
        let span = Span {
            file,
            start: 0,
            end: 1,
        };
        let text = format!("the file has {bytes} bytes; a program may have {SOURCE_BYTES_MAX}");
        return Err(ProgramError::TooLarge(Box::new(
            sources.diagnose(span, text),
        )));
    }
    lexer::words(sources, file)
}

pub(super) struct Parser<'a> {
    sources: &'a mut Sources,
    find: &'a dyn Fn(&str) -> Option<SourceFile>,
    /// The files that are being read: each includes the next.
    within: Vec<u16>,
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
    depth: u32,
}

pub(super) type Parsed<T> = Result<T, ProgramError>;

impl Parser<'_> {
    fn items(&mut self) -> Parsed<Vec<Item>> {
        let mut items = Vec::new();
        loop {
            match &self.peek().word {
                Word::End => return Ok(items),
                Word::Sign("include") => self.include(&mut items)?,
                Word::Sign("param") => self.params(&mut items)?,
                Word::Sign("def") => items.push(self.def()?),
                Word::Sign("require") => {
                    self.advance();
                    let cond = self.expr()?;
                    items.push(Item::Require {
                        cond,
                        text: self.text("what is required")?,
                    });
                }
                Word::Sign("input" | "tile") => items.push(self.family()?),
                Word::Sign("alias") => items.push(self.alias()?),
                Word::Sign("output") => {
                    self.advance();
                    let name = self.name("the output's name")?;
                    let binders = self.binders()?;
                    self.expect("=")?;
                    items.push(Item::Output {
                        name,
                        binders,
                        view: self.view()?,
                    });
                }
                Word::Sign("for" | "if") | Word::Name(_) => items.push(Item::Stmt(self.stmt()?)),
                _ => return Err(self.unexpected("a declaration or a statement")),
            }
        }
    }

    /// Puts the items of another file in place of `include "file"`. A file that is there already is
    /// not put there again: two files may need the same definitions.
    fn include(&mut self, items: &mut Vec<Item>) -> Parsed<()> {
        self.advance();
        let span = self.peek().span;
        let wanted = self.text("the name of the file to include")?;
        let files = &self.sources.files;
        if let Some(known) = files.iter().position(|file| file.name == wanted) {
            let first = self.within.iter().position(|at| usize::from(*at) == known);
            let Some(first) = first else {
                return Ok(());
            };
            let mut way: Vec<&str> = self.within[first..]
                .iter()
                .map(|at| files[usize::from(*at)].name.as_str())
                .collect();
            way.push(&wanted);
            return Err(self.fault(
                span,
                format!("{wanted} includes itself: {}", way.join(" -> ")),
            ));
        }
        if self.sources.files.len() >= FILES_MAX {
            return Err(self.fault(span, format!("more than {FILES_MAX} files")));
        }
        let Some(source) = (self.find)(&wanted) else {
            return Err(self.fault(span, format!("no file `{wanted}` to include")));
        };
        let file = self.sources.files.len() as u16;
        self.sources.files.push(SourceFile {
            name: wanted,
            text: source.text,
        });
        let tokens = words_of(self.sources, file)?;
        let mut within = self.within.clone();
        within.push(file);
        let mut inner = Parser {
            sources: self.sources,
            find: self.find,
            within,
            tokens,
            at: 0,
            depth: 0,
        };
        items.extend(inner.items()?);
        Ok(())
    }

    fn params(&mut self, items: &mut Vec<Item>) -> Parsed<()> {
        self.advance();
        loop {
            let name = self.name("a parameter's name")?;
            let default = if self.take("=") {
                Some(self.expr()?)
            } else {
                None
            };
            items.push(Item::Param { name, default });
            if !self.take(",") {
                return Ok(());
            }
        }
    }

    fn def(&mut self) -> Parsed<Item> {
        self.advance();
        let name = self.name("the name to define")?;
        let mut args = Vec::new();
        if self.take("(") {
            args = self.list(")", |p| p.name("an argument's name"))?;
        }
        self.expect("=")?;
        Ok(Item::Def {
            name,
            args,
            body: self.expr()?,
        })
    }

    fn family(&mut self) -> Parsed<Item> {
        let input = self.advance().word == Word::Sign("input");
        let name = self.name("a tile family's name")?;
        let binders = self.binders()?;
        let when = if self.take("when") {
            Some(self.expr()?)
        } else {
            None
        };
        self.expect(":")?;
        let shape = self.expr()?;
        let generator = if self.take("=") {
            Some(self.expr()?)
        } else {
            None
        };
        Ok(Item::Family {
            input,
            name,
            binders,
            when,
            shape,
            generator,
        })
    }

    fn alias(&mut self) -> Parsed<Item> {
        let first = self.advance().span;
        let family = self.name("the family that is an alias")?;
        self.expect("[")?;
        let patterns = self.list("]", Self::expr)?;
        self.expect("=")?;
        let target = self.reference()?;
        Ok(Item::Alias {
            family,
            patterns,
            span: first.to(target.span),
            target,
        })
    }

    fn binders(&mut self) -> Parsed<Vec<Binder>> {
        self.expect("[")?;
        self.list("]", |p| {
            let name = p.name("an index")?;
            let range = if p.take("in") {
                let lo = p.expr()?;
                p.expect("..")?;
                Some((lo, p.expr()?))
            } else {
                None
            };
            Ok(Binder { name, range })
        })
    }

    fn view(&mut self) -> Parsed<View> {
        if !self.take("if") {
            return Ok(View::Ref(self.reference()?));
        }
        self.deeper(BLOCK_DEPTH_MAX, |p| {
            let cond = p.expr()?;
            p.expect("then")?;
            let then = p.view()?;
            p.expect("else")?;
            Ok(View::If(cond, Box::new(then), Box::new(p.view()?)))
        })
    }

    fn block(&mut self) -> Parsed<Vec<Stmt>> {
        self.expect("{")?;
        let mut body = Vec::new();
        while !self.take("}") {
            if !matches!(
                self.peek().word,
                Word::Sign("for" | "if" | "let") | Word::Name(_)
            ) {
                return Err(self.unexpected("a statement or `}`"));
            }
            body.push(self.deeper(BLOCK_DEPTH_MAX, Self::stmt)?);
        }
        Ok(body)
    }

    fn stmt(&mut self) -> Parsed<Stmt> {
        if self.take("for") {
            let var = self.name("a loop variable")?;
            self.expect("in")?;
            let lo = self.expr()?;
            self.expect("..")?;
            let hi = self.expr()?;
            let step = if self.take("step") {
                Some(self.expr()?)
            } else {
                None
            };
            return Ok(Stmt::For {
                var,
                lo,
                hi,
                step,
                body: self.block()?,
            });
        }
        if self.take("if") {
            let cond = self.expr()?;
            let then = self.block()?;
            let otherwise = if !self.take("else") {
                Vec::new()
            } else if self.peek().word == Word::Sign("if") {
                vec![self.deeper(BLOCK_DEPTH_MAX, Self::stmt)?]
            } else {
                self.block()?
            };
            return Ok(Stmt::If {
                cond,
                then,
                otherwise,
            });
        }
        if self.take("let") {
            return self.let_stmt();
        }
        self.task()
    }

    fn let_stmt(&mut self) -> Parsed<Stmt> {
        let var = self.name("a name")?;
        self.expect("=")?;
        let value = self.expr()?;
        let mut inverses = Vec::new();
        if self.take("where") {
            loop {
                let name = self.name("the variable that the inverse gives")?;
                self.expect("==")?;
                inverses.push((name, self.expr()?));
                if !self.take(",") {
                    break;
                }
            }
        }
        Ok(Stmt::Let {
            var,
            value,
            inverses,
        })
    }

    fn task(&mut self) -> Parsed<Stmt> {
        let mut outs = vec![self.reference()?];
        while self.take(",") {
            outs.push(self.reference()?);
        }
        self.expect("=")?;
        let kernel = self.name("a kernel's name")?;
        self.expect("(")?;
        let ins = self.list(")", Self::reference)?;
        let home = if self.take("@") {
            Some(self.expr()?)
        } else {
            None
        };
        let prio = if self.take("prio") {
            Some(self.expr()?)
        } else {
            None
        };
        Ok(Stmt::Task(TaskStmt {
            outs,
            kernel,
            ins,
            home,
            prio,
        }))
    }

    fn reference(&mut self) -> Parsed<Ref> {
        let family = self.name("a tile, as S[i, j]")?;
        if self.peek().word != Word::Sign("[") {
            return Err(self.unexpected("`[` and the tile's indices"));
        }
        self.advance();
        let index = self.list("]", Self::expr)?;
        let span = family.span.to(self.tokens[self.at - 1].span);
        let when = if self.take("when") {
            Some(self.expr()?)
        } else {
            None
        };
        Ok(Ref {
            family,
            index,
            when,
            span,
        })
    }

    /// Elements between commas up to `close`, which is taken too.
    pub(super) fn list<T>(
        &mut self,
        close: &'static str,
        mut element: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut out = Vec::new();
        if self.take(close) {
            return Ok(out);
        }
        loop {
            out.push(element(self)?);
            if self.take(close) {
                return Ok(out);
            }
            if !self.take(",") {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
    }

    // Words.

    pub(super) fn peek(&self) -> &Token {
        &self.tokens[self.at]
    }

    /// Takes a word; the last one, the end of the file, stays.
    pub(super) fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    pub(super) fn take(&mut self, sign: &'static str) -> bool {
        let found = self.peek().word == Word::Sign(sign);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect(&mut self, sign: &'static str) -> Parsed<()> {
        if self.take(sign) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{sign}`")))
        }
    }

    fn name(&mut self, what: &str) -> Parsed<Name> {
        let token = self.peek().clone();
        let Word::Name(text) = token.word else {
            return Err(self.unexpected(what));
        };
        self.advance();
        Ok(Name {
            text,
            span: token.span,
        })
    }

    fn text(&mut self, what: &str) -> Parsed<String> {
        let Word::Text(text) = self.peek().word.clone() else {
            return Err(self.unexpected(&format!("{what} in double quotes")));
        };
        self.advance();
        Ok(text)
    }

    pub(super) fn deeper<T>(
        &mut self,
        most: u32,
        run: impl FnOnce(&mut Self) -> Parsed<T>,
    ) -> Parsed<T> {
        self.depth += 1;
        if self.depth > most {
            return Err(self.too_deep(self.peek().span, most));
        }
        let result = run(self);
        self.depth -= 1;
        result
    }

    pub(super) fn too_deep(&self, span: Span, most: u32) -> ProgramError {
        let text = format!("nested more than {most} levels deep");
        ProgramError::TooLarge(Box::new(self.sources.diagnose(span, text)))
    }

    pub(super) fn fault(&self, span: Span, headline: impl Into<String>) -> ProgramError {
        ProgramError::Text(Box::new(self.sources.diagnose(span, headline)))
    }

    pub(super) fn unexpected(&self, wanted: &str) -> ProgramError {
        let token = self.peek();
        let found = match &token.word {
            Word::Name(name) => format!("`{name}`"),
            Word::Sign(sign) => format!("`{sign}`"),
            Word::Int(value) => format!("`{value}`"),
            Word::Text(_) => "a string".to_owned(),
            Word::End => "the end of the file".to_owned(),
        };
        self.fault(token.span, format!("expected {wanted}, found {found}"))
    }
}

/// A file from its name and text.
pub(crate) fn source(name: &str, text: &str) -> SourceFile {
    SourceFile {
        name: name.to_owned(),
        text: Arc::from(text),
    }
}
