//! Keys that sign logins. The secrets server knows their public half; the private one is sealed.

use std::time::Duration;

use anyhow::Context;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use holdfast_types::{Clock, Secret, SecretBytes, SecretString, SystemClock};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::files;
use super::seal::SealKey;
use super::state::State;

/// A P-256 key, which signs JWTs by ES256.
pub(crate) struct SigningKey {
    key: SecretBytes,
    public_pem: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl SigningKey {
    /// Opens the key `name` in the state directory, or makes it: `<name>.sealed`, sealed as
    /// `<name>-key`.
    ///
    /// # Errors
    /// It is there and does not open, or cannot be kept.
    pub(crate) fn load(state: &State, seal: &SealKey, name: &str) -> anyhow::Result<Self> {
        let path = state.join(&format!("{name}.sealed"));
        let sealed_name = format!("{name}-key");
        let key = match files::read(&path)? {
            Some(sealed) => seal.open(&sealed_name, &sealed)?,
            None => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                    .map_err(|_| anyhow::anyhow!("make a signing key"))?;
                let pkcs8 =
                    pair.to_pkcs8v1().map_err(|_| anyhow::anyhow!("encode a signing key"))?;
                let key: SecretBytes = Secret::new(pkcs8.as_ref().to_vec());
                files::write(&path, &seal.seal(&sealed_name, key.expose())?, 0o600, None)
                    .with_context(|| format!("write {}", path.display()))?;
                key
            }
        };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.expose())
            .map_err(|_| anyhow::anyhow!("{} holds no key", path.display()))?;
        let public: PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(|_| anyhow::anyhow!("encode a public key"))?;
        Ok(Self { public_pem: pem("PUBLIC KEY", public.as_ref()), key })
    }

    /// Its public half, as PEM.
    pub(crate) fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// A JWT about `subject` for `audience`, good from now on for `life`.
    pub(crate) fn sign(
        &self,
        subject: &str,
        audience: &str,
        life: Duration,
    ) -> Result<SecretString, jsonwebtoken::errors::Error> {
        let now = SystemClock.now().as_second();
        let exp = now + life.as_secs().cast_signed();
        let claims = Claims { sub: subject, aud: audience, iat: now, nbf: now, exp };
        let key = EncodingKey::from_ec_der(self.key.expose());
        let jwt = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key)?;
        Ok(SecretString::new(jwt))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let base64 = BASE64.encode(der);
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::super::seal::{self, SealKind};
    use super::*;

    #[test]
    fn a_key_stays_the_same_and_signs_for_itself() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::create(&directory.path().join("s")).unwrap();
        let seal = seal::create(&directory.path().join("k"), SealKind::File, None).unwrap();
        let first = SigningKey::load(&state, &seal, "one").unwrap();
        let again = SigningKey::load(&state, &seal, "one").unwrap();
        assert_eq!(first.public_pem(), again.public_pem());
        let other = SigningKey::load(&state, &seal, "other").unwrap();
        assert_ne!(first.public_pem(), other.public_pem());

        let key = jsonwebtoken::DecodingKey::from_ec_pem(first.public_pem().as_bytes()).unwrap();
        let mut rules = jsonwebtoken::Validation::new(Algorithm::ES256);
        rules.set_audience(&["them"]);
        let jwt = again.sign("me", "them", Duration::from_secs(60)).unwrap();
        let token = jsonwebtoken::decode::<serde_json::Value>(jwt.expose(), &key, &rules).unwrap();
        assert_eq!(token.claims["sub"], "me");
    }
}
