//! What a process that holds keys does first: nothing of its memory reaches a disk.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};

/// Whether others may look into the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dumpable {
    /// As the system has it. For a process that is attested by its executable.
    Unchanged,
    /// No process without `CAP_SYS_PTRACE` may trace it or read its memory, even of the same user.
    /// The kernel then also hides `/proc/<pid>/exe` and its like from that user, so that nobody can
    /// attest the process by path or digest of its executable.
    No,
}

/// Forbids core dumps and makes new files private to the user (umask 077); with [`Dumpable::No`]
/// also keeps others from looking into the process. For the start of `main`, before other threads.
///
/// # Errors
/// The system refuses. The caller says so, and decides whether to go on.
pub fn protect(dumpable: Dumpable) -> Result<(), Errno> {
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    match dumpable {
        Dumpable::Unchanged => Ok(()),
        Dumpable::No => prctl::set_dumpable(false),
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::getrlimit;

    use super::*;

    #[test]
    fn the_kernel_knows_what_was_forbidden() {
        protect(Dumpable::No).unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
        assert_eq!(prctl::get_dumpable(), Ok(false));
        assert_eq!(umask(Mode::from_bits_truncate(0o077)).bits(), 0o077);
    }
}
