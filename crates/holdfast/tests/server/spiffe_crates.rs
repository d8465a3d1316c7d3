//! The tests that the published crates `spiffe` and `spiffe-rustls` carry, unchanged, against two trust
//! domains that federate: ours, and SPIRE's, by which a failure of theirs is told from one of ours.
//!
//! They want authorities that sign themselves, and one of them a socket at a path of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_spiffe::proto::workload::X509svidRequest;
use holdfast_spiffe::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use holdfast_spiffe::remote::unix_channel;
use holdfast_testkit::{
    PublishedCrate, Registration, SpiffeEngine, Spire, TrustDomain, TrustDomainSettings,
};
use tonic::Request;

/// How long an agent may take to hear of its entries.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the tests call the two.
const DOMAINS: [&str; 2] = ["example.org", "example-federated.org"];
/// The path that stands in two of the tests.
const SOCKET: &str = "/tmp/spire-agent/public/api.sock";

#[tokio::test(flavor = "multi_thread")]
async fn published_crates_own_tests_pass() {
    let ours = SpiffeEngine::Holdfast(PathBuf::from(env!("CARGO_BIN_EXE_holdfast")));
    for engine in [ours, SpiffeEngine::Spire(Spire::install())] {
        let name = engine.name();
        let [primary, federated] = DOMAINS.map(|domain| trust_domain(engine.clone(), domain));
        primary.trust(&federated);
        federated.trust(&primary);
        for path in ["/myservice", "/myservice2"] {
            let entry = Registration::own(path).hint(path.trim_start_matches('/'));
            primary.register(&entry.federates_with(DOMAINS[1]));
        }
        federated.register(&Registration::own("/myservice").federates_with(DOMAINS[0]));
        wait_for_svids(&primary, 2).await;
        wait_for_svids(&federated, 1).await;
        let _link = Link::new(&primary.socket(), Path::new(SOCKET));
        let environment = [
            ("SPIFFE_ENDPOINT_SOCKET", primary.endpoint()),
            ("SPIFFE_ENDPOINT_SOCKET_FEDERATED", federated.endpoint()),
        ];
        let environment: Vec<_> = environment.iter().map(|(key, value)| (*key, &**value)).collect();
        for (package, features, least) in [
            ("spiffe", &["x509-source", "jwt-source", "jwt-verify-rust-crypto"][..], 400),
            ("spiffe-rustls", &[], 100),
        ] {
            let tests = PublishedCrate::find(package);
            let outcome = tokio::task::block_in_place(|| tests.test(features, &environment));
            let output = &outcome.output;
            assert!(outcome.failed.is_empty(), "{package} at {name}: {output}");
            assert_eq!(outcome.ignored, 0, "{package} at {name}: {output}");
            // So many they were when this was written; with none, nothing would fail.
            assert!(outcome.passed >= least, "{package} at {name}: {output}");
            println!("{package} at {name}: {} tests pass", outcome.passed);
        }
    }
}

fn trust_domain(engine: SpiffeEngine, name: &str) -> TrustDomain {
    let settings = TrustDomainSettings {
        name: name.to_owned(),
        self_signed: true,
        sync_interval: Duration::from_secs(1),
        ..TrustDomainSettings::default()
    };
    TrustDomain::start(engine, settings)
}

/// Waits until this process has `wanted` identities, each with the other domain's bundle.
async fn wait_for_svids(domain: &TrustDomain, wanted: usize) {
    let start = Instant::now();
    let mut client = SpiffeWorkloadApiClient::new(unix_channel(&domain.socket()));
    loop {
        let mut request = Request::new(X509svidRequest {});
        request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
        let told = async { client.fetch_x509svid(request).await?.into_inner().message().await };
        let told = told.await;
        if let Ok(Some(told)) = &told
            && told.svids.len() == wanted
            && told.federated_bundles.len() == 1
        {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{}: {told:?}", domain.name());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A symbolic link, while this lives.
struct Link(PathBuf);

impl Link {
    fn new(to: &Path, at: &Path) -> Self {
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        // One that a killed test left leads nowhere; anything else is somebody's.
        if fs::symlink_metadata(at).is_ok_and(|is| is.is_symlink()) && !at.exists() {
            fs::remove_file(at).unwrap();
        }
        std::os::unix::fs::symlink(to, at).unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => panic!("{} is in use: end what made it", at.display()),
            _ => panic!("link {}: {error}", at.display()),
        });
        Self(at.to_owned())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        for folder in self.0.ancestors().skip(1).take(2) {
            let _ = fs::remove_dir(folder);
        }
    }
}
