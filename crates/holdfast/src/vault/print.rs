//! `print token`: the token that commands use.

use clap::{Args, Subcommand};

use super::Outcome;
use super::connection::stored_token;
use super::output::print_line;

/// Print what commands would use.
#[derive(Debug, Subcommand)]
pub(super) enum Print {
    Token(Token),
}

/// Print the current token: that of the environment, else the stored one.
#[derive(Debug, Args)]
pub(super) struct Token {}

impl Print {
    pub(super) fn run(&self) -> Outcome {
        let Self::Token(_) = self;
        let token = stored_token()?;
        print_line(token.as_ref().map_or("", |token| token.expose().as_str()))
    }
}
