//! Versions that come and go, and what stays over a restart.

use std::sync::Arc;
use std::time::Duration;

use holdfast_logical::testing::OnePassword;
use holdfast_logical::{Context, MountInfo};
use holdfast_types::SystemRandom;

use super::*;

#[tokio::test]
async fn keys_rotate_by_themselves_when_their_time_has_come() {
    let mount = mount().await;
    write(&mount, "keys/often", json!({ "auto_rotate_period": "1h" })).await;
    write(&mount, "keys/seldom", json!({ "auto_rotate_period": "24h" })).await;
    write(&mount, "keys/never", json!({})).await;
    let latest =
        async |name: &str| read(&mount, &format!("keys/{name}")).await["latest_version"].clone();
    for (hours, want) in [(0, [1, 1, 1]), (2, [2, 1, 1]), (2, [3, 1, 1]), (24, [4, 2, 1])] {
        mount.clock.advance(Duration::from_secs(hours * 3600));
        mount.backend.tick().await.unwrap();
        mount.backend.tick().await.unwrap();
        let got = [latest("often").await, latest("seldom").await, latest("never").await];
        assert_eq!(got, want, "after {hours} hours more");
    }
}

#[tokio::test]
async fn trimmed_versions_are_gone_from_the_store() {
    let mount = mount().await;
    let sealed = encrypt(&mount, "a", "text").await;
    for _ in 0..3 {
        write(&mount, "keys/a/rotate", json!({})).await;
    }
    assert_eq!(mount.storage.scan("version/").await.unwrap().len(), 4);
    let settings = json!({ "min_decryption_version": 3, "min_encryption_version": 3 });
    write(&mount, "keys/a/config", settings).await;
    assert!(
        refusal(&mount, "decrypt/a", json!({ "ciphertext": sealed })).await.contains("too old")
    );
    assert_eq!(mount.storage.scan("version/").await.unwrap().len(), 4, "still there, out of use");
    write(&mount, "keys/a/trim", json!({ "min_available_version": 3 })).await;
    let left = mount.storage.scan("version/").await.unwrap();
    assert_eq!(left, ["3/a", "4/a"]);
    write(&mount, "keys/a/config", json!({ "deletion_allowed": true })).await;
    let (status, _) = mount.ask(holdfast_logical::Operation::Delete, "keys/a", json!({})).await;
    assert_eq!(status, 204);
    assert!(mount.storage.scan("").await.unwrap().is_empty());
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let mount = mount().await;
    for (index, settings) in kinds().into_iter().enumerate() {
        write(&mount, &format!("keys/k{index}"), settings).await;
        write(&mount, &format!("keys/k{index}/rotate"), json!({})).await;
    }
    let sealed = encrypt(&mount, "k0", "text").await;
    write(&mount, "config/keys", json!({ "disable_upsert": true })).await;
    write(&mount, "cache-config", json!({ "size": 20 })).await;
    let restarted = backend(Context {
        storage: mount.storage.clone(),
        clock: mount.clock.clone(),
        random: Arc::new(SystemRandom),
        passwords: Arc::new(OnePassword),
        mount: Arc::new(MountInfo::default()),
    });
    restarted.start().await.unwrap();
    let ask = async |operation, path: &str, data: Value| {
        let request = mount.request(operation, path, &data);
        let response = restarted.handle(&request).await.unwrap().unwrap();
        Value::Object(response.data.unwrap())
    };
    for index in 0..kinds().len() {
        let path = format!("keys/k{index}");
        assert_eq!(ask(Read, &path, json!({})).await, read(&mount, &path).await);
    }
    let answer = ask(Update, "decrypt/k0", json!({ "ciphertext": sealed })).await;
    assert_eq!(answer["plaintext"], base64(b"text"));
    assert_eq!(ask(Read, "config/keys", json!({})).await["disable_upsert"], true);
    assert_eq!(ask(Read, "cache-config", json!({})).await["size"], 20);
}

/// Nothing of a key stands in the clear where it must not: not in an answer, not in a refusal.
#[tokio::test]
async fn reading_a_key_shows_no_key() {
    let mount = mount().await;
    for (index, settings) in kinds().into_iter().enumerate() {
        let path = format!("keys/k{index}");
        let made = write(&mount, &path, settings).await.to_string();
        let stored = mount.storage.get(&format!("version/1/k{index}")).await.unwrap().unwrap();
        let stored: Value = serde_json::from_slice(&stored).unwrap();
        for secret in ["private", "hmac_key"] {
            let secret = stored[secret].as_str().unwrap();
            assert!(!made.contains(secret) && !secret.is_empty());
        }
    }
}
