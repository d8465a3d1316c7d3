//! From when to when a certificate is valid.

use std::time::Duration;

use holdfast_logical::{Error, Fields, MountInfo};
use holdfast_types::{Timestamp, format_go_duration, rfc3339};

use super::issuer::LeafNotAfter;
use super::role::Role;
use super::store::Signer;

/// Where nothing else is said, certificates are valid from a little before they are made, for
/// clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(30);

/// With this certificates say that they have no end. It is past the last timestamp there is, which
/// stands for it.
const NO_END: &str = "9999-12-31T23:59:59Z";

/// Seconds since 1970, as clients see them.
pub(super) fn unix_seconds(time: Timestamp) -> i64 {
    if time == Timestamp::MAX { 253_402_300_799 } else { time.as_second() }
}

/// Reads a time of RFC 3339.
///
/// # Errors
/// What Go says of it.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    const LAYOUT: [(&str, usize); 12] = [
        ("2006", 4),
        ("-", 0),
        ("01", 2),
        ("-", 0),
        ("02", 2),
        ("T", 0),
        ("15", 2),
        (":", 0),
        ("04", 2),
        (":", 0),
        ("05", 2),
        ("Z07:00", 0),
    ];
    if text == NO_END {
        return Ok(Timestamp::MAX);
    }
    if let Ok(time) = text.parse::<Timestamp>()
        && text.contains('T')
    {
        return Ok(time);
    }
    let mut rest = text;
    for (element, digits) in LAYOUT {
        let after = match digits {
            0 if element == "Z07:00" => None,
            0 => rest.strip_prefix(element),
            _ => {
                let is_number = rest.len() >= digits
                    && rest.as_bytes()[..digits].iter().all(u8::is_ascii_digit);
                is_number.then(|| &rest[digits..])
            }
        };
        let Some(after) = after else {
            return Err(format!(
                "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {rest:?} as \
                 {element:?}"
            ));
        };
        rest = after;
    }
    Err(format!("parsing time {text:?}: out of range"))
}

/// When the certificate begins to be valid.
///
/// # Errors
/// What the client reads.
pub(super) fn not_before(
    role: &Role,
    fields: Fields<'_>,
    now: Timestamp,
) -> Result<Timestamp, Error> {
    let mut wanted = role.not_before.clone();
    if wanted.is_empty()
        && let Some(given) = fields.string("not_before")?
    {
        let bound = role.not_before_bound.as_str();
        match bound {
            "permit" => wanted = given,
            "duration" => {
                let time = parse_time(&given).map_err(Error::invalid)?;
                if time < now - role.not_before_duration {
                    return Err(Error::invalid(format!(
                        "not_before_bound is set to {bound}. Cannot satisfy request as it would \
                         result in notBefore of {} that is older than the allowed \
                         not_before_duration of {}",
                        rfc3339(time),
                        format_go_duration(role.not_before_duration)
                    )));
                }
                return Ok(time);
            }
            "forbid" => {
                return Err(Error::invalid(format!(
                    "not_before_bound is set to {bound}. not_before cannot be provided."
                )));
            }
            _ => {}
        }
    }
    if !wanted.is_empty() {
        return parse_time(&wanted).map_err(Error::invalid);
    }
    Ok(now - if role.not_before_duration.is_zero() { BACKDATED } else { role.not_before_duration })
}

/// When the certificate ends to be valid, and what there is to say about it.
///
/// # Errors
/// What the client reads.
pub(super) fn not_after(
    role: &Role,
    fields: Fields<'_>,
    mount: &MountInfo,
    signer: Option<&Signer>,
    now: Timestamp,
) -> Result<(Timestamp, Vec<String>), Error> {
    let mut warnings = Vec::new();
    let bound = role.not_after_bound.as_str();
    let latest = match bound {
        "" | "permit" | "forbid" | "ttl-limited" => None,
        time => Some(parse_time(time).map_err(Error::invalid)?),
    };
    let mut wanted = role.not_after.clone();
    if wanted.is_empty()
        && let Some(given) = fields.string("not_after")?
    {
        if bound == "forbid" {
            return Err(Error::invalid(format!(
                "not_after_bound is set to {bound}. not_after cannot be provided."
            )));
        }
        parse_time(&given).map_err(Error::invalid)?;
        wanted = given;
    }
    let asked = fields.duration("ttl")?.map(|ttl| Duration::from_secs(ttl.as_secs()));
    let asked = asked.filter(|ttl| !ttl.is_zero());
    if asked.is_some() && !wanted.is_empty() {
        return Err(Error::invalid(
            "Either ttl or not_after should be provided. Both should not be provided in the same \
             request.",
        ));
    }
    let set = |duration: Duration| (!duration.is_zero()).then_some(duration);
    let max_ttl = set(role.max_ttl).unwrap_or(mount.max_ttl);
    let mut ttl = asked.or(set(role.ttl)).unwrap_or(mount.default_ttl);
    if ttl > max_ttl {
        warnings.push(format!(
            "TTL {:?} is longer than permitted maxTTL {:?}, so maxTTL is being used",
            format_go_duration(ttl),
            format_go_duration(max_ttl)
        ));
        ttl = max_ttl;
    }
    let by_ttl = now.checked_add(ttl).unwrap_or(Timestamp::MAX);
    let mut not_after = by_ttl;
    if !wanted.is_empty() {
        not_after = parse_time(&wanted).map_err(Error::invalid)?;
        if bound == "ttl-limited" && role.not_after.is_empty() && not_after > by_ttl {
            return Err(Error::invalid(format!(
                "not_after_bound is set to {bound}. Cannot satisfy request as that would result in \
                 notAfter of {} that is beyond the TTL of {}",
                rfc3339(not_after),
                format_go_duration(ttl)
            )));
        }
    }
    if let Some(signer) = signer {
        not_after = within_issuer(not_after, signer, now)?;
    }
    if let Some(latest) = latest.filter(|latest| not_after > *latest) {
        return Err(Error::invalid(format!(
            "not_after_bound is set to {bound}. Cannot statisfy request as that would result in \
             notAfter of {} that is beyond the maximum timestamp of {}",
            rfc3339(not_after),
            rfc3339(latest)
        )));
    }
    Ok((not_after, warnings))
}

/// What the issuer makes of a certificate that would outlive it.
fn within_issuer(
    not_after: Timestamp,
    signer: &Signer,
    now: Timestamp,
) -> Result<Timestamp, Error> {
    let issuer_ends = signer.issuer.certificate.not_after;
    if not_after <= issuer_ends {
        return Ok(not_after);
    }
    match signer.issuer.entry.leaf_not_after {
        LeafNotAfter::Permit => Ok(not_after),
        LeafNotAfter::Truncate if not_after >= now => Ok(issuer_ends),
        LeafNotAfter::Truncate => Err(Error::invalid(format!(
            "cannot satisfy request, as NotAfter date {} is in the past",
            rfc3339(not_after)
        ))),
        LeafNotAfter::Err => Err(Error::invalid(format!(
            "cannot satisfy request, as TTL would result in notAfter of {} that is beyond the \
             expiration of the CA certificate at {}",
            rfc3339(not_after),
            rfc3339(issuer_ends)
        ))),
    }
}
