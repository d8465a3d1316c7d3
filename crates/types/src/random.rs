//! Randomness, taken as an argument.

/// Where random bytes come from: the kernel, or a test's seed.
pub trait Random: Send + Sync + 'static {
    /// Fills `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]);

    /// `N` random bytes.
    fn bytes<const N: usize>(&self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

impl dyn Random {
    /// `length` characters of `0-9 A-Z a-z`, each with the same chance (5.95 bits): 24 make a
    /// token of 142 bits.
    pub fn base62(&self, length: usize) -> String {
        const ALPHABET: &[u8; 62] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        // The largest multiple of 62 below 256: bytes from here on would favour the first letters.
        const LIMIT: u8 = 248;
        let mut text = String::with_capacity(length);
        let mut buffer = [0; 64];
        while text.len() < length {
            self.fill(&mut buffer);
            let letters = buffer.iter().filter(|byte| **byte < LIMIT);
            text.extend(
                letters
                    .take(length - text.len())
                    .map(|b| char::from(ALPHABET[usize::from(b % 62)])),
            );
        }
        zeroize::Zeroize::zeroize(&mut buffer);
        text
    }

    /// 16 random bytes in the layout of a UUID, without its version bits, as Vault writes request,
    /// accessor and role identifiers.
    pub fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        let digit = |bits: u8| char::from(b"0123456789abcdef"[usize::from(bits)]);
        let mut text = String::with_capacity(36);
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.extend([digit(byte >> 4), digit(byte & 0xf)]);
        }
        text
    }
}

/// The kernel's random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        // Linux's getrandom fails only where it does not exist; going on would mean guessable keys.
        getrandom::fill(buffer).expect("the kernel gives random numbers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base62_uses_the_whole_alphabet_and_nothing_else() {
        let random: &dyn Random = &SystemRandom;
        let text = random.base62(10_000);
        assert_eq!(text.len(), 10_000);
        let mut seen: Vec<_> = text.chars().collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 62);
        assert!(seen.iter().all(char::is_ascii_alphanumeric));
    }

    #[test]
    fn uuid_has_the_layout_of_one() {
        let random: &dyn Random = &SystemRandom;
        let lengths: Vec<_> = random.uuid().split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
    }
}
