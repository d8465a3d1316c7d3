//! Where certificates say that issuers, lists and OCSP are found.

use holdfast_logical::{Error, Fields, Reply, Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Engine;
use super::error::fault;

/// `config/urls`, and an issuer's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Urls {
    pub(super) issuing_certificates: Vec<String>,
    pub(super) crl_distribution_points: Vec<String>,
    pub(super) delta_crl_distribution_points: Vec<String>,
    pub(super) ocsp_servers: Vec<String>,
    /// Whether they name `{{issuer_id}}`, `{{cluster_path}}` or `{{cluster_aia_path}}`.
    pub(super) enable_templating: bool,
}

/// `config/cluster`: where this mount is reached.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Cluster {
    pub(super) path: String,
    pub(super) aia_path: String,
}

impl Urls {
    /// The lists with the names of their fields.
    pub(super) fn lists_mut(&mut self) -> [(&'static str, &mut Vec<String>); 4] {
        [
            ("issuing_certificates", &mut self.issuing_certificates),
            ("crl_distribution_points", &mut self.crl_distribution_points),
            ("delta_crl_distribution_points", &mut self.delta_crl_distribution_points),
            ("ocsp_servers", &mut self.ocsp_servers),
        ]
    }

    /// Takes over the lists that are given.
    pub(super) fn update(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        for (name, list) in self.lists_mut() {
            if let Some(given) = fields.strings(name)? {
                *list = given;
            }
        }
        Ok(())
    }

    /// Whether a certificate would say nothing. Delta lists alone are nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.issuing_certificates.is_empty()
            && self.crl_distribution_points.is_empty()
            && self.ocsp_servers.is_empty()
    }

    /// Checks that all are URLs, unless they are templates.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        if self.enable_templating {
            return Ok(());
        }
        for (name, list) in self.lists_mut() {
            if let Some(bad) = list.iter().find(|url| !is_plain_url(url)) {
                return Err(Error::invalid(format!(
                    "invalid URL found in Authority Information Access (AIA) parameter {name}: \
                     {bad}"
                )));
            }
        }
        Ok(())
    }

    /// The URLs as a certificate of this issuer has them.
    ///
    /// # Errors
    /// A template needs what is not set, or does not become a URL.
    pub(super) fn resolve(&self, cluster: &Cluster, issuer: &str) -> Result<Self, String> {
        if self.is_empty() {
            return Ok(Self::default());
        }
        let mut resolved = self.clone();
        if !self.enable_templating {
            return Ok(resolved);
        }
        for (name, list) in resolved.lists_mut() {
            for url in list {
                for (place, value, lack) in [
                    (
                        "{{cluster_path}}",
                        cluster.path.as_str(),
                        "local cluster address information (path)",
                    ),
                    (
                        "{{cluster_aia_path}}",
                        &cluster.aia_path,
                        "local cluster address information (aia_path)",
                    ),
                    ("{{issuer_id}}", issuer, "an issuer_id for this operation"),
                ] {
                    if url.contains(place) && value.is_empty() {
                        return Err(format!("unable to template AIA URLs as we lack {lack}"));
                    }
                    *url = url.replace(place, value);
                }
                if !is_plain_url(url) {
                    return Err(format!("error validating templated {name}; invalid URI: {url}"));
                }
            }
        }
        Ok(resolved)
    }

    fn response(&self) -> Response {
        Response::data(json!(self))
    }
}

/// Whether it is a URL with a host: `scheme://host...`.
fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let mut letters = scheme.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !host.is_empty()
        && !host.contains(' ')
        && !text.contains(|letter: char| letter.is_ascii_control())
}

/// A URL in which nothing is left to be filled in.
fn is_plain_url(text: &str) -> bool {
    let places = ["{{issuer_id}}", "{{cluster_path}}", "{{cluster_aia_path}}"];
    is_url(text) && !places.iter().any(|place| text.contains(place))
}

impl Engine {
    pub(super) async fn urls(&self) -> Result<Urls, Error> {
        Ok(self.context.storage.get_json("config/urls").await?.unwrap_or_default())
    }

    pub(super) async fn cluster(&self) -> Result<Cluster, Error> {
        Ok(self.context.storage.get_json("config/cluster").await?.unwrap_or_default())
    }

    /// The URLs in certificates that this issuer signs: its own, or the mount's.
    pub(super) async fn urls_of(&self, own: Option<&Urls>, issuer: &str) -> Result<Urls, Error> {
        let urls = match own.filter(|urls| !urls.is_empty()) {
            Some(urls) => urls.clone(),
            None => self.urls().await?,
        };
        let cluster = self.cluster().await?;
        urls.resolve(&cluster, issuer).map_err(|problem| {
            fault(format!(
                "error fetching CA certificate: unable to fetch AIA URL information: {problem}"
            ))
        })
    }

    pub(super) async fn read_urls(&self) -> Reply {
        Ok(Some(self.urls().await?.response()))
    }

    pub(super) async fn write_urls(&self, request: &Request) -> Reply {
        let fields = request.fields();
        let mut urls = self.urls().await?;
        if let Some(flag) = fields.bool("enable_templating")? {
            urls.enable_templating = flag;
        }
        urls.update(fields)?;
        urls.check()?;
        self.context.storage.put_json("config/urls", &urls).await?;
        let mut response = urls.response();
        let authorities = self.store.authorities().await?;
        if let Some(id) = authorities.issuers.keys().next().filter(|_| urls.enable_templating)
            && let Err(problem) = urls.resolve(&self.cluster().await?, id)
        {
            response = response.warn(may_fail(&problem));
        }
        Ok(Some(response))
    }

    pub(super) async fn read_cluster(&self) -> Reply {
        Ok(Some(Response::data(json!(self.cluster().await?))))
    }

    pub(super) async fn write_cluster(&self, request: &Request) -> Reply {
        let fields = request.fields();
        let mut cluster = self.cluster().await?;
        for (name, value) in [("path", &mut cluster.path), ("aia_path", &mut cluster.aia_path)] {
            let Some(given) = fields.string(name)? else { continue };
            if !is_url(&given) {
                return Err(fault(format!("invalid, non-URL {name} given to cluster: {given}")));
            }
            *value = given;
        }
        self.context.storage.put_json("config/cluster", &cluster).await?;
        Ok(Some(Response::data(json!(cluster))))
    }
}

/// The warning where templates cannot be filled in now.
pub(super) fn may_fail(problem: &str) -> String {
    format!(
        "issuance may fail: {problem}\n\nConsider setting the cluster-local address if it is not \
         already set."
    )
}
