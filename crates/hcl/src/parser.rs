//! HCL's grammar.

use crate::token::{Kind, Scanner, Token};
use crate::{Body, Error, Item, Key, MAX_DEPTH, Position, Value, ValueKind, text};

/// Parses HCL.
pub(crate) fn parse(text: &str) -> Result<Body, Error> {
    // Columns and heredocs know only `\n`.
    let text = text.replace("\r\n", "\n");
    let mut parser = Parser::new(&text);
    let parsed = parser.body(None);
    // What the scanner could not read explains what the parser made of it.
    if let Some(error) = parser.scanner.error {
        return Err(error);
    }
    let body = parsed?;
    parser.bad_value.map_or(Ok(body), Err)
}

struct Parser<'t> {
    scanner: Scanner<'t>,
    token: Token<'t>,
    /// Whether `token` is to be read again.
    pushed_back: bool,
    depth: usize,
    /// The first string whose escapes make no text. The original finds out only when the value is
    /// asked for, so every other complaint comes first.
    bad_value: Option<Error>,
}

/// The keys before a `=` or a `{`, or how far they came when the text ended.
enum Keys {
    Complete(Vec<Key>, Vec<String>),
    End,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        let start = Position { line: 1, column: 1 };
        Self {
            scanner: Scanner::new(text),
            token: Token { kind: Kind::Eof, position: start, text: "" },
            pushed_back: false,
            depth: 0,
            bad_value: None,
        }
    }

    /// The next token that is no comment.
    fn scan(&mut self) -> Token<'t> {
        if self.pushed_back {
            self.pushed_back = false;
            return self.token;
        }
        self.token = self.scanner.scan();
        while self.token.kind == Kind::Comment {
            self.token = self.scanner.scan();
        }
        self.token
    }

    fn peek(&mut self) -> Token<'t> {
        let token = self.scan();
        self.pushed_back = true;
        token
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        Err(Error::at(self.token.position, message))
    }

    /// Runs `parse` one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth == MAX_DEPTH {
            return self.fail(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Items up to the end of the text, or of the object whose `{` has been read.
    fn body(&mut self, open: Option<Position>) -> Result<Body, Error> {
        let mut items = Vec::new();
        loop {
            if open.is_some() && self.peek().kind == Kind::RightBrace {
                break;
            }
            match self.item()? {
                Some(item) => items.push(item),
                None => break,
            }
            if self.peek().kind == Kind::Comma {
                self.scan();
            }
        }
        if open.is_some() {
            let token = self.scan();
            if token.kind != Kind::RightBrace {
                let got = token.kind.name();
                return self.fail(format!("object expected closing RBRACE got: {got}"));
            }
        }
        Ok(Body { items })
    }

    /// One item; none at the end of the text.
    fn item(&mut self) -> Result<Option<Item>, Error> {
        let (keys, written) = match self.keys()? {
            Keys::Complete(keys, written) => (keys, written),
            Keys::End => return Ok(None),
        };
        let (assign, value) = match self.token.kind {
            Kind::Assign => {
                let assign = self.token.position;
                (Some(assign), self.value()?)
            }
            Kind::LeftBrace => (None, self.object()?),
            _ => {
                let keys = written.join(" ");
                return self.fail(format!(
                    "key '{keys}' expected start of object ('{{') or assignment ('=')"
                ));
            }
        };
        Ok(Some(Item { keys, assign, value }))
    }

    /// Keys up to and with the `=` or `{` after them, which is then the current token.
    fn keys(&mut self) -> Result<Keys, Error> {
        let mut keys = Vec::new();
        let mut written = Vec::new();
        loop {
            let token = self.scan();
            match token.kind {
                Kind::Ident | Kind::String => {
                    written.push(token.text.to_owned());
                    let text = if token.kind == Kind::Ident {
                        token.text.to_owned()
                    } else {
                        self.string(token)
                    };
                    keys.push(Key { text, position: token.position });
                }
                Kind::Assign if keys.is_empty() => return self.fail("no object keys found!"),
                Kind::Assign if keys.len() > 1 => {
                    return self.fail("nested object expected: LBRACE got: ASSIGN");
                }
                Kind::LeftBrace if keys.is_empty() => {
                    return self.fail("expected: IDENT | STRING got: LBRACE");
                }
                Kind::Eof if keys.is_empty() => return Ok(Keys::End),
                // With keys read, these too end them: that no value follows is for `item` to say.
                Kind::Assign | Kind::LeftBrace | Kind::Eof => {
                    return Ok(Keys::Complete(keys, written));
                }
                Kind::RightBrace if !keys.is_empty() => return Ok(Keys::Complete(keys, written)),
                Kind::Illegal => return self.fail("illegal character"),
                other => {
                    let got = other.name();
                    return self
                        .fail(format!("expected: IDENT | STRING | ASSIGN | LBRACE got: {got}"));
                }
            }
        }
    }

    /// The value after a `=`.
    fn value(&mut self) -> Result<Value, Error> {
        let token = self.scan();
        match token.kind {
            Kind::Number | Kind::Float | Kind::Bool | Kind::String | Kind::Heredoc => {
                Ok(self.literal(token))
            }
            Kind::LeftBrace => self.object(),
            Kind::LeftBracket => self.list(),
            Kind::Eof if self.depth == 0 => self.fail("expected a value after '=' got: EOF"),
            Kind::Eof => {
                self.scan();
                self.fail("object expected closing RBRACE got: EOF")
            }
            kind => self.fail(format!(
                "Unknown token: {} {} {}",
                token.position,
                kind.name(),
                token.text
            )),
        }
    }

    fn literal(&mut self, token: Token<'_>) -> Value {
        let kind = match token.kind {
            Kind::Number => ValueKind::Number(token.text.to_owned()),
            Kind::Float => ValueKind::Float(token.text.to_owned()),
            Kind::Bool => ValueKind::Bool(token.text == "true"),
            Kind::Heredoc => ValueKind::String(self.resolved(token, text::heredoc(token.text))),
            _ => ValueKind::String(self.string(token)),
        };
        Value { kind, position: token.position }
    }

    fn string(&mut self, token: Token<'_>) -> String {
        self.resolved(token, text::unquote(token.text))
    }

    fn resolved(&mut self, token: Token<'_>, value: Option<String>) -> String {
        value.unwrap_or_else(|| {
            self.bad_value.get_or_insert_with(|| Error::at(token.position, "invalid string"));
            String::new()
        })
    }

    /// The object whose `{` has been read.
    fn object(&mut self) -> Result<Value, Error> {
        let position = self.token.position;
        let body = self.nested(|parser| parser.body(Some(position)))?;
        Ok(Value { kind: ValueKind::Object(body), position })
    }

    /// The list whose `[` has been read.
    fn list(&mut self) -> Result<Value, Error> {
        let position = self.token.position;
        let elements = self.nested(Self::elements)?;
        Ok(Value { kind: ValueKind::List(elements), position })
    }

    fn elements(&mut self) -> Result<Vec<Value>, Error> {
        let mut elements = Vec::new();
        let mut need_comma = false;
        loop {
            let token = self.scan();
            if need_comma && !matches!(token.kind, Kind::Comma | Kind::RightBracket) {
                let got = token.kind.name();
                return self
                    .fail(format!("error parsing list, expected comma or list end, got: {got}"));
            }
            match token.kind {
                Kind::Bool | Kind::Number | Kind::Float | Kind::String | Kind::Heredoc => {
                    elements.push(self.literal(token));
                    need_comma = true;
                }
                Kind::Comma => need_comma = false,
                Kind::LeftBrace => {
                    elements.push(self.object().map_err(|error| within(token, "object", &error))?);
                    need_comma = true;
                }
                Kind::LeftBracket => {
                    elements.push(self.list().map_err(|error| within(token, "list", &error))?);
                }
                Kind::RightBracket => return Ok(elements),
                other => {
                    let got = other.name();
                    return self.fail(format!("unexpected token while parsing list: {got}"));
                }
            }
        }
    }
}

fn within(token: Token<'_>, what: &str, error: &Error) -> Error {
    Error::at(token.position, format!("error while trying to parse {what} within list: {error}"))
}
