//! What an agent keeps: its key, its SVID and the bundle, in a file for itself alone.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_keys::x509::{Certificate, PrivateKey};
use holdfast_types::SecretString;
use serde::{Deserialize, Serialize};

use super::JoinError;
use super::given::Given;
use crate::proto::node as wire;

/// What an agent keeps.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) spiffe_id: String,
    /// PKCS #8 as PEM.
    pub(super) key: SecretString,
    /// DER in base64.
    chain: Vec<String>,
    bundle: Vec<String>,
    /// Seconds since 1970.
    pub(super) issued_at: i64,
    pub(super) expires_at: i64,
    /// What it joined with.
    #[serde(default)]
    pub(super) given: Given,
}

impl Kept {
    /// What the server answered to the agent with this key.
    pub(super) fn of(key: &PrivateKey, svid: wire::AgentSvid, now: i64) -> Result<Self, JoinError> {
        let leaf = svid.certificates.first().and_then(|der| Certificate::from_der(der).ok());
        if leaf.is_none_or(|leaf| leaf.public_key != *key.public_key()) {
            return Err(JoinError::Answer("holds no certificate for the agent's key"));
        }
        let bundle = svid.bundle.map(|bundle| bundle.x509_authorities).unwrap_or_default();
        if bundle.is_empty() {
            return Err(JoinError::Answer("holds no bundle"));
        }
        Ok(Self {
            spiffe_id: svid.spiffe_id,
            key: key.to_pkcs8_pem(),
            chain: encode(&svid.certificates),
            bundle: encode(&bundle),
            issued_at: now,
            expires_at: svid.expires_at,
            given: Given::default(),
        })
    }

    /// The SVID, DER, leaf first.
    pub(super) fn chain(&self) -> Vec<Vec<u8>> {
        decode(&self.chain)
    }

    /// With these authorities of the trust domain, DER.
    pub(super) fn knowing(self, authorities: &[Vec<u8>]) -> Self {
        Self { bundle: encode(authorities), ..self }
    }

    /// The trust domain's X.509 authorities, DER.
    pub(super) fn bundle(&self) -> Vec<Vec<u8>> {
        decode(&self.bundle)
    }
}

/// What there is in the file; none for no file.
pub(super) fn read(path: &Path) -> io::Result<Option<Kept>> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let bytes = zeroize::Zeroizing::new(bytes);
            serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes whole or not at all, for the owner alone.
pub(super) fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let bytes = zeroize::Zeroizing::new(serde_json::to_vec(kept).map_err(io::Error::other)?);
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// The base64 of DER.
fn encode(list: &[Vec<u8>]) -> Vec<String> {
    list.iter().map(|der| STANDARD.encode(der)).collect()
}

/// DER from the base64 of it.
fn decode(list: &[String]) -> Vec<Vec<u8>> {
    list.iter().filter_map(|text| STANDARD.decode(text).ok()).collect()
}
