//! `entry`: who is who.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use holdfast_spiffe::Selector;
use holdfast_spiffe::proto::node as wire;
use serde_json::{Value, json};

use super::Output;
use super::connection::Connection;

#[derive(Debug, Subcommand)]
pub(super) enum Entry {
    Create(Create),
    Update(Update),
    Show(Show),
    Delete(Delete),
    Count(Count),
}

impl Entry {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(command) => command.run().await,
            Self::Update(command) => command.run().await,
            Self::Show(command) => command.run().await,
            Self::Delete(command) => command.run().await,
            Self::Count(command) => command.run().await,
        }
    }
}

/// Give an identity to whoever shows all of these selectors.
///
/// The entry is in force at once: agents are told, not asked again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe entry create -spiffeID spiffe://demo.local/backend \\\n    \
                  -parentID spiffe://demo.local/spire/agent/local -selector unix:uid:1000\n  \
                  holdfast spiffe entry create -spiffeID spiffe://demo.local/web -selector unix:user:www \\\n    \
                  -parentID spiffe://demo.local/spire/agent/local -dns web.demo.local -x509SVIDTTL 600"
)]
pub(super) struct Create {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    said: Said,
    /// The entry's own name [default: a random one]
    #[arg(long = "entryID", value_name = "ID", default_value = "")]
    entry_id: String,
}

impl Create {
    async fn run(self) -> anyhow::Result<()> {
        let output = self.said.output;
        let entry = self.said.entry(self.entry_id)?;
        let mut admin = self.connection.admin();
        let entry = self.connection.answer(admin.create_entry(entry)).await?;
        tell(&[entry], output)
    }
}

/// Make an entry another one: all that is given here takes the place of all that it said.
///
/// It keeps its name and its age, and nobody who has an identity by it before and after is without one
/// meanwhile.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast spiffe entry update -entryID a-name -spiffeID spiffe://demo.local/backend \\\n    \
                  -parentID spiffe://demo.local/spire/agent/local -selector unix:uid:1000 -x509SVIDTTL 600"
)]
pub(super) struct Update {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    said: Said,
    /// The entry's name.
    #[arg(long = "entryID", value_name = "ID")]
    entry_id: String,
}

impl Update {
    async fn run(self) -> anyhow::Result<()> {
        let output = self.said.output;
        let entry = self.said.entry(self.entry_id)?;
        let mut admin = self.connection.admin();
        let entry = self.connection.answer(admin.update_entry(entry)).await?;
        tell(&[entry], output)
    }
}

/// What an entry says.
#[derive(Debug, Args)]
struct Said {
    /// The identity to give.
    #[arg(long = "spiffeID", value_name = "ID")]
    spiffe_id: String,
    /// Who serves it: an agent's ID, or an alias of agents.
    #[arg(long = "parentID", value_name = "ID", required_unless_present = "node")]
    parent_id: Option<String>,
    /// An alias of agents: the parent is the server, the selectors are of nodes.
    #[arg(long, conflicts_with = "parent_id")]
    node: bool,
    /// What must be seen, as type:value; can be given several times.
    #[arg(long, value_name = "SELECTOR", required = true, value_parser = Selector::parse)]
    selector: Vec<Selector>,
    /// Life of X.509-SVIDs in seconds [default: the server's]
    #[arg(long = "x509SVIDTTL", value_name = "SECONDS")]
    x509_ttl: Option<u64>,
    /// Life of JWT-SVIDs in seconds [default: the server's]
    #[arg(long = "jwtSVIDTTL", value_name = "SECONDS")]
    jwt_ttl: Option<u64>,
    /// A DNS name for X.509-SVIDs; can be given several times. The first is the common name, too.
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// A trust domain whose bundle the workload gets; can be given several times.
    #[arg(long = "federatesWith", value_name = "TRUST DOMAIN")]
    federates_with: Vec<String>,
    /// What tells a workload its identities apart.
    #[arg(long, value_name = "TEXT", default_value = "")]
    hint: String,
    /// When the entry ends, in seconds since 1970 [default: never]
    #[arg(long = "entryExpiry", value_name = "SECONDS", default_value_t = 0)]
    expiry: i64,
    /// How to tell.
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    output: Output,
}

impl Said {
    fn entry(self, id: String) -> anyhow::Result<wire::Entry> {
        let parent_id = match self.parent_id {
            Some(id) => id,
            None => {
                let id = holdfast_types::SpiffeId::parse(&self.spiffe_id)
                    .with_context(|| format!("read {:?}", self.spiffe_id))?;
                format!("spiffe://{}/spire/server", id.trust_domain())
            }
        };
        Ok(wire::Entry {
            id,
            spiffe_id: self.spiffe_id,
            parent_id,
            selectors: self.selector.into_iter().map(to_wire).collect(),
            x509_svid_ttl: self.x509_ttl.unwrap_or_default(),
            jwt_svid_ttl: self.jwt_ttl.unwrap_or_default(),
            dns_names: self.dns,
            federates_with: self.federates_with,
            hint: self.hint,
            expires_at: self.expiry,
            ..wire::Entry::default()
        })
    }
}

/// Show entries: all, or those of which everything given is true.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe entry show\n  \
                  holdfast spiffe entry show -selector unix:uid:1000 -output json")]
pub(super) struct Show {
    #[command(flatten)]
    connection: Connection,
    /// The entry of this name.
    #[arg(long = "entryID", value_name = "ID", default_value = "")]
    entry_id: String,
    /// Entries that give this identity.
    #[arg(long = "spiffeID", value_name = "ID", default_value = "")]
    spiffe_id: String,
    /// Entries of this parent.
    #[arg(long = "parentID", value_name = "ID", default_value = "")]
    parent_id: String,
    /// Entries with this selector, and all others given.
    #[arg(long, value_name = "SELECTOR", value_parser = Selector::parse)]
    selector: Vec<Selector>,
    /// Entries with this hint.
    #[arg(long, value_name = "TEXT", default_value = "")]
    hint: String,
    /// How to tell.
    #[arg(long, value_name = "FORMAT", default_value = "pretty")]
    output: Output,
}

impl Show {
    async fn run(self) -> anyhow::Result<()> {
        let mut request = wire::ListEntriesRequest {
            entry_id: self.entry_id,
            spiffe_id: self.spiffe_id,
            parent_id: self.parent_id,
            selectors: self.selector.into_iter().map(to_wire).collect(),
            hint: self.hint,
            ..wire::ListEntriesRequest::default()
        };
        let mut admin = self.connection.admin();
        let mut entries = Vec::new();
        loop {
            let page = self.connection.answer(admin.list_entries(request.clone())).await?;
            entries.extend(page.entries);
            if page.next.is_empty() {
                break;
            }
            ensure!(page.next > request.after, "the server's pages do not end");
            request.after = page.next;
        }
        if self.output == Output::Pretty {
            let noun = if entries.len() == 1 { "entry" } else { "entries" };
            anstream::println!("Found {} {noun}", entries.len());
        }
        tell(&entries, self.output)
    }
}

/// Remove an entry. What it gave out stays valid to its end, and is not renewed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe entry delete -entryID a-name")]
pub(super) struct Delete {
    #[command(flatten)]
    connection: Connection,
    /// The entry's name.
    #[arg(long = "entryID", value_name = "ID")]
    entry_id: String,
}

impl Delete {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let request = wire::DeleteEntryRequest { entry_id: self.entry_id };
        let entry = self.connection.answer(admin.delete_entry(request)).await?;
        anstream::println!("Deleted entry with ID: {}", entry.id);
        Ok(())
    }
}

/// Say how many entries there are.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast spiffe entry count")]
pub(super) struct Count {
    #[command(flatten)]
    connection: Connection,
}

impl Count {
    async fn run(self) -> anyhow::Result<()> {
        let mut admin = self.connection.admin();
        let request = wire::CountEntriesRequest {};
        let count = self.connection.answer(admin.count_entries(request)).await?.count;
        let noun = if count == 1 { "registration entry" } else { "registration entries" };
        anstream::println!("{count} {noun}");
        Ok(())
    }
}

fn to_wire(selector: Selector) -> wire::Selector {
    wire::Selector { r#type: selector.kind, value: selector.value }
}

fn tell(entries: &[wire::Entry], output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        let entries: Vec<Value> = entries.iter().map(as_json).collect();
        anstream::println!("{}", serde_json::to_string_pretty(&json!({ "entries": entries }))?);
        return Ok(());
    }
    for entry in entries {
        anstream::println!("{}", as_text(entry));
    }
    Ok(())
}

fn as_text(entry: &wire::Entry) -> String {
    use std::fmt::Write as _;
    let ttl = |seconds| match seconds {
        0 => "default".to_owned(),
        seconds => seconds.to_string(),
    };
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<24}: {value}");
    };
    line("Entry ID", &entry.id);
    line("SPIFFE ID", &entry.spiffe_id);
    line("Parent ID", &entry.parent_id);
    line("Revision", &entry.revision.to_string());
    line("X509-SVID TTL", &ttl(entry.x509_svid_ttl));
    line("JWT-SVID TTL", &ttl(entry.jwt_svid_ttl));
    for selector in &entry.selectors {
        line("Selector", &format!("{}:{}", selector.r#type, selector.value));
    }
    if entry.expires_at != 0 {
        let at = Duration::from_secs(entry.expires_at.unsigned_abs());
        let at = holdfast_types::Timestamp::UNIX_EPOCH + at;
        line("Expiration time", &holdfast_types::rfc3339(at));
    }
    entry.federates_with.iter().for_each(|domain| line("FederatesWith", domain));
    entry.dns_names.iter().for_each(|name| line("DNS name", name));
    entry.ip_addresses.iter().for_each(|address| line("IP address", address));
    if !entry.hint.is_empty() {
        line("Hint", &entry.hint);
    }
    if !entry.origin.is_empty() {
        line("Declared in", &entry.origin);
    }
    text
}

/// A SPIFFE ID in the form of SPIRE's API.
pub(super) fn id_json(id: &str) -> Value {
    let rest = id.strip_prefix("spiffe://").unwrap_or(id);
    let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    json!({ "trust_domain": domain, "path": path })
}

/// The same of selectors.
pub(super) fn selectors_json(selectors: &[wire::Selector]) -> Value {
    selectors.iter().map(|one| json!({ "type": one.r#type, "value": one.value })).collect()
}

/// The same of an entry.
fn as_json(entry: &wire::Entry) -> Value {
    json!({
        "id": entry.id,
        "spiffe_id": id_json(&entry.spiffe_id),
        "parent_id": id_json(&entry.parent_id),
        "selectors": selectors_json(&entry.selectors),
        "x509_svid_ttl": entry.x509_svid_ttl,
        "jwt_svid_ttl": entry.jwt_svid_ttl,
        "federates_with": entry.federates_with,
        "dns_names": entry.dns_names,
        "ip_addresses": entry.ip_addresses,
        "hint": entry.hint,
        "revision_number": entry.revision.to_string(),
        "created_at": entry.created_at.to_string(),
        "expires_at": entry.expires_at.to_string(),
        "declared_in": entry.origin,
    })
}
