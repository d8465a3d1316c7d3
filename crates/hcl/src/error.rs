//! Why a text is not HCL.

use std::fmt;

use crate::Position;

/// What is wrong with a text, and where. It prints as `At 1:10: what is wrong`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Where; none where the text as a whole is at fault.
    pub position: Option<Position>,
    /// What.
    pub message: String,
}

impl Error {
    pub(crate) fn at(position: Position, message: impl Into<String>) -> Self {
        Self { position: Some(position), message: message.into() }
    }

    pub(crate) fn bare(message: impl Into<String>) -> Self {
        Self { position: None, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "At {position}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
