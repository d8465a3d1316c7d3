//! `federation`: trust domains whose bundles are fetched.

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use holdfast_spiffe::proto::node as wire;

use super::connection::Connection;

#[derive(Debug, Subcommand)]
pub(super) enum Federation {
    Create(Create),
    Update(Update),
    Show(Show),
    List(List),
    Delete(Delete),
    Refresh(Refresh),
}

impl Federation {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(command) => command.run().await,
            Self::Update(command) => command.run().await,
            Self::Show(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Delete(command) => command.run().await,
            Self::Refresh(command) => command.run().await,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// The endpoint is known by its name, as web sites are.
    #[value(name = "https_web")]
    HttpsWeb,
    /// The endpoint is known by its X.509-SVID, which the bundle known already verifies.
    #[value(name = "https_spiffe")]
    HttpsSpiffe,
}

/// Fetch another trust domain's bundle from now on, as often as it asks for.
///
/// With `https_spiffe` a first bundle has to be there: `holdfast spiffe bundle set`. Entries made
/// with -federatesWith get the bundle; nobody else does.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe federation create -trustDomain other.example \\\n    \
                  -bundleEndpointURL https://spiffe.other.example -bundleEndpointProfile https_web\n  \
                  holdfast spiffe federation create -trustDomain other.example \\\n    \
                  -bundleEndpointURL https://10.0.0.7:8443 -bundleEndpointProfile https_spiffe \\\n    \
                  -endpointSpiffeID spiffe://other.example/spire/server"
)]
pub(super) struct Create {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// Where a trust domain's bundle is.
#[derive(Debug, Args)]
struct Endpoint {
    /// Whose bundle it is.
    #[arg(long = "trustDomain", value_name = "NAME")]
    trust_domain: String,
    /// Where it is.
    #[arg(long = "bundleEndpointURL", value_name = "URL")]
    url: String,
    /// How the endpoint is known.
    #[arg(long = "bundleEndpointProfile", value_name = "PROFILE")]
    profile: Profile,
    /// Who the endpoint is, with `https_spiffe`.
    #[arg(
        long = "endpointSpiffeID",
        value_name = "ID",
        default_value = "",
        required_if_eq("profile", "https_spiffe")
    )]
    endpoint_spiffe_id: String,
}

impl Endpoint {
    fn request(self) -> anyhow::Result<wire::Federation> {
        anyhow::ensure!(
            self.profile == Profile::HttpsSpiffe || self.endpoint_spiffe_id.is_empty(),
            "-endpointSpiffeID is for https_spiffe"
        );
        Ok(wire::Federation {
            trust_domain: self.trust_domain,
            bundle_endpoint_url: self.url,
            endpoint_spiffe_id: self.endpoint_spiffe_id,
        })
    }
}

impl Create {
    async fn run(self) -> anyhow::Result<()> {
        let (request, mut admin) = (self.endpoint.request()?, self.connection.admin());
        let made = self.connection.answer(admin.create_federation(request)).await?;
        anstream::println!();
        print(&made);
        Ok(())
    }
}

/// Fetch another trust domain's bundle from elsewhere, or know the endpoint otherwise, from now on.
///
/// The bundle that is known stays until the new endpoint gives another.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe federation update -trustDomain other.example \\\n    \
                  -bundleEndpointURL https://bundles.other.example -bundleEndpointProfile https_web"
)]
pub(super) struct Update {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Update {
    async fn run(self) -> anyhow::Result<()> {
        let (request, mut admin) = (self.endpoint.request()?, self.connection.admin());
        let made = self.connection.answer(admin.update_federation(request)).await?;
        anstream::println!();
        print(&made);
        Ok(())
    }
}

/// Show where another trust domain's bundle is fetched.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe federation show -trustDomain other.example")]
pub(super) struct Show {
    #[command(flatten)]
    connection: Connection,
    /// Whose bundle it is.
    #[arg(long = "trustDomain", value_name = "NAME")]
    trust_domain: String,
}

impl Show {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let request = wire::ListFederationsRequest {};
        let known = self.connection.answer(admin.list_federations(request)).await?.federations;
        let name = &self.trust_domain;
        let found = known.iter().find(|one| one.trust_domain == *name);
        let found =
            found.with_context(|| format!("federation relationship with {name} not found"))?;
        anstream::println!("Found a federation relationship with trust domain {name}:\n");
        print(found);
        Ok(())
    }
}

/// List the trust domains whose bundles are fetched.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe federation list")]
pub(super) struct List {
    #[command(flatten)]
    connection: Connection,
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let request = wire::ListFederationsRequest {};
        let known = self.connection.answer(admin.list_federations(request)).await?.federations;
        let noun = if known.len() == 1 { "relationship" } else { "relationships" };
        anstream::println!("Found {} federation {noun}", known.len());
        for one in &known {
            anstream::println!();
            print(one);
        }
        Ok(())
    }
}

/// Fetch a trust domain's bundle no more. The bundle that is known stays: `holdfast spiffe bundle
/// delete`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe federation delete -id other.example")]
pub(super) struct Delete {
    #[command(flatten)]
    connection: Connection,
    /// The trust domain.
    #[arg(long, value_name = "TRUST DOMAIN")]
    id: String,
}

impl Delete {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let request = wire::DeleteFederationRequest { trust_domain: self.id };
        self.connection.answer(admin.delete_federation(request)).await?;
        anstream::println!("federation relationship deleted.");
        Ok(())
    }
}

/// Fetch a trust domain's bundle now.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe federation refresh -id other.example")]
pub(super) struct Refresh {
    #[command(flatten)]
    connection: Connection,
    /// The trust domain.
    #[arg(long, value_name = "TRUST DOMAIN")]
    id: String,
}

impl Refresh {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let request = wire::RefreshFederationRequest { trust_domain: self.id };
        self.connection.answer(admin.refresh_federation(request)).await?;
        anstream::println!("Bundle refreshed");
        Ok(())
    }
}

fn print(one: &wire::Federation) {
    let by_svid = !one.endpoint_spiffe_id.is_empty();
    anstream::println!("Trust domain              : {}", one.trust_domain);
    anstream::println!("Bundle endpoint URL       : {}", one.bundle_endpoint_url);
    let profile = if by_svid { "https_spiffe" } else { "https_web" };
    anstream::println!("Bundle endpoint profile   : {profile}");
    if by_svid {
        anstream::println!("Endpoint SPIFFE ID        : {}", one.endpoint_spiffe_id);
    }
}
