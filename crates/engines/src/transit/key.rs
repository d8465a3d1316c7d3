//! A named key: its settings, and its versions. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::{Random, SecretBytes, Timestamp};
use serde::{Deserialize, Serialize};

use super::key_type::KeyType;
use super::material::Material;
use super::refused::Refused;
use super::symmetric::Mode;

/// What is stored of a key beside its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    #[serde(rename = "type")]
    pub(super) kind: KeyType,
    /// Of an HMAC key, in bytes; 0 for the other kinds.
    pub(super) key_size: usize,
    /// Every use names a context, and the key for it is derived from this one.
    pub(super) derived: bool,
    /// The same plaintext gives the same ciphertext.
    pub(super) convergent: bool,
    pub(super) exportable: bool,
    pub(super) allow_plaintext_backup: bool,
    pub(super) deletion_allowed: bool,
    pub(super) soft_deleted: bool,
    /// The key came from outside.
    pub(super) imported: bool,
    /// An imported key may get versions that are made here.
    pub(super) allow_imported_rotation: bool,
    /// Zero: it is not rotated by itself.
    pub(super) auto_rotate_period: Duration,
    /// The newest version.
    pub(super) latest_version: u32,
    /// When the newest version was made.
    pub(super) rotated_at: Timestamp,
    /// The oldest version that still decrypts and verifies; at least 1.
    pub(super) min_decryption_version: u32,
    /// The oldest version that may encrypt and sign; 0: the newest alone, unless asked otherwise.
    pub(super) min_encryption_version: u32,
    /// The oldest version that still exists; 0: nothing was ever trimmed.
    pub(super) min_available_version: u32,
    pub(super) backed_up: Option<Copied>,
    pub(super) restored: Option<Copied>,
}

/// When a key was backed up or restored, and its newest version then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copied {
    pub(super) time: Timestamp,
    pub(super) version: u32,
}

/// One version of a key.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) created_at: Timestamp,
    pub(super) material: Arc<Material>,
    /// What HMACs are made with, whatever the kind of the key. For an HMAC key it is the key.
    pub(super) hmac_key: SecretBytes,
    /// Leaf first, in DER.
    pub(super) certificate_chain: Vec<Vec<u8>>,
}

/// A key as it is in memory: never changed, only replaced, so that who uses it is not disturbed.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) settings: Settings,
    /// Those from `min_decryption_version` on.
    pub(super) versions: BTreeMap<u32, Arc<Version>>,
}

impl Settings {
    /// Those of a key that is about to get its first version.
    pub(super) fn new(kind: KeyType, now: Timestamp) -> Self {
        Self {
            kind,
            key_size: 0,
            derived: false,
            convergent: false,
            exportable: false,
            allow_plaintext_backup: false,
            deletion_allowed: false,
            soft_deleted: false,
            imported: false,
            allow_imported_rotation: false,
            auto_rotate_period: Duration::ZERO,
            latest_version: 0,
            rotated_at: now,
            min_decryption_version: 1,
            min_encryption_version: 0,
            min_available_version: 0,
            backed_up: None,
            restored: None,
        }
    }

    /// Whether the kind allows what is asked of it.
    pub(super) fn check(&self) -> Result<(), Refused> {
        let kind = self.kind;
        if kind.is_aead() && self.convergent && !self.derived {
            return Err(Refused::new("convergent encryption requires derivation to be enabled"));
        }
        if kind == KeyType::Ed25519 && self.convergent {
            return Err(Refused::new(format!(
                "convergent encryption not supported for keys of type {kind}"
            )));
        }
        if !kind.derives() && (self.derived || self.convergent) {
            return Err(Refused::new(format!(
                "key derivation and convergent encryption not supported for keys of type {kind}"
            )));
        }
        Ok(())
    }

    /// Whether it is time for a new version.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let allowed = !self.soft_deleted && (!self.imported || self.allow_imported_rotation);
        let due = self.rotated_at.checked_add(self.auto_rotate_period);
        allowed && !self.auto_rotate_period.is_zero() && due.is_ok_and(|due| now > due)
    }

    /// The versions that exist.
    pub(super) fn available(&self) -> std::ops::RangeInclusive<u32> {
        self.min_available_version.max(1)..=self.latest_version
    }
}

impl Version {
    /// A new version.
    pub(super) fn generate(
        settings: &Settings,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Self, Refused> {
        let material = Material::generate(settings.kind, settings.key_size, random)?;
        Ok(Self::new(material, now, random))
    }

    /// A version of that key, with an HMAC key of its own.
    pub(super) fn new(material: Material, now: Timestamp, random: &dyn Random) -> Self {
        let hmac_key = match &material {
            Material::Hmac(key) => key.clone(),
            _ => {
                let mut bytes = vec![0; 32];
                random.fill(&mut bytes);
                bytes.into()
            }
        };
        let material = Arc::new(material);
        Self { created_at: now, material, hmac_key, certificate_chain: Vec::new() }
    }
}

/// What a version is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Encryption,
    Signing,
    KeyWrapping,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Encryption => "encryption",
            Self::Signing => "signing",
            Self::KeyWrapping => "key wrapping",
        }
    }
}

impl Key {
    /// Refuses what no soft-deleted key may do.
    pub(super) fn check_usable(&self) -> Result<(), Refused> {
        if self.settings.soft_deleted {
            return Err(Refused::new("refusing to use soft-deleted key"));
        }
        Ok(())
    }

    /// The version to encrypt or sign with: the one that is asked for, or the newest for 0.
    pub(super) fn version_for(
        &self,
        asked: i64,
        purpose: Purpose,
    ) -> Result<(u32, &Version), Refused> {
        let settings = &self.settings;
        let what = purpose.as_str();
        let refuse = |why| Err(Refused::new(format!("requested version for {what} is {why}")));
        if asked < 0 {
            return refuse("negative");
        }
        if asked > i64::from(settings.latest_version) {
            return refuse("higher than the latest key version");
        }
        let number = match asked {
            0 => settings.latest_version,
            asked if asked < i64::from(settings.min_encryption_version) => {
                return refuse("less than the minimum encryption key version");
            }
            asked => u32::try_from(asked).unwrap_or(0),
        };
        Ok((number, self.version(number)?))
    }

    /// The version that made a ciphertext or a signature. `what` is the one or the other.
    pub(super) fn version_of(&self, number: i64, what: &str) -> Result<(u32, &Version), Refused> {
        if number > i64::from(self.settings.latest_version) {
            return Err(Refused::new(format!("invalid {what}: version is too new")));
        }
        if number < i64::from(self.settings.min_decryption_version) {
            return Err(Refused::new(
                "ciphertext or signature version is disallowed by policy (too old)",
            ));
        }
        let number = u32::try_from(number).unwrap_or(0);
        Ok((number, self.version(number)?))
    }

    /// The version of that number.
    pub(super) fn version(&self, number: u32) -> Result<&Version, Refused> {
        let version = self.versions.get(&number);
        version.map(|version| &**version).ok_or_else(|| Refused::new("no such key version"))
    }

    /// The newest version.
    pub(super) fn latest(&self) -> Result<&Version, Refused> {
        self.version(self.settings.latest_version)
    }

    /// How this key encrypts for `context`, which only a derived one asks for.
    pub(super) fn mode<'a>(&self, context: &'a [u8], associated_data: &'a [u8]) -> Mode<'a> {
        Mode {
            context: self.settings.derived.then_some(context),
            convergent: self.settings.convergent,
            associated_data,
        }
    }

    /// Adds a version.
    pub(super) fn push(&mut self, version: Version) {
        self.settings.latest_version += 1;
        self.settings.rotated_at = version.created_at;
        self.versions.insert(self.settings.latest_version, version.into());
    }
}
