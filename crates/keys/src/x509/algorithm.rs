//! Signature algorithms.

use super::der::Writer;
use super::{Oid, X509Error};

/// A hash that signatures are made over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl Hash {
    /// By its length in bits, where there is one.
    pub fn from_bits(bits: i64) -> Option<Self> {
        match bits {
            256 => Some(Self::Sha256),
            384 => Some(Self::Sha384),
            512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Its length in bytes.
    pub fn length(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    fn oid(self) -> Oid {
        Oid::known(match self {
            Self::Sha256 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1],
            Self::Sha384 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2],
            Self::Sha512 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3],
        })
    }
}

/// How something is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureAlgorithm {
    /// RSA, PKCS #1 v1.5
    Rsa(Hash),
    /// RSA-PSS with a salt as long as the hash
    RsaPss(Hash),
    /// ECDSA
    Ecdsa(Hash),
    /// Ed25519
    Ed25519,
}

const RSA_PSS: Oid = Oid::known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10]);
const MGF1: Oid = Oid::known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8]);
const ED25519: Oid = Oid::known(&[0x2b, 0x65, 0x70]);

impl SignatureAlgorithm {
    /// Every one there is.
    pub const ALL: [Self; 10] = [
        Self::Rsa(Hash::Sha256),
        Self::Rsa(Hash::Sha384),
        Self::Rsa(Hash::Sha512),
        Self::RsaPss(Hash::Sha256),
        Self::RsaPss(Hash::Sha384),
        Self::RsaPss(Hash::Sha512),
        Self::Ecdsa(Hash::Sha256),
        Self::Ecdsa(Hash::Sha384),
        Self::Ecdsa(Hash::Sha512),
        Self::Ed25519,
    ];

    /// Its name in Vault's API, such as `SHA256WithRSA`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rsa(Hash::Sha256) => "SHA256WithRSA",
            Self::Rsa(Hash::Sha384) => "SHA384WithRSA",
            Self::Rsa(Hash::Sha512) => "SHA512WithRSA",
            Self::RsaPss(Hash::Sha256) => "SHA256WithRSAPSS",
            Self::RsaPss(Hash::Sha384) => "SHA384WithRSAPSS",
            Self::RsaPss(Hash::Sha512) => "SHA512WithRSAPSS",
            Self::Ecdsa(Hash::Sha256) => "ECDSAWithSHA256",
            Self::Ecdsa(Hash::Sha384) => "ECDSAWithSHA384",
            Self::Ecdsa(Hash::Sha512) => "ECDSAWithSHA512",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// By its name, in upper or lower case.
    pub fn parse(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("PureEd25519") {
            return Some(Self::Ed25519);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
    }

    /// The `AlgorithmIdentifier` in DER.
    pub fn to_der(self) -> Vec<u8> {
        Writer::build_sequence(|der| match self {
            Self::Rsa(hash) => {
                let last = match hash {
                    Hash::Sha256 => 11,
                    Hash::Sha384 => 12,
                    Hash::Sha512 => 13,
                };
                let oid = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last];
                der.value(super::der::tag::OID, &oid);
                der.null();
            }
            Self::RsaPss(hash) => {
                der.oid(&RSA_PSS);
                der.sequence(|der| pss_parameters(der, hash));
            }
            Self::Ecdsa(hash) => {
                let last = match hash {
                    Hash::Sha256 => 2,
                    Hash::Sha384 => 3,
                    Hash::Sha512 => 4,
                };
                der.value(super::der::tag::OID, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last]);
            }
            Self::Ed25519 => der.oid(&ED25519),
        })
    }

    /// From an `AlgorithmIdentifier` in DER.
    ///
    /// # Errors
    /// An algorithm that is not among these: SHA-1 is not.
    pub fn from_der(identifier: &[u8]) -> Result<Self, X509Error> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.to_der() == identifier);
        // Some writers leave out the NULL of RSA.
        let without_null = || {
            Self::ALL.into_iter().find(|algorithm| {
                let der = algorithm.to_der();
                matches!(algorithm, Self::Rsa(_))
                    && identifier.len() + 2 == der.len()
                    && der[2..].starts_with(&identifier[2..])
            })
        };
        known.or_else(without_null).ok_or_else(|| {
            X509Error::Unsupported("the signature algorithm is not supported".into())
        })
    }
}

/// The parameters of RSA-PSS: the hash, the mask of the same hash, a salt of its length.
fn pss_parameters(der: &mut Writer, hash: Hash) {
    let identifier = |der: &mut Writer| {
        der.sequence(|der| {
            der.oid(&hash.oid());
            der.null();
        });
    };
    der.nested(super::der::tag::constructed(0), identifier);
    der.nested(super::der::tag::constructed(1), |der| {
        der.sequence(|der| {
            der.oid(&MGF1);
            identifier(der);
        });
    });
    der.nested(super::der::tag::constructed(2), |der| der.number(hash.length().into()));
}
