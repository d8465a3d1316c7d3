//! Object identifiers.

use std::borrow::Cow;
use std::fmt;

use super::X509Error;

/// An object identifier, such as `2.5.29.17`, as the contents of its DER form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(Cow<'static, [u8]>);

impl Oid {
    /// No identifier of the field comes near this many bytes.
    const LONGEST: usize = 128;

    /// One that is known when this is compiled, from its encoded contents.
    pub const fn known(encoded: &'static [u8]) -> Self {
        Self(Cow::Borrowed(encoded))
    }

    /// From the contents of a DER value.
    ///
    /// # Errors
    /// They are empty, too long, or end within a number.
    pub fn from_der(bytes: &[u8]) -> Result<Self, X509Error> {
        let ends = bytes.last().is_some_and(|byte| byte & 0x80 == 0);
        if !ends || bytes.len() > Self::LONGEST {
            return Err(X509Error::malformed("an object identifier of the wrong form"));
        }
        Ok(Self(bytes.to_vec().into()))
    }

    /// From its dotted form.
    ///
    /// # Errors
    /// Fewer than two numbers, one that is none, or a first one above 2.
    pub fn parse(text: &str) -> Result<Self, X509Error> {
        let wrong = || X509Error::malformed(format!("{text:?} is no object identifier"));
        let arcs = text.split('.').map(|arc| arc.parse::<u64>().map_err(|_| wrong()));
        let arcs = arcs.collect::<Result<Vec<_>, _>>()?;
        let [first, second, rest @ ..] = arcs.as_slice() else { return Err(wrong()) };
        if *first > 2 || (*first < 2 && *second > 39) {
            return Err(wrong());
        }
        let head = (first * 40).checked_add(*second).ok_or_else(wrong)?;
        let mut bytes = Vec::new();
        for arc in std::iter::once(&head).chain(rest) {
            let groups = (0..10).rev().map(|group| (arc >> (7 * group) & 0x7f) as u8);
            let mut groups: Vec<u8> = groups.skip_while(|group| *group == 0).collect();
            if groups.is_empty() {
                groups.push(0);
            }
            let last = groups.len() - 1;
            groups[..last].iter_mut().for_each(|group| *group |= 0x80);
            bytes.append(&mut groups);
        }
        Self::from_der(&bytes)
    }

    /// The contents of its DER form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arc: u128 = 0;
        let mut is_first = true;
        for byte in self.0.iter() {
            arc = arc << 7 | u128::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
            if is_first {
                let first = (arc / 40).min(2);
                write!(f, "{first}.{}", arc - first * 40)?;
                is_first = false;
            } else {
                write!(f, ".{arc}")?;
            }
            arc = 0;
        }
        Ok(())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
