//! The templates that name database users, such as
//! `{{ printf "v-%s-%s" (.DisplayName | truncate 8) (random 20) }}`.
//!
//! This is the part of Go's `text/template` that such names need, with Vault's functions: fields,
//! literals, pipes and parentheses, and neither control structures nor variables. Everything is
//! bounded, so that an operator's slip cannot make the server work or remember much.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_types::{Random, Timestamp};

use self::parse::{Call, Command, Operand, Piece, Pipeline};

mod parse;

/// A template that was read and found well formed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template(Vec<Piece>);

/// What is wrong with a template. The words are those of Go's package, where it has any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// It does not parse.
    #[error("unable to parse template: template: template:1: {0}")]
    Parse(String),
    /// It parses, but does not evaluate.
    #[error("unable to apply template: {0}")]
    Apply(String),
}

/// What a template can use.
pub(crate) struct Data<'a> {
    pub(crate) display_name: &'a str,
    pub(crate) role_name: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) random: &'a dyn Random,
}

/// The longest text that an evaluation makes on the way, in bytes.
const MAX_TEXT: usize = 4096;

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    Number(i64),
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        parse::template(text).map(Self).map_err(TemplateError::Parse)
    }

    /// Evaluates it.
    pub(crate) fn apply(&self, data: &Data<'_>) -> Result<String, TemplateError> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Action(pipeline) => text.push_str(&data.pipeline(pipeline)?.into_text()),
            }
            bounded(&text)?;
        }
        Ok(text)
    }
}

impl Data<'_> {
    fn pipeline(&self, pipeline: &Pipeline) -> Result<Value, TemplateError> {
        let mut piped = None;
        for command in &pipeline.0 {
            piped = Some(self.command(command, piped)?);
        }
        piped.ok_or_else(|| TemplateError::Apply("missing value for command".to_owned()))
    }

    fn command(&self, command: &Command, piped: Option<Value>) -> Result<Value, TemplateError> {
        match command {
            Command::Operand(operand) if piped.is_none() => self.operand(operand),
            Command::Operand(_) => {
                Err(TemplateError::Apply("can't give argument to non-function".to_owned()))
            }
            Command::Call(call, operands) => {
                let operands = operands.iter().map(|operand| self.operand(operand));
                let mut arguments = operands.collect::<Result<Vec<_>, _>>()?;
                arguments.extend(piped);
                let value = self.call(*call, &arguments).map_err(|problem| {
                    TemplateError::Apply(format!("error calling {}: {problem}", call.name()))
                })?;
                if let Value::Text(text) = &value {
                    bounded(text)?;
                }
                Ok(value)
            }
        }
    }

    fn operand(&self, operand: &Operand) -> Result<Value, TemplateError> {
        Ok(match operand {
            Operand::DisplayName => Value::Text(self.display_name.to_owned()),
            Operand::RoleName => Value::Text(self.role_name.to_owned()),
            Operand::Text(text) => Value::Text(text.clone()),
            Operand::Number(number) => Value::Number(*number),
            Operand::Parentheses(pipeline) => self.pipeline(pipeline)?,
            Operand::Call(call) => self.command(&Command::Call(*call, Vec::new()), None)?,
        })
    }

    fn call(&self, call: Call, arguments: &[Value]) -> Result<Value, String> {
        use Value::{Number, Text};
        let text = match (call, arguments) {
            (Call::Random, [Number(length)]) => {
                let length = usize::try_from(*length).map_err(|_| "length must not be negative")?;
                if length > MAX_TEXT {
                    return Err(format!("length must not be over {MAX_TEXT}"));
                }
                self.random.base62(length)
            }
            (Call::Truncate, [Number(length), Text(text)]) => {
                let length = usize::try_from(*length).unwrap_or(0);
                if length == 0 {
                    return Err("max length must be > 0".to_owned());
                }
                cut(text, length).to_owned()
            }
            (Call::TruncateSha256, [Number(length), Text(text)]) => {
                let length = usize::try_from(*length).unwrap_or(0);
                if length <= HASH_LENGTH {
                    return Err(format!("max length must be > {HASH_LENGTH}"));
                }
                truncate_sha256(text, length)
            }
            (Call::Uppercase, [Text(text)]) => text.to_uppercase(),
            (Call::Lowercase, [Text(text)]) => text.to_lowercase(),
            (Call::Replace, [Text(from), Text(to), Text(text)]) => {
                // The result is at most this long, which is checked before it is made.
                let most = text.len().saturating_add(1).saturating_mul(to.len().saturating_add(1));
                if most > MAX_TEXT * MAX_TEXT {
                    return Err("the result is too long".to_owned());
                }
                text.replace(from.as_str(), to)
            }
            (Call::Sha256, [Text(text)]) => sha256(text),
            (Call::Base64, [Text(text)]) => STANDARD.encode(text),
            (Call::UnixTime, []) => self.now.as_second().to_string(),
            (Call::UnixTimeMillis, []) => self.now.as_millisecond().to_string(),
            (Call::Timestamp, [Text(layout)]) => timestamp(self.now, layout)?,
            (Call::Uuid, []) => self.random.uuid(),
            (Call::Printf, [Text(format), rest @ ..]) => printf(format, rest)?,
            _ => return Err("wrong number or type of args".to_owned()),
        };
        Ok(Text(text))
    }
}

impl Value {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

fn bounded(text: &str) -> Result<(), TemplateError> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    Err(TemplateError::Apply(format!("the result is longer than {MAX_TEXT} bytes")))
}

/// At most `length` bytes of `text`, and no broken character.
pub(crate) fn cut(text: &str, length: usize) -> &str {
    &text[..text.floor_char_boundary(length)]
}

/// Hexadecimal digits that take the place of what `truncate_sha256` cuts off.
const HASH_LENGTH: usize = 8;

fn truncate_sha256(text: &str, length: usize) -> String {
    if text.len() <= length {
        return text.to_owned();
    }
    let kept = cut(text, length - HASH_LENGTH);
    format!("{kept}{}", &sha256(&text[kept.len()..])[..HASH_LENGTH])
}

fn sha256(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `time` in a layout such as `20060102150405`, made of Go's reference numbers and of characters
/// that are neither letters nor digits, besides `T` and `Z`.
fn timestamp(time: Timestamp, layout: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = layout;
    'next: while let Some(first) = rest.chars().next() {
        for (reference, directive) in [
            ("2006", "%Y"),
            ("Jan", "%b"),
            ("06", "%y"),
            ("01", "%m"),
            ("02", "%d"),
            ("15", "%H"),
            ("04", "%M"),
            ("05", "%S"),
        ] {
            if let Some(after) = rest.strip_prefix(reference) {
                text.push_str(directive);
                rest = after;
                continue 'next;
            }
        }
        match first {
            '%' => text.push_str("%%"),
            'T' | 'Z' => text.push(first),
            _ if first.is_alphanumeric() => {
                return Err(format!("layout {layout:?} is not supported at {rest:?}"));
            }
            _ => text.push(first),
        }
        rest = &rest[first.len_utf8()..];
    }
    Ok(time.strftime(&text).to_string())
}

/// Go's `Sprintf` with the verbs `%s`, `%v` and `%d`, a precision as in `%.8s`, and `%%`.
fn printf(format: &str, arguments: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut precision = None;
        if let Some(after) = rest.strip_prefix('.') {
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            precision = Some(after[..digits].parse::<usize>().unwrap_or(0));
            rest = &after[digits..];
        }
        let verb = rest.chars().next().ok_or("the format ends in %")?;
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            text.push('%');
            continue;
        }
        let argument = arguments.next().ok_or("the format has more verbs than arguments")?;
        match (verb, argument) {
            ('s' | 'v', Value::Text(argument)) => {
                let characters = argument.chars().take(precision.unwrap_or(usize::MAX));
                text.extend(characters);
            }
            ('d' | 'v', Value::Number(argument)) => text.push_str(&argument.to_string()),
            _ => return Err(format!("%{verb} does not fit its argument")),
        }
    }
    if arguments.next().is_some() {
        return Err("the format has fewer verbs than arguments".to_owned());
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests;
