//! Under strace: a flush of the log stands between every acknowledged write and its reply.
//!
//! Killing a process cannot show a missing flush, because the kernel keeps what was written.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command};

use crate::store;

#[test]
fn a_flush_stands_between_every_commit_and_its_acknowledgement() {
    let strace = Command::new("strace").arg("-V").output();
    assert!(strace.is_ok(), "this proof needs strace; `make test` installs it");
    for tasks in [1, 8] {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("trace");
        let mut child = spawn_traced(directory.path(), &trace, &[], tasks);
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..300 {
            output.next().unwrap().unwrap();
        }
        // With nobody reading, the writer ends by itself, and strace with it.
        drop(output);
        child.wait().unwrap();
        let proven = check(&trace);
        println!("{tasks} tasks: {proven} acknowledgements, each after a flush");
        assert!(proven >= 100, "{proven}");
    }
}

/// The kernel tells once that it could not flush: whoever flushes again is told that all is well.
#[test]
fn after_a_flush_that_failed_nothing_is_acknowledged() {
    for tasks in [1, 8] {
        let directory = tempfile::tempdir().unwrap();
        let trace = directory.path().join("trace");
        let failure = ["-e", "inject=fdatasync:error=EIO:when=60"];
        let mut child = spawn_traced(directory.path(), &trace, &failure, tasks);
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        // All of its tasks end with the store's error. One that goes on is not waited for.
        let lines = output.take(20_000).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(lines < 20_000, "it still writes");
        let text = std::fs::read_to_string(&trace).unwrap();
        assert!(text.contains("EIO"), "no flush failed");
        assert!(check(&trace) > 0);
    }
}

/// A writer over a store in `directory`, its calls written to `trace`.
fn spawn_traced(directory: &Path, trace: &Path, more: &[&str], tasks: usize) -> Child {
    let mut strace =
        vec!["strace", "-f", "-y", "-s", "64", "-e", "trace=write,pwrite64,fsync,fdatasync"];
    strace.extend(more);
    strace.extend(["-o", trace.to_str().unwrap()]);
    store::spawn_writer(&strace, &directory.join("store.db"), tasks)
}

/// What a traced call does.
#[derive(Debug, Clone, PartialEq)]
enum Call {
    Begin(String),
    Acknowledge(String),
    /// Writes to the log.
    Write,
    /// Flushes the log.
    Flush,
}

/// Checks a trace and gives the number of acknowledgements in it.
///
/// A commit begins; then the log is written; a flush starts after that and ends before the
/// acknowledgement.
fn check(trace: &Path) -> usize {
    let mut begun: HashMap<String, usize> = HashMap::new();
    let mut acknowledged = HashSet::new();
    // By thread: the call that has not returned, and where it started.
    let mut pending: HashMap<String, (Call, usize)> = HashMap::new();
    let mut last_write = 0;
    // For each flush that has returned: where the last write before its start was, and its start.
    let mut flushed: Vec<(usize, usize)> = Vec::new();
    let mut has_failed = false;
    let text = std::fs::read_to_string(trace).unwrap();
    for (at, line) in text.lines().enumerate() {
        let Some((thread, event)) = line.split_once(char::is_whitespace) else { continue };
        let event = event.trim_start();
        let (call, started) = if event.starts_with("<...") {
            let Some(pending) = pending.remove(thread) else { continue };
            pending
        } else {
            let Some(call) = parse(event) else { continue };
            // A line is out once the call that prints it starts; a commit begins no later.
            if let Call::Begin(commit) = &call {
                begun.insert(commit.clone(), at);
            }
            if event.ends_with("<unfinished ...>") && !matches!(call, Call::Acknowledge(_)) {
                pending.insert(thread.to_owned(), (call, at));
                continue;
            }
            (call, at)
        };
        match call {
            Call::Begin(_) => {}
            Call::Write => last_write = at,
            // After one that failed, none proves anything.
            Call::Flush if line.ends_with("= 0") && !has_failed => {
                flushed.push((last_write, started));
            }
            // Or the process ended within it.
            Call::Flush => has_failed |= line.contains("EIO"),
            Call::Acknowledge(commit) => {
                let begun = begun[&commit];
                let covered = flushed
                    .iter()
                    .rev()
                    .any(|(written, started)| begun < *written && written <= started);
                assert!(covered, "no flush between line {begun} and line {at}: {line}");
                acknowledged.insert(commit);
            }
        }
    }
    acknowledged.len()
}

/// Reads a call such as `fdatasync(9</tmp/store.db-wal>) = 0`.
fn parse(event: &str) -> Option<Call> {
    let (name, arguments) = event.split_once('(')?;
    let on_log = arguments.split(['>', ',']).next()?.ends_with("-wal");
    match name {
        "fsync" | "fdatasync" if on_log => Some(Call::Flush),
        "pwrite64" if on_log => Some(Call::Write),
        "write" => {
            let (_, text) = arguments.split_once('"')?;
            let (text, _) = text.split_once("\\n")?;
            let (word, commit) = text.split_once(' ')?;
            match word {
                "begin" => Some(Call::Begin(commit.to_owned())),
                "ack" => Some(Call::Acknowledge(commit.to_owned())),
                _ => None,
            }
        }
        _ => None,
    }
}

#[test]
fn a_trace_without_the_flush_is_found_out() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let good = "1 write(1<pipe:[1]>, \"begin 0 5\\n\", 10) = 10\n\
                2 pwrite64(9</tmp/s.db-wal>, \"x\"..., 24, 32) = 24\n\
                2 fdatasync(9</tmp/s.db-wal> <unfinished ...>\n\
                1 write(1<pipe:[1]>, \"begin 1 5\\n\", 10) = 10\n\
                2 <... fdatasync resumed>) = 0\n\
                1 write(1<pipe:[1]>, \"ack 0 5\\n\", 8) = 8\n";
    std::fs::write(&trace, good).unwrap();
    assert_eq!(check(&trace), 1);
    for bad in [
        good.replace("fdatasync", "getpid"),
        good.replace("s.db-wal> <unf", "s.db> <unf"),
        good.replace("ack 0 5", "ack 1 5"),
    ] {
        std::fs::write(&trace, &bad).unwrap();
        let checked = std::panic::catch_unwind(|| check(&trace));
        assert!(checked.is_err(), "{bad}");
    }
}
