//! Keys that leave and come: backups, exports, imports.

use super::super::der::{self, Reader};
use super::super::encoding::from_base64;
use super::super::key_type::KeyType;
use super::super::pem;
use super::super::rsa::Rsa;
use super::super::wrapping::{oaep, wrap};
use super::*;
use holdfast_types::SystemRandom;

#[tokio::test]
async fn what_is_backed_up_is_restored() {
    let mount = mount().await;
    let mut all = kinds();
    all.push(json!({ "type": "rsa-2048" }));
    for (index, mut settings) in all.into_iter().enumerate() {
        settings["exportable"] = true.into();
        settings["allow_plaintext_backup"] = true.into();
        let (name, copy) = (format!("k{index}"), format!("copy{index}"));
        let made = write(&mount, &format!("keys/{name}"), settings.clone()).await;
        if index % 2 == 0 {
            write(&mount, &format!("keys/{name}/rotate"), json!({})).await;
        }
        if index % 4 == 0 {
            let settings = json!({ "min_decryption_version": 2, "min_encryption_version": 2 });
            write(&mount, &format!("keys/{name}/config"), settings).await;
        }
        if index % 8 == 0 {
            write(&mount, &format!("keys/{name}/trim"), json!({ "min_available_version": 2 }))
                .await;
        }
        let backup = read(&mount, &format!("backup/{name}")).await;
        write(&mount, &format!("restore/{copy}"), backup.clone()).await;
        let mut original = read(&mount, &format!("keys/{name}")).await;
        let mut restored = read(&mount, &format!("keys/{copy}")).await;
        assert_eq!(restored["restore_info"]["version"], original["latest_version"]);
        original["name"].take();
        restored["name"].take();
        restored.as_object_mut().unwrap().remove("restore_info");
        assert_eq!(original, restored, "{settings}");
        for what in ["hmac-key", "encryption-key", "signing-key"] {
            let path = |name: &str| format!("export/{what}/{name}");
            let (status, one) = mount.ask(Read, &path(&name), json!({})).await;
            let (_, other) = mount.ask(Read, &path(&copy), json!({})).await;
            if status == 200 {
                assert_eq!(one["keys"], other["keys"], "{settings} {what}");
            }
        }
        if made["supports_encryption"] == true {
            let sealed = encrypt(&mount, &name, "text").await;
            decrypts_to(&mount, &copy, &sealed, "text").await;
        }
        let again = refusal(&mount, &format!("restore/{copy}"), backup).await;
        assert_eq!(again, format!("key \"{copy}\" already exists"));
    }
}

#[tokio::test]
async fn backups_that_are_none_are_refused_without_quoting_them() {
    let mount = mount().await;
    let settings = json!({ "exportable": true, "allow_plaintext_backup": true });
    write(&mount, "keys/a", settings).await;
    let backup = read(&mount, "backup/a").await;
    let text = from_base64(backup["backup"].as_str().unwrap()).unwrap();
    let whole: Value = serde_json::from_slice(&text).unwrap();
    let secret = whole["policy"]["keys"]["1"]["key"].as_str().unwrap().to_owned();
    // The empty place before the first version, as Go writes it.
    assert_eq!(whole["archived_keys"]["keys"][0]["time"], "0001-01-01T00:00:00Z");
    type Damage = fn(&mut Value);
    let damages: [(&str, Damage); 9] = [
        ("type", |backup| backup["policy"]["type"] = 11.into()),
        ("prefix", |backup| backup["policy"]["version_template"] = "x".into()),
        ("version", |backup| backup["policy"]["latest_version"] = 0.into()),
        ("version", |backup| backup["policy"]["latest_version"] = 7.into()),
        ("order", |backup| backup["policy"]["min_decryption_version"] = 9.into()),
        ("JSON", |backup| backup["policy"]["name"] = Value::Null),
        ("name", |backup| backup["policy"]["name"] = "a/b".into()),
        ("size", |backup| backup["policy"]["keys"]["1"]["key"] = "AAAA".into()),
        ("JSON", |backup| *backup = json!({})),
    ];
    for (want, damage) in damages {
        let mut damaged = whole.clone();
        damage(&mut damaged);
        let damaged = base64(damaged.to_string().as_bytes());
        let said = refusal(&mount, "restore", json!({ "backup": damaged })).await;
        assert!(said.contains(want), "{said}");
        assert!(!said.contains(&secret));
    }
}

#[tokio::test]
async fn what_is_wrapped_is_imported() {
    let mount = mount().await;
    let wrapping = read(&mount, "wrapping_key").await;
    let (_, spki) = pem::decode(wrapping["public_key"].as_str().unwrap()).unwrap();
    let wrapping = Rsa::from_spki(&spki).unwrap();
    for (index, mut settings) in kinds().into_iter().enumerate() {
        if settings["convergent_encryption"] == true {
            continue;
        }
        settings["exportable"] = true.into();
        let kind = KeyType::parse(settings["type"].as_str().unwrap()).unwrap().unwrap();
        let made = super::super::material::Material::generate(kind, 48, &SystemRandom).unwrap();
        let plain = made.pkcs8().or(made.private()).unwrap();
        settings.as_object_mut().unwrap().remove("key_size");
        let hash = ["SHA1", "sha256", "SHA384", "SHA512"][index % 4];
        let wrapped = wrap(&wrapping, oaep(hash).unwrap(), plain.expose(), &SystemRandom).unwrap();
        settings["ciphertext"] = base64(&wrapped).into();
        settings["hash_function"] = hash.into();
        let (path, name) = (format!("keys/k{index}/import"), format!("k{index}"));
        write(&mount, &path, settings.clone()).await;
        assert!(refusal(&mount, &path, settings.clone()).await.contains("existing key"));
        let read_back = read(&mount, &format!("keys/{name}")).await;
        assert_eq!(read_back["imported_key"], true);
        let what = if kind.signs() { "signing-key" } else { "hmac-key" };
        let exported = read(&mount, &format!("export/{what}/{name}")).await;
        if kind == KeyType::Hmac {
            assert_eq!(exported["keys"]["1"], base64(plain.expose()));
            assert_eq!(read_back["key_size"], 48);
        }
        assert!(
            refusal(&mount, &format!("keys/{name}/rotate"), json!({})).await.contains("rotation")
        );
        let version = json!({
            "ciphertext": settings["ciphertext"],
            "hash_function": settings["hash_function"],
        });
        write(&mount, &format!("keys/{name}/import_version"), version).await;
        let read_back = read(&mount, &format!("keys/{name}")).await;
        assert_eq!(read_back["latest_version"], 2);
        // Damaged on its way, it is not imported.
        let mut damaged = wrapped.clone();
        *damaged.last_mut().unwrap() ^= 1;
        let data = json!({ "ciphertext": base64(&damaged), "hash_function": hash });
        refusal(&mount, &format!("keys/{name}/import_version"), data).await;
    }
}

/// What leaves encrypted for another mount is imported there.
#[tokio::test]
async fn keys_are_handed_from_mount_to_mount() {
    let (here, there) = (mount().await, mount().await);
    let wrapping = read(&there, "wrapping_key").await;
    let data = json!({ "type": "rsa-4096", "public_key": wrapping["public_key"] });
    write(&here, "keys/there/import", data).await;
    write(&here, "keys/a", json!({ "exportable": true })).await;
    let sealed = encrypt(&here, "a", "text").await;
    let exported = read(&here, "byok-export/there/a").await;
    write(&there, "keys/a/import", json!({ "ciphertext": exported["keys"]["1"] })).await;
    decrypts_to(&there, "a", &sealed, "text").await;
}

#[tokio::test]
async fn a_public_half_gets_its_private_one() {
    let mount = mount().await;
    let wrapping = read(&mount, "wrapping_key").await;
    let (_, spki) = pem::decode(wrapping["public_key"].as_str().unwrap()).unwrap();
    let wrapping = Rsa::from_spki(&spki).unwrap();
    let made = |kind| super::super::material::Material::generate(kind, 0, &SystemRandom).unwrap();
    let (pair, other) = (made(KeyType::EcdsaP256), made(KeyType::EcdsaP256));
    let public_key = pem::encode("PUBLIC KEY", &pair.spki().unwrap());
    write(&mount, "keys/a/import", json!({ "type": "ecdsa-p256", "public_key": public_key })).await;
    let input = json!({ "input": base64(b"message") });
    assert!(refusal(&mount, "sign/a", input.clone()).await.contains("private part"));
    let wrapped = |material: &super::super::material::Material| {
        let plain = material.pkcs8().unwrap();
        let wrapped = wrap(&wrapping, oaep("SHA256").unwrap(), plain.expose(), &SystemRandom);
        base64(&wrapped.unwrap())
    };
    let version = json!({ "ciphertext": wrapped(&other), "version": 1 });
    let said = refusal(&mount, "keys/a/import_version", version).await;
    assert_eq!(said, "cannot import key, key pair does not match");
    write(&mount, "keys/a/import_version", json!({ "ciphertext": wrapped(&pair) })).await;
    assert_eq!(read(&mount, "keys/a").await["latest_version"], 1, "the version is completed");
    write(&mount, "sign/a", input).await;
    write(&mount, "keys/a/import_version", json!({ "ciphertext": wrapped(&other) })).await;
    assert_eq!(read(&mount, "keys/a").await["latest_version"], 2);
}

/// RSA keys of PKCS #8 may say that they are for PSS alone.
#[tokio::test]
async fn rsa_pss_keys_are_rsa_keys() {
    let pair = &super::super::rsa::tests::PAIR;
    let pkcs1 = pair.pkcs1().unwrap();
    let algorithm =
        der::element(der::SEQUENCE, &[&der::element(der::OBJECT_ID, &[der::oid::RSA_PSS])]);
    let zero = der::element(der::INTEGER, &[&[0]]);
    let key = der::element(der::OCTET_STRING, &[pkcs1]);
    let pkcs8 = der::element(der::SEQUENCE, &[&zero, &algorithm, &key]);
    let material = super::super::material::Material::import(KeyType::Rsa2048, &pkcs8).unwrap();
    assert_eq!(material.spki().unwrap(), pair.spki());
    let stored = material.private().unwrap();
    assert!(Reader(stored.expose()).next().is_some());
}
