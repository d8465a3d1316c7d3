//! An answer of the API as the command line shows it: field for field, in the official order.

use holdfast_client::vault::{Method, Response, VaultClient, VaultError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::output::map_rows;
use super::table::{go_quoted, human_seconds};

/// The envelope of most answers.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Secret {
    pub(super) request_id: String,
    pub(super) lease_id: String,
    pub(super) lease_duration: i64,
    pub(super) renewable: bool,
    pub(super) data: Option<Map<String, Value>>,
    pub(super) warnings: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth: Option<Auth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wrap_info: Option<WrapInfo>,
}

/// A token.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Auth {
    pub(super) client_token: String,
    pub(super) accessor: String,
    pub(super) policies: Option<Vec<String>>,
    pub(super) token_policies: Option<Vec<String>>,
    pub(super) identity_policies: Option<Vec<String>>,
    pub(super) metadata: Option<Map<String, Value>>,
    pub(super) orphan: bool,
    pub(super) entity_id: String,
    pub(super) lease_duration: i64,
    pub(super) renewable: bool,
    pub(super) mfa_requirement: Option<Value>,
}

/// A token that stands for an answer.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WrapInfo {
    pub(super) token: String,
    pub(super) accessor: String,
    pub(super) ttl: i64,
    pub(super) creation_time: String,
    pub(super) creation_path: String,
    pub(super) wrapped_accessor: String,
}

impl Secret {
    /// What `path` holds; `None` where it holds nothing.
    pub(super) async fn read(
        client: &VaultClient,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Self>, VaultError> {
        Self::found(client.request(Method::GET, path, None, query).await?)
    }

    /// The names below `path`; `None` where there are none.
    pub(super) async fn list(
        client: &VaultClient,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Self>, VaultError> {
        let query: Vec<_> = [("list", "true")].iter().chain(query).copied().collect();
        Self::read(client, path, &query).await
    }

    /// Writes `body` to `path`. The answer is `None` where there is nothing to say.
    pub(super) async fn write(
        client: &VaultClient,
        path: &str,
        body: &Value,
    ) -> Result<Option<Self>, VaultError> {
        Self::parse(&client.request(Method::PUT, path, Some(body), &[]).await?.success()?)
    }

    /// Sends a request whose answer may be `None`.
    pub(super) async fn send(
        client: &VaultClient,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Option<Self>, VaultError> {
        Self::parse(&client.request(method, path, body, &[]).await?.success()?)
    }

    /// Changes what `path` holds by a merge patch.
    pub(super) async fn patch(
        client: &VaultClient,
        path: &str,
        patch: &Value,
    ) -> Result<Option<Self>, VaultError> {
        Self::parse(&client.request(Method::PATCH, path, Some(patch), &[]).await?.success()?)
    }

    /// Deletes `path`.
    pub(super) async fn delete(
        client: &VaultClient,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Self>, VaultError> {
        Self::parse(&client.request(Method::DELETE, path, None, query).await?.success()?)
    }

    /// The answer in `response`, or `None` where it has no body.
    pub(super) fn parse(response: &Response) -> Result<Option<Self>, VaultError> {
        response.parse()
    }

    /// The answer in `response`; `None` where there is nothing: no body, or a 404 without data and
    /// warnings. Every other refusal is an error.
    pub(super) fn found(response: Response) -> Result<Option<Self>, VaultError> {
        if response.status == 404 {
            let secret = Self::parse(&response).ok().flatten();
            return Ok(secret.filter(Self::says_something));
        }
        Self::parse(&response.success()?)
    }

    /// The names in the answer to a list.
    pub(super) fn keys(&self) -> Option<&Vec<Value>> {
        self.data.as_ref()?.get("keys")?.as_array()
    }

    /// What it says of each of those names.
    pub(super) fn key_info(&self) -> Option<&Map<String, Value>> {
        self.data.as_ref()?.get("key_info")?.as_object()
    }

    /// Whether it stands for another answer.
    pub(super) fn is_wrapped(&self) -> bool {
        self.wrap_info.as_ref().is_some_and(|wrap| wrap.ttl != 0)
    }

    fn says_something(&self) -> bool {
        self.data.as_ref().is_some_and(|data| !data.is_empty())
            || self.warnings.as_ref().is_some_and(|warnings| !warnings.is_empty())
    }

    /// The rows of the table that shows it.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut add = |key: &str, value: String| rows.push(vec![key.to_owned(), value]);
        if self.lease_duration > 0 {
            let duration = human_seconds(self.lease_duration);
            if self.lease_id.is_empty() {
                // Secrets that do not expire carry a duration all the same: when to look again.
                add("refresh_interval", duration);
            } else {
                add("lease_id", self.lease_id.clone());
                add("lease_duration", duration);
                add("lease_renewable", self.renewable.to_string());
            }
        }
        if let Some(auth) = &self.auth {
            add("token", auth.client_token.clone());
            add("token_accessor", auth.accessor.clone());
            let duration = match auth.lease_duration {
                0 => "\u{221e}".to_owned(),
                seconds => human_seconds(seconds),
            };
            add("token_duration", duration);
            add("token_renewable", auth.renewable.to_string());
            for (key, names) in [
                ("token_policies", &auth.token_policies),
                ("identity_policies", &auth.identity_policies),
                ("policies", &auth.policies),
            ] {
                add(key, go_quoted(names.as_deref().unwrap_or_default()));
            }
            for (key, value) in auth.metadata.iter().flatten() {
                add(&format!("token_meta_{key}"), super::table::go_value(value));
            }
        }
        if let Some(wrap) = &self.wrap_info {
            add("wrapping_token:", wrap.token.clone());
            add("wrapping_accessor:", wrap.accessor.clone());
            add("wrapping_token_ttl:", human_seconds(wrap.ttl));
            add("wrapping_token_creation_time:", go_time(&wrap.creation_time));
            add("wrapping_token_creation_path:", wrap.creation_path.clone());
            if !wrap.wrapped_accessor.is_empty() {
                add("wrapped_accessor:", wrap.wrapped_accessor.clone());
            }
        }
        rows.extend(self.data.iter().flat_map(map_rows));
        rows
    }

    /// One field of it, by the name that the table gives it.
    pub(super) fn field(&self, name: &str) -> Option<Value> {
        let known = if let Some(auth) = &self.auth {
            match name {
                "token" => Some(auth.client_token.clone().into()),
                "token_accessor" => Some(auth.accessor.clone().into()),
                "token_duration" => Some(auth.lease_duration.into()),
                "token_renewable" => Some(auth.renewable.into()),
                "token_policies" => Some(auth.token_policies.clone().unwrap_or_default().into()),
                "identity_policies" => {
                    Some(auth.identity_policies.clone().unwrap_or_default().into())
                }
                "policies" => Some(auth.policies.clone().unwrap_or_default().into()),
                _ => None,
            }
        } else if let Some(wrap) = &self.wrap_info {
            match name {
                "wrapping_token" => Some(wrap.token.clone().into()),
                "wrapping_accessor" => Some(wrap.accessor.clone().into()),
                "wrapping_token_ttl" => Some(wrap.ttl.into()),
                "wrapping_token_creation_time" => Some(wrap.creation_time.clone().into()),
                "wrapping_token_creation_path" => Some(wrap.creation_path.clone().into()),
                "wrapped_accessor" => Some(wrap.wrapped_accessor.clone().into()),
                _ => None,
            }
        } else {
            match name {
                "lease_duration" | "refresh_interval" => Some(self.lease_duration.into()),
                "lease_id" => Some(self.lease_id.clone().into()),
                "request_id" => Some(self.request_id.clone().into()),
                "renewable" => Some(self.renewable.into()),
                "data" => {
                    let data = self.data.as_ref()?;
                    Some(data.get("data").cloned().unwrap_or_else(|| data.clone().into()))
                }
                _ => None,
            }
        };
        known.or_else(|| self.data.as_ref()?.get(name).cloned())
    }
}

/// An RFC 3339 time in UTC as Go's `Time.String` prints it.
fn go_time(text: &str) -> String {
    match text.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        Some((date, time)) => format!("{date} {time} +0000 UTC"),
        None => text.to_owned(),
    }
}
