//! Flipped bits: a damaged entry is named when it is read, and any other damage is refused at
//! start, or ends a server that started before its store was checked. What is read is never wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_barrier::physical::{OpenError, Physical as _, Sqlite};
use holdfast_barrier::{Barrier, Batch, Entries as _, EntryError, UnsealError};
use holdfast_types::{Random as _, SystemRandom};

use crate::{rounds, store};

/// The pages of a store, in bytes.
const PAGE: usize = 4096;

/// Names the variable with the number of flips.
const FLIPS: &str = "HOLDFAST_PROVE_FLIPS";

/// What a start made of a damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Not opened, or closed again, with a sentence.
    Refused,
    /// Opened, and what cannot be read is named.
    Named,
    /// Opened, and everything reads as it was written.
    Harmless,
}

/// How a server went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Clean,
    /// Everything was still in the log.
    CrashWithLog,
    /// Nothing had been written since the last clean stop.
    CrashWithoutLog,
}

/// A small store, its entries, and its files' bytes.
struct Sample {
    entries: BTreeMap<String, Vec<u8>>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Sample {
    /// Entries of all sizes, some of them removed again, in a store of a dozen pages.
    async fn make(directory: &Path, stop: Stop) -> Self {
        let path = directory.join("store.db");
        let barrier = store::barrier(&path).await.unwrap();
        barrier.initialize(None, Batch::new()).await.unwrap();
        barrier.auto_unseal().await.unwrap();
        let mut entries = BTreeMap::new();
        for (index, length) in [0, 1, 40, 300, 1000, 2000, 5000, 12_000].into_iter().enumerate() {
            // Half of them in the core, and half in folders that grow.
            let folder = if index % 2 == 0 { "" } else { "folder/" };
            let key = format!("logical/{index}/{folder}entry");
            entries.insert(key.clone(), vec![index as u8; length]);
            let mut batch = Batch::new();
            batch.put(key, vec![index as u8; length]);
            batch.put(format!("gone/{index}"), vec![0xee; 700]);
            barrier.commit(batch).await.unwrap();
        }
        let mut batch = Batch::new();
        for index in 0..8 {
            batch.delete(format!("gone/{index}"));
        }
        barrier.commit(batch).await.unwrap();
        let still_open = match stop {
            Stop::Clean => {
                barrier.close().await.unwrap();
                None
            }
            Stop::CrashWithLog => Some(barrier),
            Stop::CrashWithoutLog => {
                barrier.close().await.unwrap();
                Some(store::barrier(&path).await.unwrap())
            }
        };
        let files = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.to_str().unwrap().ends_with("-shm"))
            .map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap()));
        let files = files.collect();
        drop(still_open);
        Self { entries, files }
    }

    fn file(&self, name: &str) -> &[u8] {
        &self.files.iter().find(|(path, _)| path == Path::new(name)).unwrap().1
    }

    /// Puts the store into `directory`, with one bit of one of its files flipped.
    fn restore(&self, directory: &Path, file: &str, byte: usize, bit: u32) -> PathBuf {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir(directory).unwrap();
        for (name, bytes) in &self.files {
            let mut bytes = bytes.clone();
            if name == Path::new(file) {
                bytes[byte] ^= 1 << bit;
            }
            fs::write(directory.join(name), bytes).unwrap();
        }
        directory.join("store.db")
    }

    /// Starts a server on the store that checks it beside, and reads everything. Panics where a value
    /// is wrong, or something is said not to be there.
    async fn outcome_beside(&self, path: &Path) -> Outcome {
        let physical = match store::open_by(path, Sqlite::open_and_check_beside).await {
            Ok(physical) => Arc::new(physical),
            Err(OpenError::Damaged { .. } | OpenError::NotAStore { .. }) => {
                return Outcome::Refused;
            }
            Err(error) => panic!("refused without saying that it is damaged: {error:?}"),
        };
        let barrier = match unsealed(physical.clone()).await {
            Ok(barrier) => barrier,
            Err(error) => match (physical.checked().await, error) {
                (Ok(()), UnsealError::Entry(EntryError::Damaged { .. })) => return Outcome::Named,
                _ => return Outcome::Refused,
            },
        };
        let mut failed = false;
        let mut damaged = BTreeSet::new();
        for (key, value) in &self.entries {
            match barrier.get(key).await {
                Ok(read) => assert_eq!(read.expect(key).as_slice(), value, "{key}"),
                Err(EntryError::Damaged { key }) => drop(damaged.insert(key)),
                Err(_) => failed = true,
            }
        }
        for prefix in ["logical/0/", "logical/1/folder/", "logical/"] {
            let below = self.entries.keys().filter_map(|key| key.strip_prefix(prefix));
            match barrier.scan(prefix).await {
                Ok(found) => assert_eq!(found, below.collect::<Vec<_>>(), "{prefix}"),
                Err(_) => failed = true,
            }
        }
        if physical.checked().await.is_err() || barrier.get("logical/9/x/none").await.is_err() {
            barrier.found_damaged().await;
            assert!(barrier.is_sealed() && barrier.close().await.is_err());
            drop(barrier);
            assert_eq!(self.outcome(path).await, Outcome::Refused, "the next start");
            return Outcome::Refused;
        }
        assert!(!failed, "a read fails in a sound store");
        let named: BTreeSet<_> = physical.damaged().iter().cloned().collect();
        assert!(named.is_superset(&damaged), "{damaged:?} not in {named:?}");
        if named.is_empty() { Outcome::Harmless } else { Outcome::Named }
    }

    /// Starts a server on the store and reads everything. Panics where a value is wrong.
    async fn outcome(&self, path: &Path) -> Outcome {
        let physical = match store::open(path).await {
            Ok(physical) => physical,
            Err(OpenError::Damaged { .. } | OpenError::NotAStore { .. }) => {
                return Outcome::Refused;
            }
            Err(error) => panic!("refused without saying that it is damaged: {error:?}"),
        };
        let named: BTreeSet<_> = physical.damaged().iter().cloned().collect();
        let barrier = match unsealed(Arc::new(physical)).await {
            Ok(barrier) => barrier,
            Err(UnsealError::Entry(EntryError::Damaged { key })) => {
                assert!(named.contains(&key), "{key} was not named at start");
                return Outcome::Named;
            }
            Err(UnsealError::KeySet { .. }) => return Outcome::Refused,
            Err(error) => panic!("{error:?}"),
        };
        let mut damaged = BTreeSet::new();
        for (key, value) in &self.entries {
            match barrier.get(key).await {
                Ok(read) => assert_eq!(read.unwrap().as_slice(), value, "{key}"),
                Err(EntryError::Damaged { key }) => drop(damaged.insert(key)),
                Err(error) => panic!("{error:?}"),
            }
        }
        let keys: Vec<_> =
            self.entries.keys().map(|key| key["logical/".len()..].to_owned()).collect();
        assert_eq!(barrier.scan("logical/").await.unwrap(), keys);
        // A row whose checksum is damaged is named too, although its value is sound.
        assert!(named.is_superset(&damaged), "{damaged:?} not in {named:?}");
        if named.is_empty() { Outcome::Harmless } else { Outcome::Named }
    }

    fn is_clean(&self) -> bool {
        self.files.iter().any(|(name, _)| name == Path::new("store.db.clean"))
    }
}

async fn unsealed(physical: Arc<Sqlite>) -> Result<Barrier, UnsealError> {
    let barrier = store::barrier_over(physical).await?;
    barrier.auto_unseal().await?;
    Ok(barrier)
}

/// About `count` positions in a file of `length` bytes, half of them in its first page; all of them
/// if `count` is as large as the file.
fn positions(length: usize, count: usize) -> Vec<usize> {
    if count >= length {
        return (0..length).collect();
    }
    let first = length.min(PAGE);
    let half = count / 2;
    let in_first = (0..half).map(|index| index * first / half);
    let behind = (0..half).map(|index| first + index * (length - first) / half);
    in_first.chain(behind).filter(|position| *position < length).collect()
}

/// Flips one bit at each position and counts what comes of it.
async fn flip(sample: &Sample, file: &str, count: usize) -> BTreeMap<Outcome, usize> {
    let directory = tempfile::tempdir().unwrap();
    let mut outcomes = BTreeMap::new();
    for (index, byte) in positions(sample.file(file).len(), count).into_iter().enumerate() {
        let bit = u32::from(SystemRandom.bytes::<1>()[0] % 8);
        let path = sample.restore(&directory.path().join("copy"), file, byte, bit);
        let outcome = sample.outcome(&path).await;
        // Every third also beside: a server that does not wait for the check comes to the same.
        if index % 3 == 0 {
            sample.restore(&directory.path().join("copy"), file, byte, bit);
            let beside = sample.outcome_beside(&path).await;
            assert_eq!(beside, outcome, "bit {bit} of byte {byte}, checked beside");
        }
        *outcomes.entry(outcome).or_default() += 1;
        if outcome == Outcome::Harmless && file == "store.db" && sample.is_clean() {
            panic!("a flip of bit {bit} of byte {byte} went unnoticed");
        }
    }
    println!("{file}, {} bytes: {outcomes:?}", sample.file(file).len());
    outcomes
}

#[tokio::test]
async fn after_a_clean_stop_every_flipped_bit_is_named_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let sample = Sample::make(directory.path(), Stop::Clean).await;
    let outcomes = flip(&sample, "store.db", rounds(FLIPS, 1000)).await;
    assert!(outcomes[&Outcome::Refused] > 100, "{outcomes:?}");
    assert!(outcomes[&Outcome::Named] > 100, "{outcomes:?}");
    // Damage to the record itself is no damage to the store.
    let outcomes = flip(&sample, "store.db.clean", rounds(FLIPS, 50)).await;
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), [&Outcome::Harmless]);
}

/// After a crash there is no digest of the file, so flips of bytes that mean nothing pass; but what
/// is read is right, and no commit is missing but the very last.
#[tokio::test]
async fn after_a_crash_no_flipped_bit_makes_a_read_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let without_log = Sample::make(&directory.path().join("1"), Stop::CrashWithoutLog).await;
    let outcomes = flip(&without_log, "store.db", rounds(FLIPS, 300)).await;
    assert!(outcomes.contains_key(&Outcome::Refused), "{outcomes:?}");
    assert!(outcomes.contains_key(&Outcome::Named), "{outcomes:?}");

    let with_log = Sample::make(&directory.path().join("2"), Stop::CrashWithLog).await;
    let outcomes = flip(&with_log, "store.db-wal", rounds(FLIPS, 300)).await;
    assert!(outcomes.contains_key(&Outcome::Refused), "{outcomes:?}");
}
