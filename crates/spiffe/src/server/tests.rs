use std::time::Instant;

use holdfast_keys::Algorithm;
use holdfast_keys::x509::{
    Certificate, Curve, GeneralName, Hash, KeyAlgorithm, PrivateKey, RequestTemplate, Subject,
};
use holdfast_types::{SystemClock, SystemRandom};

use super::authority::upstream::DiskUpstream;
use super::*;
use crate::proto::node as wire;
use crate::remote::{RemoteSource, admin};
use crate::{Bundle, MintError, Snapshot, Source as _};

mod hostile;
mod k8s_psat;
mod nodes;
mod running;

use nodes::joining;
use running::Running;

const DAY: Duration = Duration::from_secs(86_400);

fn wanted(name: &str, uid: u32) -> wire::Entry {
    wire::Entry {
        spiffe_id: format!("spiffe://demo.local/{name}"),
        parent_id: "spiffe://demo.local/spire/agent/local".to_owned(),
        selectors: vec![wire::Selector { r#type: "unix".to_owned(), value: format!("uid:{uid}") }],
        ..wire::Entry::default()
    }
}

fn csr() -> (PrivateKey, Vec<u8>) {
    let key = PrivateKey::generate(KeyAlgorithm::Ec(Curve::P256)).unwrap();
    let request = RequestTemplate { subject: Subject::default().to_name(), extensions: vec![] };
    let csr = request.sign(&key, key.signature_algorithm(Hash::Sha256, false)).unwrap();
    (key, csr)
}

async fn until(source: &RemoteSource, want: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut watch = source.watch();
    let found = watch.wait_for(|now| now.as_ref().is_some_and(|snapshot| want(snapshot)));
    let found = tokio::time::timeout(Duration::from_secs(30), found).await;
    found.expect("in time").unwrap().clone().unwrap()
}

#[tokio::test]
async fn an_entry_is_at_the_agent_at_once_and_gives_both_kinds_of_svid() {
    let running = Running::start().await;
    let source = RemoteSource::unix(&running.socket());
    let mut admin = admin(&running.socket());
    until(&source, |snapshot| snapshot.entries.is_empty()).await;

    let mut times = Vec::new();
    for index in 0..20 {
        let start = Instant::now();
        let name = format!("backend{index}");
        admin.create_entry(wanted(&name, index)).await.unwrap();
        until(&source, |snapshot| {
            snapshot.entries.iter().any(|entry| entry.spiffe_id.path()[1..] == name)
        })
        .await;
        times.push(start.elapsed());
    }
    times.sort();
    assert!(times[10] < Duration::from_millis(100), "half of them within 100 ms: {times:?}");

    let snapshot = until(&source, |snapshot| snapshot.entries.len() == 20).await;
    let entry = &snapshot.entries.by_age()[0];
    assert_eq!(entry.spiffe_id.path(), "/backend0", "the oldest first");
    let (key, csr) = csr();
    let svid = source.mint_x509(&entry.id, &csr).await.unwrap();
    let leaf = Certificate::from_der(&svid.chain[0]).unwrap();
    assert_eq!(leaf.public_key, *key.public_key());
    assert_eq!(leaf.names(), [GeneralName::Uri("spiffe://demo.local/backend0".to_owned())]);
    let authority = Certificate::from_der(&svid.chain[1]).unwrap();
    leaf.check_signed_by(&authority).unwrap();
    let root = Certificate::from_der(&snapshot.bundle.x509_authorities[0]).unwrap();
    authority.check_signed_by(&root).unwrap();

    let svid = source.mint_jwt(&entry.id, &["vault".to_owned()]).await.unwrap();
    let token = holdfast_keys::SignedToken::parse(svid.token.expose()).unwrap();
    let keys = holdfast_keys::Jwks::parse(&snapshot.bundle.jwks()).unwrap();
    assert!(keys.candidates(token.key_id.as_deref()).any(|key| token.is_signed_by(key)));

    let request = wire::DeleteEntryRequest { entry_id: entry.id.clone() };
    admin.delete_entry(request).await.unwrap();
    until(&source, |snapshot| snapshot.entries.len() == 19).await;
    let gone = source.mint_x509(&entry.id, &csr).await;
    assert!(matches!(gone, Err(MintError::NoEntry(id)) if id == entry.id));
    let audited = running.audited();
    assert_eq!(audited.matches("\"entry create\"").count(), 20);
    assert_eq!(audited.matches("\"entry delete\"").count(), 1);
}

#[tokio::test]
async fn entries_made_at_once_are_made_once_each() {
    let running = Running::start().await;
    let source = RemoteSource::unix(&running.socket());
    let mut tasks = tokio::task::JoinSet::new();
    // Every other one is asked for three times, in whatever order.
    for index in (0..200).flat_map(|index| vec![index; if index % 2 == 0 { 3 } else { 1 }]) {
        let mut admin = admin(&running.socket());
        tasks.spawn(async move {
            let made = admin.create_entry(wanted(&format!("backend{index}"), index)).await;
            made.map_err(|status| assert_eq!(status.code(), tonic::Code::AlreadyExists)).is_ok()
        });
    }
    let made = tasks.join_all().await.into_iter().filter(|is_made| *is_made).count();
    assert_eq!(made, 200);
    until(&source, |snapshot| snapshot.entries.len() == 200).await;
}

#[tokio::test]
async fn what_cannot_be_signed_is_refused_with_its_reason() {
    let running = Running::start().await;
    let source = RemoteSource::unix(&running.socket());
    let mut admin = admin(&running.socket());
    let entry = admin.create_entry(wanted("backend", 1)).await.unwrap().into_inner();
    let again = admin.create_entry(wanted("backend", 1)).await.unwrap_err();
    assert_eq!(again.code(), tonic::Code::AlreadyExists);
    assert!(again.message().contains(&entry.id), "{again}");
    let reserved = admin.create_entry(wanted("spire/server", 1)).await.unwrap_err();
    assert_eq!(reserved.code(), tonic::Code::InvalidArgument);
    assert!(reserved.message().contains("reserved namespace"), "{reserved}");

    let (_, mut other) = csr();
    // Another key in the request than the one that signed it.
    let last = other.len() - 1;
    other[last] ^= 1;
    for (id, csr, audiences) in [
        (entry.id.as_str(), other, vec![]),
        (&entry.id, b"no request".to_vec(), vec![String::new()]),
    ] {
        let refused = source.mint_x509(id, &csr).await;
        assert!(matches!(refused, Err(MintError::Invalid(_))), "{refused:?}");
        let refused = source.mint_jwt(id, &audiences).await;
        assert!(matches!(refused, Err(MintError::Invalid(_))), "{refused:?}");
    }
    assert_eq!(running.audited().matches("similar entry").count(), 1, "failures are audited");
}

#[tokio::test]
async fn agents_and_entries_live_through_a_restart() {
    let mut running = Running::start().await;
    let source = RemoteSource::unix(&running.socket());
    let mut operator = admin(&running.socket());
    let entry = operator.create_entry(wanted("backend", 1)).await.unwrap().into_inner();
    let before = until(&source, |snapshot| snapshot.entries.len() == 1).await;
    running.restart().await;
    let (_, csr) = csr();
    source.mint_x509(&entry.id, &csr).await.unwrap();
    let mut operator = admin(&running.socket());
    operator.create_entry(wanted("frontend", 2)).await.unwrap();
    let after = until(&source, |snapshot| snapshot.entries.len() == 2).await;
    assert_eq!(after.entries.by_age()[0], before.entries.by_age()[0]);
    assert_eq!(after.bundle, before.bundle, "the authorities were kept");
    running.stop().await;
    assert!(!running.socket().exists(), "the socket went with the server");
}

#[tokio::test]
async fn declared_entries_follow_their_files_and_wrong_files_change_nothing() {
    let mut running = Running::start().await;
    let source = RemoteSource::unix(&running.socket());
    let write = |name: &str, text: &str| {
        // Whole or not at all, as editors and deployments write.
        let (place, path) = (running.directory.path().join("new"), running.directory.path());
        std::fs::write(&place, text).unwrap();
        std::fs::rename(place, path.join(name)).unwrap();
    };
    let rule = |id: &str| {
        format!(
            "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {{name: all}}\n\
             spec:\n  spiffeIDTemplate: spiffe://demo.local/{id}\n"
        )
    };
    write("workloads.yaml", "- name: backend\n- name: frontend\n");
    write("identity/all.yaml", &rule("sa/{{ .PodMeta.Name }}"));
    let first = until(&source, |snapshot| snapshot.entries.len() == 2).await;
    assert_eq!(first.entries.by_age()[0].created, first.entries.by_age()[1].created);

    // Wrong files, then one that is right again: an entry keeps its name and its age.
    write("identity/all.yaml", &rule("sa/{{ .PodMeta.Naem }}"));
    write("identity/other.yaml", "kind: [");
    write("identity/all.yaml", &rule("app/{{ .PodMeta.Name }}"));
    std::fs::remove_file(running.directory.path().join("identity/other.yaml")).unwrap();
    let is_new = |entry: &Arc<Entry>| entry.spiffe_id.path().starts_with("/app/");
    let second = until(&source, |snapshot| snapshot.entries.iter().all(is_new)).await;
    assert_eq!(second.entries.len(), 2, "none was gone meanwhile");
    assert_eq!(second.entries.by_age()[0].id, first.entries.by_age()[0].id);
    assert_eq!(
        (second.entries.by_age()[0].created, second.entries.by_age()[0].revision),
        (first.entries.by_age()[0].created, 1)
    );

    let mut operator = admin(&running.socket());
    let request = wire::DeleteEntryRequest { entry_id: second.entries.by_age()[0].id.clone() };
    let refused = operator.delete_entry(request).await.unwrap_err();
    assert!(refused.message().contains("is declared in ClusterSPIFFEID all"), "{refused}");

    std::fs::remove_file(running.directory.path().join("identity/all.yaml")).unwrap();
    until(&source, |snapshot| snapshot.entries.is_empty()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_client_without_an_agents_certificate_gets_nothing() {
    let running = Running::start().await;
    let stranger = crate::join::anonymous(joining(&running, "a", None));
    let mut client = wire::node_client::NodeClient::new(stranger);
    let (_, csr) = csr();
    let watched = client.watch(wire::WatchRequest {}).await.unwrap_err();
    assert_eq!(watched.code(), tonic::Code::PermissionDenied, "{watched}");
    let renewed = client.renew(wire::RenewRequest { csr }).await.unwrap_err();
    assert_eq!(renewed.code(), tonic::Code::PermissionDenied, "{renewed}");
    // Operators come by the Unix socket alone.
    let stranger = crate::join::anonymous(joining(&running, "a", None));
    let mut admin = wire::admin_client::AdminClient::new(stranger);
    let counted = admin.count_entries(wire::CountEntriesRequest {}).await.unwrap_err();
    assert_eq!(counted.code(), tonic::Code::Unimplemented, "{counted}");
}

#[tokio::test]
async fn bundle_and_discovery_are_read_over_tls_and_verify_what_is_signed() {
    let running = Running::start().await;
    let source = RemoteSource::unix(&running.socket());
    let mut operator = admin(&running.socket());
    let entry = operator.create_entry(wanted("backend", 1)).await.unwrap().into_inner();
    let get = |path: &'static str| running.get(path);
    let configuration = get("/.well-known/openid-configuration").await.unwrap();
    assert_eq!(configuration["issuer"], "https://spiffe.demo.local");
    assert_eq!(configuration["jwks_uri"], "https://spiffe.demo.local/keys");
    let keys = get("/keys").await.unwrap();
    assert_eq!(keys["keys"][0]["use"], "sig");
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    let svid = source.mint_jwt(&entry.id, &["vault".to_owned()]).await.unwrap();
    let token = holdfast_keys::SignedToken::parse(svid.token.expose()).unwrap();
    let keys = holdfast_keys::Jwks::parse(keys.to_string().as_bytes()).unwrap();
    assert!(keys.candidates(token.key_id.as_deref()).any(|key| token.is_signed_by(key)));
    let bundle = get("/").await.unwrap();
    let domain = TrustDomain::parse("demo.local").unwrap();
    let bundle = Bundle::from_json(domain, bundle.to_string().as_bytes()).unwrap();
    let snapshot = until(&source, |_| true).await;
    assert_eq!(bundle, *snapshot.bundle);
    assert!(get("/other").await.unwrap_err().contains("404"));
}

#[tokio::test]
async fn a_server_whose_clock_is_set_back_shows_a_certificate_that_is_valid_by_then() {
    let clock = Arc::new(holdfast_testkit::FakeClock::at(SystemClock.now().as_second()));
    let running = Running::start_by(clock.clone()).await;
    clock.advance(DAY / 24);
    let early = running.get("/").await.unwrap_err();
    assert!(early.contains("certificate is not yet valid"), "{early}");
    clock.set(SystemClock.now());
    running.get("/").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_domains_bundle_reaches_the_agents_whose_entries_federate_with_it() {
    use wire::delete_bundle_request::Mode;

    let running = Running::start().await;
    let source = RemoteSource::unix(&running.socket());
    let mut operator = admin(&running.socket());
    let ca = holdfast_testkit::Ca::new("other");
    let other = wire::Bundle {
        trust_domain: "other.test".to_owned(),
        x509_authorities: vec![ca.der().to_vec()],
        ..wire::Bundle::default()
    };
    operator.set_bundle(other.clone()).await.unwrap();
    let own = wire::Bundle { trust_domain: "demo.local".to_owned(), ..wire::Bundle::default() };
    assert!(operator.set_bundle(own).await.is_err());
    let mut broken = other.clone();
    broken.x509_authorities.push(vec![1]);
    let told = operator.set_bundle(broken).await.unwrap_err();
    assert!(told.message().contains("is no certificate"), "{told:?}");

    operator.create_entry(wanted("alone", 1)).await.unwrap();
    let apart = until(&source, |now| now.entries.len() == 1).await;
    assert!(apart.federated.is_empty(), "nobody asked for it");
    let mut entry = wanted("friend", 2);
    entry.federates_with = vec!["other.test".to_owned()];
    operator.create_entry(entry).await.unwrap();
    let name = TrustDomain::parse("other.test").unwrap();
    let both = until(&source, |now| now.federated.contains_key(&name)).await;
    assert_eq!(both.federated[&name].x509_authorities, other.x509_authorities);

    // It stays while somebody federates with it, and goes from entries that part with it.
    let delete = |mode: Mode| wire::DeleteBundleRequest {
        trust_domain: "spiffe://other.test".to_owned(),
        mode: mode.into(),
    };
    let told = operator.delete_bundle(delete(Mode::Restrict)).await.unwrap_err();
    assert!(told.message().contains("federated with 1 registration entries"), "{told:?}");
    operator.delete_bundle(delete(Mode::Dissociate)).await.unwrap();
    let alone = |entry: &Arc<Entry>| entry.federates_with.is_empty();
    let after = until(&source, |now| now.federated.is_empty() && now.entries.iter().all(alone));
    assert_eq!(after.await.entries.len(), 2);
    let told = operator.delete_bundle(delete(Mode::Delete)).await.unwrap_err();
    assert_eq!(told.code(), tonic::Code::NotFound);
    assert!(running.audited().contains(r#""action":"bundle delete""#));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_svid_is_a_line_of_the_audit_log_without_key_or_token() {
    let running = Running::start().await;
    let source = RemoteSource::unix(&running.socket());
    let entry = admin(&running.socket()).create_entry(wanted("backend", 1)).await.unwrap();
    let id = entry.into_inner().id;
    let x509 = source.mint_x509(&id, &csr().1).await.unwrap();
    let token = source.mint_jwt(&id, &["vault".to_owned()]).await.unwrap().token;
    let log = running.audited();
    let line = |action: &str| -> serde_json::Value {
        let found = log.lines().find(|line| line.contains(action));
        serde_json::from_str(found.unwrap_or_else(|| panic!("{action} in {log}"))).unwrap()
    };
    let serial = hex::encode(Certificate::from_der(&x509.chain[0]).unwrap().serial);
    let line_of_x509 = line("X.509-SVID issue");
    assert_eq!(line_of_x509["caller"], "spiffe://demo.local/spire/agent/local");
    let details = &line_of_x509["details"];
    assert_eq!(details["spiffe_id"], "spiffe://demo.local/backend");
    assert_eq!(
        (details["serial"].as_str(), details["entry_id"].as_str()),
        (Some(&*serial), Some(&*id))
    );
    assert!(details["ttl"].as_i64().is_some_and(|ttl| (3590..=3600).contains(&ttl)), "{details}");
    let details = &line("JWT-SVID issue")["details"];
    assert_eq!(details["audience"], serde_json::json!(["vault"]));
    assert_eq!(details["ttl"], 300);
    assert_eq!(details["token_sha256"].as_str().map(str::len), Some(64));
    for part in token.expose().split('.') {
        assert!(!log.contains(part), "no part of a token is logged");
    }
}
