//! What an entry must be like.

use std::time::Duration;

use holdfast_types::{SpiffeId, TrustDomain};

use crate::Entry;

/// The server's own path.
pub(super) const SERVER_PATH: &str = "/spire/server";
/// Under here are the server and the agents: no workload gets an id of theirs.
const RESERVED: &str = "/spire/";

const MAX_SELECTORS: usize = 64;
const MAX_DNS_NAMES: usize = 64;
const MAX_IP_ADDRESSES: usize = 64;
const MAX_FEDERATED: usize = 64;
const MAX_HINT: usize = 1024;
const MAX_TTL: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// An id of another trust domain.
    #[error("{what} {id:?} is not in trust domain {trust_domain:?}")]
    OtherTrustDomain {
        /// SPIFFE ID or parent ID
        what: &'static str,
        /// The id.
        id: String,
        /// The server's own.
        trust_domain: String,
    },
    /// The id of a trust domain, which is nobody's.
    #[error("{0} must have a path")]
    NoPath(&'static str),
    /// An id that servers and agents have.
    #[error("SPIFFE ID {0:?} is in the reserved namespace \"/spire\"")]
    Reserved(String),
    /// Nothing would ever match, or everything.
    #[error("an entry needs at least one selector")]
    NoSelectors,
    /// A DNS name that no certificate can hold.
    #[error("{0:?} is not a DNS name")]
    DnsName(String),
    /// An entry of a trust domain federating with itself.
    #[error("an entry cannot federate with its own trust domain")]
    OwnTrustDomain,
    /// More or longer than is kept.
    #[error("an entry has {0}")]
    Limit(&'static str),
}

/// Checks an entry against the rules that hold for all.
pub(crate) fn check(entry: &Entry, trust_domain: &TrustDomain) -> Result<(), InvalidEntry> {
    check_workload(&entry.spiffe_id, trust_domain)?;
    check_member("parent ID", &entry.parent, trust_domain)?;
    if entry.selectors.is_empty() {
        return Err(InvalidEntry::NoSelectors);
    }
    if entry.federates_with.contains(trust_domain) {
        return Err(InvalidEntry::OwnTrustDomain);
    }
    if let Some(name) = entry.dns_names.iter().find(|name| !is_dns_name(name)) {
        return Err(InvalidEntry::DnsName(name.clone()));
    }
    for (is_over, what) in [
        (entry.selectors.len() > MAX_SELECTORS, "at most 64 selectors"),
        (entry.dns_names.len() > MAX_DNS_NAMES, "at most 64 DNS names"),
        (entry.ip_addresses.len() > MAX_IP_ADDRESSES, "at most 64 IP addresses"),
        (entry.federates_with.len() > MAX_FEDERATED, "at most 64 trust domains to federate with"),
        (entry.hint.len() > MAX_HINT, "a hint of at most 1024 bytes"),
        (
            [entry.x509_ttl, entry.jwt_ttl].iter().flatten().any(|ttl| *ttl > MAX_TTL),
            "a TTL of at most ten years",
        ),
    ] {
        if is_over {
            return Err(InvalidEntry::Limit(what));
        }
    }
    Ok(())
}

/// A DNS name of letters, digits and hyphens, with `*` as a whole first label.
fn is_dns_name(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    name.len() <= 253
        && rest.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

/// Checks that an id can be a workload's of the trust domain.
pub(crate) fn check_workload(
    id: &SpiffeId,
    trust_domain: &TrustDomain,
) -> Result<(), InvalidEntry> {
    check_member("SPIFFE ID", id, trust_domain)?;
    if id.path().starts_with(RESERVED) || id.path() == "/spire" {
        return Err(InvalidEntry::Reserved(id.to_string()));
    }
    Ok(())
}

fn check_member(
    what: &'static str,
    id: &SpiffeId,
    trust_domain: &TrustDomain,
) -> Result<(), InvalidEntry> {
    if !trust_domain.holds(id) {
        let (id, trust_domain) = (id.to_string(), trust_domain.to_string());
        return Err(InvalidEntry::OtherTrustDomain { what, id, trust_domain });
    }
    if id.path().is_empty() {
        return Err(InvalidEntry::NoPath(what));
    }
    Ok(())
}
