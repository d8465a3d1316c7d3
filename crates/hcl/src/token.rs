//! The text cut into tokens.
//!
//! Columns at the end of the text and after a line's end are reported as the original reports
//! them, oddities included: clients compare the messages.

use crate::{Error, Position};

/// What a token is. Its [`Kind::name`] stands in error messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Illegal,
    Eof,
    Comment,
    Ident,
    Number,
    Float,
    Bool,
    String,
    Heredoc,
    LeftBracket,
    LeftBrace,
    Comma,
    Period,
    RightBracket,
    RightBrace,
    Assign,
    Add,
    Sub,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Illegal => "ILLEGAL",
            Self::Eof => "EOF",
            Self::Comment => "COMMENT",
            Self::Ident => "IDENT",
            Self::Number => "NUMBER",
            Self::Float => "FLOAT",
            Self::Bool => "BOOL",
            Self::String => "STRING",
            Self::Heredoc => "HEREDOC",
            Self::LeftBracket => "LBRACK",
            Self::LeftBrace => "LBRACE",
            Self::Comma => "COMMA",
            Self::Period => "PERIOD",
            Self::RightBracket => "RBRACK",
            Self::RightBrace => "RBRACE",
            Self::Assign => "ASSIGN",
            Self::Add => "ADD",
            Self::Sub => "SUB",
        }
    }
}

/// A token with its text as it was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind,
    pub(crate) position: Position,
    pub(crate) text: &'t str,
}

/// Where the scanner stands.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    offset: usize,
    line: u32,
    /// Characters read of this line; 0 right after a line's end.
    column: u32,
}

/// Cuts a text into tokens.
///
/// A malformed token does not stop it: the last complaint is kept in `error`, which outranks
/// whatever the parser then makes of the tokens.
pub(crate) struct Scanner<'t> {
    text: &'t str,
    cursor: Cursor,
    previous: Cursor,
    last_line_length: u32,
    pub(crate) error: Option<Error>,
}

impl<'t> Scanner<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let cursor = Cursor { offset: 0, line: 1, column: 0 };
        Self { text, cursor, previous: cursor, last_line_length: 0, error: None }
    }

    /// The next token; after the last one, [`Kind::Eof`] for ever.
    pub(crate) fn scan(&mut self) -> Token<'t> {
        let mut start = self.cursor.offset;
        let mut first = self.next();
        while matches!(first, Some(' ' | '\t' | '\n' | '\r')) {
            start = self.cursor.offset;
            first = self.next();
        }
        let position = self.position();
        let kind = match first {
            None => Kind::Eof,
            Some(c) if is_letter(c) => self.identifier(start),
            Some(c) if c.is_ascii_digit() => self.number(c),
            Some('"') => {
                self.string();
                Kind::String
            }
            Some(c @ ('#' | '/')) => {
                self.comment(c);
                Kind::Comment
            }
            Some('.') => self.period(),
            Some('<') => {
                self.heredoc();
                Kind::Heredoc
            }
            Some('[') => Kind::LeftBracket,
            Some(']') => Kind::RightBracket,
            Some('{') => Kind::LeftBrace,
            Some('}') => Kind::RightBrace,
            Some(',') => Kind::Comma,
            Some('=') => Kind::Assign,
            Some('+') => Kind::Add,
            Some('-') => match self.peek() {
                Some(c) if c.is_ascii_digit() => {
                    self.next();
                    self.number(c)
                }
                _ => Kind::Sub,
            },
            Some(_) => {
                self.complain("illegal char");
                Kind::Illegal
            }
        };
        Token { kind, position, text: &self.text[start..self.cursor.offset] }
    }

    /// Reads a character. None at the end, and for characters that no text may hold.
    fn next(&mut self) -> Option<char> {
        let Some(c) = self.peek() else {
            self.cursor.column += 1;
            return None;
        };
        self.previous = self.cursor;
        self.cursor.column += 1;
        self.cursor.offset += c.len_utf8();
        match c {
            '\n' => {
                self.cursor.line += 1;
                self.last_line_length = self.cursor.column;
                self.cursor.column = 0;
            }
            '\0' => {
                self.complain("unexpected null character (0x00)");
                return None;
            }
            '\u{E123}' => {
                self.complain("unicode code point U+E123 reserved for internal use");
                return Some(char::REPLACEMENT_CHARACTER);
            }
            _ => {}
        }
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.text[self.cursor.offset..].chars().next()
    }

    /// Puts the last character back, which was one.
    fn unread(&mut self) {
        self.cursor = self.previous;
    }

    /// The place of the character read last.
    fn position(&self) -> Position {
        let Cursor { line, column, .. } = self.cursor;
        if column > 0 {
            Position { line, column }
        } else {
            Position { line: line.saturating_sub(1).max(1), column: self.last_line_length.max(1) }
        }
    }

    fn complain(&mut self, message: &str) {
        self.error = Some(Error::at(self.position(), message));
    }

    fn identifier(&mut self, start: usize) -> Kind {
        let mut c = self.next();
        while c.is_some_and(|c| is_letter(c) || is_digit(c) || c == '-' || c == '.') {
            c = self.next();
        }
        if c.is_some() {
            self.unread();
        }
        match &self.text[start..self.cursor.offset] {
            "true" | "false" => Kind::Bool,
            _ => Kind::Ident,
        }
    }

    fn comment(&mut self, first: char) {
        if first == '#' || self.peek() != Some('*') {
            if first == '/' && self.peek() != Some('/') {
                self.complain("expected '/' for comment");
                return;
            }
            let mut c = self.next();
            while c.is_some_and(|c| c != '\n') {
                c = self.next();
            }
            if c.is_some() {
                self.unread();
            }
            return;
        }
        self.next();
        let mut c = self.next();
        loop {
            let Some(before) = c else {
                self.complain("comment not terminated");
                return;
            };
            c = self.next();
            if before == '*' && c == Some('/') {
                return;
            }
        }
    }

    fn period(&mut self) -> Kind {
        match self.peek() {
            Some(c) if c.is_ascii_digit() => {
                let after = self.mantissa(Some(c));
                self.exponent(after);
                Kind::Float
            }
            _ => Kind::Period,
        }
    }

    fn number(&mut self, first: char) -> Kind {
        if first != '0' {
            self.mantissa(Some(first));
            let after = self.next();
            return self.rest_of_number(after);
        }
        let mut c = self.next();
        if matches!(c, Some('x' | 'X')) {
            c = self.next();
            let mut found = false;
            while c.is_some_and(|c| c.is_ascii_hexdigit()) {
                found = true;
                c = self.next();
            }
            if !found {
                self.complain("illegal hexadecimal number");
            }
            if c.is_some() {
                self.unread();
            }
            return Kind::Number;
        }
        let mut illegal_octal = false;
        while c.is_some_and(|c| c.is_ascii_digit()) {
            c = self.next();
            // Only a float may hold them: 0159.23.
            illegal_octal |= matches!(c, Some('8' | '9'));
        }
        let float = matches!(c, Some('e' | 'E' | '.'));
        if illegal_octal && !float {
            self.complain("illegal octal number");
        }
        self.rest_of_number(c)
    }

    /// What follows a number's leading digits, whose first character `after` has been read.
    fn rest_of_number(&mut self, after: Option<char>) -> Kind {
        match after {
            Some('e' | 'E') => {
                self.exponent(after);
                Kind::Float
            }
            Some('.') => {
                let c = self.peek();
                let c = self.mantissa(c);
                if matches!(c, Some('e' | 'E')) {
                    let c = self.next();
                    self.exponent(c);
                }
                Kind::Float
            }
            Some(_) => {
                self.unread();
                Kind::Number
            }
            None => Kind::Number,
        }
    }

    /// Reads digits as long as there are some, `first` being one of them or what stands there
    /// instead. Returns what comes after, unread.
    fn mantissa(&mut self, first: Option<char>) -> Option<char> {
        let mut c = first;
        let mut scanned = false;
        while c.is_some_and(|c| c.is_ascii_digit()) {
            c = self.next();
            scanned = true;
        }
        if scanned && c.is_some() {
            self.unread();
        }
        c
    }

    fn exponent(&mut self, first: Option<char>) {
        if matches!(first, Some('e' | 'E')) {
            let mut c = self.next();
            if matches!(c, Some('-' | '+')) {
                c = self.next();
            }
            self.mantissa(c);
        }
    }

    /// A quoted string, whose opening quote has been read. Quotes within `${...}` do not end it.
    fn string(&mut self) {
        let mut braces = 0_usize;
        loop {
            let c = self.next();
            match c {
                None => {
                    self.complain("literal not terminated");
                    return;
                }
                Some('\n') if braces == 0 => {
                    self.complain("literal not terminated");
                    return;
                }
                Some('"') if braces == 0 => return,
                Some('$') if braces == 0 && self.peek() == Some('{') => {
                    braces = 1;
                    self.next();
                }
                Some('{') if braces > 0 => braces += 1,
                Some('}') if braces > 0 => braces -= 1,
                Some('\\') => self.escape(),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self) {
        let c = self.next();
        match c {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | '"') => {}
            Some('0'..='7') => self.digits(c, 8, 3),
            Some('x') => {
                let c = self.next();
                self.digits(c, 16, 2);
            }
            Some('u') => {
                let c = self.next();
                self.digits(c, 16, 4);
            }
            Some('U') => {
                let c = self.next();
                self.digits(c, 16, 8);
            }
            _ => self.complain("illegal char escape"),
        }
    }

    fn digits(&mut self, first: Option<char>, radix: u32, count: usize) {
        let mut c = first;
        let mut left = count;
        while left > 0 && c.is_some_and(|c| c.is_digit(radix)) {
            c = self.next();
            if c.is_none() {
                break;
            }
            left -= 1;
        }
        if left > 0 {
            self.complain("illegal char escape");
        }
        if left != count && c.is_some() {
            self.unread();
        }
    }

    /// A heredoc, whose first `<` has been read.
    fn heredoc(&mut self) {
        if self.next() != Some('<') {
            self.complain("heredoc expected second '<', didn't see it");
            return;
        }
        let anchor_start = self.cursor.offset;
        let mut c = self.next();
        if c == Some('-') {
            c = self.next();
        }
        while c.is_some_and(|c| is_letter(c) || is_digit(c)) {
            c = self.next();
        }
        match c {
            Some('\n') => {}
            None => return self.complain("heredoc not terminated"),
            Some(_) => return self.complain("invalid characters in heredoc anchor"),
        }
        let anchor = &self.text[anchor_start..self.cursor.offset - 1];
        let name = anchor.strip_prefix('-').unwrap_or(anchor);
        if name.is_empty() {
            return self.complain("zero-length heredoc anchor");
        }
        let mut line_start = self.cursor.offset;
        loop {
            match self.next() {
                Some('\n') => {
                    let line = &self.text[line_start..self.cursor.offset - 1];
                    // The `-` of an indented heredoc counts: its closing line is indented, too.
                    if line.len() >= anchor.len() && is_closing_line(line, name) {
                        return;
                    }
                    line_start = self.cursor.offset;
                }
                None => return self.complain("heredoc not terminated"),
                Some(_) => {}
            }
        }
    }
}

fn is_closing_line(line: &str, name: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t', '\r', '\x0b', '\x0c']);
    line.trim_end_matches('\r') == name
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || (!c.is_ascii() && c.is_alphabetic())
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric())
}
