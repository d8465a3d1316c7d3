//! Private keys: made, read, written, and signing.

use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaEncoding, RsaKeyPair,
};
use holdfast_types::SecretString;
use zeroize::Zeroizing;

use super::der::{Reader, Writer, tag};
use super::{Hash, Oid, PublicKey, SignatureAlgorithm, X509Error, decode_pem, encode_pem};

/// A curve of NIST's that keys can be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// P-256
    P256,
    /// P-384
    P384,
    /// P-521
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// The size of its field.
    pub fn bits(self) -> u32 {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }

    pub(super) fn oid(self) -> Oid {
        Oid::known(match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
            Self::P384 => &[0x2b, 0x81, 4, 0, 0x22],
            Self::P521 => &[0x2b, 0x81, 4, 0, 0x23],
        })
    }

    pub(super) fn from_oid(oid: &Oid) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.oid() == *oid)
    }

    fn hash(self) -> Hash {
        match self {
            Self::P256 => Hash::Sha256,
            Self::P384 => Hash::Sha384,
            Self::P521 => Hash::Sha512,
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }
}

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// RSA, with the length of its modulus in bits
    Rsa(u32),
    /// On a curve
    Ec(Curve),
    /// Ed25519
    Ed25519,
}

impl KeyAlgorithm {
    /// Its name in Vault's API: `rsa`, `ec`, `ed25519`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rsa(_) => "rsa",
            Self::Ec(_) => "ec",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// A private key, able to sign.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
    /// In the form that Go writes: PKCS #1, SEC 1, or PKCS #8 for Ed25519.
    der: Zeroizing<Vec<u8>>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(Curve, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

const RSA_ENCRYPTION: Oid = Oid::known(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]);
const EC_PUBLIC_KEY: Oid = Oid::known(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]);
const ED25519: Oid = Oid::known(&[0x2b, 0x65, 0x70]);

impl PrivateKey {
    /// Makes a key. RSA takes from a tenth of a second to several: not for a thread that serves
    /// others meanwhile.
    ///
    /// # Errors
    /// An RSA length other than 2048, 3072, 4096 or 8192 bits.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, X509Error> {
        let failed = |_| X509Error::Crypto("key generation");
        match algorithm {
            KeyAlgorithm::Rsa(bits) => {
                let size = match bits {
                    2048 => KeySize::Rsa2048,
                    3072 => KeySize::Rsa3072,
                    4096 => KeySize::Rsa4096,
                    8192 => KeySize::Rsa8192,
                    _ => return Err(X509Error::Unsupported(format!("RSA keys of {bits} bits"))),
                };
                let pair = RsaKeyPair::generate(size).map_err(failed)?;
                let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(failed)?;
                Self::from_pkcs8(pkcs8.as_ref())
            }
            KeyAlgorithm::Ec(curve) => {
                let pair = EcdsaKeyPair::generate(curve.signing()).map_err(failed)?;
                Self::from_ec(curve, pair)
            }
            KeyAlgorithm::Ed25519 => {
                Self::from_ed25519(Ed25519KeyPair::generate().map_err(failed)?)
            }
        }
    }

    /// Reads the first block of a PEM text, whatever its label: PKCS #1, SEC 1 or PKCS #8.
    ///
    /// # Errors
    /// There is no block, or it holds no key that is supported.
    pub fn from_pem(text: &str) -> Result<Self, X509Error> {
        let (block, _) = decode_pem(text).ok_or_else(|| X509Error::malformed("no PEM block"))?;
        Self::from_der(&block.der)
    }

    /// Reads a key in PKCS #1, SEC 1 or PKCS #8.
    ///
    /// # Errors
    /// It is none of them, or not of a supported algorithm.
    pub fn from_der(der: &[u8]) -> Result<Self, X509Error> {
        Self::from_pkcs1(der).or_else(|_| Self::from_sec1(der)).or_else(|_| Self::from_pkcs8(der))
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, X509Error> {
        let pair = RsaKeyPair::from_der(der).map_err(|_| unreadable())?;
        let public = PublicKey::rsa(pair.public_key().as_ref())?;
        Ok(Self { pair: Pair::Rsa(pair), public, der: der.to_vec().into() })
    }

    fn from_sec1(der: &[u8]) -> Result<Self, X509Error> {
        // Checked here because the library would take PKCS #8 as well, and any of the curves where
        // the key itself does not name one.
        let mut fields = Reader::new(der).inside(tag::SEQUENCE)?;
        if fields.integer()? != [1] {
            return Err(unreadable());
        }
        fields.value(tag::OCTET_STRING)?;
        let curve = match fields.optional(tag::constructed(0))? {
            Some(parameters) => Curve::from_oid(&Reader::new(parameters).oid()?),
            None => None,
        };
        let curve = curve.ok_or_else(|| X509Error::Unsupported("the curve of the key".into()))?;
        let pair = EcdsaKeyPair::from_private_key_der(curve.signing(), der);
        Self::from_ec(curve, pair.map_err(|_| unreadable())?)
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, X509Error> {
        let mut fields = Reader::new(der).inside(tag::SEQUENCE)?;
        fields.integer()?;
        let mut algorithm = fields.inside(tag::SEQUENCE)?;
        let oid = algorithm.oid()?;
        let key = fields.value(tag::OCTET_STRING)?;
        if oid == RSA_ENCRYPTION {
            return Self::from_pkcs1(key);
        }
        if oid == EC_PUBLIC_KEY {
            let curve = Curve::from_oid(&algorithm.oid()?)
                .ok_or_else(|| X509Error::Unsupported("the curve of the key".into()))?;
            let pair = EcdsaKeyPair::from_private_key_der(curve.signing(), der);
            return Self::from_ec(curve, pair.map_err(|_| unreadable())?);
        }
        if oid == ED25519 {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
            return Self::from_ed25519(pair.map_err(|_| unreadable())?);
        }
        Err(X509Error::Unsupported(format!("keys of algorithm {oid}")))
    }

    fn from_ec(curve: Curve, pair: EcdsaKeyPair) -> Result<Self, X509Error> {
        let public = PublicKey::ec(curve, pair.public_key().as_ref());
        let der = AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&pair.private_key())
            .map_err(|_| X509Error::Crypto("writing the key"))?;
        let der = der.as_ref().to_vec().into();
        Ok(Self { pair: Pair::Ec(curve, pair), public, der })
    }

    fn from_ed25519(pair: Ed25519KeyPair) -> Result<Self, X509Error> {
        let public = PublicKey::ed25519(pair.public_key().as_ref());
        let der = pair.to_pkcs8v1().map_err(|_| X509Error::Crypto("writing the key"))?;
        let der = der.as_ref().to_vec().into();
        Ok(Self { pair: Pair::Ed25519(pair), public, der })
    }

    /// What it is.
    pub fn algorithm(&self) -> KeyAlgorithm {
        match &self.pair {
            Pair::Rsa(pair) => KeyAlgorithm::Rsa(pair.public_modulus_len() as u32 * 8),
            Pair::Ec(curve, _) => KeyAlgorithm::Ec(*curve),
            Pair::Ed25519(_) => KeyAlgorithm::Ed25519,
        }
    }

    /// Its public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// In DER as Vault gives it out: PKCS #1, SEC 1, or PKCS #8 for Ed25519.
    pub fn to_der(&self) -> &[u8] {
        &self.der
    }

    /// The same as PEM, without a line feed at its end.
    pub fn to_pem(&self) -> SecretString {
        let label = match &self.pair {
            Pair::Rsa(_) => "RSA PRIVATE KEY",
            Pair::Ec(..) => "EC PRIVATE KEY",
            Pair::Ed25519(_) => "PRIVATE KEY",
        };
        SecretString::new(encode_pem(label, &self.der).trim_end().to_owned())
    }

    /// In PKCS #8.
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let (oid, curve) = match &self.pair {
            Pair::Ed25519(_) => return self.der.clone(),
            Pair::Rsa(_) => (&RSA_ENCRYPTION, None),
            Pair::Ec(curve, _) => (&EC_PUBLIC_KEY, Some(*curve)),
        };
        Zeroizing::new(Writer::build_sequence(|der| {
            der.number(0);
            der.sequence(|der| {
                der.oid(oid);
                match curve {
                    Some(curve) => der.oid(&curve.oid()),
                    None => der.null(),
                }
            });
            der.octet_string(&self.der);
        }))
    }

    /// In PKCS #8 as PEM, without a line feed at its end.
    pub fn to_pkcs8_pem(&self) -> SecretString {
        SecretString::new(encode_pem("PRIVATE KEY", &self.to_pkcs8()).trim_end().to_owned())
    }

    /// How this key signs where RSA uses `hash` and, if wanted, PSS. A key on a curve signs with
    /// the curve's own hash.
    pub fn signature_algorithm(&self, hash: Hash, pss: bool) -> SignatureAlgorithm {
        match &self.pair {
            Pair::Rsa(_) if pss => SignatureAlgorithm::RsaPss(hash),
            Pair::Rsa(_) => SignatureAlgorithm::Rsa(hash),
            Pair::Ec(curve, _) => SignatureAlgorithm::Ecdsa(curve.hash()),
            Pair::Ed25519(_) => SignatureAlgorithm::Ed25519,
        }
    }

    /// Signs `message`.
    ///
    /// # Errors
    /// The algorithm is not this key's.
    pub fn sign(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, X509Error> {
        let failed = |_| X509Error::Crypto("signing");
        match (&self.pair, algorithm) {
            (Pair::Rsa(pair), SignatureAlgorithm::Rsa(hash) | SignatureAlgorithm::RsaPss(hash)) => {
                let is_pss = matches!(algorithm, SignatureAlgorithm::RsaPss(_));
                let encoding: &'static dyn RsaEncoding = match (is_pss, hash) {
                    (false, Hash::Sha256) => &RSA_PKCS1_SHA256,
                    (false, Hash::Sha384) => &RSA_PKCS1_SHA384,
                    (false, Hash::Sha512) => &RSA_PKCS1_SHA512,
                    (true, Hash::Sha256) => &RSA_PSS_SHA256,
                    (true, Hash::Sha384) => &RSA_PSS_SHA384,
                    (true, Hash::Sha512) => &RSA_PSS_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            (Pair::Ec(curve, pair), SignatureAlgorithm::Ecdsa(hash)) if curve.hash() == hash => {
                let signature = pair.sign(&SystemRandom::new(), message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            (Pair::Ed25519(pair), SignatureAlgorithm::Ed25519) => {
                Ok(pair.sign(message).as_ref().to_vec())
            }
            _ => Err(X509Error::Unsupported(format!(
                "a key of type {} cannot sign with {}",
                self.algorithm().as_str(),
                algorithm.as_str()
            ))),
        }
    }

    /// `body` with its signature: what certificates, requests and lists are.
    pub(super) fn sign_der(
        &self,
        algorithm: SignatureAlgorithm,
        body: &[u8],
    ) -> Result<Vec<u8>, X509Error> {
        let signature = self.sign(algorithm, body)?;
        Ok(Writer::build_sequence(|der| {
            der.raw(body);
            der.raw(&algorithm.to_der());
            der.bit_string(&signature);
        }))
    }
}

fn unreadable() -> X509Error {
    X509Error::malformed("no private key of a known form")
}
