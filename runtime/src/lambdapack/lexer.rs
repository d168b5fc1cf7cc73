//! Text to words. Knows no grammar.

use winnow::combinator::{alt, delimited};
use winnow::error::{ContextError, ErrMode};
use winnow::prelude::*;
use winnow::stream::{LocatingSlice, Location};
use winnow::token::{literal, one_of, take_till, take_while};

use super::error::{ProgramError, Sources, Span};

/// 1 MiB: two hundred times the longest shipped program.
pub(crate) const SOURCE_BYTES_MAX: usize = 1 << 20;

/// A word of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// A name that is not a keyword.
    Name(String),
    /// A keyword or a sign.
    Sign(&'static str),
    Int(i64),
    Text(String),
    End,
}

/// A word and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) word: Word,
    pub(crate) span: Span,
}

const KEYWORDS: [&str; 21] = [
    "program", "include", "param", "def", "require", "input", "tile", "alias", "output", "for",
    "in", "step", "if", "then", "else", "let", "where", "when", "prio", "and", "or",
];

/// Longer signs first: the first that fits is taken.
const SIGNS: [&str; 24] = [
    "..", "**", "//", "==", "!=", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")",
    "[", "]", "{", "}", ",", ":", "@",
];

type Input<'a> = LocatingSlice<&'a str>;

/// Splits file `file` of `sources`.
pub(crate) fn words(sources: &Sources, file: u16) -> Result<Vec<Token>, ProgramError> {
    let text: &str = &sources.files[usize::from(file)].text;
    let mut input = LocatingSlice::new(text);
    let mut tokens = Vec::new();
    loop {
        skip_blank(&mut input);
        let start = input.current_token_start();
        let word = if input.is_empty() {
            Ok(Word::End)
        } else {
            word(&mut input)
        };
        let end = input.current_token_start();
        let span = Span {
            file,
            start: start as u32,
            end: end as u32,
        };
        let word = match word {
            Ok(Word::Int(_))
                if text[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_') =>
            {
                return Err(fault(sources, span, "a name cannot begin with a digit"));
            }
            Ok(word) => word,
            Err(_) => return Err(unreadable(sources, span, &text[start..])),
        };
        let last = word == Word::End;
        tokens.push(Token { word, span });
        if last {
            return Ok(tokens);
        }
    }
}

/// Says what is wrong with the text that no word fits.
fn unreadable(sources: &Sources, span: Span, rest: &str) -> ProgramError {
    let first = rest.chars().next().unwrap_or(' ');
    let headline = if first == '"' {
        "this string has no closing `\"` on its line".to_owned()
    } else if first.is_ascii_digit() {
        "an integer must be below 2 ** 63".to_owned()
    } else if first == '.' {
        "`.` has no meaning here; ranges are written lo..hi, and there are no fractions".to_owned()
    } else {
        format!("`{}` has no meaning in a program", first.escape_default())
    };
    let end = span.start + first.len_utf8() as u32;
    fault(sources, Span { end, ..span }, headline)
}

fn fault(sources: &Sources, span: Span, headline: impl Into<String>) -> ProgramError {
    ProgramError::Text(Box::new(sources.diagnose(span, headline)))
}

/// Skips white space and comments.
fn skip_blank(input: &mut Input<'_>) {
    loop {
        let blank: Result<&str, ErrMode<ContextError>> =
            take_while(1.., |c: char| c.is_whitespace()).parse_next(input);
        let comment: Result<(char, &str), ErrMode<ContextError>> =
            (one_of('#'), take_till(0.., '\n')).parse_next(input);
        if blank.is_err() && comment.is_err() {
            return;
        }
    }
}

fn word(input: &mut Input<'_>) -> ModalResult<Word> {
    alt((name, integer, text, sign)).parse_next(input)
}

fn name(input: &mut Input<'_>) -> ModalResult<Word> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let more = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (one_of(first), take_while(0.., more))
        .take()
        .map(
            |text: &str| match KEYWORDS.iter().chain(&["not"]).find(|k| **k == text) {
                Some(keyword) => Word::Sign(keyword),
                None => Word::Name(text.to_owned()),
            },
        )
        .parse_next(input)
}

fn integer(input: &mut Input<'_>) -> ModalResult<Word> {
    take_while(1.., |c: char| c.is_ascii_digit())
        .try_map(|digits: &str| digits.parse().map(Word::Int))
        .parse_next(input)
}

fn text(input: &mut Input<'_>) -> ModalResult<Word> {
    delimited('"', take_till(0.., ['"', '\n']), '"')
        .map(|text: &str| Word::Text(text.to_owned()))
        .parse_next(input)
}

fn sign(input: &mut Input<'_>) -> ModalResult<Word> {
    for sign in SIGNS {
        let found: Result<&str, ErrMode<ContextError>> = literal(sign).parse_next(input);
        if found.is_ok() {
            return Ok(Word::Sign(sign));
        }
    }
    Err(ErrMode::Backtrack(ContextError::new()))
}
