//! What kinds of keys there are and what each can do.

use super::refused::Refused;

/// The kind of a key, which all of its versions share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub(super) enum KeyType {
    Aes128Gcm96,
    Aes256Gcm96,
    ChaCha20Poly1305,
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Rsa2048,
    Rsa3072,
    Rsa4096,
    Hmac,
}

impl KeyType {
    /// Each kind, its name on the wire, and its number in OpenBao's backups.
    const ALL: [(Self, &'static str, u32); 11] = [
        (Self::Aes256Gcm96, "aes256-gcm96", 0),
        (Self::EcdsaP256, "ecdsa-p256", 1),
        (Self::Ed25519, "ed25519", 2),
        (Self::Rsa2048, "rsa-2048", 3),
        (Self::Rsa4096, "rsa-4096", 4),
        (Self::ChaCha20Poly1305, "chacha20-poly1305", 5),
        (Self::EcdsaP384, "ecdsa-p384", 6),
        (Self::EcdsaP521, "ecdsa-p521", 7),
        (Self::Aes128Gcm96, "aes128-gcm96", 8),
        (Self::Rsa3072, "rsa-3072", 9),
        (Self::Hmac, "hmac", 10),
    ];

    /// The kind of that name. None: OpenBao has no such kind.
    ///
    /// # Errors
    /// OpenBao has it and this server does not.
    pub(super) fn parse(name: &str) -> Result<Option<Self>, Refused> {
        if let "xchacha20-poly1305" | "external-key" = name {
            return Err(Refused::new(format!("key type {name} is not supported by this server")));
        }
        Ok(Self::ALL.iter().find(|row| row.1 == name).map(|row| row.0))
    }

    /// The name on the wire.
    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// The kind with that number in a backup.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().find(|row| row.2 == number).map(|row| row.0)
    }

    /// Its number in a backup.
    pub(super) fn number(self) -> u32 {
        Self::ALL.iter().find(|row| row.0 == self).map_or(u32::MAX, |row| row.2)
    }

    /// Whether it is an authenticated cipher, which takes associated data, too.
    pub(super) fn is_aead(self) -> bool {
        matches!(self, Self::Aes128Gcm96 | Self::Aes256Gcm96 | Self::ChaCha20Poly1305)
    }

    pub(super) fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }

    pub(super) fn is_ecdsa(self) -> bool {
        matches!(self, Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521)
    }

    /// Whether it encrypts and decrypts.
    pub(super) fn encrypts(self) -> bool {
        self.is_aead() || self.is_rsa()
    }

    /// Whether it signs, and has a public half.
    pub(super) fn signs(self) -> bool {
        self.is_rsa() || self.is_ecdsa() || self == Self::Ed25519
    }

    /// Whether a key of its own can be derived for each context.
    pub(super) fn derives(self) -> bool {
        self.is_aead() || self == Self::Ed25519
    }

    /// The key's size in bytes, for the kinds that are plain bytes of a fixed size.
    pub(super) fn symmetric_size(self) -> Option<usize> {
        match self {
            Self::Aes128Gcm96 => Some(16),
            Self::Aes256Gcm96 | Self::ChaCha20Poly1305 => Some(32),
            _ => None,
        }
    }

    /// The modulus in bytes.
    pub(super) fn rsa_size(self) -> Option<usize> {
        match self {
            Self::Rsa2048 => Some(256),
            Self::Rsa3072 => Some(384),
            Self::Rsa4096 => Some(512),
            _ => None,
        }
    }
}

impl std::fmt::Display for KeyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl From<KeyType> for &'static str {
    fn from(kind: KeyType) -> Self {
        kind.name()
    }
}

impl TryFrom<String> for KeyType {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::parse(&name).ok().flatten().ok_or_else(|| format!("unknown key type {name:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back() {
        for (kind, name, number) in KeyType::ALL {
            assert_eq!(KeyType::parse(name).unwrap(), Some(kind));
            assert_eq!((kind.name(), kind.number()), (name, number));
            assert_eq!(KeyType::from_number(number), Some(kind));
        }
        assert_eq!(KeyType::parse("des").unwrap(), None);
        assert!(KeyType::parse("xchacha20-poly1305").is_err());
    }
}
