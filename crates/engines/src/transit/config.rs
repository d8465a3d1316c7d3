//! `keys/<name>/config` and `keys/<name>/trim`: which versions may be used, and which exist.

use holdfast_logical::{Error, Reply, Request, Response};

use super::key::{Key, Settings};
use super::lifecycle::check_period;
use super::{Transit, answer};

impl Transit {
    /// `POST keys/<name>/config`
    pub(super) async fn configure_key(&self, request: &Request, name: &str) -> Reply {
        let missing = || Error::invalid(format!("no existing key named {name} could be found"));
        let locked = self.keys.lock(name).await;
        let key = locked.get().await?.ok_or_else(missing)?;
        let mut settings = key.settings.clone();
        let warning = configure(&mut settings, request)?;
        let key = if settings == key.settings {
            key
        } else {
            check_available(&settings)?;
            locked.put(Key { settings, ..Key::clone(&key) }, &[]).await?
        };
        let response = Response::data(key.describe(&[])?);
        Ok(Some(match warning {
            Some(warning) => response.warn(warning),
            None => response,
        }))
    }

    /// `POST keys/<name>/trim`: removes the versions before `min_available_version` for good.
    pub(super) async fn trim_key(&self, request: &Request, name: &str) -> Reply {
        let locked = self.keys.lock(name).await;
        let key = locked.get().await?.ok_or_else(|| Error::invalid("invalid key name"))?;
        let asked = request.fields().integer("min_available_version")?;
        let asked = asked.ok_or_else(|| Error::invalid("missing min_available_version"))?;
        let mut settings = key.settings.clone();
        let refuse = |why: &str| Err(Error::invalid(format!("minimum available version {why}")));
        if asked < i64::from(settings.min_available_version) {
            return refuse("cannot be decremented");
        }
        if settings.min_encryption_version == 0 {
            return refuse("cannot be set when minimum encryption version is not set");
        }
        if asked > i64::from(settings.min_encryption_version) {
            return refuse("cannot be greater than minmum encryption version");
        }
        if asked > i64::from(settings.min_decryption_version) {
            return refuse("cannot be greater than minimum decryption version");
        }
        if asked == 0 {
            return refuse("should be positive");
        }
        settings.min_available_version = u32::try_from(asked).unwrap_or_default();
        let key = locked.put(Key { settings, ..Key::clone(&key) }, &[]).await?;
        answer(key.describe(&[])?)
    }
}

/// Changes what the request names. Returns a warning for the client.
fn configure(settings: &mut Settings, request: &Request) -> Result<Option<&'static str>, Error> {
    let fields = request.fields();
    let mut warning = None;
    let latest = settings.latest_version;
    let version = |name: &str, what: &str, current: u32| {
        let Some(asked) = fields.integer(name)? else { return Ok(None) };
        if asked < 0 {
            return Err(Error::invalid(format!("min {what} version cannot be negative")));
        }
        match u32::try_from(asked) {
            Ok(asked) if asked == current || asked <= latest => Ok(Some(asked)),
            _ => Err(Error::invalid(format!(
                "cannot set min {what} version of {asked}, latest key version is {latest}"
            ))),
        }
    };
    let decryption =
        version("min_decryption_version", "decryption", settings.min_decryption_version)?;
    if let Some(asked) = decryption {
        if asked == 0 {
            warning = Some(
                "since Vault 0.3 (prior to the OpenBao fork), transit key numbering starts at 1; \
                 forcing minimum to 1",
            );
        }
        settings.min_decryption_version = asked.max(1);
    }
    if let Some(asked) =
        version("min_encryption_version", "encryption", settings.min_encryption_version)?
    {
        settings.min_encryption_version = asked;
    }
    let (encryption, decryption) =
        (settings.min_encryption_version, settings.min_decryption_version);
    if encryption > 0 && encryption < decryption {
        return Err(Error::invalid(format!(
            "cannot set min encryption/decryption values; min encryption version of {encryption} \
             must be greater than or equal to min decryption version of {decryption}"
        )));
    }
    if let Some(allowed) = fields.bool("deletion_allowed")? {
        settings.deletion_allowed = allowed;
    }
    // Once allowed, these cannot be taken back: who had the key has it still.
    settings.exportable |= fields.bool("exportable")?.unwrap_or_default();
    settings.allow_plaintext_backup |= fields.bool("allow_plaintext_backup")?.unwrap_or_default();
    if let Some(period) = fields.duration("auto_rotate_period")? {
        check_period(period)?;
        settings.auto_rotate_period = period;
    }
    Ok(warning)
}

/// Versions that were trimmed cannot be allowed again.
fn check_available(settings: &Settings) -> Result<(), Error> {
    if settings.min_available_version > settings.min_encryption_version {
        return Err(Error::invalid(
            "min encryption version should not be less than min available version",
        ));
    }
    if settings.min_available_version > settings.min_decryption_version {
        return Err(Error::invalid(
            "min decryption version should not be less then min available version",
        ));
    }
    Ok(())
}
