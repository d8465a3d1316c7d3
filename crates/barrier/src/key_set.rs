//! A keyed sum over the set of keys, so that a row that vanished or was renamed is noticed.
//!
//! Each entry's ciphertext authenticates its own path, but nothing in a row says that the row must
//! be there. So each key has a mark, the HMAC-SHA256 of its name, and the store keeps the sum of
//! the marks of all keys it holds, modulo 2^256. Adding or removing a key changes the sum by its
//! mark, in the same transaction; unsealing adds all marks up anew and compares. Without the HMAC
//! key nobody can tell what to add to hide a removed row.

use std::ops::{AddAssign, SubAssign};

use aws_lc_rs::hmac;

use crate::growth::growing_folder;
use crate::physical::KeySet;

/// A sum of marks, as 256-bit little-endian number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeySetSum(pub [u8; 32]);

impl AddAssign for KeySetSum {
    fn add_assign(&mut self, other: Self) {
        let mut carry = 0;
        for (byte, addend) in self.0.iter_mut().zip(other.0) {
            let sum = u16::from(*byte) + u16::from(addend) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
    }
}

impl SubAssign for KeySetSum {
    fn sub_assign(&mut self, other: Self) {
        let mut borrow = false;
        for (byte, subtrahend) in self.0.iter_mut().zip(other.0) {
            let (difference, first) = byte.overflowing_sub(subtrahend);
            let (difference, second) = difference.overflowing_sub(u8::from(borrow));
            *byte = difference;
            borrow = first || second;
        }
    }
}

/// The sums that a store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeySums {
    pub(crate) all: KeySetSum,
    /// Of the core's keys. None: it was never counted.
    pub(crate) core: Option<KeySetSum>,
}

impl Default for KeySums {
    /// Of a store without any keys.
    fn default() -> Self {
        Self { all: KeySetSum::default(), core: Some(KeySetSum::default()) }
    }
}

impl KeySums {
    pub(crate) fn of(&self, which: KeySet) -> Option<KeySetSum> {
        match which {
            KeySet::All => Some(self.all),
            KeySet::Core => self.core,
        }
    }

    /// Takes in a key that was not there.
    pub(crate) fn add(&mut self, key: &str, mark: KeySetSum) {
        self.all += mark;
        if let Some(core) = self.core.as_mut().filter(|_| growing_folder(key).is_none()) {
            *core += mark;
        }
    }

    /// Takes out a key that was there.
    pub(crate) fn remove(&mut self, key: &str, mark: KeySetSum) {
        self.all -= mark;
        if let Some(core) = self.core.as_mut().filter(|_| growing_folder(key).is_none()) {
            *core -= mark;
        }
    }
}

/// The key that marks are made with.
#[derive(Clone)]
pub(crate) struct KeyMarker(hmac::Key);

impl KeyMarker {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The mark of one key.
    pub(crate) fn mark(&self, key: &str) -> KeySetSum {
        let tag = hmac::sign(&self.0, key.as_bytes());
        let mut mark = [0; 32];
        mark.copy_from_slice(tag.as_ref());
        KeySetSum(mark)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn adding_and_taking_away_cancel_out(start: [u8; 32], marks: Vec<[u8; 32]>) {
            let mut sum = KeySetSum(start);
            for mark in &marks {
                sum += KeySetSum(*mark);
            }
            // In another order: a sum does not remember it.
            for mark in marks.iter().rev() {
                sum -= KeySetSum(*mark);
            }
            prop_assert_eq!(sum, KeySetSum(start));
        }
    }

    #[test]
    fn a_carry_runs_through_all_bytes() {
        let mut one = [0; 32];
        one[0] = 1;
        let mut sum = KeySetSum([0xff; 32]);
        sum += KeySetSum(one);
        assert_eq!(sum, KeySetSum::default());
        sum -= KeySetSum(one);
        assert_eq!(sum, KeySetSum([0xff; 32]));
    }

    #[test]
    fn a_missing_a_renamed_and_a_foreign_key_change_the_sum() {
        let sum = |key: u8, keys: &[&str]| {
            let marker = KeyMarker::new(&[key; 32]);
            let mut sum = KeySetSum::default();
            keys.iter().for_each(|key| sum += marker.mark(key));
            sum
        };
        let whole = sum(7, &["a", "b/c", "b/d"]);
        assert_eq!(sum(7, &["b/d", "a", "b/c"]), whole);
        for keys in [&["a", "b/c"][..], &["a", "b/c", "b/e"], &["a", "b/c", "b/d", "x"]] {
            assert_ne!(sum(7, keys), whole, "{keys:?}");
        }
        assert_ne!(sum(8, &["a", "b/c", "b/d"]), whole);
    }
}
