//! What verifies the SVIDs of a trust domain.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_keys::x509::Certificate;
use holdfast_types::TrustDomain;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The authorities of a trust domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Whose they are.
    pub trust_domain: TrustDomain,
    /// Certificates in DER that X.509-SVIDs chain up to.
    pub x509_authorities: Vec<Vec<u8>>,
    /// JSON Web Keys that JWT-SVIDs are signed with, each with a `kid` and without `use`.
    pub jwt_authorities: Vec<Map<String, Value>>,
    /// Grows with every change.
    pub sequence: u64,
    /// How often to look for a change.
    pub refresh_hint: Option<Duration>,
    /// Of its authorities, those whose SVIDs are to be replaced: key ids of X.509 authorities in hex,
    /// and ids of JWT keys. Known within the trust domain alone.
    #[serde(default)]
    pub tainted: Vec<String>,
}

/// Why a text is no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not a JSON object with an array `keys`.
    #[error("a bundle is a JSON object with an array \"keys\"")]
    Form,
    /// Not a whole number of 0 or more.
    #[error("{0} of the bundle is not a whole number")]
    Number(&'static str),
    /// One of the keys cannot be used.
    #[error("key {index} of the bundle: {problem}")]
    Key {
        /// Its place in `keys`, from 0.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// More keys than any trust domain has.
    #[error("a bundle has at most {MAX_KEYS} keys")]
    TooMany,
}

const MAX_KEYS: usize = 256;

impl Bundle {
    /// An empty one: it verifies nothing.
    pub fn empty(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            x509_authorities: Vec::new(),
            jwt_authorities: Vec::new(),
            sequence: 0,
            refresh_hint: None,
            tainted: Vec::new(),
        }
    }

    /// Whether an SVID is to be replaced, for what signed it is not to be relied on.
    pub fn taints(&self, svid: &Certificate) -> bool {
        let signer = svid.authority_key_id.as_ref().map(hex::encode);
        signer.is_some_and(|signer| self.taints_key(&signer))
    }

    /// The same for what the key of this id signed.
    pub fn taints_key(&self, id: &str) -> bool {
        self.tainted.iter().any(|tainted| tainted == id)
    }

    /// The X.509 authorities as the Workload API sends them: DER, one after another.
    pub fn x509_der(&self) -> Vec<u8> {
        self.x509_authorities.concat()
    }

    /// The JWT authorities as the Workload API sends them: a plain JWKS, without `use`.
    pub fn jwks(&self) -> Vec<u8> {
        json!({ "keys": self.jwt_authorities }).to_string().into_bytes()
    }

    /// In the form of the bundle endpoint and of SPIRE's `bundle show -format spiffe`.
    ///
    /// Source: SPIFFE Trust Domain and Bundle, section 4.
    pub fn to_json(&self) -> Value {
        let x509 = self.x509_authorities.iter().filter_map(|der| {
            let mut key = Certificate::from_der(der).ok()?.public_key.to_jwk();
            key.insert("use".to_owned(), json!("x509-svid"));
            key.insert("x5c".to_owned(), json!([STANDARD.encode(der)]));
            Some(Value::Object(key))
        });
        let jwt = self.jwt_authorities.iter().cloned().map(|mut key| {
            key.insert("use".to_owned(), json!("jwt-svid"));
            Value::Object(key)
        });
        let mut bundle = json!({
            "keys": x509.chain(jwt).collect::<Vec<_>>(),
            "spiffe_sequence": self.sequence,
        });
        if let Some(hint) = self.refresh_hint {
            bundle["spiffe_refresh_hint"] = json!(hint.as_secs());
        }
        bundle
    }

    /// Reads what [`Bundle::to_json`] writes, from anyone. Keys of other uses are passed over.
    ///
    /// # Errors
    /// It is no bundle, or holds a key that cannot be used.
    pub fn from_json(trust_domain: TrustDomain, text: &[u8]) -> Result<Self, BundleError> {
        let mut parsed: Value = serde_json::from_slice(text).map_err(|_| BundleError::Form)?;
        let Some(Value::Array(keys)) = parsed.get_mut("keys").map(Value::take) else {
            return Err(BundleError::Form);
        };
        if keys.len() > MAX_KEYS {
            return Err(BundleError::TooMany);
        }
        let mut bundle = Self::empty(trust_domain);
        let number = |name: &'static str| match parsed.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(BundleError::Number(name)),
        };
        bundle.sequence = number("spiffe_sequence")?.unwrap_or_default();
        let hint = number("spiffe_refresh_hint")?;
        bundle.refresh_hint = hint.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        for (index, key) in keys.into_iter().enumerate() {
            let wrong = |problem: &str| BundleError::Key { index, problem: problem.to_owned() };
            let Value::Object(mut key) = key else { return Err(wrong("is not an object")) };
            match key.remove("use").as_ref().and_then(Value::as_str) {
                Some("x509-svid") => bundle.x509_authorities.push(x5c(&key).map_err(wrong)?),
                Some("jwt-svid") => {
                    if key.get("kid").and_then(Value::as_str).is_none_or(str::is_empty) {
                        return Err(wrong("has no kid"));
                    }
                    jwt_authority(&key).map_err(wrong)?;
                    if bundle.jwt_authorities.iter().any(|known| known.get("kid") == key.get("kid"))
                    {
                        return Err(wrong("has the kid of another key"));
                    }
                    bundle.jwt_authorities.push(key);
                }
                _ => {}
            }
        }
        Ok(bundle)
    }
}

/// Sees that a key of use `jwt-svid` is a public one that can verify tokens.
fn jwt_authority(key: &Map<String, Value>) -> Result<(), &'static str> {
    let text = |name: &str| key.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let has_all = |names: &[&str]| names.iter().all(|name| text(name).is_some());
    let is_whole = match text("kty") {
        Some("EC") => has_all(&["crv", "x", "y"]),
        Some("RSA") => has_all(&["n", "e"]),
        _ => return Err("is of no kind that verifies tokens"),
    };
    if ["d", "p", "q", "dp", "dq", "qi", "k"].iter().any(|name| key.contains_key(*name)) {
        return Err("holds a private key");
    }
    if is_whole { Ok(()) } else { Err("is not whole") }
}

/// The one certificate that a key of use `x509-svid` holds.
fn x5c(key: &Map<String, Value>) -> Result<Vec<u8>, &'static str> {
    let Some([Value::String(text)]) = key.get("x5c").and_then(Value::as_array).map(Vec::as_slice)
    else {
        return Err("has no x5c of one certificate");
    };
    let der = STANDARD.decode(text).map_err(|_| "has an x5c that is not base64")?;
    let certificate = Certificate::from_der(&der).map_err(|_| "holds no certificate")?;
    if certificate.is_ca { Ok(der) } else { Err("is not an authority's") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_testkit::Ca;

    #[test]
    fn a_bundle_is_read_as_it_was_written() {
        let trust_domain = TrustDomain::parse("demo.local").unwrap();
        let mut bundle = Bundle::empty(trust_domain.clone());
        bundle.x509_authorities = vec![Ca::new("a").der().to_vec(), Ca::new("b").der().to_vec()];
        let Value::Object(key) =
            json!({ "kty": "EC", "kid": "k", "crv": "P-256", "x": "a", "y": "b" })
        else {
            unreachable!()
        };
        bundle.jwt_authorities = vec![key];
        bundle.sequence = 7;
        bundle.refresh_hint = Some(Duration::from_secs(300));
        let json = bundle.to_json();
        assert_eq!(json["keys"][0]["use"], "x509-svid");
        assert_eq!(json["keys"][2]["use"], "jwt-svid");
        let read = Bundle::from_json(trust_domain, json.to_string().as_bytes());
        assert_eq!(read, Ok(bundle.clone()));
        let jwks: Value = serde_json::from_slice(&bundle.jwks()).unwrap();
        assert_eq!(
            jwks,
            json!({ "keys": [{ "kty": "EC", "kid": "k", "crv": "P-256", "x": "a", "y": "b" }] })
        );
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        let leaf = STANDARD.encode(Ca::new("a").client("leaf").certificate_der);
        let x509 = |x5c: Value| json!({ "keys": [{ "use": "x509-svid", "x5c": x5c }] }).to_string();
        let jwt = |mut key: Value| {
            key["use"] = json!("jwt-svid");
            key["kid"] = json!("k");
            json!({ "keys": [key] }).to_string()
        };
        let key = |problem: &str| BundleError::Key { index: 0, problem: problem.to_owned() };
        let many = json!({ "keys": vec![json!({}); MAX_KEYS + 1] }).to_string();
        for (text, want) in [
            ("", BundleError::Form),
            ("{}", BundleError::Form),
            ("[]", BundleError::Form),
            (r#"{"keys": {}}"#, BundleError::Form),
            (r#"{"keys": [1]}"#, key("is not an object")),
            (r#"{"keys": [{"use": "jwt-svid"}]}"#, key("has no kid")),
            (&jwt(json!({ "kty": "oct", "k": "a" })), key("is of no kind that verifies tokens")),
            (
                &jwt(json!({ "kty": "RSA", "n": "a", "e": "b", "d": "c" })),
                key("holds a private key"),
            ),
            (&jwt(json!({ "kty": "EC", "crv": "P-256", "x": "a" })), key("is not whole")),
            (r#"{"keys": [], "spiffe_sequence": -1}"#, BundleError::Number("spiffe_sequence")),
            (
                r#"{"keys": [], "spiffe_refresh_hint": "1"}"#,
                BundleError::Number("spiffe_refresh_hint"),
            ),
            (&x509(json!([])), key("has no x5c of one certificate")),
            (&x509(json!([leaf, leaf])), key("has no x5c of one certificate")),
            (&x509(json!(["-"])), key("has an x5c that is not base64")),
            (&x509(json!(["AAAA"])), key("holds no certificate")),
            (&x509(json!([leaf])), key("is not an authority's")),
            (&many, BundleError::TooMany),
        ] {
            let trust_domain = TrustDomain::parse("demo.local").unwrap();
            let got = Bundle::from_json(trust_domain, text.as_bytes());
            assert_eq!(got, Err(want), "{text}");
        }
    }
}
