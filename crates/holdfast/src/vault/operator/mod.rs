//! `operator`: what the people who run the server need.

mod diagnose;
mod generate_root;
mod init;
mod keys;
mod members;
mod quorum;
mod rotate_keys;
mod seal;
mod validate_config;

use clap::Subcommand;
use holdfast_client::vault::{Response, VaultError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Outcome;

/// Initialize, unseal and look after the server.
#[derive(Debug, Subcommand)]
pub(super) enum Operator {
    Init(init::Init),
    Unseal(seal::Unseal),
    Seal(seal::Seal),
    StepDown(seal::StepDown),
    Members(members::Members),
    KeyStatus(keys::KeyStatus),
    Rotate(keys::Rotate),
    RotateKeys(rotate_keys::RotateKeys),
    GenerateRoot(generate_root::GenerateRoot),
    ValidateConfig(validate_config::ValidateConfig),
    Diagnose(diagnose::Diagnose),
}

impl Operator {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Init(command) => command.run().await,
            Self::Unseal(command) => command.run().await,
            Self::Seal(command) => command.run().await,
            Self::StepDown(command) => command.run().await,
            Self::Members(command) => command.run().await,
            Self::KeyStatus(command) => command.run().await,
            Self::Rotate(command) => command.run().await,
            Self::RotateKeys(command) => command.run().await,
            Self::GenerateRoot(command) => command.run().await,
            Self::ValidateConfig(command) => command.run(),
            Self::Diagnose(command) => command.run(),
        }
    }
}

/// What an answer holds: under `data`, as OpenBao writes it, or at the top.
fn payload<T: DeserializeOwned>(response: &Response) -> Result<T, VaultError> {
    #[derive(serde::Deserialize)]
    struct Envelope<T> {
        data: T,
    }
    if response.json()?.get("data").is_some_and(Value::is_object) {
        return response.parse::<Envelope<T>>().map(|envelope| envelope.data);
    }
    response.parse()
}
