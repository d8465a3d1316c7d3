//! As much DER as keys and signatures need: elements one after another.

use zeroize::Zeroizing;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT_ID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// Object identifiers, as their contents are encoded.
pub(super) mod oid {
    /// 1.2.840.113549.1.1.1
    pub(in super::super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    /// 1.2.840.113549.1.1.10
    pub(in super::super) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
    /// 1.2.840.113549.1.1.11
    pub(in super::super) const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
    /// 1.2.840.10045.2.1
    pub(in super::super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    /// 1.2.840.10045.4.3.2, .3 and .4: ECDSA with SHA-256, SHA-384 and SHA-512.
    pub(in super::super) const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    pub(in super::super) const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
    pub(in super::super) const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
    /// 1.2.840.10045.3.1.7
    pub(in super::super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    /// 1.3.132.0.34
    pub(in super::super) const P384: &[u8] = &[0x2b, 0x81, 4, 0, 34];
    /// 1.3.132.0.35
    pub(in super::super) const P521: &[u8] = &[0x2b, 0x81, 4, 0, 35];
    /// 1.3.101.112
    pub(in super::super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
}

/// Elements that are read one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element's tag and contents.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (whole, header) = self.split()?;
        Some((whole[0], &whole[header..]))
    }

    /// The next element, header and all.
    pub(super) fn next_whole(&mut self) -> Option<&'a [u8]> {
        self.split().map(|(whole, _)| whole)
    }

    /// The contents of the next element, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, contents) = self.next()?;
        (found == tag).then_some(contents)
    }

    /// The next element as a number that is not negative: big-endian, without leading zeros.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.expect(INTEGER)? {
            [0] => Some(&[]),
            [] | [0x80..=0xff, ..] | [0, 0..=0x7f, ..] => None,
            [0, rest @ ..] => Some(rest),
            number => Some(number),
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn split(&mut self) -> Option<(&'a [u8], usize)> {
        let (header, length) = match *self.0 {
            [_, short @ 0..=0x7f, ..] => (2, usize::from(short)),
            [_, 0x81, length @ 0x80..=0xff, ..] => (3, usize::from(length)),
            [_, 0x82, high @ 1..=0xff, low, ..] => (4, usize::from(high) << 8 | usize::from(low)),
            // Longer ones, of indefinite length, or longer than need be.
            _ => return None,
        };
        let whole = self.0.get(..header + length)?;
        self.0 = &self.0[header + length..];
        Some((whole, header))
    }
}

/// An element with this tag whose contents are `parts` in a row. They may be secret, so it is wiped.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 5);
    out.push(tag);
    match length {
        0..0x80 => out.push(length as u8),
        0x80..0x100 => out.extend([0x81, length as u8]),
        0x100..0x1_0000 => out.extend([0x82, (length >> 8) as u8, length as u8]),
        _ => out.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.into()
}

/// A number that is not negative, from its big-endian bytes.
pub(super) fn unsigned(number: &[u8]) -> Zeroizing<Vec<u8>> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    match &number[zeros..] {
        // Without a zero before it, it would be read as negative, or as nothing.
        [] => element(INTEGER, &[&[0]]),
        number if number[0] >= 0x80 => element(INTEGER, &[&[0], number]),
        number => element(INTEGER, &[number]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_are_the_shortest() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let contents = vec![1; length];
            let whole = element(OCTET_STRING, &[&contents]);
            let mut reader = Reader(&whole);
            assert_eq!(reader.expect(OCTET_STRING), Some(&contents[..]), "{length}");
            assert!(reader.is_empty());
        }
        for wrong in [&[4, 0x81, 1, 0][..], &[4, 0x82, 0, 1, 0], &[4, 0x80], &[4, 2, 0], &[4], &[]]
        {
            assert!(Reader(wrong).next().is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_are_not_negative_and_have_no_needless_zeros() {
        for (contents, want) in [
            (&[0][..], Some(&[][..])),
            (&[5], Some(&[5])),
            (&[0, 0x80], Some(&[0x80])),
            (&[0x80], None),
            (&[0, 5], None),
            (&[], None),
        ] {
            assert_eq!(Reader(&element(INTEGER, &[contents])).unsigned(), want, "{contents:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut reader = Reader(&bytes);
            while reader.next().is_some() {}
            let _ = Reader(&bytes).unsigned();
        }
    }
}
