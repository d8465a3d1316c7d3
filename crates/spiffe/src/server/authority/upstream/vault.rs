//! A secrets server's `pki` engine, ours or the real one's.

use async_trait::async_trait;
use holdfast_client::postgres::SecretSource;
use holdfast_client::vault::{VaultClient, VaultError};
use holdfast_keys::x509::encode_pem;
use serde_json::{Value, json};

use super::disk::{authority_name, read_all};
use super::{AuthorityRequest, SignedAuthority, Upstream, UpstreamError};

/// `<mount>/root/sign-intermediate`. Its token may do that one thing.
pub struct VaultUpstream {
    client: VaultClient,
    mount: String,
    token: Box<dyn SecretSource>,
}

impl VaultUpstream {
    /// The engine at `mount`, such as `pki`. Authorities are signed hours apart, so the token is
    /// taken from its source anew each time.
    pub fn new(client: VaultClient, mount: impl Into<String>, token: impl SecretSource) -> Self {
        Self { client, mount: mount.into(), token: Box::new(token) }
    }
}

#[async_trait]
impl Upstream for VaultUpstream {
    fn name(&self) -> &'static str {
        "vault"
    }

    async fn sign(&self, request: AuthorityRequest<'_>) -> Result<SignedAuthority, UpstreamError> {
        let path = format!("{}/root/sign-intermediate", self.mount.trim_matches('/'));
        let body = json!({
            "csr": encode_pem("CERTIFICATE REQUEST", request.csr).as_str(),
            "common_name": authority_name(request.trust_domain, "SPIFFE").common_name(),
            "uri_sans": request.trust_domain.id().as_str(),
            "exclude_cn_from_sans": true,
            "max_path_length": 0,
            "ttl": format!("{}s", request.life.as_secs()),
            "format": "pem",
        });
        let token = self.token.secret().await.map_err(|source| UpstreamError::Refused {
            action: "read the token of the upstream secrets server".to_owned(),
            source,
        })?;
        let refused = |source: VaultError| UpstreamError::Refused {
            action: format!("have an authority signed at {path}"),
            source: source.into(),
        };
        let client = self.client.with_token(Some(token));
        let reply = client.write(&path, &body).await.map_err(refused)?;
        answer(&reply.data.map(Value::Object).unwrap_or_default())
    }
}

/// The authority in an answer: `certificate`, and `ca_chain` (to the root) or `issuing_ca`.
fn answer(data: &Value) -> Result<SignedAuthority, UpstreamError> {
    let wrong = |what: &str| UpstreamError::Answer(what.to_owned());
    let text = |value: &Value| {
        let pem = value.as_str().unwrap_or_default();
        read_all(pem).map_err(|error| UpstreamError::Answer(error.to_string()))
    };
    let mut chain = text(&data["certificate"])?;
    let mut above = Vec::new();
    for one in data["ca_chain"].as_array().into_iter().flatten() {
        above.extend(text(one)?);
    }
    if above.is_empty() {
        above = text(&data["issuing_ca"])?;
    }
    // Some servers repeat the signed certificate at the head of the chain.
    above.retain(|one| !chain.iter().any(|own| own.der == one.der));
    let root = above.pop().ok_or_else(|| wrong("no issuer's certificate"))?;
    chain.extend(above);
    Ok(SignedAuthority {
        chain: chain.into_iter().map(|one| one.der).collect(),
        roots: vec![root.der],
    })
}
