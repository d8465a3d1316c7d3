//! What holds for any text read as a signed token or a key set. `fuzz/` holds the same against many
//! more.

#[path = "../../../fuzz/invariants/jwt.rs"]
mod invariants;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_token_is_taken_apart_or_refused_and_never_verified(text in any_token()) {
        invariants::check(&text);
    }
}

/// Anything at all, and what is nearly a token or a key set.
fn any_token() -> impl Strategy<Value = String> {
    let header = prop::sample::select(vec![
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","kid":"k"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"none"}"#,
        r#"{"alg":"EdDSA","alg":"none"}"#,
        "[]",
    ]);
    let payload = prop_oneof![Just(r#"{"sub":"a"}"#.to_owned()), any::<String>()];
    let signature = prop::collection::vec(any::<u8>(), 0..80);
    let token = (header, payload, signature).prop_map(|(header, payload, signature)| {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!(
            "{}.{}.{}",
            encode(header.as_bytes()),
            encode(payload.as_bytes()),
            encode(&signature)
        )
    });
    let key_set = "\\{\"keys\": ?\\[(\\{\"kty\":\"(RSA|EC|OKP|oct)\",\"(n|x|crv)\":\"[A-Za-z0-9_-]{0,12}\"\\},?){0,3}\\]\\}";
    prop_oneof![1 => any::<String>(), 6 => token, 2 => "[A-Za-z0-9_.-]{0,40}", 2 => key_set]
}
