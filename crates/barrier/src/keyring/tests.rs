use holdfast_types::SystemRandom;

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_795_000_000).unwrap()
}

fn reopened(keyring: &Keyring) -> Keyring {
    let root = RootKey::from_slice(&[9; 32]).unwrap();
    Keyring::open(&root, keyring.seal(&root, &SystemRandom)).unwrap()
}

#[test]
fn old_terms_stay_readable_and_new_values_take_the_newest() {
    let first = Keyring::generate(&SystemRandom, now());
    let old = first.encrypt("a", b"old", &SystemRandom);
    let second = reopened(&first.rotated(&SystemRandom, now()));
    let new = second.encrypt("a", b"new", &SystemRandom);
    assert_eq!((term(&old), term(&new)), (Ok(1), Ok(2)));
    assert_eq!(second.decrypt("a", old).unwrap().as_slice(), b"old");
    assert_eq!(second.decrypt("a", new.clone()).unwrap().as_slice(), b"new");
    assert_eq!(first.decrypt("a", new), Err(NotAuthentic));
}

#[test]
fn only_its_root_key_opens_it() {
    let keyring = Keyring::generate(&SystemRandom, now());
    let envelope = keyring.seal(&RootKey::from_slice(&[9; 32]).unwrap(), &SystemRandom);
    let wrong = RootKey::from_slice(&[8; 32]).unwrap();
    assert!(matches!(Keyring::open(&wrong, envelope), Err(KeyringError::NotAuthentic)));
}

#[test]
fn the_count_on_disk_is_never_too_low() {
    let fresh = Keyring::generate(&SystemRandom, now());
    assert_eq!(fresh.reserve(1), Err(Due::Note), "nothing is noted yet");
    let keyring = fresh.noted_further(1);
    assert_eq!(keyring.reserve(10), Ok(()));
    assert_eq!(keyring.status().encryptions, 10);
    assert_eq!(keyring.reserve(usize::try_from(ENCRYPTIONS_PER_STEP).unwrap()), Err(Due::Note));
    // As after a crash: what was noted counts as used.
    let after = reopened(&keyring);
    assert_eq!(after.status().encryptions, ENCRYPTIONS_PER_STEP);
    assert_eq!(after.reserve(1), Err(Due::Note));
}

#[test]
fn copies_share_one_count() {
    let keyring = Keyring::generate(&SystemRandom, now()).noted_further(1);
    let copy = keyring.copy();
    keyring.reserve(3).unwrap();
    copy.reserve(4).unwrap();
    assert_eq!(keyring.status().encryptions, 7);
}

#[test]
fn a_term_ends_well_before_its_nonces_do() {
    let keyring = Keyring::generate(&SystemRandom, now());
    keyring.newest().used.store(ENCRYPTIONS_PER_TERM, Ordering::Relaxed);
    assert_eq!(keyring.noted_further(1).reserve(1), Err(Due::Rotate));
    let rotated = keyring.rotated(&SystemRandom, now());
    assert_eq!(rotated.status(), KeyStatus { term: 2, install_time: now(), encryptions: 0 });
}

#[test]
fn the_key_set_key_outlives_rotation() {
    let keyring = Keyring::generate(&SystemRandom, now());
    assert_eq!(keyring.mark("a"), reopened(&keyring.rotated(&SystemRandom, now())).mark("a"));
}
