//! Logins with redirects: the user logs in at the issuer, which sends a code by the user's browser,
//! which is exchanged for a token that says who it is (the authorization code flow of `OpenID`
//! Connect, with the proof key of RFC 7636).
//!
//! OpenBao can also answer the browser itself (`callback_mode` `direct`) and show a code to be typed
//! at another device (`device`). Neither is supported: a login of such a role is refused by name.

mod pending;
mod provider;
mod redirect;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_logical::{Error, Reply, Request, Response};
use holdfast_types::{Chain, SecretString, Timestamp, constant_time_eq};
use serde_json::{Map, Value, json};
use tracing::warn;

use self::pending::Pending;
pub(super) use self::pending::PendingLogins;
pub(super) use self::provider::Provider;
use self::provider::{ExchangeError, Tokens};
use super::role::Role;
use super::{Active, Jwt, claims, login};
use crate::source_address;

/// Anybody can begin a login, and what they say of it is kept for minutes: no longer than this, in
/// bytes.
const LONGEST: usize = 2048;

impl Jwt {
    /// `PUT oidc/auth_url {role, redirect_uri, client_nonce}`. A place that the role does not allow
    /// is answered with no URL, as in OpenBao.
    pub(super) async fn auth_url(&self, request: &Request) -> Reply {
        let fields = request.fields();
        fields.known(&["client_nonce", "redirect_uri"]);
        let text = |name| {
            let value = fields.string(name).map_err(Error::field_validation)?;
            Ok::<_, Error>(value.unwrap_or_default())
        };
        let named = text("role")?;
        let active = self.active().await?;
        let active = active.ok_or_else(|| Error::invalid("could not load configuration"))?;
        let Some(provider) = &active.provider else {
            return Err(Error::invalid("OIDC login is not configured for this mount"));
        };
        let (name, role) = self.role_for(&named, &active).await?;
        let (redirect_uri, client_nonce) = (text("redirect_uri")?, text("client_nonce")?);
        if redirect_uri.is_empty() {
            return Err(Error::invalid("missing redirect_uri"));
        }
        for (name, value) in [("redirect_uri", &redirect_uri), ("client_nonce", &client_nonce)] {
            if value.len() > LONGEST {
                return Err(Error::invalid(format!("{name} is longer than {LONGEST} bytes")));
            }
        }
        if !redirect::is_allowed(&redirect_uri, role.allowed_redirect_uris()) {
            warn!(role = name, redirect_uri, "a redirect that the role does not allow");
            return Ok(Some(Response::data(json!({ "auth_url": "" }))));
        }
        if role.callback_mode != "client" {
            return Err(Error::invalid(format!(
                "'callback_mode' {:?} is not supported",
                role.callback_mode
            )));
        }
        let now = self.clock.now();
        let (state, pending) =
            self.pending.begin(&name, &redirect_uri, client_nonce, now, &*self.random);
        let scopes = role.oidc_scopes.as_deref().unwrap_or_default();
        let url = provider.authorization_url(&pending, &state, scopes, role.max_age).await;
        let url = url.map_err(|error| {
            warn!(error = %Chain(&error), "ask the issuer where its users log in");
            Error::invalid("error getting provider for login operation")
        })?;
        Ok(Some(Response::data(json!({ "auth_url": url }))))
    }

    /// `GET oidc/callback?state=&code=&client_nonce=`
    pub(super) async fn callback(&self, request: &Request) -> Reply {
        let fields = request.fields();
        fields.known(&["client_nonce", "code", "id_token", "error", "error_description"]);
        let text = |name| {
            let value = fields.string(name).map_err(Error::field_validation)?;
            Ok::<_, Error>(value.unwrap_or_default())
        };
        let active = self.active().await?;
        let active = active.ok_or_else(|| failed("Could not load configuration"))?;
        let Some(pending) = self.pending.take(&text("state")?, self.clock.now()) else {
            return Err(expired());
        };
        let client_nonce = text("client_nonce")?;
        if !constant_time_eq(client_nonce.as_bytes(), pending.client_nonce.as_bytes()) {
            return Err(Error::invalid("invalid client_nonce"));
        }
        let Some(role) = self.role(&pending.role).await? else {
            return Err(failed("Role could not be found"));
        };
        source_address::check(request, &role.tokens.params)?;
        let code = SecretString::new(text("code")?);
        if code.expose().is_empty() {
            return Err(match text("error")? {
                error if !error.is_empty() => failed(&error),
                _ => failed("No code or id_token received."),
            });
        }
        let Some(provider) = &active.provider else {
            return Err(failed("Could not load configuration"));
        };
        let exchanged = self.exchange(&active, provider, &pending, &role, &code).await;
        let (claims, tokens) =
            exchanged.map_err(|why| failed(&format!("Error exchanging oidc code: {why:?}.")))?;
        let shown = role.oauth2_metadata.clone().unwrap_or_default();
        let mut auth = login::auth(&pending.role, role, &claims).map_err(Error::Invalid)?;
        for name in shown {
            let token = match name.as_str() {
                "id_token" => &tokens.id_token,
                "access_token" => &tokens.access_token,
                _ => &tokens.refresh_token,
            };
            auth.metadata.insert(format!("oauth2_{name}"), token.expose().clone());
        }
        Ok(Some(Response { auth: Some(auth), ..Response::default() }))
    }

    /// `PUT oidc/poll`: for the modes in which the browser does not come back to the client, of
    /// which no login ever begins here.
    pub(super) fn poll() -> Reply {
        Err(expired())
    }

    /// The verified claims of whoever the code stands for.
    async fn exchange(
        &self,
        active: &Active,
        provider: &Provider,
        pending: &Pending,
        role: &Role,
        code: &SecretString,
    ) -> Result<(Map<String, Value>, Tokens), String> {
        let tokens = provider.exchange(pending, code).await.map_err(|error| {
            if let ExchangeError::Fetch(cause) = &error {
                // Whoever logs in is not told how the server reaches the issuer.
                warn!(error = %Chain(cause), "exchange a code");
            }
            format!("Provider.Exchange: {error}")
        })?;
        let unverified =
            |why: String| format!("Provider.Exchange: id_token failed verification: {why}");
        let mut claims = self.verified(active, role, &tokens.id_token).await.map_err(unverified)?;
        check_id_token(&claims, provider, pending, role, self.clock.now()).map_err(unverified)?;
        if let Some(more) = provider.user_info(&tokens.access_token).await
            && more.get("sub").is_some()
            && more.get("sub") == claims.get("sub")
        {
            // What the signed token says holds.
            for (name, value) in more {
                claims.entry(name).or_insert(value);
            }
        }
        Ok((claims, tokens))
    }
}

impl Pending {
    /// What the issuer is shown of the verifier (RFC 7636, `S256`).
    fn challenge(&self) -> String {
        let digest = digest::digest(&digest::SHA256, self.verifier.expose().as_bytes());
        URL_SAFE_NO_PAD.encode(digest)
    }
}

/// What `OpenID` Connect Core asks of an ID token (3.1.3.7) beside a signature and dates.
fn check_id_token(
    claims: &Map<String, Value>,
    provider: &Provider,
    pending: &Pending,
    role: &Role,
    now: Timestamp,
) -> Result<(), String> {
    if claims.get("iss").and_then(Value::as_str) != Some(provider.issuer()) {
        return Err("invalid id_token: invalid issuer".to_owned());
    }
    if claims.get("nonce").and_then(Value::as_str) != Some(&pending.nonce) {
        return Err("invalid id_token nonce: invalid nonce".to_owned());
    }
    let audiences = claims.get("aud").and_then(claims::values).unwrap_or_default();
    let is_client = |value: &Value| value.as_str() == Some(&provider.client_id);
    if !audiences.iter().any(is_client) {
        return Err("invalid id_token audiences: invalid audience".to_owned());
    }
    if audiences.len() > 1 && !claims.get("azp").is_some_and(is_client) {
        return Err("invalid id_token: invalid authorized party (azp)".to_owned());
    }
    if !role.max_age.is_zero() {
        let Some(logged_in) = claims.get("auth_time").and_then(Value::as_i64) else {
            return Err(
                "missing auth_time claim when max age was requested: missing required claim"
                    .to_owned(),
            );
        };
        let max_age = i64::try_from(role.max_age.as_secs()).unwrap_or(i64::MAX);
        let end = logged_in.saturating_add(max_age).saturating_add(claims::clock_skew(role));
        if now.as_second() > end {
            return Err("invalid auth_time claim: the user logged in too long ago".to_owned());
        }
    }
    Ok(())
}

fn failed(why: &str) -> Error {
    Error::invalid(format!("OpenBao login failed. {why}"))
}

fn expired() -> Error {
    failed("Expired or missing OAuth state.")
}
