//! `holdfast env`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::super::control::Request;
use super::super::status;
use super::{Place, block_on};

/// `holdfast env`: for `eval "$(holdfast env)"`.
#[derive(Debug, clap::Args)]
pub(crate) struct Env {
    #[command(flatten)]
    place: Place,
    /// How the shell writes it.
    #[arg(long, value_enum, default_value = "sh")]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// sh, bash, zsh, dash.
    Sh,
    Fish,
    /// As in a file of `NAME=value` lines.
    Dotenv,
}

impl Env {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let status: status::Status = block_on(self.place.ask(&Request::Status))?;
        let ca = status.ca_file.display().to_string();
        let address = |name: &str| {
            status.parts.iter().find(|part| part.name == name).and_then(|part| part.address.clone())
        };
        let mut variables: Vec<(&str, String)> = Vec::new();
        if let Some(vault) = address(super::super::vault::NAME) {
            let embedded = status.parts.iter().all(|part| part.engine != "external");
            for (prefix_address, prefix_ca) in
                [("VAULT_ADDR", "VAULT_CACERT"), ("BAO_ADDR", "BAO_CACERT")]
            {
                variables.push((prefix_address, vault.clone()));
                if embedded {
                    variables.push((prefix_ca, ca.clone()));
                }
            }
        }
        if let Some(postgres) = address(super::super::postgres::NAME) {
            let (host, port) = postgres.rsplit_once(':').context("an address has a port")?;
            variables.push(("PGHOST", host.trim_matches(['[', ']']).to_owned()));
            variables.push(("PGPORT", port.to_owned()));
            variables.push(("PGSSLMODE", "verify-full".to_owned()));
            variables.push(("PGSSLROOTCERT", ca));
        }
        if variables.is_empty() {
            bail!("the platform is not up yet; see `holdfast status`");
        }
        for (name, value) in variables {
            println!("{}", self.shell.line(name, &value));
        }
        Ok(())
    }
}

/// Where a running platform's secrets server is, and the PEM file of its authority. None where the
/// server is another's, and trusted as the system says.
pub(crate) async fn secrets_server(place: &Place) -> anyhow::Result<(String, Option<PathBuf>)> {
    let status: status::Status = place.ask(&Request::Status).await?;
    let vault = status.parts.iter().find(|part| part.name == super::super::vault::NAME);
    let vault = vault.context("the platform has no secrets server")?;
    let address = vault.address.clone().context("the secrets server is not up yet")?;
    Ok((address, (vault.engine != "external").then_some(status.ca_file)))
}

impl Shell {
    fn line(self, name: &str, value: &str) -> String {
        let quoted = format!("'{}'", value.replace('\'', r"'\''"));
        match self {
            Self::Sh => format!("export {name}={quoted}"),
            Self::Fish => format!("set -gx {name} {}", quoted.replace(r"'\''", r"\'")),
            Self::Dotenv => format!("{name}={value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_path_stays_in_it() {
        let sh = Shell::Sh.line("VAULT_CACERT", "/it's/ca.pem");
        assert_eq!(sh, r"export VAULT_CACERT='/it'\''s/ca.pem'");
        let fish = Shell::Fish.line("VAULT_CACERT", "/it's/ca.pem");
        assert_eq!(fish, r"set -gx VAULT_CACERT '/it\'s/ca.pem'");
    }
}
