//! `sys/policies/password` and what is below it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_logical::{Error, Operation, Passwords as _, Response};
use serde_json::json;

use super::policy::PasswordPolicy;
use super::{PasswordPolicies, Record};
use crate::core::answer::{Answer, one_error};
use crate::core::invocation::Invocation;

/// Answers a request for what follows `sys/policies/password/`: nothing for the list, a name, or a
/// name and `/generate`.
///
/// # Errors
/// 400 and 404 in OpenBao's words.
pub(crate) async fn handle(
    policies: &PasswordPolicies,
    invocation: &Invocation,
    path: &str,
) -> Result<Answer, Error> {
    use Operation::{Create, Delete, List, Read, Update};
    let request = &invocation.request;
    match (path, request.operation) {
        ("", List) => Ok(Response::list(policies.store.scan("").await?).into()),
        ("", _) => Err(Error::UnsupportedOperation),
        (path, operation) => match (path.strip_suffix("/generate"), operation) {
            (Some(name), Read) => {
                let password = policies.generate(name).await?.ok_or_else(unknown)?;
                Ok(Response::data(json!({ "password": password.expose() })).into())
            }
            (Some(_), _) => Err(Error::UnsupportedOperation),
            (None, Read) => {
                let text = policies.text(path).await?;
                let text = text.ok_or_else(unknown)?;
                Ok(Response::data(json!({ "policy": text })).into())
            }
            (None, Create | Update) => {
                let text = request.fields().string("policy").map_err(Error::field_validation)?;
                let text = decoded(text.unwrap_or_default());
                if text.is_empty() {
                    return Err(one_error(400, "missing policy"));
                }
                PasswordPolicy::parse(&text).map_err(|problem| one_error(400, &problem))?;
                policies.store.put_json(path, &Record { text }).await?;
                Ok(Answer::none())
            }
            (None, Delete) => {
                policies.store.delete(path).await?;
                Ok(Answer::none())
            }
            (None, _) => Err(Error::UnsupportedOperation),
        },
    }
}

/// The text, which may come as base64.
fn decoded(text: String) -> String {
    let bytes = STANDARD.decode(&text).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text)
}

fn unknown() -> Error {
    one_error(404, "policy does not exist")
}
