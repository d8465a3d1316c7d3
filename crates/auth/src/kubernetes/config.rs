//! `config`: where the cluster's API is.

use std::path::Path;

use holdfast_client::fetch::Fetcher;
use holdfast_keys::PublicKey;
use holdfast_logical::{Error, Fields};
use holdfast_types::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Larger files are no tokens and no authorities.
const MAX_FILE: usize = 1 << 20;

/// What an operator wrote, checked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    /// Such as `https://10.0.0.1:6443`, as it was written.
    kubernetes_host: String,
    /// PEM. Empty: the pod's own.
    kubernetes_ca_cert: String,
    /// What may ask for token reviews. Empty: the pod's own token, else the one that logs in.
    token_reviewer_jwt: SecretString,
    /// What signs service account tokens, in PEM. None: that is left to the review.
    pem_keys: Vec<String>,
    /// What `iss` must be, where that is validated. Empty: anything.
    issuer: String,
    disable_iss_validation: bool,
    disable_local_ca_jwt: bool,
}

impl Config {
    /// Reads a request to `config`. `local` is where a pod finds its own token and authority.
    ///
    /// # Errors
    /// 400 in OpenBao's words, except for a host without TLS.
    pub(super) async fn parse(fields: Fields<'_>, local: &Path) -> Result<Self, Error> {
        let text = |name| Ok::<_, Error>(fields.string(name)?.unwrap_or_default());
        let config = Self {
            kubernetes_host: text("kubernetes_host")?,
            kubernetes_ca_cert: text("kubernetes_ca_cert")?,
            token_reviewer_jwt: text("token_reviewer_jwt")?.into(),
            pem_keys: fields.strings("pem_keys")?.unwrap_or_default(),
            issuer: text("issuer")?,
            disable_iss_validation: fields.bool("disable_iss_validation")?.unwrap_or(true),
            disable_local_ca_jwt: fields.bool("disable_local_ca_jwt")?.unwrap_or_default(),
        };
        if config.kubernetes_host.is_empty() {
            return Err(Error::invalid("no host provided"));
        }
        if config.kubernetes_host.starts_with("http://") {
            return Err(Error::invalid(
                "'kubernetes_host' without TLS is not supported: tokens would cross the network in \
                 clear text",
            ));
        }
        if config.disable_local_ca_jwt && config.kubernetes_ca_cert.is_empty() {
            return Err(Error::invalid(
                "kubernetes_ca_cert must be given when disable_local_ca_jwt is true",
            ));
        }
        config.keys()?;
        let authority = config.authority(local).await.map_err(Error::Invalid)?;
        match Fetcher::new(&authority) {
            Some(_) if !authority.trim().is_empty() => Ok(config),
            _ => Err(Error::invalid("'kubernetes_ca_cert' holds no certificate")),
        }
    }

    /// What a read answers.
    pub(super) fn print(&self) -> Value {
        json!({
            "disable_iss_validation": self.disable_iss_validation,
            "disable_local_ca_jwt": self.disable_local_ca_jwt,
            "issuer": self.issuer,
            "kubernetes_ca_cert": self.kubernetes_ca_cert,
            "kubernetes_host": self.kubernetes_host,
            "pem_keys": self.pem_keys,
            "token_reviewer_jwt_set": !self.token_reviewer_jwt.expose().is_empty(),
        })
    }

    /// The URL that the API's paths are put behind.
    pub(super) fn url(&self) -> String {
        let host = self.kubernetes_host.trim_end_matches('/');
        match host.starts_with("https://") {
            true => host.to_owned(),
            false => format!("https://{host}"),
        }
    }

    /// The keys that sign service account tokens.
    pub(super) fn keys(&self) -> Result<Vec<PublicKey>, Error> {
        let keys = self.pem_keys.iter().map(|pem| PublicKey::from_pem(pem));
        keys.collect::<Result<_, _>>().map_err(|error| Error::invalid(error.to_string()))
    }

    /// What `iss` must be.
    pub(super) fn expected_issuer(&self) -> Option<&str> {
        let is_bound = !self.disable_iss_validation && !self.issuer.is_empty();
        is_bound.then_some(self.issuer.as_str())
    }

    /// The authorities of the API's certificate, in PEM.
    pub(super) async fn authority(&self, local: &Path) -> Result<String, String> {
        match self.kubernetes_ca_cert.is_empty() && !self.disable_local_ca_jwt {
            true => read(&local.join("ca.crt")).await,
            false => Ok(self.kubernetes_ca_cert.clone()),
        }
    }

    /// What asks for reviews; none where that is left to the token that logs in.
    pub(super) async fn reviewer(&self, local: &Path) -> Option<SecretString> {
        if !self.token_reviewer_jwt.expose().is_empty() {
            return Some(self.token_reviewer_jwt.clone());
        }
        if self.disable_local_ca_jwt {
            return None;
        }
        let token = read(&local.join("token")).await.ok()?;
        Some(SecretString::new(token.trim().to_owned()))
    }
}

async fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    match tokio::fs::read_to_string(path).await {
        Ok(text) if text.len() <= MAX_FILE => Ok(text),
        Ok(_) => Err(format!("{shown} is too large")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("open {shown}: no such file or directory"))
        }
        Err(error) => Err(format!("open {shown}: {error}")),
    }
}
