//! A text's items with the comments that belong to them, as they were written.
//!
//! A comment right above an item leads it; one behind a value on the same line is the line's; all
//! others stand alone. Which is which follows HCL1's own parser, look-ahead included.

use std::collections::HashSet;

use crate::token::{Kind, Scanner, Token};
use crate::{Error, Position};

/// Comments without an empty line between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Comments<'t>(pub(super) Vec<Comment<'t>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Comment<'t> {
    pub(super) position: Position,
    pub(super) text: &'t str,
}

/// `key = value` or `key "label" { ... }`.
#[derive(Debug)]
pub(super) struct Item<'t> {
    /// As written, quotes included: at least one.
    pub(super) keys: Vec<Token<'t>>,
    pub(super) has_assign: bool,
    pub(super) value: Value<'t>,
    pub(super) lead: Option<Comments<'t>>,
    pub(super) line: Option<Comments<'t>>,
}

impl Item<'_> {
    /// Where it starts.
    pub(super) fn position(&self) -> Position {
        self.keys[0].position
    }
}

#[derive(Debug)]
pub(super) enum Value<'t> {
    Literal(Literal<'t>),
    List { open: Position, elements: Vec<Value<'t>> },
    Object { open: Position, items: Vec<Item<'t>>, close: Position },
}

impl Value<'_> {
    /// Where it starts.
    pub(super) fn position(&self) -> Position {
        match self {
            Self::Literal(literal) => literal.token.position,
            Self::List { open, .. } | Self::Object { open, .. } => *open,
        }
    }
}

/// A literal, with comments where it stands in a list.
#[derive(Debug)]
pub(super) struct Literal<'t> {
    pub(super) token: Token<'t>,
    pub(super) lead: Option<Comments<'t>>,
    pub(super) line: Option<Comments<'t>>,
}

/// A whole text.
#[derive(Debug)]
pub(super) struct Tree<'t> {
    pub(super) items: Vec<Item<'t>>,
    /// The comments that belong to no item, in their order.
    pub(super) alone: Vec<Comments<'t>>,
}

/// Reads `text`, which is known to be HCL.
///
/// # Errors
/// It sets a key twice in one place: which value should stay is not for a printer to say.
pub(super) fn read(text: &str) -> Result<Tree<'_>, Error> {
    let mut reader = Reader {
        scanner: Scanner::new(text),
        token: Token { kind: Kind::Eof, position: Position { line: 0, column: 0 }, text: "" },
        pushed_back: false,
        lead: None,
        line: None,
        all: Vec::new(),
    };
    let items = reader.items(false)?;
    let mut taken = Vec::new();
    items.iter().for_each(|item| owned(item, &mut taken));
    let is_alone = |group: &Comments<'_>| {
        group.0.first().is_some_and(|comment| !taken.contains(&comment.position))
    };
    let alone = reader.all.into_iter().filter(is_alone).collect();
    Ok(Tree { items, alone })
}

/// The places of the comments that belong to `item` and what is in it.
fn owned(item: &Item<'_>, taken: &mut Vec<Position>) {
    note(&item.lead, taken);
    note(&item.line, taken);
    owned_by_value(&item.value, taken);
}

fn owned_by_value(value: &Value<'_>, taken: &mut Vec<Position>) {
    match value {
        Value::Literal(literal) => {
            note(&literal.lead, taken);
            note(&literal.line, taken);
        }
        Value::List { elements, .. } => elements.iter().for_each(|it| owned_by_value(it, taken)),
        Value::Object { items, .. } => items.iter().for_each(|item| owned(item, taken)),
    }
}

fn note(comments: &Option<Comments<'_>>, taken: &mut Vec<Position>) {
    taken.extend(comments.iter().flat_map(|group| &group.0).map(|comment| comment.position));
}

struct Reader<'t> {
    scanner: Scanner<'t>,
    token: Token<'t>,
    pushed_back: bool,
    /// The last comments that may lead what comes next.
    lead: Option<Comments<'t>>,
    /// The last comments behind something on its line.
    line: Option<Comments<'t>>,
    all: Vec<Comments<'t>>,
}

impl<'t> Reader<'t> {
    fn scan(&mut self) -> Token<'t> {
        if self.pushed_back {
            self.pushed_back = false;
            return self.token;
        }
        let before = self.token.position.line;
        self.token = self.scanner.scan();
        if self.token.kind != Kind::Comment {
            return self.token;
        }
        if self.token.position.line == before {
            let (group, end) = self.group(0);
            if self.token.position.line != end {
                self.line = Some(group);
            }
        }
        let mut last = None;
        while self.token.kind == Kind::Comment {
            last = Some(self.group(1));
        }
        if let Some((group, end)) = last
            && self.token.position.line == end + 1
            && !matches!(self.token.kind, Kind::RightBrace | Kind::RightBracket)
        {
            self.lead = Some(group);
        }
        self.token
    }

    fn peek(&mut self) -> Token<'t> {
        let token = self.scan();
        self.pushed_back = true;
        token
    }

    /// Comments that begin `apart` lines below the end of the one before at most, and the line that
    /// the last of them ends in.
    fn group(&mut self, apart: u32) -> (Comments<'t>, u32) {
        let mut group = Comments::default();
        let mut end = self.token.position.line;
        while self.token.kind == Kind::Comment && self.token.position.line <= end + apart {
            let Token { position, text, .. } = self.token;
            end = position.line;
            if text.starts_with("/*") {
                end += u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX);
            }
            group.0.push(Comment { position, text });
            self.token = self.scanner.scan();
        }
        self.all.push(group.clone());
        (group, end)
    }

    fn items(&mut self, inside: bool) -> Result<Vec<Item<'t>>, Error> {
        let mut items = Vec::new();
        let mut seen = HashSet::new();
        loop {
            if inside && self.peek().kind == Kind::RightBrace {
                return Ok(items);
            }
            let mut keys = Vec::new();
            loop {
                let token = self.scan();
                match token.kind {
                    Kind::Ident | Kind::String => keys.push(token),
                    Kind::Eof if keys.is_empty() && !inside => return Ok(items),
                    Kind::Assign | Kind::LeftBrace if !keys.is_empty() => break,
                    _ => return Err(unread(token)),
                }
            }
            let item = self.item(keys)?;
            if let Some(key) = item.keys.first().filter(|_| item.has_assign)
                && !seen.insert(key.text)
            {
                return Err(Error::bare(format!(
                    "The argument {:?} at {} was already set. Each argument can only be defined \
                     once",
                    key.text, key.position
                )));
            }
            items.push(item);
            if self.peek().kind == Kind::Comma {
                self.scan();
            }
        }
    }

    /// The item of these keys, whose `=` or `{` is the current token.
    fn item(&mut self, keys: Vec<Token<'t>>) -> Result<Item<'t>, Error> {
        let lead = self.lead.take();
        let has_assign = self.token.kind == Kind::Assign;
        let value = match has_assign {
            true => self.value()?,
            false => self.object()?,
        };
        // One between the key and a value below it.
        let mut line = self.line.take();
        self.peek();
        if value.position().line == keys[0].position.line && self.line.is_some() {
            line = self.line.take();
        }
        Ok(Item { keys, has_assign, value, lead, line })
    }

    fn value(&mut self) -> Result<Value<'t>, Error> {
        let token = self.scan();
        match token.kind {
            Kind::LeftBrace => self.object(),
            Kind::LeftBracket => self.list(),
            kind if is_literal(kind) => {
                Ok(Value::Literal(Literal { token, lead: None, line: None }))
            }
            _ => Err(unread(token)),
        }
    }

    fn object(&mut self) -> Result<Value<'t>, Error> {
        let open = self.token.position;
        let items = self.items(true)?;
        let close = self.scan().position;
        Ok(Value::Object { open, items, close })
    }

    fn list(&mut self) -> Result<Value<'t>, Error> {
        let open = self.token.position;
        let mut elements = Vec::new();
        loop {
            let token = self.scan();
            match token.kind {
                Kind::RightBracket => return Ok(Value::List { open, elements }),
                Kind::LeftBrace => elements.push(self.object()?),
                Kind::LeftBracket => elements.push(self.list()?),
                Kind::Comma => {
                    self.peek();
                    if let Some(Value::Literal(literal)) = elements.last_mut()
                        && self.line.is_some()
                    {
                        literal.line = self.line.take();
                    }
                }
                kind if is_literal(kind) => {
                    let lead = self.lead.take();
                    elements.push(Value::Literal(Literal { token, lead, line: None }));
                }
                _ => return Err(unread(token)),
            }
        }
    }
}

fn unread(token: Token<'_>) -> Error {
    Error::at(token.position, format!("unexpected {}", token.kind.name()))
}

fn is_literal(kind: Kind) -> bool {
    matches!(kind, Kind::Number | Kind::Float | Kind::Bool | Kind::String | Kind::Heredoc)
}
