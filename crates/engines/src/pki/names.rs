//! Which names a role allows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use holdfast_keys::x509::Oid;
use holdfast_logical::Request;

use super::glob;
use super::hostname::{is_hostname, is_wildcard_label, to_ascii};
use super::role::Role;

/// A role and who asks for names by it.
pub(super) struct Names<'a> {
    role: &'a Role,
    entity_id: &'a str,
}

impl<'a> Names<'a> {
    pub(super) fn new(role: &'a Role, request: &'a Request) -> Self {
        let entity_id = request.caller.as_ref().map_or("", |caller| &caller.entity_id);
        Self { role, entity_id }
    }

    /// Whether the common name is allowed: as a name, and of a kind that the role takes.
    pub(super) fn allows_common_name(&self, name: &str) -> bool {
        let validations = &self.role.cn_validations;
        if *validations == ["disabled"] {
            return true;
        }
        let kind = if name.contains('@') { "email" } else { "hostname" };
        self.allows(name) && (validations.is_empty() || validations.iter().any(|v| v == kind))
    }

    /// Whether a DNS name or a mail address is allowed.
    pub(super) fn allows(&self, name: &str) -> bool {
        let Some(parts) = Parts::of(name) else { return false };
        if parts.is_wildcard() && !self.role.allow_wildcard_certificates {
            return false;
        }
        if parts.is_email && parts.is_wildcard() {
            return false;
        }
        if self.role.enforce_hostnames && !parts.is_hostname() {
            return false;
        }
        self.role.allow_any_name
            || self.allows_as_local(&parts)
            || self
                .role
                .allowed_domains
                .iter()
                .any(|domain| self.domain_allows(domain, name, &parts))
    }

    fn allows_as_local(&self, parts: &Parts<'_>) -> bool {
        if !self.role.allow_localhost {
            return false;
        }
        ["localhost", "localdomain"].into_iter().any(|local| {
            parts.reduced == local || (self.role.allow_subdomains && is_below(parts.reduced, local))
        })
    }

    fn domain_allows(&self, domain: &str, name: &str, parts: &Parts<'_>) -> bool {
        let role = self.role;
        let Some(domain) = self.filled(domain, role.allowed_domains_template) else { return false };
        if domain.is_empty() {
            return false;
        }
        let is_bare = name.eq_ignore_ascii_case(&domain)
            || (parts.is_email && parts.domain.eq_ignore_ascii_case(&domain));
        let is_sub = is_below(parts.reduced, &domain)
            || (parts.is_wildcard() && parts.reduced.eq_ignore_ascii_case(&domain));
        (role.allow_bare_domains && is_bare)
            || (role.allow_subdomains && is_sub)
            || (role.allow_glob_domains && domain.contains('*') && glob::matches(&domain, name))
    }

    /// Whether a URI is allowed.
    pub(super) fn allows_uri(&self, uri: &str) -> bool {
        let role = self.role;
        role.allowed_uri_sans.iter().any(|allowed| {
            self.filled(allowed, role.allowed_uri_sans_template)
                .is_some_and(|allowed| glob::matches(&allowed, uri))
        })
    }

    /// A domain or URI with the caller's identity filled in. None: it needs what is not known of
    /// the caller here, so it allows nothing.
    fn filled(&self, text: &str, is_template: bool) -> Option<String> {
        const ENTITY_ID: &str = "{{identity.entity.id}}";
        if !is_template || !text.contains("{{") || self.entity_id.is_empty() {
            return Some(text.to_owned());
        }
        let filled = text.replace(ENTITY_ID, self.entity_id);
        (!filled.contains("{{")).then_some(filled)
    }

    /// Whether an address is allowed.
    pub(super) fn allows_address(&self, address: IpAddr) -> bool {
        let networks = &self.role.allowed_ip_sans_cidr;
        networks.is_empty() || networks.iter().any(|network| network.contains(&address))
    }

    /// Whether a user id is allowed.
    pub(super) fn allows_user_id(&self, id: &str) -> bool {
        let allowed = &self.role.allowed_user_ids;
        allowed.iter().any(|pattern| {
            pattern.eq_ignore_ascii_case(id)
                || (pattern.contains('*') && glob::matches(pattern, id))
        })
    }

    /// Whether a serial number of a subject is allowed.
    pub(super) fn allows_serial_number(&self, number: &str) -> bool {
        self.role.allowed_serial_numbers.iter().any(|pattern| glob::matches(pattern, number))
    }

    /// Checks names of other kinds.
    ///
    /// # Errors
    /// What the client reads.
    pub(super) fn check_other_names(&self, names: &OtherNames) -> Result<(), String> {
        let allowed = &self.role.allowed_other_sans;
        if *allowed == ["*"] {
            return Ok(());
        }
        let allowed = parse_other_names(allowed)
            .map_err(|problem| format!("error parsing role's allowed SANs: {problem}"))?;
        for (oid, names) in names {
            let Some(patterns) = allowed.get(oid) else {
                return Err(format!("other SAN OID {oid} not allowed by this role"));
            };
            let is_allowed =
                |name: &&String| patterns.iter().any(|pattern| glob::matches(pattern, name));
            if let Some(bad) = names.iter().find(|name| !is_allowed(name)) {
                return Err(format!("other SAN {bad} not allowed for OID {oid} by this role"));
            }
        }
        Ok(())
    }
}

/// Whether `name` ends in `.domain`.
fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// A DNS name or a mail address, taken apart.
struct Parts<'a> {
    is_email: bool,
    /// What follows the `@`, or all of it.
    domain: &'a str,
    /// The leftmost label of a wildcard name.
    wildcard: Option<&'a str>,
    /// The domain without that label.
    reduced: &'a str,
}

impl<'a> Parts<'a> {
    /// None where there are several `@`, several `*`, or one that is not in the leftmost label.
    fn of(name: &'a str) -> Option<Self> {
        let (is_email, domain) = match name.split_once('@') {
            None => (false, name),
            Some((_, domain)) if !domain.contains('@') => (true, domain),
            Some(_) => return None,
        };
        if !domain.contains('*') {
            return Some(Self { is_email, domain, wildcard: None, reduced: domain });
        }
        let (label, reduced) = domain.split_once('.').unwrap_or((domain, ""));
        if reduced.contains('*') || label.matches('*').count() != 1 {
            return None;
        }
        Some(Self { is_email, domain, wildcard: Some(label), reduced })
    }

    fn is_wildcard(&self) -> bool {
        self.wildcard.is_some()
    }

    fn is_hostname(&self) -> bool {
        let reduced = self.reduced.is_empty()
            || to_ascii(self.reduced).is_ok_and(|converted| is_hostname(&converted));
        // A bare `*` leaves nothing to check, which is enough for a wildcard only.
        let is_something = self.is_wildcard() || !self.reduced.is_empty();
        reduced && is_something && self.wildcard.is_none_or(is_wildcard_label)
    }
}

/// Names of other kinds, by their kind.
pub(super) type OtherNames = BTreeMap<String, Vec<String>>;

/// Reads names such as `1.3.6.1.4.1.311.20.2.3;utf8:devops@example.com`.
///
/// # Errors
/// What is wrong with one of them.
pub(super) fn parse_other_names(texts: &[String]) -> Result<OtherNames, String> {
    let mut names = OtherNames::new();
    for text in texts {
        let (oid, value) = text
            .split_once(';')
            .ok_or_else(|| format!("expected a semicolon in other SAN {text:?}"))?;
        let (kind, value) = value
            .split_once(':')
            .ok_or_else(|| format!("expected a colon in other SAN {text:?}"))?;
        if !kind.eq_ignore_ascii_case("utf8") && !kind.eq_ignore_ascii_case("utf-8") {
            return Err(format!(
                "only utf8 other SANs are supported; found non-supported type in other SAN {text:?}"
            ));
        }
        names.entry(oid.to_owned()).or_default().push(value.to_owned());
    }
    Ok(names)
}

/// The same as certificates have them.
///
/// # Errors
/// A kind that is no object identifier.
pub(super) fn other_general_names(
    names: &OtherNames,
) -> Result<Vec<holdfast_keys::x509::GeneralName>, String> {
    let mut found = Vec::new();
    for (oid, values) in names {
        let oid = Oid::parse(oid).map_err(|error| error.to_string())?;
        for value in values {
            found.push(holdfast_keys::x509::GeneralName::Other(oid.clone(), value.clone()));
        }
    }
    Ok(found)
}
