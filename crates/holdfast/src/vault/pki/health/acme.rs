//! Checks of certificates by ACME.

use holdfast_client::vault::{Method, Trust, VaultClient, VaultConfig};
use serde_json::Value;

use super::check::Findings;
use super::finding::{Finding, Status};
use super::issuers;
use super::mount::{Found, Mount, is_set};

pub(super) const CONFIG: &str = "config/acme";
const CLUSTER: &str = "config/cluster";

/// Whether ACME is on, or why that cannot be told.
pub(super) async fn is_enabled(mount: &Mount<'_>) -> Result<Result<bool, Finding>, String> {
    Ok(match mount.read(&mount.under(CONFIG)).await? {
        Found::Data(data) => Ok(is_set(&data, "enabled")),
        Found::Nothing => Ok(false),
        Found::Unknown(why) => Err(why),
    })
}

/// Whether intermediates of the mount can be asked for certificates by ACME.
pub(super) async fn issuance(mount: &Mount<'_>) -> Findings {
    let finding = |status, path: &str, message: &str| {
        Ok(vec![Finding::new(status, &mount.endpoint(path), message)])
    };
    match is_enabled(mount).await? {
        Ok(true) => {}
        Err(why) => return Ok(vec![why]),
        Ok(false) => {
            return match issuers::count(mount).await? {
                (0, _) => finding(Status::NotApplicable, CONFIG, "There are no issuers."),
                (all, roots) if all == roots => {
                    finding(Status::NotApplicable, CONFIG, "Roots need no ACME.")
                }
                _ => finding(
                    Status::Informational,
                    CONFIG,
                    "By ACME clients would renew their certificates themselves.",
                ),
            };
        }
    }
    let cluster = match mount.read(&mount.under(CLUSTER)).await? {
        Found::Data(data) => data,
        Found::Nothing => return finding(Status::Warning, CLUSTER, "ACME needs path here."),
        Found::Unknown(why) => return Ok(vec![why]),
    };
    let path = cluster.get("path").and_then(Value::as_str).unwrap_or_default();
    match reach(path).await {
        Ok(()) => finding(Status::Ok, CLUSTER, "ACME is on, and its directory answers."),
        Err(why) => {
            finding(Status::Warning, CLUSTER, &format!("ACME is on and does not work: {why}."))
        }
    }
}

/// Asks for the directory as an ACME client would; whom it reaches it is not to find out.
async fn reach(path: &str) -> Result<(), String> {
    let (server, mount) = split(path)?;
    let address = server.parse().map_err(|error| format!("path is {path:?}: {error}"))?;
    let config = VaultConfig { trust: Trust::Anyone, max_retries: 0, ..VaultConfig::new(address) };
    let client = VaultClient::new(&config).map_err(|error| error.to_string())?;
    let directory = format!("{mount}/acme/directory");
    let answer = client.request(Method::GET, &directory, None, &[]).await;
    let directory = answer
        .and_then(holdfast_client::vault::Response::success)
        .and_then(|answer| answer.json())
        .map_err(|error| format!("{path}/acme/directory: {error}"))?;
    match directory.get("newAccount").is_some_and(Value::is_string) {
        true => Ok(()),
        false => Err(format!("{path}/acme/directory is no ACME directory")),
    }
}

/// `https://vault.example:8200/v1/pki` as server and mount.
fn split(path: &str) -> Result<(&str, &str), String> {
    if !path.starts_with("https://") {
        return Err(format!("path is {path:?}, which does not begin with https://"));
    }
    let parts = path.split_once("/v1/").map(|(server, mount)| (server, mount.trim_matches('/')));
    let parts = parts.filter(|(_, mount)| !mount.is_empty());
    parts.ok_or_else(|| format!("path is {path:?}, which names no mount below /v1/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_server_and_mount() {
        for (path, want) in [
            ("https://a:8200/v1/pki", Some(("https://a:8200", "pki"))),
            ("https://a/v1/team/pki/", Some(("https://a", "team/pki"))),
            ("http://a:8200/v1/pki", None),
            ("https://a:8200/v1/", None),
            ("https://a:8200", None),
            ("", None),
        ] {
            assert_eq!(split(path).ok(), want, "{path}");
        }
    }
}
