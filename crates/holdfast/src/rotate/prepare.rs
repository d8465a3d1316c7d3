//! The first phase: all that can be looked at is looked at, and the new credential is staged.

use std::collections::BTreeMap;

use holdfast_agent::status::StatusError;
use holdfast_types::SecretString;

use super::agents::{self, Mark};
use super::drive::{Rotation, now};
use super::fields::Fields;
use super::lifecycle::Kind;
use super::postgres;
use super::record::{Credential, Validity};
use super::store::{self, Staged, Written};
use super::trouble::{Step, Trouble};
use super::watch::behind;

impl Rotation<'_> {
    /// Makes the new credential and puts it where nobody looks for credentials, so that whoever goes
    /// on after a kill knows it. Nothing else is touched before.
    pub(crate) async fn prepare(&mut self) -> Step {
        self.find_agents().await?;
        if self.record.plan.kind == Kind::EngineRole {
            let (username, last) = self.of_engine().await?;
            self.record.old = Credential { username, ..Credential::default() };
            self.record.new = self.record.old.clone();
            self.record.engine_rotated = Some(last);
            return Ok(());
        }
        let path = self.record.path.clone();
        let (found, version) = self.store.staged(&path).await?;
        let current = store::read(&self.client, &self.target.read_path()).await?;
        let fields = current.fields.as_ref();
        let fields = fields.ok_or_else(|| Trouble::failed(format!("there is no secret {path}")))?;
        let found = found.filter(|found| found.id == self.record.id);
        let staged = match found {
            Some(staged) if staged.old.value() == fields.value() => staged,
            // Nothing was altered yet: what was written since an earlier try is what is rotated.
            found => {
                let plan = &self.record.plan;
                let chosen = found.and_then(|found| found.new.text(&plan.field));
                let staged = self.make(fields, chosen.or(self.given.clone())).await?;
                if self.store.stage(&path, &staged, version).await? == Written::Overtaken {
                    return Err(Trouble::passing("something else was staged meanwhile"));
                }
                staged
            }
        };
        let plan = &self.record.plan;
        let username = |fields: &Fields| {
            let name = fields.text(&plan.username_field).filter(|_| plan.database.is_some());
            name.map(|name| name.expose().clone())
        };
        let old = Credential {
            username: username(&staged.old),
            version: Some(current.version),
            validity: Validity::Valid,
        };
        self.record.new = Credential { username: username(&staged.new), ..Credential::default() };
        self.record.old = old;
        self.staged = Some(staged);
        if self.record.plan.database.is_some() {
            self.look_at_database().await?;
        }
        Ok(())
    }

    /// Both values, the new one `chosen` or else made.
    async fn make(&self, fields: &Fields, chosen: Option<SecretString>) -> Step<Staged> {
        let plan = &self.record.plan;
        let missing =
            |field: &str| Trouble::failed(format!("the secret has no text field {field}"));
        let old = fields.text(&plan.field).ok_or_else(|| missing(&plan.field))?;
        if let Some(other) =
            fields.other_with(&plan.field, &old).filter(|_| !old.expose().is_empty())
        {
            return Err(Trouble::failed(format!(
                "the field {other} holds the old value, too, and would go on holding it: let \
                 templates put it together from {}",
                plan.field
            )));
        }
        let value = match chosen {
            Some(value) => value,
            None => store::generate(&self.client, plan.policy.as_deref()).await?,
        };
        if value == old {
            return Err(Trouble::failed("the new value is the old one"));
        }
        let mut new = fields.clone();
        new.set(&plan.field, &value);
        if plan.database.is_some() {
            let current = fields.text(&plan.username_field);
            let current = current.ok_or_else(|| missing(&plan.username_field))?;
            let next = plan.next_role(current.expose()).map_err(Trouble::Failed)?;
            new.set(&plan.username_field, &next.into());
        }
        Ok(Staged { id: self.record.id.clone(), old: fields.clone(), new })
    }

    /// Sees before anything is changed that it can be changed.
    async fn look_at_database(&mut self) -> Step {
        let server = self.server()?;
        let (old, new) = self.logins().await?;
        if !server.admits(&old).await? {
            self.record.old.validity = Validity::Ended;
            let note = format!("PostgreSQL refuses the secret's password of {}", old.username);
            self.teller.note(&note);
            self.record.note(note, now());
        }
        let admin = self.admin_session().await?;
        for role in [&old.username, &new.username] {
            if !postgres::exists(&admin, role).await? {
                return Err(Trouble::failed(format!("PostgreSQL has no role {role}")));
            }
        }
        if self.record.plan.kind == Kind::DualRole {
            for role in [&old.username, &new.username] {
                postgres::watches(&admin, role).await?;
            }
            let sessions = postgres::sessions(&admin, &new.username, None).await?;
            if let [first, ..] = &sessions[..] {
                return Err(Trouble::failed(format!(
                    "the role {}, whose turn it is, is in use by {} (pid {} of PostgreSQL)",
                    new.username, first.whence, first.pid
                )));
            }
        }
        Ok(())
    }

    /// Finds who delivers the secret. All must answer, and nobody may be behind already: who is
    /// could not be told from who falls behind now.
    async fn find_agents(&mut self) -> Step {
        let path = self.target.read_path();
        let sockets = self.sockets();
        let mut found = BTreeMap::new();
        for (socket, answer) in agents::ask(&sockets).await {
            let status = match answer {
                Ok(status) => status,
                // Whoever names an agent means one that lives.
                Err(StatusError::Gone(_)) if !self.named.sockets.contains(&socket) => {
                    let text = "was killed: it is not asked, nor are those told whom it told";
                    self.teller.note(&format!("the agent of {} {text}", socket.display()));
                    continue;
                }
                Err(error) => {
                    let doing = "an agent that may deliver it does not answer";
                    return Err(Trouble::Passing(error.into()).doing(doing));
                }
            };
            if !agents::delivers(&status, &path) {
                continue;
            }
            let is_named = self.named.sockets.contains(&socket);
            if !is_named && agents::is_elsewhere(&status, self.cluster.as_deref()) {
                let text = "is of another secrets server, and does not count";
                self.teller.note(&format!("the agent {} {text}", status.name));
                continue;
            }
            let standing = agents::standing(&status, &path, Mark::Any);
            if let Some(one) = standing.files.iter().chain(&standing.consumers).next() {
                let text = format!("before anything was changed, {}", behind(one, 1));
                return Err(Trouble::passing(text));
            }
            found.insert(status.name.clone(), agents::watched(&status, socket));
        }
        if found.is_empty() && !self.record.plan.without_agents {
            return Err(Trouble::failed(
                "no agent that answers here delivers it, so that nobody would be told: name its \
                 control socket by --agent, or say --without-agents",
            ));
        }
        self.record.agents = found.into_values().collect();
        Ok(())
    }
}
