//! The certificate that a part serves with, and its files.

use std::path::Path;

use anyhow::Context;
use holdfast_keys::CertificateInfo;
use holdfast_keys::x509::Certificate;
use holdfast_types::SecretString;

use super::account::Account;
use super::files;

/// A certificate, its chain and its key.
#[derive(Debug)]
pub(crate) struct ServerCertificate {
    pub(crate) info: CertificateInfo,
    /// The leaf, then the authorities above it.
    pub(crate) chain_pem: String,
    pub(crate) key_pem: SecretString,
}

impl ServerCertificate {
    /// The leaf, as it says who signed it.
    pub(crate) fn leaf(&self) -> Option<Certificate> {
        Certificate::from_pem(&self.chain_pem).ok()
    }

    /// Writes `cert.pem` and `key.pem` to `directory`.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn write(&self, directory: &Path, owner: &Account) -> anyhow::Result<()> {
        // The key first: a server that reads between the two finds a pair that does not fit, keeps
        // what it has, and is told again.
        for (name, bytes, mode) in [
            ("key.pem", self.key_pem.expose().as_bytes(), 0o600),
            ("cert.pem", self.chain_pem.as_bytes(), 0o644),
        ] {
            let path = directory.join(name);
            files::write(&path, bytes, mode, Some(owner))
                .with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}
