use holdfast_testkit::FakeClock;
use holdfast_types::{SecretBytes, SystemRandom};

use super::*;
use crate::physical::{InMemory, Sqlite};
use crate::{KeySetSum, QuorumError, ShareError, StaticKey, UnsealError};

async fn open(physical: &Arc<dyn Physical>, seal: SealConfig) -> Barrier {
    let clock = Arc::new(FakeClock::at(1_795_000_000));
    Barrier::open(physical.clone(), seal, clock, Arc::new(SystemRandom)).await.unwrap()
}

fn memory() -> Arc<dyn Physical> {
    Arc::new(InMemory::new())
}

fn plan(shares: i64, threshold: i64) -> SharePlan {
    SharePlan::new(shares, threshold).unwrap()
}

fn static_key(id: &str, byte: u8) -> StaticKey {
    StaticKey::parse(id, &SecretBytes::new(vec![byte; 32])).unwrap()
}

fn static_seal(current: StaticKey, previous: Option<StaticKey>) -> SealConfig {
    SealConfig::Static { current, previous }
}

fn batch(entries: &[(&str, &str)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in entries {
        batch.put(*key, value.as_bytes().to_vec());
    }
    batch
}

async fn text(entries: &dyn Entries, key: &str) -> String {
    let value = entries.get(key).await.unwrap().unwrap();
    String::from_utf8(value.to_vec()).unwrap()
}

/// An unsealed barrier over `physical`, with one entry, and its shares, 3 of 5.
async fn unsealed(physical: &Arc<dyn Physical>) -> (Barrier, Vec<SecretBytes>) {
    let barrier = open(physical, SealConfig::Shamir).await;
    let entries = batch(&[("kv/first", "written at initialisation")]);
    let shares = barrier.initialize(Some(plan(5, 3)), entries).await.unwrap().shares;
    for share in &shares[..3] {
        barrier.unseal(share.clone()).await.unwrap();
    }
    (barrier, shares)
}

#[tokio::test]
async fn a_threshold_of_shares_unseals() {
    let physical = memory();
    let barrier = open(&physical, SealConfig::Shamir).await;
    let status = barrier.seal_status();
    assert!(!status.initialized && status.sealed);
    let early = barrier.unseal(SecretBytes::new(vec![1; 33])).await;
    assert!(matches!(early, Err(UnsealError::NotInitialized)));

    let entries = batch(&[("kv/first", "value")]);
    let shares = barrier.initialize(Some(plan(5, 3)), entries).await.unwrap().shares;
    assert_eq!(shares.len(), 5);
    // As after a restart.
    let barrier = open(&physical, SealConfig::Shamir).await;
    for (index, (share, want)) in
        [(4, 1), (4, 1), (1, 2), (2, 0)].into_iter().map(|(i, want)| (&shares[i], want)).enumerate()
    {
        let status = barrier.unseal(share.clone()).await.unwrap();
        assert_eq!((status.progress, status.threshold, status.shares), (want, 3, 5), "{index}");
        assert_eq!(status.sealed, want > 0);
        assert_eq!(status.nonce.is_empty(), want == 0);
    }
    assert_eq!(text(&barrier, "kv/first").await, "value");
    let again = barrier.unseal(shares[0].clone()).await.unwrap();
    assert!(!again.sealed, "a further share changes nothing");

    barrier.seal();
    assert!(matches!(barrier.get("kv/first").await, Err(EntryError::Sealed)));
    assert!(matches!(barrier.list_page("", None, None).await, Err(EntryError::Sealed)));
    assert!(matches!(barrier.scan("").await, Err(EntryError::Sealed)));
    assert!(matches!(barrier.commit(Batch::new()).await, Err(EntryError::Sealed)));
    assert!(matches!(barrier.key_status(), Err(EntryError::Sealed)));
    assert!(matches!(barrier.rotate().await, Err(EntryError::Sealed)));
    assert!(matches!(
        barrier.rekey(&NewShares::generate(plan(1, 1), &SystemRandom)).await,
        Err(EntryError::Sealed)
    ));
}

#[tokio::test]
async fn wrong_shares_are_refused_at_the_threshold_and_the_attempt_starts_over() {
    let physical = memory();
    let (barrier, shares) = unsealed(&physical).await;
    barrier.seal();
    barrier.unseal(shares[0].clone()).await.unwrap();
    barrier.unseal(shares[1].clone()).await.unwrap();
    let wrong = barrier.unseal(SecretBytes::new((0..33).collect())).await;
    assert!(matches!(wrong, Err(UnsealError::Share(ShareError::Wrong | ShareError::Combine(_)))));
    let status = barrier.seal_status();
    assert_eq!((status.progress, status.sealed), (0, true));

    barrier.unseal(shares[0].clone()).await.unwrap();
    assert_eq!(barrier.reset_unseal().progress, 0);
    for share in &shares[2..] {
        barrier.unseal(share.clone()).await.unwrap();
    }
    assert!(!barrier.is_sealed());
}

#[tokio::test]
async fn initialisation_happens_once() {
    let physical = memory();
    let (barrier, _) = unsealed(&physical).await;
    for barrier in [barrier, open(&physical, SealConfig::Shamir).await] {
        let again = barrier.initialize(Some(plan(1, 1)), Batch::new()).await;
        assert!(matches!(again, Err(InitializeError::Already)));
    }
    let fresh = open(&memory(), SealConfig::Shamir).await;
    let without = fresh.initialize(None, Batch::new()).await;
    assert!(matches!(without, Err(InitializeError::NoShares)));
    assert!(!fresh.seal_status().initialized);
}

#[tokio::test]
async fn the_static_seal_opens_by_its_key_alone() {
    let physical = memory();
    let barrier = open(&physical, static_seal(static_key("k1", 1), None)).await;
    barrier.initialize(None, batch(&[("a", "1")])).await.unwrap();
    assert!(!barrier.auto_unseal().await.unwrap().sealed);
    assert_eq!(text(&barrier, "a").await, "1");

    // The next key takes over from the previous one, which is then needed no more.
    let next = static_seal(static_key("k2", 2), Some(static_key("k1", 1)));
    assert!(!open(&physical, next).await.auto_unseal().await.unwrap().sealed);
    let barrier = open(&physical, static_seal(static_key("k2", 2), None)).await;
    assert!(!barrier.auto_unseal().await.unwrap().sealed);
    assert_eq!(text(&barrier, "a").await, "1");

    let other = open(&physical, static_seal(static_key("k3", 2), None)).await.auto_unseal().await;
    assert!(matches!(other, Err(UnsealError::OtherKey { wanted, .. }) if wanted == "k2"));
    let wrong = open(&physical, static_seal(static_key("k2", 9), None)).await.auto_unseal().await;
    assert!(matches!(wrong, Err(UnsealError::WrongKey(id)) if id == "k2"));
    let shamir = open(&physical, SealConfig::Shamir).await;
    let shares = shamir.unseal(SecretBytes::new(vec![1; 33])).await;
    assert!(matches!(shares, Err(UnsealError::OtherSeal { .. })));
}

#[tokio::test]
async fn recovery_shares_prove_a_quorum_but_do_not_unseal() {
    let physical = memory();
    let barrier = open(&physical, static_seal(static_key("k1", 1), None)).await;
    let shares = barrier.initialize(Some(plan(3, 2)), Batch::new()).await.unwrap().shares;
    let unseal = barrier.unseal(shares[0].clone()).await;
    assert!(matches!(unseal, Err(UnsealError::OtherWay("static"))));
    barrier.auto_unseal().await.unwrap();
    barrier.check_quorum(&shares[1..]).await.unwrap();
    let new = NewShares::generate(plan(2, 2), &SystemRandom);
    barrier.rekey(&new).await.unwrap();
    barrier.check_quorum(new.shares()).await.unwrap();
    let old = barrier.check_quorum(&shares[1..]).await;
    assert!(matches!(old, Err(QuorumError::Share(ShareError::Wrong))));
}

#[tokio::test]
async fn rekeying_replaces_the_shares_and_keeps_the_entries() {
    let physical = memory();
    let (barrier, old) = unsealed(&physical).await;
    barrier.check_quorum(&old[1..4]).await.unwrap();
    let new = NewShares::generate(plan(2, 2), &SystemRandom);
    barrier.check_quorum(&old[1..4]).await.unwrap();
    barrier.rekey(&new).await.unwrap();
    let new = new.shares();
    let stale = barrier.check_quorum(&old[1..3]).await;
    assert!(matches!(stale, Err(QuorumError::Share(ShareError::Wrong))));
    barrier.check_quorum(new).await.unwrap();
    barrier.commit(batch(&[("kv/second", "after")])).await.unwrap();

    let barrier = open(&physical, SealConfig::Shamir).await;
    barrier.unseal(old[0].clone()).await.unwrap();
    assert!(barrier.unseal(old[1].clone()).await.is_err());
    barrier.unseal(new[0].clone()).await.unwrap();
    assert!(!barrier.unseal(new[1].clone()).await.unwrap().sealed);
    assert_eq!(text(&barrier, "kv/first").await, "written at initialisation");
    assert_eq!(text(&barrier, "kv/second").await, "after");
}

#[test]
fn new_shares_know_a_quorum_of_their_own() {
    let new = NewShares::generate(plan(3, 2), &SystemRandom);
    let other = NewShares::generate(plan(3, 2), &SystemRandom);
    new.check(&new.shares()[1..]).unwrap();
    for wrong in [&other.shares()[1..], &[new.shares()[0].clone(), other.shares()[1].clone()]] {
        assert!(matches!(new.check(wrong), Err(ShareError::Wrong)));
    }
}

#[tokio::test]
async fn the_root_key_of_a_seal_that_has_its_key_is_replaced() {
    let physical = memory();
    let seal = || static_seal(static_key("k1", 1), None);
    let barrier = open(&physical, seal()).await;
    let shares = barrier.initialize(Some(plan(3, 2)), Batch::new()).await.unwrap().shares;
    barrier.auto_unseal().await.unwrap();
    barrier.commit(batch(&[("kv/first", "before")])).await.unwrap();
    let before = physical.get(SEAL_PATH).await.unwrap();
    assert!(barrier.rotate_root().await.unwrap());
    assert_ne!(physical.get(SEAL_PATH).await.unwrap(), before);
    barrier.check_quorum(&shares[1..]).await.unwrap();

    let again = open(&physical, seal()).await;
    again.auto_unseal().await.unwrap();
    assert_eq!(text(&again, "kv/first").await, "before");
    again.check_quorum(&shares[1..]).await.unwrap();

    let (shamir, _) = unsealed(&memory()).await;
    assert!(!shamir.rotate_root().await.unwrap());
}

#[tokio::test]
async fn rotation_changes_new_entries_only() {
    let physical = memory();
    let (barrier, shares) = unsealed(&physical).await;
    let before = physical.get("kv/first").await.unwrap().unwrap();
    assert_eq!(barrier.key_status().unwrap().term, 1);
    let status = barrier.rotate().await.unwrap();
    assert_eq!((status.term, status.encryptions), (2, 0));
    barrier.commit(batch(&[("kv/second", "2")])).await.unwrap();
    assert_eq!(barrier.key_status().unwrap().encryptions, 1);
    assert_eq!(physical.get("kv/first").await.unwrap().unwrap(), before);
    assert_eq!(physical.get("kv/second").await.unwrap().unwrap()[..4], [0, 0, 0, 2]);

    let barrier = open(&physical, SealConfig::Shamir).await;
    for share in &shares[..3] {
        barrier.unseal(share.clone()).await.unwrap();
    }
    assert_eq!(text(&barrier, "kv/first").await, "written at initialisation");
    assert_eq!(text(&barrier, "kv/second").await, "2");
    assert_eq!(barrier.key_status().unwrap().term, 2);
}

#[tokio::test]
async fn a_damaged_or_moved_entry_is_named_and_the_others_are_served() {
    let physical = memory();
    let (barrier, _) = unsealed(&physical).await;
    barrier.commit(batch(&[("kv/a", "a"), ("kv/b", "b")])).await.unwrap();
    let mut value = physical.get("kv/a").await.unwrap().unwrap();
    *value.last_mut().unwrap() ^= 0x10;
    let moved = physical.get("kv/b").await.unwrap();
    let mark = KeySetSum::default();
    for (key, value) in [("kv/a", Some(value)), ("kv/c", moved)] {
        physical.commit(vec![Write { key: key.to_owned(), value, mark }]).await.unwrap();
    }
    for key in ["kv/a", "kv/c"] {
        let read = barrier.get(key).await;
        assert!(matches!(read, Err(EntryError::Damaged { key: named }) if named == key));
    }
    assert_eq!(text(&barrier, "kv/b").await, "b");
}

#[tokio::test]
async fn an_entry_that_vanished_or_came_from_nowhere_keeps_the_barrier_sealed() {
    for (key, value) in [("kv/first", None), ("kv/zeroth", Some(vec![0; 40]))] {
        let physical = memory();
        let (_, shares) = unsealed(&physical).await;
        let write = Write { key: key.to_owned(), value, mark: KeySetSum::default() };
        physical.commit(vec![write]).await.unwrap();
        let barrier = open(&physical, SealConfig::Shamir).await;
        barrier.unseal(shares[0].clone()).await.unwrap();
        barrier.unseal(shares[1].clone()).await.unwrap();
        let unsealed = barrier.unseal(shares[2].clone()).await;
        assert!(matches!(unsealed, Err(UnsealError::KeySet { .. })), "{key}");
        assert!(barrier.is_sealed());
    }
}

/// A store that is checked while it is served: what is missing is never said not to be there.
#[tokio::test]
async fn what_vanished_from_a_large_store_seals_it_again_and_it_is_not_opened_any_more() {
    let seal = || static_seal(static_key("test", 7), None);
    for (key, is_core) in [("logical/1/data/a", false), ("sys/policy/a", true)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let barrier = open(&(Arc::new(Sqlite::open(&path).unwrap()) as _), seal()).await;
        barrier.initialize(None, Batch::new()).await.unwrap();
        barrier.auto_unseal().await.unwrap();
        let entries = [("logical/1/data/a", "a"), ("logical/1/data/b", "b"), ("sys/policy/a", "a")];
        barrier.commit(batch(&entries)).await.unwrap();
        barrier.close().await.unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute("DELETE FROM entry WHERE key = ?1", [key]).unwrap();
        drop(connection);
        std::fs::remove_file(path.with_extension("db.clean")).unwrap();

        let physical: Arc<dyn Physical> = Arc::new(Sqlite::open_and_check_beside(&path).unwrap());
        let barrier = open(&physical, seal()).await;
        let unsealed = barrier.auto_unseal().await;
        if is_core {
            assert!(matches!(unsealed, Err(UnsealError::KeySet { .. })), "{unsealed:?}");
            continue;
        }
        unsealed.unwrap();
        // Unless it is sealed already.
        if let Ok(found) = barrier.get("logical/1/data/b").await {
            assert_eq!(found.unwrap().as_slice(), b"b");
        }
        assert!(barrier.get(key).await.is_err());
        assert!(barrier.list_page("logical/1/data/", None, None).await.is_err());
        barrier.found_damaged().await;
        assert!(barrier.is_sealed());
        barrier.close().await.unwrap_err();
        match Sqlite::open(&path) {
            Err(error) => assert!(error.to_string().contains("store.db.suspect"), "{error}"),
            Ok(_) => panic!("opened"),
        }
        std::fs::remove_file(path.with_extension("db.suspect")).unwrap();
        let barrier = open(&(Arc::new(Sqlite::open(&path).unwrap()) as _), seal()).await;
        let unsealed = barrier.auto_unseal().await;
        assert!(matches!(unsealed, Err(UnsealError::KeySet { .. })), "{unsealed:?}");
    }
}

#[tokio::test]
async fn damage_to_the_keys_is_named() {
    for key in [SEAL_PATH, KEYRING_PATH] {
        let physical = memory();
        let (_, shares) = unsealed(&physical).await;
        let mut value = physical.get(key).await.unwrap().unwrap();
        *value.last_mut().unwrap() ^= 1;
        let write = Write { key: key.to_owned(), value: Some(value), mark: KeySetSum::default() };
        physical.commit(vec![write]).await.unwrap();
        let clock = Arc::new(FakeClock::at(1_795_000_000));
        let opened =
            Barrier::open(physical, SealConfig::Shamir, clock, Arc::new(SystemRandom)).await;
        let error = match opened {
            Err(error) => error,
            Ok(barrier) => {
                barrier.unseal(shares[0].clone()).await.unwrap();
                barrier.unseal(shares[1].clone()).await.unwrap();
                match barrier.unseal(shares[2].clone()).await {
                    Err(UnsealError::Entry(error)) => error,
                    other => panic!("{other:?}"),
                }
            }
        };
        assert!(matches!(error, EntryError::Damaged { key: named } if named == key));
    }
}

#[tokio::test]
async fn the_barriers_own_entries_are_out_of_reach() {
    let (barrier, _) = unsealed(&memory()).await;
    for key in [SEAL_PATH, KEYRING_PATH] {
        assert!(barrier.get(key).await.is_err());
        assert!(barrier.commit(batch(&[(key, "x")])).await.is_err());
        let mut delete = Batch::new();
        delete.delete(key);
        assert!(barrier.commit(delete).await.is_err());
    }
}

#[tokio::test]
async fn counting_runs_on_in_steps_while_many_write() {
    let (barrier, _) = unsealed(&memory()).await;
    let barrier = Arc::new(barrier);
    let before = barrier.key_status().unwrap().encryptions;
    let tasks = (0..4).map(|task| {
        let barrier = barrier.clone();
        tokio::spawn(async move {
            for round in 0..20 {
                let mut batch = Batch::new();
                for entry in 0..1000 {
                    batch.put(format!("bulk/{task}/{entry}"), vec![round]);
                }
                barrier.commit(batch).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(barrier.key_status().unwrap().encryptions, before + 80_000);
    assert_eq!(barrier.scan("bulk/").await.unwrap().len(), 4000);
}

#[tokio::test]
async fn a_seal_is_tried_on_a_store_without_opening_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.db");
    let physical: Arc<dyn Physical> = Arc::new(Sqlite::open(&path).unwrap());
    let barrier = open(&physical, static_seal(static_key("k", 1), None)).await;
    barrier.initialize(None, Batch::new()).await.unwrap();
    physical.close().await.unwrap();

    let tried = |seal: SealConfig, path| seal.try_on(path, &SystemRandom);
    let store = Some(path.as_path());
    assert!(tried(static_seal(static_key("k", 1), None), store).unwrap());
    assert!(tried(static_seal(static_key("l", 2), Some(static_key("k", 1))), store).unwrap());
    assert!(!tried(static_seal(static_key("k", 2), None), None).unwrap(), "none to try it on");
    let wrong = tried(static_seal(static_key("k", 2), None), store);
    assert!(matches!(wrong, Err(UnsealError::WrongKey(_))), "{wrong:?}");
    let other = tried(static_seal(static_key("l", 1), None), store);
    assert!(matches!(other, Err(UnsealError::OtherKey { .. })), "{other:?}");
    let shamir = tried(SealConfig::Shamir, store);
    assert!(matches!(shamir, Err(UnsealError::OtherSeal { .. })), "{shamir:?}");
}
