//! Shares that come in one by one, for what only a quorum of operators may do.

use holdfast_barrier::{Barrier, QuorumError, ShareError, SharePlan, ShareProgress};
use holdfast_logical::{Error, Request};
use holdfast_types::{Random, SecretBytes};

use super::status::{NO_SHARE, share, share_error};

/// One attempt at gathering a quorum.
pub(super) struct Quorum {
    /// Names the attempt, so that shares are not spent on another one.
    pub(super) nonce: String,
    pub(super) progress: ShareProgress,
}

impl Quorum {
    pub(super) fn new(random: &dyn Random) -> Self {
        Self { nonce: random.uuid(), progress: ShareProgress::new() }
    }

    /// How many shares are in.
    pub(super) fn progress(&self) -> usize {
        self.progress.count()
    }

    /// How many are needed; 0 where there are no shares.
    pub(super) fn required(barrier: &Barrier) -> u8 {
        barrier.share_plan().map_or(0, SharePlan::threshold)
    }

    /// Takes the request's share of `required`. All of them once the last is in.
    pub(super) fn collect(
        &mut self,
        request: &Request,
        doing: &str,
        required: u8,
        random: &dyn Random,
    ) -> Result<Option<Vec<SecretBytes>>, Error> {
        let fields = request.fields();
        let text = fields.string("key")?.unwrap_or_default();
        if text.is_empty() {
            return Err(Error::invalid("missing required field 'key'"));
        }
        let nonce = fields.string("nonce")?.unwrap_or_default();
        if nonce.is_empty() {
            return Err(Error::invalid("missing required field 'nonce'"));
        }
        if nonce != self.nonce {
            let words = format!("incorrect nonce supplied; nonce for {doing} is {:?}", self.nonce);
            return Err(Error::invalid(words));
        }
        let share = share(&text).ok_or_else(|| Error::invalid(NO_SHARE))?;
        let before = self.progress.count();
        let complete = self.progress.submit(share, required, random);
        let complete = complete.map_err(|error| refused(&error))?;
        if complete.is_none() && self.progress.count() == before {
            let words = format!("given key has already been provided during {doing}");
            return Err(Error::invalid(words));
        }
        Ok(complete)
    }

    /// The same for a quorum of the shares in use. True once a whole quorum of right ones is in; a whole quorum that
    /// is wrong starts over.
    pub(super) async fn submit(
        &mut self,
        request: &Request,
        doing: &str,
        barrier: &Barrier,
        random: &dyn Random,
    ) -> Result<bool, Error> {
        let required = Self::required(barrier);
        let Some(shares) = self.collect(request, doing, required, random)? else {
            return Ok(false);
        };
        match barrier.check_quorum(&shares).await {
            Ok(()) => Ok(true),
            Err(QuorumError::Share(error)) => Err(refused(&error)),
            Err(error @ QuorumError::NoShares) => Err(Error::invalid(error.to_string())),
            Err(QuorumError::Entry(error)) => Err(error.into()),
        }
    }
}

fn refused(error: &ShareError) -> Error {
    Error::invalid(share_error(error))
}
