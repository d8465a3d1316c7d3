//! The platform's certificate authority: every client's only trust anchor, forever the same file.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use holdfast_keys::ca::TEN_YEARS;
use holdfast_keys::{CaRequest, CertificateAuthority, CertificateInfo, LeafRequest, Name, Usage};
use holdfast_types::{Clock, SecretString, SystemClock, SystemRandom, Timestamp};

use super::account::Account;
use super::files;
use super::seal::SealKey;
use super::state::State;

/// The life of a server's certificate. Its key is on a tmpfs, so every start makes a new one.
const LEAF_LIFETIME: Duration = Duration::from_secs(7 * 86_400);
/// A certificate is replaced when this much of its life is over, so that days remain to notice
/// that it was not.
const RENEW_AT: f64 = 2.0 / 3.0;

const SEALED_NAME: &str = "platform-root";
const KEY_STARTS: &str = "-----BEGIN PRIVATE KEY-----";

/// The authority, with its key.
pub(crate) struct PlatformRoot {
    authority: CertificateAuthority,
    leaf_lifetime: Duration,
    authority_lifetime: Option<Duration>,
}

impl PlatformRoot {
    /// Opens the authority, or makes it at the first start.
    ///
    /// # Errors
    /// The key does not open, or the certificate is gone that belongs to it.
    pub(crate) fn load(state: &State, trust_domain: &str, seal: &SealKey) -> anyhow::Result<Self> {
        let (key_path, ca_path) = (state.join("root.sealed"), state.ca_file());
        // The sealed file holds both, so that no crash can leave a key without its certificate.
        let root = match files::read(&key_path)? {
            Some(sealed) => {
                let opened = seal.open(SEALED_NAME, &sealed)?;
                let both = std::str::from_utf8(opened.expose()).ok();
                let (certificate, key) = both
                    .and_then(|both| Some(both.split_at(both.find(KEY_STARTS)?)))
                    .with_context(|| format!("{} is damaged", key_path.display()))?;
                CertificateAuthority::from_pem(certificate, &SecretString::from(key))
                    .with_context(|| format!("read {}", key_path.display()))?
            }
            None => {
                let request = CaRequest {
                    common_name: format!("{trust_domain} platform root"),
                    lifetime: TEN_YEARS,
                    permitted_dns: Vec::new(),
                };
                let root =
                    CertificateAuthority::new_root(&request, SystemClock.now(), &SystemRandom)?;
                let mut both = root.certificate_pem().to_owned();
                both.push_str(root.key_pem().expose());
                let both = SecretString::new(both);
                let sealed = seal.seal(SEALED_NAME, both.expose().as_bytes())?;
                files::write(&key_path, &sealed, 0o600, None)
                    .with_context(|| format!("write {}", key_path.display()))?;
                root
            }
        };
        match files::read(&ca_path)? {
            Some(there) => ensure!(
                there == root.certificate_pem().as_bytes(),
                "{} is not the platform's certificate any more; remove it, and the next start writes it again",
                ca_path.display()
            ),
            None => files::write(&ca_path, root.certificate_pem().as_bytes(), 0o644, None)
                .with_context(|| format!("write {}", ca_path.display()))?,
        }
        Ok(Self { authority: root, leaf_lifetime: LEAF_LIFETIME, authority_lifetime: None })
    }

    /// The same, whose servers' certificates live for `lifetime`.
    pub(crate) fn with_leaf_lifetime(self, lifetime: Duration) -> Self {
        Self { leaf_lifetime: lifetime, authority_lifetime: Some(lifetime * 6), ..self }
    }

    /// The same, with authorities of the SPIFFE server that live for `lifetime`.
    pub(crate) fn with_authority_lifetime(self, lifetime: Duration) -> Self {
        Self { authority_lifetime: Some(lifetime), ..self }
    }

    /// Its certificate, PEM.
    pub(crate) fn certificate_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// The authority's private key, PKCS #8: for the SPIFFE server, whose upstream it is.
    pub(crate) fn key_pem(&self) -> SecretString {
        self.authority.key_pem()
    }

    /// How long the SPIFFE server's authorities live, where it is not their usual time.
    pub(crate) fn authority_lifetime(&self) -> Option<Duration> {
        self.authority_lifetime
    }

    /// How long servers' certificates live.
    pub(crate) fn leaf_lifetime(&self) -> Duration {
        self.leaf_lifetime
    }

    /// What is known about the authority.
    pub(crate) fn info(&self) -> &CertificateInfo {
        self.authority.info()
    }

    /// Issues a server's certificate and writes it to `directory` as `cert.pem` and `key.pem`.
    pub(crate) fn issue(
        &self,
        directory: &Path,
        names: &[String],
        owner: &Account,
    ) -> anyhow::Result<CertificateInfo> {
        let mut all = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        all.extend(names.iter().cloned());
        all.dedup();
        let request = LeafRequest {
            common_name: Some("localhost".to_owned()),
            names: all.iter().map(|name| Name::guess(name)).collect(),
            lifetime: self.leaf_lifetime,
            usage: Usage::Server,
        };
        let issued = self.authority.issue(&request, SystemClock.now(), &SystemRandom)?;
        let mut chain = issued.certificate_pem.clone();
        chain.push_str(self.authority.certificate_pem());
        // The key first: a server that reads between the two finds a pair that does not fit, keeps
        // what it has, and is told again.
        let key = issued.key_pem.expose().as_bytes();
        for (name, bytes, mode) in [("key.pem", key, 0o600), ("cert.pem", chain.as_bytes(), 0o644)]
        {
            let path = directory.join(name);
            files::write(&path, bytes, mode, Some(owner))
                .with_context(|| format!("write {}", path.display()))?;
        }
        Ok(issued.info)
    }
}

/// When a certificate is to be replaced.
pub(crate) fn renew_at(info: &CertificateInfo) -> Timestamp {
    let life = info.not_after.duration_since(info.not_before).as_secs_f64();
    info.not_before + Duration::from_secs_f64((life * RENEW_AT).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::super::seal::{self, SealKind};
    use super::*;

    #[test]
    fn the_root_stays_the_same_and_a_strange_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::create(&directory.path().join("s")).unwrap();
        let seal = seal::create(&directory.path().join("k"), SealKind::File, None).unwrap();
        let first = PlatformRoot::load(&state, "demo.local", &seal).unwrap();
        let ca = std::fs::read(state.ca_file()).unwrap();
        // A crash between the two files.
        std::fs::remove_file(state.ca_file()).unwrap();
        let again = PlatformRoot::load(&state, "demo.local", &seal).unwrap();
        assert_eq!(first.info().fingerprint, again.info().fingerprint);
        assert_eq!(std::fs::read(state.ca_file()).unwrap(), ca);

        let leaf =
            again.issue(directory.path(), &["vault".to_owned()], &Account::caller()).unwrap();
        let names: Vec<_> = leaf.names.iter().map(Name::to_string).collect();
        assert_eq!(names, ["localhost", "127.0.0.1", "::1", "vault"]);

        std::fs::write(state.ca_file(), "another").unwrap();
        let error = PlatformRoot::load(&state, "demo.local", &seal).err().unwrap().to_string();
        assert!(error.contains("is not the platform's certificate"), "{error}");
    }

    #[test]
    fn a_certificate_is_replaced_with_days_to_spare() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::create(&directory.path().join("s")).unwrap();
        let seal = seal::create(&directory.path().join("k"), SealKind::File, None).unwrap();
        let root = PlatformRoot::load(&state, "demo.local", &seal).unwrap();
        let leaf = root.issue(directory.path(), &[], &Account::caller()).unwrap();
        let left = leaf.not_after.duration_since(renew_at(&leaf));
        assert!((2..3).contains(&(left.as_secs() / 86_400)), "{left:?}");
    }
}
