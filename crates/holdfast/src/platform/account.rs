//! Whom a part runs as.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use nix::unistd::{Gid, Uid, User};

/// A uid and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// `postgres`, or `uid 60592` for one that has no name.
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) home: PathBuf,
}

/// Uids without a name that no distribution hands out. systemd's list of uid ranges marks 60578
/// to 61183 as unused; each platform takes a block, each part of it one uid.
///
/// Source: <https://systemd.io/UIDS-GIDS/>.
const FIRST_UID: u32 = 60_592;
const BLOCK: u32 = 16;
const BLOCKS: u32 = 36;

impl Account {
    /// The caller.
    pub(crate) fn caller() -> Self {
        let uid = Uid::effective();
        let name = super::files::user_name(uid);
        let home = super::files::home().unwrap_or_else(|_| "/".into());
        Self { name, uid, gid: Gid::effective(), home }
    }

    /// The user of that name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        let user = User::from_name(name)
            .with_context(|| format!("look up the user {name}"))?
            .with_context(|| format!("there is no user {name} on this machine"))?;
        Ok(Self { name: user.name, uid: user.uid, gid: user.gid, home: user.dir })
    }

    /// A uid that only this part of this platform has.
    ///
    /// `slot` counts the platform's parts. Two platforms of one machine share a block with a
    /// chance of one in 36; then like parts of both share a uid, which `status` would not hide.
    pub(crate) fn own(state: &Path, slot: u32) -> anyhow::Result<Self> {
        ensure!(slot < BLOCK, "a platform has at most {BLOCK} parts with a uid of their own");
        let number = FIRST_UID + BLOCK * (path_number(state) % BLOCKS) + slot;
        let (uid, gid) = (Uid::from_raw(number), Gid::from_raw(number));
        Ok(Self { name: format!("uid {number}"), uid, gid, home: "/nonexistent".into() })
    }

    /// Whether it is the caller.
    pub(crate) fn is_caller(&self) -> bool {
        self.uid == Uid::effective()
    }
}

/// The same number for the same path, on every run.
pub(crate) fn path_number(path: &Path) -> u32 {
    use std::os::unix::ffi::OsStrExt;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, path.as_os_str().as_bytes());
    digest.as_ref()[..4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_uids_stay_in_the_unused_range() {
        for path in ["/var/lib/holdfast/a", "/var/lib/holdfast/b", "/x"] {
            for slot in [0, BLOCK - 1] {
                let uid = Account::own(Path::new(path), slot).unwrap().uid.as_raw();
                assert!((60_578..=61_183).contains(&uid), "{uid}");
            }
        }
        assert!(Account::own(Path::new("/x"), BLOCK).is_err());
    }
}
