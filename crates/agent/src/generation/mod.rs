//! Files that appear together.
//!
//! All files of one agent are written into a new directory, a *generation*, and one symbolic link,
//! `current`, is flipped to it. Each destination is a link through `current`, placed once. So a
//! reader by path never sees half a file, and a reader that holds `current` open never sees files of
//! two moments. Whatever kills the agent, `current` leads to a whole generation.
//!
//! ```text
//! /run/app/backend.env -> .holdfast-1f0c/current/backend.env
//! /run/app/.holdfast-1f0c/current -> generations/7/files
//! /run/app/.holdfast-1f0c/generations/7/files/backend.env
//! /run/app/.holdfast-1f0c/generations/7/manifest.json         which secret versions are in it
//! ```

mod destination;
mod folder;
mod manifest;
mod place;
mod publisher;

pub use destination::{Destination, Owner, Placement, Problem};
pub(crate) use folder::Folder;
pub use manifest::{FileRecord, Manifest, SourceRecord};
pub use place::{Place, is_memory};
pub use publisher::{Change, Content, Published, Publisher, Rejected, Settings};

use std::io;
use std::path::{Path, PathBuf};

/// Writes a file by itself, in place of what is there, at once.
pub(crate) fn replace(path: &Path, contents: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
    let (folder, name) = Folder::above(path)?;
    folder.replace(&name, |temporary| folder.write(temporary, contents, mode, owner))
}

/// Why nothing was published. What is published already stands.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// Another agent publishes there.
    #[error("{} is in use by another agent", root.display())]
    Locked {
        /// The directory with the generations.
        root: PathBuf,
    },
    /// The system refused a step.
    #[error("{what} {}", path.display())]
    Io {
        /// The step, such as `write`.
        what: &'static str,
        /// What it was to be done to.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// For `map_err`: which step failed, and at what.
fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GenerationError {
    let path = path.to_owned();
    move |source| GenerationError::Io { what, path, source }
}

#[cfg(test)]
mod tests;
