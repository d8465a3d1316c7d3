//! Who may change roles in PostgreSQL: a credential of the secrets server's own, or each role itself.

use anyhow::Context as _;
use holdfast_types::SecretString;
use serde_json::{Map, Value, json};
use tokio_postgres::Client;

use super::drive::Rotation;
use super::fields::Fields;
use super::postgres::{Login, Server};
use super::trouble::{Step, Trouble};

impl Rotation<'_> {
    /// The PostgreSQL of the plan.
    pub(crate) fn server(&self) -> Step<Server> {
        let database = self.record.plan.database.as_ref().context("it is of no database");
        let database = database.map_err(Trouble::Failed)?;
        Server::new(&database.connection, database.ca_file.as_deref()).map_err(Trouble::Failed)
    }

    /// Whether there is a credential that may change roles.
    pub(crate) fn has_admin(&self) -> bool {
        self.record.plan.database.as_ref().is_some_and(|database| database.admin.is_some())
    }

    /// A session that may change the passwords of both roles.
    pub(crate) async fn admin_session(&mut self) -> Step<Client> {
        let server = self.server()?;
        let path = self.record.plan.database.as_ref().and_then(|database| database.admin.clone());
        let Some(path) = path else {
            // The role itself, whichever of its passwords it has by now.
            let (old, new) = self.logins().await?;
            return match server.connect(&new).await {
                Err(Trouble::Failed(_)) => server.connect(&old).await,
                other => other,
            };
        };
        let login = match &self.admin {
            Some((login, _)) => login.clone(),
            None => self.fetch_admin(&path).await?,
        };
        let session = server.connect(&login).await;
        if session.is_err() {
            // Perhaps it was rotated, or its lease has ended: the next try reads it anew.
            self.forget_admin().await;
        }
        session
    }

    async fn fetch_admin(&mut self, path: &str) -> Step<Login> {
        let target = super::target::Target::find(&self.client, path).await;
        let read = match target {
            Ok(target) => target.read_path(),
            // A user with a lease, of a database engine.
            Err(_) => path.to_owned(),
        };
        let reply = self.client.read(&read, &[]).await?;
        let reply = reply.with_context(|| format!("there is no {path}, which rotate_admin names"));
        let reply = reply.map_err(Trouble::Failed)?;
        let mut data: Map<String, Value> = reply.data.unwrap_or_default();
        let fields = match data.remove("data") {
            Some(Value::Object(inner)) => Fields::new(inner),
            _ => Fields::new(data),
        };
        let text = |name: &str| -> Step<SecretString> {
            let text = fields.text(name);
            text.ok_or_else(|| {
                Trouble::failed(format!("{path} has no {name}, as rotate_admin needs"))
            })
        };
        let username = text("username")?.expose().clone();
        let login = Login { username, password: text("password")? };
        self.admin = Some((login.clone(), reply.lease_id));
        Ok(login)
    }

    /// Gives a leased credential back. What cannot be given back now ends with its lease.
    pub(crate) async fn forget_admin(&mut self) {
        if let Some((_, lease)) = self.admin.take()
            && !lease.is_empty()
        {
            let body = json!({ "lease_id": lease });
            let _ = self.client.write("sys/leases/revoke", &body).await;
        }
    }
}
