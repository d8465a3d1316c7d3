//! Making, reading, listing, rotating and deleting keys.

use std::sync::Arc;
use std::time::Duration;

use holdfast_logical::{Error, Reply, Request, Response};
use holdfast_types::Timestamp;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::encoding::from_base64;
use super::key::{Key, Settings, Version};
use super::key_type::KeyType;
use super::keys::Locked;
use super::material::HMAC_SIZES;
use super::{Transit, answer, compute};

/// A key is not rotated more often by itself.
pub(super) const SHORTEST_PERIOD: Duration = Duration::from_secs(3600);

/// How often keys are looked through for those that are due.
const CHECK_EVERY: Duration = Duration::from_secs(3600);

/// When keys were last looked through.
#[derive(Default)]
pub(super) struct Rotation {
    next_check: Mutex<Option<Timestamp>>,
}

impl Transit {
    /// `LIST keys?after=&limit=`
    pub(super) async fn list_keys(&self, request: &Request) -> Reply {
        let fields = request.fields();
        let after = fields.string("after")?.filter(|after| !after.is_empty());
        let limit = fields.integer("limit")?.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.filter(|limit| *limit > 0);
        Ok(Response::list(self.keys.list(after.as_deref(), limit).await?))
    }

    /// `POST keys/<name>`: a key that is there already stays as it is.
    pub(super) async fn create_key(&self, request: &Request, name: &str) -> Reply {
        let fields = request.fields();
        let flag = |name| Ok::<_, Error>(fields.bool(name)?.unwrap_or_default());
        let kind = fields.string("type")?;
        let kind =
            kind.filter(|kind| !kind.is_empty()).unwrap_or_else(|| "aes256-gcm96".to_owned());
        let period = fields.duration("auto_rotate_period")?.unwrap_or_default();
        check_period(period)?;
        let (derived, convergent) = (flag("derived")?, flag("convergent_encryption")?);
        if convergent && !derived {
            return Err(Error::invalid("convergent encryption requires derivation to be enabled"));
        }
        let kind = KeyType::parse(&kind)?
            .ok_or_else(|| Error::invalid(format!("unknown key type {kind}")))?;
        let size = fields.integer("key_size")?.unwrap_or_default();
        let key_size = usize::try_from(size).unwrap_or_default();
        if size != 0 && kind != KeyType::Hmac {
            // OpenBao prints the kind's number here.
            return Err(Error::invalid(format!("key_size is not valid for algorithm {kind}")));
        }
        if size != 0 && !HMAC_SIZES.contains(&key_size) {
            return Err(Error::invalid(format!("invalid key_size {size}")));
        }
        if fields.string("external_key_ref")?.is_some_and(|reference| !reference.is_empty()) {
            return Err(Error::invalid("must provide type=external-key to use external_key_ref"));
        }
        let settings = Settings {
            key_size,
            derived,
            convergent,
            exportable: flag("exportable")?,
            allow_plaintext_backup: flag("allow_plaintext_backup")?,
            auto_rotate_period: period,
            ..Settings::new(kind, self.clock.now())
        };
        let key = match self.keys.get(name).await? {
            Some(key) => key,
            None => self.make(name, settings).await?,
        };
        answer(key.describe(&[])?)
    }

    /// Makes a key with these settings, unless somebody else was faster.
    pub(super) async fn make(&self, name: &str, settings: Settings) -> Result<Arc<Key>, Error> {
        settings.check()?;
        let version = self.new_version(&settings).await?;
        let locked = self.keys.lock(name).await;
        if let Some(key) = locked.get().await? {
            return Ok(key);
        }
        let mut key = Key { name: name.to_owned(), settings, versions: Default::default() };
        key.push(version);
        locked.put(key, &[1]).await
    }

    /// A new version for a key with these settings. Made before the key is locked: RSA takes long.
    async fn new_version(&self, settings: &Settings) -> Result<Version, Error> {
        let (settings, now, random) =
            (settings.clone(), self.clock.now(), Arc::clone(&self.random));
        if !settings.kind.is_rsa() {
            return Ok(Version::generate(&settings, now, &*random)?);
        }
        Ok(compute(move || Version::generate(&settings, now, &*random)).await??)
    }

    /// `GET keys/<name>?context=`
    pub(super) async fn read_key(&self, request: &Request, name: &str) -> Reply {
        let Some(key) = self.keys.get(name).await? else { return Ok(None) };
        let context = request.fields().string("context")?.unwrap_or_default();
        let context =
            from_base64(&context).map_err(|_| Error::invalid("failed to base64-decode context"))?;
        answer(key.describe(&context)?)
    }

    /// `DELETE keys/<name>`
    pub(super) async fn delete_key(&self, name: &str) -> Reply {
        let locked = self.keys.lock(name).await;
        let refuse = |why| Err(Error::invalid(format!("error deleting policy {name}: {why}")));
        let Some(key) = locked.get().await? else {
            return refuse("could not delete key; not found");
        };
        if !key.settings.deletion_allowed {
            return refuse("deletion is not allowed for this key");
        }
        locked.delete(&key.settings).await?;
        Ok(None)
    }

    /// `DELETE keys/<name>/soft-delete` and `POST keys/<name>/soft-delete-restore`
    pub(super) async fn soft_delete_key(&self, name: &str, deleted: bool) -> Reply {
        let locked = self.keys.lock(name).await;
        let Some(key) = locked.get().await? else { return Ok(None) };
        let was = key.settings.soft_deleted;
        let mut changed = Key::clone(&key);
        changed.settings.soft_deleted = deleted;
        let key = locked.put(changed, &[]).await?;
        let response = Response::data(key.describe(&[])?);
        Ok(Some(match (was == deleted, deleted) {
            (true, true) => response.warn("key was already marked as soft deleted"),
            (true, false) => response.warn("key was already restored"),
            (false, _) => response,
        }))
    }

    /// `POST keys/<name>/rotate`
    pub(super) async fn rotate_key(&self, request: &Request, name: &str) -> Reply {
        let before = self.existing(name, "key not found").await?;
        let reference = request.fields().string("external_key_ref")?;
        if reference.is_some_and(|reference| !reference.is_empty()) {
            let kind = before.settings.kind;
            return Err(Error::invalid(format!(
                "cannot use external_key_ref on key of type {kind}"
            )));
        }
        check_rotation(&before)?;
        let version = self.new_version(&before.settings).await?;
        let locked = self.keys.lock(name).await;
        let key = locked.get().await?.ok_or_else(|| Error::invalid("key not found"))?;
        check_rotation(&key)?;
        let same = |settings: &Settings| (settings.kind, settings.key_size);
        if same(&key.settings) != same(&before.settings) {
            return Err(Error::invalid("the key was replaced by another"));
        }
        let key = rotate(&locked, &key, version).await?;
        answer(key.describe(&[])?)
    }

    /// Gives a new version to every key whose time has come. A look at every key's settings, so not
    /// more often than a key can be due.
    pub(super) async fn rotate_due_keys(&self) -> Result<(), Error> {
        let now = self.clock.now();
        // Held throughout, so that two looks never overlap.
        let mut next_check = self.rotation.next_check.lock().await;
        if next_check.is_some_and(|next| now < next) {
            return Ok(());
        }
        for name in self.keys.list(None, None).await? {
            let settings = self.keys.settings(&name).await?;
            if !settings.is_some_and(|settings| settings.is_due(now)) {
                continue;
            }
            // One key that cannot be rotated must not keep the others from it.
            match self.rotate_due_key(&name, now).await {
                Ok(()) => info!(key = name, "rotated a key whose period had passed"),
                Err(error) => warn!(key = name, %error, "rotate a key whose period has passed"),
            }
        }
        *next_check = now.checked_add(CHECK_EVERY).ok();
        Ok(())
    }

    async fn rotate_due_key(&self, name: &str, now: Timestamp) -> Result<(), Error> {
        let Some(before) = self.keys.get(name).await? else { return Ok(()) };
        let version = self.new_version(&before.settings).await?;
        let locked = self.keys.lock(name).await;
        match locked.get().await? {
            Some(key) if key.settings.is_due(now) && key.settings.kind == before.settings.kind => {
                rotate(&locked, &key, version).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}

async fn rotate(locked: &Locked<'_>, key: &Key, version: Version) -> Result<Arc<Key>, Error> {
    let mut rotated = key.clone();
    rotated.push(version);
    // Its newest version was made here, whatever the others were.
    rotated.settings.imported = false;
    let latest = rotated.settings.latest_version;
    locked.put(rotated, &[latest]).await
}

fn check_rotation(key: &Key) -> Result<(), Error> {
    key.check_usable()?;
    if key.settings.imported && !key.settings.allow_imported_rotation {
        let name = &key.name;
        return Err(Error::invalid(format!(
            "imported key {name} does not allow rotation within Vault"
        )));
    }
    Ok(())
}

/// A period after which a key is rotated is none, or at least an hour.
pub(super) fn check_period(period: Duration) -> Result<(), Error> {
    if !period.is_zero() && period < SHORTEST_PERIOD {
        return Err(Error::invalid("auto rotate period must be 0 to disable or at least an hour"));
    }
    Ok(())
}
