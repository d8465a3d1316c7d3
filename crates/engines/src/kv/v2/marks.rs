//! `delete/`, `undelete/` and `destroy/<key>`: marks on versions.

use holdfast_barrier::Batch;
use holdfast_logical::{Error, Reply, Request};

use super::{Versioned, version_entry};

/// What is done to each version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Delete,
    Undelete,
    Destroy,
}

impl Versioned {
    /// `PUT delete|undelete|destroy/<key>` with `versions`. Keys and versions that are not there
    /// are passed over.
    pub(super) async fn mark(&self, request: &Request, path: &str, mark: Mark) -> Reply {
        let versions = parse_versions(request)?;
        if versions.is_empty() {
            return Err(Error::invalid(match mark {
                Mark::Delete | Mark::Undelete => "No version number provided",
                Mark::Destroy => "no version number provided",
            }));
        }
        let _guard = self.locks.lock(path).await;
        let Some(mut key) = self.key(path).await? else { return Ok(None) };
        let now = self.clock.now();
        let mut batch = Batch::new();
        // A negative number is nobody's version.
        for number in versions.into_iter().filter_map(|number| u64::try_from(number).ok()) {
            match mark {
                Mark::Delete => key.delete_version(number, now),
                Mark::Undelete => key.undelete_version(number),
                Mark::Destroy => {
                    if key.destroy_version(number) {
                        batch.delete(version_entry(path, number));
                    }
                }
            }
        }
        self.put_key(&mut batch, path, &key)?;
        self.storage.commit(batch).await?;
        Ok(None)
    }
}

/// The numbers in `versions`: a list, text with commas, or a single one.
fn parse_versions(request: &Request) -> Result<Vec<i64>, Error> {
    let items =
        request.fields().strings("versions").map_err(Error::field_validation)?.unwrap_or_default();
    let numbers = items.iter().enumerate().map(|(index, item)| {
        item.parse().map_err(|_| {
            Error::invalid(format!(
                "Field validation failed: error converting input for field \"versions\": decoding \
                 failed due to the following error(s):\n\n'[{index}]' cannot parse value as \
                 'int': strconv.ParseInt: invalid syntax"
            ))
        })
    });
    numbers.collect()
}
