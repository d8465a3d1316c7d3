//! The life of one key and its versions, without I/O.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_types::{Timestamp, format_go_duration, rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::Config;

/// How many versions are kept where neither the key nor the mount says.
const DEFAULT_MAX_VERSIONS: u32 = 10;

/// What is stored of a key beside the data of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    /// The newest version's number; 0 before the first write.
    pub(super) current_version: u64,
    /// The oldest version's number once older ones were pruned; 0 before.
    pub(super) oldest_version: u64,
    versions: BTreeMap<u64, Version>,
    /// 0: as the mount says.
    pub(super) max_versions: u32,
    pub(super) cas_required: bool,
    /// Zero: as the mount says.
    pub(super) delete_version_after: Duration,
    pub(super) custom_metadata: BTreeMap<String, String>,
    /// Counts changes of the settings above.
    pub(super) metadata_version: u64,
    pub(super) metadata_cas_required: bool,
}

/// One version of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    created_at: Timestamp,
    /// When it was, or will be, deleted. Its data stays, so that this can be undone.
    deleted_at: Option<Timestamp>,
    /// Its data is gone for good.
    destroyed: bool,
}

impl Version {
    /// Whether its data can be read.
    pub(super) fn is_readable(&self, now: Timestamp) -> bool {
        !self.destroyed && self.deleted_at.is_none_or(|at| at > now)
    }
}

impl Key {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            created_at: now,
            updated_at: now,
            current_version: 0,
            oldest_version: 0,
            versions: BTreeMap::new(),
            max_versions: 0,
            cas_required: false,
            delete_version_after: Duration::ZERO,
            custom_metadata: BTreeMap::new(),
            metadata_version: 0,
            metadata_cas_required: false,
        }
    }

    /// The version `number`, or the newest for 0, with its number.
    pub(super) fn version(&self, number: u64) -> Option<(u64, &Version)> {
        let number = if number == 0 { self.current_version } else { number };
        self.versions.get(&number).map(|version| (number, version))
    }

    /// The numbers of all versions that there are still.
    pub(super) fn version_numbers(&self) -> impl Iterator<Item = u64> {
        self.versions.keys().copied()
    }

    /// Adds the next version. Returns the numbers of those that are pruned by it, whose data has
    /// to go.
    pub(super) fn add_version(&mut self, now: Timestamp, config: &Config) -> Vec<u64> {
        self.current_version += 1;
        self.updated_at = now;
        let deleted_at = self.life_of_a_version(config).and_then(|life| now.checked_add(life).ok());
        let version = Version { created_at: now, deleted_at, destroyed: false };
        self.versions.insert(self.current_version, version);

        // The larger of the two numbers holds, as in OpenBao.
        let keep = match self.max_versions.max(config.max_versions) {
            0 => DEFAULT_MAX_VERSIONS,
            most => most,
        };
        if self.current_version - self.oldest_version < u64::from(keep) {
            return Vec::new();
        }
        self.oldest_version = self.current_version - u64::from(keep) + 1;
        let kept = self.versions.split_off(&self.oldest_version);
        std::mem::replace(&mut self.versions, kept).into_keys().collect()
    }

    /// Hides the data of a version, unless it is hidden or gone already.
    pub(super) fn delete_version(&mut self, number: u64, now: Timestamp) {
        if let Some(version) = self.versions.get_mut(&number)
            && version.is_readable(now)
        {
            version.deleted_at = Some(now);
        }
    }

    /// Shows the data of a version again, unless it is gone.
    pub(super) fn undelete_version(&mut self, number: u64) {
        if let Some(version) = self.versions.get_mut(&number)
            && !version.destroyed
        {
            version.deleted_at = None;
        }
    }

    /// Marks a version's data as gone. Whether there is such a version.
    pub(super) fn destroy_version(&mut self, number: u64) -> bool {
        let version = self.versions.get_mut(&number);
        version.map(|version| version.destroyed = true).is_some()
    }

    /// What accompanies the data of one version.
    pub(super) fn print_version(&self, number: u64, version: &Version) -> Map<String, Value> {
        let mut printed = print_times(version);
        printed.insert("custom_metadata".to_owned(), self.print_custom_metadata());
        printed.insert("version".to_owned(), number.into());
        printed
    }

    /// The whole metadata, as `metadata/<key>` answers it.
    pub(super) fn print(&self) -> Value {
        let versions = self.versions.iter();
        let versions: Map<String, Value> = versions
            .map(|(number, version)| (number.to_string(), print_times(version).into()))
            .collect();
        json!({
            "cas_required": self.cas_required,
            "created_time": rfc3339(self.created_at),
            "current_metadata_version": self.metadata_version,
            "current_version": self.current_version,
            "custom_metadata": self.print_custom_metadata(),
            "delete_version_after": format_go_duration(self.delete_version_after),
            "max_versions": self.max_versions,
            "metadata_cas_required": self.metadata_cas_required,
            "oldest_version": self.oldest_version,
            "updated_time": rfc3339(self.updated_at),
            "versions": versions,
        })
    }

    /// An empty map prints as null.
    fn print_custom_metadata(&self) -> Value {
        if self.custom_metadata.is_empty() { Value::Null } else { json!(self.custom_metadata) }
    }

    /// The shorter of the key's and the mount's `delete_version_after`. None: for ever.
    fn life_of_a_version(&self, config: &Config) -> Option<Duration> {
        let of_mount = config.delete_version_after.life()?;
        let set = |life: &Duration| !life.is_zero();
        [self.delete_version_after, of_mount].into_iter().filter(set).min()
    }
}

fn print_times(version: &Version) -> Map<String, Value> {
    let deletion_time = version.deleted_at.map(rfc3339).unwrap_or_default();
    Map::from_iter([
        ("created_time".to_owned(), rfc3339(version.created_at).into()),
        ("deletion_time".to_owned(), deletion_time.into()),
        ("destroyed".to_owned(), version.destroyed.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::config::DeleteAfter;
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn old_versions_are_pruned_by_the_larger_limit() {
        let config = Config { max_versions: 2, ..Config::default() };
        let mut key = Key::new(at(0));
        let pruned: Vec<_> = (1..=4).map(|second| key.add_version(at(second), &config)).collect();
        assert_eq!(pruned, [vec![], vec![], vec![1], vec![2]]);
        assert_eq!((key.oldest_version, key.current_version), (3, 4));

        key.max_versions = 3;
        assert_eq!(key.add_version(at(5), &config), [0; 0], "the key allows one more");
        assert_eq!(key.add_version(at(6), &config), [3]);

        key.max_versions = 1;
        let config = Config { max_versions: 1, ..Config::default() };
        assert_eq!(key.add_version(at(7), &config), [4, 5, 6], "a lower limit catches up");
    }

    #[test]
    fn ten_versions_are_kept_where_nothing_is_said() {
        let mut key = Key::new(at(0));
        for second in 1..=12 {
            key.add_version(at(second), &Config::default());
        }
        assert!(key.version_numbers().eq(3..=12));
    }

    #[test]
    fn a_version_lives_for_the_shorter_of_both_settings() {
        let mount = |seconds| Config {
            delete_version_after: DeleteAfter::Life(Duration::from_secs(seconds)),
            ..Config::default()
        };
        let never = Config { delete_version_after: DeleteAfter::Never, ..Config::default() };
        for (config, of_key, want) in [
            (mount(0), 0, None),
            (mount(60), 0, Some(60)),
            (mount(0), 90, Some(90)),
            (mount(60), 90, Some(60)),
            (mount(60), 30, Some(30)),
            (never, 30, None),
        ] {
            let mut key = Key::new(at(0));
            key.delete_version_after = Duration::from_secs(of_key);
            key.add_version(at(0), &config);
            let (_, version) = key.version(0).unwrap();
            assert_eq!(version.deleted_at, want.map(at), "{config:?}, {of_key} s");
        }
    }

    #[test]
    fn deleting_is_undone_and_destroying_is_not() {
        let mut key = Key::new(at(0));
        key.add_version(at(1), &Config::default());
        let readable = |key: &Key| key.version(1).unwrap().1.is_readable(at(10));

        key.delete_version(1, at(5));
        assert!(!readable(&key));
        key.delete_version(1, at(6));
        assert_eq!(key.versions[&1].deleted_at, Some(at(5)), "the first deletion counts");
        key.undelete_version(1);
        assert!(readable(&key));

        assert!(key.destroy_version(1));
        assert!(!key.destroy_version(2));
        key.undelete_version(1);
        assert!(!readable(&key));
    }
}
