//! `holdfast.toml`: what a platform is made of.
//!
//! Two forms. [`PlatformFile`] is what the operator wrote; [`Platform`] is complete and checked,
//! and is what the rest of the program uses.

mod file;
mod problems;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use holdfast_types::SpiffeId;

pub(crate) use file::PlatformFile;
pub(crate) use problems::{ConfigError, Problems, known};

/// The name of the file in a platform directory.
pub(crate) const FILE_NAME: &str = "holdfast.toml";

/// A platform, complete and checked.
#[derive(Debug)]
pub(crate) struct Platform {
    /// The platform directory, absolute.
    pub(crate) directory: PathBuf,
    /// Names the state directory and the units of this platform: `a-z 0-9 -`, at most 32.
    pub(crate) name: String,
    pub(crate) trust_domain: String,
    pub(crate) domain: String,
    #[allow(dead_code, reason = "what differs between the tiers follows; the tests read it")]
    pub(crate) tier: Tier,
    pub(crate) vault: Vault,
    pub(crate) spiffe: Spiffe,
    pub(crate) postgres: Option<Postgres>,
    /// By name, in the order of their names; what each needs decides when it starts.
    pub(crate) services: BTreeMap<String, Service>,
}

/// How far the platform has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    /// One machine, for development.
    Laptop,
    /// One machine that serves people.
    Server,
    /// Kubernetes; this machine only applies.
    Cluster,
}

/// Workload identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spiffe {
    /// The namespace of the platform's services, in rules and in their identities.
    pub(crate) namespace: String,
    /// Where the bundle and OIDC discovery are read; port 0 takes a free one and keeps it.
    pub(crate) listen: SocketAddr,
    /// Where services find the Workload API, where that is not on the platform's tmpfs.
    pub(crate) socket: Option<PathBuf>,
    /// Who may ask the agent for other services' identities.
    pub(crate) authorized_delegates: Vec<SpiffeId>,
}

/// The secrets server.
#[derive(Debug)]
pub(crate) struct Vault {
    pub(crate) engine: Engine,
    /// Names beside localhost for its certificate, such as `vault`.
    pub(crate) names: Vec<String>,
}

/// Whose server it is and who runs it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Ours, supervised.
    Embedded {
        /// Where it listens; port 0 takes a free one and keeps it.
        listen: SocketAddr,
    },
    /// An installed OpenBao, supervised.
    Managed {
        listen: SocketAddr,
        /// The `bao` to run; otherwise the one on `PATH`.
        binary: Option<PathBuf>,
    },
    /// One that runs elsewhere: never initialised, unsealed or re-rooted from here.
    External {
        /// Such as `https://vault.example.org:8200`.
        address: String,
        /// Certificates to trust instead of the system's.
        ca_file: Option<PathBuf>,
        /// Holds the token to apply with; `VAULT_TOKEN` and `~/.vault-token` otherwise.
        token_file: Option<PathBuf>,
    },
}

/// The PostgreSQL that is supervised.
#[derive(Debug)]
pub(crate) struct Postgres {
    /// Where it listens; port 0 takes a free one and keeps it.
    pub(crate) listen: SocketAddr,
    /// Names beside localhost for its certificate, such as `postgresql`.
    pub(crate) names: Vec<String>,
    pub(crate) databases: Vec<Database>,
    /// Who may connect to what from where; everybody else is refused.
    pub(crate) rules: Vec<HbaRule>,
    /// Settings of `postgresql.conf`, by name.
    pub(crate) settings: BTreeMap<String, String>,
}

/// A database with the role that owns its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) name: String,
    /// Cannot log in. Migrations run as it, so objects outlive every short-lived user.
    pub(crate) owner: String,
    /// Cannot log in either. Short-lived users are members; grants go to it.
    pub(crate) group: String,
}

/// One line of `pg_hba.conf`, always over TLS and always by SCRAM.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HbaRule {
    /// The database's name.
    pub(crate) database: String,
    /// A role, or `+group` for its members.
    pub(crate) user: String,
    /// From where, such as `127.0.0.1/32`.
    pub(crate) address: String,
}

/// A program that runs on the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// Program and arguments; a relative program is looked for in the platform directory.
    pub(crate) command: Vec<String>,
    /// Whom it runs as when `up` is root; a uid of its own otherwise.
    pub(crate) user: Option<String>,
    /// Parts and services that must be ready first.
    pub(crate) needs: Vec<String>,
    /// Settings that are no secrets. A secret has no business in an environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// What rules of `identity/` select it by.
    pub(crate) labels: BTreeMap<String, String>,
    /// What it may do on the secrets server, where it may log in there: names of policies.
    pub(crate) policies: Option<Vec<String>>,
    /// The secrets that it is given.
    pub(crate) delivery: Option<Delivery>,
}

/// Secrets for a service: its agent renders them into files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Templates, below the platform directory. Each becomes a file of its name without `.ctmpl`.
    pub(crate) templates: Vec<PathBuf>,
    /// Variables of its environment, and the template of each: for programs that read nothing else.
    pub(crate) variables: BTreeMap<String, PathBuf>,
    /// What the service is told of a change.
    pub(crate) reload: Reload,
}

/// How a service takes up files that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    /// It reads them when it needs them.
    ByItself,
    /// It is sent a signal.
    Signal(nix::sys::signal::Signal),
    /// It is started anew.
    Restart,
}

impl Platform {
    /// Reads `holdfast.toml` in `directory`.
    ///
    /// # Errors
    /// The file cannot be read, or everything that is wrong in it.
    pub(crate) fn read(directory: &Path) -> anyhow::Result<Self> {
        let written = directory.display();
        ensure!(
            !directory.is_file(),
            "{written} is a file; name the platform directory that it is in"
        );
        let directory = match directory.canonicalize() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("there is no platform directory {written}")
            }
            found => found.with_context(|| format!("open the platform directory {written}"))?,
        };
        let path = directory.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "{} is no platform directory: it has no {FILE_NAME}; go to one that has, or name it, as in `holdfast up examples/zero-trust`",
                directory.display()
            ),
            read => read.with_context(|| format!("read {}", path.display()))?,
        };
        Ok(PlatformFile::parse(&path, &text)?.resolve(&directory, &path, &text)?)
    }
}

/// The policies of services' logins, and what each is given, if anything.
pub(crate) type Deliveries = Vec<(Vec<String>, Option<Delivery>)>;

/// What the services of the platform in `directory` are given, and what is wrong with that, in words:
/// whatever else may be wrong.
///
/// # Errors
/// The file cannot be read, or is none.
pub(crate) fn deliveries(directory: &Path) -> anyhow::Result<(Deliveries, Vec<String>)> {
    let path = directory.join(FILE_NAME);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let file = match PlatformFile::parse(&path, &text) {
        Ok(file) => file,
        Err(error) => return Ok((Vec::new(), error.sentences())),
    };
    let (deliveries, checked) = file.deliveries(directory, &path, &text);
    Ok((deliveries, checked.err().map(|error| error.sentences()).unwrap_or_default()))
}

impl Vault {
    /// Whether `up` runs the server.
    pub(crate) fn is_supervised(&self) -> bool {
        !matches!(self.engine, Engine::External { .. })
    }
}

impl Vault {
    /// All that clients dial it by.
    pub(crate) fn served_names(&self) -> Vec<String> {
        let listen = match &self.engine {
            Engine::Embedded { listen } | Engine::Managed { listen, .. } => Some(listen.ip()),
            Engine::External { .. } => None,
        };
        served_names(&self.names, listen)
    }
}

impl Postgres {
    /// All that clients dial it by.
    pub(crate) fn served_names(&self) -> Vec<String> {
        served_names(&self.names, Some(self.listen.ip()))
    }
}

/// The names of this machine for itself, those that the operator gave, and the address that is listened
/// on; each once.
fn served_names(names: &[String], listen: Option<IpAddr>) -> Vec<String> {
    let listen = listen.filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string());
    let mut all = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    for name in names.iter().cloned().chain(listen) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

impl Engine {
    /// The word in `holdfast.toml`.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Embedded { .. } => "embedded",
            Self::Managed { .. } => "managed",
            Self::External { .. } => "external",
        }
    }
}
