//! `holdfast login`.

use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use holdfast_types::SecretString;
use serde::Deserialize;

use super::super::control::Request;
use super::super::files;
use super::{Place, block_on};

/// `holdfast login`: the socket knows who asks, so there is nothing to type.
#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    #[command(flatten)]
    place: Place,
    /// Holds the passphrase of the seal key, where services run under your uid.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(Deserialize)]
struct LoggedIn {
    token: SecretString,
    ttl: String,
    address: String,
}

impl Login {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let passphrase = self.passphrase_file.as_ref().map(|path| {
            let text = fs::read_to_string(path);
            let text = text.with_context(|| format!("read {}", path.display()))?;
            anyhow::Ok(SecretString::new(text.trim_end_matches(['\r', '\n']).to_owned()))
        });
        let passphrase = passphrase.transpose()?;
        let asked = block_on(self.place.ask(&Request::Login { passphrase: passphrase.clone() }));
        let LoggedIn { token, ttl, address } = match asked {
            Err(error)
                if passphrase.is_none()
                    && error.to_string().contains("give the passphrase")
                    && std::io::stdin().is_terminal() =>
            {
                let typed = dialoguer::Password::new().with_prompt("Passphrase").interact()?;
                let passphrase = Some(SecretString::new(typed));
                block_on(self.place.ask(&Request::Login { passphrase }))?
            }
            other => other?,
        };
        // Where `vault` and `bao` look for it.
        let path = files::home()?.join(".vault-token");
        files::write(&path, token.expose().as_bytes(), 0o600, None)
            .with_context(|| format!("write {}", path.display()))?;
        println!("logged in at {address} for {ttl}; the token is in {}", path.display());
        Ok(())
    }
}
