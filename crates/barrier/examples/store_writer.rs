//! A server's worth of writing, to be killed: opens the store at the path given, and lets some
//! tasks commit without end.
//!
//! ```text
//! store_writer <store> <tasks>
//! ```
//!
//! Prints `ready`, then for each commit of task `t`, counted by `n` from where the last run got to,
//! `begin t n` before it and `ack t n` once it is acknowledged; each line with one write call.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use holdfast_barrier::physical::Sqlite;
use holdfast_barrier::{Barrier, Batch, Entries, EntryError, SealConfig, StaticKey};
use holdfast_types::{SecretBytes, SystemClock, SystemRandom};

/// A task's commit also writes one of this many further entries, so that they are written over.
const SLOTS: u64 = 50;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: store_writer <store> <tasks>";
    let path = arguments.next().ok_or(usage)?;
    let tasks: u64 = arguments.next().ok_or(usage)?.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    runtime.block_on(run(Path::new(&path), tasks))
}

async fn run(path: &Path, tasks: u64) -> Result<(), Box<dyn std::error::Error>> {
    let current = StaticKey::parse("test", &SecretBytes::new(vec![7; 32]))?;
    let seal = SealConfig::Static { current, previous: None };
    let physical = Arc::new(Sqlite::open(path)?);
    let barrier =
        Barrier::open(physical, seal, Arc::new(SystemClock), Arc::new(SystemRandom)).await?;
    if !barrier.seal_status().initialized {
        let mut batch = Batch::new();
        for entry in 0..100 {
            batch.put(format!("initial/{entry}"), vec![1; 100]);
        }
        barrier.initialize(None, batch).await?;
    }
    barrier.auto_unseal().await?;
    say("ready");
    let barrier = Arc::new(barrier);
    let writers = (0..tasks).map(|task| tokio::spawn(write_on(barrier.clone(), task)));
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    Ok(())
}

async fn write_on(barrier: Arc<Barrier>, task: u64) -> Result<(), EntryError> {
    let latest = format!("w/{task}/latest");
    let last = barrier.get(&latest).await?;
    let last = last.and_then(|value| Some(u64::from_le_bytes(value.as_slice().try_into().ok()?)));
    for count in last.map_or(0, |last| last + 1).. {
        let mut batch = Batch::new();
        batch.put(latest.clone(), count.to_le_bytes().to_vec());
        let slot = format!("w/{task}/slot/{}", count % SLOTS);
        // Of all sizes, from within a page to several of them.
        let mut value = count.to_le_bytes().to_vec();
        value.resize(8 + (count as usize * 97) % 9000, 0xab);
        batch.put(slot, value);
        batch.delete(format!("w/{task}/slot/{}", (count + SLOTS / 2) % SLOTS));
        say(&format!("begin {task} {count}"));
        barrier.commit(batch).await?;
        say(&format!("ack {task} {count}"));
    }
    Ok(())
}

/// Prints a line at once; when nobody reads, there is nothing left to do.
fn say(line: &str) {
    if std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).is_err() {
        std::process::exit(0);
    }
}
