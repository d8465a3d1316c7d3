//! `pki`: certificate authorities and what they have signed.

mod certificate;
mod issue;
mod list;
mod verify;

use clap::Subcommand;

use super::Outcome;

/// Look at certificate authorities, and have them sign others.
#[derive(Debug, Subcommand)]
pub(super) enum Pki {
    VerifySign(verify::VerifySign),
    ListIntermediates(list::ListIntermediates),
    Issue(issue::Issue),
}

impl Pki {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::VerifySign(command) => command.run().await,
            Self::ListIntermediates(command) => command.run().await,
            Self::Issue(command) => command.run().await,
        }
    }
}
