use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::record::LeaseRecord;
use super::{NewLease, due_key};
use crate::testing::Server;
use crate::wire::Verb::{List, Read, Write};

async fn make(server: &Server) -> (String, String) {
    let body = server.ok(Read, "fake/creds", json!({})).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&body["lease_id"]), text(&body["data"]["name"]))
}

async fn write(server: &Server, path: &str, data: Value) -> (u16, Value) {
    let root = server.root.clone();
    server.call(&root, Write, path, data).await
}

#[tokio::test]
async fn a_lease_is_renewed_within_its_limits_and_ends_with_its_time() {
    let server = Server::new().await;
    let (id, _) = make(&server).await;
    let renew = |increment: u64| {
        let body = json!({ "lease_id": id, "increment": increment });
        write(&server, "sys/leases/renew", body)
    };
    let (status, body) = renew(600).await;
    assert_eq!((status, &body["lease_duration"]), (200, &json!(600)));
    assert_eq!((&body["lease_id"], &body["data"]), (&json!(id), &Value::Null));
    server.clock.advance(Duration::from_secs(500));
    assert_eq!(renew(0).await.1["lease_duration"], json!(3600));
    let (_, body) = renew(99_999).await;
    assert_eq!(body["lease_duration"], json!(6700));
    let warning = "TTL of \"27h46m39s\" exceeded the effective max_ttl of \"1h51m40s\"; TTL value is \
                   capped accordingly";
    assert_eq!(body["warnings"], json!([warning]));
    server.clock.advance(Duration::from_secs(6700));
    assert_eq!(renew(1).await, (400, json!({ "errors": ["lease expired"] })));
    server.reap().await;
    assert_eq!(server.fake.count(), 0);
    assert_eq!(renew(1).await, (400, json!({ "errors": ["lease not found"] })));
    assert_eq!(server.keys("sys/lease/").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_batch_tokens_lease_is_not_renewed_past_the_token() {
    let server = Server::new().await;
    server.policy("all", "path \"*\" { capabilities = [\"read\"] }").await;
    for orphan in [true, false] {
        let order = json!({
            "type": "batch", "ttl": "60s", "policies": ["all"], "no_parent": orphan,
        });
        let batch = server.token(order).await;
        let (_, made) = server.call(&batch, Read, "fake/creds", json!({})).await;
        assert_eq!(made["lease_duration"], json!(60));
        server.clock.advance(Duration::from_secs(10));
        let body = json!({ "lease_id": made["lease_id"], "increment": 600 });
        let (_, renewed) = write(&server, "sys/leases/renew", body).await;
        assert_eq!((&renewed["lease_duration"], &renewed["errors"]), (&json!(50), &Value::Null));
        server.clock.advance(Duration::from_secs(50));
        server.reap().await;
        assert_eq!(server.fake.count(), 0);
    }
}

#[tokio::test]
async fn a_renewal_that_the_backend_refuses_is_a_400_and_changes_nothing() {
    let server = Server::new().await;
    let (id, name) = make(&server).await;
    server.fake.made.lock().unwrap().remove(&name);
    let before = write(&server, "sys/leases/lookup", json!({ "lease_id": id })).await;
    let got = write(&server, "sys/leases/renew", json!({ "lease_id": id, "increment": 9 })).await;
    assert_eq!(got, (400, json!({ "errors": ["failed to renew entry: no such thing"] })));
    let after = write(&server, "sys/leases/lookup", json!({ "lease_id": id })).await;
    assert_eq!(after.1["data"], before.1["data"]);
}

#[tokio::test]
async fn leases_are_looked_up_listed_and_revoked() {
    let server = Server::new().await;
    let (id, _) = make(&server).await;
    let (_, body) = write(&server, "sys/leases/lookup", json!({ "lease_id": id })).await;
    let data = &body["data"];
    assert_eq!(data["path"], json!("fake/creds"));
    assert_eq!((&data["renewable"], &data["ttl"]), (&json!(true), &json!(3600)));
    assert_eq!((&data["last_renewal"], &data["id"]), (&Value::Null, &json!(id)));
    let keys = server.ok(List, "sys/leases/lookup/fake/creds", json!({})).await;
    assert_eq!(keys["data"]["keys"], json!([id.strip_prefix("fake/creds/").unwrap()]));
    let unknown = json!({ "lease_id": "fake/creds/x" });
    for (path, data, status) in [
        ("sys/leases/lookup", unknown.clone(), 400),
        ("sys/leases/renew", unknown.clone(), 400),
        ("sys/leases/revoke", unknown, 204),
        ("sys/leases/revoke", json!({}), 400),
        ("sys/leases/revoke", json!({ "lease_id": id }), 204),
        ("sys/leases/lookup", json!({ "lease_id": id }), 400),
        ("sys/leases/revoke-prefix/fake", json!({}), 204),
        ("sys/leases/revoke-prefix/fake", json!({ "sync": false }), 202),
    ] {
        assert_eq!(write(&server, path, data).await.0, status, "{path}");
    }
    assert_eq!(server.fake.count(), 0);
    let (id, _) = make(&server).await;
    make(&server).await;
    let later = json!({ "lease_id": id, "sync": false });
    assert_eq!(write(&server, "sys/leases/revoke", later).await.0, 202);
    server.until("one is revoked", |server| server.fake.count() == 1).await;
    assert_eq!(write(&server, "sys/leases/revoke-prefix/fake/creds", json!({})).await.0, 204);
    assert_eq!(server.fake.count(), 0);
}

#[tokio::test]
async fn revoking_is_tried_again_and_given_up_in_sight() {
    let server = Server::new().await;
    let (id, _) = make(&server).await;
    server.fake.broken.store(true, Ordering::SeqCst);
    server.clock.advance(Duration::from_secs(3600));
    server.reap().await;
    assert_eq!(server.fake.revocations.load(Ordering::SeqCst), 1);
    // Not before its wait is over, which is 10 to 15 seconds at first.
    server.clock.advance(Duration::from_secs(5));
    server.reap().await;
    assert_eq!(server.fake.revocations.load(Ordering::SeqCst), 1);
    for tried in 2..=6 {
        server.clock.advance(Duration::from_secs(600));
        server.reap().await;
        assert_eq!(server.fake.revocations.load(Ordering::SeqCst), tried);
    }
    server.clock.advance(Duration::from_secs(86_400));
    server.reap().await;
    assert_eq!(server.fake.revocations.load(Ordering::SeqCst), 6);

    let server = server.crash().await;
    let irrevocable = json!({ "type": "irrevocable" });
    let body = server.ok(Read, "sys/leases/count", irrevocable.clone()).await;
    assert_eq!(body["data"]["lease_count"], json!(1));
    let counts = body["data"]["counts"].as_object().unwrap();
    assert!(counts.keys().all(|accessor| accessor.starts_with("fake_")), "{counts:?}");
    let body = server.ok(Read, "sys/leases", irrevocable.clone()).await;
    assert_eq!(body["data"]["leases"][0]["lease_id"], json!(id));
    assert_eq!(body["data"]["leases"][0]["error"], json!("drop the thing: it is stuck"));

    server.fake.broken.store(false, Ordering::SeqCst);
    assert_eq!(write(&server, "sys/leases/revoke", json!({ "lease_id": id })).await.0, 204);
    assert_eq!(server.fake.count(), 0);
    let body = server.ok(Read, "sys/leases/count", irrevocable).await;
    assert_eq!(body["data"], json!({ "counts": {}, "lease_count": 0 }));
    assert_eq!(server.keys("sys/lease/").await, Vec::<String>::new());
}

#[tokio::test]
async fn an_operator_can_have_a_lease_forgotten() {
    let server = Server::new().await;
    make(&server).await;
    server.fake.broken.store(true, Ordering::SeqCst);
    assert_eq!(write(&server, "sys/leases/revoke-prefix/fake", json!({})).await.0, 400);
    assert_eq!(write(&server, "sys/leases/revoke-force/fake", json!({})).await.0, 204);
    assert_eq!(server.keys("sys/lease/").await, Vec::<String>::new());
    assert_eq!(server.fake.count(), 1);
}

#[tokio::test]
async fn what_ended_while_the_server_was_down_is_revoked_at_its_start() {
    let server = Server::new().await;
    make(&server).await;
    let server = server.crash().await;
    assert_eq!(server.fake.count(), 1);
    server.clock.advance(Duration::from_secs(3601));
    let server = server.crash().await;
    server.until("the thing is gone", |server| server.fake.count() == 0).await;
}

#[tokio::test]
async fn a_clock_set_back_ends_nothing_early_and_set_forward_all() {
    let server = Server::new().await;
    make(&server).await;
    let start = holdfast_types::Clock::now(&*server.clock);
    server.clock.set(start - Duration::from_secs(86_400));
    server.reap().await;
    assert_eq!(server.fake.count(), 1);
    server.clock.set(start + Duration::from_secs(86_400));
    // Nobody tells the reaper: it looks at the clock by itself.
    server.until("the thing is gone", |server| server.fake.count() == 0).await;
}

#[tokio::test]
async fn a_hundred_thousand_leases_cost_nothing_at_the_start() {
    let server = Server::new().await;
    let vault = server.core.vault();
    let now = holdfast_types::Clock::now(&*server.clock);
    for number in 0..100_000_u64 {
        let end = now + Duration::from_secs(3600 + number);
        let record = LeaseRecord {
            owner: None,
            issued_at: now,
            expires_at: end,
            due_at: end,
            ttl: Duration::from_secs(3600),
            max_ttl: Duration::ZERO,
            ends_by: None,
            renewable: true,
            last_renewal: None,
            internal: json!({ "name": "x" }),
            failures: 0,
            given_up: None,
        };
        let lease = NewLease { id: format!("fake/creds/{number}"), record, warning: None };
        vault.leases.create(&lease, holdfast_barrier::Batch::new()).await.unwrap();
    }
    drop(vault);
    let begun = std::time::Instant::now();
    let server = server.crash().await;
    // Reading them all would take longer, also on a machine that is busy with other things.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(server.fake.revocations.load(Ordering::SeqCst), 0);
}

#[test]
fn keys_sort_by_time() {
    let at = |seconds| holdfast_types::Timestamp::from_second(seconds).unwrap();
    assert!(due_key("z", at(1)) < due_key("a", at(2)));
    assert!(due_key("z", at(-5)) < due_key("a", at(2)));
    assert!(due_key("z", at(1_800_000_000)) < due_key("a", at(18_000_000_000)));
}

#[derive(Debug, Clone)]
enum Step {
    Make,
    Renew(usize, u64),
    Revoke(usize),
    Wait(u64),
    Break(bool),
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Make),
        3 => (0..8_usize, 0..9000_u64).prop_map(|(which, by)| Step::Renew(which, by)),
        1 => (0..8_usize).prop_map(Step::Revoke),
        3 => (1..4000_u64).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Break),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens: nothing ends before its time, nothing is left over in the end.
    #[test]
    fn a_lease_stands_for_its_thing(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(walk(steps));
    }
}

async fn walk(steps: Vec<Step>) {
    let mut server = Server::new().await;
    let mut now = 0;
    // By lease: its thing, when it ends, its limit. Those that were revoked are gone from it.
    let mut leases: BTreeMap<String, (String, u64, u64)> = BTreeMap::new();
    let mut order = Vec::new();
    for step in steps {
        match step {
            Step::Make => {
                let (id, name) = make(&server).await;
                leases.insert(id.clone(), (name, now + 3600, now + 7200));
                order.push(id);
            }
            Step::Renew(which, by) => {
                let Some(id) = order.get(which) else { continue };
                let body = json!({ "lease_id": id, "increment": by });
                let (status, body) = write(&server, "sys/leases/renew", body).await;
                let live = leases.get(id).is_some_and(|lease| lease.1 > now);
                assert_eq!(status == 200, live, "{body}");
                if let Some(lease) = leases.get_mut(id).filter(|_| live) {
                    let asked = if by == 0 { 3600 } else { by };
                    lease.1 = (now + asked).min(lease.2);
                    assert_eq!(body["lease_duration"], json!(lease.1 - now));
                }
            }
            Step::Revoke(which) => {
                let Some(id) = order.get(which) else { continue };
                let body = json!({ "lease_id": id });
                let (status, _) = write(&server, "sys/leases/revoke", body).await;
                let there = leases.contains_key(id);
                let broken = server.fake.broken.load(Ordering::SeqCst);
                if !broken {
                    assert_eq!(status, 204);
                }
                if there && status == 204 {
                    leases.remove(id);
                } else if let Some(lease) = leases.get_mut(id) {
                    // Asked for and failed: it has ended all the same.
                    lease.1 = lease.1.min(now);
                }
            }
            Step::Wait(seconds) => {
                now += seconds;
                server.clock.advance(Duration::from_secs(seconds));
                server.reap().await;
            }
            Step::Break(broken) => server.fake.broken.store(broken, Ordering::SeqCst),
            Step::Crash => server = server.crash().await,
        }
        let made = server.fake.made.lock().unwrap().clone();
        for (id, (name, end, _)) in &leases {
            assert!(*end <= now || made.contains_key(name), "{id} ended early");
        }
    }
    server.fake.broken.store(false, Ordering::SeqCst);
    server.clock.advance(Duration::from_secs(100_000));
    server.reap().await;
    // What was given up meanwhile is an operator's.
    write(&server, "sys/leases/revoke-prefix/fake", json!({})).await;
    assert_eq!(server.fake.count(), 0);
    assert_eq!(server.keys("sys/lease/").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_token_revoked_while_its_request_is_under_way_gets_no_lease() {
    let server = Server::new().await;
    server.policy("read", "path \"fake/creds\" { capabilities = [\"read\"] }").await;
    let token = server.token(json!({ "policies": ["read"] })).await;
    server.fake.paused.store(true, Ordering::SeqCst);
    let request = server.call(&token, Read, "fake/creds", json!({}));
    let revocation = async {
        server.until("the thing is made", |server| server.fake.count() == 1).await;
        let body = json!({ "token": token });
        assert_eq!(write(&server, "auth/token/revoke", body).await.0, 204);
        server.fake.resume.notify_one();
    };
    let ((status, _), ()) = tokio::join!(request, revocation);
    assert_eq!(status, 403);
    assert_eq!(server.fake.count(), 0);
    assert_eq!(server.keys("sys/lease/").await, Vec::<String>::new());
}
