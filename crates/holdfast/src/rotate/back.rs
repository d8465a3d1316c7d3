//! The phases that lead back to the old credential.

use super::agents::Mark;
use super::drive::{Rotation, now};
use super::lifecycle::{Kind, Phase};
use super::postgres;
use super::record::{Straggler, Validity};
use super::store::{self, Written};
use super::trouble::{Step, Trouble};
use super::watch::behind;

impl Rotation<'_> {
    /// Makes the old credential valid again, before anybody is sent back to it.
    pub(crate) async fn reinstate(&mut self) -> Step {
        let server = self.server()?;
        let (old, _) = self.logins().await?;
        let ended =
            self.record.plan.kind == Kind::SingleRole || self.record.reached == Phase::Retire;
        if ended {
            self.see_whose_it_is().await?;
            let admin = self.admin_session().await?;
            let may_let_in = self.has_admin();
            postgres::set_password(&admin, &old.username, &old.password, may_let_in).await?;
        } else if self.record.old.validity == Validity::Ended {
            // It was refused before the rotation began, which is no harm that it did.
            return Ok(());
        }
        if !server.admits(&old).await? {
            let text = format!("PostgreSQL refuses the old password of {}", old.username);
            return Err(Trouble::failed(text));
        }
        self.record.old.validity = Validity::Valid;
        Ok(())
    }

    /// Sees that the secret's newest version is of this rotation. Where somebody else has put another
    /// credential there, it may be the one that works, and nobody but they can say.
    async fn see_whose_it_is(&mut self) -> Step {
        let staged = self.staged().await?;
        let current = store::read(&self.client, &self.target.read_path()).await?;
        let credential = self.record.plan.credential();
        let fields = current.fields.as_ref();
        let ours = [&staged.old, &staged.new];
        match fields.is_some_and(|own| ours.iter().any(|one| own.agrees(one, &credential))) {
            true => Ok(()),
            false => Err(Trouble::failed(format!(
                "version {} of {} holds a credential that is neither the old nor the new one: the \
                 old password would take it away. Put the old or the new one there, and roll back \
                 again",
                current.version, self.record.path
            ))),
        }
    }

    /// Writes the old credential back, where the new one is the newest. Fields that it has nothing to
    /// do with stay as they are, and so does what somebody else has written meanwhile.
    pub(crate) async fn restore(&mut self) -> Step {
        let staged = self.staged().await?;
        let path = self.target.read_path();
        let current = store::read(&self.client, &path).await?;
        let credential = self.record.plan.credential();
        let is = |fields: &super::fields::Fields| {
            current.fields.as_ref().is_some_and(|own| own.agrees(fields, &credential))
        };
        if let Some(fields) = current.fields.as_ref().filter(|_| is(&staged.new)) {
            let back = fields.with(&staged.old, &credential);
            self.record.new.version = Some(current.version);
            let written = store::write(&self.client, &path, back.value(), current.version).await?;
            let Written::As(version) = written else {
                return Err(Trouble::passing("it was changed by somebody else meanwhile"));
            };
            self.record.restored = Some(version);
        } else if Some(current.version) != self.record.old.version {
            if !is(&staged.old) {
                let note = format!("version {} is somebody else's, and stays", current.version);
                self.teller.note(&note);
                self.record.note(note, now());
            }
            self.record.restored = Some(current.version);
        }
        Ok(())
    }

    /// Waits until nobody uses the new credential any more. A consumer that did not acknowledge it
    /// may use it all the same, but perhaps it acknowledges nothing: it is waited for a while.
    pub(crate) async fn inform(&mut self) -> Step {
        let Some(restored) = self.record.restored else { return Ok(()) };
        let (files, consumers, _) = self.standings(Mark::Version(restored)).await?;
        let new = self.record.new.version;
        let all = self.is_draining();
        let holds_new = |one: &Straggler| one.version.is_some() && one.version == new;
        let (waited_for, others): (Vec<_>, Vec<_>) =
            consumers.into_iter().partition(|one| all || one.problem.is_none() || holds_new(one));
        let first = files.iter().chain(&waited_for).next().map(|one| behind(one, 1));
        self.record.stragglers = [files, waited_for, others].concat();
        match first {
            Some(first) => Err(Trouble::passing(first)),
            None => Ok(()),
        }
    }

    /// Ends the new credential, and forgets it.
    pub(crate) async fn invalidate(&mut self) -> Step {
        let was_valid = self.record.reached >= Phase::Alter;
        if was_valid && self.record.plan.kind == Kind::DualRole {
            let (_, new) = self.logins().await?;
            let current = store::read(&self.client, &self.target.read_path()).await?;
            let current =
                current.fields.and_then(|fields| fields.text(&self.record.plan.username_field));
            if current.is_some_and(|name| *name.expose() == new.username) {
                return Err(Trouble::failed(format!(
                    "the secret names {}, which would be ended: somebody else wrote it",
                    new.username
                )));
            }
            let admin = self.admin_session().await?;
            postgres::end(&admin, &new.username).await?;
        }
        if was_valid || self.record.new.version.is_some() {
            self.record.new.validity = Validity::Ended;
        }
        let path = self.record.path.clone();
        self.store.unstage(&path).await
    }
}
