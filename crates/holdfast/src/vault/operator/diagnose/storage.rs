//! The store, as a start would find it. A server that has it open is not held up.

use std::path::Path;

use holdfast_barrier::physical::{Look, OpenError, Sqlite, Standing};
use holdfast_vault::config::StorageSettings;
use nix::unistd::{AccessFlags, access};

use super::super::super::connection::chain;
use super::report::Check;
use super::system::disk;

/// What was found of the store.
pub(super) struct Store {
    pub(super) check: Check,
    /// Whether a start would take it.
    pub(super) is_usable: bool,
    /// Whether a server has it open.
    pub(super) is_in_use: bool,
}

pub(super) fn check(storage: &StorageSettings) -> Store {
    let check = Check::new("Check Storage");
    let StorageSettings::Sqlite { path, .. } = storage else {
        let check = check.warn("Entries are kept in memory, and lost when the server stops.");
        return Store { check, is_usable: true, is_in_use: false };
    };
    let looked = Sqlite::look(path);
    let is_usable = looked.is_ok();
    let is_in_use = matches!(&looked, Ok(Look { standing: Standing::InUse(_), .. }));
    let check = check
        .with(contents(&looked))
        .with(permissions(path, looked.as_ref().map_or(0, |look| look.mode)))
        .with(disk("Check Free Space", path));
    Store { check, is_usable, is_in_use }
}

fn contents(looked: &Result<Look, OpenError>) -> Check {
    let check = Check::new("Open Storage Backend");
    let look = match looked {
        Ok(look) => look,
        Err(error) => return check.fail(chain(error)),
    };
    let format =
        look.format.map_or("nothing in it".to_owned(), |format| format!("format {format}"));
    let (bytes, log) = (look.bytes, look.log_bytes);
    let check = check.detail(format!("{bytes} bytes, {log} bytes of log, {format}."));
    match &look.standing {
        Standing::Absent => check.say("There is no store yet; a start makes one."),
        Standing::InUse(process) => check
            .say(format!("A server has it open (process {process}); it was not checked whole.")),
        Standing::Unfinished => check
            .warn("The store was not stopped cleanly.")
            .advise("Its log is sound. The next start reads it, and checks the rest."),
        Standing::Checked(damaged) if damaged.is_empty() => {
            check.say("All of it was read, and is sound.")
        }
        Standing::Checked(damaged) => damaged
            .iter()
            .fold(check, |check, key| check.warn(format!("The entry {key} is damaged.")))
            .advise("Write these entries anew, or restore them."),
    }
}

fn permissions(path: &Path, mode: u32) -> Check {
    let check = Check::new("Check Store Permissions");
    // What is not there yet is made in the nearest folder that is.
    let nearest =
        path.ancestors().map(|path| if path == Path::new("") { Path::new(".") } else { path });
    let folder = nearest.skip(1).find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let wanted = AccessFlags::R_OK | AccessFlags::W_OK;
    let store = path.exists().then_some((path, wanted));
    for (path, wanted) in store.into_iter().chain([(folder, wanted | AccessFlags::X_OK)]) {
        if let Err(error) = access(path, wanted) {
            return check.fail(format!("{}: {}.", path.display(), error.desc())).advise(
                "The user that runs the server reads and writes there; run this as that user.",
            );
        }
    }
    if mode & 0o077 != 0 {
        return check
            .warn(format!("too many permissions: perms are {mode:o}"))
            .advise("A start takes them from everybody but the store's owner.");
    }
    check
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::report::Status;
    use super::*;

    #[test]
    fn a_store_is_judged_as_a_start_would() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.db");
        let judge = || {
            let store = check(&StorageSettings::Sqlite { path: path.clone(), reserve_bytes: None });
            (store.check.status(), store.is_usable, store.is_in_use)
        };
        assert_eq!(judge(), (Status::Ok, true, false), "not there yet");
        assert!(!path.exists(), "and not made");
        let open = Sqlite::open(&path).unwrap();
        assert_eq!(judge(), (Status::Ok, true, true), "in use");
        drop(open);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(judge().0, Status::Warn, "open to others");
        fs::write(&path, "no store, but longer than a header of one would be. ".repeat(9)).unwrap();
        fs::remove_file(folder.path().join("vault.db-wal")).ok();
        let (status, is_usable, _) = judge();
        assert_eq!((status, is_usable), (Status::Fail, false), "not a store");
        assert_eq!(check(&StorageSettings::Inmem).check.status(), Status::Warn);
    }
}
