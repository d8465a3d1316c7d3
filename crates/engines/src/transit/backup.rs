//! `backup/<name>` and `restore[/<name>]`: a key with all its versions, in the form that OpenBao
//! writes and reads.

use holdfast_logical::{Error, Reply, Request};
use serde_json::json;

use super::key::{Copied, Key};
use super::refused::Refused;
use super::{Transit, answer, backup_format, compute, route};

impl Transit {
    /// `GET backup/<name>`
    pub(super) async fn back_up(&self, name: &str) -> Reply {
        let locked = self.keys.lock(name).await;
        let missing = || Error::invalid(format!("key {name:?} not found"));
        let key = locked.get().await?.ok_or_else(missing)?;
        key.check_usable()?;
        if !key.settings.exportable {
            return Err(Error::invalid("exporting is disallowed on the policy"));
        }
        if !key.settings.allow_plaintext_backup {
            return Err(Error::invalid("plaintext backup is disallowed on the policy"));
        }
        let mut changed = Key::clone(&key);
        changed.settings.backed_up =
            Some(Copied { time: self.clock.now(), version: changed.settings.latest_version });
        // Recorded before it is given away.
        let key = locked.put(changed, &[]).await?;
        let all = locked.all_versions(&key).await?;
        let text = compute(move || backup_format::print(&all)).await?;
        answer(json!({ "backup": text? }))
    }

    /// `POST restore[/<name>]`: under the name it had, or under another. As in OpenBao it is the path
    /// alone that gives the other name.
    pub(super) async fn restore(&self, request: &Request, name: &str) -> Reply {
        let fields = request.fields();
        let text = fields.string("backup")?.unwrap_or_default();
        let force = fields.bool("force")?.unwrap_or_default();
        if text.is_empty() {
            return Err(Error::invalid("'backup' must be supplied"));
        }
        if name.contains('/') {
            return Err(Error::invalid("key names cannot be paths"));
        }
        let text = zeroize::Zeroizing::new(text);
        let mut key = compute(move || backup_format::parse(&text)).await??;
        if !name.is_empty() {
            name.clone_into(&mut key.name);
        }
        if !route::is_name(&key.name) {
            return Err(Refused::new("the backup's key has a name that no key can have").into());
        }
        key.settings.restored =
            Some(Copied { time: self.clock.now(), version: key.settings.latest_version });
        let name = key.name.clone();
        let locked = self.keys.lock(&name).await;
        if !force && locked.get().await?.is_some() {
            return Err(Error::invalid(format!("key {name:?} already exists")));
        }
        let numbers: Vec<u32> = key.versions.keys().copied().collect();
        locked.put(key, &numbers).await?;
        Ok(None)
    }
}
