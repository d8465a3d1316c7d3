use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;
use rusqlite::Connection;

use super::format::{FORMATS, Formats};
use super::*;
use crate::physical::InMemory;

/// A store in a directory of its own.
fn new_store() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/store.db");
    (directory, path)
}

fn put(key: &str, value: &[u8]) -> Write {
    Write { key: key.to_owned(), value: Some(value.to_vec()), mark: mark(key) }
}

fn delete(key: &str) -> Write {
    Write { key: key.to_owned(), value: None, mark: mark(key) }
}

fn mark(key: &str) -> KeySetSum {
    let mut mark = [0; 32];
    mark[..8].copy_from_slice(&(key.len() as u64 + 1).to_le_bytes());
    KeySetSum(mark)
}

/// The keys of a set, and the sum kept of them.
async fn key_set(store: &impl Physical, which: KeySet) -> (Vec<String>, KeySetSum) {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let receiving = std::thread::spawn(move || -> Vec<String> {
        let chunks: Vec<Keys> = receiver.iter().collect();
        chunks.iter().flat_map(Keys::iter).map(str::to_owned).collect()
    });
    let sum = store.key_set(which, sender).await.unwrap();
    (receiving.join().unwrap(), sum.unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn refusal(path: &Path) -> String {
    refusal_by(path, &FORMATS)
}

fn refusal_by(path: &Path, formats: &Formats) -> String {
    match open::open(path, formats, u64::MAX) {
        Ok(_) => panic!("the store was opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_is_committed_is_there_after_a_clean_stop_and_after_none() {
    let (_directory, path) = new_store();
    let store = Sqlite::open(&path).unwrap();
    store.commit(vec![put("a", b"1"), put("b/c", b"2")]).await.unwrap();
    store.close().await.unwrap();
    assert!(store.get("a").await.is_err(), "closed");
    assert!(store.commit(vec![put("a", b"1")]).await.is_err(), "closed");
    assert!(store.close().await.is_err(), "closed");

    let store = Sqlite::open(&path).unwrap();
    assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
    store.commit(vec![delete("a"), put("b/c", b"3")]).await.unwrap();
    // Not a clean stop. The thread lets go of the lock soon after.
    drop(store);
    let store = loop {
        match Sqlite::open(&path) {
            Ok(store) => break store,
            Err(OpenError::Locked { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(store.get("a").await.unwrap(), None);
    assert_eq!(store.get("b/c").await.unwrap().as_deref(), Some(&b"3"[..]));
    assert_eq!(key_set(&store, KeySet::All).await, (vec!["b/c".to_owned()], mark("b/c")));
}

#[tokio::test]
async fn files_are_for_their_owner_and_a_clean_stop_leaves_no_log() {
    let (_directory, path) = new_store();
    let store = Sqlite::open(&path).unwrap();
    store.commit(vec![put("a", b"1")]).await.unwrap();
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for suffix in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(&files::beside(&path, suffix)), 0o600, "{suffix}");
    }
    store.close().await.unwrap();
    let mut names: Vec<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["store.db", "store.db.clean", "store.db.lock"]);
    assert_eq!(mode(&files::beside(&path, ".clean")), 0o600);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    Sqlite::open(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test]
async fn what_is_not_ours_to_open_is_refused_by_name() {
    let (_directory, path) = new_store();
    let store = Sqlite::open(&path).unwrap();
    let wanted = format!("in use by another server (process {})", std::process::id());
    assert!(refusal(&path).contains(&wanted), "{}", refusal(&path));
    store.close().await.unwrap();

    let connection = Connection::open(&path).unwrap();
    connection.execute("UPDATE meta SET value = 7 WHERE name = 'format'", []).unwrap();
    drop(connection);
    assert!(refusal(&path).contains("it is not as it was at its last clean stop"));
    fs::remove_file(files::beside(&path, ".clean")).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(refusal(&path).contains("has format 7, and this program knows formats up to 2"));
    assert_eq!(fs::read(&path).unwrap(), before, "left as it was");

    let other = path.with_file_name("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(refusal(&other).contains("is not a store"));
    let text = path.with_file_name("text");
    fs::write(&text, "x".repeat(5000)).unwrap();
    assert!(refusal(&text).contains("is not a store"));
    assert_eq!(fs::read(&text).unwrap(), "x".repeat(5000).into_bytes());

    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o770)).unwrap();
    assert!(refusal(&path).contains("(mode 770)"));
}

#[tokio::test]
async fn a_start_that_is_killed_before_it_has_compared_the_store_takes_nothing_from_the_next() {
    let (_directory, path) = new_store();
    let store = Sqlite::open(&path).unwrap();
    store.commit(vec![put("a", b"1"), put("b", b"1")]).await.unwrap();
    store.close().await.unwrap();
    let (clean, kept) = (files::beside(&path, ".clean"), files::beside(&path, ".checking"));

    // One that comes to its end leaves no record, as from now on the file changes.
    let store = open::open(&path, &FORMATS, 0).unwrap();
    assert!(store.check.wait().is_ok() && !clean.exists() && !kept.exists());
    store.close().await.unwrap();
    let before = fs::read(&path).unwrap();

    // One that was killed has kept it; there are commits in its log.
    stop::StopRecord::keep(&path).unwrap();
    assert!(!clean.exists() && kept.exists());
    let record = fs::read(&kept).unwrap();
    let store = Sqlite::open(&path).unwrap();
    store.commit(vec![put("a", b"2")]).await.unwrap();
    drop(store);
    while files::holder(&path).unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(fs::read(&path).unwrap(), before, "all that is new is in the log");
    fs::write(&kept, &record).unwrap();
    for small in [u64::MAX, 0] {
        let store = open::open(&path, &FORMATS, small).unwrap();
        assert!(store.check.wait().is_ok());
        assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"2"[..]));
        store.close().await.unwrap();
        stop::StopRecord::keep(&path).unwrap();
    }

    // Every row of this one is sound, but one is gone since the clean stop.
    let connection = Connection::open(&path).unwrap();
    connection.execute("DELETE FROM entry WHERE key = 'b'", []).unwrap();
    drop(connection);
    let wanted = "it is not as it was at its last clean stop";
    assert!(refusal(&path).contains(wanted), "{}", refusal(&path));
    assert!(matches!(Sqlite::look(&path), Err(OpenError::Damaged { .. })));
    let store = open::open(&path, &FORMATS, 0).unwrap();
    assert_eq!(store.check.wait().as_ref().unwrap_err(), wanted);
    assert!(kept.exists(), "for the next start");
}

#[tokio::test]
async fn an_older_store_is_copied_and_then_migrated() {
    const LATER: Formats = Formats {
        migrations: &[
            |_| Ok(()),
            |transaction| transaction.execute_batch("ALTER TABLE meta ADD COLUMN note TEXT"),
            |transaction| transaction.execute_batch("UPDATE meta SET note = 'three'"),
        ],
    };
    let (_directory, path) = new_store();
    let store = Sqlite::open(&path).unwrap();
    store.commit(vec![put("a", b"1")]).await.unwrap();
    store.close().await.unwrap();

    let store = open::open(&path, &LATER, 0).unwrap();
    assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
    store.close().await.unwrap();
    assert!(refusal(&path).contains("has format 4, and this program knows formats up to 2"));

    let copy = files::beside(&path, ".format-2");
    assert_eq!(mode(&copy), 0o600);
    let store = Sqlite::open(&copy).unwrap();
    assert_eq!(store.get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
    // A second start finds nothing to do.
    open::open(&path, &LATER, 0).unwrap().close().await.unwrap();
}

/// What tests do to two stores alike.
#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(String, Option<u8>)>),
    List { prefix: String, after: Option<String>, limit: Option<usize> },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    // Few names, so that they meet; '-' sorts before '/', '0' after it.
    let key = || "([a-b]|auth|sys/token/id)(/[a-b0-]{1,2}){0,3}";
    let prefix = || prop_oneof![Just(String::new()), "([a-b]|auth)/", "([a-b]|auth)/[a-b]/"];
    let change = (key(), proptest::option::weighted(0.7, any::<u8>()));
    let list = (prefix(), proptest::option::of("[a-b0-]{1,2}/?"), proptest::option::of(0usize..4));
    prop_oneof![
        4 => proptest::collection::vec(change, 1..8).prop_map(Step::Commit),
        4 => list.prop_map(|(prefix, after, limit)| Step::List { prefix, after, limit }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_does_what_storage_in_memory_does(steps in proptest::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_directory, path) = new_store();
            let memory = InMemory::new();
            let mut store = Sqlite::open(&path).unwrap();
            for step in steps {
                match step {
                    Step::Commit(changes) => {
                        let writes: Vec<_> = changes
                            .iter()
                            .map(|(key, value)| match value {
                                Some(byte) => put(key, &[*byte]),
                                None => delete(key),
                            })
                            .collect();
                        memory.commit(writes.clone()).await.unwrap();
                        store.commit(writes).await.unwrap();
                    }
                    Step::List { prefix, after, limit } => {
                        let want = memory.list_page(&prefix, after.as_deref(), limit).await;
                        let got = store.list_page(&prefix, after.as_deref(), limit).await;
                        assert_eq!(got.unwrap(), want.unwrap(), "{prefix} {after:?} {limit:?}");
                        let want = memory.scan(&prefix).await.unwrap();
                        assert_eq!(store.scan(&prefix).await.unwrap(), want, "{prefix}");
                    }
                    Step::Restart => {
                        store.close().await.unwrap();
                        // Checked beside as often as before.
                        let small = if memory.scan("").await.unwrap().len() % 2 == 0 { 0 } else { u64::MAX };
                        store = open::open(&path, &FORMATS, small).unwrap();
                    }
                }
            }
            let want = key_set(&memory, KeySet::Core).await;
            assert_eq!(key_set(&store, KeySet::Core).await, want);
            let want = key_set(&memory, KeySet::All).await;
            assert_eq!(key_set(&store, KeySet::All).await, want);
            for key in want.0 {
                assert_eq!(store.get(&key).await.unwrap(), memory.get(&key).await.unwrap());
            }
        });
    }
}

/// Whoever reads after a commit was acknowledged sees it, whatever others read meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_never_go_back() {
    use std::sync::atomic::{AtomicU64, Ordering};

    let (_directory, path) = new_store();
    let store = Arc::new(Sqlite::open(&path).unwrap());
    let acknowledged = Arc::new(AtomicU64::new(0));
    let last = 300;
    let readers = (0..4).map(|_| {
        let (store, acknowledged) = (store.clone(), acknowledged.clone());
        tokio::spawn(async move {
            loop {
                let known = acknowledged.load(Ordering::SeqCst);
                let value = store.get("counter").await.unwrap();
                let value = value.map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()));
                assert!(value >= known, "{value} after {known}");
                if known == last {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for count in 1..=last {
        store.commit(vec![put("counter", &count.to_le_bytes())]).await.unwrap();
        acknowledged.store(count, Ordering::SeqCst);
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn by_another_name_it_is_the_same_store() {
    let (directory, path) = new_store();
    let link = directory.path().join("link.db");
    fs::create_dir(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    // Made by the link, where the link leads.
    let store = Sqlite::open(&link).unwrap();
    assert_eq!(store.path(), fs::canonicalize(&path).unwrap());
    store.commit(vec![put("a", b"1")]).await.unwrap();
    for name in [&path, &link] {
        assert!(matches!(Sqlite::open(name), Err(OpenError::Locked { .. })), "{name:?}");
        let standing = Sqlite::look(name).unwrap().standing;
        assert_eq!(standing, Standing::InUse(std::process::id().to_string()), "{name:?}");
    }
    store.close().await.unwrap();
    // The directory that counts is the one that the store lies in.
    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Sqlite::open(&link), Err(OpenError::DirectoryOpen { .. })));
    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    // A second name in full has a log of its own, which SQLite would not find by the first.
    let other = directory.path().join("other.db");
    fs::hard_link(&path, &other).unwrap();
    for name in [&path, &other] {
        assert!(matches!(Sqlite::open(name), Err(OpenError::Linked { .. })), "{name:?}");
        assert!(matches!(Sqlite::look(name), Err(OpenError::Linked { .. })), "{name:?}");
    }
    fs::remove_file(&other).unwrap();
    assert_eq!(Sqlite::open(&path).unwrap().get("a").await.unwrap().as_deref(), Some(&b"1"[..]));
}
