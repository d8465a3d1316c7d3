//! `bundle`: what verifies SVIDs, of the server's trust domain and of others.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use holdfast_spiffe::Bundle as SpiffeBundle;
use holdfast_spiffe::proto::node as wire;
use holdfast_spiffe::wire::{bundle_from_wire, bundle_to_wire};
use holdfast_types::TrustDomain;

use super::connection::Connection;
use super::server::{certificates_in, read};

#[derive(Debug, Subcommand)]
pub(super) enum Bundle {
    Show(Show),
    Set(Set),
    List(List),
    Delete(Delete),
}

impl Bundle {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Show(command) => command.run().await,
            Self::Set(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Delete(command) => command.run().await,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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
        print(&bundle_from_wire(bundle).context("read the server's answer")?, self.format)
    }
}

/// Make the bundle of another trust domain known, or replace it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe bundle set -id spiffe://other.example -format spiffe -path other.json\n  \
                  holdfast spiffe bundle set -id spiffe://other.example < other.pem"
)]
pub(super) struct Set {
    #[command(flatten)]
    connection: Connection,
    /// Whose it is.
    #[arg(long, value_name = "TRUST DOMAIN")]
    id: String,
    /// The file [default: standard input]
    #[arg(long, value_name = "FILE", default_value = "/dev/stdin", hide_default_value = true)]
    path: PathBuf,
    /// How it is written.
    #[arg(long, value_name = "FORMAT", default_value = "pem")]
    format: Format,
}

impl Set {
    async fn run(self) -> anyhow::Result<()> {
        let bundle = self.bundle(&self.path)?;
        let mut admin = self.connection.admin();
        self.connection.answer(admin.set_bundle(bundle_to_wire(&bundle))).await?;
        anstream::println!("bundle set.");
        Ok(())
    }

    fn bundle(&self, path: &Path) -> anyhow::Result<SpiffeBundle> {
        let name = self.id.strip_prefix("spiffe://").unwrap_or(&self.id);
        let trust_domain = TrustDomain::parse(name).map_err(|error| anyhow!("-id: {error}"))?;
        let bytes = read(path, "the bundle")?;
        match self.format {
            Format::Spiffe => SpiffeBundle::from_json(trust_domain, &bytes)
                .with_context(|| format!("read the bundle from {}", path.display())),
            Format::Pem => {
                let mut bundle = SpiffeBundle::empty(trust_domain);
                bundle.x509_authorities = certificates_in(&bytes, path, "the bundle")?;
                Ok(bundle)
            }
        }
    }
}

/// List the bundles of other trust domains.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe bundle list\n  \
                  holdfast spiffe bundle list -id spiffe://other.example -format spiffe")]
pub(super) struct List {
    #[command(flatten)]
    connection: Connection,
    /// This one only.
    #[arg(long, value_name = "TRUST DOMAIN")]
    id: Option<String>,
    /// How to write them.
    #[arg(long, value_name = "FORMAT", default_value = "pem")]
    format: Format,
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let request = wire::ListBundlesRequest {};
        let known = self.connection.answer(admin.list_bundles(request)).await?.bundles;
        if let Some(id) = &self.id {
            let name = id.strip_prefix("spiffe://").unwrap_or(id);
            let found = known.into_iter().find(|bundle| bundle.trust_domain == name);
            let bundle = found.ok_or_else(|| anyhow!("bundle not found"))?;
            return print(&bundle_from_wire(bundle)?, self.format);
        }
        for (place, bundle) in known.into_iter().enumerate() {
            let stars = "*".repeat(40);
            let lead = if place > 0 { "\n" } else { "" };
            anstream::println!("{lead}{stars}\n* spiffe://{}\n{stars}", bundle.trust_domain);
            print(&bundle_from_wire(bundle)?, self.format)?;
        }
        Ok(())
    }
}

/// What becomes of entries that federate with the trust domain.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// The bundle stays where there are some.
    Restrict,
    /// They are removed, too.
    Delete,
    /// They federate with it no more.
    Dissociate,
}

/// Forget the bundle of another trust domain. While it is fetched, it comes back: `holdfast spiffe
/// federation delete` first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe bundle delete -id spiffe://other.example")]
pub(super) struct Delete {
    #[command(flatten)]
    connection: Connection,
    /// Whose it is.
    #[arg(long, value_name = "TRUST DOMAIN")]
    id: String,
    /// What becomes of entries that federate with it.
    #[arg(long, value_name = "MODE", default_value = "restrict")]
    mode: Mode,
}

impl Delete {
    async fn run(self) -> anyhow::Result<()> {
        use wire::delete_bundle_request::Mode as Wire;
        let mode = match self.mode {
            Mode::Restrict => Wire::Restrict,
            Mode::Delete => Wire::Delete,
            Mode::Dissociate => Wire::Dissociate,
        };
        let mut admin = self.connection.admin();
        let request = wire::DeleteBundleRequest { trust_domain: self.id, mode: mode.into() };
        self.connection.answer(admin.delete_bundle(request)).await?;
        anstream::println!("bundle deleted.");
        Ok(())
    }
}

fn print(bundle: &SpiffeBundle, format: Format) -> anyhow::Result<()> {
    match format {
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
