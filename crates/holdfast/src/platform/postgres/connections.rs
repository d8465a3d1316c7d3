//! How the database engine of the secrets server gets its way into PostgreSQL.
//!
//! Each connection has a superuser of its own. Its first password is made here, set over the Unix
//! socket, handed to the engine, and at once replaced by the engine with one that nobody else ever
//! sees. A crash in between leaves at worst a password that nobody knows any more: the connection
//! is recorded as applied only after all of it, so the next apply makes it anew.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use holdfast_client::vault::Method;
use holdfast_types::{Random, SecretString, SystemRandom};
use serde_json::{Map, Value, json};

use super::Server;
use super::settings::{ENGINE_GROUP, ENGINE_ROLE_PREFIX};
use crate::apply::{Desired, Engine, Hooks};

/// Completes the connections of database engines to this PostgreSQL.
pub(crate) struct Connections {
    server: Server,
    /// `<mount>/config/<name>` of each.
    paths: BTreeSet<String>,
}

impl Connections {
    /// Finds those of `desired` that lead to `server`.
    pub(crate) fn new(server: Server, desired: &Desired) -> Self {
        let host = format!("@{}/", server.dialled());
        let leads_here = desired.0.iter().filter(|object| {
            let field = |name: &str| object.fields.get(name).and_then(Value::as_str);
            field("plugin_name") == Some("postgresql-database-plugin")
                && field("connection_url").is_some_and(|url| url.contains(&host))
        });
        let paths = leads_here.map(|object| object.path.clone()).collect();
        Self { server, paths }
    }

    /// Those that no longer lead anywhere, because the engine's password and PostgreSQL's differ:
    /// one of the two was restored, say. Asks the engine to connect anew.
    pub(crate) async fn broken(&self, engine: &dyn Engine) -> anyhow::Result<Vec<String>> {
        let mut broken = Vec::new();
        for path in &self.paths {
            let Some((mount, name)) = split(path) else { continue };
            let reset = format!("{mount}/reset/{name}");
            let (status, answer) = engine.request(Method::PUT, &reset, Some(&json!({}))).await?;
            if status >= 400 && answer.to_string().contains("authentication failed") {
                broken.push(path.clone());
            }
        }
        Ok(broken)
    }
}

#[async_trait]
impl Hooks for Connections {
    async fn secret_fields(&self, path: &str) -> anyhow::Result<Map<String, Value>> {
        if !self.completes(path) {
            return Ok(Map::new());
        }
        let (_, name) = split(path).context("a connection has a name")?;
        let role = format!("{ENGINE_ROLE_PREFIX}{name}");
        ensure!(
            role.len() <= 63 && role.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)),
            "{path} needs a name of letters, digits, - and _, at most 54 of them"
        );
        let random: &dyn Random = &SystemRandom;
        let password = SecretString::new(random.base62(40));
        // The verifier, never the password: statements can end up in logs.
        let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
        let admin = self.server.connect("postgres").await?;
        let query = "SELECT 1 FROM pg_roles WHERE rolname = $1";
        let verb = match admin.query_opt(query, &[&role]).await? {
            Some(_) => "ALTER",
            None => "CREATE",
        };
        let statement = SecretString::new(format!(
            "{verb} ROLE \"{role}\" WITH SUPERUSER LOGIN PASSWORD '{verifier}';
             GRANT \"{ENGINE_GROUP}\" TO \"{role}\";"
        ));
        admin
            .batch_execute(statement.expose())
            .await
            .with_context(|| format!("prepare the role {role}"))?;
        let fields = json!({ "username": role, "password": password.expose() });
        fields.as_object().cloned().context("an object")
    }

    fn completes(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    async fn made(&self, path: &str, engine: &dyn Engine) -> anyhow::Result<()> {
        if !self.completes(path) {
            return Ok(());
        }
        let (mount, name) = split(path).context("a connection has a name")?;
        let rotate = format!("{mount}/rotate-root/{name}");
        let (status, answer) = engine.request(Method::PUT, &rotate, Some(&json!({}))).await?;
        ensure!(status < 400, "{rotate}: {status}: {}", answer["errors"]);
        Ok(())
    }
}

/// `database/config/appdb` as `("database", "appdb")`.
fn split(path: &str) -> Option<(&str, &str)> {
    let (front, name) = path.rsplit_once('/')?;
    Some((front.strip_suffix("/config")?, name))
}
