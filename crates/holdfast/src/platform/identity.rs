//! The supervisor's own way into the secrets server: a key that it holds sealed, and a role that
//! trusts the key. Its tokens live five minutes and may do everything; each use is audited.

use std::time::Duration;

use anyhow::Context;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use holdfast_client::vault::{Auth, VaultClient, VaultError};
use holdfast_types::{Clock, Secret, SecretBytes, SecretString, SystemClock};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::files;
use super::seal::SealKey;
use super::state::State;

/// Where its login method is mounted: `auth/holdfast-supervisor`.
pub(crate) const MOUNT: &str = "holdfast-supervisor";
/// The method's only role.
pub(crate) const ROLE: &str = "supervisor";
/// What the role grants: everything.
pub(crate) const POLICY: &str = "holdfast-supervisor";
/// Whom its tokens are made for, so that they are good nowhere else.
pub(crate) const AUDIENCE: &str = "holdfast-vault";
/// The life of its tokens.
pub(crate) const TOKEN_TTL: Duration = Duration::from_secs(300);

/// The life of a login. Long enough for a slow start, too short to be worth stealing.
const JWT_TTL: Duration = Duration::from_secs(60);

const SEALED_NAME: &str = "supervisor-key";

/// The supervisor's key.
pub(crate) struct Identity {
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

impl Identity {
    /// Opens the key, or makes it at the first start.
    pub(crate) fn load(state: &State, seal: &SealKey) -> anyhow::Result<Self> {
        let path = state.join("supervisor.sealed");
        let key = match files::read(&path)? {
            Some(sealed) => seal.open(SEALED_NAME, &sealed)?,
            None => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                    .map_err(|_| anyhow::anyhow!("make the supervisor's key"))?;
                let pkcs8 = pair
                    .to_pkcs8v1()
                    .map_err(|_| anyhow::anyhow!("encode the supervisor's key"))?;
                let key: SecretBytes = Secret::new(pkcs8.as_ref().to_vec());
                files::write(&path, &seal.seal(SEALED_NAME, key.expose())?, 0o600, None)
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

    /// What the role is to trust, as PEM.
    pub(crate) fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// Logs in at `vault`; the token is good for [`TOKEN_TTL`].
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub(crate) async fn login(&self, vault: &VaultClient) -> Result<Auth, LoginError> {
        vault.login_jwt(MOUNT, ROLE, &self.jwt()?).await.map_err(LoginError::Vault)
    }

    fn jwt(&self) -> Result<SecretString, LoginError> {
        let now = SystemClock.now().as_second();
        let claims = Claims {
            sub: ROLE,
            aud: AUDIENCE,
            iat: now,
            nbf: now,
            exp: now + JWT_TTL.as_secs().cast_signed(),
        };
        let key = EncodingKey::from_ec_der(self.key.expose());
        let jwt = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key);
        Ok(SecretString::new(jwt.map_err(LoginError::Sign)?))
    }
}

/// Why the supervisor got no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The key would not sign.
    #[error("sign a login")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The server said no, or nothing.
    #[error("log in to the secrets server as the supervisor")]
    Vault(#[source] VaultError),
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
    fn the_key_stays_the_same_and_signs_for_itself() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::create(&directory.path().join("s")).unwrap();
        let seal = seal::create(&directory.path().join("k"), SealKind::File, None).unwrap();
        let first = Identity::load(&state, &seal).unwrap();
        let again = Identity::load(&state, &seal).unwrap();
        assert_eq!(first.public_pem(), again.public_pem());

        let key = jsonwebtoken::DecodingKey::from_ec_pem(first.public_pem().as_bytes()).unwrap();
        let mut rules = jsonwebtoken::Validation::new(Algorithm::ES256);
        rules.set_audience(&[AUDIENCE]);
        let jwt = again.jwt().unwrap();
        let token = jsonwebtoken::decode::<serde_json::Value>(jwt.expose(), &key, &rules).unwrap();
        assert_eq!(token.claims["sub"], ROLE);
    }
}
