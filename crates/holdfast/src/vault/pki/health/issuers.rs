//! Checks of the authorities, and of the lists of what they took back.

use std::time::Duration;

use holdfast_types::Timestamp;
use serde_json::Value;
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;

use super::check::Findings;
use super::finding::{Finding, Status};
use super::mount::{Found, Mount, is_set};
use super::settings::Settings;
use crate::vault::pki::certificate::{has_signed, pem};

/// From the worst on.
const LEVELS: [Status; 3] = [Status::Critical, Status::Warning, Status::Informational];

/// Authorities that end soon.
pub(super) async fn validity(mount: &Mount<'_>, settings: &Settings) -> Findings {
    let mut findings = Vec::new();
    for name in names(mount, &mut findings).await? {
        let Some(issuer) = issuer(mount, &name, &mut findings).await? else { continue };
        let issuer = parse(&issuer, &name)?;
        let kind = if is_root(&issuer) { "root" } else { "intermediate" };
        let end = issuer.validity().not_after.timestamp();
        let is_within = |status: &Status| {
            let window = settings.duration(&format!("{kind}_expiry_{}", status.name()));
            end < mount.now.as_second().saturating_add_unsigned(window.as_secs())
        };
        let endpoint = mount.endpoint(&format!("issuer/{name}"));
        let end = day(end);
        findings.push(match LEVELS.into_iter().find(is_within) {
            None => Finding::new(Status::Ok, &endpoint, format!("It is valid until {end}.")),
            Some(status) => Finding::new(
                status,
                &endpoint,
                format!("It is valid until {end} only: time to bring its successor into use."),
            ),
        });
    }
    Ok(findings)
}

/// Lists of revocations that are about to be out of date.
pub(super) async fn crls(mount: &Mount<'_>, settings: &Settings) -> Findings {
    let mut findings = Vec::new();
    let names = names(mount, &mut findings).await?;
    let disabled = match mount.read(&mount.under("config/crl")).await? {
        Found::Data(data) => is_set(&data, "disabled"),
        Found::Nothing => false,
        Found::Unknown(why) => {
            findings.push(why);
            false
        }
    };
    for (list, limit) in
        [("crl", "crl_expiry_pct_critical"), ("crl/delta", "delta_crl_expiry_pct_critical")]
    {
        let limit = settings.number(limit);
        for name in &names {
            let path = format!("issuer/{name}/{list}");
            let data = match mount.read(&mount.under(&path)).await? {
                Found::Data(data) => data,
                Found::Nothing => continue,
                Found::Unknown(why) => {
                    findings.push(why);
                    continue;
                }
            };
            let Some(text) = data.get("crl").and_then(pem) else { continue };
            let (_, crl) = CertificateRevocationList::from_der(&text.contents)
                .map_err(|_| format!("{path} holds no revocation list"))?;
            let Some(next) = crl.next_update() else { continue };
            let (began, ends) = (crl.last_update().timestamp(), next.timestamp());
            let is_old = is_used_up(began, ends, limit, mount.now);
            let (until, endpoint) = (day(ends), mount.endpoint(&path));
            findings.push(match (is_old, disabled) {
                (false, _) => Finding::new(
                    Status::Ok,
                    &endpoint,
                    format!("It holds from {} to {until}.", day(began)),
                ),
                (true, disabled) => Finding::new(
                    if disabled { Status::Informational } else { Status::Critical },
                    &endpoint,
                    format!("{limit} % of its time are over: rotate it before it ends on {until}."),
                ),
            });
        }
    }
    Ok(findings)
}

/// Roots whose key is not kept by hardware.
pub(super) async fn hardware(mount: &Mount<'_>) -> Findings {
    let mut findings = Vec::new();
    for name in names(mount, &mut findings).await? {
        let path = format!("issuer/{name}");
        let entry = match mount.read(&mount.under(&path)).await? {
            Found::Data(entry) => entry,
            Found::Nothing => continue,
            Found::Unknown(why) => {
                findings.push(why);
                continue;
            }
        };
        let Some(certificate) = entry.get("certificate").and_then(pem) else { continue };
        let key = entry.get("key_id").and_then(Value::as_str).filter(|key| !key.is_empty());
        let Some(key) = key.filter(|_| parse(&certificate, &name).is_ok_and(|it| is_root(&it)))
        else {
            continue;
        };
        let managed = match mount.read(&mount.under(&format!("key/{key}"))).await? {
            Found::Data(key) => key.get("managed_key_id").is_some_and(Value::is_string),
            Found::Nothing => false,
            Found::Unknown(why) => {
                findings.push(why);
                continue;
            }
        };
        let endpoint = mount.endpoint(&path);
        findings.push(match managed {
            true => Finding::new(Status::Ok, &endpoint, "Its key is kept outside of the server."),
            false => Finding::new(
                Status::Informational,
                &endpoint,
                "The server keeps the key of this root itself; hardware would guard it better.",
            ),
        });
    }
    Ok(findings)
}

/// Roots that signed more than authorities.
pub(super) async fn leaves(mount: &Mount<'_>, settings: &Settings) -> Findings {
    let mut findings = Vec::new();
    let mut roots = Vec::new();
    for name in names(mount, &mut findings).await? {
        let Some(issuer) = issuer(mount, &name, &mut findings).await? else { continue };
        if is_root(&parse(&issuer, &name)?) {
            roots.push((name, issuer));
        }
    }
    let has_roots = !roots.is_empty();
    let serials = match mount.list(&mount.under("certs")).await? {
        Ok(serials) => serials,
        Err(why) => return Ok(vec![why]),
    };
    let mut left = settings.number("certs_to_fetch");
    for serial in serials {
        if left == 0 || roots.is_empty() {
            break;
        }
        let found = mount.read(&mount.under(&format!("cert/{serial}"))).await?;
        let Found::Data(data) = found else { continue };
        let Some(certificate) = data.get("certificate").and_then(pem) else { continue };
        let leaf = parse(&certificate, &serial)?;
        if leaf.is_ca() {
            continue;
        }
        left -= 1;
        let signer = roots.iter().position(|(_, root)| {
            root.parse_x509().is_ok_and(|root| {
                root.subject().as_raw() == leaf.issuer().as_raw() && has_signed(&root, &leaf)
            })
        });
        if let Some(signer) = signer {
            let (name, _) = roots.swap_remove(signer);
            findings.push(Finding::new(
                Status::Warning,
                &mount.endpoint(&format!("issuer/{name}")),
                format!(
                    "This root signed {serial}, which is no authority: let an intermediate sign \
                     such certificates, so that it can be replaced without the root."
                ),
            ));
        }
    }
    if findings.is_empty() && has_roots {
        let message = "The roots signed nothing but authorities.";
        findings.push(Finding::new(Status::Ok, &mount.endpoint("certs"), message));
    }
    Ok(findings)
}

/// How many issuers there are that can be read, and how many of them are roots.
pub(super) async fn count(mount: &Mount<'_>) -> Result<(usize, usize), String> {
    let (mut all, mut roots) = (0, 0);
    let Ok(names) = mount.list(&mount.under("issuers")).await? else { return Ok((0, 0)) };
    for name in names {
        if let Some(issuer) = issuer(mount, &name, &mut Vec::new()).await? {
            all += 1;
            roots += usize::from(is_root(&parse(&issuer, &name)?));
        }
    }
    Ok((all, roots))
}

/// The issuers' ids. Without any there is nothing to check, which is told as a failure.
async fn names(mount: &Mount<'_>, findings: &mut Vec<Finding>) -> Result<Vec<String>, String> {
    match mount.list(&mount.under("issuers")).await? {
        Ok(names) if names.is_empty() => Err("the mount has no issuers".to_owned()),
        Ok(names) => Ok(names),
        Err(why) => {
            findings.push(why);
            Ok(Vec::new())
        }
    }
}

async fn issuer(
    mount: &Mount<'_>,
    name: &str,
    findings: &mut Vec<Finding>,
) -> Result<Option<Pem>, String> {
    match mount.read(&mount.under(&format!("issuer/{name}/json"))).await? {
        Found::Data(data) => Ok(data.get("certificate").and_then(pem)),
        Found::Nothing => Ok(None),
        Found::Unknown(why) => {
            findings.push(why);
            Ok(None)
        }
    }
}

fn parse<'a>(pem: &'a Pem, name: &str) -> Result<X509Certificate<'a>, String> {
    pem.parse_x509().map_err(|_| format!("the certificate {name} cannot be read"))
}

fn is_root(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
        && has_signed(certificate, certificate)
}

/// Whether `percent` of the time from `began` to `ends`, both in seconds, are over.
fn is_used_up(began: i64, ends: i64, percent: u64, now: Timestamp) -> bool {
    let total = Duration::from_secs(u64::try_from(ends.saturating_sub(began)).unwrap_or_default());
    let used = now.as_second().saturating_sub(began);
    u64::try_from(used).is_ok_and(|used| used * 100 >= total.as_secs().saturating_mul(percent))
}

/// Seconds since 1970 as `2026-11-22`.
fn day(seconds: i64) -> String {
    match ASN1Time::from_timestamp(seconds) {
        Ok(time) => time.to_datetime().date().to_string(),
        Err(_) => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_old_when_its_share_of_time_is_over() {
        for (now, want) in [(100, false), (194, false), (195, true), (500, true), (0, false)] {
            let now = Timestamp::from_second(now).unwrap();
            assert_eq!(is_used_up(100, 200, 95, now), want, "{now}");
        }
        assert_eq!(day(1_795_305_600), "2026-11-22");
    }
}
