//! Delegated identity, asked of ours and of a real SPIRE: where both mean the same, both say it.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use holdfast_spiffe::agent::attest::{Introducer, Peer};
use holdfast_spiffe::proto::spire::api::agent::delegatedidentity::v1::delegated_identity_client::DelegatedIdentityClient;
use holdfast_spiffe::proto::spire::api::agent::delegatedidentity::v1::*;
use holdfast_spiffe::proto::spire::api::types::{Selector, Spiffeid};
use holdfast_spiffe::remote::unix_channel;
use holdfast_testkit::{Ca, Registration, SpiffeEngine, Spire, TrustDomain, TrustDomainSettings};
use tonic::Streaming;
use tonic::transport::Channel;

use super::PATIENCE;
use super::side_by_side::{Outcomes, certificates, compare, first, key_set, one, refusal};

/// What is said otherwise, and why, in `docs/decisions/spiffe-agent.md`.
const DIFFERENCES: &[&str] = &[
    "SVIDs by selectors",
    "tokens by selectors",
    "SVIDs of a process that nobody introduced",
    "tokens of a process that nobody introduced",
    "tokens for an empty audience",
];

type Client = DelegatedIdentityClient<Channel>;

/// A process that lives until it is dropped.
struct Process(Child);

impl Process {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ours_and_spires_delegated_identity_say_the_same() {
    let upstream = Ca::new("upstream");
    let settings = TrustDomainSettings {
        sync_interval: Duration::from_secs(1),
        authorized_delegates: vec!["spiffe://example.org/delegate".to_owned()],
        ..TrustDomainSettings::default()
    };
    let (known, stranger) = (Process::start(), Process::start());
    let (introducer, theirs) = Introducer::pair().unwrap();
    let sleep = PathBuf::from("/usr/bin/sleep").canonicalize().unwrap();
    let pidfd = Peer::open(known.pid()).unwrap();
    introducer.introduce("web", &pidfd, &sleep, None).unwrap();
    let ours = SpiffeEngine::Holdfast(PathBuf::from(env!("CARGO_BIN_EXE_holdfast")));
    let ours = TrustDomain::start_introduced(ours, settings.clone(), &upstream, Some(theirs));
    let theirs = SpiffeEngine::Spire(Spire::install());
    let theirs = TrustDomain::start_under(theirs, settings, &upstream);
    let pids = (known.pid(), stranger.pid());
    let (ours, theirs) = tokio::join!(walk(&ours, pids), walk(&theirs, pids));
    compare(&ours, &theirs, DIFFERENCES);
}

/// Asks everything of one side.
async fn walk(domain: &TrustDomain, (known, stranger): (i32, i32)) -> Outcomes {
    let mut client = DelegatedIdentityClient::new(unix_channel(&domain.admin_socket()));
    let mut said: Outcomes = Vec::new();
    said.extend(asked(&mut client, UNREGISTERED, known).await);

    let other = domain.register(&Registration::own("/other").hint("other").id("a"));
    refused_as(&mut client, known, "not configured").await;
    said.extend(asked(&mut client, UNAUTHORISED, known).await);

    let delegate = domain.register(&Registration::own("/delegate").hint("delegate").id("b"));
    let start = Instant::now();
    while client.subscribe_to_x509_bundles(SubscribeToX509BundlesRequest {}).await.is_err()
        || !bundles_are_told(&mut client).await
    {
        assert!(start.elapsed() < PATIENCE, "the delegate is not known");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    said.extend(
        asked(&mut client, ["SVIDs", "tokens", "X.509 bundles", "JWT bundles"], known).await,
    );
    requests(&mut client, &mut said, known, stranger).await;

    let answer = client.subscribe_to_x509svi_ds(of(known)).await.unwrap();
    let mut stream = answer.into_inner();
    said.push(("stream", next(&mut stream, 2).await));
    domain.unregister(&other);
    said.push(("stream: an entry less", next(&mut stream, 1).await));
    domain.unregister(&delegate);
    said.push(("stream: no delegate any more", next(&mut stream, 0).await));
    said
}

const UNREGISTERED: [&str; 4] = [
    "unregistered: SVIDs",
    "unregistered: tokens",
    "unregistered: X.509 bundles",
    "unregistered: JWT bundles",
];
const UNAUTHORISED: [&str; 4] = [
    "no delegate: SVIDs",
    "no delegate: tokens",
    "no delegate: X.509 bundles",
    "no delegate: JWT bundles",
];

/// All four calls, by these names.
async fn asked(client: &mut Client, names: [&'static str; 4], pid: i32) -> Outcomes {
    let svid = first(client.subscribe_to_x509svi_ds(of(pid)).await, |told| svids(&told)).await;
    let token = one(client.fetch_jwtsvi_ds(token_of(pid)).await, tokens);
    let x509 = client.subscribe_to_x509_bundles(SubscribeToX509BundlesRequest {}).await;
    let x509 = first(x509, |told| {
        let bundles = told.ca_certificates.iter().map(|(name, der)| (name, certificates(der)));
        format!("{:?}", bundles.collect::<Vec<_>>())
    });
    let x509 = x509.await;
    let jwt = client.subscribe_to_jwt_bundles(SubscribeToJwtBundlesRequest {}).await;
    let jwt = first(jwt, |told| {
        let bundles = told.bundles.iter().map(|(name, jwks)| (name, key_set(jwks)));
        format!("{:?}", bundles.collect::<Vec<_>>())
    });
    names.into_iter().zip([svid, token, x509, jwt.await]).collect()
}

async fn requests(client: &mut Client, said: &mut Outcomes, known: i32, stranger: i32) {
    let gone = Process::start();
    let dead = gone.pid();
    drop(gone);
    let selector = |kind: &str, value: &str| {
        vec![Selector { r#type: kind.to_owned(), value: value.to_owned() }]
    };
    let own = selector("unix", &format!("uid:{}", nix::unistd::geteuid()));
    for (names, selectors, pid) in [
        (["SVIDs of nobody", "tokens of nobody"], vec![], 0),
        (["SVIDs of a process and selectors", "tokens of both"], own.clone(), known),
        (["SVIDs by selectors", "tokens by selectors"], own, 0),
        (["SVIDs of a process that ended", "tokens of a process that ended"], vec![], dead),
        (["SVIDs of a negative number", "tokens of a negative number"], vec![], -1),
        (
            [
                "SVIDs of a process that nobody introduced",
                "tokens of a process that nobody introduced",
            ],
            vec![],
            stranger,
        ),
    ] {
        let request = SubscribeToX509sviDsRequest { selectors: selectors.clone(), pid };
        let answer = client.subscribe_to_x509svi_ds(request).await;
        said.push((names[0], words(&first(answer, |told| svids(&told)).await)));
        let request = FetchJwtsviDsRequest { selectors, ..token_of(pid) };
        said.push((names[1], words(&one(client.fetch_jwtsvi_ds(request).await, tokens))));
    }
    for (name, audience) in [
        ("tokens for no audience", vec![]),
        ("tokens for an empty audience", vec![String::new()]),
        ("tokens for two audiences", vec!["a".to_owned(), "b".to_owned()]),
    ] {
        let request = FetchJwtsviDsRequest { audience, ..token_of(known) };
        said.push((name, one(client.fetch_jwtsvi_ds(request).await, tokens)));
    }
}

/// Without the reason that ours adds.
fn words(told: &str) -> String {
    match told.split_once("workload attestation failed") {
        Some((code, _)) => format!("{code}workload attestation failed"),
        None => told.to_owned(),
    }
}

fn of(pid: i32) -> SubscribeToX509sviDsRequest {
    SubscribeToX509sviDsRequest { selectors: Vec::new(), pid }
}

fn token_of(pid: i32) -> FetchJwtsviDsRequest {
    FetchJwtsviDsRequest { audience: vec!["vault".to_owned()], selectors: Vec::new(), pid }
}

/// Waits until a delegate's call is refused in these words: the entry is known.
async fn refused_as(client: &mut Client, pid: i32, words: &str) {
    let start = Instant::now();
    loop {
        let told = one(client.fetch_jwtsvi_ds(token_of(pid)).await, tokens);
        if told.contains(words) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "waited for {words:?}: {told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn bundles_are_told(client: &mut Client) -> bool {
    let answer = client.subscribe_to_x509_bundles(SubscribeToX509BundlesRequest {}).await;
    first(answer, |_| "told".to_owned()).await == "told"
}

/// What comes once there are so many identities.
async fn next(stream: &mut Streaming<SubscribeToX509sviDsResponse>, count: usize) -> String {
    loop {
        match tokio::time::timeout(PATIENCE, stream.message()).await {
            Ok(Ok(Some(told))) if told.x509_svids.len() == count => return svids(&told),
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None)) => return "it ends".to_owned(),
            Ok(Err(status)) => return refusal(&status),
            Err(_) => return "nothing".to_owned(),
        }
    }
}

fn id(id: Option<&Spiffeid>) -> String {
    id.map_or_else(String::new, |id| format!("{} {}", id.trust_domain, id.path))
}

fn svids(told: &SubscribeToX509sviDsResponse) -> String {
    let svids = told.x509_svids.iter().map(|svid| {
        let leaf = svid.x509_svid.as_ref().unwrap();
        let subjects: Vec<_> = leaf.cert_chain.iter().map(|der| certificates(der).len()).collect();
        let key = holdfast_keys::x509::PrivateKey::from_der(&svid.x509_svid_key).unwrap();
        let end = holdfast_keys::x509::Certificate::from_der(&leaf.cert_chain[0]).unwrap();
        let is_its_key = key.public_key().to_der() == end.public_key.to_der();
        let is_its_end = end.not_after.as_second() == leaf.expires_at;
        format!("{} {:?} {subjects:?} {is_its_key} {is_its_end}", id(leaf.id.as_ref()), leaf.hint)
    });
    format!("{:?} federates with {:?}", svids.collect::<Vec<_>>(), told.federates_with)
}

fn tokens(told: FetchJwtsviDsResponse) -> String {
    let svids = told.svids.into_iter().map(|svid| {
        let parts = svid.token.split('.').count();
        let life = svid.expires_at - svid.issued_at;
        format!("{} {:?} {parts} parts {life}s", id(svid.id.as_ref()), svid.hint)
    });
    format!("{:?}", svids.collect::<Vec<_>>())
}
