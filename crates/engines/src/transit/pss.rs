//! RSASSA-PSS with salts of any length: the library's parameters for each, and the length that a
//! signature has.

use std::sync::LazyLock;

use aws_lc_rs::signature::{
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaParameters, RsaPssSaltLength, RsaSignatureEncoding,
};
use num_bigint::BigUint;

use super::hash_algorithm::HashAlgorithm;
use super::rsa::Rsa;

/// The longest salt: that of a modulus of 4096 bits with SHA-256.
const LONGEST: u16 = 512 - 2 - 32;

/// The library wants its parameters to live for ever, so there is one for each length.
static SIGNING: LazyLock<[Vec<RsaSignatureEncoding>; 3]> = LazyLock::new(|| {
    let all = |with: fn(RsaPssSaltLength) -> RsaSignatureEncoding| {
        (0..=LONGEST).map(|length| with(RsaPssSaltLength::Custom(length))).collect()
    };
    [
        all(|salt| RSA_PSS_SHA256.with_pss_salt_length(salt)),
        all(|salt| RSA_PSS_SHA384.with_pss_salt_length(salt)),
        all(|salt| RSA_PSS_SHA512.with_pss_salt_length(salt)),
    ]
});

static VERIFICATION: LazyLock<[Vec<RsaParameters>; 3]> = LazyLock::new(|| {
    let all = |with: fn(RsaPssSaltLength) -> RsaParameters| {
        (0..=LONGEST).map(|length| with(RsaPssSaltLength::Custom(length))).collect()
    };
    [
        all(|salt| RSA_PSS_2048_8192_SHA256.with_pss_salt_length(salt)),
        all(|salt| RSA_PSS_2048_8192_SHA384.with_pss_salt_length(salt)),
        all(|salt| RSA_PSS_2048_8192_SHA512.with_pss_salt_length(salt)),
    ]
});

fn index(algorithm: HashAlgorithm) -> Option<usize> {
    match algorithm {
        HashAlgorithm::Sha2_256 => Some(0),
        HashAlgorithm::Sha2_384 => Some(1),
        HashAlgorithm::Sha2_512 => Some(2),
        _ => None,
    }
}

/// Whether the library signs hashes of this kind.
pub(super) fn supports(algorithm: HashAlgorithm) -> bool {
    index(algorithm).is_some()
}

/// How to sign with a salt of `length` bytes.
pub(super) fn signing(
    algorithm: HashAlgorithm,
    length: usize,
) -> Option<&'static RsaSignatureEncoding> {
    SIGNING[index(algorithm)?].get(length)
}

/// How to verify what has a salt of `length` bytes.
pub(super) fn verification(
    algorithm: HashAlgorithm,
    length: usize,
) -> Option<&'static RsaParameters> {
    VERIFICATION[index(algorithm)?].get(length)
}

/// The length of the salt in a signature. None: it holds none.
///
/// The library verifies a salt whose length it is told. So the signature is opened as anyone can
/// with the public key, and its padding is read up to the salt (RFC 8017, section 9.1.2). What is
/// found decides nothing but which length is verified.
pub(super) fn salt_length(key: &Rsa, algorithm: HashAlgorithm, signed: &[u8]) -> Option<usize> {
    let modulus = key.modulus();
    if signed.len() != modulus.len() {
        return None;
    }
    let opened = BigUint::from_bytes_be(signed)
        .modpow(&BigUint::from_bytes_be(key.exponent()), &BigUint::from_bytes_be(modulus));
    let opened = opened.to_bytes_be();
    // The encoded message has a bit less than the modulus.
    let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize - 1;
    let length = bits.div_ceil(8);
    let mut message = vec![0; length];
    message.get_mut(length.checked_sub(opened.len())?..)?.copy_from_slice(&opened);

    let (&trailer, rest) = message.split_last()?;
    let block = rest.len().checked_sub(algorithm.size())?;
    let (masked, hash) = rest.split_at(block);
    if trailer != 0xbc {
        return None;
    }
    let mut block: Vec<u8> =
        masked.iter().zip(mask(algorithm, hash, block)).map(|(byte, mask)| byte ^ mask).collect();
    *block.first_mut()? &= 0xff >> (8 * length - bits);
    let zeros = block.iter().take_while(|byte| **byte == 0).count();
    (block.get(zeros) == Some(&1)).then(|| block.len() - zeros - 1)
}

/// MGF1 (RFC 8017, appendix B.2.1).
fn mask(algorithm: HashAlgorithm, seed: &[u8], length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + algorithm.size());
    for counter in 0_u32.. {
        if out.len() >= length {
            break;
        }
        out.extend(algorithm.hash(&[seed, &counter.to_be_bytes()].concat()));
    }
    out.truncate(length);
    out
}
