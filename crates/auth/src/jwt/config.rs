//! `config`: where the keys come from, and what holds for all roles.

use holdfast_keys::Algorithm;
use holdfast_logical::{Error, Fields};
use holdfast_types::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What an operator wrote, checked. Exactly one source of keys is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    /// Public keys as PEM.
    pub(super) jwt_validation_pubkeys: Vec<String>,
    /// The URL of a key set.
    pub(super) jwks_url: String,
    /// What its server's certificate is verified with. Empty: the system's roots.
    pub(super) jwks_ca_pem: String,
    /// An issuer whose discovery document names the URL of its key set.
    pub(super) oidc_discovery_url: String,
    /// As `jwks_ca_pem`.
    pub(super) oidc_discovery_ca_pem: String,
    /// The `iss` that every token must have. Empty: any.
    pub(super) bound_issuer: String,
    /// The algorithms that are taken. Empty: all with a public key.
    pub(super) jwt_supported_algs: Vec<String>,
    /// The role of a login that names none, in lower case.
    pub(super) default_role: String,
    /// Who this server is to the issuer, for logins with redirects. Empty: there are none.
    pub(super) oidc_client_id: String,
    /// Its secret there. Never printed.
    pub(super) oidc_client_secret: SecretString,
    /// How the issuer hands its answer back: `query` (also where it is empty) or `form_post`.
    oidc_response_mode: String,
    /// Kept and printed; a code is asked for whatever it says.
    oidc_response_types: Vec<String>,
    /// Kept and printed, without effect: there is one namespace.
    namespace_in_state: Option<bool>,
}

impl Config {
    /// Reads a request to `config`, which replaces all of `old` but the namespace's setting.
    ///
    /// # Errors
    /// 400 in OpenBao's words, except for what is refused because it is not supported.
    pub(super) fn parse(fields: Fields<'_>, old: Option<&Self>) -> Result<Self, Error> {
        let text = |name| {
            let value = fields.string(name).map_err(Error::field_validation)?;
            Ok::<_, Error>(value.unwrap_or_default())
        };
        let list = |name| {
            let value = fields.strings(name).map_err(Error::field_validation)?;
            Ok::<_, Error>(value.unwrap_or_default())
        };
        let config = Self {
            jwt_validation_pubkeys: list("jwt_validation_pubkeys")?,
            jwks_url: text("jwks_url")?,
            jwks_ca_pem: text("jwks_ca_pem")?,
            oidc_discovery_url: text("oidc_discovery_url")?,
            oidc_discovery_ca_pem: text("oidc_discovery_ca_pem")?,
            bound_issuer: text("bound_issuer")?,
            jwt_supported_algs: list("jwt_supported_algs")?,
            default_role: text("default_role")?.to_lowercase(),
            oidc_response_mode: text("oidc_response_mode")?,
            oidc_response_types: list("oidc_response_types")?,
            oidc_client_id: text("oidc_client_id")?,
            oidc_client_secret: text("oidc_client_secret")?.into(),
            namespace_in_state: fields
                .bool("namespace_in_state")
                .map_err(Error::field_validation)?
                .or_else(|| old?.namespace_in_state),
        };
        config.check_sources()?;
        config.check_client()?;
        if !list("override_allowed_server_names")?.is_empty() {
            return Err(Error::invalid("'override_allowed_server_names' is not supported"));
        }
        if config.oidc_discovery_url.contains(".well-known/openid-configuration") {
            return Err(Error::invalid("'oidc_discovery_url' contains '.well-known' component"));
        }
        config.check_algorithms()?;
        config.check_response_mode()?;
        check_provider(fields)?;
        Ok(config)
    }

    /// What a read answers.
    pub(super) fn print(&self) -> Value {
        json!({
            "bound_issuer": self.bound_issuer,
            "default_role": self.default_role,
            "jwks_ca_pem": self.jwks_ca_pem,
            "jwks_url": self.jwks_url,
            "jwt_supported_algs": self.jwt_supported_algs,
            "jwt_validation_pubkeys": self.jwt_validation_pubkeys,
            "namespace_in_state": self.namespace_in_state.unwrap_or(true),
            "oidc_client_id": self.oidc_client_id,
            "oidc_discovery_ca_pem": self.oidc_discovery_ca_pem,
            "oidc_discovery_url": self.oidc_discovery_url,
            "oidc_response_mode": self.oidc_response_mode,
            "oidc_response_types": self.oidc_response_types,
            "override_allowed_server_names": [],
            "provider_config": {},
        })
    }

    /// Whether tokens signed with `algorithm` are taken.
    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        let mut names = self.jwt_supported_algs.iter();
        self.jwt_supported_algs.is_empty()
            || names.any(|name| Algorithm::parse(name) == Some(algorithm))
    }

    /// The identifier and the secret go together, and with an issuer that can be asked.
    fn check_client(&self) -> Result<(), Error> {
        let has_secret = !self.oidc_client_secret.expose().is_empty();
        if self.oidc_client_id.is_empty() == has_secret {
            return Err(Error::invalid(
                "both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC",
            ));
        }
        if has_secret && self.oidc_discovery_url.is_empty() {
            return Err(Error::invalid("'oidc_discovery_url' must be set for OIDC"));
        }
        Ok(())
    }

    fn check_sources(&self) -> Result<(), Error> {
        let set = [
            !self.jwt_validation_pubkeys.is_empty(),
            !self.jwks_url.is_empty(),
            !self.oidc_discovery_url.is_empty(),
        ];
        if set.iter().filter(|is_set| **is_set).count() == 1 {
            return Ok(());
        }
        Err(Error::invalid(
            "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs', \
             'oidc_discovery_url', or 'provider_config' must be set",
        ))
    }

    fn check_algorithms(&self) -> Result<(), Error> {
        let mut names = self.jwt_supported_algs.iter();
        match names.find(|name| Algorithm::parse(name).is_none()) {
            None => Ok(()),
            Some(name) => Err(Error::invalid(format!(
                "invalid jwt_supported_algs: unsupported signing algorithm {name:?}"
            ))),
        }
    }

    fn check_response_mode(&self) -> Result<(), Error> {
        let known = |kind: &String| matches!(kind.as_str(), "code" | "id_token");
        if !self.oidc_response_types.iter().all(known) {
            let types = self.oidc_response_types.join(" ");
            return Err(Error::invalid(format!(
                "invalid response_types [{types}]. 'code' and 'id_token' are allowed"
            )));
        }
        match self.oidc_response_mode.as_str() {
            "" | "query" if self.oidc_response_types.iter().any(|kind| kind == "id_token") => {
                Err(Error::invalid(
                    "query response_mode may not be used with an id_token response_type",
                ))
            }
            "" | "query" | "form_post" => Ok(()),
            mode => Err(Error::invalid(format!("invalid response_mode: {mode:?}"))),
        }
    }
}

/// No provider is known, so that none can be configured.
fn check_provider(fields: Fields<'_>) -> Result<(), Error> {
    let given = fields.object("provider_config").map_err(Error::field_validation)?;
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(()) };
    let refusal = match given.get("provider").and_then(Value::as_str) {
        Some(name) => format!("provider {name:?} not found in custom providers"),
        None => "'provider' field not found in provider_config".to_owned(),
    };
    Err(Error::invalid(format!("invalid provider_config: {refusal}")))
}
