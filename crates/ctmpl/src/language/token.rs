//! What the lexer hands to the parser.

use std::borrow::Cow;

use crate::text::{quote, rune};

/// Kinds of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The text is what went wrong.
    Error,
    Bool,
    /// A printable ASCII character that has no other meaning, such as a comma.
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    End,
    Field,
    Identifier,
    LeftDelimiter,
    LeftParenthesis,
    Number,
    Pipe,
    RawString,
    RightDelimiter,
    RightParenthesis,
    Space,
    String,
    Text,
    Variable,
    Keyword(Keyword),
}

/// Words that are no functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    End,
    If,
    Range,
    Nil,
    Template,
    With,
}

impl Keyword {
    pub(super) fn of(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"block" => Self::Block,
            b"break" => Self::Break,
            b"continue" => Self::Continue,
            b"define" => Self::Define,
            b"else" => Self::Else,
            b"end" => Self::End,
            b"if" => Self::If,
            b"range" => Self::Range,
            b"nil" => Self::Nil,
            b"template" => Self::Template,
            b"with" => Self::With,
            _ => return None,
        })
    }
}

/// One token.
#[derive(Debug, Clone)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// Where it starts, in bytes.
    pub(super) at: usize,
    /// Its text, or of an error what went wrong.
    pub(super) text: Cow<'a, [u8]>,
    /// The line it starts on, from 1.
    pub(super) line: usize,
}

impl Token<'_> {
    /// The token as Go's messages show it.
    pub(super) fn describe(&self) -> String {
        match self.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Error => String::from_utf8_lossy(&self.text).into_owned(),
            Kind::Keyword(_) => format!("<{}>", String::from_utf8_lossy(&self.text)),
            _ if self.text.len() > 10 => {
                let end = rune::runes(&self.text).nth(10).map_or(self.text.len(), |(at, ..)| at);
                format!("{}...", quote::quote(&self.text[..end]))
            }
            _ => quote::quote(&self.text),
        }
    }
}
