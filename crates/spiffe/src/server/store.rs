//! The sealed store of a server, and the root that a server without an upstream makes itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_barrier::physical::{OpenError, Sqlite};
use holdfast_barrier::{
    Barrier, Batch, Entries, EntryError, InitializeError, SealConfig, StaticKey, StaticKeyError,
    UnsealError, View,
};
use holdfast_keys::x509::X509Error;
use holdfast_types::{Clock, Random, SecretBytes, SecretString, TrustDomain};
use serde::{Deserialize, Serialize};

use super::authority::upstream::{DiskError, DiskUpstream};

/// The database file in the data directory.
const FILE: &str = "spiffe.db";
/// What the one seal key is called in the store.
const KEY_ID: &str = "spiffe";
const ROOT_RECORD: &str = "spiffe/root";
const TEN_YEARS: Duration = Duration::from_secs(3653 * 86_400);

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The seal key is not 32 bytes.
    #[error("read the seal key")]
    SealKey(#[from] StaticKeyError),
    /// The file cannot be opened.
    #[error("open the store")]
    Open(#[from] OpenError),
    /// A new store cannot be made.
    #[error("make the store")]
    Initialize(#[from] InitializeError),
    /// The key is another one, or the store is damaged.
    #[error("unseal the store")]
    Unseal(#[from] UnsealError),
    /// Reading or writing failed.
    #[error("use the store")]
    Entry(#[from] EntryError),
    /// The root that is kept, or the one to be made, cannot be used.
    #[error("use the server's own root")]
    Root(#[from] DiskError),
    /// No root could be made.
    #[error("make a root")]
    MakeRoot(#[from] X509Error),
}

/// A root of the server's own.
#[derive(Serialize, Deserialize)]
struct Root {
    certificate: String,
    key: SecretString,
}

/// Opens the store in `directory` with the seal key, or makes one there. Blocks while the disk works.
///
/// # Errors
/// See [`StoreError`].
pub async fn open_sealed(
    directory: &Path,
    seal_key: &SecretBytes,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<Arc<Barrier>, StoreError> {
    let current = StaticKey::parse(KEY_ID, seal_key)?;
    let seal = SealConfig::Static { current, previous: None };
    let physical = Arc::new(Sqlite::open(&directory.join(FILE))?);
    let barrier = Barrier::open(physical, seal, clock, random).await?;
    match barrier.initialize(None, Batch::new()).await {
        Ok(_) | Err(InitializeError::Already) => {}
        Err(error) => return Err(error.into()),
    }
    barrier.auto_unseal().await?;
    Ok(Arc::new(barrier))
}

/// The root that a server without an upstream has: made once, and kept in its store.
///
/// # Errors
/// See [`StoreError`].
pub async fn own_root(
    entries: Arc<dyn Entries>,
    trust_domain: &TrustDomain,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<DiskUpstream, StoreError> {
    let store = View::new(entries, "");
    let root = match store.get_json::<Root>(ROOT_RECORD).await? {
        Some(root) => root,
        None => {
            let made = DiskUpstream::make_root(trust_domain, TEN_YEARS, clock.now(), random)?;
            let root = Root { certificate: made.0, key: made.1 };
            store.put_json(ROOT_RECORD, &root).await?;
            root
        }
    };
    Ok(DiskUpstream::from_pem(&root.certificate, &root.key, None)?)
}
