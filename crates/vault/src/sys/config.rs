//! `sys/config/`: settings of the server as a whole.

use holdfast_logical::{Error, Operation, Response};
use serde_json::{Map, Value, json};

use crate::core::answer::{Answer, LeaseAnswer, envelope};
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::settings::{Cors, STANDARD_HEADERS, UiHeaders};

/// Header fields kept at most, of each kind, and bytes of a value.
const MOST_HEADERS: usize = 256;

/// Answers a request to `sys/config/`; `rest` is what follows.
pub(super) async fn handle(
    vault: &Vault,
    invocation: &Invocation,
    rest: &str,
) -> Result<Answer, Error> {
    use Operation::{Create, Delete, List, Read, Update};
    let operation = invocation.request.operation;
    let segments: Vec<_> = rest.split('/').collect();
    match (segments.as_slice(), operation) {
        (["cors"], Read) => Ok(show_cors(&vault.settings.cors()).into()),
        (["cors"], Create | Update) => {
            let cors = read_cors(invocation)?;
            vault.settings.set_cors(cors).await?;
            Ok(Answer::none())
        }
        (["cors"], Delete) => {
            vault.settings.set_cors(Cors::default()).await?;
            Ok(Answer::none())
        }
        (["ui", "headers", ""], List) => {
            let names = vault.settings.ui_headers().0.keys().cloned().collect();
            Ok(Response::list(names).into())
        }
        (["ui", "headers"] | ["ui", "headers", ""], _) => Err(Error::UnsupportedOperation),
        (["ui", "headers", name], _) if is_name(name) => ui_header(vault, invocation, name).await,
        (["auditing", "request-headers"], Read) => {
            let rows = vault.settings.audited().0.iter().map(audited_row).collect();
            Ok(flat(json!({ "headers": Value::Object(rows) })).into())
        }
        (["auditing", "request-headers"], operation) if operation != List => {
            Err(Error::UnsupportedOperation)
        }
        (["auditing", "request-headers", name], _) if is_name(name) && operation != List => {
            audited_header(vault, invocation, name).await
        }
        (["reload", name], _) if !name.is_empty() => match operation {
            // Certificates and audit files are read anew on SIGHUP.
            Create | Update => Err(Error::UnsupportedPath),
            _ => Err(Error::UnsupportedOperation),
        },
        (["cors"], operation) if operation != List => Err(Error::UnsupportedOperation),
        _ => Err(Error::UnsupportedPath),
    }
}

fn flat(data: Value) -> Response {
    Response { flatten: true, ..Response::data(data) }
}

/// Letters, digits, `-` and `_`, as OpenBao takes names of header fields in paths.
fn is_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 256 && name.bytes().all(is_word)
}

fn show_cors(cors: &Cors) -> Response {
    if !cors.enabled {
        return flat(json!({ "enabled": false }));
    }
    let own = cors.headers.iter().map(String::as_str);
    let headers: Vec<_> = STANDARD_HEADERS.into_iter().chain(own).collect();
    flat(json!({
        "enabled": true,
        "allowed_origins": cors.origins,
        "allowed_headers": headers,
        "allow_credentials": cors.credentials,
    }))
}

fn read_cors(invocation: &Invocation) -> Result<Cors, Error> {
    let fields = invocation.request.fields();
    let origins =
        fields.strings("allowed_origins").map_err(Error::field_validation)?.unwrap_or_default();
    let headers =
        fields.strings("allowed_headers").map_err(Error::field_validation)?.unwrap_or_default();
    let credentials = fields.bool("allow_credentials").map_err(Error::field_validation)?;
    if origins.is_empty() {
        return Err(Error::invalid("at least one origin or the wildcard must be provided"));
    }
    if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
        return Err(Error::invalid(
            "to allow all origins the '*' must be the only value for allowed_origins",
        ));
    }
    if origins.len() > MOST_HEADERS || headers.len() > MOST_HEADERS {
        return Err(Error::invalid("too many origins or headers"));
    }
    Ok(Cors { enabled: true, origins, headers, credentials: credentials.unwrap_or(false) })
}

async fn ui_header(vault: &Vault, invocation: &Invocation, name: &str) -> Result<Answer, Error> {
    let fields = invocation.request.fields();
    let name = UiHeaders::canonical(name);
    match invocation.request.operation {
        Operation::Read => {
            let headers = vault.settings.ui_headers();
            let Some(values) = headers.0.get(&name) else { return Ok(Answer::none()) };
            let multivalue = fields.bool("multivalue")?.unwrap_or(false);
            Ok(Response::data(match multivalue {
                true => json!({ "values": values }),
                false => json!({ "value": values.first() }),
            })
            .into())
        }
        Operation::Create | Operation::Update => {
            let values = fields.strings("values").map_err(Error::field_validation)?;
            let values = values.unwrap_or_default();
            if values.is_empty() {
                return Err(Error::invalid("header and values must be specified"));
            }
            if name.to_lowercase().starts_with("x-vault-") {
                return Err(Error::invalid("X-Vault headers cannot be set"));
            }
            if vault.settings.ui_headers().0.len() >= MOST_HEADERS {
                return Err(Error::invalid("too many headers"));
            }
            let is_policy = name == "Content-Security-Policy";
            vault
                .settings
                .change_ui_headers(|headers| {
                    headers.0.insert(name, values);
                })
                .await?;
            let mut response = Response::default();
            if is_policy {
                response = response.warn(
                    "overriding default Content-Security-Policy which is secure by default, \
                     proceed with caution",
                );
            }
            // An envelope around nothing.
            let id = &invocation.request.id;
            let ready = envelope(id, &mut response, None, &LeaseAnswer::default());
            Ok(Answer { envelope: Some(ready), ..Answer::none() })
        }
        Operation::Delete => {
            vault
                .settings
                .change_ui_headers(|headers| {
                    headers.0.remove(&name);
                })
                .await?;
            Ok(Answer::none())
        }
        _ => Err(Error::UnsupportedOperation),
    }
}

fn audited_row((name, hmac): (&String, &bool)) -> (String, Value) {
    (name.clone(), json!({ "hmac": hmac }))
}

async fn audited_header(
    vault: &Vault,
    invocation: &Invocation,
    name: &str,
) -> Result<Answer, Error> {
    let key = name.to_lowercase();
    match invocation.request.operation {
        Operation::Read => {
            let hmac = vault.settings.audited().0.get(&key).copied();
            let hmac = hmac.ok_or_else(|| Error::invalid("Could not find header in config"))?;
            let row = Map::from_iter([(name.to_owned(), json!({ "hmac": hmac }))]);
            Ok(flat(Value::Object(row)).into())
        }
        Operation::Create | Operation::Update => {
            let hmac = invocation.request.fields().bool("hmac").map_err(Error::field_validation)?;
            if vault.settings.audited().0.len() >= MOST_HEADERS {
                return Err(Error::invalid("too many headers"));
            }
            // The token never stands among the header fields: it cannot be recorded by mistake.
            vault
                .settings
                .change_audited(|headers| {
                    headers.0.insert(key, hmac.unwrap_or(false));
                })
                .await?;
            Ok(Answer::none())
        }
        Operation::Delete => {
            vault
                .settings
                .change_audited(|headers| {
                    headers.0.remove(&key);
                })
                .await?;
            Ok(Answer::none())
        }
        _ => Err(Error::UnsupportedOperation),
    }
}
