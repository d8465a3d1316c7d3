//! `operator`: what the people who run the server need.

mod init;
mod keys;
mod seal;

use clap::Subcommand;

use super::Outcome;

/// Initialize, unseal and look after the server.
#[derive(Debug, Subcommand)]
pub(super) enum Operator {
    Init(init::Init),
    Unseal(seal::Unseal),
    Seal(seal::Seal),
    StepDown(seal::StepDown),
    KeyStatus(keys::KeyStatus),
    Rotate(keys::Rotate),
}

impl Operator {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Init(command) => command.run().await,
            Self::Unseal(command) => command.run().await,
            Self::Seal(command) => command.run().await,
            Self::StepDown(command) => command.run().await,
            Self::KeyStatus(command) => command.run().await,
            Self::Rotate(command) => command.run().await,
        }
    }
}
