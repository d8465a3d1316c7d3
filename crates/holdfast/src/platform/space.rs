//! Whether there is room to start.

use std::path::Path;

use anyhow::{Context, ensure};
use nix::sys::statvfs::statvfs;

/// PostgreSQL's first files take 40 MB, its write-ahead log up to 16 MB more at once.
const NEEDED: u64 = 128 << 20;

/// Passes when the disk under `directory` has room for a start.
pub(crate) fn check(directory: &Path) -> anyhow::Result<()> {
    let found = statvfs(directory).with_context(|| format!("look at {}", directory.display()))?;
    #[allow(clippy::unnecessary_cast, reason = "the fields' width differs between platforms")]
    let free = found.blocks_available() as u64 * found.fragment_size() as u64;
    enough(directory, free)
}

fn enough(directory: &Path, free: u64) -> anyhow::Result<()> {
    ensure!(
        free >= NEEDED,
        "the disk under {} has {} MB left, and a start needs {} MB; make room, or choose another place with --state",
        directory.display(),
        free >> 20,
        NEEDED >> 20
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_what_is_needed() {
        let directory = Path::new("/var/lib/holdfast/demo");
        assert!(enough(directory, NEEDED).is_ok());
        assert_eq!(
            enough(directory, NEEDED - 1).unwrap_err().to_string(),
            "the disk under /var/lib/holdfast/demo has 127 MB left, and a start needs 128 MB; make room, or choose another place with --state"
        );
    }
}
