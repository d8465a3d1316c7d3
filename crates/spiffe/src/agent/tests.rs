use std::path::Path;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Streaming};

use holdfast_types::{SystemClock, SystemRandom};

use super::testing::{Rows, TestServer};
use super::*;

mod delegated;
mod federated;
mod processes;

use crate::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use crate::proto::workload::*;

/// An agent with a server in the same process.
struct World {
    server: Arc<TestServer>,
    directory: tempfile::TempDir,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

impl World {
    fn start(rows: &Rows<'_>) -> Self {
        Self::start_beside(rows, None, &[])
    }

    /// With a supervisor, and who may ask for its children's identities.
    fn start_beside(
        rows: &Rows<'_>,
        introductions: Option<Introductions>,
        delegates: &[&str],
    ) -> Self {
        let delegates = delegates.iter().map(|id| SpiffeId::parse(id).unwrap());
        let server = TestServer::new(rows);
        let directory = tempfile::tempdir().unwrap();
        let agent = Agent::build(AgentOptions {
            socket: directory.path().join("agent.sock"),
            admin_socket: directory.path().join("admin.sock"),
            listener: None,
            source: server.clone(),
            introductions,
            kubelet: None,
            authorized_delegates: delegates.collect(),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        });
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(agent.unwrap().run(shutdown.clone()));
        Self { server, directory, shutdown, running }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    /// Waits until there is an entry for this process: the agent hears of one a moment later.
    async fn knows_the_caller(&self) {
        let known = async { while self.x509().await.unwrap().message().await.is_err() {} };
        tokio::time::timeout(Duration::from_secs(60), known).await.expect("the entry to be known");
    }

    async fn client(&self) -> SpiffeWorkloadApiClient<Channel> {
        SpiffeWorkloadApiClient::new(connect(&self.socket()).await)
    }

    async fn x509(&self) -> Result<Streaming<X509svidResponse>, tonic::Status> {
        let call = with_header(X509svidRequest {});
        self.client().await.fetch_x509svid(call).await.map(tonic::Response::into_inner)
    }
}

async fn connect(path: &Path) -> Channel {
    let path = path.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap()
}

fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    request
}

fn own() -> String {
    format!("unix:uid:{}", nix::unistd::geteuid())
}

#[tokio::test]
async fn a_workload_gets_its_identities_and_nobody_elses() {
    let own = own();
    let world = World::start(&[
        ("first", "/first", &[&own]),
        ("other", "/other", &["unix:uid:4000000000"]),
        ("second", "/second", &[&own]),
    ]);
    let mut stream = world.x509().await.unwrap();
    let answer = stream.message().await.unwrap().unwrap();
    let ids: Vec<_> = answer.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
    assert_eq!(ids, ["spiffe://example.org/first", "spiffe://example.org/second"]);
    let hints: Vec<_> = answer.svids.iter().map(|svid| svid.hint.as_str()).collect();
    assert_eq!(hints, ["first", "second"]);
    let (svid, other) = (&answer.svids[0], &answer.svids[1]);
    assert_ne!(svid.x509_svid_key, other.x509_svid_key);
    let leaf = holdfast_keys::x509::Certificate::from_der(&svid.x509_svid).unwrap();
    let authority = holdfast_keys::x509::Certificate::from_der(&svid.bundle).unwrap();
    leaf.check_signed_by(&authority).unwrap();
    let key = holdfast_keys::x509::PrivateKey::from_der(&svid.x509_svid_key).unwrap();
    assert_eq!(key.public_key().to_der(), leaf.public_key.to_der());
}

#[tokio::test]
async fn a_stream_hears_of_entries_authorities_and_rotations() {
    let own = own();
    let world = World::start(&[("a", "/a", &[&own])]);
    let mut stream = world.x509().await.unwrap();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.svids.len(), 1);

    world.server.register(&[("a", "/a", &[&own]), ("b", "/b", &[&own])]);
    let second = stream.message().await.unwrap().unwrap();
    assert_eq!(second.svids.len(), 2);
    assert_eq!(second.svids[0], first.svids[0], "what has not changed is the same");

    world.server.replace_authority();
    let third = stream.message().await.unwrap().unwrap();
    assert_ne!(third.svids[0].bundle, first.svids[0].bundle);
    assert_ne!(third.svids[0].x509_svid, first.svids[0].x509_svid, "its authority is gone");

    // At half of its life comes another, while nothing else happens.
    *world.server.life.lock().unwrap() = Duration::from_millis(400);
    world.server.replace_authority();
    let fourth = stream.message().await.unwrap().unwrap();
    let fifth = stream.message().await.unwrap().unwrap();
    assert_eq!(fifth.svids[0].bundle, fourth.svids[0].bundle);
    let keys = |answer: &X509svidResponse| {
        answer.svids.iter().map(|svid| svid.x509_svid_key.clone()).collect::<Vec<_>>()
    };
    assert_ne!(keys(&fifth), keys(&fourth), "one of the two, whichever is due first");

    world.server.register(&[]);
    let status = loop {
        match stream.message().await {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn refusals_are_spires() {
    let own = own();
    let world = World::start(&[("other", "/other", &["unix:uid:4000000000"])]);
    let mut client = world.client().await;
    let status = client.fetch_x509svid(Request::new(X509svidRequest {})).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "security header missing from request");

    let status = world.x509().await.unwrap().message().await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().starts_with("no identity issued (explain "), "{status}");

    let jwt = |audience: &[&str], spiffe_id: &str| {
        let audience = audience.iter().map(|text| (*text).to_owned()).collect();
        with_header(JwtsvidRequest { audience, spiffe_id: spiffe_id.to_owned() })
    };
    world.server.register(&[("a", "/a", &[&own])]);
    world.knows_the_caller().await;
    let many: Vec<_> = vec!["a"; 65];
    for (request, code, words) in [
        (jwt(&[], ""), Code::InvalidArgument, "audience must be specified"),
        (jwt(&[""], ""), Code::InvalidArgument, "audience must be specified"),
        (jwt(&many, ""), Code::InvalidArgument, "too many audiences"),
        (jwt(&["a"], "x"), Code::InvalidArgument, "invalid requested SPIFFE ID: "),
        (jwt(&["a"], "spiffe://example.org/b"), Code::PermissionDenied, "no identity issued"),
    ] {
        let status = client.fetch_jwtsvid(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().starts_with(words), "{status}");
    }
}

#[tokio::test]
async fn tokens_are_kept_by_their_audiences_and_validated() {
    let own = own();
    let world = World::start(&[("a", "/a", &[&own])]);
    let mut client = world.client().await;
    let mut token = async |audience: &[&str]| {
        let audience = audience.iter().map(|text| (*text).to_owned()).collect();
        let request = with_header(JwtsvidRequest { audience, spiffe_id: String::new() });
        let answer = client.fetch_jwtsvid(request).await.unwrap().into_inner();
        answer.svids[0].svid.clone()
    };
    let both = token(&["x", "y"]).await;
    assert_eq!(token(&["y", "x"]).await, both);
    assert_ne!(token(&["x"]).await, both);
    assert_eq!(world.server.tokens.load(std::sync::atomic::Ordering::SeqCst), 2);

    let mut client = world.client().await;
    let mut validate = async |svid: &str, audience: &str| {
        let (svid, audience) = (svid.to_owned(), audience.to_owned());
        let request = with_header(ValidateJwtsvidRequest { audience, svid });
        client.validate_jwtsvid(request).await.map(tonic::Response::into_inner)
    };
    let valid = validate(&both, "y").await.unwrap();
    assert_eq!(valid.spiffe_id, "spiffe://example.org/a");
    assert!(valid.claims.unwrap().fields.contains_key("jti"));
    let mut forged = both.clone();
    forged.truncate(both.len() - 4);
    forged.push_str("AAAA");
    for (svid, audience, words) in [
        (both.as_str(), "z", "expected audience in [\"z\"] (audience=[\"x\", \"y\"])"),
        (both.as_str(), "", "audience must be specified"),
        ("", "y", "svid must be specified"),
        ("a.b", "y", "unable to parse JWT token: go-jose/go-jose: compact JWS format"),
        (&forged, "y", "go-jose/go-jose: error in cryptographic primitive"),
    ] {
        let status = validate(svid, audience).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with(words), "{status}");
    }
}

#[tokio::test]
async fn bundles_are_by_trust_domain() {
    let own = own();
    let world = World::start(&[("a", "/a", &[&own])]);
    let mut client = world.client().await;
    let x509 = client.fetch_x509_bundles(with_header(X509BundlesRequest {})).await.unwrap();
    let x509 = x509.into_inner().message().await.unwrap().unwrap();
    assert_eq!(x509.bundles.keys().collect::<Vec<_>>(), ["spiffe://example.org"]);
    let jwt = client.fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await.unwrap();
    let jwt = jwt.into_inner().message().await.unwrap().unwrap();
    let keys: serde_json::Value =
        serde_json::from_slice(&jwt.bundles["spiffe://example.org"]).unwrap();
    assert_eq!(keys["keys"][0]["kid"], "key-1");
    assert_eq!(keys["keys"][0].get("use"), None);
}

#[tokio::test]
async fn streams_end_with_the_agent() {
    let own = own();
    let world = World::start(&[("a", "/a", &[&own])]);
    let mut stream = world.x509().await.unwrap();
    stream.message().await.unwrap().unwrap();
    world.shutdown.cancel();
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
    drop(stream);
    world.running.await.unwrap().unwrap();
    assert!(!world.directory.path().join("agent.sock").exists());
}

#[tokio::test]
async fn a_refusal_is_explained_to_operators() {
    use crate::proto::agent::agent_admin_client::AgentAdminClient;
    use crate::proto::agent::{ExplainRequest, ShowRequest, explain_request::Subject};
    let own = own();
    let world = World::start(&[
        ("far", "/far", &["unix:uid:4000000000", "unix:gid:4000000000"]),
        ("near", "/near", &[&own, "unix:path:/usr/bin/other"]),
    ]);
    let status = world.x509().await.unwrap().message().await.unwrap_err();
    let id = status.message().strip_prefix("no identity issued (explain ").unwrap();
    let id = id.strip_suffix(')').unwrap().to_owned();
    let channel = connect(&world.directory.path().join("admin.sock")).await;
    let mut admin = AgentAdminClient::new(channel);
    let explain = ExplainRequest { subject: Some(Subject::ExplainId(id)) };
    let explained = admin.explain(explain).await.unwrap().into_inner();
    assert_eq!(explained.pid, std::process::id() as i32);
    assert!(explained.selectors.contains(&own), "{explained:?}");
    assert!(explained.refused_at > 0 && explained.matching.is_empty());
    assert_eq!(explained.nearest[0].entry_id, "near");
    assert_eq!(explained.nearest[0].missing, ["unix:path:/usr/bin/other"]);

    world.server.register(&[("a", "/a", &[&own])]);
    world.knows_the_caller().await;
    let pid = ExplainRequest { subject: Some(Subject::Pid(std::process::id() as i32)) };
    let explained = admin.explain(pid).await.unwrap().into_inner();
    assert_eq!(explained.matching[0].spiffe_id, "spiffe://example.org/a");
    let shown = admin.show(ShowRequest { name: "a".to_owned() }).await.unwrap().into_inner();
    assert_eq!(shown.svids[0].spiffe_id, "spiffe://example.org/a");
    let shown = admin.show(ShowRequest { name: "b".to_owned() }).await.unwrap().into_inner();
    assert!(shown.svids.is_empty());
    let none = ExplainRequest { subject: Some(Subject::Service("web".to_owned())) };
    assert_eq!(admin.explain(none).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn envoy_gets_what_it_names_and_hears_of_changes() {
    use crate::proto::envoy::service::discovery::v3::DiscoveryRequest;
    use crate::proto::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
    use crate::proto::envoy::tls::{Secret, secret::Type};
    use prost::Message as _;

    let own = own();
    let world = World::start(&[("a", "/a", &[&own])]);
    let mut client = SecretDiscoveryServiceClient::new(connect(&world.socket()).await);
    let ask = |names: &[&str], nonce: &str| DiscoveryRequest {
        resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
        response_nonce: nonce.to_owned(),
        ..DiscoveryRequest::default()
    };
    let secrets = |resources: &[prost_types::Any]| {
        resources.iter().map(|any| Secret::decode(&*any.value).unwrap()).collect::<Vec<_>>()
    };
    let (sender, requests) = tokio::sync::mpsc::channel(4);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut stream = client.stream_secrets(requests).await.unwrap().into_inner();
    sender.send(ask(&["default"], "")).await.unwrap();
    let first = stream.message().await.unwrap().unwrap();
    let secret = secrets(&first.resources).remove(0);
    assert_eq!(secret.name, "default");
    let Some(Type::TlsCertificate(certificate)) = secret.r#type else { panic!("{}", secret.name) };
    let pem = |source: Option<crate::proto::envoy::tls::DataSource>| {
        String::from_utf8(source.unwrap().inline_bytes).unwrap()
    };
    assert!(pem(certificate.certificate_chain).starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(pem(certificate.private_key).starts_with("-----BEGIN PRIVATE KEY-----\n"));

    // An acknowledgement is answered by nothing; other names, and another authority, are.
    sender.send(ask(&["default"], &first.nonce)).await.unwrap();
    sender.send(ask(&["default", "ROOTCA", "ALL"], &first.nonce)).await.unwrap();
    let second = stream.message().await.unwrap().unwrap();
    let names =
        |response: &[Secret]| response.iter().map(|secret| secret.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&secrets(&second.resources)), ["default", "ROOTCA", "ALL"]);
    world.server.replace_authority();
    let third = stream.message().await.unwrap().unwrap();
    assert_ne!(third.resources, second.resources);
    assert_ne!(third.version_info, second.version_info);

    let all = client.fetch_secrets(ask(&[], "")).await.unwrap().into_inner();
    let all = names(&secrets(&all.resources));
    assert_eq!(all, ["spiffe://example.org/a", "spiffe://example.org"]);
    let status = client.fetch_secrets(ask(&["spiffe://example.org/b"], "")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn tools_are_told_which_services_there_are() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, ServiceResponse};

    let world = World::start(&[]);
    let mut client = ServerReflectionClient::new(connect(&world.socket()).await);
    let mut ask = async |request: MessageRequest| {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let answer = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
        let answer = answer.into_inner().message().await?;
        Ok::<_, tonic::Status>(answer.unwrap().message_response.unwrap())
    };
    let listed = ask(MessageRequest::ListServices(String::new())).await.unwrap();
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let mut names: Vec<_> =
        listed.service.into_iter().map(|ServiceResponse { name }| name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "SpiffeWorkloadAPI",
            "envoy.service.secret.v3.SecretDiscoveryService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
        ]
    );
    let found = ask(MessageRequest::FileContainingSymbol("SpiffeWorkloadAPI".to_owned())).await;
    assert!(matches!(found, Ok(MessageResponse::FileDescriptorResponse(_))), "{found:?}");
    let unknown = ask(MessageRequest::FileContainingSymbol("holdfast.Admin".to_owned())).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}
