//! `keys/<name>/csr` and `keys/<name>/set-certificate`: certificates for keys that sign.

use std::sync::Arc;

use holdfast_logical::{Error, Reply, Request};
use serde_json::json;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::der::{self, Reader, SEQUENCE, oid};
use super::ecdsa::{self, Curve};
use super::hash_algorithm::HashAlgorithm;
use super::key::{Key, Version};
use super::material::Material;
use super::pem;
use super::refused::Refused;
use super::rsa::Padding;
use super::{Transit, answer, compute};

/// The longest chain that is kept.
const LONGEST_CHAIN: usize = 32;

impl Transit {
    /// `POST keys/<name>/csr`: a request for a certificate, signed with the key. Its subject and its
    /// attributes are those of the template.
    pub(super) async fn create_csr(&self, request: &Request, name: &str) -> Reply {
        let key = self.keys.get(name).await?;
        let key = check(key, name)?;
        let number = version_number(request, &key)?;
        let template = request.fields().string("csr")?.unwrap_or_default();
        let template = Template::read(&template)?;
        let failed = |error: Refused| Refused::new(format!("could not create the csr: {error}"));
        key.version(number).map_err(failed)?;
        let signing = Arc::clone(&key);
        let csr = compute(move || template.sign(signing.version(number)?)).await?;
        let csr = csr.map_err(failed)?;
        answer(json!({
            "name": key.name,
            "type": key.settings.kind.name(),
            "csr": pem::encode("CERTIFICATE REQUEST", &csr),
        }))
    }

    /// `POST keys/<name>/set-certificate`: a chain for a version, leaf first.
    pub(super) async fn set_certificate(&self, request: &Request, name: &str) -> Reply {
        let locked = self.keys.lock(name).await;
        let key = check(locked.get().await?, name)?;
        let number = version_number(request, &key)?;
        let text = request.fields().string("certificate_chain")?.unwrap_or_default();
        let chain = read_chain(&text)?;
        let failed =
            |error: Refused| Refused::new(format!("failed to persist certificate chain: {error}"));
        let old = key.versions.get(&number).cloned();
        let old = old.ok_or_else(|| failed(Refused::new("no such key version")))?;
        check_chain(&chain, &old, &key).map_err(failed)?;
        let version = Version { certificate_chain: chain, ..Version::clone(&old) };
        let mut changed = Key::clone(&key);
        changed.versions.insert(number, version.into());
        locked.put(changed, &[number]).await?;
        answer(json!({
            "name": key.name,
            "type": key.settings.kind.name(),
            "certificate_chain": text,
        }))
    }
}

/// The key, if certificates are for it.
fn check(key: Option<Arc<Key>>, name: &str) -> Result<Arc<Key>, Error> {
    let missing = || Error::invalid(format!("key with provided name '{name}' not found"));
    let key = key.ok_or_else(missing)?;
    if !key.settings.kind.signs() {
        let kind = key.settings.kind;
        return Err(Error::invalid(format!("key type '{kind}' does not support signing")));
    }
    if key.settings.derived {
        return Err(Error::invalid("operation not supported for keys with derivation enabled"));
    }
    key.check_usable()?;
    Ok(key)
}

fn version_number(request: &Request, key: &Key) -> Result<u32, Error> {
    let asked = request.fields().integer("version")?;
    Ok(match asked {
        Some(asked) => u32::try_from(asked).unwrap_or_default(),
        None => key.settings.latest_version,
    })
}

/// What of a certificate request its template gives: both in DER, header and all.
struct Template {
    subject: Vec<u8>,
    attributes: Vec<u8>,
}

impl Template {
    /// Reads a request as PEM; an empty text is an empty one.
    fn read(text: &str) -> Result<Self, Refused> {
        if text.is_empty() {
            let subject = der::element(SEQUENCE, &[]).to_vec();
            return Ok(Self { subject, attributes: der::element(ATTRIBUTES, &[]).to_vec() });
        }
        let no_pem = || Refused::new("could not decode PEM CSR");
        let (_, bytes) = pem::decode(text).ok_or_else(no_pem)?;
        let malformed = || Refused::new("the CSR is no PKCS #10 certificate request");
        x509_parser::certification_request::X509CertificationRequest::from_der(&bytes)
            .map_err(|_| malformed())?;
        let mut outer = Reader(Reader(&bytes).expect(SEQUENCE).ok_or_else(malformed)?);
        let mut info = Reader(outer.expect(SEQUENCE).ok_or_else(malformed)?);
        let mut element = || info.next_whole().ok_or_else(malformed);
        let (_version, subject, _key, attributes) =
            (element()?, element()?, element()?, element()?);
        if attributes[0] != ATTRIBUTES {
            return Err(malformed());
        }
        Ok(Self { subject: subject.to_vec(), attributes: attributes.to_vec() })
    }

    /// The request for the key of `version`, in DER.
    fn sign(&self, version: &Version) -> Result<Vec<u8>, Refused> {
        let missing = || Refused::new("private key not imported for key version selected");
        let spki = version.material.spki().ok_or_else(missing)?;
        if !version.material.has_private() {
            return Err(missing());
        }
        let zero = der::element(der::INTEGER, &[&[0]]);
        let info = der::element(SEQUENCE, &[&zero, &self.subject, &spki, &self.attributes]);
        let (id, signature) = match &*version.material {
            Material::Rsa(pair) => {
                let hash = HashAlgorithm::Sha2_256;
                (oid::RSA_SHA256, pair.sign(hash, &hash.hash(&info), Padding::Pkcs1v15)?)
            }
            Material::Ecdsa(pair) => {
                let (id, hash) = match pair.curve() {
                    Curve::P256 => (oid::ECDSA_SHA256, HashAlgorithm::Sha2_256),
                    Curve::P384 => (oid::ECDSA_SHA384, HashAlgorithm::Sha2_384),
                    Curve::P521 => (oid::ECDSA_SHA512, HashAlgorithm::Sha2_512),
                };
                (id, ecdsa::to_asn1(&pair.sign(&hash.hash(&info))?))
            }
            Material::Ed25519(pair) => (oid::ED25519, pair.sign(&info)?),
            _ => return Err(missing()),
        };
        // RSA's algorithm has a parameter, which is null.
        let null: &[u8] = if id == oid::RSA_SHA256 { &[5, 0] } else { &[] };
        let algorithm = der::element(SEQUENCE, &[&der::element(der::OBJECT_ID, &[id]), null]);
        let signature = der::element(der::BIT_STRING, &[&[0], &signature]);
        Ok(der::element(SEQUENCE, &[&info, &algorithm, &signature]).to_vec())
    }
}

/// The tag of a request's attributes: the context's own 0, constructed.
const ATTRIBUTES: u8 = 0xa0;

/// The certificates in a text of PEM blocks, in DER. Blocks of other kinds are passed over.
fn read_chain(text: &str) -> Result<Vec<Vec<u8>>, Refused> {
    let blocks = pem::split(text)
        .map_err(|()| Refused::new("could not decode a PEM block in the certificate chain"))?;
    let is_certificate = |label: &str| matches!(label, "CERTIFICATE" | "X509 CERTIFICATE");
    let chain: Vec<_> = blocks
        .into_iter()
        .filter(|(label, _)| is_certificate(label))
        .map(|(_, bytes)| bytes)
        .collect();
    if !chain.iter().all(|bytes| matches!(X509Certificate::from_der(bytes), Ok(([], _)))) {
        return Err(Refused::new(
            "could not parse a certificate in the certificate chain: x509: malformed certificate",
        ));
    }
    if chain.is_empty() {
        return Err(Refused::new(
            "provided certificate chain did not contain any valid PEM encoded certificate",
        ));
    }
    if chain.len() > LONGEST_CHAIN {
        return Err(Refused::new(format!(
            "the certificate chain has more than {LONGEST_CHAIN} certificates"
        )));
    }
    Ok(chain)
}

/// A chain is a leaf for this key and then authorities.
fn check_chain(chain: &[Vec<u8>], version: &Version, key: &Key) -> Result<(), Refused> {
    let parsed = chain.iter().map(|bytes| match X509Certificate::from_der(bytes) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Refused::new("could not parse a certificate in the certificate chain")),
    });
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    let (Some(leaf), Some(last)) = (parsed.first(), parsed.last()) else {
        return Err(Refused::new("expected at least one certificate in the certificate chain"));
    };
    if leaf.is_ca() {
        return Err(Refused::new(
            "certificate in the first element is not a valid leaf certificate",
        ));
    }
    if parsed.len() > 1 {
        if !last.is_ca() {
            return Err(Refused::new(
                "certificate in the last element is not a valid CA certificate",
            ));
        }
        if !parsed[1..].iter().all(|certificate| certificate.is_ca()) {
            return Err(Refused::new(
                "could not validate if there is only one leaf certificate in the provided chain",
            ));
        }
    }
    let kind = key.settings.kind;
    let mismatch = |algorithm: &str| {
        Refused::new(format!(
            "could not validate key match between leaf certificate key and key entry in transit: \
             provided leaf certificate public key algorithm '{algorithm}' does not match the \
             transit key type '{kind}'"
        ))
    };
    let (leaf_key, algorithm) = match Material::from_spki(leaf.public_key().raw) {
        Ok((key @ Material::Rsa(_), _)) => (key, "RSA"),
        Ok((key @ Material::Ecdsa(_), _)) => (key, "ECDSA"),
        Ok((key, _)) => (key, "Ed25519"),
        Err(_) => return Err(mismatch("unknown")),
    };
    if std::mem::discriminant(&leaf_key) != std::mem::discriminant(&version.material) {
        return Err(mismatch(algorithm));
    }
    if !leaf_key.has_public_of(&version.material) {
        return Err(Refused::new(
            "leaf certificate public key does not match the selected key version",
        ));
    }
    Ok(())
}
