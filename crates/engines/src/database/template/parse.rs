//! Reads a template into pieces.

/// Text as it stands, or something to evaluate.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action(Pipeline),
}

/// Commands joined by `|`: each hands its value to the next as the last argument.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline(pub(super) Vec<Command>);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Operand(Operand),
    Call(Call, Vec<Operand>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    DisplayName,
    RoleName,
    Text(String),
    Number(i64),
    Parentheses(Pipeline),
    /// A function without arguments, as an argument: `printf "%s" unix_time`.
    Call(Call),
}

macro_rules! calls {
    ($($name:literal $call:ident),* $(,)?) => {
        /// The functions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Call { $($call),* }

        impl Call {
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$call => $name),* }
            }

            fn by_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$call),)* _ => None }
            }
        }
    };
}

calls! {
    "random" Random,
    "truncate" Truncate,
    "truncate_sha256" TruncateSha256,
    "uppercase" Uppercase,
    "lowercase" Lowercase,
    "replace" Replace,
    "sha256" Sha256,
    "base64" Base64,
    "unix_time" UnixTime,
    "unix_time_millis" UnixTimeMillis,
    "timestamp" Timestamp,
    "uuid" Uuid,
    "printf" Printf,
}

const MAX_LENGTH: usize = 2048;
const MAX_DEPTH: usize = 16;

/// Reads a whole template. The error has no position: a template is one line.
pub(super) fn template(text: &str) -> Result<Vec<Piece>, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("template is longer than {MAX_LENGTH} bytes"));
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_start = false;
    loop {
        let opening = rest.find("{{");
        let mut literal = &rest[..opening.unwrap_or(rest.len())];
        if trim_start {
            literal = literal.trim_start();
        }
        let Some(opening) = opening else {
            push_text(&mut pieces, literal);
            return Ok(pieces);
        };
        rest = &rest[opening + 2..];
        // A `-` next to the braces cuts the blanks before or after the action, as in Go.
        if let Some(after) = rest.strip_prefix('-').filter(|rest| rest.starts_with([' ', '\t'])) {
            literal = literal.trim_end();
            rest = after;
        }
        push_text(&mut pieces, literal);
        let mut reader = Reader { rest, depth: 0 };
        let pipeline = reader.pipeline()?;
        reader.blanks();
        trim_start = reader.rest.starts_with("-}}");
        let closing = if trim_start { "-}}" } else { "}}" };
        rest = reader.rest.strip_prefix(closing).ok_or_else(|| reader.unexpected())?;
        pieces.push(Piece::Action(pipeline));
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, character: char) -> bool {
        self.blanks();
        match self.rest.strip_prefix(character) {
            Some(after) => {
                self.rest = after;
                true
            }
            None => false,
        }
    }

    fn unexpected(&self) -> String {
        match self.rest.chars().next() {
            None => "unclosed action".to_owned(),
            Some(character) => format!("unexpected {character:?} in operand"),
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, String> {
        if self.depth == MAX_DEPTH {
            return Err(format!("parentheses are more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        let mut commands = vec![self.command()?];
        while self.take('|') {
            commands.push(self.command()?);
        }
        self.depth -= 1;
        Ok(Pipeline(commands))
    }

    fn command(&mut self) -> Result<Command, String> {
        let first = self.operand()?.ok_or_else(|| match self.rest.chars().next() {
            Some('|' | '}') => "missing value for command".to_owned(),
            _ => self.unexpected(),
        })?;
        let mut operands = Vec::new();
        while let Some(operand) = self.operand()? {
            operands.push(operand);
        }
        match first {
            Operand::Call(call) => Ok(Command::Call(call, operands)),
            operand if operands.is_empty() => Ok(Command::Operand(operand)),
            _ => Err("can't give argument to non-function".to_owned()),
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>, String> {
        if self.take('(') {
            let pipeline = self.pipeline()?;
            if !self.take(')') {
                return Err("unclosed left paren".to_owned());
            }
            return Ok(Some(Operand::Parentheses(pipeline)));
        }
        self.blanks();
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        match first {
            '"' => self.quoted().map(Some),
            '`' => self.raw().map(Some),
            '.' => {
                let name = self.word(1);
                match name {
                    "DisplayName" => Ok(Some(Operand::DisplayName)),
                    "RoleName" => Ok(Some(Operand::RoleName)),
                    _ => Err(format!("can't evaluate field {name}")),
                }
            }
            '0'..='9' | '-' | '+' if !self.rest.starts_with("-}}") => {
                let digits = self.word(1);
                let digits = format!("{first}{digits}");
                let number =
                    digits.parse().map_err(|_| format!("bad number syntax: {digits:?}"))?;
                Ok(Some(Operand::Number(number)))
            }
            _ if first.is_alphabetic() || first == '_' => {
                let name = self.word(0);
                match Call::by_name(name) {
                    Some(call) => Ok(Some(Operand::Call(call))),
                    None => Err(format!("function {name:?} not defined")),
                }
            }
            _ => Ok(None),
        }
    }

    /// Takes letters, digits and `_` after the first `skip` bytes, which are taken too.
    fn word(&mut self, skip: usize) -> &str {
        let rest = &self.rest[skip..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.rest = &rest[end..];
        &rest[..end]
    }

    fn raw(&mut self) -> Result<Operand, String> {
        let (text, after) = self.rest[1..]
            .split_once('`')
            .ok_or_else(|| "unterminated raw quoted string".to_owned())?;
        let operand = Operand::Text(text.to_owned());
        self.rest = after;
        Ok(operand)
    }

    fn quoted(&mut self) -> Result<Operand, String> {
        let mut text = String::new();
        let mut characters = self.rest[1..].char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[1 + at + 1..];
                    return Ok(Operand::Text(text));
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    _ => return Err("invalid syntax in quoted string".to_owned()),
                },
                '\n' => break,
                _ => text.push(character),
            }
        }
        Err("unterminated quoted string".to_owned())
    }
}
