//! Reading and writing the objects of a secrets server by its own API.
//!
//! Mounts, login methods and audit devices are made by one request, changed by another and read by
//! a third; everything else is read and written at its own path.

use async_trait::async_trait;
use holdfast_client::vault::{Method, VaultClient};
use serde_json::{Map, Value, json};

use super::desired::Object;
use super::diff::Actual;

/// One request to the secrets server, with a token that may make it.
#[async_trait]
pub(crate) trait Engine: Send + Sync {
    /// `method` on `path`, which has no `/v1/`. Gives the status and the JSON body (null where
    /// there is none) of every answer, also of refusals.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), EngineError>;
}

#[async_trait]
impl Engine for VaultClient {
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), EngineError> {
        let answer = async {
            let response = self.request(method.clone(), path, body, &[]).await?;
            Ok((response.status.as_u16(), response.json()?))
        };
        answer.await.map_err(|source: holdfast_client::vault::VaultError| {
            EngineError::Unreachable { method, path: path.to_owned(), source: source.into() }
        })
    }
}

/// Why the secrets server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// No answer came.
    #[error("{method} {path}")]
    Unreachable {
        /// The method.
        method: Method,
        /// The API path.
        path: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refused.
    #[error("{method} {path}: {status}: {}", errors.join("; "))]
    Refused {
        /// The method.
        method: Method,
        /// The API path.
        path: String,
        /// The HTTP status.
        status: u16,
        /// Its words.
        errors: Vec<String>,
    },
    /// It is there already and cannot be changed into what the file says.
    #[error("{path}: {why}")]
    Fixed {
        /// The API path.
        path: String,
        /// What stands against it, and what to do.
        why: String,
    },
}

/// The id by which the engine is known from now on.
pub(crate) async fn id(engine: &dyn Engine) -> Result<String, EngineError> {
    let path = "sys/health";
    let (status, body) = engine.request(Method::GET, path, None).await?;
    match body["cluster_id"].as_str() {
        Some(id) if !id.is_empty() => Ok(id.to_owned()),
        _ => Err(refused(Method::GET, path, status, &body)),
    }
}

/// What is at `path`.
pub(crate) async fn read(engine: &dyn Engine, path: &str) -> Result<Actual, EngineError> {
    if let Some(device) = path.strip_prefix("sys/audit/") {
        return read_audit(engine, device).await;
    }
    let (status, body) = engine.request(Method::GET, path, None).await?;
    let mount = path.starts_with("sys/mounts/") || path.starts_with("sys/auth/");
    match status {
        200 => {
            let mut fields = body["data"].as_object().cloned().unwrap_or_default();
            // A database's connection is written flat and read nested.
            if let Some(Value::Object(details)) = fields.remove("connection_details") {
                fields.extend(details);
            }
            Ok(Actual::Fields(fields))
        }
        404 => Ok(Actual::Absent),
        400 if mount => Ok(Actual::Absent),
        405 => Ok(Actual::Unreadable),
        _ => Err(refused(Method::GET, path, status, &body)),
    }
}

async fn read_audit(engine: &dyn Engine, device: &str) -> Result<Actual, EngineError> {
    let (status, body) = engine.request(Method::GET, "sys/audit", None).await?;
    if status != 200 {
        return Err(refused(Method::GET, "sys/audit", status, &body));
    }
    let found = &body["data"][format!("{}/", device.trim_end_matches('/'))];
    Ok(found.as_object().map_or(Actual::Absent, |fields| Actual::Fields(fields.clone())))
}

/// Makes `object`, or changes it to what its file says.
pub(crate) async fn write(
    engine: &dyn Engine,
    object: &Object,
    actual: &Actual,
    secret_fields: Map<String, Value>,
) -> Result<(), EngineError> {
    let path = &object.path;
    let mount = path.starts_with("sys/mounts/") || path.starts_with("sys/auth/");
    match actual {
        Actual::Fields(actual) if mount => tune(engine, object, actual).await,
        Actual::Fields(_) if path.starts_with("sys/audit/") => Err(EngineError::Fixed {
            path: path.clone(),
            why: "an audit device cannot be changed: give the new one another name, apply, and \
                  then remove the old file"
                .to_owned(),
        }),
        _ => {
            let mut body = object.fields.clone();
            body.extend(secret_fields);
            expect(engine, Method::POST, path, Some(&Value::Object(body))).await
        }
    }
}

/// A mount's type is fixed; its description, options and configuration are tuned.
async fn tune(
    engine: &dyn Engine,
    object: &Object,
    actual: &Map<String, Value>,
) -> Result<(), EngineError> {
    if let (Some(desired), Some(actual)) = (object.fields.get("type"), actual.get("type"))
        && desired != actual
    {
        return Err(EngineError::Fixed {
            path: object.path.clone(),
            why: format!("is mounted as {actual} and cannot become {desired}: choose another path"),
        });
    }
    let mut body = Map::new();
    for (name, value) in &object.fields {
        match (name.as_str(), value) {
            ("config", Value::Object(config)) => body.extend(config.clone()),
            ("description" | "options", value) => {
                body.insert(name.clone(), value.clone());
            }
            _ => {}
        }
    }
    let path = format!("{}/tune", object.path);
    expect(engine, Method::POST, &path, Some(&Value::Object(body))).await
}

/// Removes what is at `path`. What is gone already is no error.
pub(crate) async fn remove(engine: &dyn Engine, path: &str) -> Result<(), EngineError> {
    match expect(engine, Method::DELETE, path, None).await {
        Err(EngineError::Refused { status: 404, .. }) => Ok(()),
        other => other,
    }
}

async fn expect(
    engine: &dyn Engine,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<(), EngineError> {
    let (status, answer) = engine.request(method.clone(), path, body).await?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    Err(refused(method, path, status, &answer))
}

fn refused(method: Method, path: &str, status: u16, body: &Value) -> EngineError {
    let errors = body["errors"].as_array().unwrap_or(&Vec::new()).clone();
    let words = |error: &Value| error.as_str().map_or(json!(error).to_string(), str::to_owned);
    let errors = errors.iter().map(words).map(|text| text.trim().to_owned()).collect();
    EngineError::Refused { method, path: path.to_owned(), status, errors }
}
