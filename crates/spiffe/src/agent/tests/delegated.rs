//! Who acts for others: asked by this process, for children that it introduced.

use std::process::{Child, Command};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::*;
use crate::agent::attest::Introducer;
use crate::proto::spire::api::agent::delegatedidentity::v1::delegated_identity_client::DelegatedIdentityClient;
use crate::proto::spire::api::agent::delegatedidentity::v1::*;
use crate::proto::spire::api::types::Selector;

const DELEGATE: &str = "spiffe://example.org/delegate";

struct Delegation {
    world: World,
    introducer: Introducer,
}

/// A process that lives until it is killed.
struct Process(Child);

impl Process {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Delegation {
    fn start(rows: &Rows<'_>) -> Self {
        let (introducer, theirs) = Introducer::pair().unwrap();
        let theirs = Some(Introductions::new(theirs));
        Self { world: World::start_beside(rows, theirs, &[DELEGATE]), introducer }
    }

    fn introduce(&self, name: &str, process: &Process) {
        let pidfd = pidfd_open(Pid::from_raw(process.pid()).unwrap(), PidfdFlags::empty()).unwrap();
        self.introducer.introduce(name, &pidfd, Path::new("/bin/sleep"), None).unwrap();
    }

    async fn client(&self) -> DelegatedIdentityClient<Channel> {
        let channel = connect(&self.world.directory.path().join("admin.sock")).await;
        DelegatedIdentityClient::new(channel)
    }
}

fn of(pid: i32) -> SubscribeToX509sviDsRequest {
    SubscribeToX509sviDsRequest { pid, selectors: Vec::new() }
}

/// The IDs of an answer.
fn ids(answer: &SubscribeToX509sviDsResponse) -> Vec<String> {
    let ids = answer.x509_svids.iter().map(|svid| {
        let id = svid.x509_svid.as_ref().unwrap().id.as_ref().unwrap();
        format!("{}{}", id.trust_domain, id.path)
    });
    ids.collect()
}

#[tokio::test]
async fn a_delegate_follows_an_introduced_process_until_that_ends() {
    let own = own();
    // Its program tells the delegate from the child, whose user is the same.
    let program = format!("unix:path:{}", std::env::current_exe().unwrap().display());
    let delegate = ("delegate", "/delegate", &[own.as_str(), program.as_str()][..]);
    let web = ("web", "/web", &["holdfast:service:web"][..]);
    let delegation = Delegation::start(&[delegate]);
    let process = Process::start();
    delegation.introduce("web", &process);
    let mut client = delegation.client().await;
    let stream = client.subscribe_to_x509svi_ds(of(process.pid())).await.unwrap();
    let mut stream = stream.into_inner();
    assert!(stream.message().await.unwrap().unwrap().x509_svids.is_empty(), "nothing yet");

    delegation.world.server.register(&[delegate, web]);
    let told = stream.message().await.unwrap().unwrap();
    assert_eq!(ids(&told), ["example.org/web"]);
    let svid = &told.x509_svids[0];
    let leaf = svid.x509_svid.as_ref().unwrap();
    assert_eq!(leaf.hint, "web");
    let chain = holdfast_keys::x509::Certificate::from_der(&leaf.cert_chain[0]).unwrap();
    let key = holdfast_keys::x509::PrivateKey::from_der(&svid.x509_svid_key).unwrap();
    assert_eq!(key.public_key().to_der(), chain.public_key.to_der());

    let request = FetchJwtsviDsRequest {
        audience: vec!["vault".to_owned()],
        selectors: Vec::new(),
        pid: process.pid(),
    };
    let tokens = client.fetch_jwtsvi_ds(request).await.unwrap().into_inner().svids;
    assert_eq!(tokens[0].id.as_ref().unwrap().path, "/web");
    assert!(tokens[0].expires_at > tokens[0].issued_at);

    let pid = process.pid();
    drop(process);
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let status = client.subscribe_to_x509svi_ds(of(pid)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

#[tokio::test]
async fn nobody_is_named_but_by_the_number_of_an_introduced_process() {
    let own = own();
    let delegation = Delegation::start(&[("delegate", "/delegate", &[&own])]);
    let (known, stranger) = (Process::start(), Process::start());
    delegation.introduce("web", &known);
    let mut client = delegation.client().await;
    let selector = || vec![Selector { r#type: "unix".to_owned(), value: "uid:0".to_owned() }];
    for (selectors, pid, code) in [
        (vec![], 0, Code::InvalidArgument),
        (selector(), known.pid(), Code::InvalidArgument),
        (selector(), 0, Code::PermissionDenied),
        // Its user has an identity, and it lives; nobody vouches for its number.
        (vec![], stranger.pid(), Code::Unavailable),
        (vec![], std::process::id() as i32, Code::Unavailable),
        (vec![], -1, Code::Unavailable),
    ] {
        let request = SubscribeToX509sviDsRequest { selectors: selectors.clone(), pid };
        let status = client.subscribe_to_x509svi_ds(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        let audience = vec!["vault".to_owned()];
        let request = FetchJwtsviDsRequest { audience, selectors, pid };
        let status = client.fetch_jwtsvi_ds(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
    }
    let stream = client.subscribe_to_x509svi_ds(of(known.pid())).await.unwrap();
    assert_eq!(
        ids(&stream.into_inner().message().await.unwrap().unwrap()),
        ["example.org/delegate"]
    );
}

#[tokio::test]
async fn whoever_is_no_delegate_any_more_hears_nothing_more() {
    let own = own();
    let delegation = Delegation::start(&[("delegate", "/delegate", &[&own])]);
    let process = Process::start();
    delegation.introduce("web", &process);
    let mut client = delegation.client().await;
    let stream = client.subscribe_to_x509svi_ds(of(process.pid())).await.unwrap();
    let mut stream = stream.into_inner();
    stream.message().await.unwrap().unwrap();
    let bundles = client.subscribe_to_jwt_bundles(SubscribeToJwtBundlesRequest {}).await;
    let mut bundles = bundles.unwrap().into_inner();
    bundles.message().await.unwrap().unwrap();

    delegation.world.server.register(&[("web", "/web", &[&own])]);
    let words = "caller not configured as an authorized delegate";
    let status = stream.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, words));
    let status = bundles.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, words));

    delegation.world.server.register(&[]);
    let nobody = async {
        loop {
            let refused = client.subscribe_to_x509svi_ds(of(process.pid())).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
            if refused.message().starts_with("no identity issued") {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), nobody).await.expect("the entry to be gone");
}
