use holdfast_types::SystemRandom;
use proptest::prelude::*;

use super::*;

/// The algorithm as Vault and OpenBao run it: with tables of logarithms to the base 0xe5, shares
/// with `x` last.
mod reference {
    pub(super) struct Field {
        log: [u8; 256],
        exp: [u8; 256],
    }

    impl Field {
        pub(super) fn new() -> Self {
            let (mut log, mut exp) = ([0; 256], [0; 256]);
            let mut value = 1u8;
            for power in 0..255u8 {
                exp[usize::from(power)] = value;
                log[usize::from(value)] = power;
                value = slow_product(value, 0xe5);
            }
            exp[255] = exp[0];
            Self { log, exp }
        }

        fn product(&self, a: u8, b: u8) -> u8 {
            let log =
                (u16::from(self.log[usize::from(a)]) + u16::from(self.log[usize::from(b)])) % 255;
            if a == 0 || b == 0 { 0 } else { self.exp[usize::from(log)] }
        }

        fn quotient(&self, a: u8, b: u8) -> u8 {
            assert_ne!(b, 0, "divide by zero");
            let log =
                255 + u16::from(self.log[usize::from(a)]) - u16::from(self.log[usize::from(b)]);
            if a == 0 { 0 } else { self.exp[usize::from(log % 255)] }
        }

        pub(super) fn share(&self, secret: &[u8], coefficients: &[Vec<u8>], x: u8) -> Vec<u8> {
            let value = |(byte, high): (&u8, &Vec<u8>)| {
                high.iter().rev().fold(0, |sum, c| self.product(sum ^ c, x)) ^ byte
            };
            secret.iter().zip(coefficients).map(value).chain([x]).collect()
        }

        pub(super) fn combine(&self, parts: &[Vec<u8>]) -> Vec<u8> {
            let x_of = |part: &Vec<u8>| *part.last().unwrap();
            let at_zero = |index| {
                parts.iter().fold(0, |sum, part| {
                    let others = parts.iter().filter(|other| x_of(other) != x_of(part));
                    let basis = others.fold(1, |basis, other| {
                        self.product(basis, self.quotient(x_of(other), x_of(part) ^ x_of(other)))
                    });
                    sum ^ self.product(part[index], basis)
                })
            };
            (0..parts[0].len() - 1).map(at_zero).collect()
        }
    }

    /// Multiplication as in school, then the remainder by the field's polynomial.
    fn slow_product(a: u8, b: u8) -> u8 {
        let mut product =
            (0..8).fold(0u16, |sum, bit| sum ^ ((u16::from(a) << bit) * u16::from(b >> bit & 1)));
        for bit in (8..16).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x11b << (bit - 8);
            }
        }
        product.to_le_bytes()[0]
    }

    #[test]
    fn the_field_is_the_same() {
        let field = Field::new();
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(super::multiply(a, b), slow_product(a, b));
                assert_eq!(super::multiply(a, b), field.product(a, b));
            }
            if a != 0 {
                assert_eq!(super::multiply(a, super::invert(a)), 1);
                assert_eq!(super::invert(a), field.quotient(1, a));
            }
        }
    }
}

fn secrets(parts: &[Vec<u8>]) -> Vec<SecretBytes> {
    parts.iter().cloned().map(SecretBytes::new).collect()
}

proptest! {
    #[test]
    fn vault_combines_our_shares_and_we_combine_vaults(
        secret in proptest::collection::vec(any::<u8>(), 1..40),
        threshold in 2u8..8,
        more in 0u8..5,
        seed: [u8; 32],
    ) {
        let field = reference::Field::new();
        let ours = split(&secret, threshold + more, threshold, &SystemRandom);
        let mut parts: Vec<_> = ours.iter().map(|share| share.expose().clone()).collect();
        // The last `threshold` of them, the others being no worse.
        let chosen = parts.split_off(usize::from(more));
        prop_assert_eq!(&field.combine(&chosen), &secret);
        prop_assert_eq!(&*combine(&secrets(&chosen)).unwrap(), &secret);

        let coefficients: Vec<Vec<u8>> = (0..secret.len())
            .map(|i| (1..usize::from(threshold)).map(|c| seed[(i * 7 + c) % 32]).collect())
            .collect();
        let theirs: Vec<_> = (0..threshold)
            .map(|i| field.share(&secret, &coefficients, 255 - 13 * i))
            .collect();
        prop_assert_eq!(&*combine(&secrets(&theirs)).unwrap(), &secret);
    }
}

#[test]
fn fewer_shares_give_something_else() {
    let secret = [0x5a; 32];
    let shares = split(&secret, 5, 3, &SystemRandom);
    assert_ne!(combine(&shares[..2]).unwrap().as_slice(), secret);
    assert_eq!(combine(&shares[2..]).unwrap().as_slice(), secret);
}

#[test]
fn shares_are_a_byte_longer_and_their_last_bytes_differ() {
    let shares = split(&[1; 32], 255, 2, &SystemRandom);
    let mut coordinates: Vec<_> = shares.iter().map(|share| share.expose()[32]).collect();
    assert_ne!(coordinates, (1..=255).collect::<Vec<_>>(), "they are picked at random");
    coordinates.sort_unstable();
    assert_eq!(coordinates, (1..=255).collect::<Vec<_>>());
    assert!(shares.iter().all(|share| share.expose().len() == 33));
}

#[test]
fn what_cannot_be_shares_of_one_secret_is_refused() {
    let (a, b) = (vec![1, 2, 3], vec![4, 5, 6]);
    for (parts, want) in [
        (vec![], ShamirError::TooFew),
        (vec![a.clone()], ShamirError::TooFew),
        (vec![vec![1], vec![2]], ShamirError::TooFew),
        (vec![a.clone(), vec![4, 5]], ShamirError::Lengths),
        (vec![a.clone(), b, vec![9, 9, 3]], ShamirError::Duplicate),
    ] {
        assert_eq!(combine(&secrets(&parts)), Err(want), "{parts:?}");
    }
}
