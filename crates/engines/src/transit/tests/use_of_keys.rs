//! Encrypting, signing, HMACs, from several sides at once.

use std::sync::Arc;

use super::*;

#[tokio::test]
async fn every_kind_does_what_it_says_it_does() {
    let mount = mount().await;
    for (index, settings) in kinds().into_iter().enumerate() {
        let name = format!("k{index}");
        let made = write(&mount, &format!("keys/{name}"), settings.clone()).await;
        if made["supports_encryption"] == true {
            let sealed = encrypt(&mount, &name, "text").await;
            decrypts_to(&mount, &name, &sealed, "text").await;
            write(&mount, &format!("keys/{name}/rotate"), json!({})).await;
            let data = json!({ "ciphertext": sealed, "context": base64(b"context") });
            let rewrapped = write(&mount, &format!("rewrap/{name}"), data).await;
            let rewrapped = rewrapped["ciphertext"].as_str().unwrap();
            assert!(rewrapped.starts_with("vault:v2:"), "{rewrapped}");
            decrypts_to(&mount, &name, rewrapped, "text").await;
        }
        let input = json!({ "input": base64(b"message"), "context": base64(b"context") });
        if made["supports_signing"] == true {
            let signed = write(&mount, &format!("sign/{name}"), input.clone()).await;
            let mut data = input.clone();
            data["signature"] = signed["signature"].clone();
            let answer = write(&mount, &format!("verify/{name}"), data.clone()).await;
            assert_eq!(answer["valid"], true, "{settings}");
            data["input"] = base64(b"other").into();
            let answer = write(&mount, &format!("verify/{name}"), data).await;
            assert_eq!(answer["valid"], false, "{settings}");
        }
        let hmac = write(&mount, &format!("hmac/{name}"), input.clone()).await;
        let data = json!({ "input": input["input"], "hmac": hmac["hmac"] });
        assert_eq!(write(&mount, &format!("verify/{name}"), data).await["valid"], true);
    }
}

#[tokio::test]
async fn convergent_encryption_converges_for_one_context() {
    let mount = mount().await;
    let settings = json!({ "derived": true, "convergent_encryption": true });
    write(&mount, "keys/c", settings).await;
    let one = encrypt(&mount, "c", "text").await;
    assert_eq!(one, encrypt(&mount, "c", "text").await);
    assert_ne!(one, encrypt(&mount, "c", "other").await);
    let data = json!({ "plaintext": base64(b"text"), "context": base64(b"another") });
    assert_ne!(one, write(&mount, "encrypt/c", data).await["ciphertext"]);
}

/// Whatever is rotated, trimmed or configured meanwhile: what was encrypted can be decrypted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_are_rotated_while_they_are_in_use() {
    let mount = Arc::new(mount().await);
    write(&mount, "keys/a", json!({})).await;
    let encrypting = (0..4).map(|_| {
        let mount = Arc::clone(&mount);
        tokio::spawn(async move {
            let mut sealed = Vec::new();
            for _ in 0..200 {
                sealed.push(encrypt(&mount, "a", "text").await);
            }
            sealed
        })
    });
    let encrypting: Vec<_> = encrypting.collect();
    for _ in 0..30 {
        write(&mount, "keys/a/rotate", json!({})).await;
    }
    assert_eq!(read(&mount, "keys/a").await["latest_version"], 31);
    for sealed in encrypting {
        for ciphertext in sealed.await.unwrap() {
            decrypts_to(&mount, "a", &ciphertext, "text").await;
        }
    }
}

#[tokio::test]
async fn a_key_in_use_is_not_read_again() {
    let mount = mount().await;
    write(&mount, "keys/a", json!({})).await;
    mount.storage.delete("policy/a").await.unwrap();
    mount.storage.delete("version/1/a").await.unwrap();
    let sealed = encrypt(&mount, "a", "text").await;
    decrypts_to(&mount, "a", &sealed, "text").await;
}

#[tokio::test]
async fn keys_that_no_cache_holds_are_there_all_the_same() {
    let mount = mount().await;
    write(&mount, "cache-config", json!({ "size": 10 })).await;
    let mut sealed = Vec::new();
    for index in 0..60 {
        sealed.push(encrypt(&mount, &format!("k{index}"), "text").await);
    }
    for (index, ciphertext) in sealed.iter().enumerate() {
        decrypts_to(&mount, &format!("k{index}"), ciphertext, "text").await;
    }
}

/// An update of a key that is not there must not make it: that is for those who may create.
#[tokio::test]
async fn an_update_makes_no_key() {
    let mount = mount().await;
    let data = json!({ "plaintext": base64(b"text") });
    assert_eq!(refusal(&mount, "encrypt/a", data.clone()).await, "encryption key not found");
    for (made, want) in [(false, Some(false)), (true, Some(true))] {
        if made {
            write(&mount, "keys/a", json!({})).await;
        }
        let request = mount.request(Update, "encrypt/a", &data);
        assert_eq!(mount.backend.exists(&request).await.unwrap(), want);
        let request = mount.request(Update, "decrypt/a", &data);
        assert_eq!(mount.backend.exists(&request).await.unwrap(), None);
    }
}
