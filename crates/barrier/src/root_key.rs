//! The root key, in memory that is not swapped out.

use holdfast_types::Random;
use zeroize::{Zeroize, Zeroizing};

use crate::envelope::ValueKey;

/// Bytes that an `mlock` covers at least.
const PAGE: usize = 4096;

/// The key that the keyring is encrypted with.
///
/// It has a page of its own, locked into memory and left out of core dumps, and is wiped when
/// dropped. Where the system does not allow the lock, it goes on without.
pub(crate) struct RootKey {
    page: Box<Page>,
    locked: bool,
}

/// A whole page, so that unlocking it unlocks nobody else's.
#[repr(align(4096))]
struct Page([u8; PAGE]);

impl RootKey {
    pub(crate) const LENGTH: usize = 32;

    /// Makes a new one.
    pub(crate) fn generate(random: &dyn Random) -> Self {
        let mut key = Self::empty();
        random.fill(&mut key.page.0[..Self::LENGTH]);
        key
    }

    /// Takes over 32 bytes, or none if there are not just 32.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().ok()?;
        let mut key = Self::empty();
        key.page.0[..Self::LENGTH].copy_from_slice(bytes);
        Some(key)
    }

    fn empty() -> Self {
        // Locked before a key is in it.
        let mut page = Box::new(Page([0; PAGE]));
        let locked = lock(&mut page);
        Self { page, locked }
    }

    pub(crate) fn expose(&self) -> &[u8; Self::LENGTH] {
        self.page.0.first_chunk().expect("a page is longer than a key")
    }

    /// The cipher with this key, made for each of its rare uses, so that no copy of it waits in
    /// memory that is not locked.
    pub(crate) fn cipher(&self) -> ValueKey {
        ValueKey::new(self.expose())
    }

    /// Whether the system let us lock it into memory.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }
}

impl Drop for RootKey {
    fn drop(&mut self) {
        self.page.0.zeroize();
        if self.locked {
            unlock(&mut self.page);
        }
    }
}

#[expect(unsafe_code, reason = "mlock takes an address")]
fn lock(page: &mut Page) -> bool {
    // SAFETY: the range is exactly the bytes of `page`, which is borrowed for the call and, by its
    // alignment and size, one whole page; locking changes no byte of it.
    unsafe { memsec::mlock(page.0.as_mut_ptr(), PAGE) }
}

#[expect(unsafe_code, reason = "munlock takes an address")]
fn unlock(page: &mut Page) {
    // SAFETY: as in `lock`; munlock writes zeroes over the range, which is borrowed mutably and
    // holds plain bytes.
    unsafe { memsec::munlock(page.0.as_mut_ptr(), PAGE) };
}

/// 32 random bytes that are wiped after use.
pub(crate) fn random_key(random: &dyn Random) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    random.fill(&mut *key);
    key
}

#[cfg(test)]
mod tests {
    use holdfast_types::SystemRandom;

    use super::*;

    #[test]
    fn a_key_has_a_page_of_its_own() {
        let first = RootKey::generate(&SystemRandom);
        let second = RootKey::from_slice(first.expose()).unwrap();
        assert_eq!(first.expose(), second.expose());
        for key in [&first, &second] {
            assert_eq!(key.expose().as_ptr().addr() % PAGE, 0);
        }
        assert!(RootKey::from_slice(&[0; 31]).is_none());
        assert!(RootKey::from_slice(&[0; 33]).is_none());
    }

    #[test]
    fn a_locked_page_is_counted_by_the_kernel() {
        let key = RootKey::generate(&SystemRandom);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        let kilobytes: usize = locked.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(!key.is_locked() || kilobytes >= PAGE / 1024, "VmLck is {kilobytes} kB");
    }
}
