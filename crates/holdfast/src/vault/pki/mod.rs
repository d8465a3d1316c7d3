//! `pki`: certificate authorities and what they have signed.

mod certificate;
mod health;
mod issue;
mod list;
mod reissue;
mod template;
mod verify;

use clap::Subcommand;
use serde::Serialize;

use super::Outcome;
use super::output::{Format, print_document, print_line};

/// Look at certificate authorities, and have them sign others.
#[derive(Debug, Subcommand)]
pub(super) enum Pki {
    VerifySign(verify::VerifySign),
    ListIntermediates(list::ListIntermediates),
    Issue(issue::Issue),
    Reissue(reissue::Reissue),
    HealthCheck(health::HealthCheck),
}

impl Pki {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::VerifySign(command) => command.run().await,
            Self::ListIntermediates(command) => command.run().await,
            Self::Issue(command) => command.run().await,
            Self::Reissue(command) => command.run().await,
            Self::HealthCheck(command) => command.run().await,
        }
    }
}

/// Prints a document; below YAML the official client leaves a line empty here.
fn print_answer(format: Format, document: &impl Serialize) -> Outcome {
    let done = print_document(format, document)?;
    if format == Format::Yaml { print_line("") } else { Ok(done) }
}
