//! The issuer, as a client with redirects sees it: where its users log in, and where a code is
//! exchanged for their token.

use std::time::Duration;

use holdfast_client::fetch::Fetcher;
use holdfast_types::SecretString;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::pending::Pending;
use crate::jwt::config::Config;
use crate::jwt::discovery::{Discovery, IssuerError};

/// An older discovery document is fetched anew.
const FRESH: Duration = Duration::from_secs(600);
/// Anybody can begin a login: a failed discovery is not repeated more often than this.
const MIN_INTERVAL: Duration = Duration::from_secs(5);

/// An issuer with which this server is registered as a client.
pub(in crate::jwt) struct Provider {
    fetcher: Fetcher,
    issuer: String,
    pub(super) client_id: String,
    client_secret: SecretString,
    /// Held while it is fetched, so that it is fetched once.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    discovery: Option<(Discovery, Instant)>,
    failed_at: Option<Instant>,
}

/// What a code was exchanged for.
#[derive(Deserialize)]
pub(super) struct Tokens {
    #[serde(default)]
    pub(super) id_token: SecretString,
    #[serde(default)]
    pub(super) access_token: SecretString,
    #[serde(default)]
    pub(super) refresh_token: SecretString,
}

/// Why there is no token. The words reach the client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("unable to exchange auth code with provider: oauth2: {error:?} {description:?}")]
    Refused { error: String, description: String },
    #[error("unable to exchange auth code with provider")]
    Fetch(#[from] IssuerError),
    #[error("unable to exchange auth code with provider: its answer is no token")]
    Form,
    #[error("id_token is missing from auth code exchange: id_token is missing")]
    NoIdToken,
}

impl Provider {
    /// None: the configuration names no client.
    pub(in crate::jwt) fn new(config: &Config, fetcher: Fetcher) -> Option<Self> {
        (!config.oidc_client_id.is_empty()).then(|| Self {
            fetcher,
            issuer: config.oidc_discovery_url.clone(),
            client_id: config.oidc_client_id.clone(),
            client_secret: config.oidc_client_secret.clone(),
            known: Mutex::default(),
        })
    }

    /// The `iss` of its tokens.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where the user logs in.
    pub(super) async fn authorization_url(
        &self,
        pending: &Pending,
        state: &str,
        scopes: &[String],
        max_age: Duration,
    ) -> Result<String, IssuerError> {
        let endpoint = self.discovery().await?.authorization_endpoint;
        let mut url = Url::parse(&endpoint).map_err(|_| IssuerError::Discovery)?;
        let mut scope = vec!["openid"];
        scope.extend(scopes.iter().map(String::as_str).filter(|scope| *scope != "openid"));
        let max_age = max_age.as_secs().to_string();
        let challenge = pending.challenge();
        let mut query = url.query_pairs_mut();
        for (name, value) in [
            ("client_id", self.client_id.as_str()),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("max_age", &max_age),
            ("nonce", &pending.nonce),
            ("redirect_uri", &pending.redirect_uri),
            ("response_type", "code"),
            ("scope", &scope.join(" ")),
            ("state", state),
        ] {
            if (name, value) != ("max_age", "0") {
                query.append_pair(name, value);
            }
        }
        drop(query);
        Ok(url.into())
    }

    /// The tokens for a code. What is in them is not verified yet.
    pub(super) async fn exchange(
        &self,
        pending: &Pending,
        code: &SecretString,
    ) -> Result<Tokens, ExchangeError> {
        let endpoint = self.discovery().await?.token_endpoint;
        let form = [
            ("code", code.expose().as_str()),
            ("code_verifier", pending.verifier.expose()),
            ("grant_type", "authorization_code"),
            ("redirect_uri", &pending.redirect_uri),
        ];
        let answer =
            self.fetcher.post_form(&endpoint, &self.client_id, &self.client_secret, &form).await;
        let (status, body) = answer.map_err(IssuerError::from)?;
        if !status.is_success() {
            #[derive(Default, Deserialize)]
            #[serde(default)]
            struct Refusal {
                error: String,
                error_description: String,
            }
            let Refusal { error, error_description } =
                serde_json::from_slice(&body).unwrap_or_default();
            let error = if error.is_empty() { status.to_string() } else { error };
            return Err(ExchangeError::Refused { error, description: error_description });
        }
        let tokens: Tokens = serde_json::from_slice(&body).map_err(|_| ExchangeError::Form)?;
        match tokens.id_token.expose().is_empty() {
            true => Err(ExchangeError::NoIdToken),
            false => Ok(tokens),
        }
    }

    /// What the issuer knows of its user beside the token; none where it does not say.
    pub(super) async fn user_info(
        &self,
        access_token: &SecretString,
    ) -> Option<Map<String, Value>> {
        let endpoint = self.discovery().await.ok()?.userinfo_endpoint;
        if endpoint.is_empty() || access_token.expose().is_empty() {
            return None;
        }
        let body = self.fetcher.get_as(&endpoint, access_token).await.ok()?;
        serde_json::from_slice(&body).ok()
    }

    async fn discovery(&self) -> Result<Discovery, IssuerError> {
        let mut known = self.known.lock().await;
        if let Some((discovery, fetched_at)) = &known.discovery
            && fetched_at.elapsed() < FRESH
        {
            return Ok(discovery.clone());
        }
        if known.failed_at.is_some_and(|at| at.elapsed() < MIN_INTERVAL) {
            return Err(IssuerError::AMomentAgo);
        }
        match Discovery::fetch(&self.fetcher, &self.issuer).await {
            Ok(discovery) => {
                known.discovery = Some((discovery.clone(), Instant::now()));
                Ok(discovery)
            }
            Err(error) => {
                known.failed_at = Some(Instant::now());
                Err(error)
            }
        }
    }
}
