//! Logging in with a client certificate.

use holdfast_client::vault::{ConfigError, Trust, VaultClient};
use serde_json::{Value, json};

use crate::config::{Cert, ServerConfig};

/// The client that shows the certificate.
pub(super) struct CertLogin {
    config: Cert,
    server: ServerConfig,
    client: Option<VaultClient>,
}

impl CertLogin {
    pub(super) fn new(config: Cert, server: ServerConfig) -> Self {
        Self { config, server, client: None }
    }

    pub(super) fn reload(&mut self, server: ServerConfig) {
        (self.server, self.client) = (server, None);
    }

    /// The body of the login.
    pub(super) fn credential(&self) -> Value {
        match &self.config.name {
            Some(name) => json!({ "name": name }),
            None => json!({}),
        }
    }

    /// `client` itself where the method names no certificate of its own.
    pub(super) fn client(&mut self, client: VaultClient) -> Result<VaultClient, ConfigError> {
        if self.config.client_certificate.is_none() && self.config.ca_cert.is_none() {
            return Ok(client);
        }
        let namespace = client.namespace().map(str::to_owned);
        if self.client.is_none() || self.config.reload {
            let mut server = ServerConfig { max_retries: 0, ..self.server.clone() };
            if let Some(pair) = &self.config.client_certificate {
                server.client_certificate = Some(pair.clone());
            }
            if let Some(file) = &self.config.ca_cert {
                server.trust = Trust::File(file.clone());
            }
            self.client = Some(server.client()?);
        }
        let own = self.client.as_ref().unwrap_or(&client);
        Ok(own.with_namespace(namespace))
    }
}
