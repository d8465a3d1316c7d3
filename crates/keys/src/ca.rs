//! A certificate authority: the platform's root, and those under it.

use std::time::Duration;

use holdfast_types::{Random, SecretString, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroize;

use crate::{CertificateError, CertificateInfo, Name};

/// The life of a platform root.
pub const TEN_YEARS: Duration = Duration::from_secs(3653 * 86_400);

/// Certificates are valid from a little before they are made, for clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(60);

/// An authority to be made.
#[derive(Debug, Clone)]
pub struct CaRequest {
    /// The subject's common name.
    pub common_name: String,
    /// How long it is valid from now.
    pub lifetime: Duration,
    /// DNS names (each with all under it) that its certificates are limited to; empty for no
    /// limit. Addresses and URIs are not limited by this.
    pub permitted_dns: Vec<String>,
}

/// A certificate to be issued.
#[derive(Debug, Clone)]
pub struct LeafRequest {
    /// The subject's common name. Without one the subject is empty and the names are critical, as
    /// SPIFFE wants it.
    pub common_name: Option<String>,
    /// Subject alternative names.
    pub names: Vec<Name>,
    /// How long it is valid from now.
    pub lifetime: Duration,
    /// What it is for.
    pub usage: Usage,
}

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// A TLS server.
    Server,
    /// A TLS client.
    Client,
    /// Both, as workloads are.
    Both,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Issued {
    /// The certificate alone, without its issuer.
    pub certificate_pem: String,
    /// Its private key, PKCS #8.
    pub key_pem: SecretString,
    /// What it says.
    pub info: CertificateInfo,
}

/// Why an authority could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A name that a certificate cannot hold.
    #[error("{0:?} cannot be a name in a certificate")]
    Name(String),
    /// A leaf must not be valid for longer than what it is verified with.
    #[error("the certificate would outlive its authority, which is valid until {0}")]
    Outlives(Timestamp),
    /// Past what a certificate can say.
    #[error("the lifetime reaches past the year 9999")]
    Lifetime,
    /// An end-entity certificate.
    #[error("the certificate is not an authority's")]
    NotCa,
    /// The key does not belong to the certificate.
    #[error("the private key does not belong to the authority's certificate")]
    OtherKey,
    /// The certificate does not parse.
    #[error("read the authority's certificate")]
    Certificate(#[from] CertificateError),
    /// The key does not parse.
    #[error("read the authority's private key")]
    Key(#[source] rcgen::Error),
    /// Making or signing a certificate failed.
    #[error("sign a certificate")]
    Sign(#[source] rcgen::Error),
}

/// A certificate authority with its key (P-256).
pub struct CertificateAuthority {
    key: Key,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    info: CertificateInfo,
}

/// A key pair whose encoded form is wiped when dropped.
struct Key(KeyPair);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl CertificateAuthority {
    /// Makes a root: a new key, and a certificate signed with it.
    ///
    /// # Errors
    /// The request cannot be put into a certificate.
    pub fn new_root(
        request: &CaRequest,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Self, CaError> {
        let key = Key(KeyPair::generate().map_err(CaError::Sign)?);
        Self::signed_by_itself(key, request, now, random)
    }

    /// The same authority with another certificate: whoever trusts either verifies what the key signed,
    /// then and now, if `request` has the name that it had.
    ///
    /// # Errors
    /// The request cannot be put into a certificate.
    pub fn renewed_root(
        &self,
        request: &CaRequest,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Self, CaError> {
        let key = Key(KeyPair::from_pem(self.key_pem().expose()).map_err(CaError::Key)?);
        Self::signed_by_itself(key, request, now, random)
    }

    fn signed_by_itself(
        key: Key,
        request: &CaRequest,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Self, CaError> {
        let mut params = parameters(now, request.lifetime, random)?;
        params.distinguished_name.push(DnType::CommonName, request.common_name.as_str());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        if !request.permitted_dns.is_empty() {
            let permitted = request.permitted_dns.iter().cloned().map(GeneralSubtree::DnsName);
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: permitted.collect(),
                excluded_subtrees: Vec::new(),
            });
        }
        let certificate = params.self_signed(&key.0).map_err(CaError::Sign)?;
        let info = CertificateInfo::from_der(certificate.der())?;
        let certificate_pem = certificate.pem();
        Ok(Self { key, certificate: certificate.into(), certificate_pem, info })
    }

    /// Reads an authority back: the first certificate of `certificate_pem`, and its PKCS #8 key.
    ///
    /// # Errors
    /// One of them does not parse, the certificate is not an authority's, or they do not belong
    /// together.
    pub fn from_pem(certificate_pem: &str, key_pem: &SecretString) -> Result<Self, CaError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(CertificateError::Pem)?;
        let info = CertificateInfo::from_der(&certificate)?;
        if !info.is_ca {
            return Err(CaError::NotCa);
        }
        let key = Key(KeyPair::from_pem(key_pem.expose()).map_err(CaError::Key)?);
        if !certifies(&certificate, &key.0) {
            return Err(CaError::OtherKey);
        }
        Ok(Self { key, certificate, certificate_pem: certificate_pem.to_owned(), info })
    }

    /// The authority's certificate: what clients trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The same in DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What the authority's certificate says.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// The authority's private key, PKCS #8, for keeping it under seal.
    pub fn key_pem(&self) -> SecretString {
        SecretString::new(self.key.0.serialize_pem())
    }

    /// Makes a key (P-256) and issues a certificate for it.
    ///
    /// # Errors
    /// A name that cannot be in a certificate, or a lifetime that outlasts the authority.
    pub fn issue(
        &self,
        request: &LeafRequest,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<Issued, CaError> {
        let mut params = parameters(now, request.lifetime, random)?;
        if let Some(common_name) = &request.common_name {
            params.distinguished_name.push(DnType::CommonName, common_name.as_str());
        }
        params.subject_alt_names =
            request.names.iter().map(alternative_name).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match request.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
        };
        params.use_authority_key_identifier_extension = true;

        let issuer =
            Issuer::from_ca_cert_der(&self.certificate, &self.key.0).map_err(CaError::Sign)?;
        let key = Key(KeyPair::generate().map_err(CaError::Sign)?);
        let certificate = params.signed_by(&key.0, &issuer).map_err(CaError::Sign)?;
        let info = CertificateInfo::from_der(certificate.der())?;
        if info.not_after > self.info.not_after {
            return Err(CaError::Outlives(self.info.not_after));
        }
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem: SecretString::new(key.0.serialize_pem()),
            info,
        })
    }
}

/// What all certificates have: validity and a random 127-bit serial number.
fn parameters(
    now: Timestamp,
    lifetime: Duration,
    random: &dyn Random,
) -> Result<CertificateParams, CaError> {
    /// 9999-12-31T23:59:59Z, the last moment that X.509 can name.
    const LAST: u64 = 253_402_300_799;

    let now = u64::try_from(now.as_second()).map_err(|_| CaError::Lifetime)?;
    let end = now.checked_add(lifetime.as_secs()).filter(|end| *end <= LAST);
    let end = end.ok_or(CaError::Lifetime)?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);

    let mut serial = [0; 16];
    random.fill(&mut serial);
    // Positive, and always of full length.
    serial[0] = serial[0] & 0x7f | 0x40;

    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = epoch + Duration::from_secs(now.saturating_sub(BACKDATED.as_secs()));
    params.not_after = epoch + Duration::from_secs(end);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn alternative_name(name: &Name) -> Result<SanType, CaError> {
    let refused = |_| CaError::Name(name.to_string());
    Ok(match name {
        Name::Dns(text) => SanType::DnsName(text.as_str().try_into().map_err(refused)?),
        Name::Uri(text) => SanType::URI(text.as_str().try_into().map_err(refused)?),
        Name::Ip(address) => SanType::IpAddress(*address),
    })
}

/// Whether the certificate is for this key.
fn certifies(certificate: &[u8], key: &KeyPair) -> bool {
    use rcgen::PublicKeyData as _;
    use x509_parser::prelude::{FromDer, X509Certificate};

    X509Certificate::from_der(certificate)
        .is_ok_and(|(_, certificate)| certificate.public_key().raw == key.subject_public_key_info())
}

#[cfg(test)]
mod tests;
