//! How fast the barrier over SQLite is on this machine.
//!
//! ```text
//! cargo run --release -p holdfast-barrier --example store_bench -- <directory>
//! ```

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_barrier::physical::Sqlite;
use holdfast_barrier::{Barrier, Batch, Entries, SealConfig, StaticKey};
use holdfast_types::{SecretBytes, SystemClock, SystemRandom};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Entries that are there: 100,000 of 200 bytes.
const ENTRIES: usize = 100_000;
const VALUE: usize = 200;
const TIME: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let directory = std::env::args().nth(1).ok_or("usage: store_bench <directory>")?;
    let path = Path::new(&directory).join("bench.db");
    let barrier = open(&path).await?;
    barrier.initialize(None, Batch::new()).await?;
    barrier.auto_unseal().await?;
    for start in (0..ENTRIES).step_by(1000) {
        let mut batch = Batch::new();
        for index in start..start + 1000 {
            batch.put(key(index), vec![7; VALUE]);
        }
        barrier.commit(batch).await?;
    }
    let barrier = Arc::new(barrier);
    for (readers, keys) in [(1, 1000), (16, 1000), (1, ENTRIES), (16, ENTRIES)] {
        let rate = reads(&barrier, readers, keys).await?;
        println!("{readers:>3} readers of {keys:>6} keys  {rate}");
    }
    for writers in [1, 4, 16, 64] {
        let rate = writes(&barrier, writers).await?;
        println!("{writers:>3} writers, durable        {rate}");
    }
    let start = Instant::now();
    barrier.close().await?;
    println!("clean stop          {:>9.1} ms", milliseconds(start));

    start_up(&path, "after a clean stop").await?;
    drop(open(&path).await?);
    // The writing thread lets go of the lock soon after.
    while Sqlite::open(&path).map(drop).is_err() {
        tokio::task::yield_now().await;
    }
    while std::fs::File::open(path.with_extension("db.lock"))?.try_lock().is_err() {
        tokio::task::yield_now().await;
    }
    start_up(&path, "after a crash").await
}

async fn start_up(path: &Path, after: &str) -> Result<(), Failure> {
    let start = Instant::now();
    let barrier = open(path).await?;
    println!("open {after:<19} {:>5.1} ms", milliseconds(start));
    let start = Instant::now();
    barrier.auto_unseal().await?;
    println!("unseal {ENTRIES} entries {:>7.1} ms", milliseconds(start));
    Ok(barrier.close().await?)
}

async fn open(path: &Path) -> Result<Barrier, Failure> {
    let current = StaticKey::parse("bench", &SecretBytes::new(vec![7; 32]))?;
    let seal = SealConfig::Static { current, previous: None };
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    Ok(Barrier::open(Arc::new(Sqlite::open(path)?), seal, clock, random).await?)
}

async fn reads(barrier: &Arc<Barrier>, tasks: usize, keys: usize) -> Result<Rate, Failure> {
    rate(tasks, |task| {
        let barrier = barrier.clone();
        async move {
            let (start, mut count) = (Instant::now(), 0);
            while start.elapsed() < TIME {
                let value = barrier.get(&key((task * 7919 + count * 104_729) % keys)).await?;
                assert_eq!(value.map(|value| value.len()), Some(VALUE));
                count += 1;
            }
            Ok(count)
        }
    })
    .await
}

async fn writes(barrier: &Arc<Barrier>, tasks: usize) -> Result<Rate, Failure> {
    rate(tasks, |task| {
        let barrier = barrier.clone();
        async move {
            let (start, mut count) = (Instant::now(), 0);
            while start.elapsed() < TIME {
                let mut batch = Batch::new();
                batch.put(key((task * 7919 + count * 104_729) % ENTRIES), vec![7; VALUE]);
                barrier.commit(batch).await?;
                count += 1;
            }
            Ok(count)
        }
    })
    .await
}

/// How often something was done, and what it cost.
struct Rate {
    per_second: f64,
    /// Microseconds of processor time for each, of this process and of the kernel for it: the
    /// figure that other work on the machine does not change much.
    processor: f64,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.0}/s  {:>6.1} us of processor", self.per_second, self.processor)
    }
}

/// Runs `tasks` side by side, and gives how much they got done together.
async fn rate<F>(tasks: usize, work: impl Fn(usize) -> F) -> Result<Rate, Failure>
where
    F: Future<Output = Result<usize, Failure>> + Send + 'static,
{
    let (start, used) = (Instant::now(), processor_time()?);
    let tasks: Vec<_> = (0..tasks).map(|task| tokio::spawn(work(task))).collect();
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    Ok(Rate {
        per_second: total as f64 / start.elapsed().as_secs_f64(),
        processor: (processor_time()? - used) / total as f64,
    })
}

/// What this process has used so far, in microseconds.
fn processor_time() -> Result<f64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let total = usage.user_time() + usage.system_time();
    Ok(total.num_microseconds() as f64)
}

fn key(index: usize) -> String {
    format!("logical/0c7a5f10-bench/{index:06}")
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
