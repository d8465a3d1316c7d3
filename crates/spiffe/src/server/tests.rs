use std::time::Instant;

use holdfast_barrier::MemoryEntries;
use holdfast_keys::Algorithm;
use holdfast_keys::x509::{
    Certificate, Curve, GeneralName, Hash, KeyAlgorithm, PrivateKey, RequestTemplate, Subject,
};
use holdfast_types::{SystemClock, SystemRandom};

use super::authority::upstream::DiskUpstream;
use super::*;
use crate::proto::node as wire;
use crate::remote::{RemoteSource, admin};
use crate::{MintError, Snapshot, Source as _};

const DAY: Duration = Duration::from_secs(86_400);

/// A server in a directory of its own.
struct Running {
    directory: tempfile::TempDir,
    entries: Arc<MemoryEntries>,
    root: (String, holdfast_types::SecretString),
    shutdown: CancellationToken,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Running {
    async fn start() -> Self {
        let domain = TrustDomain::parse("demo.local").unwrap();
        let now = SystemClock.now();
        let root = DiskUpstream::make_root(&domain, 365 * DAY, now, &SystemRandom).unwrap();
        let mut running = Self {
            directory: tempfile::tempdir().unwrap(),
            entries: Arc::default(),
            root,
            shutdown: CancellationToken::new(),
            task: None,
        };
        running.restart().await;
        running
    }

    async fn restart(&mut self) {
        self.stop().await;
        self.shutdown = CancellationToken::new();
        let trust_domain = TrustDomain::parse("demo.local").unwrap();
        let settings = ServerSettings {
            socket: self.socket(),
            agent_uids: BTreeSet::new(),
            authorities: AuthoritySettings {
                trust_domain: trust_domain.clone(),
                life: DAY,
                jwt_algorithm: Algorithm::Es256,
                jwt_issuer: None,
                refresh_hint: Duration::from_secs(300),
            },
            x509_ttl: Duration::from_secs(3600),
            jwt_ttl: Duration::from_secs(300),
            agent_ttl: Duration::from_secs(3600),
            trust_domain,
        };
        let (certificate, key) = &self.root;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let log = self.directory.path().join("audit.log");
        let with = Surroundings {
            entries: self.entries.clone(),
            upstream: Arc::new(DiskUpstream::from_pem(certificate, key, None).unwrap()),
            audit: Audit::open(Some(&log), clock.clone()).unwrap(),
            clock,
            random: Arc::new(SystemRandom),
        };
        let server = Server::build(settings, with).await.unwrap();
        self.task = Some(tokio::spawn(server.run(self.shutdown.clone())));
    }

    async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("server.sock")
    }

    fn audited(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("audit.log")).unwrap()
    }
}

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
    let entry = &snapshot.entries[0];
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
    assert_eq!(after.entries[0], before.entries[0]);
    assert_eq!(after.bundle, before.bundle, "the authorities were kept");
    running.stop().await;
    assert!(!running.socket().exists(), "the socket went with the server");
}
