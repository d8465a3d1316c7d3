//! Shares handed out, and handed in one by one.

use holdfast_types::{Random, SecretBytes};
use zeroize::Zeroizing;

use super::shamir::{self, ShamirError};

/// Shares of a 32-byte key, with their `x`, are 33 bytes; a lone one is the key itself.
const LONGEST_SHARE: usize = 33;
/// As Vault has it.
const SHORTEST_SHARE: usize = 16;

/// How many shares there are, and how many of them open the seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharePlan {
    shares: u8,
    threshold: u8,
}

/// Why numbers are no plan. The wording is the API's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SharePlanError {
    /// No share at all.
    #[error("shares must be at least one")]
    NoShares,
    /// A threshold of zero.
    #[error("threshold must be at least one")]
    NoThreshold,
    /// GF(2^8) has 255 points.
    #[error("shares must be less than 256")]
    ManyShares,
    /// More needed than there are.
    #[error("threshold cannot be larger than shares")]
    Threshold,
    /// Each share alone would open the seal.
    #[error("threshold must be greater than one for multiple shares")]
    LoneThreshold,
}

impl SharePlan {
    /// `threshold` of `shares`: 1 of 1, or 2 to all of up to 255.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn new(shares: i64, threshold: i64) -> Result<Self, SharePlanError> {
        if shares < 1 {
            return Err(SharePlanError::NoShares);
        }
        if threshold < 1 {
            return Err(SharePlanError::NoThreshold);
        }
        if threshold > shares {
            return Err(SharePlanError::Threshold);
        }
        if shares > 1 && threshold == 1 {
            return Err(SharePlanError::LoneThreshold);
        }
        match (u8::try_from(shares), u8::try_from(threshold)) {
            (Ok(shares), Ok(threshold)) => Ok(Self { shares, threshold }),
            _ => Err(SharePlanError::ManyShares),
        }
    }

    /// How many there are.
    pub fn shares(self) -> u8 {
        self.shares
    }

    /// How many are needed.
    pub fn threshold(self) -> u8 {
        self.threshold
    }
}

/// Why a share, or all of them together, were not taken. The wording is the API's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Cannot be a share of a key.
    #[error("key is shorter than minimum {SHORTEST_SHARE} bytes")]
    Short,
    /// Cannot be a share of a key.
    #[error("key is longer than maximum {LONGEST_SHARE} bytes")]
    Long,
    /// They are not shares of one key.
    #[error("failed to compute combined key")]
    Combine(#[source] ShamirError),
    /// They give a key, but not the right one.
    #[error("the key that the shares give is not the right one")]
    Wrong,
}

/// Shares handed in so far, towards a threshold: to unseal, to rekey, to make a root token.
#[derive(Debug, Default)]
pub struct ShareProgress {
    nonce: String,
    shares: Vec<SecretBytes>,
}

impl ShareProgress {
    /// No share yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many are in.
    pub fn count(&self) -> usize {
        self.shares.len()
    }

    /// Names this attempt: new with its first share, empty before.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Forgets all shares.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Takes one share. One that is already in changes nothing. The last one needed gives them all
    /// back and starts over.
    ///
    /// # Errors
    /// It cannot be a share; those before it stay.
    pub fn submit(
        &mut self,
        share: SecretBytes,
        threshold: u8,
        random: &dyn Random,
    ) -> Result<Option<Vec<SecretBytes>>, ShareError> {
        match share.expose().len() {
            ..SHORTEST_SHARE => return Err(ShareError::Short),
            length if length > LONGEST_SHARE => return Err(ShareError::Long),
            _ => {}
        }
        if self.shares.contains(&share) {
            return Ok(None);
        }
        if self.shares.is_empty() {
            self.nonce = random.uuid();
        }
        self.shares.push(share);
        if self.shares.len() < usize::from(threshold) {
            return Ok(None);
        }
        let shares = std::mem::take(&mut self.shares);
        self.reset();
        Ok(Some(shares))
    }
}

/// Splits `key` as `plan` says. A lone share is the key itself.
pub(crate) fn make_shares(
    key: &[u8; 32],
    plan: SharePlan,
    random: &dyn Random,
) -> Vec<SecretBytes> {
    if plan.shares == 1 {
        return vec![SecretBytes::new(key.to_vec())];
    }
    shamir::split(key, plan.shares, plan.threshold, random)
}

/// Undoes [`make_shares`], given a threshold of its shares.
pub(crate) fn combine_shares(
    shares: &[SecretBytes],
    plan: SharePlan,
) -> Result<Zeroizing<[u8; 32]>, ShareError> {
    let combined = match shares {
        [share] if plan.threshold == 1 => Zeroizing::new(share.expose().clone()),
        shares => shamir::combine(shares).map_err(ShareError::Combine)?,
    };
    let mut key = Zeroizing::new([0; 32]);
    if combined.len() != key.len() {
        return Err(ShareError::Wrong);
    }
    key.copy_from_slice(&combined);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use holdfast_types::SystemRandom;

    use super::*;

    #[test]
    fn plans_are_checked_as_the_api_words_it() {
        use SharePlanError::*;
        for (shares, threshold, want) in [
            (1, 1, Ok((1, 1))),
            (5, 3, Ok((5, 3))),
            (255, 255, Ok((255, 255))),
            (0, 0, Err(NoShares)),
            (-1, 1, Err(NoShares)),
            (5, 0, Err(NoThreshold)),
            (5, -1, Err(NoThreshold)),
            (5, 1, Err(LoneThreshold)),
            (3, 5, Err(Threshold)),
            (256, 5, Err(ManyShares)),
            (i64::MAX, i64::MAX, Err(ManyShares)),
        ] {
            let got = SharePlan::new(shares, threshold);
            assert_eq!(got.map(|plan| (plan.shares(), plan.threshold())), want);
        }
    }

    #[test]
    fn shares_gather_until_there_are_enough() {
        let share = |byte| SecretBytes::new(vec![byte; 33]);
        let mut progress = ShareProgress::new();
        assert_eq!((progress.count(), progress.nonce()), (0, ""));
        assert_eq!(progress.submit(share(1), 3, &SystemRandom), Ok(None));
        let nonce = progress.nonce().to_owned();
        assert_eq!(nonce.len(), 36);
        assert_eq!(progress.submit(share(1), 3, &SystemRandom), Ok(None), "already in");
        assert_eq!(progress.count(), 1);
        for (length, want) in [(2, ShareError::Short), (40, ShareError::Long)] {
            let share = SecretBytes::new(vec![7; length]);
            assert_eq!(progress.submit(share, 3, &SystemRandom), Err(want));
        }
        assert_eq!(progress.submit(share(2), 3, &SystemRandom), Ok(None));
        assert_eq!((progress.count(), progress.nonce()), (2, nonce.as_str()));
        let all = progress.submit(share(3), 3, &SystemRandom).unwrap().unwrap();
        assert_eq!(all, [share(1), share(2), share(3)]);
        assert_eq!((progress.count(), progress.nonce()), (0, ""));
    }

    #[test]
    fn a_lone_share_is_the_key() {
        let plan = SharePlan::new(1, 1).unwrap();
        let shares = make_shares(&[3; 32], plan, &SystemRandom);
        assert_eq!(shares, [SecretBytes::new(vec![3; 32])]);
        assert_eq!(*combine_shares(&shares, plan).unwrap(), [3; 32]);
        let short = [SecretBytes::new(vec![3; 31])];
        assert_eq!(combine_shares(&short, plan), Err(ShareError::Wrong));
    }
}
