//! Checks of the roles.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::check::Findings;
use super::finding::{Finding, Status};
use super::mount::{Found, Mount, is_set, texts};
use super::settings::Settings;

type Role = Rc<Map<String, Value>>;

/// Roles for hosts of some domains that allow `localhost` as well.
pub(super) async fn localhost(mount: &Mount<'_>) -> Findings {
    judge(mount, Vec::new(), "No role allows localhost beside other hosts.", |_, role| {
        let domains = texts(role.get("allowed_domains"));
        (is_set(role, "allow_localhost") && !domains.is_empty()).then(|| {
            let message = format!(
                "This role is for {}, and allows localhost as well: set allow_localhost=false, and \
                 name localhost among the domains where it is wanted.",
                domains.join(", ")
            );
            (Status::Warning, message)
        })
    })
    .await
}

/// Roles that allow wildcards in certificates, and match domains by `*`.
pub(super) async fn wildcards(mount: &Mount<'_>) -> Findings {
    judge(mount, Vec::new(), "No role allows wildcards for domains with a *.", |_, role| {
        let domains = texts(role.get("allowed_domains"));
        let allowed = is_set(role, "allow_wildcard_certificates")
            && is_set(role, "allow_glob_domains")
            && domains.iter().any(|domain| domain.contains('*'));
        allowed.then(|| {
            let message = format!(
                "This role allows wildcard certificates for {}, where * also matches a wildcard: \
                 split it, or set allow_wildcard_certificates=false.",
                domains.join(", ")
            );
            (Status::Warning, message)
        })
    })
    .await
}

/// Roles whose every certificate is stored.
pub(super) async fn stored(mount: &Mount<'_>, settings: &Settings) -> Findings {
    let (mut findings, mut rebuilds) = (Vec::new(), false);
    match mount.read(&mount.under("config/crl")).await? {
        Found::Data(data) => rebuilds = is_set(&data, "auto_rebuild"),
        Found::Nothing => {}
        Found::Unknown(why) => findings.push(why),
    }
    let fine = "The roles store no certificates that they need not store.";
    let (status, message) = match rebuilds {
        true => (
            Status::Informational,
            "Every certificate of this role is stored: with many of them requests slow down.",
        ),
        false => (
            Status::Warning,
            "Every certificate of this role is stored, and every revocation writes the whole list \
             anew: set auto_rebuild=true at config/crl, or no_store=true for short lives.",
        ),
    };
    judge(mount, findings, fine, |name, role| {
        let stores = !is_set(role, "no_store") && !settings.has(name, "allowed_roles");
        stores.then(|| (status, message.to_owned()))
    })
    .await
}

/// Asks `verdict` about each role; `fine` is said where nothing was found.
async fn judge(
    mount: &Mount<'_>,
    mut findings: Vec<Finding>,
    fine: &str,
    verdict: impl Fn(&str, &Role) -> Option<(Status, String)>,
) -> Findings {
    let names = match mount.list(&mount.under("roles")).await? {
        Ok(names) => names,
        // The rest tells nothing without them.
        Err(why) => return Ok(vec![why]),
    };
    let mut seen = false;
    for name in names {
        let path = format!("roles/{name}");
        let role = match mount.read(&mount.under(&path)).await? {
            Found::Data(role) => role,
            Found::Nothing => continue,
            Found::Unknown(why) => {
                findings.push(why);
                continue;
            }
        };
        seen = true;
        if let Some((status, message)) = verdict(&name, &role) {
            findings.push(Finding::new(status, &mount.endpoint(&path), message));
        }
    }
    if findings.is_empty() && seen {
        findings.push(Finding::new(Status::Ok, &mount.endpoint("roles"), fine));
    }
    Ok(findings)
}
