//! `-k8sPsatClusters`: the Kubernetes clusters whose nodes may join.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use holdfast_client::kubernetes::POD_FILES;
use holdfast_spiffe::server::ClusterSettings;
use serde::Deserialize;

use super::server::read as read_file;

/// The file as an operator wrote it. Keys that SPIRE has, too, have its names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// By their names, which agents give.
    clusters: BTreeMap<String, Cluster>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cluster {
    /// Whose agents may join, as `namespace:name`.
    service_account_allow_list: BTreeSet<String>,
    /// Whom tokens must be for. Default: `["spire-server"]`.
    audience: Option<Vec<String>>,
    /// Default: none.
    #[serde(default)]
    allowed_node_label_keys: BTreeSet<String>,
    /// Default: none.
    #[serde(default)]
    allowed_pod_label_keys: BTreeSet<String>,
    /// Default: the cluster that the server runs in.
    api_url: Option<String>,
    /// Default: what the pod has.
    ca_file: Option<PathBuf>,
    /// Default: what the pod has.
    token_file: Option<PathBuf>,
}

/// Reads the file.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<ClusterSettings>> {
    let bytes = read_file(path, "the clusters")?;
    let text = std::str::from_utf8(&bytes).context("it is not text")?;
    parse(text, own_api().as_deref()).with_context(|| path.display().to_string())
}

fn parse(text: &str, own_api: Option<&str>) -> anyhow::Result<Vec<ClusterSettings>> {
    let File { clusters } = toml::from_str(text)?;
    ensure!(!clusters.is_empty(), "there is no cluster in it");
    let clusters = clusters.into_iter().map(|(name, cluster)| {
        // Another cluster's files with this pod's token would show that one this token.
        let elsewhere = || {
            format!("cluster {name:?}: api_url, ca_file and token_file are given together, or none of them")
        };
        let (url, ca_file, token_file) = match (cluster.api_url, cluster.ca_file, cluster.token_file)
        {
            (Some(url), Some(ca_file), Some(token_file)) => (url, ca_file, token_file),
            (None, None, None) => {
                let own = Path::new(POD_FILES);
                let url = own_api.with_context(|| {
                    format!("cluster {name:?}: the server runs in none: give api_url, ca_file and token_file")
                })?;
                (url.to_owned(), own.join("ca.crt"), own.join("token"))
            }
            _ => anyhow::bail!(elsewhere()),
        };
        Ok(ClusterSettings {
            url,
            ca_file,
            token_file,
            service_accounts: cluster.service_account_allow_list,
            audiences: cluster.audience.unwrap_or_else(|| vec!["spire-server".to_owned()]),
            node_label_keys: cluster.allowed_node_label_keys,
            pod_label_keys: cluster.allowed_pod_label_keys,
            name,
        })
    });
    clusters.collect()
}

/// The API as the kubelet tells every container of it.
///
/// Source: Kubernetes' documentation, "Accessing the Kubernetes API from a Pod".
fn own_api() -> Option<String> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT").ok()?;
    match host.contains(':') {
        true => Some(format!("https://[{host}]:{port}")),
        false => Some(format!("https://{host}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_that_of_the_pod_or_wholly_another() {
        let text = "[clusters.a]\nservice_account_allow_list = [\"spire:spire-agent\"]\n";
        let own = "https://10.0.0.1:443";
        let read = parse(text, Some(own)).unwrap();
        assert_eq!((read[0].name.as_str(), read[0].url.as_str()), ("a", own));
        assert_eq!(read[0].token_file, Path::new(POD_FILES).join("token"));
        assert_eq!(read[0].audiences, ["spire-server"]);
        let whole = "api_url = \"https://b\"\nca_file = \"ca\"\ntoken_file = \"t\"\n";
        let read = parse(&format!("{text}{whole}"), None).unwrap();
        assert_eq!((read[0].url.as_str(), &*read[0].token_file), ("https://b", Path::new("t")));
        for (more, own, told) in [
            ("", None, "the server runs in none"),
            ("api_url = \"https://b\"", Some(own), "are given together"),
            ("frob = 1", Some(own), "unknown field `frob`"),
        ] {
            let error = parse(&format!("{text}{more}"), own).unwrap_err();
            assert!(format!("{error:#}").contains(told), "{error:#}");
        }
        assert!(parse("[clusters]", Some(own)).is_err());
    }
}
