//! What a client needs to know before its first request.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::{SecretBytes, SecretString};
use reqwest::{Certificate, Identity};

use super::Address;

/// Whom the server's certificate has to be signed by.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// The authorities that the operating system trusts.
    #[default]
    System,
    /// The authorities in this PEM text, and no other.
    Pem(Vec<u8>),
    /// The authorities in this PEM file, and no other.
    File(PathBuf),
    /// The authorities in the PEM files of this directory, and no other.
    Directory(PathBuf),
    /// Whomever this TLS configuration takes, by which the client shows a certificate, too: one
    /// from a [`Workload`](crate::workload::Workload) knows the server by its SPIFFE ID, and both
    /// sides' certificates may change. [`VaultConfig::identity`] has to be unset.
    Tls(Arc<rustls::ClientConfig>),
    /// Anyone: the connection is encrypted, but to whom is unknown. Only when a person asks for it.
    Anyone,
}

/// Where a server is, whom to trust, and how patient to be.
#[derive(Debug, Clone)]
pub struct VaultConfig {
    /// Where the server is.
    pub address: Address,
    /// Whom to trust; without meaning for `http` and sockets.
    pub trust: Trust,
    /// The client's certificate chain followed by its key, both PEM.
    pub identity: Option<SecretBytes>,
    /// The name expected in the server's certificate and sent as SNI, in place of the address's
    /// host. A DNS name.
    pub server_name: Option<String>,
    /// The longest that one attempt may take, its body included. Default: 60 s.
    pub timeout: Duration,
    /// The longest that connecting may take. Default: 10 s.
    pub connect_timeout: Duration,
    /// How often a request is repeated after a failed connection, 412, or a 5xx other than 501.
    /// Default: 2.
    pub max_retries: u32,
    /// How long to wait before the first repeated request; later ones wait longer, each with up to
    /// half of this added by chance, so that many clients do not come back at once. Default: 1 s.
    pub retry_wait: Duration,
    /// Whether one redirect is followed, from a standby to the active server. Default: yes.
    pub follow_redirects: bool,
    /// The largest body that is read, in bytes. Default: 64 MiB.
    pub max_response_bytes: usize,
    /// The token that requests carry.
    pub token: Option<SecretString>,
    /// `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// `X-Vault-Wrap-TTL`, such as `5m`: replies come wrapped.
    pub wrap_ttl: Option<String>,
    /// Further header fields of every request.
    pub headers: Vec<(String, String)>,
}

/// What is wrong with a [`VaultConfig`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or directory of certificates could not be read.
    #[error("read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Not a certificate where one was expected.
    #[error("no PEM certificate in {origin}")]
    NoCertificate {
        /// The file, or what stands in for one.
        origin: String,
    },
    /// The client's certificate and key are no pair that TLS could use.
    #[error("the client certificate and key are unusable")]
    Identity(#[source] reqwest::Error),
    /// An IP address where a DNS name belongs.
    #[error("server name {0:?} is not a DNS name")]
    ServerName(String),
    /// A header field that HTTP cannot carry. The value is left out: it may be secret.
    #[error("header field {0:?} cannot be sent")]
    Header(String),
    /// A certificate besides a TLS configuration, which has one.
    #[error("a client certificate besides a TLS configuration of one's own")]
    TwoIdentities,
    /// The TLS library refused the whole.
    #[error("set up the HTTP client")]
    Build(#[source] reqwest::Error),
}

impl VaultConfig {
    /// A client of `address` with the defaults.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            trust: Trust::System,
            identity: None,
            server_name: None,
            timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            max_retries: 2,
            retry_wait: Duration::from_secs(1),
            follow_redirects: true,
            max_response_bytes: 64 << 20,
            token: None,
            namespace: None,
            wrap_ttl: None,
            headers: Vec::new(),
        }
    }

    /// Reads the client's certificate chain and key from two PEM files.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read_identity(&mut self, certificate: &Path, key: &Path) -> Result<(), ConfigError> {
        let mut pem = read(certificate)?;
        pem.push(b'\n');
        pem.append(&mut read(key)?);
        self.identity = Some(SecretBytes::new(pem));
        Ok(())
    }
}

impl Trust {
    /// The authorities as reqwest takes them; `None` for those of the system.
    pub(super) fn certificates(&self) -> Result<Option<Vec<Certificate>>, ConfigError> {
        match self {
            Self::System | Self::Anyone | Self::Tls(_) => Ok(None),
            Self::Pem(pem) => parse(pem, "the configured text").map(Some),
            Self::File(path) => parse(&read(path)?, &path.display().to_string()).map(Some),
            Self::Directory(directory) => read_directory(directory).map(Some),
        }
    }
}

/// The client's certificate and key as reqwest takes them.
pub(super) fn identity(pem: &SecretBytes) -> Result<Identity, ConfigError> {
    Identity::from_pem(pem.expose()).map_err(|error| ConfigError::Identity(error.without_url()))
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

fn read_directory(directory: &Path) -> Result<Vec<Certificate>, ConfigError> {
    let failed = |source| ConfigError::Read { path: directory.to_owned(), source };
    let mut certificates = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            certificates.extend(parse(&read(&path)?, &path.display().to_string())?);
        }
    }
    if certificates.is_empty() {
        return Err(ConfigError::NoCertificate { origin: directory.display().to_string() });
    }
    Ok(certificates)
}

fn parse(pem: &[u8], origin: &str) -> Result<Vec<Certificate>, ConfigError> {
    match Certificate::from_pem_bundle(pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ConfigError::NoCertificate { origin: origin.to_owned() }),
    }
}
