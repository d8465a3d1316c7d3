//! Answers lie in `tests/`, in the form that a kubelet gives them. The kubelet itself is a fake, which
//! speaks TLS and looks at tokens.

use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_testkit::{Ca, Leaf};
use proptest::prelude::*;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const PODS: &str = include_str!("tests/pods.json");
const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
const ID: &str = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";
const INIT: &str = "aff34703e5e1f89443e9a1bffcc80f43f74d4808a2dd22c8f88c08547b323934";

fn container(pod: Option<&str>, id: &str) -> Container {
    Container { pod: pod.map(str::to_owned), id: id.to_owned() }
}

fn cgroups() -> String {
    format!("0::/kubepods/burstable/pod{UID}/{ID}\n")
}

#[test]
fn selectors_are_spires() {
    let pods = Pods::parse(PODS.as_bytes()).unwrap();
    let selectors = |id| pods.selectors(&container(Some(UID), id)).unwrap().unwrap();
    let digest = |digit: &str| digit.repeat(64);
    let mut want = vec![
        "ns:apps".to_owned(),
        "sa:backend".to_owned(),
        "node-name:node-1".to_owned(),
        format!("pod-uid:{UID}"),
        "pod-name:backend-6c8f7d9b5-x2x7p".to_owned(),
        "pod-image-count:1".to_owned(),
        "pod-init-image-count:1".to_owned(),
        "pod-image:registry.demo.local/backend:1.4".to_owned(),
        format!("pod-image:registry.demo.local/backend@sha256:{}", digest("2")),
        "pod-init-image:registry.demo.local/migrate:1.4".to_owned(),
        format!("pod-init-image:registry.demo.local/migrate@sha256:{}", digest("1")),
        "pod-label:app:backend".to_owned(),
        "pod-label:pod-template-hash:6c8f7d9b5".to_owned(),
        "pod-owner:ReplicaSet:backend-6c8f7d9b5".to_owned(),
        "pod-owner-uid:ReplicaSet:7f4d53d0-0c1b-4a41-8a3e-5d1f0b3c9e11".to_owned(),
        "container-name:backend".to_owned(),
        "container-image:registry.demo.local/backend:1.4".to_owned(),
        format!("container-image:registry.demo.local/backend@sha256:{}", digest("2")),
    ];
    let of = |selectors: BTreeSet<Selector>| {
        let values = selectors.into_iter().map(|selector| {
            assert_eq!(selector.kind, "k8s");
            selector.value
        });
        values.collect::<Vec<_>>()
    };
    want.sort();
    assert_eq!(of(selectors(ID)), want);
    assert!(of(selectors(INIT)).contains(&"container-name:migrate".to_owned()));
}

#[test]
fn a_container_is_taken_for_that_of_its_pod_alone() {
    let pods = Pods::parse(PODS.as_bytes()).unwrap();
    let other = "72f7f152-440c-66ac-9084-e0fc1d8a910c";
    for (pod, id, is_known) in [
        (Some(UID), ID, true),
        (None, ID, true),
        (Some(other), ID, false),
        (Some(UID), &"0".repeat(64), false),
        // One that has not been made yet has no id.
        (Some(other), "", false),
    ] {
        let found = pods.selectors(&container(pod, id)).unwrap();
        assert_eq!(found.is_some(), is_known, "{pod:?} {id}");
    }
    let twice = PODS.replace("72f7f152-440c-66ac-9084-e0fc1d8a910c", "other");
    let twice = twice.replace("\"imageID\": \"\"", &format!("\"containerID\": \"docker://{ID}\""));
    let pods = Pods::parse(twice.as_bytes()).unwrap();
    assert_eq!(pods.selectors(&container(None, ID)), Err(pods::TwoPods));
    assert!(pods.selectors(&container(Some(UID), ID)).unwrap().is_some());
}

#[test]
fn what_is_no_list_is_refused_and_an_empty_one_is_null() {
    let empty = r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":null}"#;
    assert!(
        Pods::parse(empty.as_bytes()).unwrap().selectors(&container(None, ID)).unwrap().is_none()
    );
    for text in ["", "{}", "[]", r#"{"kind":"Status","code":403}"#, &PODS[..PODS.len() - 3]] {
        Pods::parse(text.as_bytes()).unwrap_err();
    }
}

proptest! {
    #[test]
    fn no_answer_is_too_strange(at in 0..PODS.len(), with in ".{0,8}") {
        let mut text = PODS.as_bytes().to_vec();
        let end = (at + with.len()).min(text.len());
        text.splice(at..end, with.bytes());
        if let Ok(pods) = Pods::parse(&text) {
            let _ = pods.selectors(&container(Some(UID), ID));
        }
    }
}

/// A fake kubelet.
struct Fake {
    port: u16,
    answer: Arc<Mutex<(String, String)>>,
    token: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Fake {
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
        let answer = Arc::new(Mutex::new(("200 OK".to_owned(), PODS.to_owned())));
        let token = Arc::new(Mutex::new("first".to_owned()));
        let asked = Arc::new(AtomicUsize::new(0));
        let fake =
            Self { port, answer: answer.clone(), token: token.clone(), asked: asked.clone() };
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
                asked.fetch_add(1, Ordering::SeqCst);
                let head = String::from_utf8(head).unwrap().to_lowercase();
                let is_known = head.starts_with("get /pods http/1.1\r\n")
                    && head
                        .contains(&format!("authorization: bearer {}\r\n", token.lock().unwrap()));
                let (status, body) = match is_known {
                    true => answer.lock().unwrap().clone(),
                    false => ("401 Unauthorized".to_owned(), "Unauthorized".to_owned()),
                };
                let length = body.len();
                let text = format!(
                    "HTTP/1.1 {status}\r\nlocation: /pods\r\ncontent-length: {length}\r\n\
                     connection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        fake
    }

    fn says(&self, status: &str, body: &str) {
        *self.answer.lock().unwrap() = (status.to_owned(), body.to_owned());
    }

    /// What asks it, with `token` in its file.
    fn kubelet(&self, ca: &Ca, directory: &tempfile::TempDir, token: &str) -> Kubelet {
        let token_file = directory.path().join("token");
        std::fs::write(&token_file, format!("{token}\n")).unwrap();
        let url = format!("https://localhost:{}", self.port);
        let authorities = ca.pem().as_bytes().to_vec();
        Kubelet::new(KubeletSettings { url, authorities, token_file }).unwrap()
    }
}

#[tokio::test]
async fn a_pod_that_is_not_listed_yet_is_waited_for_and_many_ask_once() {
    let (ca, directory) = (Ca::new("cluster"), tempfile::tempdir().unwrap());
    let fake = Fake::start(&ca.server(&["localhost"])).await;
    let kubelet = Arc::new(fake.kubelet(&ca, &directory, "first"));
    let container = container(Some(UID), ID);
    assert_eq!(kubelet.seen(&cgroups()), Seen::Silent);
    fake.says("200 OK", r#"{"kind":"PodList","items":null}"#);
    let start = Instant::now();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (kubelet, container) = (kubelet.clone(), container.clone());
            tokio::spawn(async move { kubelet.list_container(&container, PATIENCE).await })
        })
        .collect();
    while fake.asked.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(kubelet.seen(&cgroups()), Seen::Gap(_)));
    fake.says("200 OK", PODS);
    for one in waiting {
        one.await.unwrap();
    }
    let Seen::Selectors(selectors) = kubelet.seen(&cgroups()) else { panic!("it is listed") };
    assert!(selectors.contains(&Selector::parse("k8s:sa:backend").unwrap()));
    assert_eq!(kubelet.seen("0::/system.slice/web.service\n"), Seen::NoPod);
    // However many wait, the kubelet is asked ten times a second at most.
    let asked = fake.asked.load(Ordering::SeqCst) as u128;
    let most = start.elapsed().as_millis() / PAUSE.0.as_millis() + 2;
    assert!(asked <= most, "{asked} questions, at most {most}");

    // Who is never listed is not waited for without end.
    let nobody = self::container(None, &"0".repeat(64));
    kubelet.list_container(&nobody, Duration::from_millis(150)).await;
}

#[tokio::test]
async fn nobody_but_the_kubelet_is_believed_and_its_last_word_outlives_a_failure() {
    let (ca, directory) = (Ca::new("cluster"), tempfile::tempdir().unwrap());
    let fake = Fake::start(&ca.server(&["localhost"])).await;
    let kubelet = fake.kubelet(&ca, &directory, "first");
    kubelet.ask().await.unwrap();
    // The token is replaced; so is the file.
    *fake.token.lock().unwrap() = "second".to_owned();
    let refused = kubelet.ask().await.unwrap_err();
    assert!(matches!(refused, KubeletError::Status(StatusCode::UNAUTHORIZED)), "{refused}");
    std::fs::write(directory.path().join("token"), "second").unwrap();
    kubelet.ask().await.unwrap();
    kubelet.ask_since(Instant::now()).await;
    for (status, body, want) in [
        ("500 Oh", PODS, "the kubelet answered 500"),
        ("302 Found", PODS, "the kubelet answered 302"),
        ("200 OK", "{}", "read the kubelet's answer"),
        ("200 OK", &"[".repeat(LARGEST + 1), "the kubelet's answer is longer than"),
    ] {
        fake.says(status, body);
        let error = kubelet.ask().await.unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
        kubelet.ask_since(Instant::now()).await;
    }
    assert!(matches!(kubelet.seen(&cgroups()), Seen::Selectors(_)));

    let stranger = Fake::start(&Ca::new("cluster").server(&["localhost"])).await;
    let asked = stranger.kubelet(&ca, &directory, "first").ask().await;
    assert!(matches!(asked, Err(KubeletError::Ask(_))), "{asked:?}");
    assert_eq!(stranger.asked.load(Ordering::SeqCst), 0, "it has not heard the token");
    let elsewhere = Fake::start(&ca.server(&["elsewhere"])).await;
    let asked = elsewhere.kubelet(&ca, &directory, "first").ask().await;
    assert!(matches!(asked, Err(KubeletError::Ask(_))), "{asked:?}");
    std::fs::remove_file(directory.path().join("token")).unwrap();
    assert!(matches!(kubelet.ask().await, Err(KubeletError::Token(..))));
}

#[test]
fn settings_that_would_trust_anybody_are_refused() {
    let authorities = Ca::new("cluster").pem().as_bytes().to_vec();
    let of = |url: &str, authorities: &[u8]| {
        let (url, token_file) = (url.to_owned(), PathBuf::from("token"));
        Kubelet::new(KubeletSettings { url, authorities: authorities.to_vec(), token_file })
    };
    of("https://node:10250/", &authorities).unwrap();
    for url in ["http://node:10255", "node:10250", "https://", "https://a@node", "https://node/x"] {
        assert!(matches!(of(url, &authorities), Err(KubeletError::Url(_))), "{url}");
    }
    assert!(matches!(of("https://node", b""), Err(KubeletError::Authorities(_))));
    assert!(matches!(of("https://node", b"nothing"), Err(KubeletError::Authorities(_))));
}
