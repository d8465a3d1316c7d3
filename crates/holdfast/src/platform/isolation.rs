//! What keeps the parts apart on this machine, and what is missing for more.

use std::fs;
use std::path::Path;

use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use super::confinement::Confinement;

/// One thing that keeps parts, services or secrets apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Guard {
    pub(crate) name: String,
    pub(crate) present: bool,
    /// What it is good for, or what its absence means.
    pub(crate) note: String,
}

/// Probes all of it.
pub(crate) fn probe(secrets: Option<&Path>, cgroups: bool) -> Vec<Guard> {
    let root = Uid::effective().is_root();
    let guard = |name: &str, present: bool, with: &str, without: &str| Guard {
        name: name.to_owned(),
        present,
        note: if present { with } else { without }.to_owned(),
    };
    vec![
        guard(
            "uid per part",
            root,
            "no part can read another's files or memory",
            "all parts and services run as you; start as root to give each its own uid",
        ),
        guard(
            "secrets in memory only",
            secrets.is_some_and(|path| super::tmpfs::prove(path).is_ok()),
            "certificates' keys are on a tmpfs",
            "no tmpfs is in use",
        ),
        guard(
            "no swap",
            !swap_in_use() || secrets.is_some_and(mounted_without_swap),
            "what is in memory stays there",
            "this machine swaps: memory can reach the disk; turn swap off or encrypt it",
        ),
        guard(
            "cgroup per service",
            cgroups,
            "all that a service started ends with it",
            "what a service starts and leaves is found by its environment alone",
        ),
        guard(
            "Landlock",
            Confinement::is_available(),
            "a service opens its own files and the system's, and traces nobody",
            "this kernel has none: a service can open every file of its uid",
        ),
        guard(
            "sockets closed to services",
            root,
            "a service's uid opens neither the supervisor's socket nor PostgreSQL's as superuser",
            "services share your uid: one that runs foreign code can do what `holdfast login` does",
        ),
    ]
}

fn swap_in_use() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1)
}

/// Whether `path` is a mount with the option `noswap`.
fn mounted_without_swap(path: &Path) -> bool {
    let Ok(mounts) = fs::read_to_string("/proc/self/mounts") else { return false };
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        let here = fields.next().is_some_and(|mounted| Path::new(mounted) == path);
        here && fields.nth(1).is_some_and(|options| options.split(',').any(|o| o == "noswap"))
    })
}
