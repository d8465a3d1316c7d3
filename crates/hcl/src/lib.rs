//! HCL1, the language of Vault's policies and configuration files, and its JSON form.
//!
//! Vault, OpenBao and their agents read version 1 of the language, which later versions neither
//! accept nor mean the same by. Its peculiarities are kept, because files in use rely on them:
//! a block's key repeats, labels and keys may be quoted, several attributes share a line, commas
//! are optional, `${...}` in a string is left as it stands, and JSON objects nested in objects are
//! read as blocks with labels. Error messages are the original's, for clients see them.
//!
//! Three things that the original takes are refused: a key whose value is cut off by the end of
//! the text, malformed JSON that happens to hold the expected tokens, and strings that are not
//! UTF-8 once their escapes are resolved. Depth and size are bounded.

mod ast;
mod error;
mod format;
mod json;
mod parser;
mod problem;
mod settings;
mod text;
mod token;

pub use ast::{Body, Item, Key, Position, Value, ValueKind};
pub use error::Error;
pub use format::format;
pub use problem::{FileProblem, FileProblems};
pub use settings::{Block, Problem, Problems, Settings};

/// The longest text that is read, in bytes.
pub const MAX_SIZE: usize = 1 << 20;
/// How deep objects and lists nest at most.
pub const MAX_DEPTH: usize = 64;

/// Parses a policy or a configuration file: JSON where the first character is `{`, else HCL.
///
/// A key may be set twice; what that means is for the reader to say.
///
/// # Errors
/// The first thing wrong with the text and where, worded as HCL1 words it.
pub fn parse(text: &str) -> Result<Body, Error> {
    if text.len() > MAX_SIZE {
        return Err(Error::bare(format!("text is longer than {MAX_SIZE} bytes")));
    }
    if text.trim_start().starts_with('{') { json::parse(text) } else { parser::parse(text) }
}

#[cfg(test)]
mod tests;
