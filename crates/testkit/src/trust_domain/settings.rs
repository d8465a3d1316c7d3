//! What a trust domain is asked for.

use std::path::PathBuf;
use std::time::Duration;

use crate::Spire;

/// Whose server and agent.
#[derive(Debug, Clone)]
pub enum SpiffeEngine {
    /// Ours: the binary.
    Holdfast(PathBuf),
    /// The real one.
    Spire(Spire),
}

impl SpiffeEngine {
    /// Its name in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Holdfast(_) => "Holdfast",
            Self::Spire(_) => "SPIRE",
        }
    }
}

/// How long what the server signs lives, and what else it is told.
#[derive(Debug, Clone)]
pub struct TrustDomainSettings {
    /// Its name.
    pub name: String,
    /// Whether the server's authorities sign themselves, instead of an authority of the test's.
    pub self_signed: bool,
    /// Life of the server's authorities.
    pub ca_ttl: Duration,
    /// Life of X.509-SVIDs.
    pub x509_ttl: Duration,
    /// Life of JWT-SVIDs.
    pub jwt_ttl: Duration,
    /// More arguments of our own server.
    pub server_arguments: Vec<String>,
    /// Who may ask the agent for others' identities, by SPIFFE ID.
    pub authorized_delegates: Vec<String>,
    /// How often SPIRE's agent asks for changes; ours is told of them.
    pub sync_interval: Duration,
}

impl Default for TrustDomainSettings {
    /// What both have when nothing is said.
    fn default() -> Self {
        Self {
            name: "example.org".to_owned(),
            self_signed: false,
            ca_ttl: Duration::from_hours(24),
            x509_ttl: Duration::from_hours(1),
            jwt_ttl: Duration::from_mins(5),
            server_arguments: Vec::new(),
            authorized_delegates: Vec::new(),
            sync_interval: Duration::from_secs(5),
        }
    }
}

/// Who gets an identity.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// The path of its ID, such as `/backend`.
    pub path: String,
    /// Whoever shows all of these, such as `unix:uid:0`.
    pub selectors: Vec<String>,
    /// What tells identities of one workload apart.
    pub hint: String,
    /// Names in its certificates.
    pub dns_names: Vec<String>,
    /// Other trust domains whose bundles it is given.
    pub federates_with: Vec<String>,
    /// The entry's own name; a random one where it is empty.
    pub entry_id: String,
}

impl Registration {
    /// An identity for every process of the user who runs the test.
    pub fn own(path: &str) -> Self {
        let user = nix::unistd::geteuid();
        Self {
            path: path.to_owned(),
            selectors: vec![format!("unix:uid:{user}")],
            ..Self::default()
        }
    }

    /// One for whoever shows this selector.
    pub fn of(path: &str, selector: &str) -> Self {
        let selectors = vec![selector.to_owned()];
        Self { path: path.to_owned(), selectors, ..Self::default() }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: &str) -> Self {
        hint.clone_into(&mut self.hint);
        self
    }

    /// With another trust domain's bundle.
    #[must_use]
    pub fn federates_with(mut self, name: &str) -> Self {
        self.federates_with.push(name.to_owned());
        self
    }

    /// As an entry of this name.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.entry_id);
        self
    }
}
