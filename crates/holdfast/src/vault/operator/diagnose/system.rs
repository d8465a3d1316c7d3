//! The machine: descriptors, and room on the disks.

use std::path::Path;

use holdfast_vault::http::Capacity;
use holdfast_vault::space::{Usage, find_usage};
use nix::sys::resource::{Resource, getrlimit};

use super::report::Check;

/// Descriptors beside those of the connections: the store, the logs, what the server itself asks.
const BESIDE_CONNECTIONS: u64 = 1024;
/// As full as this, the server warns of a disk.
const NEARLY_FULL: u8 = 80;

pub(super) fn check() -> Check {
    Check::new("Check Operating System")
        .with(open_files(getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| soft)))
        .with(disk("Check Disk Usage", Path::new("/")))
}

fn open_files(limit: nix::Result<u64>) -> Check {
    let check = Check::new("Check Open File Limits");
    let wanted = Capacity::default().connections as u64 + BESIDE_CONNECTIONS;
    match limit {
        Err(error) => check.fail(format!("The limit of open files cannot be read: {error}.")),
        Ok(limit) if limit < wanted => check
            .warn(format!("Open file limits are set to {limit}; the server may want {wanted}."))
            .advise("Raise the limit, such as with LimitNOFILE= of its systemd unit."),
        Ok(limit) => check.say(format!("Open file limits are set to {limit}.")),
    }
}

/// The file system that `path` lies on, or would be made on.
pub(super) fn disk(name: &str, path: &Path) -> Check {
    let check = Check::new(name);
    match find_usage(path) {
        Err(error) => check.fail(format!("{}: the room is not known: {error}.", path.display())),
        Ok(None) => check.skip("It takes no room."),
        Ok(Some((_, usage))) => judge(check, path, usage),
    }
}

fn judge(check: Check, path: &Path, usage: Usage) -> Check {
    let (path, percent) = (path.display(), usage.percent());
    let check = check.detail(format!("{} of {} bytes are free.", usage.available, usage.size));
    if usage.size > 0 && usage.available == 0 {
        check
            .fail(format!("{path}: the disk is full."))
            .advise("Make room before the server starts.")
    } else if percent >= NEARLY_FULL {
        check.warn(format!("{path}: {percent} % of the disk are used.")).advise("Make room.")
    } else {
        check.say(format!("{path} usage ok."))
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::super::report::Status;
    use super::*;

    #[test]
    fn few_descriptors_are_warned_of() {
        for (limit, want) in [
            (Ok(1024), Status::Warn),
            (Ok(5119), Status::Warn),
            (Ok(5120), Status::Ok),
            (Ok(u64::MAX), Status::Ok),
            (Err(Errno::EPERM), Status::Fail),
        ] {
            assert_eq!(open_files(limit).status(), want, "{limit:?}");
        }
    }

    #[test]
    fn a_disk_is_judged_by_what_is_left() {
        for (used, available, want) in [
            (0, 100, Status::Ok),
            (79, 21, Status::Ok),
            (80, 20, Status::Warn),
            (99, 1, Status::Warn),
            (95, 0, Status::Fail),
        ] {
            let usage = Usage { size: 100, used, available };
            assert_eq!(
                judge(Check::new("disk"), Path::new("/"), usage).status(),
                want,
                "{usage:?}"
            );
        }
    }
}
