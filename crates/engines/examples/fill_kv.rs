//! Writes many keys of a `kv` mount (version 2) into the store of a server that does not run.
//!
//! The engine itself writes them, over entries in memory; thousands of them are then stored in one
//! commit. For benchmarks: it makes a million keys in seconds instead of minutes.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use holdfast_barrier::physical::{Physical, Sqlite};
use holdfast_barrier::{
    Barrier, Batch, Change, Entries, MemoryEntries, SealConfig, StaticKey, View,
};
use holdfast_engines::kv;
use holdfast_logical::{
    Connection, Context, Error, LookedAt, MountInfo, Operation, Passwords, Request,
};
use holdfast_types::{Clock, Random, SecretBytes, SecretString, SystemClock, SystemRandom};
use serde_json::{Map, Value};

type BoxError = Box<dyn std::error::Error>;

/// Keys in one commit.
const KEYS_PER_COMMIT: usize = 5000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, seal_key, mount, prefix, from, to, value] = arguments.as_slice() else {
        return Err("usage: fill_kv STORE SEAL-KEY MOUNT-UUID PREFIX FROM TO VALUE".into());
    };
    let Value::Object(data) = serde_json::from_str(value)? else {
        return Err("the value is no JSON object".into());
    };
    let numbers: Vec<usize> = (from.parse()?..to.parse()?).collect();
    let barrier = open(store.into(), seal_key).await?;
    for numbers in numbers.chunks(KEYS_PER_COMMIT) {
        let batch = entries_of(numbers, mount, prefix, &data).await?;
        barrier.commit(batch).await?;
    }
    barrier.close().await?;
    Ok(())
}

async fn open(store: PathBuf, seal_key: &str) -> Result<Barrier, BoxError> {
    let physical: Arc<dyn Physical> = Arc::new(Sqlite::open(&store)?);
    let key = SecretBytes::new(std::fs::read(seal_key)?);
    let current = StaticKey::parse("benchmark", &key)?;
    let seal = SealConfig::Static { current, previous: None };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let barrier = Barrier::open(physical, seal, clock, random).await?;
    barrier.auto_unseal().await?;
    Ok(barrier)
}

/// The engine makes none.
struct NoPasswords;

#[async_trait]
impl Passwords for NoPasswords {
    async fn generate(&self, _policy: &str) -> Result<Option<SecretString>, Error> {
        Ok(None)
    }
}

/// What the engine stores of these keys, under its mount.
async fn entries_of(
    numbers: &[usize],
    mount: &str,
    prefix: &str,
    data: &Map<String, Value>,
) -> Result<Batch, BoxError> {
    let memory = Arc::new(MemoryEntries::default());
    let options = [("version".to_owned(), "2".to_owned())];
    let info = Arc::new(MountInfo { options: options.into(), ..MountInfo::default() });
    let engine = kv::backend(Context {
        storage: View::new(memory.clone(), &format!("logical/{mount}/")),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        passwords: Arc::new(NoPasswords),
        mount: info.clone(),
    });
    engine.start().await?;
    for number in numbers {
        let request = Request {
            id: String::new(),
            operation: Operation::Update,
            path: format!("data/{prefix}{number:07}"),
            mount: info.clone(),
            data: data.clone(),
            caller: None,
            connection: Connection::default(),
            headers: Default::default(),
            wrap_ttl: None,
            looked_at: LookedAt::default(),
        };
        engine.handle(&request).await?;
    }
    let mut batch = memory.to_batch();
    // The mount's own settings are there already.
    batch.0.retain(|change| matches!(change, Change::Put(key, _) if !key.ends_with("/config")));
    Ok(batch)
}
