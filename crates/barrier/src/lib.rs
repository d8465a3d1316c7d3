//! The wall between what the server knows and what lies on disk.
//!
//! Everything that the server keeps passes through [`Entries`]: named values, read one by one,
//! written in batches that land whole or not at all. [`Barrier`] implements it over encrypted
//! storage ([`Physical`]); [`MemoryEntries`] keeps them in memory, for tests and for preparing
//! what is then written in one batch.

mod barrier;
mod entries;
mod envelope;
mod growth;
mod key_set;
mod keyring;
mod locks;
mod memory;
pub mod physical;
pub mod process;
mod root_key;
mod seal;
mod view;

pub use barrier::{
    Barrier, InitializeError, Initialized, NewShares, QuorumError, SealStatus, UnsealError,
};
pub use entries::{Batch, Change, Entries, EntryError};
pub use key_set::KeySetSum;
pub use keyring::KeyStatus;
pub use locks::KeyLocks;
pub use memory::MemoryEntries;
pub use physical::Physical;
pub use seal::{
    SealConfig, ShamirError, ShareError, SharePlan, SharePlanError, ShareProgress, StaticKey,
    StaticKeyError,
};
pub use view::View;
