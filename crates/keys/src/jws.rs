//! Signed tokens (RFC 7515) taken apart. What they claim is for the reader to judge.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::jwks::{Algorithm, PublicKey};

/// The longest token that is looked at, in bytes.
const MAX_LENGTH: usize = 256 * 1024;

/// Without padding, and with the last byte's spare bits zero: one text for one signature.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);

/// Why a text is no signed token, in the words of Go's libraries where they have some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts with dots between them.
    #[error("go-jose/go-jose: compact JWS format must have three parts")]
    Parts,
    /// Longer than any token has reason to be.
    #[error("token is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// A part is no base64url without padding.
    #[error("illegal base64 data at input byte {at}")]
    Base64 {
        /// The offset in its part.
        at: usize,
    },
    /// The header is no JSON object, or says something twice.
    #[error("token header is not a JSON object")]
    Header,
    /// The claims are no JSON object, or say something twice.
    #[error("token claims are not a JSON object, or a claim stands there twice")]
    Claims,
    /// `alg` is `none`, or missing: nobody signed it.
    #[error("token must be signed")]
    Unsigned,
    /// `alg` names a shared secret, or nothing known.
    #[error("token signed with unexpected algorithm")]
    Algorithm,
    /// `crit` names extensions that must be understood, and none are.
    #[error("token header has unknown critical extensions")]
    Critical,
}

/// A token that has been taken apart, and not yet verified.
pub struct SignedToken<'t> {
    /// `alg`
    pub algorithm: Algorithm,
    /// `kid`
    pub key_id: Option<String>,
    signed: &'t str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl fmt::Debug for SignedToken<'_> {
    /// A token is a credential: only its header is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SignedToken");
        shown.field("algorithm", &self.algorithm).field("key_id", &self.key_id);
        shown.finish_non_exhaustive()
    }
}

impl<'t> SignedToken<'t> {
    /// Takes apart `header.payload.signature`.
    ///
    /// # Errors
    /// What is wrong with its form or its algorithm.
    pub fn parse(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > MAX_LENGTH {
            return Err(TokenError::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Parts);
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let header = object(&decode(header)?).ok_or(TokenError::Header)?;
        let payload = decode(payload)?;
        let signature = decode(signature)?;
        if header.contains_key("crit") {
            return Err(TokenError::Critical);
        }
        let algorithm = match header.get("alg") {
            None => return Err(TokenError::Unsigned),
            Some(Value::String(name)) if name.eq_ignore_ascii_case("none") => {
                return Err(TokenError::Unsigned);
            }
            Some(name) => {
                let known = name.as_str().and_then(Algorithm::parse);
                known.ok_or(TokenError::Algorithm)?
            }
        };
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.is_empty() => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(TokenError::Header),
        };
        Ok(Self { algorithm, key_id, signed, payload, signature })
    }

    /// Whether `key` signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature)
    }

    /// What it claims. Worth nothing before a key has verified it.
    ///
    /// # Errors
    /// [`TokenError::Claims`]: two readers could understand it differently.
    pub fn claims(&self) -> Result<Map<String, Value>, TokenError> {
        object(&self.payload).ok_or(TokenError::Claims)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    BASE64.decode(part).map_err(|error| {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _)
            | base64::DecodeError::InvalidLastSymbol { offset: at, .. } => at,
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
                // Go points at the end of the last whole group.
                part.len() / 4 * 4
            }
        };
        TokenError::Base64 { at }
    })
}

/// A JSON object in which no key stands twice.
fn object(json: &[u8]) -> Option<Map<String, Value>> {
    struct Unique;
    impl<'de> Visitor<'de> for Unique {
        type Value = Map<String, Value>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = Map::new();
            while let Some((key, value)) = access.next_entry::<String, Value>()? {
                if map.insert(key, value).is_some() {
                    return Err(A::Error::custom("a key stands there twice"));
                }
            }
            Ok(map)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let map = deserializer.deserialize_map(Unique).ok()?;
    deserializer.end().ok()?;
    Some(map)
}

#[cfg(test)]
mod tests;
