//! What holds for any text that is read as a signed token or as a key set.

use holdfast_keys::{Jwks, SignedToken};

/// A key whose private half nobody has kept.
const KEYS: &str = r#"{"keys": [{
    "kty": "OKP", "crv": "Ed25519", "kid": "k",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
}]}"#;

/// Reading does not panic, no token is verified by a key that did not sign it, and two texts do
/// not stand for the same token.
pub(crate) fn check(text: &str) {
    let known = Jwks::parse(KEYS.as_bytes());
    if let Ok(token) = SignedToken::parse(text) {
        for keys in [known, Jwks::parse(text.as_bytes())].iter().flatten() {
            assert!(!keys.candidates(None).any(|key| token.is_signed_by(key)), "{text:?}");
        }
        if let Ok(claims) = token.claims() {
            assert!(claims.keys().all(|key| claims.contains_key(key)));
        }
        assert!(SignedToken::parse(&format!("{text}=")).is_err(), "{text:?}");
    }
    if let Ok(keys) = Jwks::parse(text.as_bytes()) {
        assert!(keys.candidates(None).count() == keys.len());
    }
}
