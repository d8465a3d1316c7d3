use super::super::format::{Contents, FORMATS};
use super::super::open::{configure, connect};
use super::*;

fn thread(directory: &Path) -> Thread {
    let path = files::own_name(&directory.join("store.db")).unwrap();
    let store = File::open(&path).unwrap();
    thread_with(directory, store)
}

/// The same with the file that passes flush.
fn thread_with(directory: &Path, flushed: File) -> Thread {
    let path = files::own_name(&directory.join("store.db")).unwrap();
    files::prepare_file(&path).unwrap();
    let mut connection = connect(&path).unwrap();
    configure(&connection).unwrap();
    FORMATS.bring_up_to_date(&path, &mut connection, Contents::Empty).unwrap();
    let lock = files::lock(&path).unwrap();
    let cache = Arc::new(Cache::new());
    let checkpointer = Checkpointer::start_with(&path, flushed).unwrap();
    let place = Place::of(&path).unwrap();
    Thread {
        path,
        connection,
        cache,
        sums: KeySums::default(),
        checkpointer,
        check: Check::passed(Vec::new()),
        is_distrusted: Arc::default(),
        since_pass: 0,
        is_unflushed: false,
        place,
        lock,
    }
}

fn put(key: &str, length: usize) -> Vec<Write> {
    let mark = KeySetSum([1; 32]);
    vec![Write { key: key.to_owned(), value: Some(vec![7; length]), mark }]
}

fn commit_together(
    thread: &mut Thread,
    batches: Vec<Vec<Write>>,
) -> Vec<Result<(), PhysicalError>> {
    let (group, replies): (Vec<_>, Vec<_>) = batches
        .into_iter()
        .map(|writes| {
            let (reply, result) = oneshot::channel();
            (Commit { writes, reply }, result)
        })
        .unzip();
    thread.commit_group(group);
    replies.into_iter().map(|mut reply| reply.try_recv().unwrap()).collect()
}

fn keys(thread: &Thread) -> Vec<String> {
    let mut statement = thread.connection.prepare("SELECT key FROM entry ORDER BY key").unwrap();
    let keys = statement.query_map([], |row| row.get(0)).unwrap();
    keys.map(Result::unwrap).collect()
}

fn limit_pages(thread: &Thread, pages: i64) {
    thread.connection.pragma_update(None, "max_page_count", pages).unwrap();
}

#[test]
fn a_batch_that_does_not_fit_fails_alone_and_room_makes_it_fit() {
    let directory = tempfile::tempdir().unwrap();
    let mut thread = thread(directory.path());
    limit_pages(&thread, 16);
    let batches = || vec![put("a", 10), put("large", 1 << 20), put("b", 10)];
    let results = commit_together(&mut thread, batches());
    assert!(
        matches!(results.as_slice(), [Ok(()), Err(PhysicalError::Full(_)), Ok(())]),
        "{results:?}"
    );
    assert_eq!(keys(&thread), ["a", "b"], "what is there can be read");
    let mut sum = KeySetSum([1; 32]);
    sum += KeySetSum([1; 32]);
    assert_eq!(
        (thread.sums.all, super::super::reader::key_sums(&thread.connection).unwrap().all),
        (sum, sum)
    );

    limit_pages(&thread, 1 << 20);
    let results = commit_together(&mut thread, batches());
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(keys(&thread), ["a", "b", "large"]);
}

#[test]
fn the_log_is_copied_into_the_store_as_it_grows() {
    let directory = tempfile::tempdir().unwrap();
    let mut thread = thread(directory.path());
    let log = |thread: &Thread| std::fs::metadata(files::wal_of(&thread.path)).unwrap().len();
    for _ in 0..200 {
        let batch = put("a", 1 << 20);
        let bytes = size(&batch);
        assert!(commit_together(&mut thread, vec![batch]).iter().all(Result::is_ok));
        thread.checkpoint_if_due(bytes);
    }
    let longest = LOG_BYTES + BEHIND_BYTES;
    assert!(log(&thread) < longest as u64, "the log is {} bytes long", log(&thread));
    thread.close().unwrap();
    assert!(!files::wal_of(&directory.path().join("store.db")).exists());
}

#[test]
fn a_flush_that_fails_ends_all_writing_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // A pipe cannot be flushed.
    let (pipe, _other_end) = io::pipe().unwrap();
    let mut thread = thread_with(directory.path(), File::from(std::os::fd::OwnedFd::from(pipe)));
    let results = commit_together(&mut thread, vec![put("before", 10)]);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    thread.checkpoint_if_due(BEHIND_BYTES);
    assert!(thread.checkpointer.is_running());
    thread.checkpoint_if_due(BEHIND_BYTES);
    let results = commit_together(&mut thread, vec![put("after", 10), put("later", 10)]);
    for result in results {
        let error = result.unwrap_err();
        assert!(Chain(&error).to_string().contains("the disk failed"), "{error}");
    }
    let path = thread.path.clone();
    thread.close().unwrap_err();
    assert!(
        files::wal_of(&path).metadata().unwrap().len() > 0,
        "the log is left for the next start"
    );
    let connection = connect(&path).unwrap();
    let count = |key: &str| -> i64 {
        let sql = "SELECT count(*) FROM entry WHERE key = ?1";
        connection.query_row(sql, [key], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("before"), count("after")), (1, 0));
}

#[test]
fn what_was_put_in_the_place_of_an_open_file_ends_all_writing() {
    for name in ["store.db", "store.db-wal", "store.db.lock"] {
        for is_replaced in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let mut thread = thread(directory.path());
            let results = commit_together(&mut thread, vec![put("before", 10)]);
            assert!(results.iter().all(Result::is_ok), "{results:?}");
            let (path, aside) = (directory.path().join(name), directory.path().join("aside"));
            std::fs::rename(&path, &aside).unwrap();
            if is_replaced {
                std::fs::copy(&aside, &path).unwrap();
            }
            let lost = |result: &Result<(), PhysicalError>| {
                result.as_ref().is_err_and(|error| Chain(error).to_string().contains("replaced"))
            };
            let batches = vec![put("after", 10), put("later", 10)];
            let results = commit_together(&mut thread, batches);
            assert!(results.iter().all(lost), "{name}: {results:?}");
            // It is back, but whoever took it may have written to it.
            std::fs::rename(&aside, &path).unwrap();
            let results = commit_together(&mut thread, vec![put("again", 10)]);
            assert!(results.iter().all(lost), "{name}: {results:?}");
            thread.close().unwrap_err();
            assert!(!directory.path().join("store.db.clean").exists(), "{name}");
        }
    }
}
