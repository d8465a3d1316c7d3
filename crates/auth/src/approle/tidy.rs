//! Secret ids that have expired, and accessors that lead nowhere, are removed.

use std::time::Duration;

use holdfast_barrier::Batch;
use holdfast_logical::{Error, Reply, Response};
use tracing::debug;

use super::AppRole;
use super::store::{AccessorEntry, secret_id_entry};

/// How often all secret ids are looked through. Expired ones are refused at once, so this is only
/// about space.
const EVERY: Duration = Duration::from_secs(3600);

impl AppRole {
    /// `PUT tidy/secret-id`
    pub(super) async fn tidy_now(&self) -> Reply {
        self.tidy().await?;
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

    async fn tidy(&self) -> Result<(), Error> {
        let mut removed = 0;
        for path in self.storage.scan("secret-id/").await? {
            let Some((name, hmac)) = path.split_once('/') else { continue };
            let _guard = self.secret_id_uses.lock(hmac).await;
            let Some(secret_id) = self.secret_id(name, hmac).await? else { continue };
            let is_orphan = self.role(name).await?.is_none();
            if secret_id.is_alive(self.clock.now()) && !is_orphan {
                continue;
            }
            let mut batch = Batch::new();
            self.forget(&mut batch, name, hmac, &secret_id)?;
            self.storage.commit(batch).await?;
            removed += 1;
        }
        for accessor in self.storage.scan("accessor/").await? {
            let entry = format!("accessor/{accessor}");
            let Some(found) = self.storage.get_json::<AccessorEntry>(&entry).await? else {
                continue;
            };
            // Read under the lock that it is made under.
            let _guard = self.secret_id_uses.lock(&found.secret_id_hmac).await;
            let secret_id = secret_id_entry(&found.role, &found.secret_id_hmac);
            if self.storage.get(&secret_id).await?.is_none() {
                self.storage.delete(&entry).await?;
            }
        }
        debug!(removed, "secret ids tidied");
        Ok(())
    }
}
