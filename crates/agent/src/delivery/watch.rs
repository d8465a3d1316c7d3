//! Files of the machine that templates are, or read: a change renders them again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::Delivery;

/// How often they are looked at.
const EVERY: Duration = Duration::from_secs(2);

/// What a file was when it was last looked at: changes of it change one of these.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The files that are watched.
#[derive(Debug, Default)]
pub(super) struct Watched {
    files: BTreeMap<PathBuf, Stamp>,
    looked: Option<Instant>,
}

impl Watched {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Watches these, and no others.
    fn set(&mut self, files: BTreeSet<PathBuf>) {
        self.files.retain(|file, _| files.contains(file));
        for file in files {
            let stamp = stamp(&file);
            self.files.entry(file).or_insert(stamp);
        }
    }

    /// Those that changed since the last look.
    fn look(&mut self, now: Instant) -> Vec<PathBuf> {
        if self.looked.is_some_and(|at| now < at + EVERY) {
            return Vec::new();
        }
        self.looked = Some(now);
        let mut changed = Vec::new();
        for (file, known) in &mut self.files {
            let stamp = stamp(file);
            if *known != stamp {
                *known = stamp;
                changed.push(file.clone());
            }
        }
        changed
    }
}

fn stamp(file: &PathBuf) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

impl Delivery {
    /// Watches what the templates are and read now.
    pub(super) fn watch_files(&mut self) {
        let of_templates = self.units.iter().filter_map(|unit| unit.loaded.file());
        let read = self.units.iter().flat_map(|unit| &unit.files).map(PathBuf::from);
        let all = of_templates.map(PathBuf::from).chain(read).collect();
        self.watched.set(all);
    }

    /// Renders again what a changed file is part of.
    pub(super) fn watch(&mut self) {
        let now = Instant::now();
        for file in self.watched.look(now) {
            info!(file = %file.display(), "changed");
            for unit in &mut self.units {
                let is_template = unit.loaded.file() == Some(&file);
                if is_template {
                    unit.loaded.reload();
                }
                if is_template || unit.files.iter().any(|read| file.as_os_str() == read.as_str()) {
                    unit.touch(now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::write(&one, "1").unwrap();
        let mut watched = Watched::default();
        watched.set(BTreeSet::from([one.clone(), two.clone()]));
        let mut now = Instant::now();
        assert!(watched.look(now).is_empty());
        fs::write(&two, "2").unwrap();
        assert!(watched.look(now).is_empty(), "not that often");
        for want in [vec![two.clone()], vec![]] {
            now += EVERY;
            assert_eq!(watched.look(now), want);
        }
        fs::remove_file(&one).unwrap();
        now += EVERY;
        assert_eq!(watched.look(now), [one]);
        watched.set(BTreeSet::new());
        assert!(watched.is_empty());
    }
}
