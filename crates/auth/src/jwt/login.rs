//! `login`: somebody else's token for one of ours.

use std::collections::BTreeMap;

use holdfast_keys::{SignedToken, TokenError};
use holdfast_logical::{Auth, EntityAlias, Error, Reply, Request, Response, TokenParams};
use holdfast_types::{Chain, SecretString, SpiffeId};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::key_source::VerifyError;
use super::role::Role;
use super::{Active, Jwt, claims};
use crate::{source_address, token_params};

impl Jwt {
    /// `PUT login {role, jwt}`
    pub(super) async fn login(&self, request: &Request) -> Reply {
        let Some(active) = self.active().await? else {
            return Err(Error::invalid("could not load configuration"));
        };
        let fields = request.fields();
        let text = |name| {
            let value = fields.string(name).map_err(Error::field_validation)?;
            Ok::<_, Error>(value.unwrap_or_default())
        };
        let (name, role) = self.role_for(&text("role")?, &active).await?;
        if role.is_oidc {
            return Err(Error::invalid("role with oidc role_type is not allowed"));
        }
        let token = SecretString::new(text("jwt")?);
        if token.expose().is_empty() {
            return Err(Error::invalid("missing token"));
        }
        source_address::check(request, &role.tokens.params)?;

        let claims = self
            .verified(&active, &role, &token)
            .await
            .map_err(|why| Error::invalid(format!("error validating token: {why}")))?;
        let audiences = claims::find(&claims, "aud").and_then(claims::values).unwrap_or_default();
        if !audiences.is_empty() && role.bound_audiences.as_ref().is_none_or(Vec::is_empty) {
            return Err(Error::invalid(
                "audience claim found in JWT but no audiences bound to the role",
            ));
        }
        let auth = auth(&name, role, &claims).map_err(|why| {
            let advice = format!(
                "compare the token's claims with user_claim, groups_claim and bound_claims of the \
                 role {name:?}"
            );
            Error::invalid(why.clone()).because(why, advice)
        })?;
        Ok(Some(Response { auth: Some(auth), ..Response::default() }))
    }

    /// The role that a login names, or the default one, with its name in lower case.
    pub(super) async fn role_for(
        &self,
        named: &str,
        active: &Active,
    ) -> Result<(String, Role), Error> {
        let mut name = named.to_lowercase();
        if name.is_empty() {
            name.clone_from(&active.config.default_role);
        }
        if name.is_empty() {
            return Err(Error::invalid("missing role"));
        }
        match self.role(&name).await? {
            Some(role) => Ok((name, role)),
            None => Err(Error::invalid(format!("role {name:?} could not be found"))),
        }
    }

    /// A token lives on under the life that its role gives now, as long as there is the role.
    pub(super) async fn renew(&self, mut auth: Auth) -> Result<Auth, Error> {
        let name = auth.internal.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(role) = self.role(&name).await? else {
            return Err(Error::invalid(format!("role {name} does not exist during renewal")));
        };
        token_params::renew(&mut auth, &role.tokens.params);
        Ok(auth)
    }

    /// The claims of a token that is good for `role`, or why it is not. OpenBao has one message for
    /// whatever no key has signed; here an unsigned token and one with a shared secret are told
    /// from one with a wrong signature.
    pub(super) async fn verified(
        &self,
        active: &Active,
        role: &Role,
        token: &SecretString,
    ) -> Result<Map<String, Value>, String> {
        let algorithm =
            |why: TokenError| format!("invalid algorithm (alg) header parameter: {why}");
        let signature =
            |why: &dyn ToString| format!("error verifying token signature: {}", why.to_string());
        // From a file it comes with the end of its line.
        let token =
            SignedToken::parse(token.expose().trim_ascii()).map_err(|error| match error {
                TokenError::Unsigned | TokenError::Algorithm => algorithm(error),
                other => signature(&other),
            })?;
        active.keys.verify(&token).await.map_err(|error| {
            if let VerifyError::Fetch(cause) = &error {
                // Whoever logs in is not told how the server reaches the issuer.
                warn!(error = %Chain(cause), "fetch the key set");
            }
            signature(&error)
        })?;
        let claims = token.claims().map_err(|error| signature(&error))?;
        if !active.config.takes(token.algorithm) {
            return Err(algorithm(TokenError::Algorithm));
        }
        let issuer = &active.config.bound_issuer;
        claims::check_registered(&claims, issuer, role, self.clock.now())
            .map_err(|error| error.to_string())?;
        Ok(claims)
    }
}

/// The token that these claims, which are verified, give by a role.
pub(super) fn auth(name: &str, role: Role, claims: &Map<String, Value>) -> Result<Auth, String> {
    let alias = alias(name, &role, claims)?;
    let group_aliases = groups(&role.groups_claim, claims)?;
    if let Some(bound) = &role.bound_claims {
        claims::check_bound(claims, bound, role.bound_claims_are_globs)
            .map_err(|why| format!("error validating claims: {why}"))?;
    }
    let policies = role.policies(claims);
    let token_policies = policies.map_err(|why| format!("failed to template policy {why}"))?;
    Ok(Auth {
        params: TokenParams { token_policies, ..role.tokens.params },
        metadata: alias.metadata.clone(),
        display_name: alias.name.clone(),
        alias: Some(alias),
        group_aliases,
        internal: json!({ "role": name }),
        renewable: true,
        ..Auth::default()
    })
}

/// Who the claims say it is, with the metadata that the role takes from them.
fn alias(name: &str, role: &Role, claims: &Map<String, Value>) -> Result<EntityAlias, String> {
    let user_claim = &role.user_claim;
    let user = match role.user_claim_json_pointer {
        true => claims::find(claims, user_claim),
        false => claims.get(user_claim).filter(|value| !value.is_null()),
    };
    let user = match user {
        None => return Err(format!("claim {user_claim:?} not found in token")),
        Some(Value::String(user)) if user.is_empty() => {
            return Err("missing name in alias".to_owned());
        }
        Some(Value::String(user)) => user.clone(),
        Some(_) => return Err(format!("claim {user_claim:?} could not be converted to string")),
    };
    let mut metadata = BTreeMap::new();
    for (claim, target) in role.claim_mappings.iter().flatten() {
        match claims::find(claims, claim) {
            None => {}
            Some(Value::String(text)) => {
                metadata.insert(target.clone(), text.clone());
            }
            Some(_) => return Err(format!("error converting claim '{claim}' to string")),
        }
    }
    metadata.insert("role".to_owned(), name.to_owned());
    let subject = claims.get("sub").and_then(Value::as_str);
    if let Some(id) = subject.and_then(|subject| SpiffeId::parse(subject).ok()) {
        metadata.insert("spiffe_id".to_owned(), id.to_string());
    }
    Ok(EntityAlias { name: user, metadata })
}

/// The groups that a claim lists: it must be there and be text, alone or in a list. An empty name
/// of a claim finds none.
fn groups(claim: &str, claims: &Map<String, Value>) -> Result<Vec<String>, String> {
    if claim.is_empty() {
        return Ok(Vec::new());
    }
    let Some(groups) = claims::find(claims, claim) else {
        return Err(format!("failed to fetch groups: {claim:?} claim not found in token"));
    };
    let Some(groups) = claims::values(groups) else {
        return Err(format!("{claim:?} claim could not be converted to string list"));
    };
    let names = groups.iter().map(|group| {
        let name = group.as_str().map(str::to_owned);
        name.ok_or_else(|| format!("value {group} in groups claim could not be parsed as string"))
    });
    names.collect()
}
