//! A cgroup per service: what a service starts stays findable, and can be ended as one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::unistd::Uid;

use super::state::State;

/// How long the kernel may take to end what is in a cgroup.
const PATIENCE: Duration = Duration::from_secs(5);

/// The cgroup of a platform, or nothing where none can be made: without root, or without the
/// unified hierarchy.
pub(crate) fn of_platform(state: &State, name: &str) -> Option<PathBuf> {
    if !Uid::effective().is_root() {
        return None;
    }
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let root = unified(&mounts)?;
    // Named by a hash of the state directory, so that a later run finds it without a record.
    Some(root.join(format!("holdfast-{}", state.unique_name(name))))
}

/// Makes the cgroup of a service; the process enters it by itself, as the kernel wants it.
pub(crate) fn make(platform: &Path, service: &str) -> io::Result<PathBuf> {
    let path = platform.join(service);
    fs::create_dir_all(&path)?;
    Ok(path)
}

/// What `/proc/<pid>/cgroup` calls a cgroup.
pub(crate) fn name(path: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let below = path.strip_prefix(unified(&mounts)?).ok()?;
    Some(format!("/{}", below.to_str()?))
}

/// Moves this process into the cgroup.
pub(crate) fn enter(path: &Path) -> anyhow::Result<()> {
    let file = path.join("cgroup.procs");
    fs::write(&file, "0").with_context(|| format!("write {}", file.display()))
}

/// Ends whatever runs in the platform's cgroups, and removes them.
pub(crate) fn remove(platform: &Path) -> anyhow::Result<()> {
    let Ok(services) = fs::read_dir(platform) else { return Ok(()) };
    for service in services.flatten() {
        let path = service.path();
        if !path.is_dir() {
            continue;
        }
        end(&path);
        let deadline = Instant::now() + PATIENCE;
        // A cgroup goes when its last process is gone, a moment after it was told to.
        while let Err(error) = fs::remove_dir(&path) {
            if error.kind() == io::ErrorKind::NotFound {
                break;
            }
            if Instant::now() >= deadline {
                return Err(error).with_context(|| format!("remove {}", path.display()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    fs::remove_dir(platform).with_context(|| format!("remove {}", platform.display()))
}

/// Ends whatever runs in one cgroup.
pub(crate) fn end(path: &Path) {
    // Linux 5.14 and later; before that the part's process group has to do.
    let _ = fs::write(path.join("cgroup.kill"), "1");
}

/// Where the unified hierarchy is mounted, by the kernel's list of mounts.
fn unified(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let writable = options.split(',').any(|option| option == "rw");
        (kind == "cgroup2" && writable).then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_where_it_can_be_written() {
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        let contained = "cgroup /sys/fs/cgroup cgroup2 ro,nosuid 0 0\n";
        assert_eq!(unified(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(unified(contained), None);
    }
}
