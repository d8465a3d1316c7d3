//! Keys of every kind verify what they signed, and nothing else.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA384, RsaKeyPair,
};
use serde_json::{Value, json};

use super::*;

const MESSAGE: &[u8] = b"what is signed";

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key set with this one key.
fn set_of(jwk: &Value) -> Jwks {
    Jwks::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap()
}

fn pem(der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
}

/// Both forms of a key verify `signature` with `algorithm`, and neither with another, nor a
/// changed message or signature.
fn check(from_pem: &PublicKey, jwk: &Value, algorithm: Algorithm, signature: &[u8]) {
    let set = set_of(jwk);
    let from_jwk = set.candidates(None).next().unwrap();
    for key in [from_pem, from_jwk] {
        assert!(key.verifies(algorithm, MESSAGE, signature), "{algorithm:?}");
        assert!(!key.verifies(algorithm, b"another", signature), "{algorithm:?}");
        let mut changed = signature.to_vec();
        changed[5] ^= 1;
        assert!(!key.verifies(algorithm, MESSAGE, &changed), "{algorithm:?}");
        assert!(!key.verifies(algorithm, MESSAGE, &[]), "{algorithm:?}");
        for (other, name) in Algorithm::ALL {
            assert!(other == algorithm || !key.verifies(other, MESSAGE, signature), "{name}");
        }
    }
}

#[test]
fn rsa_keys_verify() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let components: RsaPublicKeyComponents<Vec<u8>> = pair.public_key().into();
    let jwk = json!({
        "kty": "RSA", "n": encode(&components.n), "e": encode(&components.e), "use": "sig",
    });
    let der = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key());
    let from_pem = PublicKey::from_pem(&pem(der.unwrap().as_ref())).unwrap();
    let random = SystemRandom::new();
    for (algorithm, padding) in [
        (Algorithm::Rs256, &RSA_PKCS1_SHA256 as &dyn signature::RsaEncoding),
        (Algorithm::Ps384, &RSA_PSS_SHA384),
    ] {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &random, MESSAGE, &mut signature).unwrap();
        check(&from_pem, &jwk, algorithm, &signature);
    }
}

#[test]
fn elliptic_curve_keys_verify() {
    let random = SystemRandom::new();
    for (algorithm, curve, signing) in [
        (Algorithm::Es256, "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
        (Algorithm::Es384, "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
        (Algorithm::Es512, "P-521", &ECDSA_P521_SHA512_FIXED_SIGNING),
    ] {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(point.len() / 2);
        let jwk = json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) });
        let der = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key());
        let from_pem = PublicKey::from_pem(&pem(der.unwrap().as_ref())).unwrap();
        let signature = pair.sign(&random, MESSAGE).unwrap();
        check(&from_pem, &jwk, algorithm, signature.as_ref());
    }
}

#[test]
fn edwards_keys_verify() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = pair.public_key().as_ref();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(x) });
    let der = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key());
    let from_pem = PublicKey::from_pem(&pem(der.unwrap().as_ref())).unwrap();
    check(&from_pem, &jwk, Algorithm::EdDsa, pair.sign(MESSAGE).as_ref());
}

#[test]
fn keys_are_chosen_by_id_and_strange_ones_passed_over() {
    let x = encode(&[7; 32]);
    let okp = |kid: &str| json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid });
    let document = json!({
        "keys": [
            okp("a"), okp("b"), okp("b"),
            { "kty": "OKP", "crv": "Ed25519", "x": x, "use": "enc" },
            { "kty": "OKP", "crv": "Ed25519", "x": x, "alg": "HS256" },
            { "kty": "OKP", "crv": "X25519", "x": x },
            { "kty": "oct", "k": "AAAA" },
            { "kty": "EC", "crv": "P-256", "x": x, "y": "AA" },
            { "kty": "EC", "crv": "secp256k1", "x": x, "y": x },
            { "kty": 5 }, "text", null,
        ]
    });
    let set = Jwks::parse(document.to_string().as_bytes()).unwrap();
    assert_eq!(set.len(), 3);
    for (id, count) in [(Some("a"), 1), (Some("b"), 2), (Some("c"), 0), (None, 3)] {
        assert_eq!(set.candidates(id).count(), count, "{id:?}");
    }
    for json in ["", "[]", "{}", "{\"keys\": 1}", "x"] {
        assert_eq!(Jwks::parse(json.as_bytes()), Err(KeyError::KeySet), "{json}");
    }
}

#[test]
fn texts_without_a_key_are_refused() {
    for (text, want) in [
        ("", KeyError::NoKey),
        ("x", KeyError::NoKey),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", KeyError::Malformed),
    ] {
        assert_eq!(PublicKey::from_pem(text), Err(want), "{text}");
    }
}
