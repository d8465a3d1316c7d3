//! Landlock: what a service may open, beyond what its user may.
//!
//! Where services share a uid with the secrets server, this is what keeps one from reading the
//! seal key. The kernel also keeps a confined process from tracing any that is not confined with
//! it. What Landlock does not cover is reaching a Unix socket by its path.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus,
};

/// What a service may open besides the system's own files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Confinement {
    pub(crate) readable: Vec<PathBuf>,
    pub(crate) writable: Vec<PathBuf>,
}

/// Programs, libraries and settings; what is secret among them is closed by its mode.
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt"];
/// A process needs its own entry, and the kernel hides what is not its user's.
const PROCESS: &[&str] = &["/proc", "/sys/devices/system/cpu", "/sys/fs/cgroup"];
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What the first version of Landlock covers; later rights are taken where the kernel knows them.
const LEAST: ABI = ABI::V1;
const BEST: ABI = ABI::V5;

impl Confinement {
    /// Whether this kernel can confine.
    pub(crate) fn is_available() -> bool {
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        let ruleset = ruleset.handle_access(AccessFs::from_all(LEAST));
        ruleset.and_then(Ruleset::create).is_ok()
    }

    /// Confines this process and all that it starts, for good.
    ///
    /// # Errors
    /// A path that does not exist, or a kernel that cannot confine.
    pub(crate) fn enter(readable: &[PathBuf], writable: &[PathBuf]) -> anyhow::Result<()> {
        let all = AccessFs::from_all(BEST);
        let read = AccessFs::from_read(BEST);
        let mut ruleset = Ruleset::default().handle_access(all)?.create()?;
        let system = SYSTEM.iter().chain(PROCESS).map(Path::new).filter(|path| path.exists());
        for path in system {
            ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, read))?;
        }
        for path in DEVICES {
            let file = AccessFs::from_file(BEST);
            ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, file))?;
        }
        for (paths, access) in [(readable, read), (writable, all)] {
            for path in paths {
                let fd = PathFd::new(path).with_context(|| format!("open {}", path.display()))?;
                // Rights of directories make no sense on a file.
                let access =
                    if path.is_dir() { access } else { access & AccessFs::from_file(BEST) };
                ruleset = ruleset.add_rule(PathBeneath::new(fd, access))?;
            }
        }
        let status = ruleset.restrict_self().context("confine by Landlock")?;
        ensure!(status.ruleset != RulesetStatus::NotEnforced, "this kernel has no Landlock");
        Ok(())
    }
}
