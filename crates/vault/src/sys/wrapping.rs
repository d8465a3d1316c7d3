//! `sys/wrapping/`.

use holdfast_logical::{Error, Operation, Response};

use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::pipeline::wrapped_token;
use crate::core::vault::Vault;
use crate::core::wrapping::{lookup, rewrap, unwrap};

/// Answers a request to `sys/wrapping/`; `rest` is what follows.
pub(super) async fn handle(
    vault: &Vault,
    invocation: &Invocation,
    rest: &str,
) -> Result<Answer, Error> {
    use Operation::{Create, Read, Update};
    let request = &invocation.request;
    request.fields().known(&["token"]);
    let token = wrapped_token(&request.data, invocation.secret.as_ref());
    match (rest, request.operation) {
        ("lookup", Create | Update | Read) => Ok(lookup(vault, token.as_deref()).await?.into()),
        ("unwrap", Create | Update) => unwrap(vault, token.as_deref()).await,
        ("rewrap", Create | Update) => rewrap(vault, token.as_deref()).await,
        ("wrap", Create | Update) => {
            if request.wrap_ttl.is_none_or(|ttl| ttl.is_zero()) {
                return Err(Error::invalid("endpoint requires response wrapping to be used"));
            }
            // What was sent in comes back, wrapped.
            Ok(Response { data: Some(request.fields().any().clone()), ..Response::default() }
                .into())
        }
        ("lookup" | "unwrap" | "rewrap" | "wrap", _) => Err(Error::UnsupportedOperation),
        _ => Err(Error::UnsupportedPath),
    }
}
