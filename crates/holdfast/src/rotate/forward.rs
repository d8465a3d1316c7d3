//! The phases that lead to the new credential. Each finds out what of it is done already.

use anyhow::Context as _;
use holdfast_types::Timestamp;
use serde_json::{Value, json};

use super::agents::Mark;
use super::drive::{Rotation, now};
use super::fields::Fields;
use super::lifecycle::{Kind, Phase};
use super::postgres::{self, Login};
use super::record::Validity;
use super::store::{self, Staged, Written};
use super::target::Target;
use super::trouble::{Step, Trouble};
use super::watch::behind;

/// How long is looked for sessions of the old role, in seconds: who logs in for each request has
/// none at most moments.
const LOOK: u64 = 3;

impl Rotation<'_> {
    /// Does what is left to do of a phase.
    pub(crate) async fn act(&mut self, phase: Phase) -> Step {
        match phase {
            Phase::Prepare => self.prepare().await,
            Phase::Alter => self.alter().await,
            Phase::Write => self.write().await,
            Phase::Deliver => self.deliver().await,
            Phase::Acknowledge => self.acknowledge().await,
            Phase::Verify => self.verify().await,
            Phase::Retire => self.retire().await,
            Phase::Reinstate => self.reinstate().await,
            Phase::Restore => self.restore().await,
            Phase::Inform => self.inform().await,
            Phase::Invalidate => self.invalidate().await,
            Phase::Done | Phase::RolledBack => Ok(()),
        }
    }

    /// Makes the new credential valid, and sees that it is.
    async fn alter(&mut self) -> Step {
        if self.record.plan.kind == Kind::EngineRole {
            return self.alter_engine().await;
        }
        let server = self.server()?;
        let (_, new) = self.logins().await?;
        let admin = self.admin_session().await?;
        let may_let_in = self.has_admin();
        postgres::set_password(&admin, &new.username, &new.password, may_let_in).await?;
        if self.record.plan.kind == Kind::SingleRole {
            self.record.old.validity = Validity::Ended;
        }
        if !server.admits(&new).await? {
            let text = format!("PostgreSQL refuses the new password of {}", new.username);
            return Err(Trouble::failed(text));
        }
        self.record.new.validity = Validity::Valid;
        Ok(())
    }

    /// Has the engine change the password, once.
    async fn alter_engine(&mut self) -> Step {
        let Target::Engine { mount, role } = self.target.clone() else {
            return Err(Trouble::failed("it is no static role of an engine"));
        };
        let (_, mut last) = self.of_engine().await?;
        if self.record.engine_rotated.as_deref() == Some(last.as_str()) {
            self.client.write(&format!("{mount}/rotate-role/{role}"), &json!({})).await?;
            let (_, after) = self.of_engine().await?;
            if after == last {
                return Err(Trouble::passing("the engine has not rotated it yet"));
            }
            last = after;
        }
        let altered = last.parse().context("read when the engine rotated it");
        self.record.altered = Some(altered.map_err(Trouble::Failed)?);
        self.record.old.validity = Validity::Ended;
        self.record.new.validity = Validity::Valid;
        Ok(())
    }

    /// The user of a static role, and when the engine last rotated it.
    pub(crate) async fn of_engine(&self) -> Step<(Option<String>, String)> {
        let reply = self.client.read(&self.target.read_path(), &[]).await?;
        let data = reply.and_then(|reply| reply.data).unwrap_or_default();
        let text = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
        let last = text("last_vault_rotation");
        let last = last.ok_or_else(|| Trouble::failed("there is no such static role"))?;
        Ok((text("username"), last))
    }

    /// Writes the new value as the newest version.
    async fn write(&mut self) -> Step {
        let staged = self.staged().await?;
        let path = self.target.read_path();
        let current = store::read(&self.client, &path).await?;
        let credential = self.record.plan.credential();
        let is_new =
            current.fields.as_ref().is_some_and(|fields| fields.agrees(&staged.new, &credential));
        let version = match self.record.old.version {
            _ if is_new => Written::As(current.version),
            Some(old) if old == current.version => {
                store::write(&self.client, &path, staged.new.value(), old).await?
            }
            _ => Written::Overtaken,
        };
        let Written::As(version) = version else {
            return Err(Trouble::failed(format!(
                "{} was changed by somebody else meanwhile: it has version {}",
                self.record.path, current.version
            )));
        };
        self.record.new.version = Some(version);
        Ok(())
    }

    /// Waits until all files hold the new value.
    async fn deliver(&mut self) -> Step {
        let (files, _, _) = self.standings(self.forward_mark()).await?;
        self.record.stragglers = files;
        match self.record.stragglers.first() {
            None => Ok(()),
            Some(first) => Err(Trouble::passing(behind(first, self.record.stragglers.len()))),
        }
    }

    /// Waits until all consumers have taken it up.
    async fn acknowledge(&mut self) -> Step {
        let (files, consumers, watched) = self.standings(self.forward_mark()).await?;
        // What keeps a file from being rendered passes, as when the server is away for a moment; what
        // keeps a consumer from acknowledging was waited for by its agent already.
        let ill = consumers.iter().find(|one| one.problem.is_some());
        let ill = ill.map(|ill| behind(ill, consumers.len()));
        self.record.stragglers = [files, consumers].concat();
        if let Some(ill) = ill {
            return Err(Trouble::failed(ill));
        }
        let stragglers = &self.record.stragglers;
        if let Some(first) = stragglers.first() {
            return Err(Trouble::passing(behind(first, stragglers.len())));
        }
        if self.record.plan.kind == Kind::DualRole {
            let admin = self.admin_session().await?;
            self.record.acknowledged = Some(postgres::now(&admin).await?);
        }
        self.record.note(format!("{watched} consumers are on the new credential"), now());
        Ok(())
    }

    /// Sees that the new credential works, and that nobody comes with the old one any more.
    async fn verify(&mut self) -> Step {
        let (files, consumers, _) = self.standings(self.forward_mark()).await?;
        self.record.stragglers = [files, consumers].concat();
        if let Some(first) = self.record.stragglers.first() {
            return Err(Trouble::passing(behind(first, self.record.stragglers.len())));
        }
        if self.record.plan.kind == Kind::EngineRole {
            return Ok(());
        }
        let staged = self.staged().await?;
        let current = store::read(&self.client, &self.target.read_path()).await?;
        let credential = self.record.plan.credential();
        if !current.fields.is_some_and(|fields| fields.agrees(&staged.new, &credential)) {
            let text =
                format!("version {} is not what was written: somebody else's", current.version);
            return Err(Trouble::failed(text));
        }
        if self.record.plan.database.is_none() {
            return Ok(());
        }
        let server = self.server()?;
        let (old, new) = self.logins().await?;
        if !server.admits(&new).await? {
            self.record.new.validity = Validity::Ended;
            let text = format!("PostgreSQL refuses the new password of {}", new.username);
            return Err(Trouble::failed(text));
        }
        if self.record.plan.kind != Kind::DualRole {
            return Ok(());
        }
        let admin = self.admin_session().await?;
        let after = self.record.acknowledged.clone();
        let strangers = postgres::sessions(&admin, &old.username, after.as_deref()).await?;
        if let [first, ..] = &strangers[..] {
            return Err(Trouble::failed(format!(
                "{} (pid {} of PostgreSQL) logged in as {} after all known consumers had taken up \
                 {}: a consumer that no agent here knows",
                first.whence, first.pid, old.username, new.username
            )));
        }
        let left = postgres::sessions(&admin, &old.username, None).await?;
        if self.is_within(LOOK) {
            return Err(Trouble::passing(format!("looks who still comes as {}", old.username)));
        }
        if !left.is_empty() && self.is_draining() {
            let text = format!("{} sessions of {} go on", left.len(), old.username);
            return Err(Trouble::passing(text));
        }
        for session in &left {
            let note = format!("{} still had a session as {}", session.whence, old.username);
            self.record.note(note, now());
        }
        Ok(())
    }

    /// Ends the old credential.
    async fn retire(&mut self) -> Step {
        let plan = self.record.plan.clone();
        if plan.kind == Kind::DualRole {
            // From here on nobody can say that it is still good.
            self.record.old.validity = Validity::Ended;
            let admin = self.admin_session().await?;
            let old = self.record.old.username.clone().unwrap_or_default();
            postgres::end(&admin, &old).await?;
        }
        if let (true, Target::Kv { mount, name }, Some(version)) =
            (plan.destroy_old, &self.target, self.record.old.version)
        {
            let body = json!({ "versions": [version] });
            self.client.write(&format!("{mount}/destroy/{name}"), &body).await?;
            self.record.old.validity = Validity::Ended;
        }
        let path = self.record.path.clone();
        self.store.unstage(&path).await
    }

    /// What readers should have by now.
    fn forward_mark(&self) -> Mark {
        match self.record.plan.kind {
            Kind::EngineRole => Mark::Rotated(self.record.altered.unwrap_or(Timestamp::MAX)),
            _ => Mark::Version(self.record.new.version.unwrap_or(u64::MAX)),
        }
    }

    /// Whether sessions and consumers may still go on with what is to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_within(u64::MAX)
    }

    /// Whether the phase began less than `seconds` ago, and less than the drain limit.
    fn is_within(&self, seconds: u64) -> bool {
        let waited = (now() - self.record.since).total(jiff::Unit::Second).unwrap_or(f64::MAX);
        waited < self.record.plan.drain.min(seconds) as f64
    }

    /// What was staged for this rotation.
    pub(crate) async fn staged(&mut self) -> Step<Staged> {
        if let Some(staged) = &self.staged {
            return Ok(staged.clone());
        }
        let (staged, _) = self.store.staged(&self.record.path).await?;
        let staged = staged.filter(|staged| staged.id == self.record.id);
        let staged = staged.context("what was staged for this rotation is gone");
        let staged = staged.map_err(Trouble::Failed)?;
        self.staged = Some(staged.clone());
        Ok(staged)
    }

    /// The old and the new credential, for PostgreSQL.
    pub(crate) async fn logins(&mut self) -> Step<(Login, Login)> {
        let staged = self.staged().await?;
        let plan = &self.record.plan;
        let login = |fields: &Fields| {
            let (username, password) =
                (fields.text(&plan.username_field)?, fields.text(&plan.field)?);
            Some(Login { username: username.expose().clone(), password })
        };
        let both = login(&staged.old).zip(login(&staged.new));
        both.ok_or_else(|| Trouble::failed("what was staged is no credential"))
    }
}
