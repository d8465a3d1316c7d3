//! The wall between what the server knows and what lies on disk.
//!
//! Everything that the server keeps passes through [`Entries`]: named values, read one by one,
//! written in batches that land whole or not at all. The barrier implements it over encrypted
//! storage; [`MemoryEntries`] keeps them in memory for tests.

mod entries;
mod memory;
mod view;

pub use entries::{Batch, Change, Entries, EntryError};
pub use memory::MemoryEntries;
pub use view::View;
