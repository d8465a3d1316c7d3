//! `sys/internal/explain`: why requests were refused. For operators: it needs `sudo`.

use holdfast_logical::{Error, Operation, Response};
use serde_json::{Map, Value, json};

use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::denials;

/// Answers a request to `sys/internal/explain` or to a denial below it.
pub(super) async fn handle(
    vault: &Vault,
    invocation: &Invocation,
    path: &str,
) -> Result<Answer, Error> {
    let id = path.strip_prefix("explain").unwrap_or_default().trim_matches('/');
    match (id, invocation.request.operation) {
        ("", Operation::List) => {
            let denials = denials::list(vault).await;
            if denials.is_empty() {
                return Ok(Answer::none());
            }
            let ids: Vec<_> = denials.iter().map(|(id, _)| json!(id)).collect();
            let info: Map<String, Value> =
                denials.into_iter().map(|(id, body)| (id, short(&body))).collect();
            Ok(Response::data(json!({ "keys": ids, "key_info": info })).into())
        }
        ("", _) => Err(Error::UnsupportedOperation),
        (id, Operation::Read) => {
            let found = denials::show(vault, id).await?;
            Ok(found.map(|body| Response::data(Value::Object(body))).into())
        }
        _ => Err(Error::UnsupportedOperation),
    }
}

/// A denial in a line.
fn short(body: &Map<String, Value>) -> Value {
    let field = |object: &str, name: &str| body.get(object).and_then(|object| object.get(name));
    json!({
        "time": body.get("time"),
        "cause": body.get("cause"),
        "summary": body.get("summary"),
        "operation": field("request", "operation"),
        "path": field("request", "path"),
        "display_name": field("caller", "display_name"),
        "entity_name": field("caller", "entity_name"),
        "metadata": field("caller", "metadata"),
    })
}
