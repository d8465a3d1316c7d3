//! Hash functions by their names, and HMACs with them.

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::refused::Refused;

/// SHA3-256's, in bytes: the shorter its sum, the longer its block.
const LONGEST_BLOCK: usize = 136;

/// A hash function, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HashAlgorithm {
    /// The input is signed as it is.
    None,
    Sha1,
    Sha2_224,
    Sha2_256,
    Sha2_384,
    Sha2_512,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

impl HashAlgorithm {
    /// The function of that name. None: OpenBao has no such function.
    ///
    /// # Errors
    /// OpenBao has it and this server does not.
    pub(super) fn parse(name: &str) -> Result<Option<Self>, Refused> {
        Ok(Some(match name {
            "none" => Self::None,
            "sha1" => Self::Sha1,
            "sha2-224" => Self::Sha2_224,
            "sha2-256" => Self::Sha2_256,
            "sha2-384" => Self::Sha2_384,
            "sha2-512" => Self::Sha2_512,
            "sha3-256" => Self::Sha3_256,
            "sha3-384" => Self::Sha3_384,
            "sha3-512" => Self::Sha3_512,
            "sha3-224" => {
                return Err(Refused::new("algorithm sha3-224 is not supported by this server"));
            }
            _ => return Ok(None),
        }))
    }

    fn function(self) -> Option<&'static digest::Algorithm> {
        Some(match self {
            Self::None => return None,
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha2_224 => &digest::SHA224,
            Self::Sha2_256 => &digest::SHA256,
            Self::Sha2_384 => &digest::SHA384,
            Self::Sha2_512 => &digest::SHA512,
            Self::Sha3_256 => &digest::SHA3_256,
            Self::Sha3_384 => &digest::SHA3_384,
            Self::Sha3_512 => &digest::SHA3_512,
        })
    }

    /// Its name on the wire.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sha1 => "sha1",
            Self::Sha2_224 => "sha2-224",
            Self::Sha2_256 => "sha2-256",
            Self::Sha2_384 => "sha2-384",
            Self::Sha2_512 => "sha2-512",
            Self::Sha3_256 => "sha3-256",
            Self::Sha3_384 => "sha3-384",
            Self::Sha3_512 => "sha3-512",
        }
    }

    /// The length of its sums in bytes; 0 for none.
    pub(super) fn size(self) -> usize {
        self.function().map_or(0, digest::Algorithm::output_len)
    }

    /// The hash of `input`; for none, `input` itself.
    pub(super) fn hash(self, input: &[u8]) -> Vec<u8> {
        match self.function() {
            Some(function) => digest::digest(function, input).as_ref().to_vec(),
            None => input.to_vec(),
        }
    }

    /// HMAC (RFC 2104) of `input`. aws-lc-rs offers it for the SHA-2 functions alone.
    ///
    /// # Errors
    /// There is no HMAC without a hash function.
    pub(super) fn hmac(self, key: &[u8], input: &[u8]) -> Result<Vec<u8>, Refused> {
        let function = self.function().ok_or_else(|| Refused::new("algorithm cannot be none"))?;
        let mut block = Zeroizing::new([0; LONGEST_BLOCK]);
        let block = &mut block[..function.block_len()];
        if key.len() > block.len() {
            let short = digest::digest(function, key);
            block[..function.output_len()].copy_from_slice(short.as_ref());
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let mut keyed = |pad: u8, previous: u8| {
            block.iter_mut().for_each(|byte| *byte ^= pad ^ previous);
            let mut context = digest::Context::new(function);
            context.update(block);
            context
        };
        let mut inner = keyed(0x36, 0);
        inner.update(input);
        let mut outer = keyed(0x5c, 0x36);
        outer.update(inner.finish().as_ref());
        Ok(outer.finish().as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;

    use super::*;

    #[test]
    fn hmac_is_that_of_the_library_where_it_has_one() {
        for (ours, theirs) in [
            (HashAlgorithm::Sha1, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            (HashAlgorithm::Sha2_224, hmac::HMAC_SHA224),
            (HashAlgorithm::Sha2_256, hmac::HMAC_SHA256),
            (HashAlgorithm::Sha2_384, hmac::HMAC_SHA384),
            (HashAlgorithm::Sha2_512, hmac::HMAC_SHA512),
        ] {
            for length in [0, 1, 32, 64, 65, 128, 129, 200, 512] {
                let key = vec![7; length];
                let want = hmac::sign(&hmac::Key::new(theirs, &key), b"input");
                assert_eq!(ours.hmac(&key, b"input").unwrap(), want.as_ref(), "{ours:?} {length}");
            }
        }
        assert!(HashAlgorithm::None.hmac(&[], &[]).is_err());
    }

    /// Source: NIST's examples with intermediate values, HMAC-SHA3-256, sample 1.
    #[test]
    fn hmac_with_sha3_is_nists() {
        let key: Vec<u8> = (0..32).collect();
        let input = b"Sample message for keylen<blocklen";
        let got = HashAlgorithm::Sha3_256.hmac(&key, input).unwrap();
        assert_eq!(
            super::super::encoding::base64(&got),
            "T+jiAsTwWOjd3CPYw05Gc0PiNVXiT8LwJdWY9Vj2cgU="
        );
    }
}
