//! Wrapping tokens as JWTs, for whom `X-Vault-Wrap-Format: jwt` asks: they say by whom they were
//! issued and until when, and whoever has the public key can check it without asking.
//!
//! `sys/wrapping-key` holds the private key, ECDSA on P-521; the first JWT makes it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_barrier::View;
use holdfast_keys::{Algorithm, Jwks, SignedToken, SigningKey};
use holdfast_logical::Error;
use holdfast_types::{SecretBytes, SecretString, Timestamp};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

const KEY: &str = "sys/wrapping-key";
const KEY_ID: &str = "";
const ALGORITHM: Algorithm = Algorithm::Es512;

/// How a wrapping token is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrapFormat {
    /// As it is.
    Token,
    /// In a JWT.
    Jwt,
}

/// What a JWT says.
pub(super) struct Claims<'a> {
    /// Of what is wrapped.
    pub accessor: &'a str,
    /// Where to unwrap it.
    pub address: &'a str,
    pub token: &'a SecretString,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// Signs wrapping tokens, and opens them.
pub(super) struct Signer {
    store: View,
    key: OnceCell<Arc<Pair>>,
}

struct Pair {
    private: SigningKey,
    public: Jwks,
}

impl Signer {
    pub(super) fn new(root: &View) -> Self {
        Self { store: root.clone(), key: OnceCell::new() }
    }

    /// The JWT that says this.
    pub(super) async fn sign(&self, claims: &Claims<'_>) -> Result<SecretString, Error> {
        let from = claims.from.as_second();
        let claims = json!({
            "accessor": claims.accessor,
            "addr": claims.address,
            "exp": claims.until.as_second(),
            "iat": from,
            "jti": claims.token.expose(),
            "nbf": from - 5,
            "type": "wrapping",
        });
        let Value::Object(claims) = claims else { return Err(failed("no claims")) };
        let pair = self.key.get_or_try_init(|| self.make()).await?;
        let token = pair.private.sign_as("JWT", &claims).map_err(failed)?;
        Ok(SecretString::new(token))
    }

    /// The token in a JWT of ours. None: it is no JWT. That it has expired shows when the token
    /// inside is looked up.
    ///
    /// # Errors
    /// 403 for a JWT of somebody else's.
    pub(super) async fn open(&self, text: &str) -> Result<Option<String>, Error> {
        if !text.starts_with("eyJ") {
            return Ok(None);
        }
        let Ok(signed) = SignedToken::parse(text) else { return Ok(None) };
        let foreign = || {
            let message = "error validating wrapping token: wrapping token signature could not be \
                           validated: go-jose/go-jose: error in cryptographic primitive";
            Error::Status { status: 403, message: message.to_owned() }
        };
        // A question alone makes no key.
        if self.key.get().is_none() && self.store.get(KEY).await?.is_none() {
            return Err(foreign());
        }
        let pair = self.key.get_or_try_init(|| self.make()).await?;
        if !pair.public.candidates(None).any(|key| signed.is_signed_by(key)) {
            return Err(foreign());
        }
        let claims: Map<String, Value> = signed.claims().unwrap_or_default();
        Ok(claims.get("jti").and_then(Value::as_str).map(str::to_owned))
    }

    /// Reads the key, or makes it.
    async fn make(&self) -> Result<Arc<Pair>, Error> {
        let private = match self.store.get_json::<SecretString>(KEY).await? {
            Some(stored) => {
                let bytes = STANDARD.decode(stored.expose()).map_err(failed)?;
                SigningKey::from_pkcs8(ALGORITHM, &SecretBytes::new(bytes)).map_err(failed)?
            }
            None => {
                let (key, pkcs8) = SigningKey::generate(ALGORITHM).map_err(failed)?;
                let stored = SecretString::new(STANDARD.encode(pkcs8.expose()));
                self.store.put_json(KEY, &stored).await?;
                key
            }
        };
        let set = json!({ "keys": [private.public_jwk(KEY_ID)] }).to_string();
        let public = Jwks::parse(set.as_bytes()).map_err(failed)?;
        Ok(Arc::new(Pair { private, public }))
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::internal("sign a wrapping token", error)
}
