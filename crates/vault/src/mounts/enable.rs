//! Making a mount.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_logical::{Error, Fields, TokenKind};
use holdfast_types::Ttl;
use serde_json::{Map, Value};

use super::{MountClass, MountConfig, MountEntry, Mounts};

/// Places that no engine can be mounted at or below.
const PROTECTED: [&str; 4] = ["auth/", "sys/", "cubbyhole/", "identity/"];

impl Mounts {
    /// Mounts what `fields` describe at `path`, which ends in `/`.
    ///
    /// # Errors
    /// 400 in OpenBao's words; what the backend says when it starts.
    pub(crate) async fn enable(
        &self,
        class: MountClass,
        path: &str,
        fields: Fields<'_>,
    ) -> Result<(), Error> {
        let mut kind = fields.string("type")?.unwrap_or_default();
        if kind.is_empty() {
            return Err(Error::invalid("backend type must be specified as a string"));
        }
        let mut options = match fields.sent("options") {
            Some(Value::Null) => None,
            _ => Some(fields.string_map("options")?.unwrap_or_default()),
        };
        if class == MountClass::Secret
            && let Some(version) = kind.strip_prefix("kv-v").filter(|v| matches!(*v, "1" | "2"))
        {
            let version = ("version".to_owned(), version.to_owned());
            options.get_or_insert_default().extend([version]);
            kind = "kv".to_owned();
        }
        check_kind(class, &kind)?;
        if class == MountClass::Secret
            && let Some(place) = PROTECTED.iter().find(|place| path.starts_with(**place))
        {
            tracing::debug!(place, "mount refused");
            return Err(Error::invalid(format!("cannot mount \"{path}\"")));
        }
        if self.registry.factory(class, &kind).is_none() {
            return Err(Error::invalid(format!("plugin not found in the catalog: {kind}")));
        }
        let config = self.first_config(class, &fields)?;
        let entry = MountEntry {
            class,
            path: path.to_owned(),
            uuid: self.random.uuid(),
            accessor: self.accessor(class, &kind),
            kind,
            description: fields.string("description")?.unwrap_or_default(),
            options,
            config,
            local: fields.bool("local")?.unwrap_or(false),
            seal_wrap: fields.bool("seal_wrap")?.unwrap_or(false),
            doomed: false,
            moving_to: None,
        };

        let _change = self.change.lock().await;
        let prefix = entry.prefix();
        let mut router = self.router.load().as_ref().clone();
        if let Some(other) = router.conflict(&prefix) {
            let at = other.entry.path.clone();
            return Err(Error::invalid(format!("path is already in use at {at}")));
        }
        let mount = Arc::new(self.build(entry)?);
        if let Some(backend) = mount.backend() {
            backend.start().await?;
        }
        router.insert(mount);
        self.publish(router).await?;
        tracing::info!(mount = prefix, "mount enabled");
        Ok(())
    }

    fn first_config(&self, class: MountClass, fields: &Fields<'_>) -> Result<MountConfig, Error> {
        let empty = Map::new();
        let config = match fields.value("config") {
            None => &empty,
            Some(Value::Object(config)) => config,
            Some(_) => {
                return Err(Error::invalid("unable to convert given mount config information"));
            }
        };
        let mut parsed = MountConfig::default();
        let given = Fields::new(config);
        parsed.default_lease_ttl = lease_ttl(&given, "default_lease_ttl", Some("default"))?;
        parsed.max_lease_ttl = lease_ttl(&given, "max_lease_ttl", Some("max"))?;
        if !parsed.max_lease_ttl.is_zero() && parsed.default_lease_ttl > parsed.max_lease_ttl {
            return Err(Error::invalid("given default lease TTL greater than given max lease TTL"));
        }
        if parsed.max_lease_ttl.is_zero() && parsed.default_lease_ttl > self.limits.max_lease_ttl {
            return Err(Error::invalid(format!(
                "given default lease TTL greater than system max lease TTL of {}",
                self.limits.max_lease_ttl.as_secs()
            )));
        }
        parsed.update(class, &given)?;
        // Login methods name it beside the config as well.
        if class == MountClass::Auth
            && let Some(kind) = fields.string("token_type")?
        {
            parsed.token_type = token_kind(&kind)?;
        }
        Ok(parsed)
    }
}

fn check_kind(class: MountClass, kind: &str) -> Result<(), Error> {
    match (class, kind) {
        (MountClass::Secret, "system" | "cubbyhole" | "identity") => {
            Err(Error::invalid(format!("mount type of \"{kind}\" is not mountable")))
        }
        (MountClass::Auth, "token") => {
            Err(Error::invalid("token credential backend cannot be instantiated"))
        }
        _ => Ok(()),
    }
}

impl MountConfig {
    /// Takes over those settings that are there, all but the times.
    pub(super) fn update(&mut self, class: MountClass, given: &Fields<'_>) -> Result<(), Error> {
        if let Some(visibility) = given.string("listing_visibility")? {
            if !matches!(visibility.as_str(), "" | "unauth" | "hidden") {
                return Err(Error::invalid(format!("invalid listing_visibility {visibility}")));
            }
            self.listing_visibility = visibility;
        }
        if let Some(kind) = given.string("token_type")?.filter(|kind| !kind.is_empty()) {
            if class != MountClass::Auth {
                return Err(Error::invalid("'token_type' can only be modified on auth mounts"));
            }
            self.token_type = token_kind(&kind)?;
        }
        self.force_no_cache = given.bool("force_no_cache")?.unwrap_or(self.force_no_cache);
        for (name, list) in [
            ("audit_non_hmac_request_keys", &mut self.audit_non_hmac_request_keys),
            ("audit_non_hmac_response_keys", &mut self.audit_non_hmac_response_keys),
            ("passthrough_request_headers", &mut self.passthrough_request_headers),
            ("allowed_response_headers", &mut self.allowed_response_headers),
        ] {
            if let Some(given) = given.strings(name)? {
                *list = given;
            }
        }
        Ok(())
    }
}

fn token_kind(text: &str) -> Result<TokenKind, Error> {
    match text {
        "" | "default-service" => Ok(TokenKind::DefaultService),
        "default-batch" => Ok(TokenKind::DefaultBatch),
        "service" => Ok(TokenKind::Service),
        "batch" => Ok(TokenKind::Batch),
        _ => Err(Error::invalid("invalid value for 'token_type'")),
    }
}

/// A time of the config. `system`, empty and zero all mean the server's.
/// `word` is what refusals call it; none where they say no more than Go does.
pub(super) fn lease_ttl(
    given: &Fields<'_>,
    name: &str,
    word: Option<&str>,
) -> Result<Duration, Error> {
    let Some(text) = given.string(name)? else { return Ok(Duration::ZERO) };
    if text == "system" {
        return Ok(Duration::ZERO);
    }
    match Ttl::parse(&text) {
        Ok(ttl) => Ok(ttl.0),
        Err(_) => {
            let problem = format!("time: invalid duration \"{text}\"");
            Err(Error::invalid(match word {
                Some(word) => format!("unable to parse {word} TTL of {text}: {problem}"),
                None => problem,
            }))
        }
    }
}

/// Options that are given, over those that are there. An empty value removes one.
pub(super) fn merge_options(
    old: Option<&BTreeMap<String, String>>,
    given: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut merged = old.cloned().unwrap_or_default();
    merged.extend(given);
    merged.retain(|_, value| !value.is_empty());
    merged
}
