//! The reserves of one server: beside its store, and on every other disk that it writes audit to.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::reserve::{Reserve, ReserveError};

/// A list that is longer is not ours.
const LONGEST_LIST: u64 = 64 << 10;
/// So many disks get a reserve beside the store's.
const MOST: usize = 64;

/// What `vault.db.reserves` beside `vault.db` lists: audit devices come and go while the server
/// runs, and whoever frees the room may find no server to ask.
#[derive(Debug)]
pub struct Reserves {
    store: PathBuf,
    list: PathBuf,
    /// The size of each; see [`Reserve::hold`].
    bytes: Option<u64>,
    /// Numbers of the file systems that were seen since the start. What was freed while the server
    /// runs stays free.
    seen: BTreeSet<u64>,
}

impl Reserves {
    /// Those of the server with its store at `store`.
    pub fn of(store: &Path, bytes: Option<u64>) -> Self {
        let mut list = store.as_os_str().to_owned();
        list.push(".reserves");
        Self { store: store.to_owned(), list: list.into(), bytes, seen: BTreeSet::new() }
    }

    /// The one beside the store.
    pub(super) fn of_store(&self) -> Reserve {
        Reserve::beside(&self.store)
    }

    /// Sets room aside on the file system `number`, beside the audit file at `path`, unless this
    /// was done since the start.
    ///
    /// # Errors
    /// As of [`Reserve::hold`]; or it cannot be listed, and is not made then.
    pub(super) fn hold(&mut self, number: u64, path: &Path) -> Result<(), ReserveError> {
        if !self.seen.insert(number) {
            return Ok(());
        }
        let path = std::path::absolute(path)?;
        let reserve = Reserve::beside(&path);
        if self.bytes != Some(0) {
            let mut listed = self.listed()?;
            listed.retain(|known| known != reserve.path() && known.exists());
            if listed.len() >= MOST {
                return Err(io::Error::other("too many disks have one").into());
            }
            listed.push(reserve.path().to_owned());
            self.write(&listed)?;
        }
        reserve.hold(self.bytes)
    }

    /// Removes them all, and says how many bytes that gives back for each: none where it was not
    /// there. That of the store is the first.
    pub fn free(&self) -> Vec<(PathBuf, Result<Option<u64>, ReserveError>)> {
        let reserve = self.of_store();
        let mut freed = vec![(reserve.path().to_owned(), reserve.free())];
        match self.listed() {
            Ok(listed) => freed.extend(listed.into_iter().map(|path| {
                let result = Reserve::at(path.clone()).free();
                (path, result)
            })),
            Err(error) => freed.push((self.list.clone(), Err(error.into()))),
        }
        freed
    }

    /// What the list names and this server may have made: root, who frees it, must not be led to
    /// remove what belongs to others.
    fn listed(&self) -> io::Result<Vec<PathBuf>> {
        let found = match fs::symlink_metadata(&self.list) {
            Ok(found) if found.is_file() && found.len() <= LONGEST_LIST => found,
            Ok(_) => return Err(io::Error::other("this is not a list of reserves")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths: Vec<PathBuf> = serde_json::from_slice(&fs::read(&self.list)?)?;
        paths.retain(|path| {
            let is_named_so =
                path.is_absolute() && path.extension().is_some_and(|it| it == "reserve");
            let owner = fs::symlink_metadata(path).map(|reserve| reserve.uid());
            is_named_so && owner.is_ok_and(|owner| owner == found.uid())
        });
        Ok(paths)
    }

    fn write(&self, paths: &[PathBuf]) -> io::Result<()> {
        let mut partial = self.list.as_os_str().to_owned();
        partial.push(".partial");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial);
        file?.write_all(&serde_json::to_vec(paths)?)?;
        fs::rename(&partial, &self.list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 256 << 10;

    #[test]
    fn each_disk_gets_one_and_all_are_freed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut reserves = Reserves::of(&at("vault.db"), Some(BYTES));
        reserves.of_store().hold(Some(BYTES)).unwrap();
        reserves.hold(1, &at("a.log")).unwrap();
        reserves.hold(1, &at("b.log")).unwrap();
        reserves.hold(2, &at("c.log")).unwrap();
        assert!(!at("b.log.reserve").exists(), "one for each disk");

        let freed = |reserves: &Reserves| {
            let freed = reserves.free().into_iter();
            let freed = freed.map(|(path, freed)| (path, freed.unwrap().is_some()));
            freed.collect::<Vec<_>>()
        };
        let all = [
            (at("vault.db.reserve"), true),
            (at("a.log.reserve"), true),
            (at("c.log.reserve"), true),
        ];
        assert_eq!(freed(&Reserves::of(&at("vault.db"), None)), all);
        reserves.hold(2, &at("c.log")).unwrap();
        assert!(!at("c.log.reserve").exists(), "what was freed stays free until the next start");
        assert_eq!(freed(&reserves), [(at("vault.db.reserve"), false)]);
    }

    #[test]
    fn what_a_list_names_beside_reserves_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let reserves = Reserves::of(&at("vault.db"), None);
        fs::write(at("precious"), "x").unwrap();
        fs::create_dir(at("d.reserve")).unwrap();
        reserves.write(&[at("precious"), at("d.reserve"), "x.reserve".into()]).unwrap();
        let freed = reserves.free();
        assert!(
            matches!(&freed[1], (path, Err(ReserveError::NotAFile(_))) if *path == at("d.reserve"))
        );
        assert_eq!(freed.len(), 2);
        assert!(at("precious").exists());
        fs::write(at("vault.db.reserves"), "[").unwrap();
        assert!(matches!(&reserves.free()[1], (_, Err(ReserveError::Io(_)))));
    }

    #[test]
    fn none_is_made_where_none_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserves = Reserves::of(&folder.path().join("vault.db"), Some(0));
        reserves.hold(1, &folder.path().join("a.log")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
