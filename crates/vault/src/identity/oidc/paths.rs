//! The paths of `identity/oidc/`.

use holdfast_logical::{Error, Operation, RawBody, Request, Response};
use serde_json::Value;

use super::{provider, token};
use crate::core::answer::Answer;
use crate::core::vault::Vault;
use crate::identity::paths::is_id;

/// Answers a request to `identity/oidc/<rest>`.
///
/// # Errors
/// OpenBao's for each path; 404 and 405 for what is not there.
pub(in crate::identity) async fn handle(
    vault: &Vault,
    request: &Request,
    rest: &str,
) -> Result<Answer, Error> {
    use Operation::{Create, Delete, List, Read, Update};
    let oidc = &vault.identity.oidc;
    let fields = request.fields();
    let done = |()| Answer::none();
    let path = rest.strip_suffix('/').unwrap_or(rest);
    let segments: Vec<_> = path.split('/').collect();
    // What ends in a slash is a list: `token/ops/` is not the role that policies know.
    let is_list = matches!(request.operation, List | Operation::Scan);
    let is_other = path.len() < rest.len() && !is_list;
    if let ["key" | "role" | "token" | "provider" | "scope" | "assignment" | "client", name, ..] =
        segments.as_slice()
        && (is_other || !is_id(name))
    {
        return Err(Error::UnsupportedPath);
    }
    match (segments.as_slice(), request.operation) {
        (["config"], Read) => Ok(oidc.read_config().await?.into()),
        (["config"], Create | Update) => Ok(oidc.write_config(&fields).await?.into()),
        ([".well-known", "openid-configuration"], Read) => Ok(raw(&oidc.discovery().await?)),
        ([".well-known", "keys"], Read) => Ok(raw(&oidc.published().await?.document)),
        (["key"], List) => Ok(Response::list(oidc.key_names().await?).into()),
        (["key", name], Read) => Ok(oidc.read_key(name).await?.into()),
        (["key", name], Create | Update) => oidc.write_key(name, &fields).await.map(done),
        (["key", name], Delete) => oidc.delete_key(name).await.map(done),
        (["key", name, "rotate"], Create | Update) => {
            oidc.rotate_key(name, &fields).await.map(done)
        }
        (["role"], List) => Ok(Response::list(oidc.store.list("role/").await?).into()),
        (["role", name], Read) => Ok(oidc.read_role(name).await?.into()),
        (["role", name], Create | Update) => oidc.write_role(name, &fields).await.map(done),
        (["role", name], Delete) => oidc.delete_role(name).await.map(done),
        (["token", role], Read) => {
            let entity = request.caller.as_ref().map(|caller| caller.entity_id.as_str());
            Ok(token::issue(vault, role, entity.unwrap_or_default()).await?.into())
        }
        (["introspect"], Create | Update) => {
            let text = |name| Ok::<_, Error>(fields.string(name)?.unwrap_or_default());
            let (shown, client) = (text("token")?, text("client_id")?);
            Ok(raw(&token::introspect(vault, &shown, &client).await?))
        }
        (["provider" | "scope" | "assignment" | "client", ..], _) => {
            provider::handle(oidc, request, &segments).await
        }
        (["key" | "role", _], List) => Err(Error::UnsupportedPath),
        (
            ["config" | "introspect" | "key" | "role"]
            | [".well-known", "openid-configuration" | "keys"]
            | ["key" | "role" | "token", _]
            | ["key", _, "rotate"],
            _,
        ) => Err(Error::UnsupportedOperation),
        _ => Err(Error::UnsupportedPath),
    }
}

/// An answer without the envelope.
pub(super) fn raw(body: &Value) -> Answer {
    let body = body.to_string().into_bytes();
    let raw = RawBody { content_type: "application/json".to_owned(), body };
    Response { raw: Some(raw), ..Response::default() }.into()
}
