//! From tokens to trees.

use std::collections::BTreeMap;

use super::ast::{Branch, Command, List, Node, Operand, Pipe, Term};
use super::constant;
use super::lex::Lexer;
use super::token::{Keyword, Kind, Token};
use crate::text::{quote, rune};
use crate::{Error, Value, functions};

/// The trees of a text by their names: the text's own, and those that it defines.
pub(crate) type Trees = BTreeMap<String, List>;

/// Parses `text`. `depth` bounds parentheses within parentheses and blocks within blocks.
pub(crate) fn parse(
    name: &str,
    text: &[u8],
    left: &str,
    right: &str,
    depth: usize,
) -> Result<Trees, Error> {
    let mut parser = Parser {
        name,
        left,
        right,
        lexer: Lexer::new(text, left.as_bytes(), right.as_bytes()),
        pushed: Vec::new(),
        line: 1,
        trees: Trees::new(),
        scope: Scope::new(),
        depth: 0,
        max_depth: depth,
    };
    let root = parser.root()?;
    parser.add(name.to_owned(), root)?;
    Ok(parser.trees)
}

struct Parser<'a> {
    name: &'a str,
    left: &'a str,
    right: &'a str,
    lexer: Lexer<'a>,
    /// Tokens that were looked at and given back, the next one last.
    pushed: Vec<Token<'a>>,
    /// The line of the token that was read last.
    line: usize,
    trees: Trees,
    scope: Scope,
    depth: usize,
    max_depth: usize,
}

/// What belongs to one tree while it is parsed.
struct Scope {
    variables: Vec<String>,
    ranges: usize,
    /// The line of the action under way, 0 for none.
    action_line: usize,
}

impl Scope {
    fn new() -> Self {
        Self { variables: vec!["$".to_owned()], ranges: 0, action_line: 0 }
    }
}

/// A node, or what ends a list of them.
enum Piece {
    Node(Node),
    End,
    Else,
}

impl Piece {
    fn show(&self, left: &str, right: &str) -> String {
        match self {
            Self::End => format!("{left}end{right}"),
            _ => format!("{left}else{right}"),
        }
    }
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Token<'a> {
        self.pushed.pop().unwrap_or_else(|| {
            let token = self.lexer.next();
            self.line = token.line;
            token
        })
    }

    fn back(&mut self, token: Token<'a>) {
        self.pushed.push(token);
    }

    fn peek(&mut self) -> &Token<'a> {
        if self.pushed.is_empty() {
            let token = self.next();
            self.pushed.push(token);
        }
        // Pushed just now, if not before.
        &self.pushed[self.pushed.len() - 1]
    }

    fn next_word(&mut self) -> Token<'a> {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn peek_word(&mut self) -> &Token<'a> {
        let token = self.next_word();
        self.back(token);
        self.peek()
    }

    fn error(&self, message: impl AsRef<str>) -> Error {
        Error::parse(self.name, self.line, message.as_ref())
    }

    fn unexpected(&self, token: &Token<'_>, context: &str) -> Error {
        let shown = token.describe();
        if token.kind != Kind::Error {
            return self.error(format!("unexpected {shown} in {context}"));
        }
        let started = self.scope.action_line;
        if started == 0 || started == token.line {
            return self.error(shown);
        }
        // Not "unclosed action in action".
        let link = if shown.ends_with(" action") { "" } else { " in action" };
        self.error(format!("{shown}{link} started at {}:{started}", self.name))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token<'a>, Error> {
        let token = self.next_word();
        if token.kind == kind { Ok(token) } else { Err(self.unexpected(&token, context)) }
    }

    /// Goes one level down, for what `parse` reads.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth >= self.max_depth {
            return Err(self.error("max expression depth exceeded"));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn add(&mut self, name: String, list: List) -> Result<(), Error> {
        match self.trees.get(&name) {
            Some(known) if !is_empty(known) => {
                if is_empty(&list) {
                    return Ok(());
                }
                let quoted = quote::quote(name.as_bytes());
                Err(self.error(format!("template: multiple definition of template {quoted}")))
            }
            _ => {
                self.trees.insert(name, list);
                Ok(())
            }
        }
    }

    fn root(&mut self) -> Result<List, Error> {
        let mut list = List::default();
        while self.peek().kind != Kind::End {
            if self.peek().kind == Kind::LeftDelimiter {
                let delimiter = self.next();
                let word = self.next_word();
                if word.kind == Kind::Keyword(Keyword::Define) {
                    self.define()?;
                    continue;
                }
                self.back(word);
                self.back(delimiter);
            }
            match self.text_or_action()? {
                Piece::Node(node) => list.nodes.push(node),
                end => {
                    let shown = end.show(self.left, self.right);
                    return Err(self.error(format!("unexpected {shown}")));
                }
            }
        }
        Ok(list)
    }

    fn define(&mut self) -> Result<(), Error> {
        const CONTEXT: &str = "define clause";
        self.tree(CONTEXT, |parser| {
            let token = parser.next_word();
            if !matches!(token.kind, Kind::String | Kind::RawString) {
                return Err(parser.unexpected(&token, CONTEXT));
            }
            let name = parser.unquote(&token)?;
            parser.expect(Kind::RightDelimiter, CONTEXT)?;
            Ok(String::from_utf8_lossy(&name).into_owned())
        })?;
        Ok(())
    }

    /// Parses a tree of its own, up to its `end`, and adds it under the name that `head` reads.
    fn tree(
        &mut self,
        context: &str,
        head: impl FnOnce(&mut Self) -> Result<String, Error>,
    ) -> Result<(), Error> {
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        let name = head(self)?;
        let (line, block) = (self.line, context == "block clause");
        let (list, end) = self.list()?;
        if !matches!(end, Piece::End) {
            if block {
                // Go's message is of the template around the block, which has read no further.
                self.line = line;
            }
            let shown = end.show(self.left, self.right);
            return Err(self.error(format!("unexpected {shown} in {context}")));
        }
        self.add(name, list)?;
        self.scope = outer;
        Ok(())
    }

    /// Nodes up to an `end` or `else`, which is returned beside them.
    fn list(&mut self) -> Result<(List, Piece), Error> {
        self.nested(|parser| {
            let mut list = List::default();
            while parser.peek_word().kind != Kind::End {
                match parser.text_or_action()? {
                    Piece::Node(node) => list.nodes.push(node),
                    end => return Ok((list, end)),
                }
            }
            Err(parser.error("unexpected EOF"))
        })
    }

    fn text_or_action(&mut self) -> Result<Piece, Error> {
        let token = self.next_word();
        match token.kind {
            Kind::Text => Ok(Piece::Node(Node::Text(token.text.into_owned()))),
            Kind::LeftDelimiter => {
                self.scope.action_line = token.line;
                let piece = self.action()?;
                self.scope.action_line = 0;
                Ok(piece)
            }
            _ => Err(self.unexpected(&token, "input")),
        }
    }

    fn action(&mut self) -> Result<Piece, Error> {
        let token = self.next_word();
        let Kind::Keyword(keyword) = token.kind else {
            return self.command_action(token);
        };
        let node = match keyword {
            Keyword::Block => self.block()?,
            Keyword::Break => self.jump("break", Node::Break)?,
            Keyword::Continue => self.jump("continue", Node::Continue)?,
            Keyword::Else => {
                // `{{else if …}}` is `{{else}}{{if …}}`: the second word is left for whoever
                // reads on.
                let next = self.peek_word().kind;
                if next != Kind::Keyword(Keyword::If) && next != Kind::Keyword(Keyword::With) {
                    self.expect(Kind::RightDelimiter, "else")?;
                }
                return Ok(Piece::Else);
            }
            Keyword::End => {
                self.expect(Kind::RightDelimiter, "end")?;
                return Ok(Piece::End);
            }
            Keyword::If => Node::If(self.branch(Keyword::If)?),
            Keyword::Range => Node::Range(self.branch(Keyword::Range)?),
            Keyword::Template => self.template()?,
            Keyword::With => Node::With(self.branch(Keyword::With)?),
            Keyword::Define | Keyword::Dot | Keyword::Nil => return self.command_action(token),
        };
        Ok(Piece::Node(node))
    }

    /// An action that prints, or sets variables.
    fn command_action(&mut self, first: Token<'a>) -> Result<Piece, Error> {
        let at = first.at;
        self.back(first);
        let pipe = self.pipeline("command", Kind::RightDelimiter)?;
        Ok(Piece::Node(Node::Action { at, pipe }))
    }

    fn jump(&mut self, word: &str, node: Node) -> Result<Node, Error> {
        // Go's words have these delimiters, whatever the template's are.
        let token = self.next_word();
        if token.kind != Kind::RightDelimiter {
            return Err(self.unexpected(&token, &format!("{{{{{word}}}}}")));
        }
        if self.scope.ranges == 0 {
            return Err(self.error(format!("{{{{{word}}}}} outside {{{{range}}}}")));
        }
        Ok(node)
    }

    fn branch(&mut self, keyword: Keyword) -> Result<Branch, Error> {
        let context = match keyword {
            Keyword::If => "if",
            Keyword::With => "with",
            _ => "range",
        };
        let outer = self.scope.variables.len();
        let pipe = self.pipeline(context, Kind::RightDelimiter)?;
        self.scope.ranges += usize::from(keyword == Keyword::Range);
        let (list, end) = self.list()?;
        self.scope.ranges -= usize::from(keyword == Keyword::Range);
        let otherwise = match end {
            Piece::Else if self.peek().kind == Kind::Keyword(keyword) && context != "range" => {
                self.next();
                let branch = self.nested(|parser| parser.branch(keyword))?;
                let node =
                    if keyword == Keyword::If { Node::If(branch) } else { Node::With(branch) };
                Some(List { nodes: vec![node] })
            }
            Piece::Else => {
                let (list, end) = self.list()?;
                if !matches!(end, Piece::End) {
                    let shown = end.show(self.left, self.right);
                    return Err(self.error(format!("expected end; found {shown}")));
                }
                Some(list)
            }
            _ => None,
        };
        self.scope.variables.truncate(outer);
        Ok(Branch { pipe, list, otherwise })
    }

    fn block(&mut self) -> Result<Node, Error> {
        const CONTEXT: &str = "block clause";
        let token = self.next_word();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelimiter)?;
        let own = name.clone();
        self.tree(CONTEXT, |_| Ok(own))?;
        Ok(Node::Template { at: token.at, name, pipe: Some(pipe) })
    }

    fn template(&mut self) -> Result<Node, Error> {
        const CONTEXT: &str = "template clause";
        let token = self.next_word();
        let name = self.template_name(&token, CONTEXT)?;
        let next = self.next_word();
        let pipe = if next.kind == Kind::RightDelimiter {
            None
        } else {
            self.back(next);
            Some(self.pipeline(CONTEXT, Kind::RightDelimiter)?)
        };
        Ok(Node::Template { at: token.at, name, pipe })
    }

    fn template_name(&mut self, token: &Token<'_>, context: &str) -> Result<String, Error> {
        match token.kind {
            Kind::String | Kind::RawString => {
                Ok(String::from_utf8_lossy(&self.unquote(token)?).into_owned())
            }
            _ => Err(self.unexpected(token, context)),
        }
    }

    fn unquote(&self, token: &Token<'_>) -> Result<Vec<u8>, Error> {
        quote::unquote(&token.text).ok_or_else(|| self.error("invalid syntax"))
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe, Error> {
        let at = self.peek_word().at;
        let mut pipe = Pipe { at, assigns: false, variables: Vec::new(), commands: Vec::new() };
        while self.declaration(&mut pipe, context)? {}
        loop {
            let token = self.next_word();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Keyword(Keyword::Dot | Keyword::Nil)
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParenthesis => {
                    self.back(token);
                    pipe.commands.push(self.command()?);
                }
                _ => return Err(self.unexpected(&token, context)),
            }
        }
        if pipe.commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            let first = command.operands.first().map(|operand| &operand.term);
            if let Some(
                Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(_) | Term::Text { .. },
            ) = first
            {
                let stage = index + 1;
                return Err(self.error(format!("non executable command in pipeline stage {stage}")));
            }
        }
        Ok(pipe)
    }

    /// Reads `$x :=`, `$x =` or the `$x,` of a range; true if another may follow.
    fn declaration(&mut self, pipe: &mut Pipe, context: &str) -> Result<bool, Error> {
        if self.peek_word().kind != Kind::Variable {
            return Ok(false);
        }
        let variable = self.next_word();
        let after = self.peek().clone();
        let next = self.peek_word().clone();
        let name = || String::from_utf8_lossy(&variable.text).into_owned();
        match next.kind {
            Kind::Assign | Kind::Declare => {
                pipe.assigns = next.kind == Kind::Assign;
                self.next_word();
                pipe.variables.push(name());
                self.scope.variables.push(name());
                Ok(false)
            }
            Kind::Char if &*next.text == b"," => {
                self.next_word();
                pipe.variables.push(name());
                self.scope.variables.push(name());
                if context != "range" || pipe.variables.len() >= 2 {
                    return Err(self.error(format!("too many declarations in {context}")));
                }
                match self.peek_word().kind {
                    Kind::Variable | Kind::RightDelimiter | Kind::RightParenthesis => Ok(true),
                    _ => Err(self.error("range can only initialize variables")),
                }
            }
            _ => {
                if after.kind == Kind::Space {
                    self.back(after);
                }
                self.back(variable);
                Ok(false)
            }
        }
    }

    fn command(&mut self) -> Result<Command, Error> {
        let mut operands = Vec::new();
        loop {
            self.peek_word();
            operands.extend(self.operand()?);
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelimiter | Kind::RightParenthesis => self.back(token),
                Kind::Pipe => {}
                _ => return Err(self.unexpected(&token, "operand")),
            }
            break;
        }
        if operands.is_empty() {
            return Err(self.error("empty command"));
        }
        Ok(Command { operands })
    }

    /// A term and the fields behind it.
    fn operand(&mut self) -> Result<Option<Operand>, Error> {
        let Some(operand) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(operand));
        }
        let at = self.peek().at;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            let token = self.next();
            fields.push(String::from_utf8_lossy(&token.text[1..]).into_owned());
        }
        let term = match operand.term {
            Term::Field(mut names) => {
                names.append(&mut fields);
                Term::Field(names)
            }
            Term::Variable(mut names) => {
                names.append(&mut fields);
                Term::Variable(names)
            }
            Term::Bool(_) | Term::Dot | Term::Nil | Term::Number(_) | Term::Text { .. } => {
                let shown = quote::quote(operand.to_string().as_bytes());
                return Err(self.error(format!("unexpected . after term {shown}")));
            }
            _ => Term::Chain(Box::new(operand), fields),
        };
        Ok(Some(Operand { at, term }))
    }

    fn term(&mut self) -> Result<Option<Operand>, Error> {
        let token = self.next_word();
        let at = token.at;
        let text = || String::from_utf8_lossy(&token.text).into_owned();
        let number = |parsed: Result<_, String>| {
            parsed.map(|number| Term::Number(Box::new(number))).map_err(|fault| self.error(fault))
        };
        let term = match token.kind {
            Kind::Identifier => {
                let name = text();
                let function = functions::find(&name).ok_or_else(|| {
                    let quoted = quote::quote(&token.text);
                    self.error(format!("function {quoted} not defined"))
                })?;
                Term::Function(function)
            }
            Kind::Keyword(Keyword::Dot) => Term::Dot,
            Kind::Keyword(Keyword::Nil) => Term::Nil,
            Kind::Variable => {
                let name = text();
                if !self.scope.variables.contains(&name) {
                    let quoted = quote::quote(&token.text);
                    return Err(self.error(format!("undefined variable {quoted}")));
                }
                Term::Variable(vec![name])
            }
            Kind::Field => {
                Term::Field(vec![String::from_utf8_lossy(&token.text[1..]).into_owned()])
            }
            Kind::Bool => Term::Bool(&*token.text == b"true"),
            Kind::CharConstant => number(constant::character(&token.text))?,
            Kind::Complex => number(constant::complex(&token.text))?,
            Kind::Number => number(constant::number(&token.text))?,
            Kind::LeftParenthesis => {
                let pipe = self.nested(|parser| {
                    parser.pipeline("parenthesized pipeline", Kind::RightParenthesis)
                })?;
                let at = pipe.at;
                return Ok(Some(Operand { at, term: Term::Pipe(pipe) }));
            }
            Kind::String | Kind::RawString => {
                let value = self.unquote(&token)?;
                Term::Text { quoted: text(), value: Value::text(value) }
            }
            _ => {
                self.back(token);
                return Ok(None);
            }
        };
        Ok(Some(Operand { at, term }))
    }
}

/// Whether a tree has nothing but white space.
fn is_empty(list: &List) -> bool {
    list.nodes.iter().all(|node| match node {
        Node::Text(text) => rune::trim_space(text).is_empty(),
        _ => false,
    })
}
