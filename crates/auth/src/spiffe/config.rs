//! `config`: the trust domain, and where its bundle comes from.

use holdfast_client::fetch::Fetcher;
use holdfast_logical::{Error, Fields};
use holdfast_types::{SpiffeId, TrustDomain};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bundle::Bundle;

/// How the bundle is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Profile {
    /// It stands in the configuration.
    Static,
    /// From a URL, whose server has a certificate of a known authority.
    HttpsWebBundle,
    /// The same, as certificates in PEM.
    HttpsWebPem,
    /// From a URL, whose server has an SVID of the trust domain itself.
    HttpsSpiffeBundle,
}

impl Profile {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Static, "static"),
        (Self::HttpsWebBundle, "https_web_bundle"),
        (Self::HttpsWebPem, "https_web_pem"),
        (Self::HttpsSpiffeBundle, "https_spiffe_bundle"),
    ];

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == name).map(|(profile, _)| profile)
    }

    fn as_str(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(profile, _)| *profile == self);
        found.map_or("", |(_, name)| name)
    }
}

/// What an operator wrote, checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) trust_domain: TrustDomain,
    pub(super) profile: Profile,
    /// An `https://` URL, where the bundle is fetched.
    pub(super) endpoint_url: String,
    /// Who the endpoint is, for `https_spiffe_bundle`.
    pub(super) endpoint_spiffe_id: Option<SpiffeId>,
    /// What the endpoint's certificate is verified with. Empty: the system's roots.
    pub(super) endpoint_root_ca_truststore_pem: String,
    /// The bundle itself for `static`; for `https_spiffe_bundle` the first one, by which the
    /// endpoint is verified.
    pub(super) bundle: String,
    /// One of these must be in a JWT-SVID's `aud`. None: no JWT-SVID is taken.
    pub(super) audience: Vec<String>,
}

impl Config {
    /// Reads a request to `config`.
    ///
    /// # Errors
    /// 400: what does not fit the profile.
    pub(super) fn parse(fields: Fields<'_>) -> Result<Self, Error> {
        let text = |name| Ok::<_, Error>(fields.string(name)?.unwrap_or_default());
        let domain = fields.required("trust_domain")?;
        let trust_domain = TrustDomain::parse(&domain)
            .map_err(|why| Error::invalid(format!("'trust_domain' {domain:?}: {why}")))?;
        let profile = fields.required("profile")?;
        let profile = Profile::parse(&profile).ok_or_else(|| {
            let names = Profile::ALL.map(|(_, name)| name).join(", ");
            Error::invalid(format!("'profile' {profile:?} is none of {names}"))
        })?;
        let endpoint_id = text("endpoint_spiffe_id")?;
        let endpoint_spiffe_id = match endpoint_id.as_str() {
            "" => None,
            id => Some(
                SpiffeId::parse(id)
                    .map_err(|why| Error::invalid(format!("'endpoint_spiffe_id' {id:?}: {why}")))?,
            ),
        };
        let config = Self {
            trust_domain,
            profile,
            endpoint_url: text("endpoint_url")?,
            endpoint_spiffe_id,
            endpoint_root_ca_truststore_pem: text("endpoint_root_ca_truststore_pem")?,
            bundle: text("bundle")?,
            audience: fields.strings("audience")?.unwrap_or_default(),
        };
        config.check()?;
        Ok(config)
    }

    /// What a read answers, without the state of the bundle.
    pub(super) fn print(&self) -> Value {
        json!({
            "audience": self.audience,
            "bundle": self.bundle,
            "endpoint_root_ca_truststore_pem": self.endpoint_root_ca_truststore_pem,
            "endpoint_spiffe_id": self.endpoint_spiffe_id.as_ref().map_or("", SpiffeId::as_str),
            "endpoint_url": self.endpoint_url,
            "profile": self.profile.as_str(),
            "trust_domain": self.trust_domain.as_str(),
        })
    }

    /// The bundle that stands in the configuration.
    pub(super) fn configured_bundle(&self) -> Option<Bundle> {
        Bundle::parse(self.bundle.as_bytes()).ok()
    }

    fn check(&self) -> Result<(), Error> {
        let name = self.profile.as_str();
        let needs_bundle = matches!(self.profile, Profile::Static | Profile::HttpsSpiffeBundle);
        let only = |field: &str, is_set: bool, fits: bool| match (is_set, fits) {
            (true, false) => Err(Error::invalid(format!("'{field}' means nothing for '{name}'"))),
            (false, true) => Err(Error::invalid(format!("'{name}' needs '{field}'"))),
            _ => Ok(()),
        };
        only("bundle", !self.bundle.is_empty(), needs_bundle)?;
        only("endpoint_url", !self.endpoint_url.is_empty(), self.profile != Profile::Static)?;
        let by_svid = self.profile == Profile::HttpsSpiffeBundle;
        only("endpoint_spiffe_id", self.endpoint_spiffe_id.is_some(), by_svid)?;
        if needs_bundle {
            Bundle::parse(self.bundle.as_bytes())
                .map_err(|why| Error::invalid(format!("'bundle': {why}")))?;
        }
        if !self.endpoint_url.is_empty() && !self.endpoint_url.starts_with("https://") {
            return Err(Error::invalid("'endpoint_url' must begin with https://"));
        }
        if Fetcher::new(&self.endpoint_root_ca_truststore_pem).is_none() {
            return Err(Error::invalid("'endpoint_root_ca_truststore_pem' holds no certificate"));
        }
        Ok(())
    }
}
