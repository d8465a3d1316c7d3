//! Between the types of the wire and ours.

use std::time::Duration;

use holdfast_types::{SpiffeId, SpiffeIdError, Timestamp, TrustDomain};
use serde_json::Value;

use crate::proto::node as wire;
use crate::{Bundle, Entry, Selector};

/// Why something from the wire makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Not an id.
    #[error("{what} {text:?}: {source}")]
    Id {
        /// What it is to be.
        what: &'static str,
        /// What it is.
        text: String,
        /// Why not.
        source: SpiffeIdError,
    },
    /// A half of a selector is missing.
    #[error("a selector has a type and a value")]
    Selector,
    /// Not an address.
    #[error("{0:?} is no IP address")]
    Address(String),
    /// A time that there is not.
    #[error("{0} is no time")]
    Time(i64),
    /// Something that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A key of a bundle is no JSON object.
    #[error("a JWT authority is no JSON Web Key")]
    Jwk,
}

fn id(what: &'static str, text: &str) -> Result<SpiffeId, WireError> {
    SpiffeId::parse(text).map_err(|source| WireError::Id { what, text: text.to_owned(), source })
}

fn domain(text: &str) -> Result<TrustDomain, WireError> {
    let what = "trust domain";
    TrustDomain::parse(text).map_err(|source| WireError::Id { what, text: text.to_owned(), source })
}

/// Seconds since 1970 as a time.
pub(crate) fn time(seconds: i64) -> Result<Timestamp, WireError> {
    Timestamp::from_second(seconds).map_err(|_| WireError::Time(seconds))
}

fn ttl(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn seconds(ttl: Option<Duration>) -> u64 {
    ttl.map_or(0, |ttl| ttl.as_secs())
}

pub(crate) fn selectors_to_wire<'s>(
    selectors: impl IntoIterator<Item = &'s Selector>,
) -> Vec<wire::Selector> {
    let one = |selector: &Selector| wire::Selector {
        r#type: selector.kind.clone(),
        value: selector.value.clone(),
    };
    selectors.into_iter().map(one).collect()
}

pub(crate) fn selectors_from_wire<C: FromIterator<Selector>>(
    selectors: Vec<wire::Selector>,
) -> Result<C, WireError> {
    let one = |selector: wire::Selector| {
        let text = format!("{}:{}", selector.r#type, selector.value);
        Selector::parse(&text).map_err(|_| WireError::Selector)
    };
    selectors.into_iter().map(one).collect()
}

/// An entry for the wire.
pub fn entry_to_wire(entry: &Entry) -> wire::Entry {
    wire::Entry {
        id: entry.id.clone(),
        spiffe_id: entry.spiffe_id.to_string(),
        parent_id: entry.parent.to_string(),
        selectors: selectors_to_wire(&entry.selectors),
        x509_svid_ttl: seconds(entry.x509_ttl),
        jwt_svid_ttl: seconds(entry.jwt_ttl),
        dns_names: entry.dns_names.clone(),
        ip_addresses: entry.ip_addresses.iter().map(ToString::to_string).collect(),
        hint: entry.hint.clone(),
        federates_with: entry.federates_with.iter().map(ToString::to_string).collect(),
        created_at: entry.created.as_second(),
        created_at_nanos: entry.created.subsec_nanosecond(),
        revision: entry.revision,
        origin: entry.origin.clone(),
        expires_at: entry.expires.map_or(0, Timestamp::as_second),
    }
}

/// An entry from the wire; but for when it was made, times are whole seconds there.
///
/// # Errors
/// See [`WireError`].
pub fn entry_from_wire(entry: wire::Entry) -> Result<Entry, WireError> {
    Ok(Entry {
        spiffe_id: id("SPIFFE ID", &entry.spiffe_id)?,
        parent: id("parent ID", &entry.parent_id)?,
        selectors: selectors_from_wire(entry.selectors)?,
        x509_ttl: ttl(entry.x509_svid_ttl),
        jwt_ttl: ttl(entry.jwt_svid_ttl),
        federates_with: entry
            .federates_with
            .iter()
            .map(|name| domain(name))
            .collect::<Result<_, _>>()?,
        created: Timestamp::new(entry.created_at, entry.created_at_nanos)
            .map_err(|_| WireError::Time(entry.created_at))?,
        expires: match entry.expires_at {
            0 => None,
            at => Some(time(at)?),
        },
        id: entry.id,
        dns_names: entry.dns_names,
        ip_addresses: entry
            .ip_addresses
            .iter()
            .map(|text| text.parse().map_err(|_| WireError::Address(text.clone())))
            .collect::<Result<_, _>>()?,
        hint: entry.hint,
        revision: entry.revision,
        origin: entry.origin,
    })
}

/// A bundle for the wire.
pub fn bundle_to_wire(bundle: &Bundle) -> wire::Bundle {
    let key = |key: &serde_json::Map<String, Value>| Value::Object(key.clone()).to_string();
    wire::Bundle {
        trust_domain: bundle.trust_domain.to_string(),
        x509_authorities: bundle.x509_authorities.clone(),
        jwt_authorities: bundle.jwt_authorities.iter().map(key).collect(),
        sequence_number: bundle.sequence,
        refresh_hint: seconds(bundle.refresh_hint),
        tainted: bundle.tainted.clone(),
    }
}

/// A bundle from the wire.
///
/// # Errors
/// See [`WireError`].
pub fn bundle_from_wire(bundle: wire::Bundle) -> Result<Bundle, WireError> {
    let key = |text: &String| serde_json::from_str(text).map_err(|_| WireError::Jwk);
    Ok(Bundle {
        trust_domain: domain(&bundle.trust_domain)?,
        x509_authorities: bundle.x509_authorities,
        jwt_authorities: bundle.jwt_authorities.iter().map(key).collect::<Result<_, _>>()?,
        sequence: bundle.sequence_number,
        refresh_hint: ttl(bundle.refresh_hint),
        tainted: bundle.tainted,
    })
}
