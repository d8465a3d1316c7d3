//! Requests that are shown and not sent, for programs that tell what they would ask.

use std::fmt;
use std::sync::Arc;

use holdfast_types::{Secret, SecretString};
use http::Method;

use super::VaultError;
use super::transport::{Outgoing, Transport};

/// Looks at each request in the server's place.
#[derive(Clone)]
pub struct Rehearsal(Arc<dyn Fn(&Rehearsed) + Send + Sync>);

/// A request that was not sent. Its token is left out: whoever shows it has no use for it.
#[derive(Debug)]
pub struct Rehearsed {
    /// Its method.
    pub method: Method,
    /// The whole URL, the query included.
    pub url: String,
    /// The path of the API, without `/v1/` and without slashes at its ends.
    pub path: String,
    /// Whether it asks for the names below the path.
    pub lists: bool,
    /// Header fields, those of every request included; not the token.
    pub headers: Vec<(String, String)>,
    /// Whether it carries a token.
    pub has_token: bool,
    /// The body, JSON.
    pub body: Option<SecretString>,
}

impl Rehearsal {
    /// A rehearsal before `audience`.
    pub fn new(audience: impl Fn(&Rehearsed) + Send + Sync + 'static) -> Self {
        Self(Arc::new(audience))
    }

    pub(super) fn show(
        &self,
        transport: &Transport,
        outgoing: &Outgoing<'_>,
    ) -> Result<(), VaultError> {
        let mut headers = vec![("X-Vault-Request".to_owned(), "true".to_owned())];
        headers.extend(transport.headers.iter().cloned());
        let mut add = |name: &str, value: Option<&str>| {
            headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        };
        add("X-Vault-Namespace", outgoing.namespace);
        add("X-Vault-Wrap-Ttl", outgoing.wrap_ttl);
        let merge = outgoing.body.is_some() && outgoing.method == Method::PATCH;
        add("Content-Type", merge.then_some("application/merge-patch+json"));
        (self.0)(&Rehearsed {
            method: outgoing.method.clone(),
            url: transport.address.url(outgoing.path, outgoing.query)?.into(),
            path: outgoing.path.trim_matches('/').to_owned(),
            lists: outgoing.query.contains(&("list", "true")),
            headers,
            has_token: outgoing.token.is_some(),
            body: outgoing.body.map(|body| Secret::new(body.to_string())),
        });
        Ok(())
    }
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rehearsal")
    }
}
