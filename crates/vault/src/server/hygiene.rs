//! What a process that holds keys owes them.

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use tracing::warn;

/// Makes no core dumps, lets no other process of the same user look inside, and creates files for
/// its own user only. Call it at the start, before there are threads.
pub fn harden_process() {
    umask(Mode::from_bits_truncate(0o077));
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        warn!(%error, "a crash could write memory to disk");
    }
    if let Err(error) = set_dumpable(false) {
        warn!(%error, "other processes of this user can read this one's memory");
    }
}
