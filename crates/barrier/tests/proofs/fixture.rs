//! Stores of every format that was ever released are opened, and read.

use std::path::Path;
use std::sync::Arc;

use holdfast_barrier::physical::Sqlite;
use holdfast_barrier::{Barrier, Entries as _, SealConfig, StaticKey};
use holdfast_types::{SecretBytes, SystemClock, SystemRandom};

const SHAMIR_SHARES: [&str; 2] = [
    "1c1805ce68bd96c61a5046016dcf89628ef5a9a453dd1b04faeb02489aad0b1137",
    "4153819801e598e8e4922af8028acf51c2cc1417102443d4b5a9b9aab0fa0c451e",
];
const RECOVERY_SHARES: [&str; 2] = [
    "a503cf4af17def4858d66d8340be520d96e5239671c62c8264d3dbb4ed6f8b6bdd",
    "986367f328cc3daf22877876849cfd6feff09217e0e075067caee5b6e282389f9e",
];

fn shares(hex: [&str; 2]) -> [SecretBytes; 2] {
    hex.map(|share| SecretBytes::new(hex::decode(share).unwrap()))
}

/// A copy of a fixture, with the record of its clean stop: opening changes the files.
async fn open(directory: &Path, name: &str, seal: SealConfig) -> Barrier {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let path = directory.join("store.db");
    for (suffix, copy) in [("", "store.db"), (".clean", "store.db.clean")] {
        let original = fixtures.join(format!("{name}{suffix}"));
        std::fs::copy(original, directory.join(copy)).unwrap();
    }
    let physical = Sqlite::open(&path).unwrap();
    assert_eq!(physical.damaged(), [""; 0]);
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    Barrier::open(Arc::new(physical), seal, clock, random).await.unwrap()
}

async fn check(barrier: &Barrier) {
    let first = barrier.get("first").await.unwrap().unwrap();
    assert_eq!(first.as_slice(), b"written at initialisation");
    let second = barrier.get("second").await.unwrap().unwrap();
    assert_eq!(second.as_slice(), b"written in term 2");
    let large = barrier.get("folder/large").await.unwrap().unwrap();
    assert_eq!(large.as_slice(), [0x5a; 10_000]);
    assert_eq!(barrier.list_page("folder/", None, None).await.unwrap(), ["large"]);
    assert_eq!(barrier.key_status().unwrap().term, 2);
}

#[tokio::test]
async fn format_1_with_shamirs_seal_opens() {
    let directory = tempfile::tempdir().unwrap();
    let barrier = open(directory.path(), "format-1/shamir.db", SealConfig::Shamir).await;
    for share in shares(SHAMIR_SHARES) {
        barrier.unseal(share).await.unwrap();
    }
    check(&barrier).await;
}

#[tokio::test]
async fn format_1_with_the_static_seal_opens() {
    let directory = tempfile::tempdir().unwrap();
    let current = StaticKey::parse("fixture", &SecretBytes::new(vec![7; 32])).unwrap();
    let seal = SealConfig::Static { current, previous: None };
    let barrier = open(directory.path(), "format-1/static.db", seal).await;
    barrier.auto_unseal().await.unwrap();
    check(&barrier).await;
    barrier.close().await.unwrap();
    // What format 1 did not keep is kept from then on: the next start counts the core alone.
    let physical = Sqlite::open_and_check_beside(&directory.path().join("store.db")).unwrap();
    let current = StaticKey::parse("fixture", &SecretBytes::new(vec![7; 32])).unwrap();
    let seal = SealConfig::Static { current, previous: None };
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let barrier = Barrier::open(Arc::new(physical), seal, clock, random).await.unwrap();
    barrier.auto_unseal().await.unwrap();
    check(&barrier).await;
    barrier.check_quorum(&shares(RECOVERY_SHARES)).await.unwrap();
}
