//! `bundle`: what verifies SVIDs.

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use holdfast_spiffe::proto::node as wire;
use holdfast_spiffe::wire::bundle_from_wire;

use super::connection::Connection;

#[derive(Debug, Subcommand)]
pub(super) enum Bundle {
    Show(Show),
}

impl Bundle {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let Self::Show(command) = self;
        command.run().await
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// The X.509 authorities.
    Pem,
    /// All of it, as bundle endpoints give it.
    Spiffe,
}

/// Show the bundle of the server's trust domain, or of one that it federates with.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe bundle show > bundle.pem\n  \
                  holdfast spiffe bundle show -format spiffe")]
pub(super) struct Show {
    #[command(flatten)]
    connection: Connection,
    /// How to write it.
    #[arg(long, value_name = "FORMAT", default_value = "pem")]
    format: Format,
    /// Another trust domain's.
    #[arg(long = "trustDomain", value_name = "NAME", default_value = "")]
    trust_domain: String,
}

impl Show {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let request = wire::ShowBundleRequest { trust_domain: self.trust_domain };
        let bundle = self.connection.answer(admin.show_bundle(request)).await?;
        let bundle = bundle_from_wire(bundle).context("read the server's answer")?;
        match self.format {
            Format::Pem => {
                for der in &bundle.x509_authorities {
                    let pem = holdfast_keys::x509::encode_pem("CERTIFICATE", der);
                    anstream::print!("{}", pem.as_str());
                }
            }
            Format::Spiffe => {
                anstream::println!("{}", serde_json::to_string_pretty(&bundle.to_json())?);
            }
        }
        Ok(())
    }
}
