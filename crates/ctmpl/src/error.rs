//! What can be wrong with a template, in Go's words.

use std::fmt;

use crate::text::quote;

/// Why a template was not parsed or not rendered.
///
/// The words are Go's where Go has the error. They never hold a secret: what a function says of a
/// value that came from one reads `[redacted]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    line: usize,
    column: Option<usize>,
    message: String,
}

/// What sort of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is no template.
    Parse,
    /// Rendering came to something that cannot be done.
    Execution,
    /// A limit was reached.
    Limit(Exceeded),
    /// The template calls what Holdfast does not do, such as asking Consul.
    Refused,
    /// What the template needs cannot be had: the source said why.
    Source,
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// [`Limits::steps`](crate::Limits::steps)
    Steps,
    /// The source's deadline: see [`Source::expired`](crate::Source::expired).
    Time,
    /// [`Limits::depth`](crate::Limits::depth)
    Depth,
    /// [`Limits::output`](crate::Limits::output)
    Output,
    /// [`Limits::needs`](crate::Limits::needs)
    Needs,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steps => "the template takes too many steps",
            Self::Time => "the template takes too long",
            Self::Depth => "the template is nested too deep",
            Self::Output => "the output is too large",
            Self::Needs => "the template asks for too many secrets",
        })
    }
}

impl Error {
    pub(crate) fn parse(name: &str, line: usize, message: &str) -> Self {
        Self {
            kind: ErrorKind::Parse,
            line,
            column: None,
            message: format!("template: {name}:{line}: {message}"),
        }
    }

    /// An error at a place of a text: `name` is the text's, `template` the one that was executed.
    pub(crate) fn execution(
        kind: ErrorKind,
        name: &str,
        (line, column): (usize, usize),
        template: &str,
        context: &str,
        message: &str,
    ) -> Self {
        let template = quote::quote(template.as_bytes());
        let message = format!(
            "template: {name}:{line}:{column}: executing {template} at <{context}>: {message}"
        );
        Self { kind, line, column: Some(column), message }
    }

    /// An error of no place.
    pub(crate) fn plain(kind: ErrorKind, message: String) -> Self {
        Self { kind, line: 0, column: None, message }
    }

    /// What sort of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The line, from 1; 0 where there is none.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The byte within the line, from 0, for errors of execution.
    pub fn column(&self) -> Option<usize> {
        self.column
    }
}

/// Why a function failed; where it was called is added by its caller.
#[derive(Debug)]
pub(crate) enum Fault {
    Message(String),
    Refused(String),
    Source(String),
    Limit(Exceeded),
    /// A template that the function executed failed.
    Inner(Error),
}

impl Fault {
    /// A plain message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Message(message.into())
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Message(_) => ErrorKind::Execution,
            Self::Refused(_) => ErrorKind::Refused,
            Self::Source(_) => ErrorKind::Source,
            Self::Limit(limit) => ErrorKind::Limit(*limit),
            Self::Inner(error) => error.kind(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(text) | Self::Refused(text) | Self::Source(text) => f.write_str(text),
            Self::Limit(limit) => limit.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl From<Exceeded> for Fault {
    fn from(limit: Exceeded) -> Self {
        Self::Limit(limit)
    }
}
