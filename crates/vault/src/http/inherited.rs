//! Sockets that were passed on at the start, as systemd and our own supervisor do.
//!
//! `LISTEN_FDS` says how many there are, from descriptor 3 on; `LISTEN_FDNAMES` names them,
//! separated by colons. `LISTEN_PID` is checked where it is set; a supervisor that cannot know the
//! child's process id before it exists leaves it out.

use std::collections::BTreeMap;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The first descriptor that is passed on.
const FIRST: RawFd = 3;

/// The sockets that were passed on and are not in use yet, by name.
#[derive(Debug, Default)]
pub struct Inherited(BTreeMap<String, OwnedFd>);

impl Inherited {
    /// Takes what was passed on to this process. Call it at the start, before descriptors are
    /// opened; a second call finds nothing.
    pub fn take_from_environment() -> Self {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Self::default();
        }
        let variable = |name: &str| std::env::var(name).ok();
        if variable("LISTEN_PID").is_some_and(|pid| pid != std::process::id().to_string()) {
            return Self::default();
        }
        let count = variable("LISTEN_FDS").and_then(|count| count.parse().ok()).unwrap_or(0);
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let numbered = names_of(&names, count).into_iter().zip(FIRST..);
        Self(numbered.filter_map(|(name, fd)| Some((name, adopt(fd)?))).collect())
    }

    /// The socket of this name, once.
    pub fn take(&mut self, name: &str) -> Option<OwnedFd> {
        self.0.remove(name)
    }

    /// The names that are left.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// `count` names: those of the list, then the numbers of the unnamed ones.
fn names_of(list: &str, count: usize) -> Vec<String> {
    let mut names = list.split(':').filter(|name| !name.is_empty()).map(str::to_owned);
    (0..count.min(64)).map(|index| names.next().unwrap_or_else(|| index.to_string())).collect()
}

/// Takes charge of an open descriptor, and keeps it from children.
fn adopt(fd: RawFd) -> Option<OwnedFd> {
    // Asks the kernel whether it is open before anything relies on it.
    if nix::sys::stat::fstat(borrow(fd)).is_err() {
        return None;
    }
    fcntl(borrow(fd), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    #[expect(unsafe_code, reason = "a descriptor that arrives by number has no owner yet")]
    // SAFETY: the descriptor is open, as fstat has just shown. It was handed to this process to
    // own, and only `take_from_environment` gets here, at most once per process, so no other
    // `OwnedFd` exists for it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    Some(owned)
}

fn borrow<'a>(fd: RawFd) -> std::os::fd::BorrowedFd<'a> {
    #[expect(unsafe_code, reason = "fstat and fcntl take no plain numbers")]
    // SAFETY: used only for the two calls above, for which a closed descriptor is an error and no
    // more; `fd` is never -1.
    unsafe {
        std::os::fd::BorrowedFd::borrow_raw(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fill_up_with_numbers() {
        assert_eq!(names_of("vault:admin", 2), ["vault", "admin"]);
        assert_eq!(names_of("vault", 3), ["vault", "1", "2"]);
        assert_eq!(names_of("", 0), [""; 0]);
    }
}
