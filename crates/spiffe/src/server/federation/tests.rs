use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_barrier::MemoryEntries;
use holdfast_testkit::{Ca, FakeClock, Leaf};
use holdfast_types::{SpiffeId, SystemClock, SystemRandom};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const OTHER: &str = "other.test";
const SERVER: &str = "spiffe://other.test/spire/server";

fn domain(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

fn bundle(ca: &Ca, sequence: u64) -> Bundle {
    let mut bundle = Bundle::empty(domain(OTHER));
    bundle.x509_authorities = vec![ca.der().to_vec()];
    bundle.sequence = sequence;
    bundle.refresh_hint = Some(Duration::from_secs(60));
    bundle
}

/// A bundle endpoint that answers what it is told to.
struct Endpoint {
    port: u16,
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Endpoint {
    async fn start(leaf: &Leaf) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = CertificateDer::from(leaf.certificate_der.clone());
        let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, asked) = (Arc::new(Mutex::new(String::new())), Arc::new(AtomicUsize::new(0)));
        let (told, count) = (answer.clone(), asked.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Who does not believe us says so here.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                count.fetch_add(1, Ordering::SeqCst);
                let answer = told.lock().unwrap().clone();
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { port, answer, asked }
    }

    fn answers(&self, status: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() = format!(
            "HTTP/1.1 {status}\r\nlocation: /elsewhere\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        );
    }

    fn relationship(&self, profile: Profile) -> Relationship {
        let endpoint_url = format!("https://localhost:{}/", self.port);
        Relationship { trust_domain: domain(OTHER), endpoint_url, profile }
    }

    fn by_svid(&self, id: &str) -> Relationship {
        let endpoint_spiffe_id = SpiffeId::parse(id).unwrap();
        self.relationship(Profile::HttpsSpiffe { endpoint_spiffe_id })
    }
}

async fn open(entries: &Arc<MemoryEntries>, roots: &[&Ca], clock: Arc<dyn Clock>) -> Federation {
    let store = View::new(entries.clone(), "spiffe/");
    let roots = WebRoots::These(roots.iter().map(|ca| ca.der().to_vec()).collect());
    let random = Arc::new(SystemRandom);
    Federation::open(&store, domain("home.test"), roots, clock, random).await.unwrap()
}

/// The sequence of the bundle that is in force.
fn sequence(federation: &Federation) -> Option<u64> {
    federation.bundles().borrow().get(&domain(OTHER)).map(|bundle| bundle.sequence)
}

#[tokio::test]
async fn an_endpoint_that_fails_takes_nothing_away() {
    let (web, ca) = (Ca::new("web"), Ca::new("other"));
    let endpoint = Endpoint::start(&web.server(&["localhost"])).await;
    let entries = Arc::default();
    let federation = open(&entries, &[&web], Arc::new(SystemClock)).await;
    endpoint.answers("200 OK", &bundle(&ca, 7).to_json().to_string());
    let name = domain(OTHER);
    assert!(matches!(federation.refresh(&name).await, Err(FederationError::NoRelationship(_))));
    federation.create(endpoint.relationship(Profile::HttpsWeb)).await.unwrap();
    federation.refresh(&name).await.unwrap();
    assert_eq!(sequence(&federation), Some(7));

    let long = " ".repeat((1 << 20) + 1);
    let private = json!({ "keys": [{
        "use": "jwt-svid", "kid": "k", "kty": "EC", "crv": "P-256", "x": "a", "y": "b", "d": "c",
    }] });
    for (status, body, want) in [
        ("500 Oops", "{}", "the endpoint answered 500 Internal Server Error"),
        ("302 Found", "{}", "the endpoint answered 302 Found"),
        ("200 OK", "<html>", "read the endpoint's answer: a bundle is a JSON object"),
        ("200 OK", long.as_str(), "the endpoint's answer is longer than 1048576 bytes"),
        (
            "200 OK",
            &json!({ "keys": [], "spiffe_sequence": "8" }).to_string(),
            "read the endpoint's answer: spiffe_sequence of the bundle is not a whole number",
        ),
        (
            "200 OK",
            &private.to_string(),
            "read the endpoint's answer: key 0 of the bundle: holds a private key",
        ),
    ] {
        endpoint.answers(status, body);
        let error = federation.refresh(&name).await.unwrap_err();
        let told = Chain(&error).to_string();
        assert!(told.starts_with(&format!("fetch the bundle of other.test: {want}")), "{told}");
        assert_eq!(sequence(&federation), Some(7), "{want}");
    }
    // What was known is known after a restart, without the endpoint, and in spite of it.
    let asked = endpoint.asked.load(Ordering::SeqCst);
    let stranger = open(&entries, &[&ca], Arc::new(SystemClock)).await;
    assert_eq!(sequence(&stranger), Some(7));
    assert_eq!(stranger.relationships().len(), 1);
    let error = stranger.refresh(&name).await.unwrap_err();
    assert!(matches!(error, FederationError::Fetch(_, FetchError::Ask(_))), "{error:?}");
    assert_eq!(
        endpoint.asked.load(Ordering::SeqCst),
        asked,
        "it is asked by nobody it is not known to"
    );

    federation.delete(&name).await.unwrap();
    assert_eq!(sequence(&federation), Some(7));
    federation.delete_bundle(&name).await.unwrap();
    assert_eq!(sequence(&federation), None);
    assert!(matches!(federation.delete_bundle(&name).await, Err(FederationError::NoBundle(_))));
    assert_eq!(sequence(&open(&entries, &[], Arc::new(SystemClock)).await), None);
}

#[tokio::test]
async fn an_endpoint_with_an_svid_is_known_by_the_bundle_before() {
    let (ca, next) = (Ca::new("other"), Ca::new("next"));
    let endpoint = Endpoint::start(&ca.svid(SERVER)).await;
    let mut both = bundle(&ca, 2);
    both.x509_authorities.push(next.der().to_vec());
    endpoint.answers("200 OK", &both.to_json().to_string());
    let (entries, name) = (Arc::default(), domain(OTHER));
    let federation = open(&entries, &[], Arc::new(SystemClock)).await;
    federation.create(endpoint.by_svid(SERVER)).await.unwrap();
    let failure = async |federation: &Federation| {
        Chain(&federation.refresh(&name).await.unwrap_err()).to_string()
    };
    let told = failure(&federation).await;
    assert!(told.contains("set one first"), "{told}");
    federation.set_bundle(bundle(&next, 1)).await.unwrap();
    let told = failure(&federation).await;
    assert!(told.contains("ask the endpoint"), "{told}");
    federation.set_bundle(bundle(&ca, 1)).await.unwrap();
    federation.refresh(&name).await.unwrap();
    assert_eq!(federation.bundles().borrow()[&name].x509_authorities.len(), 2);

    // Another workload of that trust domain is not the endpoint.
    federation.delete(&name).await.unwrap();
    federation.create(endpoint.by_svid("spiffe://other.test/web")).await.unwrap();
    let told = failure(&federation).await;
    assert!(told.contains("ask the endpoint"), "{told}");
    assert_eq!(endpoint.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_bundle_is_fetched_as_often_as_it_asks_for() {
    let (web, ca) = (Ca::new("web"), Ca::new("other"));
    let endpoint = Endpoint::start(&web.server(&["localhost"])).await;
    let clock = Arc::new(FakeClock::at(1_000_000));
    let federation = open(&Arc::default(), &[&web], clock.clone()).await;
    endpoint.answers("200 OK", &bundle(&ca, 1).to_json().to_string());
    federation.create(endpoint.relationship(Profile::HttpsWeb)).await.unwrap();
    let one = endpoint.relationship(Profile::HttpsWeb);
    let seconds = |federation: &Federation| {
        federation.due(&one).as_second() - federation.clock.now().as_second()
    };
    assert!(federation.due(&one) <= clock.now(), "the first time at once");
    let shutdown = CancellationToken::new();
    let fetched = async {
        let mut bundles = federation.bundles();
        bundles.wait_for(|known| known.contains_key(&domain(OTHER))).await.unwrap();
        while federation.due(&one) <= clock.now() {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
    };
    tokio::join!(federation.run(shutdown.clone()), fetched);
    assert!((53..=67).contains(&seconds(&federation)), "{}", seconds(&federation));
    // Failures: sooner, and then at growing distances, up to the hint.
    endpoint.answers("500 Oops", "");
    for most in [6, 12, 23, 45, 67, 67] {
        federation.refresh(&domain(OTHER)).await.unwrap_err();
        let wait = seconds(&federation);
        assert!(wait > most / 2 && wait <= most, "{wait} of {most}");
    }
}

#[tokio::test]
async fn an_endpoint_that_was_replaced_is_not_believed_any_more() {
    let web = Ca::new("web");
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let first = Endpoint::start(&web.server(&["localhost"])).await;
    let second = Endpoint::start(&web.server(&["localhost"])).await;
    first.answers("200 OK", &bundle(&old, 1).to_json().to_string());
    second.answers("200 OK", &bundle(&new, 2).to_json().to_string());
    let entries = Arc::new(MemoryEntries::default());
    let federation = open(&entries, &[&web], Arc::new(SystemClock)).await;
    let before = first.relationship(Profile::HttpsWeb);
    let missing = federation.update(before.clone()).await;
    assert!(matches!(missing, Err(FederationError::NoRelationship(_))));
    federation.create(before.clone()).await.unwrap();
    federation.refresh(&domain(OTHER)).await.unwrap();
    assert_eq!(sequence(&federation), Some(1));

    federation.update(second.relationship(Profile::HttpsWeb)).await.unwrap();
    assert_eq!(sequence(&federation), Some(1), "what is known stays");
    // An answer of the first endpoint that comes now is too late.
    let late = federation.fetch(&before).await;
    assert!(matches!(late, Err(FederationError::NoRelationship(_))), "{late:?}");
    federation.refresh(&domain(OTHER)).await.unwrap();
    assert_eq!(sequence(&federation), Some(2));
    let federation = open(&entries, &[&web], Arc::new(SystemClock)).await;
    let kept = federation.relationships();
    assert_eq!(kept[0].endpoint_url, second.relationship(Profile::HttpsWeb).endpoint_url);
}

#[test]
fn waits_have_bounds() {
    let seconds = Duration::from_secs;
    for (hint, failures, want) in [
        (None, 0, seconds(300)),
        (Some(seconds(1)), 0, seconds(10)),
        (Some(seconds(1_000_000)), 0, seconds(86_400)),
        (None, 1, seconds(5)),
        (None, 4, seconds(40)),
        (None, 9, seconds(300)),
        (Some(seconds(86_400)), u32::MAX, seconds(600)),
        (Some(seconds(10)), 3, seconds(10)),
    ] {
        let (least, most) = (wait(hint, failures, 0), wait(hint, failures, 255));
        assert!(least >= want.mul_f64(0.899) && most <= want.mul_f64(1.101), "{hint:?} {failures}");
        assert!(least < most);
    }
}

#[tokio::test]
async fn what_cannot_be_federated_with_is_refused() {
    let federation = open(&Arc::default(), &[], Arc::new(SystemClock)).await;
    let with = |name: &str, url: &str, profile: Profile| Relationship {
        trust_domain: domain(name),
        endpoint_url: url.to_owned(),
        profile,
    };
    let bare = SpiffeId::parse("spiffe://other.test").unwrap();
    for (one, want) in [
        (with(OTHER, "http://a.test", Profile::HttpsWeb), "has to begin with https://"),
        (with(OTHER, "https://u:p@a.test", Profile::HttpsWeb), "holds a user or a password"),
        (with(OTHER, "/bundle", Profile::HttpsWeb), "is not valid"),
        (with("home.test", "https://a.test", Profile::HttpsWeb), "the server's own trust domain"),
        (
            with(OTHER, "https://a.test", Profile::HttpsSpiffe { endpoint_spiffe_id: bare }),
            "has no path",
        ),
    ] {
        let told = federation.create(one).await.unwrap_err().to_string();
        assert!(told.contains(want), "{told}");
    }
    let own = Bundle::empty(domain("home.test"));
    assert!(matches!(federation.set_bundle(own).await, Err(FederationError::Own(_))));
    let good = with(OTHER, "https://a.test", Profile::HttpsWeb);
    federation.create(good.clone()).await.unwrap();
    assert!(matches!(federation.create(good).await, Err(FederationError::Exists(_))));
}
