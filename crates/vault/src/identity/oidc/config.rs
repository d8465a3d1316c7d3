//! `oidc/config`: in whose name tokens are issued.

use holdfast_barrier::EntryError;
use holdfast_logical::{Error, Fields, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Oidc;

pub(super) const ISSUER_IS_SET: &str = "If \"issuer\" is set explicitly, all tokens must be validated against that address, \
     including those issued by secondary clusters. Setting issuer to \"\" will restore the default \
     behavior of using the cluster's api_addr as the issuer.";

/// As stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct OidcConfig {
    issuer: String,
}

impl Oidc {
    /// What stands before `/v1/`: what operators set, or else where this server is.
    async fn base(&self) -> Result<String, EntryError> {
        let config = self.store.get_json::<OidcConfig>("config").await?.unwrap_or_default();
        Ok(if config.issuer.is_empty() { self.api_addr.clone() } else { config.issuer })
    }

    /// The `iss` of tokens.
    pub(super) async fn issuer(&self) -> Result<String, EntryError> {
        Ok(format!("{}/v1/identity/oidc", self.base().await?))
    }

    pub(super) async fn read_config(&self) -> Result<Response, Error> {
        let config = self.store.get_json::<OidcConfig>("config").await?.unwrap_or_default();
        let response = Response::data(json!({ "issuer": config.issuer }));
        Ok(match config.issuer.is_empty() && self.api_addr.is_empty() {
            false => response,
            true => response.warn(
                "Both \"issuer\" and OpenBao's \"api_addr\" are empty. The issuer claim in \
                 generated tokens will not be network reachable.",
            ),
        })
    }

    pub(super) async fn write_config(
        &self,
        fields: &Fields<'_>,
    ) -> Result<Option<Response>, Error> {
        let Some(issuer) = fields.string("issuer")? else { return Ok(None) };
        check_issuer(&issuer)?;
        let is_set = !issuer.is_empty();
        let _change = self.change.lock().await;
        self.store.put_json("config", &OidcConfig { issuer }).await?;
        Ok(is_set.then(|| Response::default().warn(ISSUER_IS_SET)))
    }

    /// `.well-known/openid-configuration`
    pub(super) async fn discovery(&self) -> Result<serde_json::Value, Error> {
        let issuer = self.issuer().await?;
        Ok(json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}/.well-known/keys"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": super::key::ALGORITHMS,
        }))
    }
}

/// Checks that an issuer is `http(s)://host[:port]`, or empty.
///
/// # Errors
/// 400 in OpenBao's words.
pub(super) fn check_issuer(issuer: &str) -> Result<(), Error> {
    let host = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:[]".contains(c);
    match host {
        _ if issuer.is_empty() => Ok(()),
        Some(host) if !host.is_empty() && host.chars().all(plain) => Ok(()),
        _ => Err(Error::invalid(
            "invalid issuer, which must include only a scheme, host, and optional port (e.g. \
             https://example.com:8200)",
        )),
    }
}
