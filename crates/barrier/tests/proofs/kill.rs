//! `kill -9` in the middle of concurrent writes: no acknowledged write is lost, no store refused.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_barrier::{Barrier, Entries as _};
use holdfast_types::{Random as _, SystemRandom};

use crate::{rounds, store};

const TASKS: usize = 8;

#[tokio::test]
async fn no_acknowledged_write_is_lost_when_the_server_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    // The count of each task that must be there: acknowledged, or seen since.
    let mut known = HashMap::new();
    let mut total = 0;
    let kills = rounds("HOLDFAST_PROVE_KILLS", 15);
    for round in 0..kills {
        let lines = usize::from(u16::from_le_bytes(SystemRandom.bytes())) % 600;
        total += run_and_kill(&path, lines, &mut known);
        let barrier = store::barrier(&path).await.unwrap();
        // Now and then the crash comes before initialisation is done, and all starts over.
        if !barrier.seal_status().initialized {
            assert!(known.is_empty(), "round {round}");
            drop(barrier);
            store::wait_until_free(&path).await;
            continue;
        }
        barrier.auto_unseal().await.unwrap();
        check(&barrier, &mut known, round).await;
        // Half of the time the next server finds what the killed one left, and the reader's too.
        if round % 2 == 0 {
            barrier.close().await.unwrap();
        }
        drop(barrier);
        store::wait_until_free(&path).await;
    }
    println!("{kills} kills, {total} acknowledged commits, none lost");
    assert!(total > 0, "the writers never got to write");
}

/// Initialisation is one commit: killed at any time, all of it is there or nothing.
#[tokio::test]
async fn a_crash_during_initialisation_starts_over() {
    let mut initialized = 0;
    for _ in 0..rounds("HOLDFAST_PROVE_KILLS", 15) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        run_and_kill(&path, 0, &mut HashMap::new());
        let barrier = store::barrier(&path).await.unwrap();
        if barrier.seal_status().initialized {
            initialized += 1;
        } else {
            barrier.initialize(None, holdfast_barrier::Batch::new()).await.unwrap();
            barrier.auto_unseal().await.unwrap();
            continue;
        }
        barrier.auto_unseal().await.unwrap();
        assert_eq!(barrier.scan("initial/").await.unwrap().len(), 100);
    }
    println!("killed after initialisation: {initialized} times");
}

/// Runs the writer until it has printed `lines` lines and a little longer, kills it, notes the last
/// acknowledged count of each task, and gives the number of acknowledgements.
fn run_and_kill(path: &Path, lines: usize, known: &mut HashMap<u64, u64>) -> usize {
    let mut child = store::spawn_writer(&[], path, TASKS);
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed: Vec<String> = Vec::new();
    while printed.len() < lines {
        printed.push(output.next().expect("the writer runs until it is killed").unwrap());
    }
    // Not at a line's end, but anywhere: up to 30 ms on.
    let until =
        Instant::now() + Duration::from_micros(u64::from(SystemRandom.bytes::<1>()[0]) * 118);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had printed by then was acknowledged too. The last line may be cut short.
    printed.extend(output.map_while(Result::ok));
    let mut acknowledged = 0;
    for line in printed {
        let words: Vec<_> = line.split(' ').collect();
        let ["ack", task, count] = words.as_slice() else { continue };
        let (Ok(task), Ok(count)) = (task.parse(), count.parse()) else { continue };
        known.insert(task, count);
        acknowledged += 1;
    }
    acknowledged
}

async fn check(barrier: &Barrier, known: &mut HashMap<u64, u64>, round: usize) {
    assert_eq!(barrier.scan("initial/").await.unwrap().len(), 100, "round {round}");
    for task in 0..TASKS as u64 {
        let latest = read_count(barrier, &format!("w/{task}/latest")).await;
        // The commit after the last acknowledged one may have made it.
        let possible = match known.get(&task) {
            Some(last) => [Some(*last), Some(last + 1)],
            None => [None, Some(0)],
        };
        assert!(
            possible.contains(&latest),
            "round {round}: {latest:?} of task {task} is stored, {possible:?} can be"
        );
        let Some(latest) = latest else { continue };
        known.insert(task, latest);
        // The other changes of the same batch came with it.
        let slot = read_count(barrier, &format!("w/{task}/slot/{}", latest % 50)).await;
        assert_eq!(slot, Some(latest), "round {round}, task {task}");
        let deleted = format!("w/{task}/slot/{}", (latest + 25) % 50);
        assert_eq!(read_count(barrier, &deleted).await, None, "round {round}, task {task}");
    }
}

async fn read_count(barrier: &Barrier, key: &str) -> Option<u64> {
    let value = barrier.get(key).await.unwrap()?;
    Some(u64::from_le_bytes(*value.first_chunk().unwrap()))
}
