//! Suites as data: one JSON value a line.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Exchanges that are made one after another, each on what those before it left.
#[derive(Debug, Clone)]
pub struct Suite {
    /// What it is about, such as `kv-v2`.
    pub name: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A line of a suite's file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// A heading.
    About {
        /// What the exchanges under it show.
        about: String,
    },
    /// An exchange.
    Exchange(Box<Exchange>),
}

/// A request and its answer.
///
/// `${name}` in a path, a header or a body stands for what an earlier exchange kept under that
/// name. `${postgres_port}`, `${postgres_password}` and `${postgres_ca}` stand for a PostgreSQL that
/// the suite has to itself: where it listens on `localhost`, its superuser's password, and the file
/// with the certificate to trust.
/// `${kubernetes_host}`, `${kubernetes_ca}` and `${kubernetes_jwt}` (also with `_elsewhere`,
/// `_stranger` and `_gone`) stand for a fake of a cluster's API: where it listens, its authority, and
/// tokens of service accounts.
///
/// The method `SQL` runs what follows it in that PostgreSQL, by its superuser or as the `user password`
/// that `as` names: 200 and the rows as text, or 400 and the server's refusal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Method and path, such as `GET kv/data/app?version=1`: what follows `/v1/`, or all of it
    /// where it begins with `/`. Nothing in it is escaped or tidied on the way out.
    #[serde(rename = "do")]
    pub request: String,
    /// Whose token goes with it: the root token's where this is missing, `nobody` for none, a name
    /// that a token was kept under, or the token itself.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Further header fields.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<Value>,
    /// The body as it is, where it is to be no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// Which client certificate goes with it, over TLS: the PEM text that was kept under that name,
    /// with its key under the same name and `_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shows: Option<String>,
    /// What of the answer is kept for later exchanges: a name, and where it stands, such as
    /// `/auth/client_token`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keep: BTreeMap<String, String>,
    /// Whether the answer's lists come in no order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unordered: bool,
    /// Where in the answer stands what may be anything, such as `/data/build_date`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// What the real engine answered.
    #[serde(flatten)]
    pub answer: Answer,
    /// Where our part answers otherwise on purpose: how, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ours: Option<Ours>,
}

/// An answer in its normal form (see [`crate::run`]).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status; 0 where it was not recorded yet.
    #[serde(default)]
    pub status: u16,
    /// The body: JSON, or text as a string; missing where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub body: Option<Value>,
}

/// A body of `null` is a body.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// An answer of ours that differs on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ours {
    /// The reason.
    pub why: String,
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
}

impl Suite {
    /// Reads a suite from the text of its file. Empty lines separate.
    ///
    /// # Errors
    /// The line that does not parse.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let lines = numbered.map(|(index, line)| {
            serde_json::from_str(line).with_context(|| format!("{name}, line {}", index + 1))
        });
        Ok(Self { name: name.to_owned(), lines: lines.collect::<Result<_>>()? })
    }

    /// The text of its file.
    pub fn print(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            if matches!(line, Line::About { .. }) && !text.is_empty() {
                text.push('\n');
            }
            // Of maps with text as keys, so that it cannot fail.
            text.push_str(&serde_json::to_string(line).unwrap_or_default());
            text.push('\n');
        }
        text
    }

    /// Whether it can be run only over TLS.
    pub fn needs_tls(&self) -> bool {
        self.exchanges().any(|exchange| exchange.shows.is_some())
    }

    /// Its exchanges.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.lines.iter().filter_map(|line| match line {
            Line::About { .. } => None,
            Line::Exchange(exchange) => Some(&**exchange),
        })
    }
}
