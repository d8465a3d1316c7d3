//! `vault { ... }`: the secrets server.

use std::path::PathBuf;

use holdfast_client::vault::{self, Address, Trust, VaultClient, VaultConfig};
use holdfast_hcl::{Block, Problems};

use super::{ConfigError, Overrides, value};

/// Where a server is when nothing says so.
const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";
/// How often a request is repeated, as in the stock agent.
const DEFAULT_RETRIES: u32 = 12;

/// The server as the operator wrote it.
#[derive(Debug, Default)]
pub(super) struct ServerFile {
    address: Option<String>,
    ca_cert: Option<String>,
    ca_path: Option<String>,
    client_cert: Option<String>,
    client_key: Option<String>,
    tls_skip_verify: Option<bool>,
    tls_server_name: Option<String>,
    namespace: Option<String>,
    /// -1 for none; 0 for the default.
    num_retries: Option<i64>,
}

/// The secrets server, and how to talk to it.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where it is.
    pub address: Address,
    /// Whom to trust.
    pub trust: Trust,
    /// PEM files of the client's certificate and its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The name expected in the server's certificate.
    pub server_name: Option<String>,
    /// The namespace of all requests.
    pub namespace: Option<String>,
    /// How often a request is repeated after a failure that may pass. Default: 12.
    pub max_retries: u32,
}

impl ServerConfig {
    /// A client without a token. The files of certificates are read anew each time.
    ///
    /// # Errors
    /// Certificates that cannot be read or used.
    pub fn client(&self) -> Result<VaultClient, vault::ConfigError> {
        VaultClient::new(&self.client_config()?)
    }

    /// What [`client`](Self::client) is made of.
    ///
    /// # Errors
    /// A client certificate that cannot be read.
    pub fn client_config(&self) -> Result<VaultConfig, vault::ConfigError> {
        let mut config = VaultConfig {
            trust: self.trust.clone(),
            server_name: self.server_name.clone(),
            namespace: self.namespace.clone(),
            max_retries: self.max_retries,
            ..VaultConfig::new(self.address.clone())
        };
        if let Some((certificate, key)) = &self.client_certificate {
            config.read_identity(certificate, key)?;
        }
        Ok(config)
    }
}

impl ServerFile {
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Self {
        let mut settings = block.settings(problems);
        let this = Self {
            address: settings.string("address"),
            ca_cert: settings.string("ca_cert"),
            ca_path: settings.string("ca_path"),
            client_cert: settings.string("client_cert"),
            client_key: settings.string("client_key"),
            tls_skip_verify: settings.bool("tls_skip_verify"),
            tls_server_name: settings.string("tls_server_name"),
            namespace: settings.string("namespace"),
            num_retries: value::block(&mut settings, "retry", read_retry).flatten(),
        };
        settings.finish();
        this
    }

    /// `method_namespace` is that of the login, which holds for all where nothing else is set.
    pub(super) fn resolve(
        self,
        overrides: &Overrides,
        method_namespace: Option<&str>,
        problems: &mut ConfigError,
    ) -> Option<ServerConfig> {
        let over = |flag: &Option<String>, file: Option<String>| {
            flag.clone().or(file).filter(|text| !text.is_empty())
        };
        let address = over(&overrides.address, self.address);
        let address = address.as_deref().unwrap_or(DEFAULT_ADDRESS).parse::<Address>();
        let address = address.map_err(|error| problems.add(format!("vault.address: {error}"))).ok();
        let ca_cert = over(&overrides.ca_cert, self.ca_cert);
        let ca_path = over(&overrides.ca_path, self.ca_path);
        let anyone = overrides.tls_skip_verify.or(self.tls_skip_verify).unwrap_or(false);
        let trust = match (anyone, ca_cert, ca_path) {
            (true, ..) => Trust::Anyone,
            (_, Some(file), _) => Trust::File(file.into()),
            (_, None, Some(folder)) => Trust::Directory(folder.into()),
            _ => Trust::System,
        };
        let certificate = over(&overrides.client_cert, self.client_cert);
        let key = over(&overrides.client_key, self.client_key);
        let client_certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            (None, Some(_)) => {
                problems.add("vault.client_cert: is missing, and client_key is set");
                None
            }
            (Some(_), None) => {
                problems.add("vault.client_key: is missing, and client_cert is set");
                None
            }
        };
        let namespace = over(&overrides.namespace, self.namespace)
            .or_else(|| method_namespace.map(str::to_owned));
        let max_retries = overrides.max_retries.unwrap_or(match self.num_retries {
            None | Some(0) => DEFAULT_RETRIES,
            Some(number) => u32::try_from(number).unwrap_or(0),
        });
        Some(ServerConfig {
            address: address?,
            trust,
            client_certificate,
            server_name: over(&overrides.tls_server_name, self.tls_server_name),
            namespace,
            max_retries,
        })
    }
}

fn read_retry(block: &Block<'_>, problems: &mut Problems) -> Option<i64> {
    let mut settings = block.settings(problems);
    let number = settings.integer("num_retries");
    if number.is_some_and(|number| !(-1..=1000).contains(&number)) {
        settings.refuse("num_retries", "expected a number up to 1000, or -1 for no repetition");
    }
    settings.finish();
    number
}
