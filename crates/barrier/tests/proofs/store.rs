//! Stores to be damaged or killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use holdfast_barrier::physical::{OpenError, Sqlite};
use holdfast_barrier::{Barrier, EntryError, SealConfig, StaticKey};
use holdfast_types::{SecretBytes, SystemClock, SystemRandom};

/// A sealed barrier over the store at `path`.
pub(crate) async fn barrier(path: &Path) -> Result<Barrier, OpenError> {
    Ok(barrier_over(Arc::new(open(path).await?)).await.unwrap())
}

/// A sealed barrier over a store, with the key that `store_writer` uses too.
pub(crate) async fn barrier_over(physical: Arc<Sqlite>) -> Result<Barrier, EntryError> {
    let current = StaticKey::parse("test", &SecretBytes::new(vec![7; 32])).unwrap();
    let seal = SealConfig::Static { current, previous: None };
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    Barrier::open(physical, seal, clock, random).await
}

/// Opens a store that a process, or a thread of this one, may be about to let go of.
pub(crate) async fn open(path: &Path) -> Result<Sqlite, OpenError> {
    open_by(path, Sqlite::open).await
}

/// The same, opened with `open`.
pub(crate) async fn open_by(
    path: &Path,
    open: fn(&Path) -> Result<Sqlite, OpenError>,
) -> Result<Sqlite, OpenError> {
    loop {
        match open(path) {
            Err(OpenError::Locked { .. }) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

/// Waits until the thread of a store that was dropped has let go of it.
pub(crate) async fn wait_until_free(path: &Path) {
    let lock = File::open(path.with_extension("db.lock")).unwrap();
    while lock.try_lock().is_err() {
        tokio::task::yield_now().await;
    }
}

/// Starts `store_writer` over the store at `path`, under `wrapper` if that is not empty.
pub(crate) fn spawn_writer(wrapper: &[&str], path: &Path, tasks: usize) -> Child {
    let mut line: Vec<_> = wrapper.iter().map(Into::into).collect();
    line.extend([writer_program().into_os_string(), path.into(), tasks.to_string().into()]);
    let child = Command::new(&line[0]).args(&line[1..]).stdout(Stdio::piped()).spawn();
    child.expect("cargo test builds examples/store_writer")
}

/// Cargo builds the examples along with the tests, beside them.
fn writer_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(2).unwrap();
    target.join("examples/store_writer")
}
