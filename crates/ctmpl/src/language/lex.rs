//! From text to tokens.

use std::borrow::Cow;

use super::token::{Keyword, Kind, Token};
use crate::text::{quote, rune};

/// Takes tokens off a template's text, one at a time.
pub(super) struct Lexer<'a> {
    input: &'a [u8],
    left: &'a [u8],
    right: &'a [u8],
    /// Where reading goes on.
    position: usize,
    /// Where the token under way starts.
    start: usize,
    line: usize,
    start_line: usize,
    parentheses: u32,
    inside_action: bool,
}

/// The two bytes of `- ` or ` -`.
const TRIM_MARKER: usize = 2;

impl<'a> Lexer<'a> {
    pub(super) fn new(input: &'a [u8], left: &'a [u8], right: &'a [u8]) -> Self {
        Self {
            input,
            left,
            right,
            position: 0,
            start: 0,
            line: 1,
            start_line: 1,
            parentheses: 0,
            inside_action: false,
        }
    }

    /// The next token; after the last, and after an error, [`Kind::End`] for ever.
    pub(super) fn next(&mut self) -> Token<'a> {
        if self.inside_action { self.action() } else { self.text() }
    }

    fn rest(&self) -> &'a [u8] {
        &self.input[self.position..]
    }

    fn peek(&self) -> Option<char> {
        rune::decode(self.rest()).map(|(character, _)| character)
    }

    fn advance(&mut self) -> Option<char> {
        let (character, length) = rune::decode(self.rest())?;
        self.position += length;
        if character == '\n' {
            self.line += 1;
        }
        Some(character)
    }

    fn accept(&mut self, set: &[u8]) -> bool {
        let found = self.rest().first().is_some_and(|byte| set.contains(byte));
        self.position += usize::from(found);
        found
    }

    fn accept_run(&mut self, set: &[u8]) {
        while self.accept(set) {}
    }

    /// Ends the token under way.
    fn token(&mut self, kind: Kind) -> Token<'a> {
        let text = Cow::Borrowed(&self.input[self.start..self.position]);
        let token = Token { kind, at: self.start, text, line: self.start_line };
        self.start = self.position;
        self.start_line = self.line;
        token
    }

    /// Leaves out what was read; `counted` is whether its lines are counted already.
    fn skip(&mut self, counted: bool) {
        if !counted {
            self.line += newlines(&self.input[self.start..self.position]);
        }
        self.start = self.position;
        self.start_line = self.line;
    }

    fn error(&mut self, message: impl Into<String>) -> Token<'a> {
        let text = Cow::Owned(message.into().into_bytes());
        let token = Token { kind: Kind::Error, at: self.start, text, line: self.start_line };
        self.input = &[];
        self.start = 0;
        self.position = 0;
        self.inside_action = false;
        token
    }

    fn text(&mut self) -> Token<'a> {
        loop {
            let Some(length) = find(self.rest(), self.left) else {
                self.position = self.input.len();
                if self.position > self.start {
                    self.line += newlines(&self.input[self.start..]);
                    return self.token(Kind::Text);
                }
                return Token {
                    kind: Kind::End,
                    at: self.position,
                    text: Cow::Borrowed(b""),
                    line: self.start_line,
                };
            };
            if length > 0 {
                let delimiter = self.position + length;
                let mut end = delimiter;
                if has_left_marker(&self.input[delimiter + self.left.len()..]) {
                    end = self.start + trim_end(&self.input[self.start..delimiter]);
                }
                self.position = end;
                self.line += newlines(&self.input[self.start..end]);
                let token = self.token(Kind::Text);
                self.position = delimiter;
                self.skip(false);
                if !token.text.is_empty() {
                    return token;
                }
            }
            if let Some(token) = self.left_delimiter() {
                return token;
            }
        }
    }

    /// The left delimiter, or nothing for a comment, which is skipped.
    fn left_delimiter(&mut self) -> Option<Token<'a>> {
        self.position += self.left.len();
        let marker = if has_left_marker(self.rest()) { TRIM_MARKER } else { 0 };
        if self.rest()[marker..].starts_with(b"/*") {
            self.position += marker;
            self.skip(false);
            return self.comment();
        }
        let token = self.token(Kind::LeftDelimiter);
        self.inside_action = true;
        self.position += marker;
        self.skip(false);
        self.parentheses = 0;
        Some(token)
    }

    /// Skips a comment; what it returns is an error.
    fn comment(&mut self) -> Option<Token<'a>> {
        self.position += 2;
        let Some(length) = find(self.rest(), b"*/") else {
            return Some(self.error("unclosed comment"));
        };
        self.position += length + 2;
        let Some(trims) = self.at_right_delimiter() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        self.position += self.right.len();
        if trims {
            self.position += TRIM_MARKER;
            self.position += self.rest().iter().take_while(|byte| is_space(**byte)).count();
        }
        self.skip(false);
        None
    }

    /// Whether a right delimiter follows, and whether it trims.
    fn at_right_delimiter(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_marker(rest) && rest[TRIM_MARKER..].starts_with(self.right) {
            return Some(true);
        }
        rest.starts_with(self.right).then_some(false)
    }

    fn right_delimiter(&mut self, trims: bool) -> Token<'a> {
        if trims {
            self.position += TRIM_MARKER;
            self.skip(false);
        }
        self.position += self.right.len();
        let token = self.token(Kind::RightDelimiter);
        if trims {
            self.position += self.rest().iter().take_while(|byte| is_space(**byte)).count();
            self.skip(false);
        }
        self.inside_action = false;
        token
    }

    fn action(&mut self) -> Token<'a> {
        if let Some(trims) = self.at_right_delimiter() {
            if self.parentheses == 0 {
                return self.right_delimiter(trims);
            }
            return self.error("unclosed left paren");
        }
        let Some(character) = self.peek() else {
            return self.error("unclosed action");
        };
        if character.is_ascii() && is_space(character as u8) {
            return self.space();
        }
        match character {
            '.' if !self.rest().get(1).is_some_and(u8::is_ascii_digit) && self.rest().len() > 1 => {
                self.advance();
                return self.field_or_variable(Kind::Field);
            }
            '.' | '+' | '-' | '0'..='9' => return self.number(),
            _ if rune::is_alphanumeric(character) => return self.identifier(),
            _ => {}
        }
        self.advance();
        match character {
            '=' => self.token(Kind::Assign),
            ':' if self.accept(b"=") => self.token(Kind::Declare),
            ':' => self.error("expected :="),
            '|' => self.token(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '`' => self.raw_string(),
            '$' if self.at_terminator() => self.token(Kind::Variable),
            '$' => self.field_or_variable(Kind::Variable),
            '(' => {
                self.parentheses += 1;
                self.token(Kind::LeftParenthesis)
            }
            ')' if self.parentheses == 0 => self.error("unexpected right paren"),
            ')' => {
                self.parentheses -= 1;
                self.token(Kind::RightParenthesis)
            }
            '!'..='~' => self.token(Kind::Char),
            _ => self
                .error(format!("unrecognized character in action: {}", describe(Some(character)))),
        }
    }

    fn space(&mut self) -> Token<'a> {
        let from = self.position;
        while self.rest().first().is_some_and(|byte| is_space(*byte)) {
            self.advance();
        }
        // The last space may belong to a delimiter that trims.
        let last = self.position - 1;
        let marker = &self.input[last..];
        if has_right_marker(marker) && marker[TRIM_MARKER..].starts_with(self.right) {
            if self.input[last] == b'\n' {
                self.line -= 1;
            }
            self.position = last;
            if last == from {
                return self.right_delimiter(true);
            }
        }
        self.token(Kind::Space)
    }

    fn identifier(&mut self) -> Token<'a> {
        self.alphanumerics();
        if !self.at_terminator() {
            return self.bad_character();
        }
        let word = &self.input[self.start..self.position];
        let kind = match word {
            b"true" | b"false" => Kind::Bool,
            _ => Keyword::of(word).map_or(Kind::Identifier, Kind::Keyword),
        };
        self.token(kind)
    }

    /// The rest of `.name` or `$name`.
    fn field_or_variable(&mut self, kind: Kind) -> Token<'a> {
        if self.at_terminator() {
            let dot = Kind::Keyword(Keyword::Dot);
            return self.token(if kind == Kind::Field { dot } else { kind });
        }
        self.alphanumerics();
        if !self.at_terminator() {
            return self.bad_character();
        }
        self.token(kind)
    }

    fn alphanumerics(&mut self) {
        while self.peek().is_some_and(rune::is_alphanumeric) {
            self.advance();
        }
    }

    fn bad_character(&mut self) -> Token<'a> {
        let character = self.peek();
        self.error(format!("bad character {}", describe(character)))
    }

    /// Whether a word may end here, so that `$x+2` is an error and not two words.
    fn at_terminator(&self) -> bool {
        match self.rest().first() {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'.' | b',' | b'|' | b':' | b')' | b'(') => {
                true
            }
            _ => self.rest().starts_with(self.right),
        }
    }

    fn quoted(&mut self, end: char, kind: Kind, unterminated: &str) -> Token<'a> {
        loop {
            let mut character = self.advance();
            if character == Some('\\') {
                character = self.advance().filter(|character| *character != '\n');
                if character.is_some() {
                    continue;
                }
            }
            match character {
                None | Some('\n') => return self.error(unterminated),
                Some(character) if character == end => return self.token(kind),
                _ => {}
            }
        }
    }

    fn raw_string(&mut self) -> Token<'a> {
        loop {
            match self.advance() {
                None => return self.error("unterminated raw quoted string"),
                Some('`') => return self.token(Kind::RawString),
                _ => {}
            }
        }
    }

    /// A number, roughly: what this accepts and is none, the parser finds.
    fn number(&mut self) -> Token<'a> {
        if !self.scan_number() {
            return self.bad_number();
        }
        if matches!(self.rest().first(), Some(b'+' | b'-')) {
            if !self.scan_number() || self.input[self.position - 1] != b'i' {
                return self.bad_number();
            }
            return self.token(Kind::Complex);
        }
        self.token(Kind::Number)
    }

    fn bad_number(&mut self) -> Token<'a> {
        let text = quote::quote(&self.input[self.start..self.position]);
        self.error(format!("bad number syntax: {text}"))
    }

    fn scan_number(&mut self) -> bool {
        self.accept(b"+-");
        let (mut digits, mut exponent): (&[u8], &[u8]) = (b"0123456789_", b"eE");
        if self.accept(b"0") {
            if self.accept(b"xX") {
                (digits, exponent) = (b"0123456789abcdefABCDEF_", b"pP");
            } else if self.accept(b"oO") {
                (digits, exponent) = (b"01234567_", b"");
            } else if self.accept(b"bB") {
                (digits, exponent) = (b"01_", b"");
            }
        }
        self.accept_run(digits);
        if self.accept(b".") {
            self.accept_run(digits);
        }
        if self.accept(exponent) {
            self.accept(b"+-");
            self.accept_run(b"0123456789_");
        }
        self.accept(b"i");
        if self.peek().is_some_and(rune::is_alphanumeric) {
            self.advance();
            return false;
        }
        true
    }
}

/// A character as Go's `%#U` shows it; the end of the text is the number -1.
fn describe(character: Option<char>) -> String {
    match character {
        None => "U+FFFFFFFFFFFFFFFF".to_owned(),
        Some(character) if rune::is_print(character) => {
            format!("U+{:04X} '{character}'", u32::from(character))
        }
        Some(character) => format!("U+{:04X}", u32::from(character)),
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn has_left_marker(text: &[u8]) -> bool {
    matches!(text, [b'-', space, ..] if is_space(*space))
}

fn has_right_marker(text: &[u8]) -> bool {
    matches!(text, [space, b'-', ..] if is_space(*space))
}

fn trim_end(text: &[u8]) -> usize {
    text.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1)
}

fn newlines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// Where `needle`, which is not empty, first stands in `text`.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let (&first, tail) = needle.split_first()?;
    let mut from = 0;
    loop {
        let at = from + text[from..].iter().position(|byte| *byte == first)?;
        if text[at + 1..].starts_with(tail) {
            return Some(at);
        }
        from = at + 1;
    }
}
