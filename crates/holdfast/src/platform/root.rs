//! The platform's certificate authority: every client's only trust anchor. Its key is forever the same, and
//! so is its certificate, but for a year before that ends.

use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_keys::ca::TEN_YEARS;
use holdfast_keys::{CaRequest, CertificateAuthority, CertificateInfo, LeafRequest, Name, Usage};
use holdfast_types::{Clock, SecretString, SystemClock, SystemRandom, Timestamp};

use super::certificate::ServerCertificate;
use super::files;
use super::seal::SealKey;
use super::state::State;

/// The life of a server's certificate that the trust domain would not sign.
const LEAF_LIFETIME: Duration = Duration::from_secs(86_400);

/// With less than this left the authority has another certificate made for its key, at the next start: so
/// that who has a copy of the old one has a year to get the new one, and both verify meanwhile.
const LEAST_LEFT: Duration = Duration::from_secs(365 * 86_400);

const SEALED_NAME: &str = "platform-root";
const KEY_STARTS: &str = "-----BEGIN PRIVATE KEY-----";

/// The authority, with its key.
pub(crate) struct PlatformRoot {
    authority: CertificateAuthority,
    leaf_lifetime: Duration,
    authority_lifetime: Option<Duration>,
    is_renewed: bool,
}

impl PlatformRoot {
    /// Opens the authority, or makes it at the first start. Where its certificate is not valid, or not for
    /// long, it gets another one.
    ///
    /// # Errors
    /// The key does not open, or another certificate than its own is where that should be.
    pub(crate) fn load(state: &State, trust_domain: &str, seal: &SealKey) -> anyhow::Result<Self> {
        Self::load_at(state, trust_domain, seal, SystemClock.now())
    }

    fn load_at(
        state: &State,
        trust_domain: &str,
        seal: &SealKey,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let request = CaRequest {
            common_name: format!("{trust_domain} platform root"),
            lifetime: TEN_YEARS,
            permitted_dns: Vec::new(),
        };
        let (key_path, ca_path) = (state.join("root.sealed"), state.ca_file());
        // The sealed file holds both, so that no crash can leave a key without its certificate.
        let found = match files::read(&key_path)? {
            Some(sealed) => {
                let opened = seal.open(SEALED_NAME, &sealed)?;
                let both = std::str::from_utf8(opened.expose()).ok();
                let (certificate, key) = both
                    .and_then(|both| Some(both.split_at(both.find(KEY_STARTS)?)))
                    .with_context(|| format!("{} is damaged", key_path.display()))?;
                let read = CertificateAuthority::from_pem(certificate, &SecretString::from(key));
                Some(read.with_context(|| format!("read {}", key_path.display()))?)
            }
            None => None,
        };
        let lasts = |root: &CertificateAuthority| {
            let info = root.info();
            info.not_before <= now && now + LEAST_LEFT < info.not_after
        };
        let is_renewed = found.as_ref().is_some_and(|root| !lasts(root));
        let root = match found {
            Some(root) if !is_renewed => root,
            found => {
                let root = match found {
                    Some(root) => root.renewed_root(&request, now, &SystemRandom)?,
                    None => CertificateAuthority::new_root(&request, now, &SystemRandom)?,
                };
                let mut both = root.certificate_pem().to_owned();
                both.push_str(root.key_pem().expose());
                let both = SecretString::new(both);
                let sealed = seal.seal(SEALED_NAME, both.expose().as_bytes())?;
                files::write(&key_path, &sealed, 0o600, None)
                    .with_context(|| format!("write {}", key_path.display()))?;
                root
            }
        };
        let pem = root.certificate_pem().as_bytes();
        match files::read(&ca_path)? {
            Some(there) if there == pem => {}
            Some(there) if !is_own(&there, &root) => bail!(
                "{} is not the platform's certificate any more; remove it, and the next start writes it again",
                ca_path.display()
            ),
            // None, or the one before: a renewal may have been cut short.
            _ => files::write(&ca_path, pem, 0o644, None)
                .with_context(|| format!("write {}", ca_path.display()))?,
        }
        Ok(Self {
            authority: root,
            leaf_lifetime: LEAF_LIFETIME,
            authority_lifetime: None,
            is_renewed,
        })
    }

    /// Whether its certificate is another one since just now.
    pub(crate) fn is_renewed(&self) -> bool {
        self.is_renewed
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

    /// What is known about the authority.
    pub(crate) fn info(&self) -> &CertificateInfo {
        self.authority.info()
    }

    /// Issues a server's certificate. It holds no SPIFFE ID: those are signed by the trust domain alone.
    pub(crate) fn issue(&self, names: &[String]) -> anyhow::Result<ServerCertificate> {
        let request = LeafRequest {
            common_name: Some("localhost".to_owned()),
            names: names.iter().map(|name| Name::guess(name)).collect(),
            lifetime: self.leaf_lifetime,
            usage: Usage::Server,
        };
        let issued = self.authority.issue(&request, SystemClock.now(), &SystemRandom)?;
        Ok(ServerCertificate {
            info: issued.info,
            chain_pem: issued.certificate_pem,
            key_pem: issued.key_pem,
        })
    }
}

/// Whether `pem` is a certificate for the authority's key.
fn is_own(pem: &[u8], root: &CertificateAuthority) -> bool {
    let text = std::str::from_utf8(pem);
    text.is_ok_and(|text| CertificateAuthority::from_pem(text, &root.key_pem()).is_ok())
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

        let leaf = again.issue(&["vault".to_owned(), "::1".to_owned()]).unwrap();
        let names: Vec<_> = leaf.info.names.iter().map(Name::to_string).collect();
        assert_eq!(names, ["vault", "::1"]);

        std::fs::write(state.ca_file(), "another").unwrap();
        let error = PlatformRoot::load(&state, "demo.local", &seal).err().unwrap().to_string();
        assert!(error.contains("is not the platform's certificate"), "{error}");
    }

    #[test]
    fn the_root_has_another_certificate_for_its_key_when_the_one_it_has_does_not_do() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::create(&directory.path().join("s")).unwrap();
        let seal = seal::create(&directory.path().join("k"), SealKind::File, None).unwrap();
        let day = Duration::from_secs(86_400);
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let load = |now| PlatformRoot::load_at(&state, "demo.local", &seal, now).unwrap();
        let key = load(start).key_pem();
        for (days, is_renewed) in [(8 * 365, false), (9 * 365 + 10, true), (9 * 365 + 10, false)] {
            let root = load(start + days * day);
            assert_eq!(root.is_renewed(), is_renewed, "after {days} days");
            assert_eq!(root.key_pem().expose(), key.expose());
        }
        // Off for ever so long; then the clock is set right again; then it stops between the two files.
        let before = std::fs::read(state.ca_file()).unwrap();
        for now in [start + 100 * 365 * day, start] {
            let root = load(now);
            assert!(root.is_renewed() && !load(now).is_renewed());
            std::fs::write(state.ca_file(), &before).unwrap();
            let again = load(now);
            assert!(!again.is_renewed());
            assert_eq!(again.certificate_pem(), root.certificate_pem());
            let ca = std::fs::read_to_string(state.ca_file()).unwrap();
            assert_eq!(ca, root.certificate_pem());
            assert!(root.info().not_before <= now && now + 9 * 365 * day < root.info().not_after);
        }
    }
}
