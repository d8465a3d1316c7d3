//! SVIDs: what they say, and their signing.

use std::net::IpAddr;
use std::time::Duration;

use holdfast_keys::SigningKey;
use holdfast_keys::x509::{
    Certificate, CertificateTemplate, Extension, GeneralName, Hash, KeyUsage, Oid, PrivateKey,
    PublicKey, Subject, X509Error,
};
use holdfast_types::{Random, SpiffeId, Timestamp};
use serde_json::{Map, Value, json};

use crate::{JwtSvid, X509Svid};

/// Certificates are valid from a little before they are made, for verifiers whose clock is behind.
pub(crate) const BACKDATED: Duration = Duration::from_secs(10);

/// id-kp-serverAuth and id-kp-clientAuth
const BOTH_SIDES: [Oid; 2] =
    [Oid::known(&[0x2b, 6, 1, 5, 5, 7, 3, 1]), Oid::known(&[0x2b, 6, 1, 5, 5, 7, 3, 2])];

/// Why an SVID was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The authority has no key that is valid at this moment.
    #[error("there is no valid signing key at the moment")]
    NoKey,
    /// The clock is past what a certificate or a token can say.
    #[error("the time cannot be put into an SVID")]
    Time,
    /// The cryptographic library refused.
    #[error("sign a certificate")]
    X509(#[from] X509Error),
    /// The same for a token.
    #[error("sign a token")]
    Jwt(#[from] holdfast_keys::SigningError),
}

/// An authority's certificate and key.
pub(crate) struct X509Signer {
    pub(crate) key: PrivateKey,
    pub(crate) certificate: Certificate,
    /// What goes out behind the leaf, the authority's own certificate first; nothing where the
    /// bundle holds that.
    pub(crate) chain: Vec<Vec<u8>>,
}

/// What an X.509-SVID is to say.
#[derive(Debug, Clone)]
pub struct X509Subject<'s> {
    /// The one URI in it.
    pub spiffe_id: &'s SpiffeId,
    /// DNS names; the first one is the common name, too.
    pub dns_names: &'s [String],
    /// Addresses.
    pub ip_addresses: &'s [IpAddr],
    /// The certified key.
    pub public_key: PublicKey,
    /// How long it is wanted; it never outlives its authority.
    pub ttl: Duration,
}

impl X509Signer {
    /// Signs an X.509-SVID.
    ///
    /// Source: X.509-SVID standard, sections 2 to 4.
    pub(crate) fn sign(
        &self,
        subject: X509Subject<'_>,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<X509Svid, SignError> {
        let authority = &self.certificate;
        let not_before = (now - BACKDATED).max(authority.not_before);
        let not_after = end(now, subject.ttl)?.min(authority.not_after);
        if not_after <= now {
            return Err(SignError::NoKey);
        }
        let mut names = vec![GeneralName::Uri(subject.spiffe_id.to_string())];
        names.extend(subject.dns_names.iter().cloned().map(GeneralName::Dns));
        names.extend(subject.ip_addresses.iter().copied().map(GeneralName::Ip));
        let common_name = subject.dns_names.first().cloned().unwrap_or_default();
        // RFC 5280 gives common names 64 characters; the longer ones are in the names alone.
        let common_name = if common_name.len() <= 64 { common_name } else { String::new() };
        let name = Subject { common_name, ..Subject::default() }.to_name();
        let is_critical = name.is_empty();
        let key = subject.public_key;
        let mut extensions = Vec::with_capacity(6);
        extensions.extend(Extension::key_usage(KeyUsage::DIGITAL_SIGNATURE));
        extensions.push(Extension::extended_key_usage(&BOTH_SIDES));
        extensions.push(Extension::basic_constraints(false, None));
        extensions.push(Extension::subject_key_id(&key.key_id()));
        if let Some(id) = &authority.subject_key_id {
            extensions.push(Extension::authority_key_id(id));
        }
        extensions.extend(Extension::subject_alt_name(&names, is_critical));
        let template = CertificateTemplate {
            serial: random_serial(random),
            subject: name,
            not_before,
            not_after,
            public_key: key,
            extensions,
        };
        let algorithm = self.key.signature_algorithm(Hash::Sha256, false);
        let leaf = template.sign(&authority.subject, &self.key, algorithm)?;
        let mut chain = Vec::with_capacity(1 + self.chain.len());
        chain.push(leaf);
        chain.extend(self.chain.iter().cloned());
        Ok(X509Svid { chain, not_before, not_after: whole_second(not_after)? })
    }
}

/// A key that signs tokens.
pub(crate) struct JwtSigner {
    pub(crate) key: SigningKey,
    pub(crate) id: String,
    pub(crate) not_after: Timestamp,
}

impl JwtSigner {
    /// Signs a JWT-SVID.
    ///
    /// Source: JWT-SVID standard, sections 2 and 3.
    pub(crate) fn sign(
        &self,
        spiffe_id: &SpiffeId,
        audiences: &[String],
        ttl: Duration,
        issuer: Option<&str>,
        now: Timestamp,
    ) -> Result<JwtSvid, SignError> {
        let issued_at = whole_second(now)?;
        let expires_at = whole_second(end(now, ttl)?.min(self.not_after))?;
        if expires_at <= now {
            return Err(SignError::NoKey);
        }
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), json!(spiffe_id));
        claims.insert("aud".to_owned(), json!(audiences));
        claims.insert("exp".to_owned(), json!(expires_at.as_second()));
        claims.insert("iat".to_owned(), json!(issued_at.as_second()));
        if let Some(issuer) = issuer {
            claims.insert("iss".to_owned(), Value::from(issuer));
        }
        let token = self.key.sign(&self.id, &claims)?;
        Ok(JwtSvid { token: token.into(), issued_at, expires_at })
    }
}

/// A serial number of 127 bits: positive, and always of full length.
pub(crate) fn random_serial(random: &dyn Random) -> Vec<u8> {
    let mut serial = [0; 16];
    random.fill(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40;
    serial.to_vec()
}

fn end(now: Timestamp, ttl: Duration) -> Result<Timestamp, SignError> {
    now.checked_add(ttl).map_err(|_| SignError::Time)
}

fn whole_second(time: Timestamp) -> Result<Timestamp, SignError> {
    Timestamp::from_second(time.as_second()).map_err(|_| SignError::Time)
}

#[cfg(test)]
mod tests;
