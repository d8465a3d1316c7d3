//! Keys of a transit mount that go from one engine to the other: what either made with a key, the
//! other opens and verifies.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{Target, http};

/// Every kind of key, with what is said of it when it is made.
fn kinds() -> Vec<Value> {
    vec![
        json!({ "type": "aes128-gcm96" }),
        json!({ "type": "aes256-gcm96" }),
        json!({ "type": "aes256-gcm96", "derived": true }),
        json!({ "type": "aes128-gcm96", "derived": true, "convergent_encryption": true }),
        json!({ "type": "chacha20-poly1305", "derived": true, "convergent_encryption": true }),
        json!({ "type": "chacha20-poly1305" }),
        json!({ "type": "ed25519" }),
        json!({ "type": "ed25519", "derived": true }),
        json!({ "type": "ecdsa-p256" }),
        json!({ "type": "ecdsa-p384" }),
        json!({ "type": "ecdsa-p521" }),
        json!({ "type": "rsa-2048" }),
        json!({ "type": "rsa-3072" }),
        json!({ "type": "rsa-4096" }),
        json!({ "type": "hmac", "key_size": 64 }),
    ]
}

/// Ways to sign, some of which say nothing to some kinds of keys.
fn schemes(kind: &str) -> Vec<Value> {
    let mut schemes = vec![json!({})];
    if kind.starts_with("ecdsa") {
        schemes.push(json!({ "marshaling_algorithm": "jws" }));
        for hash in ["sha1", "sha2-224", "sha2-384", "sha2-512", "sha3-256", "sha3-512"] {
            schemes.push(json!({ "hash_algorithm": hash }));
        }
    }
    if kind.starts_with("rsa") {
        for hash in ["sha2-256", "sha2-384", "sha2-512"] {
            schemes.push(json!({ "hash_algorithm": hash, "signature_algorithm": "pkcs1v15" }));
            for salt in ["auto", "hash", "20"] {
                schemes.push(json!({ "hash_algorithm": hash, "salt_length": salt }));
            }
        }
    }
    schemes
}

/// Makes keys of every kind at `from`, backs them up, restores them at `to`, and has each engine
/// open what the other sealed. Returns how many things were compared.
///
/// # Errors
/// What one of them made and the other did not take.
pub fn hand_over(from: Target<'_>, to: Target<'_>) -> Result<usize> {
    let mut compared = 0;
    for side in [from, to] {
        ask(side, "sys/mounts/handed", Some(&json!({ "type": "transit" })))?;
    }
    for (index, mut settings) in kinds().into_iter().enumerate() {
        let described = settings.to_string();
        let kind = settings["type"].as_str().unwrap_or_default().to_owned();
        settings["exportable"] = true.into();
        settings["allow_plaintext_backup"] = true.into();
        let path = |verb: &str| format!("handed/{verb}/k{index}");
        let made = ask(from, &path("keys"), Some(&settings))?;
        if !kind.starts_with("rsa") {
            ask(from, &format!("handed/keys/k{index}/rotate"), Some(&json!({})))?;
        }
        let backup = ask(from, &path("backup"), None)?;
        ask(to, &path("restore"), Some(&json!({ "backup": backup["backup"] })))?;
        let again = ask(to, &path("backup"), None)?;
        ask(
            from,
            &format!("handed/restore/again{index}"),
            Some(&json!({ "backup": again["backup"] })),
        )
        .with_context(|| format!("{described}: its way back"))?;
        for (maker, taker) in [(from, to), (to, from)] {
            compared +=
                exchange(maker, taker, index, &kind, &made).with_context(|| described.clone())?;
        }
        let sides = [from, to].map(|side| convergent(side, index, &settings));
        let [one, other] = sides;
        ensure!(one? == other?, "{described}: the same plaintext gives two ciphertexts");
    }
    Ok(compared)
}

/// What `maker` seals and signs, `taker` opens and verifies.
fn exchange(
    maker: Target<'_>,
    taker: Target<'_>,
    index: usize,
    kind: &str,
    made: &Value,
) -> Result<usize> {
    const CONTEXT: &str = "Y29udGV4dA==";
    const INPUT: &str = "bWVzc2FnZQ==";
    let path = |verb: &str| format!("handed/{verb}/k{index}");
    let mut compared = 0;
    if made["supports_encryption"] == true {
        let mut data = json!({ "plaintext": INPUT, "context": CONTEXT });
        if !kind.starts_with("rsa") {
            data["associated_data"] = INPUT.into();
        }
        let sealed = ask(maker, &path("encrypt"), Some(&data))?;
        data["ciphertext"] = sealed["ciphertext"].clone();
        let opened = ask(taker, &path("decrypt"), Some(&data))?;
        ensure!(opened["plaintext"] == INPUT, "{sealed} is opened as {opened}");
        compared += 1;
    }
    if made["supports_signing"] == true {
        for mut data in schemes(kind) {
            data["input"] = INPUT.into();
            data["context"] = CONTEXT.into();
            let signed = ask(maker, &path("sign"), Some(&data))?;
            data["signature"] = signed["signature"].clone();
            let verified = ask(taker, &path("verify"), Some(&data))?;
            ensure!(verified["valid"] == true, "{data} is not verified");
            data["input"] = CONTEXT.into();
            let verified = ask(taker, &path("verify"), Some(&data))?;
            ensure!(verified["valid"] == false, "{data} is verified");
            compared += 2;
        }
    }
    for algorithm in ["sha1", "sha2-224", "sha2-256", "sha2-512", "sha3-256", "sha3-512"] {
        let mut data = json!({ "input": INPUT });
        let hmac = ask(maker, &format!("{}/{algorithm}", path("hmac")), Some(&data))?;
        data["hmac"] = hmac["hmac"].clone();
        let verified = ask(taker, &format!("{}/{algorithm}", path("verify")), Some(&data))?;
        ensure!(verified["valid"] == true, "{data} is not verified");
        compared += 1;
    }
    Ok(compared)
}

/// The ciphertext of a key that always gives the same one.
fn convergent(side: Target<'_>, index: usize, settings: &Value) -> Result<Value> {
    if settings["convergent_encryption"] != true {
        return Ok(Value::Null);
    }
    let data = json!({ "plaintext": "c2FtZQ==", "context": "Y29udGV4dA==" });
    ask(side, &format!("handed/encrypt/k{index}"), Some(&data))
}

/// The data of an answer.
fn ask(target: Target<'_>, path: &str, body: Option<&Value>) -> Result<Value> {
    let text = body.map(Value::to_string);
    let path = format!("/v1/{path}");
    let request = http::Request {
        method: if body.is_some() { "POST" } else { "GET" },
        path: &path,
        headers: vec![("X-Vault-Token", target.root_token)],
        body: text.as_deref().map(str::as_bytes),
    };
    let response = http::send(target.address, target.trust, &request)?;
    if !(200..300).contains(&response.status) {
        let said = String::from_utf8_lossy(&response.body);
        bail!("{path} at {}: {} {said}", target.address, response.status);
    }
    if response.body.is_empty() {
        return Ok(Value::Null);
    }
    let mut answer: Value = serde_json::from_slice(&response.body).context("parse the answer")?;
    Ok(answer["data"].take())
}
