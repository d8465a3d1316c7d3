//! The engine as its mount answers.

mod certificates;
mod copies;
mod lifecycle;
mod use_of_keys;

use holdfast_logical::Operation::{Create, Read, Update};
use holdfast_logical::testing::Mount;
use serde_json::{Value, json};

use super::backend;
use super::encoding::base64;

/// Every kind of key that there is but RSA, which takes long to make: each with what is said of it.
fn kinds() -> Vec<Value> {
    vec![
        json!({ "type": "aes128-gcm96" }),
        json!({ "type": "aes256-gcm96", "derived": true }),
        json!({ "type": "chacha20-poly1305", "derived": true, "convergent_encryption": true }),
        json!({ "type": "ed25519" }),
        json!({ "type": "ed25519", "derived": true }),
        json!({ "type": "ecdsa-p256" }),
        json!({ "type": "ecdsa-p384" }),
        json!({ "type": "ecdsa-p521" }),
        json!({ "type": "hmac", "key_size": 48 }),
    ]
}

async fn mount() -> Mount {
    Mount::new(&[], backend).await
}

/// Writes, and gives the data of the answer.
async fn write(mount: &Mount, path: &str, data: Value) -> Value {
    let (status, answer) = mount.ask(Update, path, data).await;
    assert!(matches!(status, 200 | 204), "{path}: {status} {answer}");
    answer
}

async fn read(mount: &Mount, path: &str) -> Value {
    let (status, answer) = mount.ask(Read, path, json!({})).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// What a refusal says.
async fn refusal(mount: &Mount, path: &str, data: Value) -> String {
    let (status, answer) = mount.ask(Update, path, data).await;
    assert_eq!(status, 400, "{path}: {answer}");
    answer.as_str().unwrap_or_default().to_owned()
}

/// Encrypts as the core has it done: where there is no such key, it is made.
async fn encrypt(mount: &Mount, name: &str, text: &str) -> String {
    let path = format!("encrypt/{name}");
    let data = json!({ "plaintext": base64(text.as_bytes()), "context": base64(b"context") });
    let exists = mount.backend.exists(&mount.request(Update, &path, &data)).await.unwrap();
    let operation = if exists == Some(false) { Create } else { Update };
    let (status, answer) = mount.ask(operation, &path, data).await;
    assert_eq!(status, 200, "{answer}");
    answer["ciphertext"].as_str().unwrap().to_owned()
}

async fn decrypts_to(mount: &Mount, name: &str, ciphertext: &str, text: &str) {
    let data = json!({ "ciphertext": ciphertext, "context": base64(b"context") });
    let answer = write(mount, &format!("decrypt/{name}"), data).await;
    assert_eq!(answer["plaintext"], base64(text.as_bytes()), "{name} {ciphertext}");
}
