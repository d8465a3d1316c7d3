//! `oidc/token/<role>` and `oidc/introspect`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_keys::{SignedToken, TokenError};
use holdfast_logical::{Error, Response};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::template;
use crate::core::vault::Vault;

/// How far clocks may differ.
const LEEWAY: i64 = 60;

/// Issues a token of `role` for whoever the caller's token acts for.
///
/// # Errors
/// 400 where the role is not there or may not use its key, or the caller acts for nobody.
pub(super) async fn issue(vault: &Vault, role: &str, entity_id: &str) -> Result<Response, Error> {
    let oidc = &vault.identity.oidc;
    let name = role;
    let role = oidc.role(name).await?;
    let role = role.ok_or_else(|| Error::invalid(format!("role {name:?} not found")))?;
    let key = oidc.key(&role.key).await?;
    let key = key.ok_or_else(|| Error::invalid(format!("key {:?} not found", role.key)))?;
    if !key.allows(&role.client_id) {
        return Err(Error::invalid(format!(
            "the key {:?} does not list the client ID of the role {name:?} as an allowed client ID",
            role.key
        )));
    }
    let who = vault.identity.who(entity_id).await?;
    let Some(entity) = &who.entity else {
        return Err(Error::invalid("no entity associated with the request's token"));
    };
    let now = vault.clock.now();
    let mut claims = match template::fill(&role.template, &who, Some(now)) {
        Ok(filled) if filled.is_empty() => Map::new(),
        Ok(filled) => template::claims(&filled).unwrap_or_else(|why| {
            warn!(role = name, why, "an identity token's template is left out");
            Map::new()
        }),
        // The token is good without, and the one who asks can do nothing about it.
        Err(why) => {
            warn!(role = name, %why, "an identity token's template is left out");
            Map::new()
        }
    };
    claims.retain(|name, _| !template::RESERVED.contains(&name.as_str()));
    let life = role.ttl.min(key.verification_ttl);
    let life = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
    for (claim, value) in [
        ("iss", json!(oidc.issuer().await?)),
        ("namespace", json!("root")),
        ("sub", json!(entity.id)),
        ("aud", json!(role.client_id)),
        ("iat", json!(now.as_second())),
        ("exp", json!(now.as_second().saturating_add(life))),
    ] {
        claims.insert(claim.to_owned(), value);
    }
    let half = key.current.as_ref();
    let half = half.ok_or_else(|| Error::internal("sign a token", "the key has no halves"))?;
    let signing = oidc.signing_key(&key.algorithm, half)?;
    let token =
        signing.sign(&half.id, &claims).map_err(|error| Error::internal("sign a token", error))?;
    Ok(Response::data(json!({
        "token": token,
        "client_id": role.client_id,
        "ttl": role.ttl.as_secs(),
    })))
}

/// Whether a token is one of ours and still good, as `{"active": ...}`.
///
/// # Errors
/// The store's.
pub(super) async fn introspect(
    vault: &Vault,
    token: &str,
    client_id: &str,
) -> Result<Value, Error> {
    Ok(match check(vault, token, client_id).await? {
        None => json!({ "active": true }),
        Some(why) => json!({ "active": false, "error": why }),
    })
}

/// What is wrong with a token, if anything. Wordings are those of Go's library.
async fn check(vault: &Vault, token: &str, client_id: &str) -> Result<Option<String>, Error> {
    let oidc = &vault.identity.oidc;
    let signed = match SignedToken::parse(token) {
        Ok(signed) => signed,
        Err(why) => return Ok(Some(format!("error parsing token: {}", parsing(token, &why)))),
    };
    let published = oidc.published().await?;
    let mut candidates = published.keys.candidates(signed.key_id.as_deref());
    let is_ours = candidates.any(|key| signed.is_signed_by(key));
    let Some(claims) = signed.claims().ok().filter(|_| is_ours) else {
        return Ok(Some("unable to validate the token signature".to_owned()));
    };
    let now = vault.clock.now().as_second();
    let number = |name: &str| claims.get(name).and_then(Value::as_i64);
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let problem = if text("iss") != oidc.issuer().await? {
        Some("invalid issuer claim (iss)")
    } else if !client_id.is_empty() && text("aud") != client_id {
        Some("invalid audience claim (aud)")
    } else if number("exp").is_none_or(|exp| now.saturating_sub(LEEWAY) > exp) {
        Some("token is expired (exp)")
    } else if number("iat").is_some_and(|iat| now.saturating_add(LEEWAY) < iat) {
        Some("token issued in the future (iat)")
    } else {
        None
    };
    if let Some(problem) = problem {
        return Ok(Some(format!(
            "error validating claims: go-jose/go-jose/jwt: validation failed, {problem}"
        )));
    }
    Ok(match vault.identity.entity(text("sub")).await? {
        None => Some("entity was not found".to_owned()),
        Some(entity) if entity.disabled => Some("entity is disabled".to_owned()),
        Some(_) => None,
    })
}

fn parsing(token: &str, why: &TokenError) -> String {
    if !matches!(why, TokenError::Unsigned | TokenError::Algorithm) {
        return why.to_string();
    }
    let header = token.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    let header = header.and_then(|header| serde_json::from_slice::<Value>(&header).ok());
    let algorithm = header.and_then(|header| header.get("alg")?.as_str().map(str::to_owned));
    format!(
        "unexpected signature algorithm {:?}; expected [\"ES256\" \"ES384\" \"ES512\" \"EdDSA\" \
         \"RS256\" \"RS384\" \"RS512\" \"PS256\" \"PS384\" \"PS512\"]",
        algorithm.unwrap_or_default()
    )
}
