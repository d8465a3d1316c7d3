//! What operators order of the authorities: the next one now, and the end of one whose key got out.
//!
//! The order of things is SPIRE's: prepare, activate, taint what signed before, and revoke it once
//! all that it signed is replaced.

use std::fmt;

use holdfast_types::Timestamp;
use tracing::info;

use super::lifecycle::{Lifecycle, Slot, State};
use super::stored::{Stored, StoredX509};
use super::{Authorities, AuthorityError};

/// Of which SVIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    X509,
    Jwt,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X509 => "x509",
            Self::Jwt => "jwt",
        })
    }
}

/// Where an authority stands, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Prepared,
    Active,
    Old,
}

/// An authority, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) id: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) standing: Standing,
    pub(crate) is_tainted: bool,
    /// The key id of the authority above it, in hex; none where it signed itself.
    pub(crate) upstream_id: Option<String>,
}

/// Why an order is not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("there is no authority {0:?}: see `holdfast spiffe localauthority x509|jwt show`")]
    Unknown(String),
    #[error("{0:?} is not prepared: only a prepared authority can be activated")]
    NotPrepared(String),
    #[error("{0:?} is past its end: prepare another one")]
    Ended(String),
    #[error(
        "{0:?} is not yet with all who verify tokens: it is brought to them and signs by itself when \
         they have it"
    )]
    Awaited(String),
    #[error("{0:?} is active: activate another one first")]
    Active(String),
    #[error("{0:?} is only prepared: it has signed nothing, and the next `prepare` replaces it")]
    Prepared(String),
    #[error("{0:?} is tainted already")]
    Tainted(String),
    #[error("{0:?} is not tainted: taint it first, so that what it signed is replaced")]
    NotTainted(String),
    #[error(
        "{id:?} was signed by an upstream authority, which the bundle holds: it is trusted until its \
         end, {end}, unless the upstream authority is replaced"
    )]
    Upstream { id: String, end: Timestamp },
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl Authorities {
    /// All of a kind, the oldest first.
    pub(crate) async fn list(&self, kind: Kind) -> Vec<Authority> {
        let record = self.record.lock().await;
        record.lifecycle(kind).slots().iter().map(|slot| record.told(slot)).collect()
    }

    /// Makes the next authority now. One that was prepared before has signed nothing, and goes.
    pub(crate) async fn prepare(&self, kind: Kind) -> Result<Authority, OrderError> {
        self.order(async |next| {
            let is_prepared = |slot: &&Slot| slot.state == State::Prepared;
            let prepared = next.lifecycle(kind).slots().iter().filter(is_prepared);
            for id in Vec::from_iter(prepared.map(|slot| slot.id.clone())) {
                next.forget(kind, &id);
            }
            let id = match kind {
                Kind::X509 => self.prepare_x509(next).await?,
                Kind::Jwt => self.prepare_jwt(next).await?,
            };
            info!(authority.kind = %kind, authority.id = id, "an operator had the next authority made");
            Ok(next.told(next.slot(kind, &id)?))
        })
        .await
    }

    /// Has the prepared authority of this id sign from now on.
    pub(crate) async fn activate(&self, kind: Kind, id: &str) -> Result<Authority, OrderError> {
        let now = self.clock.now();
        self.order(async |next| {
            let slot = next.slot(kind, id)?;
            if slot.state != State::Prepared {
                return Err(OrderError::NotPrepared(id.to_owned()));
            }
            if slot.is_awaited {
                return Err(OrderError::Awaited(id.to_owned()));
            }
            if !slot.is_usable(now) {
                return Err(OrderError::Ended(id.to_owned()));
            }
            next.lifecycle_mut(kind).activate(id);
            info!(authority.kind = %kind, authority.id = id, "an operator activated an authority");
            Ok(next.told(next.slot(kind, id)?))
        })
        .await
    }

    /// Has all that an old authority signed replaced. It still verifies.
    pub(crate) async fn taint(&self, kind: Kind, id: &str) -> Result<Authority, OrderError> {
        self.order(async |next| {
            if next.old(kind, id)?.is_tainted {
                return Err(OrderError::Tainted(id.to_owned()));
            }
            next.lifecycle_mut(kind).taint(id);
            info!(authority.kind = %kind, authority.id = id, "an operator tainted an authority");
            Ok(next.told(next.old(kind, id)?))
        })
        .await
    }

    /// Ends a tainted authority: what it signed is verified no more.
    pub(crate) async fn revoke(&self, kind: Kind, id: &str) -> Result<Authority, OrderError> {
        self.order(async |next| {
            let slot = next.old(kind, id)?;
            let revoked = next.told(slot);
            if revoked.upstream_id.is_some() {
                return Err(OrderError::Upstream { id: id.to_owned(), end: slot.not_after });
            }
            if !slot.is_tainted {
                return Err(OrderError::NotTainted(id.to_owned()));
            }
            next.forget(kind, id);
            info!(authority.kind = %kind, authority.id = id, "an operator revoked an authority");
            Ok(revoked)
        })
        .await
    }

    /// Changes the record, stores it and publishes it; where it cannot be changed, all stays.
    async fn order(
        &self,
        change: impl AsyncFnOnce(&mut Stored) -> Result<Authority, OrderError>,
    ) -> Result<Authority, OrderError> {
        let mut record = self.record.lock().await;
        let mut next = record.clone();
        let told = change(&mut next).await?;
        self.install(&mut record, next).await?;
        Ok(told)
    }
}

impl Stored {
    fn lifecycle(&self, kind: Kind) -> &Lifecycle {
        match kind {
            Kind::X509 => &self.x509,
            Kind::Jwt => &self.jwt,
        }
    }

    fn lifecycle_mut(&mut self, kind: Kind) -> &mut Lifecycle {
        match kind {
            Kind::X509 => &mut self.x509,
            Kind::Jwt => &mut self.jwt,
        }
    }

    fn forget(&mut self, kind: Kind, id: &str) {
        match kind {
            Kind::X509 => self.forget_x509(id),
            Kind::Jwt => self.forget_jwt(id),
        }
    }

    fn slot(&self, kind: Kind, id: &str) -> Result<&Slot, OrderError> {
        let slot = self.lifecycle(kind).slots().iter().find(|slot| slot.id == id);
        slot.ok_or_else(|| OrderError::Unknown(id.to_owned()))
    }

    /// One that has signed and signs no more.
    fn old(&self, kind: Kind, id: &str) -> Result<&Slot, OrderError> {
        let slot = self.slot(kind, id)?;
        match slot.state {
            State::Retired => Ok(slot),
            State::Active => Err(OrderError::Active(id.to_owned())),
            State::Prepared => Err(OrderError::Prepared(id.to_owned())),
        }
    }

    fn told(&self, slot: &Slot) -> Authority {
        Authority {
            id: slot.id.clone(),
            expires_at: slot.not_after,
            standing: match slot.state {
                State::Prepared => Standing::Prepared,
                State::Active => Standing::Active,
                State::Retired => Standing::Old,
            },
            is_tainted: slot.is_tainted,
            upstream_id: self.x509_keys.get(&slot.id).and_then(StoredX509::upstream_id),
        }
    }
}
