//! Secret ids that have expired, and accessors that lead nowhere, are removed.

use std::time::Duration;

use holdfast_barrier::Batch;
use holdfast_logical::{Error, Reply, Response};
use tracing::{debug, warn};

use super::AppRole;
use super::store::{AccessorEntry, secret_id_entry};

/// How often all secret ids are looked through. Expired ones are refused at once, so this is only
/// about space.
const EVERY: Duration = Duration::from_secs(3600);

/// How many names are looked at at a time: nothing of the size of the store is held in memory.
const PAGE: usize = 500;

impl AppRole {
    /// `PUT tidy/secret-id`: begins, and goes on after the answer.
    pub(super) async fn tidy_now(&self) -> Reply {
        if self.tidying.try_lock().is_err() {
            return Ok(Some(Response::default().warn("Tidy operation already in progress.")));
        }
        let me = self.me.clone();
        tokio::spawn(async move {
            let Some(me) = me.upgrade() else { return };
            if let Err(error) = me.tidy().await {
                warn!(%error, "tidy secret ids");
            }
        });
        let started = Response::default()
            .warn(
                "Tidy operation successfully started. Any information from the operation will be \
                 printed to OpenBao's server logs.",
            )
            .status(202);
        Ok(Some(started))
    }

    /// Tidies when the last time is long enough ago.
    pub(super) async fn tidy_now_and_then(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let mut tidied_at = self.tidied_at.lock().await;
        let is_due = tidied_at.is_none_or(|last| now.duration_since(last).unsigned_abs() >= EVERY);
        if is_due {
            self.tidy().await?;
            *tidied_at = Some(now);
        }
        Ok(())
    }

    /// Looks through all secret ids, unless somebody does already.
    async fn tidy(&self) -> Result<(), Error> {
        let Ok(_tidying) = self.tidying.try_lock() else { return Ok(()) };
        let mut removed = 0;
        // By what is stored, not by the roles: a folder may have outlived its role.
        let mut after = None;
        while let Some(folders) = self.page("secret-id/", &mut after).await? {
            for folder in folders {
                removed += self.tidy_role(folder.trim_end_matches('/')).await?;
            }
        }
        let mut after = None;
        while let Some(accessors) = self.page("accessor/", &mut after).await? {
            for accessor in accessors {
                self.tidy_accessor(&accessor).await?;
            }
        }
        debug!(removed, "secret ids tidied");
        Ok(())
    }

    /// The names under `folder` that come after `after`, which is moved on; none at the end.
    async fn page(
        &self,
        folder: &str,
        after: &mut Option<String>,
    ) -> Result<Option<Vec<String>>, Error> {
        let names = self.storage.list_page(folder, after.as_deref(), Some(PAGE)).await?;
        after.clone_from(&names.last().cloned());
        Ok((!names.is_empty()).then_some(names))
    }

    /// Removes a role's secret ids that have expired, or all of them where there is no such role.
    async fn tidy_role(&self, name: &str) -> Result<u64, Error> {
        let is_orphaned = self.role(name).await?.is_none();
        let mut removed = 0;
        let mut after = None;
        while let Some(hmacs) = self.page(&format!("secret-id/{name}/"), &mut after).await? {
            for hmac in hmacs {
                let _guard = self.secret_id_uses.lock(&hmac).await;
                let Some(secret_id) = self.secret_id(name, &hmac).await? else { continue };
                if secret_id.is_alive(self.clock.now()) && !is_orphaned {
                    continue;
                }
                let mut batch = Batch::new();
                self.forget(&mut batch, name, &hmac, &secret_id)?;
                self.storage.commit(batch).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes an accessor that leads nowhere.
    async fn tidy_accessor(&self, accessor: &str) -> Result<(), Error> {
        let entry = format!("accessor/{accessor}");
        let Some(found) = self.storage.get_json::<AccessorEntry>(&entry).await? else {
            return Ok(());
        };
        // Read under the lock that it is made under.
        let _guard = self.secret_id_uses.lock(&found.secret_id_hmac).await;
        let secret_id = secret_id_entry(&found.role, &found.secret_id_hmac);
        if self.storage.get(&secret_id).await?.is_none() {
            self.storage.delete(&entry).await?;
        }
        Ok(())
    }
}
