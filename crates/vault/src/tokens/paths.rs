//! The paths of `auth/token/`.

use std::sync::Arc;
use std::time::Duration;

use holdfast_logical::{Error, Operation, Response, SpecialPaths, TokenKind};
use holdfast_types::rfc3339;
use serde_json::{Map, Value, json};

use super::create::create_token;
use super::renew::renew_token;
use super::revoke::{revoke_orphaning, revoke_tree};
use super::roles::show_cidr;
use super::{Token, TokenEntry, Tokens};
use crate::core::answer::{Answer, TokenAnswer, one_error};
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;

const TIDY_STARTED: &str = "Tidy operation successfully started. Any information from the \
                            operation will be printed to OpenBao's server logs.";

/// Paths with rules of their own.
pub(crate) fn special_paths() -> SpecialPaths {
    let sudo = ["accessors", "accessors/*"].map(str::to_owned).to_vec();
    SpecialPaths { unauthenticated: Vec::new(), sudo }
}

/// Whether the role that a write names is there; none for all other paths.
pub(crate) async fn exists(vault: &Vault, path: &str) -> Result<Option<bool>, Error> {
    match path.strip_prefix("roles/") {
        Some(name) => Ok(Some(vault.tokens.role(name).await?.is_some())),
        None => Ok(None),
    }
}

/// Answers a request to `auth/token/`.
///
/// # Errors
/// OpenBao's for each path.
pub(crate) async fn handle(vault: &Arc<Vault>, invocation: &Invocation) -> Result<Answer, Error> {
    use Operation::{Create, Delete, List, Read, Update};
    let request = &invocation.request;
    let tokens = &vault.tokens;
    let fields = request.fields();
    // What ends in a slash is a list: `roles/prod/` is not the role that policies know.
    let path = match request.operation {
        List | Operation::Scan => request.path.trim_end_matches('/'),
        _ if matches!(request.path.as_str(), "accessors/" | "roles/") => {
            return Err(Error::UnsupportedOperation);
        }
        _ if request.path.ends_with('/') => return Err(Error::UnsupportedPath),
        _ => request.path.as_str(),
    };
    let segments: Vec<_> = path.split('/').collect();
    match (segments.as_slice(), request.operation) {
        (["create"], Create | Update) => create(vault, invocation, None, false).await,
        (["create-orphan"], Create | Update) => create(vault, invocation, None, true).await,
        (["create", role], Create | Update) => create(vault, invocation, Some(role), false).await,
        (["lookup"], Create | Update | Read) => {
            let id = fields.string("token")?.filter(|id| !id.is_empty());
            let id = id.or_else(|| invocation.token_text().map(str::to_owned));
            let id = id.ok_or_else(bad_token)?;
            let token = tokens.lookup(&id).await?.ok_or_else(bad_token)?;
            Ok(lookup(vault, &token, &id).await?.into())
        }
        (["lookup-self"], Create | Update | Read) => {
            let id = invocation.token_text().ok_or(Error::Denied)?;
            let token = invocation.token.as_ref().ok_or(Error::Denied)?;
            // Looked up anew: this very request may have taken a use off it. The last one shows
            // as -1.
            let last = token.entry.uses == Some(1);
            let token = tokens.lookup(id).await?.unwrap_or_else(|| token.clone());
            let mut response = lookup(vault, &token, id).await?;
            if let Some(data) = response.data.as_mut().filter(|_| last) {
                data.insert("num_uses".to_owned(), json!(-1));
            }
            Ok(response.into())
        }
        (["lookup-accessor"], Create | Update) => {
            let token = by_accessor(tokens, &fields.string("accessor")?).await?;
            Ok(lookup(vault, &token, "").await?.into())
        }
        (["accessors"], List) => Ok(Response::list(tokens.accessors().await?).into()),
        (["renew"], Create | Update) => {
            let id = required_token(fields.string("token")?)?;
            let token = tokens.lookup(&id).await?;
            let token = token.ok_or_else(|| Error::invalid("token not found"))?;
            renew(vault, &token, &id, invocation).await
        }
        (["renew-self"], Create | Update) => {
            let id = invocation.token_text().ok_or(Error::Denied)?;
            let token = invocation.token.as_ref().ok_or(Error::Denied)?;
            renew(vault, token, id, invocation).await
        }
        (["renew-accessor"], Create | Update) => {
            let token = by_accessor(tokens, &fields.string("accessor")?).await?;
            renew(vault, &token, "", invocation).await
        }
        (["revoke"], Create | Update) => {
            let id = required_token(fields.string("token")?)?;
            match tokens.lookup(&id).await? {
                Some(token) => revoke(vault, &token).await,
                None => Ok(Answer::none()),
            }
        }
        (["revoke-self"], Create | Update) => {
            let token = invocation.token.as_ref().ok_or(Error::Denied)?;
            revoke(vault, token).await
        }
        (["revoke-accessor"], Create | Update) => {
            let accessor = fields.string("accessor")?.unwrap_or_default();
            if accessor.is_empty() {
                return Err(one_error(400, "missing accessor"));
            }
            match tokens.by_accessor(&accessor).await? {
                Some(token) => revoke(vault, &token).await,
                None => Ok(Response::default().warn("No token found with this accessor").into()),
            }
        }
        (["revoke-orphan"], Create | Update) => {
            if !invocation.sudo {
                return Err(Error::invalid(
                    "root or sudo privileges required to revoke and orphan",
                ));
            }
            let id = required_token(fields.string("token")?)?;
            let token = tokens.lookup(&id).await?;
            let token = token.ok_or_else(|| Error::invalid("token to revoke not found"))?;
            if token.entry.kind == TokenKind::Batch {
                return Err(Error::invalid("batch tokens cannot be revoked"));
            }
            revoke_orphaning(vault, token.hash).await?;
            Ok(Answer::none())
        }
        (["roles"], List) => Ok(tokens.list_roles().await?.into()),
        (["roles", name], Read) => Ok(tokens.read_role(name).await?.into()),
        (["roles", name], Create | Update) => {
            tokens.write_role(name, &fields).await?;
            Ok(Answer::none())
        }
        (["roles", name], Delete) => {
            tokens.delete_role(name).await?;
            Ok(Answer::none())
        }
        (["tidy"], Create | Update) => {
            let vault = vault.clone();
            tokio::spawn(async move {
                if let Err(error) = super::finish_revocations(&vault).await {
                    tracing::warn!(error = %crate::core::answer::Chain(&error), "tidy tokens");
                }
            });
            Ok(Response::default().warn(TIDY_STARTED).status(202).into())
        }
        (
            [
                "create" | "create-orphan" | "lookup" | "lookup-self" | "lookup-accessor"
                | "accessors" | "renew" | "renew-self" | "renew-accessor" | "revoke"
                | "revoke-self" | "revoke-accessor" | "revoke-orphan" | "roles" | "tidy",
            ]
            | ["create" | "roles", _],
            _,
        ) => Err(Error::UnsupportedOperation),
        _ => Err(Error::UnsupportedPath),
    }
}

fn bad_token() -> Error {
    Error::Status { status: 403, message: "bad token".to_owned() }
}

fn required_token(token: Option<String>) -> Result<String, Error> {
    token.filter(|token| !token.is_empty()).ok_or_else(|| Error::invalid("missing token ID"))
}

async fn by_accessor(tokens: &Tokens, accessor: &Option<String>) -> Result<Arc<Token>, Error> {
    let Some(accessor) = accessor.as_ref().filter(|accessor| !accessor.is_empty()) else {
        return Err(one_error(400, "missing accessor"));
    };
    tokens.by_accessor(accessor).await?.ok_or_else(|| one_error(400, "invalid accessor"))
}

fn increment(invocation: &Invocation) -> Result<Duration, Error> {
    let increment = invocation.request.fields().duration("increment");
    Ok(increment.map_err(Error::field_validation)?.unwrap_or_default())
}

async fn create(
    vault: &Vault,
    invocation: &Invocation,
    role: Option<&str>,
    orphan: bool,
) -> Result<Answer, Error> {
    let role = match role {
        None => None,
        Some(name) => {
            let role = vault.tokens.role(name).await?;
            Some(role.ok_or_else(|| Error::invalid(format!("unknown role {name}")))?)
        }
    };
    let made = create_token(vault, invocation, role, orphan).await?;
    Ok(Answer {
        token: Some(TokenAnswer {
            token: made.created.token,
            hash: made.created.hash,
            identity_policies: identity_policies(vault, &made.created.entry).await?,
            entry: made.created.entry,
            fresh: true,
        }),
        response: Some(Response { warnings: made.warnings, ..Response::default() }),
        ..Answer::none()
    })
}

async fn renew(
    vault: &Vault,
    token: &Token,
    text: &str,
    invocation: &Invocation,
) -> Result<Answer, Error> {
    let connection = &invocation.request.connection;
    let renewed = renew_token(vault, token, increment(invocation)?, connection).await?;
    Ok(Answer {
        token: Some(TokenAnswer {
            token: text.into(),
            hash: Some(token.hash),
            identity_policies: identity_policies(vault, &renewed.entry).await?,
            entry: renewed.entry,
            fresh: false,
        }),
        response: Some(Response { warnings: renewed.warnings, ..Response::default() }),
        ..Answer::none()
    })
}

async fn identity_policies(vault: &Vault, entry: &TokenEntry) -> Result<Vec<String>, Error> {
    Ok(vault.identity.who(&entry.entity_id).await?.sorted_policies())
}

async fn revoke(vault: &Vault, token: &Token) -> Result<Answer, Error> {
    if token.entry.kind == TokenKind::Batch {
        return Err(Error::invalid("batch tokens cannot be revoked"));
    }
    revoke_tree(vault, token.hash).await?;
    Ok(Answer::none())
}

/// What `lookup` shows of a token. `text` is the token itself where the asker has it.
async fn lookup(vault: &Vault, token: &Token, text: &str) -> Result<Response, Error> {
    let entry = &token.entry;
    let now = vault.clock.now();
    let meta = match entry.meta.is_empty() {
        true => Value::Null,
        false => json!(entry.meta),
    };
    let mut data = json!({
        "accessor": entry.accessor,
        "creation_time": entry.issued_at.as_second(),
        "creation_ttl": entry.creation_ttl.as_secs(),
        "display_name": entry.display_name,
        "entity_id": entry.entity_id,
        "expire_time": entry.expires_at.map(rfc3339),
        "explicit_max_ttl": entry.explicit_max_ttl.as_secs(),
        "id": text,
        "issue_time": rfc3339(entry.issued_at),
        "meta": meta,
        "num_uses": entry.uses.unwrap_or(0),
        "orphan": entry.parent.is_none(),
        "path": entry.path,
        "policies": entry.policies,
        "renewable": entry.renewable,
        "ttl": entry.seconds_left(now),
        "type": entry.kind.as_str(),
    });
    if let Value::Object(map) = &mut data {
        add_optional(map, token);
        let who = vault.identity.who(&entry.entity_id).await?;
        if !who.policies.is_empty() {
            map.insert("external_namespace_policies".to_owned(), json!({}));
            map.insert("identity_policies".to_owned(), json!(who.policies));
        }
    }
    Ok(Response::data(data))
}

fn add_optional(map: &mut Map<String, Value>, token: &Token) {
    let entry = &token.entry;
    if !entry.bound_cidrs.is_empty() {
        let cidrs: Vec<_> = entry.bound_cidrs.iter().map(show_cidr).collect();
        map.insert("bound_cidrs".to_owned(), json!(cidrs));
    }
    if !entry.period.is_zero() {
        map.insert("period".to_owned(), json!(entry.period.as_secs()));
    }
    if !entry.role.is_empty() {
        map.insert("role".to_owned(), json!(entry.role));
    }
    if let Some(renewed) = entry.last_renewal {
        map.insert("last_renewal".to_owned(), json!(rfc3339(renewed)));
        map.insert("last_renewal_time".to_owned(), json!(renewed.as_second()));
    }
}
