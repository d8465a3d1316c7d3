//! From version 1 to version 2, when the mount is tuned so.

use holdfast_barrier::Batch;
use holdfast_logical::Error;
use serde_json::Value;

use super::config::Config;
use super::key::Key;
use super::{Versioned, version_entry};

/// Where version 1 keeps its values. Version 2 keeps nothing there.
const PLAIN: &str = "data/";

impl Versioned {
    /// Makes each value of version 1 the first version of its key. Each key is moved by one batch,
    /// so that a crash leaves every key in one of the two forms and the next start goes on.
    pub(super) async fn upgrade(&self, config: &Config) -> Result<(), Error> {
        let plain = self.storage.sub(PLAIN);
        for path in plain.scan("").await? {
            let Some(data) = plain.get_json::<Value>(&path).await? else { continue };
            let now = self.clock.now();
            let mut key = Key::new(now);
            key.add_version(now, config);
            key.oldest_version = key.current_version;
            let mut batch = Batch::new();
            self.put_key(&mut batch, &path, &key)?;
            let entry = version_entry(&path, key.current_version);
            self.storage.batch_json(&mut batch, &entry, &data)?;
            batch.delete(format!("{PLAIN}{path}"));
            self.storage.commit(batch).await?;
        }
        Ok(())
    }
}
