//! Shamir's secret sharing in Vault's format.
//!
//! Each byte of the secret is the constant term of a random polynomial over GF(2^8) with the AES
//! polynomial 0x11B. A share is the polynomials' values at one `x`, followed by `x` itself; the
//! `x` of all shares differ, are not 0, and are picked at random. No table and no branch depends
//! on a secret byte, so that caches and timing tell nothing.

use holdfast_types::{Random, SecretBytes};
use zeroize::{Zeroize, Zeroizing};

/// Why shares do not combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShamirError {
    /// Fewer than two shares, or no byte in one.
    #[error("less than two parts cannot be used to reconstruct the secret")]
    TooFew,
    /// Shares of one secret are all as long.
    #[error("all parts must be the same length")]
    Lengths,
    /// Two shares have the same `x`.
    #[error("duplicate part detected")]
    Duplicate,
}

/// Splits `secret` into `shares` shares, of which any `threshold` give it back.
///
/// `2 <= threshold <= shares`, and the secret is not empty; the caller has checked both.
pub(crate) fn split(
    secret: &[u8],
    shares: u8,
    threshold: u8,
    random: &dyn Random,
) -> Vec<SecretBytes> {
    debug_assert!(threshold >= 2 && shares >= threshold && !secret.is_empty());
    let coordinates = coordinates(shares, random);
    // One more byte for `x`, from the start: growing would leave an unwiped copy behind.
    let mut parts: Vec<_> =
        coordinates.iter().map(|_| Zeroizing::new(Vec::with_capacity(secret.len() + 1))).collect();
    let mut coefficients = Zeroizing::new(vec![0; usize::from(threshold) - 1]);
    for byte in secret {
        random.fill(&mut coefficients);
        for (x, part) in coordinates.iter().zip(&mut parts) {
            // Horner's rule, from the highest power down to the secret byte itself.
            let value = coefficients.iter().fold(0, |sum, c| multiply(sum, *x) ^ c);
            part.push(multiply(value, *x) ^ byte);
        }
    }
    for (x, part) in coordinates.iter().zip(&mut parts) {
        part.push(*x);
    }
    parts.into_iter().map(|mut part| SecretBytes::new(std::mem::take(&mut *part))).collect()
}

/// Gives back the secret, if the shares are of one secret and as many as its threshold; otherwise
/// bytes that have nothing to do with it.
pub(crate) fn combine(shares: &[SecretBytes]) -> Result<Zeroizing<Vec<u8>>, ShamirError> {
    let parts: Vec<_> = shares.iter().map(|share| share.expose().as_slice()).collect();
    let length = parts.first().map_or(0, |part| part.len());
    if parts.len() < 2 || length < 2 {
        return Err(ShamirError::TooFew);
    }
    if parts.iter().any(|part| part.len() != length) {
        return Err(ShamirError::Lengths);
    }
    let coordinates: Vec<_> = parts.iter().map(|part| part[length - 1]).collect();
    if (1..coordinates.len()).any(|index| coordinates[..index].contains(&coordinates[index])) {
        return Err(ShamirError::Duplicate);
    }
    let mut secret = Zeroizing::new(vec![0; length - 1]);
    for (index, part) in parts.iter().enumerate() {
        // Lagrange's basis polynomial of this share, at 0; minus is plus here.
        let x = coordinates[index];
        let mut basis = 1;
        for (other, x_other) in coordinates.iter().enumerate() {
            if other != index {
                basis = multiply(basis, multiply(*x_other, invert(x ^ x_other)));
            }
        }
        for (byte, value) in secret.iter_mut().zip(*part) {
            *byte ^= multiply(basis, *value);
        }
    }
    Ok(secret)
}

/// `count` different numbers from 1 to 255, in random order.
fn coordinates(count: u8, random: &dyn Random) -> Vec<u8> {
    let mut taken = [false; 256];
    taken[0] = true;
    let mut chosen = Vec::with_capacity(usize::from(count));
    let mut buffer = [0; 64];
    while chosen.len() < usize::from(count) {
        random.fill(&mut buffer);
        for byte in buffer {
            if chosen.len() < usize::from(count) && !taken[usize::from(byte)] {
                taken[usize::from(byte)] = true;
                chosen.push(byte);
            }
        }
    }
    buffer.zeroize();
    chosen
}

/// The product in GF(2^8), in the same steps for all inputs.
fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    for _ in 0..8 {
        product ^= a & 0u8.wrapping_sub(b & 1);
        let overflow = 0u8.wrapping_sub(a >> 7);
        a = (a << 1) ^ (0x1b & overflow);
        b >>= 1;
    }
    product
}

/// The inverse in GF(2^8): `a` to the power of 254. That of 0 is 0.
fn invert(a: u8) -> u8 {
    let mut power = a;
    let mut inverse = 1;
    // 254 is 2 + 4 + ... + 128.
    for _ in 0..7 {
        power = multiply(power, power);
        inverse = multiply(inverse, power);
    }
    inverse
}

#[cfg(test)]
mod tests;
