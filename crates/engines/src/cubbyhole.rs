//! `cubbyhole`: every token's own drawer, which nobody else can open and which goes with the token.
//!
//! Layout: `<token hash>/<path>` holds the JSON object as it was written. The core empties
//! `<token hash>/` when the token ends. The answers that it wraps it keeps elsewhere.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_barrier::View;
use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::{
    Backend, Context, Error, Field, Operation, Reply, Request, Response, Route, TokenKind,
};
use serde_json::{Map, Value};

/// The backend of the `cubbyhole` mount.
pub fn backend(context: Context) -> Arc<dyn Backend> {
    Arc::new(Cubbyhole { storage: context.storage })
}

struct Cubbyhole {
    storage: View,
}

impl Cubbyhole {
    /// The drawer of the token that asks.
    fn drawer(&self, request: &Request) -> Result<View, Error> {
        let caller = request.caller.as_ref().ok_or(Error::Denied)?;
        // A batch token is not stored, so nothing would ever empty its drawer.
        if caller.kind == TokenKind::Batch {
            return Err(Error::invalid(
                "cubbyhole operations are only supported by 'service' type tokens",
            ));
        }
        // An empty name would be the root of all drawers.
        if caller.token_hash.is_empty() || caller.token_hash.contains('/') {
            return Err(Error::Denied);
        }
        Ok(self.storage.sub(&format!("{}/", caller.token_hash)))
    }
}

const ROUTES: &[Route] = &[Route::new(
    "{path*}",
    &[Read, Create, Update, Delete, List],
    "Read, write, list and remove the token's own values.",
)
.fields(&[Field::string("path", "The key.")])];

#[async_trait]
impl Backend for Cubbyhole {
    async fn handle(&self, request: &Request) -> Reply {
        let drawer = self.drawer(request)?;
        let is_list = matches!(request.operation, List | Operation::Scan);
        if request.path.is_empty() && !is_list {
            return Err(Error::invalid("missing path"));
        }
        match request.operation {
            Read => {
                let data = drawer.get_json::<Map<String, Value>>(&request.path).await?;
                Ok(data.map(|data| Response { data: Some(data), ..Response::default() }))
            }
            Create | Update => {
                if request.data.is_empty() {
                    return Err(Error::invalid("missing data fields"));
                }
                drawer.put_json(&request.path, &request.data).await?;
                Ok(None)
            }
            Delete => {
                drawer.delete(&request.path).await?;
                Ok(None)
            }
            List => Ok(Response::list(drawer.list(&request.path).await?)),
            Operation::Scan | Operation::Patch | Operation::Help => {
                Err(Error::UnsupportedOperation)
            }
        }
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    async fn exists(&self, request: &Request) -> Result<Option<bool>, Error> {
        let Ok(drawer) = self.drawer(request) else { return Ok(None) };
        Ok(Some(drawer.get(&request.path).await?.is_some()))
    }

    fn help(&self, _path: &str) -> Option<String> {
        Some("Keeps values for the token that writes them, for as long as it lives.".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_logical::Operation::{Create, Delete, List, Read, Scan};
    use serde_json::json;

    use super::*;
    use holdfast_logical::testing::{Mount, caller};

    #[tokio::test]
    async fn no_token_sees_anothers_drawer() {
        let mount = Mount::new(&[], backend).await;
        let ask = async |operation, path, data: Value, token, kind| {
            let mut request = mount.request(operation, path, &data);
            request.caller = Some(caller(token, kind));
            let answer = mount.put(&request).await;
            answer.map(|response| response.and_then(|response| response.data).map(Value::Object))
        };
        let service = TokenKind::Service;
        ask(Create, "a/b", json!({ "x": 1 }), "one", service).await.unwrap();
        assert_eq!(
            ask(Read, "a/b", json!({}), "one", service).await.unwrap(),
            Some(json!({ "x": 1 }))
        );
        for token in ["two", "on", "one2"] {
            assert_eq!(ask(Read, "a/b", json!({}), token, service).await.unwrap(), None, "{token}");
            assert_eq!(ask(List, "", json!({}), token, service).await.unwrap(), None, "{token}");
        }
        for token in ["", "one/a"] {
            assert!(ask(Read, "b", json!({}), token, service).await.is_err(), "{token:?}");
        }
        let refused = ask(Read, "a/b", json!({}), "one", TokenKind::Batch).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "cubbyhole operations are only supported by 'service' type tokens"
        );
    }

    #[tokio::test]
    async fn values_are_kept_listed_and_deleted() {
        let mount = Mount::new(&[], backend).await;
        for (operation, path, data, want) in [
            (Create, "a/b", json!({ "x": 1 }), 204),
            (List, "", json!({}), 200),
            (Scan, "", json!({}), 405),
            (Scan, "a/", json!({}), 405),
            (Create, "a", json!({}), 400),
            (Read, "", json!({}), 400),
            (Delete, "a/b", json!({}), 204),
            (Read, "a/b", json!({}), 404),
        ] {
            let (status, answer) = mount.ask(operation, path, data).await;
            assert_eq!(status, want, "{operation:?} {path}: {answer}");
        }
    }
}
