//! Makes the stores that `tests/fixtures` keeps of each format, one for each kind of seal.
//!
//! ```text
//! cargo run -p holdfast-barrier --example make_fixture -- crates/barrier/tests/fixtures/format-1
//! ```
//!
//! Run once for a new format, by the release that brings it. Prints the shares in hex: the test
//! needs them.

use std::path::Path;
use std::sync::Arc;

use holdfast_barrier::physical::Sqlite;
use holdfast_barrier::{Barrier, Batch, Entries, SealConfig, SharePlan, StaticKey};
use holdfast_types::{SecretBytes, SystemClock, SystemRandom};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let directory = std::env::args().nth(1).ok_or("usage: make_fixture <directory>")?;
    let directory = Path::new(&directory);
    make(&directory.join("shamir.db"), SealConfig::Shamir).await?;
    let current = StaticKey::parse("fixture", &SecretBytes::new(vec![7; 32]))?;
    make(&directory.join("static.db"), SealConfig::Static { current, previous: None }).await
}

async fn make(path: &Path, seal: SealConfig) -> Result<(), Failure> {
    let physical = Arc::new(Sqlite::open(path)?);
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let is_shamir = matches!(seal, SealConfig::Shamir);
    let barrier = Barrier::open(physical, seal, clock, random).await?;
    let mut batch = Batch::new();
    batch.put("first", b"written at initialisation".to_vec());
    let shares = barrier.initialize(Some(SharePlan::new(3, 2)?), batch).await?.shares;
    for share in &shares {
        println!("{} {}", path.display(), hex::encode(share.expose()));
    }
    if is_shamir {
        barrier.unseal(shares[0].clone()).await?;
        barrier.unseal(shares[1].clone()).await?;
    } else {
        barrier.auto_unseal().await?;
    }
    barrier.rotate().await?;
    let mut batch = Batch::new();
    batch.put("second", b"written in term 2".to_vec());
    batch.put("folder/large", vec![0x5a; 10_000]);
    barrier.commit(batch).await?;
    Ok(barrier.close().await?)
}
