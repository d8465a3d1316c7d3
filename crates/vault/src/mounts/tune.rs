//! Changing a mount while it serves.

use std::sync::Arc;
use std::time::Duration;

use holdfast_logical::{Error, Fields};

use super::enable::{lease_ttl, merge_options};
use super::{MountClass, Mounts};
use crate::lockout::LockoutConfig;

/// What cannot be changed of the server's own mounts.
const FIXED: [&str; 10] = [
    "description",
    "default_lease_ttl",
    "max_lease_ttl",
    "listing_visibility",
    "passthrough_request_headers",
    "allowed_response_headers",
    "options",
    "token_type",
    "user_lockout_config",
    "plugin_version",
];

impl Mounts {
    /// Changes what `fields` name of the mount of `class` at `path`, which ends in `/`. Returns what
    /// the operator should know, if anything.
    ///
    /// # Errors
    /// 400 in OpenBao's words; then nothing has changed.
    pub(crate) async fn tune(
        &self,
        class: MountClass,
        path: &str,
        fields: Fields<'_>,
    ) -> Result<Option<String>, Error> {
        let _change = self.change.lock().await;
        let Some(mount) = self.find(class, path) else {
            let prefix = if class == MountClass::Auth { "auth/" } else { "" };
            return Err(Error::invalid(format!(
                "tune of path \"{prefix}{path}\" failed: no mount entry found"
            )));
        };
        let mut entry = mount.entry.clone();
        if matches!(entry.kind.as_str(), "system" | "cubbyhole" | "identity")
            && let Some(name) = FIXED.iter().find(|name| fields.has(name))
        {
            return Err(Error::invalid(format!("cannot tune parameter {name} of {path}")));
        }
        if entry.kind == "token" && fields.has("token_type") {
            return Err(Error::invalid(
                "'token_type' cannot be set for 'token' or 'ns_token' auth mounts",
            ));
        }
        let said = |name: &str| fields.string(name).map(|text| text.is_some_and(|t| !t.is_empty()));
        if said("default_lease_ttl")? {
            entry.config.default_lease_ttl = lease_ttl(&fields, "default_lease_ttl", None)?;
        }
        if said("max_lease_ttl")? {
            entry.config.max_lease_ttl = lease_ttl(&fields, "max_lease_ttl", None)?;
        }
        check_times(entry.config.default_lease_ttl, entry.config.max_lease_ttl)?;
        if let Some(description) = fields.string("description")? {
            entry.description = description;
        }
        entry.config.update(class, &fields)?;
        LockoutConfig::tune(&mut entry.config.user_lockout, &entry.kind, fields)?;
        if let Some(version) = fields.string("plugin_version")?.filter(|v| !v.is_empty()) {
            let kind = &entry.kind;
            let words = format!("plugin not found in the catalog: {kind}, version={version}");
            return Err(Error::invalid(words));
        }

        let mut upgrade = None;
        if let Some(options) = fields.string_map("options")?.filter(|given| !given.is_empty()) {
            let version = |options: Option<&String>| match options.map(String::as_str) {
                None | Some("" | "0" | "1") => Some(1),
                Some("2") => Some(2),
                Some(_) => None,
            };
            if let Some(asked) = options.get("version") {
                let invalid = || Error::invalid(format!("invalid version provided: {asked}"));
                let new = version(Some(asked)).ok_or_else(invalid)?;
                let old = entry.options.as_ref().and_then(|options| options.get("version"));
                match version(old) {
                    Some(old) if new < old => {
                        return Err(Error::invalid(format!(
                            "cannot downgrade mount from version {old}"
                        )));
                    }
                    Some(old) if new > old => upgrade = Some((old, new)),
                    _ => {}
                }
            }
            entry.options = Some(merge_options(entry.options.as_ref(), options));
        }

        let changed = if upgrade.is_some() {
            // Another version is another backend, which converts what it finds when it starts.
            let changed = self.build(entry)?;
            if let Some(backend) = changed.backend() {
                backend.start().await?;
            }
            changed
        } else {
            mount.with_entry(entry, self.limits)
        };
        let mut router = self.router.load().as_ref().clone();
        router.insert(Arc::new(changed));
        self.publish(router).await?;
        if upgrade.is_some()
            && let Some(old) = mount.backend()
        {
            old.stop().await;
        }
        Ok(upgrade.map(|(old, new)| {
            format!(
                "Upgrading mount from version {old} to version {new}. This mount will be \
                 unavailable for a brief period and will resume service shortly."
            )
        }))
    }
}

fn check_times(default: Duration, max: Duration) -> Result<(), Error> {
    if !max.is_zero() && default > max {
        return Err(Error::invalid(format!(
            "backend max lease TTL of {} would be less than backend default lease TTL of {}",
            max.as_secs(),
            default.as_secs()
        )));
    }
    Ok(())
}
