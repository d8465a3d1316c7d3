//! Version 1: one value a key.

use std::time::Duration;

use async_trait::async_trait;
use holdfast_barrier::View;
use holdfast_logical::Operation::{Create, Delete, List, Read, Scan, Update};
use holdfast_logical::{
    Backend, Context, Error, Event, Field, Operation, Reply, Request, Response, Route,
};
use holdfast_types::Ttl;
use serde_json::{Map, Value, json};

/// A `kv` mount of version 1.
///
/// Layout: `data/<key>` holds the JSON object as it was written.
pub(super) struct Plain {
    data: View,
}

impl Plain {
    pub(super) fn new(context: &Context) -> Self {
        Self { data: context.storage.sub("data/") }
    }

    async fn read(&self, request: &Request) -> Reply {
        let Some(data) = self.data.get_json::<Map<String, Value>>(&request.path).await? else {
            return Ok(None);
        };
        let ttl = stated_ttl(&data).unwrap_or(request.mount.default_ttl);
        Ok(Some(Response { data: Some(data), ttl: Some(ttl), ..Response::default() }))
    }

    async fn write(&self, request: &Request) -> Reply {
        if request.path.is_empty() {
            return Err(Error::invalid("missing path"));
        }
        if request.data.is_empty() {
            return Err(Error::invalid("missing data fields"));
        }
        self.data.put_json(&request.path, &request.data).await?;
        Ok(None)
    }
}

const ROUTES: &[Route] = &[Route::new(
    "{path*}",
    &[Read, Create, Update, Delete, List, Scan],
    "Read, write, list and remove values.",
)
.fields(&[Field::string("path", "The key.")])];

#[async_trait]
impl Backend for Plain {
    async fn handle(&self, request: &Request) -> Reply {
        match request.operation {
            Read => self.read(request).await,
            Create | Update => self.write(request).await,
            Delete => {
                self.data.delete(&request.path).await?;
                Ok(None)
            }
            List => Ok(Response::list(self.data.list(&request.path).await?)),
            Scan => {
                let keys = self.data.scan(&request.path).await?;
                Ok(Response::list(keys).or_else(|| Some(Response::data(json!({})))))
            }
            Operation::Patch | Operation::Help => Err(Error::UnsupportedOperation),
        }
    }

    fn routes(&self) -> &'static [Route] {
        ROUTES
    }

    fn event(&self, request: &Request, _response: Option<&Response>) -> Option<Event> {
        let kind = match request.operation {
            Create | Update => "kv-v1/write",
            Delete => "kv-v1/delete",
            Read | List | Scan | Operation::Patch | Operation::Help => return None,
        };
        Some(Event::new(kind, &request.path))
    }

    async fn exists(&self, request: &Request) -> Result<Option<bool>, Error> {
        Ok(Some(self.data.get(&request.path).await?.is_some()))
    }

    fn help(&self, _path: &str) -> Option<String> {
        Some("Keeps one value for each key.".to_owned())
    }
}

/// How long the secret itself says that it may be kept: its field `lease`, or `ttl`.
fn stated_ttl(data: &Map<String, Value>) -> Option<Duration> {
    let value = data.get("lease").or_else(|| data.get("ttl"))?;
    let ttl: Ttl = serde_json::from_value(value.clone()).ok()?;
    Some(ttl.0)
}

#[cfg(test)]
mod tests {
    use holdfast_logical::Operation::{Create, Delete, List, Patch, Read, Scan};

    use super::*;
    use crate::kv;
    use holdfast_logical::testing::Mount;

    #[tokio::test]
    async fn one_value_a_key() {
        let mount = Mount::new(&[], kv::backend).await;
        for (operation, path, data, want) in [
            (Read, "a", json!({}), (404, Value::Null)),
            (Create, "a", json!({ "x": 1 }), (204, Value::Null)),
            (Create, "d/e", json!({ "y": 2 }), (204, Value::Null)),
            (Read, "a", json!({}), (200, json!({ "x": 1 }))),
            (Create, "a", json!({}), (400, json!("missing data fields"))),
            (Create, "", json!({ "x": 1 }), (400, json!("missing path"))),
            (List, "", json!({}), (200, json!({ "keys": ["a", "d/"] }))),
            (List, "none/", json!({}), (404, Value::Null)),
            (Scan, "", json!({}), (200, json!({ "keys": ["a", "d/e"] }))),
            (Patch, "a", json!({ "x": 1 }), (405, Value::Null)),
            (Delete, "a", json!({}), (204, Value::Null)),
            (Read, "a", json!({}), (404, Value::Null)),
        ] {
            let got = mount.ask(operation, path, data.clone()).await;
            assert_eq!(got, want, "{operation:?} {path:?} {data}");
        }
    }

    #[tokio::test]
    async fn a_secret_may_say_how_long_it_lasts() {
        let mount = Mount::new(&[], kv::backend).await;
        for (data, want) in [
            (json!({ "ttl": "30m" }), 1800),
            (json!({ "lease": 60, "ttl": "30m" }), 60),
            (json!({ "ttl": "bogus" }), 2_764_800),
            (json!({ "x": 1 }), 2_764_800),
        ] {
            mount.ask(Create, "a", data.clone()).await;
            let answer = mount.put(&mount.request(Read, "a", &json!({}))).await;
            let ttl = answer.unwrap().unwrap().ttl;
            assert_eq!(ttl, Some(Duration::from_secs(want)), "{data}");
        }
    }
}
