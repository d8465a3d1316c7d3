//! `login`: a client certificate for a token.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use holdfast_keys::x509::{Certificate, ChainError, decimal, verify_client};
use holdfast_logical::{Auth, Connection, EntityAlias, Error, Reply, Request, Response};
use serde_json::{Value, json};

use super::constraints::Client;
use super::crls::Revoked;
use super::{Cert, Entry};
use crate::{source_address, token_params};

/// What a refusal names of entries that did not fit.
const MOST_NAMED: usize = 4;

pub(super) const NOT_TRUSTED: &str = "invalid certificate or no client certificate supplied";
pub(super) const MISFIT: &str =
    "no chain matching all constraints could be found for this login certificate";

/// A certificate that an entry takes.
struct Matched {
    name: String,
    entry: Arc<Entry>,
    client: Client,
}

impl Cert {
    /// `PUT login {name}`
    pub(super) async fn login(&self, request: &Request) -> Reply {
        let named = request.fields().string("name").map_err(Error::field_validation)?;
        let config = self.config().await?;
        let matched = self.verify(&request.connection, &named.unwrap_or_default()).await?;
        let trusted = &matched.entry.trusted;
        source_address::check(request, &trusted.tokens.params)?;
        let alias = alias(&matched.client)?;
        let metadata = metadata(&matched);
        let alias_metadata = match config.enable_identity_alias_metadata {
            true => metadata.clone(),
            false => BTreeMap::new(),
        };
        let auth = Auth {
            params: trusted.tokens.params.clone(),
            metadata,
            display_name: trusted.display_name.clone(),
            alias: Some(EntityAlias { name: alias, metadata: alias_metadata }),
            internal: json!({
                "name": matched.name,
                "certificate": fingerprint(&matched.client.certificate.der),
            }),
            renewable: true,
            ..Auth::default()
        };
        Ok(Some(Response { auth: Some(auth), ..Response::default() }))
    }

    /// A token lives on under the life that its entry gives now, for whoever shows the certificate
    /// that logged in, while that is still good.
    pub(super) async fn renew(
        &self,
        mut auth: Auth,
        connection: &Connection,
    ) -> Result<Auth, Error> {
        let text = |name| auth.internal.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = text("name");
        let known = self.known().await?;
        let Some(entry) = known.get(name) else {
            return Err(Error::invalid(format!("certificate {name:?} does not exist any more")));
        };
        let now = entry.trusted.tokens.params.clone();
        if !token_params::same_policies(&now, &auth.params) {
            return Err(Error::invalid("policies have changed, not renewing"));
        }
        if !self.config().await?.disable_binding {
            self.verify(connection, name).await?;
            let shown = connection.client_certificates.first().map(|der| fingerprint(der));
            if shown.as_deref() != Some(text("certificate")) {
                return Err(Error::invalid(
                    "client identity during renewal not matching client identity used during login",
                ));
            }
        }
        token_params::renew(&mut auth, &now);
        Ok(auth)
    }

    /// Who is on the other end, by the entry of that name, or by the first that fits.
    async fn verify(&self, connection: &Connection, name: &str) -> Result<Matched, Error> {
        let chain = &connection.client_certificates;
        let Some(leaf) = chain.first() else {
            return Err(Error::invalid("no client certificate found"));
        };
        let leaf = Certificate::from_der(leaf).map_err(|error| {
            let advice = "use a certificate with an RSA, EC or Ed25519 key";
            Error::invalid(NOT_TRUSTED).because(error.to_string(), advice)
        })?;
        let client = Client::new(leaf);
        let known = self.known().await?;
        let revoked = self.crls.revoked().await?;
        let lower = name.to_lowercase();
        let mut misfits = Vec::new();
        let mut is_trusted = false;
        let meant = |(name, _): &(&String, _)| lower.is_empty() || **name == lower;
        let mut candidates: Vec<_> = known.iter().filter(meant).collect();
        // Who is pinned is meant before whoever an authority certified.
        candidates.sort_by_key(|(_, entry)| entry.is_of_authority());
        for (name, entry) in candidates {
            match self.judge(&client, chain, entry, &revoked) {
                Ok(()) => {
                    return Ok(Matched { name: name.clone(), entry: entry.clone(), client });
                }
                Err(misfit) => {
                    is_trusted |= misfit.is_trusted();
                    misfits.push((name, misfit));
                }
            }
        }
        Err(refusal(is_trusted, &misfits, &lower))
    }

    fn judge(
        &self,
        client: &Client,
        chain: &[Vec<u8>],
        entry: &Entry,
        revoked: &Revoked,
    ) -> Result<(), Misfit> {
        let now = self.clock.now();
        if let Some(pinned) = entry.certificates.first().filter(|_| !entry.is_of_authority()) {
            if pinned.der != client.certificate.der {
                return Err(Misfit::Other);
            }
            if pinned.not_before > now {
                return Err(Misfit::Chain(ChainError::NotYetValid));
            }
            if pinned.not_after < now {
                return Err(Misfit::Chain(ChainError::Expired));
            }
            if entry.certificates.iter().any(|certificate| revoked.holds(certificate)) {
                return Err(Misfit::Chain(ChainError::Revoked));
            }
        } else {
            verify_client(chain, &entry.certificates, now, |path| !revoked.holds_any(path))
                .map_err(Misfit::Chain)?;
        }
        match client.first_misfit(&entry.trusted.allowed) {
            Some(list) => Err(Misfit::Constraint(list)),
            None => Ok(()),
        }
    }
}

/// Why an entry does not take a certificate.
enum Misfit {
    /// It is another client's.
    Other,
    Chain(ChainError),
    /// The list that nothing fits.
    Constraint(&'static str),
}

impl Misfit {
    /// Whether the entry's authority did issue it.
    fn is_trusted(&self) -> bool {
        matches!(self, Self::Constraint(_) | Self::Chain(ChainError::Revoked))
    }

    fn words(&self) -> String {
        match self {
            Self::Other => "the certificate is not the one that is pinned".to_owned(),
            Self::Chain(error) => error.to_string(),
            Self::Constraint(list) => format!("nothing in the certificate fits {list}"),
        }
    }
}

/// One of two answers, and for operators what stood against each entry: those that trust the
/// certificate first, as one of them was meant.
fn refusal(is_trusted: bool, misfits: &[(&String, Misfit)], named: &str) -> Error {
    let told = Error::invalid(if is_trusted { MISFIT } else { NOT_TRUSTED });
    if misfits.is_empty() {
        return match named {
            "" => told.because("no certificate is trusted", "write one to certs/<name>"),
            name => told.because(
                format!("no trusted certificate has the name {name:?}"),
                "list those there are under certs/",
            ),
        };
    }
    let mut order: Vec<_> = misfits.iter().collect();
    order.sort_by_key(|(_, misfit)| match misfit {
        Misfit::Constraint(_) | Misfit::Chain(ChainError::Revoked) => 0,
        Misfit::Chain(ChainError::UnknownIssuer) | Misfit::Other => 2,
        Misfit::Chain(_) => 1,
    });
    let named = order.iter().take(MOST_NAMED);
    let mut reasons: Vec<_> =
        named.map(|(name, misfit)| format!("{name}: {}", misfit.words())).collect();
    if order.len() > MOST_NAMED {
        reasons.push(format!("{} more", order.len() - MOST_NAMED));
    }
    told.because(reasons.join("; "), "compare the certificate with the entries under certs/")
}

/// The common name; where there is none, as in an SVID, the only URI. An authority that lets clients
/// choose their common names must not make one of them the bearer of another's URI.
fn alias(client: &Client) -> Result<String, Error> {
    let name = Some(client.common_name.as_str()).filter(|name| !name.is_empty());
    if let Some(name) = name.filter(|name| name.contains("://") && client.only_uri() != Some(name))
    {
        return Err(Error::invalid(NOT_TRUSTED).because(
            format!("the common name {name:?} is a URI that the certificate is not for"),
            "issue it with the URI among its alternative names, or another common name",
        ));
    }
    let name = name.or_else(|| client.only_uri()).map(str::to_owned);
    name.ok_or_else(|| {
        Error::invalid("missing name in alias").because(
            "the certificate has no common name, and not exactly one URI",
            "issue it with one of the two",
        )
    })
}

fn metadata(matched: &Matched) -> BTreeMap<String, String> {
    let certificate = &matched.client.certificate;
    let id = |id: &Option<Vec<u8>>| {
        let bytes = id.iter().flatten().map(|byte| format!("{byte:02x}"));
        bytes.collect::<Vec<_>>().join(":")
    };
    let mut metadata: BTreeMap<_, _> = [
        ("cert_name", matched.name.clone()),
        ("common_name", matched.client.common_name.clone()),
        ("serial_number", decimal(&certificate.serial)),
        ("subject_key_id", id(&certificate.subject_key_id)),
        ("authority_key_id", id(&certificate.authority_key_id)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for oid in matched.entry.trusted.metadata_extensions.iter().flatten() {
        if let Some(text) = matched.client.extension_text(oid) {
            metadata.insert(oid.replace('.', "-"), text);
        }
    }
    if let Some(spiffe_id) = matched.client.spiffe_id() {
        metadata.insert("spiffe_id".to_owned(), spiffe_id.to_string());
    }
    metadata
}

fn fingerprint(der: &[u8]) -> String {
    hex::encode(digest(&SHA256, der))
}
