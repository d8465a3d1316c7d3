//! Tokens encrypted for one reader: a key agreed by X25519, AES-256-GCM, in the stock agent's
//! envelope.

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_types::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::SinkError;
use crate::config::SinkEncryption;

/// Seals tokens for the reader whose public key is in a file.
pub(super) struct Sealer {
    config: SinkEncryption,
    /// The key pair of this process, and the reader's public key, once it could be read.
    agreed: Option<Agreed>,
}

struct Agreed {
    own_public: Vec<u8>,
    key: Zeroizing<[u8; 32]>,
}

/// What the reader puts into its file.
#[derive(Deserialize)]
struct PeerKey {
    curve25519_public_key: String,
}

/// What the sink holds. Byte strings are base64.
#[derive(Serialize)]
struct Envelope {
    curve25519_public_key: String,
    nonce: String,
    encrypted_payload: String,
}

impl Sealer {
    pub(super) fn new(config: SinkEncryption) -> Self {
        Self { config, agreed: None }
    }

    pub(super) fn seal(&mut self, text: &SecretString) -> Result<SecretString, SinkError> {
        if self.agreed.is_none() {
            self.agreed = Some(self.agree()?);
        }
        let failed = || self.problem(&"no key can be agreed with it");
        let agreed = self.agreed.as_ref().ok_or_else(failed)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*agreed.key).map_err(|_| failed())?;
        let mut payload = text.expose().as_bytes().to_vec();
        let aad = Aad::from(self.config.aad.as_bytes());
        let nonce = key.seal_in_place_append_tag(aad, &mut payload).map_err(|_| failed())?;
        let envelope = Envelope {
            curve25519_public_key: STANDARD.encode(&agreed.own_public),
            nonce: STANDARD.encode(nonce.as_ref()),
            encrypted_payload: STANDARD.encode(&payload),
        };
        Ok(SecretString::new(serde_json::to_string(&envelope).unwrap_or_default() + "\n"))
    }

    fn agree(&self) -> Result<Agreed, SinkError> {
        let text = std::fs::read_to_string(&self.config.peer_key_file)
            .map_err(|error| self.problem(&error))?;
        let peer: PeerKey = serde_json::from_str(&text).map_err(|error| self.problem(&error))?;
        let peer = STANDARD.decode(&peer.curve25519_public_key);
        let peer = peer.map_err(|error| self.problem(&error))?;
        let unusable = |_| self.problem(&"it is no key of curve 25519");
        let private = PrivateKey::generate(&X25519).map_err(unusable)?;
        let own_public = private.compute_public_key().map_err(unusable)?.as_ref().to_vec();
        let derive = self.config.derive_key;
        let key = agreement::agree(
            &private,
            UnparsedPublicKey::new(&X25519, &peer),
            Unspecified,
            |secret| key(secret, derive.then_some((&own_public[..], &peer[..]))),
        );
        Ok(Agreed { key: key.map_err(unusable)?, own_public })
    }

    fn problem(&self, problem: &dyn std::fmt::Display) -> SinkError {
        let path = self.config.peer_key_file.clone();
        SinkError::PeerKey { path, problem: problem.to_string() }
    }
}

/// The agreed secret, or what is derived from it and both public keys, the lesser of them first.
fn key(secret: &[u8], publics: Option<(&[u8], &[u8])>) -> Result<Zeroizing<[u8; 32]>, Unspecified> {
    let mut key = Zeroizing::new([0; 32]);
    match publics {
        None => key.copy_from_slice(secret.get(..32).ok_or(Unspecified)?),
        Some((own, peer)) => {
            let (salt, info) = if own < peer { (own, peer) } else { (peer, own) };
            let parts = [info];
            let derived = Salt::new(HKDF_SHA256, salt).extract(secret);
            derived.expand(&parts, HKDF_SHA256)?.fill(&mut *key)?;
        }
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use holdfast_types::SecretString;
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_reader_and_nobody_else_opens_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("peer.json");
        let reader = PrivateKey::generate(&X25519).unwrap();
        let public = reader.compute_public_key().unwrap().as_ref().to_vec();
        let text = format!("{{\"curve25519_public_key\": \"{}\"}}", STANDARD.encode(&public));
        std::fs::write(&file, text).unwrap();
        for derive_key in [false, true] {
            let aad = "who".to_owned();
            let config = SinkEncryption { peer_key_file: file.clone(), derive_key, aad };
            let sealed = Sealer::new(config).seal(&SecretString::from("s.token")).unwrap();
            let envelope: Value = serde_json::from_str(sealed.expose()).unwrap();
            let bytes = |name: &str| STANDARD.decode(envelope[name].as_str().unwrap()).unwrap();
            let agent = bytes("curve25519_public_key");
            let secret = agreement::agree(
                &reader,
                UnparsedPublicKey::new(&X25519, &agent),
                Unspecified,
                |secret| key(secret, derive_key.then_some((&public[..], &agent[..]))),
            );
            let open = |aad: &str| {
                let key = RandomizedNonceKey::new(&AES_256_GCM, &*secret.clone().unwrap()).unwrap();
                let nonce: [u8; 12] = bytes("nonce").try_into().unwrap();
                let mut payload = bytes("encrypted_payload");
                let opened =
                    key.open_in_place((&nonce).into(), Aad::from(aad.as_bytes()), &mut payload);
                opened.map(|text| text.to_vec())
            };
            assert_eq!(open("who").unwrap(), b"s.token");
            assert!(open("other").is_err());
        }
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("peer.json");
        for text in ["", "{}", "{\"curve25519_public_key\": \"AAAA\"}"] {
            std::fs::write(&file, text).unwrap();
            let config = SinkEncryption {
                peer_key_file: file.clone(),
                derive_key: false,
                aad: String::new(),
            };
            let error = Sealer::new(config).seal(&SecretString::from("t")).unwrap_err();
            assert!(matches!(error, SinkError::PeerKey { .. }), "{text}: {error}");
        }
    }
}
