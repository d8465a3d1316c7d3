//! The extensions of certificates and revocation lists.

use super::der::{Writer, tag};
use super::{GeneralName, Oid};

/// Object identifiers of extensions and of what certificates are for.
pub mod oids {
    use super::Oid;

    /// subjectKeyIdentifier
    pub const SUBJECT_KEY_ID: Oid = Oid::known(&[0x55, 0x1d, 14]);
    /// keyUsage
    pub const KEY_USAGE: Oid = Oid::known(&[0x55, 0x1d, 15]);
    /// subjectAltName
    pub const SUBJECT_ALT_NAME: Oid = Oid::known(&[0x55, 0x1d, 17]);
    /// basicConstraints
    pub const BASIC_CONSTRAINTS: Oid = Oid::known(&[0x55, 0x1d, 19]);
    /// cRLNumber
    pub const CRL_NUMBER: Oid = Oid::known(&[0x55, 0x1d, 20]);
    /// deltaCRLIndicator
    pub const DELTA_CRL_INDICATOR: Oid = Oid::known(&[0x55, 0x1d, 27]);
    /// nameConstraints
    pub const NAME_CONSTRAINTS: Oid = Oid::known(&[0x55, 0x1d, 30]);
    /// cRLDistributionPoints
    pub const CRL_DISTRIBUTION_POINTS: Oid = Oid::known(&[0x55, 0x1d, 31]);
    /// certificatePolicies
    pub const CERTIFICATE_POLICIES: Oid = Oid::known(&[0x55, 0x1d, 32]);
    /// authorityKeyIdentifier
    pub const AUTHORITY_KEY_ID: Oid = Oid::known(&[0x55, 0x1d, 35]);
    /// extKeyUsage
    pub const EXTENDED_KEY_USAGE: Oid = Oid::known(&[0x55, 0x1d, 37]);
    /// freshestCRL
    pub const FRESHEST_CRL: Oid = Oid::known(&[0x55, 0x1d, 46]);
    /// authorityInfoAccess
    pub const AUTHORITY_INFO_ACCESS: Oid = Oid::known(&[0x2b, 6, 1, 5, 5, 7, 1, 1]);

    pub(super) const OCSP: Oid = Oid::known(&[0x2b, 6, 1, 5, 5, 7, 48, 1]);
    pub(super) const CA_ISSUERS: Oid = Oid::known(&[0x2b, 6, 1, 5, 5, 7, 48, 2]);
    pub(super) const POLICY_CPS: Oid = Oid::known(&[0x2b, 6, 1, 5, 5, 7, 2, 1]);
    pub(super) const POLICY_NOTICE: Oid = Oid::known(&[0x2b, 6, 1, 5, 5, 7, 2, 2]);
}

/// An extension as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// What it is.
    pub oid: Oid,
    /// Whether who does not know it must refuse the certificate.
    pub critical: bool,
    /// Its contents in DER.
    pub value: Vec<u8>,
}

/// A set of key usages; bit 0 is `digitalSignature`, as in RFC 5280.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyUsage(pub u16);

impl KeyUsage {
    /// digitalSignature
    pub const DIGITAL_SIGNATURE: Self = Self(1);
    /// keyCertSign
    pub const CERT_SIGN: Self = Self(1 << 5);
    /// cRLSign
    pub const CRL_SIGN: Self = Self(1 << 6);

    /// Whether all of `other` is in it.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A policy, with what a reader may be told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInformation {
    /// The policy.
    pub oid: Oid,
    /// Where its practice statement is.
    pub cps: Option<String>,
    /// A sentence to show.
    pub notice: Option<String>,
}

impl Extension {
    fn new(oid: Oid, critical: bool, value: Vec<u8>) -> Self {
        Self { oid, critical, value }
    }

    /// Whether the key may sign, encrypt, certify. None for no usage at all.
    pub fn key_usage(usage: KeyUsage) -> Option<Self> {
        let highest = u16::BITS.checked_sub(usage.0.leading_zeros() + 1)?;
        // Bit 0 is the first, that is the most significant bit of the first byte.
        let bytes = usage.0.reverse_bits().to_be_bytes();
        let length = highest as usize / 8 + 1;
        let mut contents = vec![7 - (highest % 8) as u8];
        contents.extend_from_slice(&bytes[..length]);
        let value = Writer::build(|der| der.value(tag::BIT_STRING, &contents));
        Some(Self::new(oids::KEY_USAGE, true, value))
    }

    /// What the certificate is for.
    pub fn extended_key_usage(purposes: &[Oid]) -> Self {
        let value = Writer::build_sequence(|der| purposes.iter().for_each(|oid| der.oid(oid)));
        Self::new(oids::EXTENDED_KEY_USAGE, false, value)
    }

    /// Whether it is an authority's, and how many authorities may follow.
    pub fn basic_constraints(is_ca: bool, path_length: Option<u64>) -> Self {
        let value = Writer::build_sequence(|der| {
            if is_ca {
                der.boolean(true);
                if let Some(length) = path_length {
                    der.number(length);
                }
            }
        });
        Self::new(oids::BASIC_CONSTRAINTS, true, value)
    }

    /// The name of the certified key.
    pub fn subject_key_id(id: &[u8]) -> Self {
        let value = Writer::build(|der| der.octet_string(id));
        Self::new(oids::SUBJECT_KEY_ID, false, value)
    }

    /// The name of the signing key.
    pub fn authority_key_id(id: &[u8]) -> Self {
        let value = Writer::build_sequence(|der| der.value(tag::primitive(0), id));
        Self::new(oids::AUTHORITY_KEY_ID, false, value)
    }

    /// Where the issuer's certificate is found and its revocations are asked for.
    pub fn authority_info_access(ocsp: &[String], issuers: &[String]) -> Option<Self> {
        if ocsp.is_empty() && issuers.is_empty() {
            return None;
        }
        let ocsp = ocsp.iter().map(|url| (oids::OCSP, url));
        let issuers = issuers.iter().map(|url| (oids::CA_ISSUERS, url));
        let value = Writer::build_sequence(|der| {
            for (method, url) in ocsp.chain(issuers) {
                der.sequence(|der| {
                    der.oid(&method);
                    der.value(tag::primitive(6), url.as_bytes());
                });
            }
        });
        Some(Self::new(oids::AUTHORITY_INFO_ACCESS, false, value))
    }

    /// Subject alternative names; critical where the subject itself is empty.
    pub fn subject_alt_name(names: &[GeneralName], critical: bool) -> Option<Self> {
        if names.is_empty() {
            return None;
        }
        let value = Writer::build_sequence(|der| names.iter().for_each(|name| name.write(der)));
        Some(Self::new(oids::SUBJECT_ALT_NAME, critical, value))
    }

    /// The policies that the certificate was issued under.
    pub fn certificate_policies(policies: &[PolicyInformation]) -> Option<Self> {
        if policies.is_empty() {
            return None;
        }
        let value = Writer::build_sequence(|der| {
            for policy in policies {
                der.sequence(|der| write_policy(der, policy));
            }
        });
        Some(Self::new(oids::CERTIFICATE_POLICIES, false, value))
    }

    /// DNS names (each with all under it) that certificates below are limited to.
    pub fn permitted_dns_domains(domains: &[String]) -> Option<Self> {
        if domains.is_empty() {
            return None;
        }
        let value = Writer::build_sequence(|der| {
            der.nested(tag::constructed(0), |der| {
                for domain in domains {
                    der.sequence(|der| der.value(tag::primitive(2), domain.as_bytes()));
                }
            });
        });
        Some(Self::new(oids::NAME_CONSTRAINTS, true, value))
    }

    /// Where revocation lists are found.
    pub fn crl_distribution_points(urls: &[String]) -> Option<Self> {
        distribution_points(oids::CRL_DISTRIBUTION_POINTS, urls)
    }

    /// Where lists are found that add to the complete one.
    pub fn freshest_crl(urls: &[String]) -> Option<Self> {
        distribution_points(oids::FRESHEST_CRL, urls)
    }

    /// A revocation list's number.
    pub fn crl_number(number: u64) -> Self {
        Self::new(oids::CRL_NUMBER, false, Writer::build(|der| der.number(number)))
    }

    /// Makes a revocation list one that adds to the complete list of that number.
    pub fn delta_crl_indicator(base: u64) -> Self {
        Self::new(oids::DELTA_CRL_INDICATOR, true, Writer::build(|der| der.number(base)))
    }

    pub(super) fn write(&self, der: &mut Writer) {
        der.sequence(|der| {
            der.oid(&self.oid);
            if self.critical {
                der.boolean(true);
            }
            der.octet_string(&self.value);
        });
    }
}

fn distribution_points(oid: Oid, urls: &[String]) -> Option<Extension> {
    if urls.is_empty() {
        return None;
    }
    let value = Writer::build_sequence(|der| {
        for url in urls {
            der.sequence(|der| {
                der.nested(tag::constructed(0), |der| {
                    der.nested(tag::constructed(0), |der| {
                        der.value(tag::primitive(6), url.as_bytes());
                    });
                });
            });
        }
    });
    Some(Extension::new(oid, false, value))
}

fn write_policy(der: &mut Writer, policy: &PolicyInformation) {
    der.oid(&policy.oid);
    if policy.cps.is_none() && policy.notice.is_none() {
        return;
    }
    der.sequence(|der| {
        if let Some(url) = &policy.cps {
            der.sequence(|der| {
                der.oid(&oids::POLICY_CPS);
                der.value(tag::IA5_STRING, url.as_bytes());
            });
        }
        if let Some(text) = &policy.notice {
            der.sequence(|der| {
                der.oid(&oids::POLICY_NOTICE);
                der.sequence(|der| der.value(tag::UTF8_STRING, text.as_bytes()));
            });
        }
    });
}
