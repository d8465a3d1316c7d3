//! Checks of the mount's own settings.

use super::acme;
use super::check::Findings;
use super::finding::{Finding, Status};
use super::mount::{Found, Mount, texts};
use super::settings::Settings;

/// Fields of requests that auditors want to read.
const OPEN_REQUEST: &[&str] = &[
    "csr",
    "certificate",
    "issuer_ref",
    "common_name",
    "alt_names",
    "other_sans",
    "ip_sans",
    "uri_sans",
    "ttl",
    "not_after",
    "serial_number",
    "key_type",
    "private_key_format",
    "managed_key_name",
    "managed_key_id",
    "ou",
    "organization",
    "country",
    "locality",
    "province",
    "street_address",
    "postal_code",
    "permitted_dns_domains",
    "policy_identifiers",
    "ext_key_usage_oids",
];
/// The same of answers.
const OPEN_RESPONSE: &[&str] = &["certificate", "issuing_ca", "serial_number", "error", "ca_chain"];
/// Fields that nobody is to read.
const HIDDEN: &[&str] = &["private_key", "pem_bundle"];

/// Fields that the audit log hashes without need, or shows though they are secret.
pub(super) async fn audit(mount: &Mount<'_>, settings: &Settings) -> Findings {
    let data = match mount.read(&mount.tune()).await? {
        Found::Data(data) => data,
        Found::Nothing => return Ok(Vec::new()),
        Found::Unknown(why) => return Ok(vec![why]),
    };
    let endpoint = format!("/{}", mount.tune());
    let (mut hashed, mut shown) = (Vec::new(), Vec::new());
    for (list, open) in [
        ("audit_non_hmac_request_keys", OPEN_REQUEST),
        ("audit_non_hmac_response_keys", OPEN_RESPONSE),
    ] {
        let listed = texts(data.get(list));
        let is_listed = |field: &str| listed.iter().any(|listed| listed == field);
        let of_interest = |field: &&&str| !settings.has(field, "ignored_parameters");
        for field in open.iter().filter(of_interest).filter(|field| !is_listed(field)) {
            let message = format!("Audit hashes {field}, which is no secret: name it in {list}.");
            hashed.push(Finding::new(Status::Informational, &endpoint, message));
        }
        for field in HIDDEN.iter().filter(of_interest).filter(|field| is_listed(field)) {
            let message = format!("Audit shows {field}, which is secret: take it out of {list}.");
            shown.push(Finding::new(Status::Warning, &endpoint, message));
        }
    }
    hashed.extend(shown);
    if hashed.is_empty() {
        let message = "Audit hashes what is secret, and shows the rest.";
        hashed.push(Finding::new(Status::Ok, &endpoint, message));
    }
    Ok(hashed)
}

/// Whether clients may ask for what has changed only.
pub(super) async fn if_modified_since(mount: &Mount<'_>) -> Findings {
    let data = match mount.read(&mount.tune()).await? {
        Found::Data(data) => data,
        Found::Nothing => return Ok(Vec::new()),
        Found::Unknown(why) => return Ok(vec![why]),
    };
    let names = |list: &str, name: &str| {
        texts(data.get(list)).iter().any(|listed| listed.eq_ignore_ascii_case(name))
    };
    let allowed = names("passthrough_request_headers", "If-Modified-Since")
        && names("allowed_response_headers", "Last-Modified");
    let (status, message) = match allowed {
        true => (Status::Ok, "Clients can ask for certificates and lists that have changed only."),
        false => (
            Status::Informational,
            "Pass If-Modified-Since on and allow Last-Modified, so that clients fetch certificates \
             and lists only when they have changed.",
        ),
    };
    Ok(vec![Finding::new(status, &format!("/{}", mount.tune()), message)])
}

/// Whether the answers' header fields that ACME needs come through.
pub(super) async fn acme_headers(mount: &Mount<'_>) -> Findings {
    match acme::is_enabled(mount).await? {
        Ok(true) => {}
        Ok(false) => {
            let endpoint = mount.endpoint(acme::CONFIG);
            let message = "ACME is off, so its header fields are not needed.";
            return Ok(vec![Finding::new(Status::NotApplicable, &endpoint, message)]);
        }
        Err(why) => return Ok(vec![why]),
    }
    let data = match mount.read(&mount.tune()).await? {
        Found::Data(data) => data,
        Found::Nothing => return Ok(Vec::new()),
        Found::Unknown(why) => return Ok(vec![why]),
    };
    let allowed = texts(data.get("allowed_response_headers"));
    let all = ["Replay-Nonce", "Link", "Location"]
        .iter()
        .all(|name| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)));
    let (status, message) = match all {
        true => (Status::Ok, "The answers' header fields that ACME needs come through."),
        false => (
            Status::Warning,
            "ACME needs Replay-Nonce, Link and Location among allowed_response_headers.",
        ),
    };
    Ok(vec![Finding::new(status, &format!("/{}", mount.tune()), message)])
}
