//! What becomes of certificates and lists in time.

use std::sync::Arc;
use std::time::Duration;

use holdfast_logical::Lease;
use holdfast_logical::Operation::{Delete, List, Read, Update};
use holdfast_logical::testing::Mount;
use serde_json::json;

use super::super::Pki;
use super::{ask, mount, openssl, raw, text};

const HOUR: Duration = Duration::from_secs(3600);

/// The number of a revocation list, and how many are on it.
async fn list(mount: &Mount, path: &str) -> (u64, usize) {
    let (is_read, said) =
        openssl("crl -inform DER -in {0} -noout -text", &[&raw(mount, path).await]);
    assert!(is_read, "{said}");
    let number = said.split("X509v3 CRL Number:").nth(1).unwrap().trim_start();
    let number = number.split_whitespace().next().unwrap();
    (number.parse().unwrap(), said.matches("Serial Number:").count())
}

async fn issue(mount: &Mount, ttl: &str) -> String {
    let issued = ask(mount, "issue/any", json!({ "common_name": "a.example", "ttl": ttl })).await;
    text(&issued["serial_number"]).to_owned()
}

async fn revoke(mount: &Mount, serial: &str) {
    ask(mount, "revoke", json!({ "serial_number": serial })).await;
}

#[tokio::test]
async fn what_is_revoked_stays_so_and_every_list_has_a_greater_number() {
    let mount = mount("ec").await;
    let (mut number, revoked) = list(&mount, "crl").await;
    assert_eq!(revoked, 0);
    for count in 1..4 {
        let serial = issue(&mount, "1h").await;
        revoke(&mount, &serial).await;
        revoke(&mount, &serial).await;
        let (next, revoked) = list(&mount, "crl").await;
        assert!(next > number, "{next} after {number}");
        assert_eq!(revoked, count);
        number = next;
    }
    // Long after it has expired it is still on the list, until it is tidied.
    mount.clock.advance(HOUR * 100);
    ask(&mount, "roles/again", json!({})).await;
    mount.walk(&[(Read, "crl/rotate", json!({}), 200)]).await;
    assert_eq!(list(&mount, "crl").await.1, 3);
}

#[tokio::test]
async fn a_mount_that_is_opened_again_knows_its_authorities_and_what_they_revoked() {
    let mount = mount("ec").await;
    let serial = issue(&mount, "1h").await;
    revoke(&mount, &serial).await;
    let storage = mount.storage.clone();
    let again = Mount::new(&[], |context| {
        Arc::new(Pki::new(holdfast_logical::Context { storage: storage.clone(), ..context }))
    })
    .await;
    again.clock.set(holdfast_types::Timestamp::from_second(super::NOW + 60).unwrap());
    assert_eq!(list(&again, "crl").await.1, 1);
    let (_, found) = again.ask(Read, &format!("cert/{serial}"), json!({})).await;
    assert_eq!(found["revocation_time"], super::NOW);
    revoke(&again, &issue(&again, "1h").await).await;
    assert_eq!(list(&again, "crl").await.1, 2);
}

#[tokio::test]
async fn many_revocations_at_once_are_all_on_the_next_list() {
    let mount = Arc::new(mount("ec").await);
    let mut serials = Vec::new();
    for _ in 0..20 {
        serials.push(issue(&mount, "1h").await);
    }
    let (before, _) = list(&mount, "crl").await;
    let mut tasks = tokio::task::JoinSet::new();
    for serial in serials {
        let mount = mount.clone();
        tasks.spawn(async move {
            revoke(&mount, &serial).await;
            list(&mount, "crl").await.1
        });
    }
    while let Some(seen) = tasks.join_next().await {
        assert!(seen.unwrap() > 0, "who has revoked finds a list with it");
    }
    let (after, revoked) = list(&mount, "crl").await;
    assert_eq!(revoked, 20);
    assert!(after > before);
}

#[tokio::test]
async fn with_auto_rebuild_lists_are_rebuilt_on_ticks_and_deltas_come_between() {
    let mount = mount("ec").await;
    let config = json!({ "auto_rebuild": true, "enable_delta": true, "expiry": "24h", "auto_rebuild_grace_period": "4h" });
    ask(&mount, "config/crl", config).await;
    let (number, _) = list(&mount, "crl").await;
    let serial = issue(&mount, "100h").await;
    revoke(&mount, &serial).await;
    assert_eq!(list(&mount, "crl").await, (number, 0), "not at once");
    mount.backend.tick().await.unwrap();
    assert_eq!(list(&mount, "crl/delta").await.1, 0, "not before the interval has passed");
    mount.clock.advance(HOUR / 2);
    mount.backend.tick().await.unwrap();
    assert_eq!(list(&mount, "crl/delta").await.1, 1);
    assert_eq!(list(&mount, "crl").await, (number, 0));
    mount.backend.tick().await.unwrap();
    assert_eq!(list(&mount, "crl").await, (number, 0), "nothing is due");
    // Near the end of the complete list, all of it is built anew.
    mount.clock.advance(HOUR * 21);
    mount.backend.tick().await.unwrap();
    let (after, revoked) = list(&mount, "crl").await;
    assert!(after > number && revoked == 1, "{after} {revoked}");
    assert_eq!(list(&mount, "crl/delta").await.1, 0);
}

#[tokio::test]
async fn a_lease_that_ends_revokes_its_certificate() {
    let mount = mount("ec").await;
    let role = json!({ "allow_any_name": true, "key_type": "ec", "generate_lease": true });
    ask(&mount, "roles/leased", role).await;
    let data = json!({ "common_name": "a.example", "ttl": "2h" });
    let request = mount.request(Update, "issue/leased", &data);
    let answer = mount.put(&request).await.unwrap().unwrap();
    let spec = answer.lease.unwrap();
    assert_eq!(spec.ttl, Some(HOUR * 2));
    assert!(!spec.renewable);
    // The certificate is stored by the commit that makes the lease, and not before.
    let serial = spec.internal["serial_number"].as_str().unwrap().to_owned();
    assert_eq!(mount.ask(Read, &format!("cert/{serial}"), json!({})).await.0, 404);
    let lease = |internal| Lease {
        id: "pki/issue/leased/x".to_owned(),
        path: "issue/leased".to_owned(),
        internal,
        issued_at: holdfast_types::Timestamp::from_second(super::NOW).unwrap(),
        expires_at: holdfast_types::Timestamp::from_second(super::NOW).unwrap(),
    };
    mount.backend.revoke(&lease(spec.internal.clone())).await.unwrap();
    assert_eq!(list(&mount, "crl").await.1, 0, "what was never stored was never given out");
    let certificate = answer.data.unwrap()["certificate"].as_str().unwrap().to_owned();
    let der = holdfast_keys::x509::Certificate::from_pem(&certificate).unwrap().der;
    mount.storage.put(&format!("certs/{}", serial.replace(':', "-")), der).await.unwrap();
    mount.backend.revoke(&lease(spec.internal.clone())).await.unwrap();
    mount.backend.revoke(&lease(spec.internal)).await.unwrap();
    assert_eq!(list(&mount, "crl").await.1, 1);
    assert!(mount.backend.revoke(&lease(json!({}))).await.is_err());
}

#[tokio::test]
async fn tidying_forgets_what_has_expired_and_only_that() {
    let mount = mount("ec").await;
    let (short, revoked, long) =
        (issue(&mount, "1h").await, issue(&mount, "1h").await, issue(&mount, "600h").await);
    revoke(&mount, &revoked).await;
    mount.clock.advance(HOUR * 100);
    let asked =
        json!({ "tidy_cert_store": true, "tidy_revoked_certs": true, "safety_buffer": "1h" });
    let (status, _) = mount.ask(Update, "tidy", asked).await;
    assert_eq!(status, 202);
    let mut state = json!(null);
    for _ in 0..500 {
        (_, state) = mount.ask(Read, "tidy-status", json!({})).await;
        if state["state"] == "Finished" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(state["state"], "Finished", "{state}");
    assert_eq!(state["cert_store_deleted_count"], 2);
    assert_eq!(state["revoked_cert_deleted_count"], 1);
    for (serial, want) in [(short, 404), (revoked, 404), (long, 200)] {
        assert_eq!(mount.ask(Read, &format!("cert/{serial}"), json!({})).await.0, want);
    }
    assert_eq!(mount.ask(List, "certs/revoked/", json!({})).await.0, 404);
    assert_eq!(list(&mount, "crl").await.1, 0);
}

#[tokio::test]
async fn auto_tidy_runs_when_its_interval_has_passed() {
    let mount = mount("ec").await;
    let config = json!({ "enabled": true, "tidy_cert_store": true, "safety_buffer": "1h", "interval_duration": "12h" });
    ask(&mount, "config/auto-tidy", config).await;
    let serial = issue(&mount, "1h").await;
    mount.clock.set(holdfast_types::Timestamp::from_second(super::NOW).unwrap());
    mount.clock.advance(HOUR * 13);
    mount.backend.tick().await.unwrap();
    for _ in 0..500 {
        if mount.ask(Read, &format!("cert/{serial}"), json!({})).await.0 == 404 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the expired certificate is still there");
}

#[tokio::test]
async fn a_certificate_without_an_end_is_issued_and_never_tidied() {
    let mount = mount("ec").await;
    mount
        .walk(&[(
            holdfast_logical::Operation::Patch,
            "issuer/default",
            json!({ "leaf_not_after_behavior": "permit" }),
            200,
        )])
        .await;
    let asked = json!({ "common_name": "device.example", "not_after": "9999-12-31T23:59:59Z" });
    let issued = ask(&mount, "issue/any", asked).await;
    assert_eq!(issued["expiration"], 253_402_300_799_i64);
    let (_, said) =
        openssl("x509 -in {0} -noout -enddate", &[text(&issued["certificate"]).as_bytes()]);
    assert!(said.contains("Dec 31 23:59:59 9999 GMT"), "{said}");
    mount.clock.advance(HOUR * 24 * 365 * 100);
    mount.walk(&[(Update, "tidy", json!({ "tidy_cert_store": true }), 202)]).await;
    for _ in 0..500 {
        let (_, state) = mount.ask(Read, "tidy-status", json!({})).await;
        if state["state"] == "Finished" {
            let path = format!("cert/{}", text(&issued["serial_number"]));
            assert_eq!(mount.ask(Read, &path, json!({})).await.0, 200);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("tidying does not come to its end");
}

#[tokio::test]
async fn a_name_of_other_letters_that_no_certificate_can_hold_is_refused() {
    let mount = mount("ec").await;
    let asked = json!({ "common_name": "a.example", "alt_names": "\u{fc}@a.example" });
    let (status, said) = mount.ask(Update, "issue/any", asked).await;
    assert_eq!(status, 400, "{said}");
}

#[tokio::test]
async fn only_what_is_listed_ends_in_a_slash() {
    let mount = mount("ec").await;
    for (operation, path, want) in [
        (Delete, "root/", 404),
        (Delete, "roles/any/", 404),
        (Read, "roles/any/", 404),
        (Read, "issuer/default/", 404),
        (Read, "config/urls/", 404),
        (Read, "roles/", 405),
        (List, "roles/", 200),
        (List, "issuers/", 200),
        (List, "certs/revoked/", 404),
        (Read, "roles/any", 200),
    ] {
        let (status, answer) = mount.ask(operation, path, json!({})).await;
        assert_eq!(status, want, "{operation:?} {path}: {answer}");
    }
}

#[tokio::test]
async fn too_many_names_are_refused_before_they_are_compared() {
    let mount = mount("ec").await;
    let names: Vec<_> = (0..500_000).map(|number| format!("{number}.example")).collect();
    let data = json!({ "common_name": "a.example", "alt_names": names.join(",") });
    let (status, answer) = mount.ask(Update, "issue/any", data).await;
    let want = json!("more than 1000 alternative names are asked for");
    assert_eq!((status, answer), (400, want));
}
