//! `holdfast spiffe server` and `agent` as processes, and the stock clients of the Workload API.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_testkit::Stock;
use spiffe::{SpiffeId, WorkloadApiClient, X509Source};
use spiffe_rustls::{authorizer, mtls_client, mtls_server};
use tempfile::TempDir;

mod delegated;
mod envoy;
mod operators;
mod side_by_side;

/// How long anything here may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);
const AGENT: &str = "spiffe://example.org/spire/agent/local";

/// A trust domain on this machine.
struct World {
    folder: TempDir,
    processes: Vec<Child>,
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("seal.key"), [7; 32]).unwrap();
        let mut world = Self { folder, processes: Vec::new() };
        let (data, key) = (world.path("data"), world.path("seal.key"));
        let server = world.path("server.sock");
        world.spawn(&[
            "server",
            "-trustDomain=example.org",
            &format!("-dataDir={}", data.display()),
            &format!("-sealKey={}", key.display()),
            &format!("-socketPath={}", server.display()),
        ]);
        wait_for_socket(&server);
        world.start_agent();
        world
    }

    fn start_agent(&mut self) {
        let (socket, server) = (self.path("agent.sock"), self.path("server.sock"));
        self.spawn(&[
            "agent",
            &format!("-socketPath={}", socket.display()),
            &format!("-serverSocketPath={}", server.display()),
        ]);
        wait_for_socket(&socket);
    }

    fn spawn(&mut self, arguments: &[&str]) {
        let mut command = holdfast(arguments);
        let log = fs::File::create(self.path(&format!("{}.log", arguments[0]))).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.processes.push(command.spawn().unwrap());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What clients have in `SPIFFE_ENDPOINT_SOCKET`.
    fn endpoint(&self) -> String {
        format!("unix://{}", self.path("agent.sock").display())
    }

    fn register(&self, name: &str, selector: &str) {
        let output = holdfast(&["entry", "create"])
            .arg(format!("-socketPath={}", self.path("server.sock").display()))
            .args([&format!("-spiffeID=spiffe://example.org/{name}"), "-parentID", AGENT])
            .args(["-selector", selector, "-hint", name])
            .output();
        text_of(output.unwrap());
    }

    /// For this very process; it is in force when this returns.
    fn register_own(&self, name: &str) {
        self.register(name, &format!("unix:uid:{}", nix::unistd::geteuid()));
        let id = format!("spiffe://example.org/{name}");
        let begun = Instant::now();
        // Until then it may have no identity at all.
        while !String::from_utf8_lossy(&self.api(&["fetch", "x509"]).stdout).contains(&id) {
            assert!(begun.elapsed() < PATIENCE, "{id} is not told");
        }
    }

    /// What a command prints that asks the agent as a workload.
    fn api(&self, arguments: &[&str]) -> Output {
        let mut command = holdfast(&["api"]);
        command.args(arguments).arg(format!("-socketPath={}", self.path("agent.sock").display()));
        command.output().unwrap()
    }

    /// The same as an operator.
    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = holdfast(arguments);
        command.env("HOLDFAST_SPIFFE_AGENT_ADMIN_SOCKET", self.path("agent-admin.sock"));
        command.output().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            for name in ["server.log", "agent.log"] {
                eprintln!("{name}: {}", fs::read_to_string(self.path(name)).unwrap_or_default());
            }
        }
    }
}

fn holdfast(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.arg("spiffe").args(arguments);
    command
}

fn wait_for_socket(path: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while std::os::unix::net::UnixStream::connect(path).is_err() {
        assert!(Instant::now() < deadline, "nobody listens on {}", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn text_of(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn words_of_failure(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// gRPC's C core sends the path of the socket as `:authority`.
const PYTHON: &str = r#"
import sys
from spiffe import JwtSource, WorkloadApiClient, X509Source

endpoint = sys.argv[1]
with WorkloadApiClient(endpoint) as client:
    first, second = client.fetch_x509_svids()
    assert str(first.spiffe_id) == "spiffe://example.org/first", first.spiffe_id
    assert str(second.spiffe_id) == "spiffe://example.org/second", second.spiffe_id
    assert client.fetch_x509_svid().spiffe_id == first.spiffe_id
    bundles = client.fetch_x509_bundles()
    assert len(bundles.bundles) == 1
    token = client.fetch_jwt_svid(audience={"vault"})
    assert token.spiffe_id == first.spiffe_id and token.audience == {"vault"}
    assert client.validate_jwt_svid(token.token, "vault").spiffe_id == first.spiffe_id
    assert len(client.fetch_jwt_bundles().bundles) == 1
with X509Source(socket_path=endpoint) as source:
    assert source.svid.spiffe_id == first.spiffe_id
with JwtSource(socket_path=endpoint) as source:
    assert source.fetch_svid(audience={"vault"}).spiffe_id == first.spiffe_id
print("done")
"#;

#[test]
fn pythons_client_has_everything() {
    let stock = Stock::install();
    let world = World::start();
    world.register_own("first");
    world.register_own("second");
    let mut python = Command::new(stock.python());
    python.args(["-W", "ignore", "-c", PYTHON, &world.endpoint()]);
    assert_eq!(text_of(python.output().unwrap()), "done\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn rusts_clients_have_everything_and_trust_each_other() {
    let mut world = World::start();
    world.register_own("first");
    let client = WorkloadApiClient::connect_to(world.endpoint()).await.unwrap();
    let svid = client.fetch_x509_svid().await.unwrap();
    assert_eq!(svid.spiffe_id().to_string(), "spiffe://example.org/first");
    let token = client.fetch_jwt_token(&["vault"], None::<&SpiffeId>).await.unwrap();
    let valid = client.validate_jwt_token("vault", &token).await.unwrap();
    assert_eq!(valid.spiffe_id(), svid.spiffe_id());
    assert!(client.validate_jwt_token("other", &token).await.is_err());

    let builder = X509Source::builder().endpoint(world.endpoint());
    let source = builder.build().await.unwrap();
    handshake(&source);

    // A new entry, and another agent in the place of the old one, reach whoever watches.
    let mut updated = source.updated();
    world.register_own("second");
    updated.changed().await.unwrap();
    assert_eq!(source.x509_context().unwrap().svids().len(), 2);
    let mut agent = world.processes.pop().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    world.start_agent();
    updated.changed().await.unwrap();
    handshake(&source);
}

/// One TLS handshake of a source with itself, both sides with certificates.
fn handshake(source: &X509Source) {
    let only = || authorizer::exact(["spiffe://example.org/first"]).unwrap();
    let client = mtls_client(source.clone()).authorize(only()).build().unwrap();
    let server = mtls_server(source.clone()).authorize(only()).build().unwrap();
    let name = "localhost".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
    client.writer().write_all(b"hello").unwrap();
    let mut got = Vec::new();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut buffer = [0; 16];
        if let Ok(count) = server.reader().read(&mut buffer) {
            got.extend_from_slice(&buffer[..count]);
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert_eq!(got, b"hello");
    assert!(server.peer_certificates().is_some());
}

#[test]
fn the_command_line_asks_as_spires_does() {
    let world = World::start();
    world.register("other", "unix:uid:4000000000");
    let refused = words_of_failure(&world.api(&["fetch", "x509"]));
    let id = refused.split("no identity issued (explain ").nth(1).unwrap();
    let id = id.split(')').next().unwrap();
    let explained = text_of(world.ask(&["explain", "-id", id]));
    let own = format!("wants unix:uid:4000000000; seen: unix:uid:{}", nix::unistd::geteuid());
    assert!(explained.contains("no identity: the one entry does not match"), "{explained}");
    assert!(explained.contains(&own), "{explained}");

    world.register_own("backend");
    let directory = world.path("").display().to_string();
    let fetched = text_of(world.api(&["fetch", "x509", "-write", &directory]));
    assert!(fetched.starts_with("Received 1 svid after "), "{fetched}");
    assert!(fetched.contains("SPIFFE ID:\t\tspiffe://example.org/backend\n"), "{fetched}");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("svid.0.pem"), mode("svid.0.key")), (0o644, 0o600));
    // OpenSSL has the last word on the files.
    let verify = Command::new("openssl")
        .args(["verify", "-CAfile"])
        .args([world.path("bundle.0.pem"), "-untrusted".into(), world.path("svid.0.pem")])
        .arg(world.path("svid.0.pem"))
        .output()
        .unwrap();
    assert!(text_of(verify).ends_with("svid.0.pem: OK\n"));

    let shown = text_of(world.ask(&["show", "backend"]));
    assert!(shown.contains("SPIFFE ID   spiffe://example.org/backend\n"), "{shown}");
    let jwt = text_of(world.api(&["fetch", "jwt", "-audience", "vault", "-output", "json"]));
    let jwt: serde_json::Value = serde_json::from_str(&jwt).unwrap();
    let token = jwt[0]["svids"][0]["svid"].as_str().unwrap();
    let valid = text_of(world.api(&["validate", "jwt", "-audience", "vault", "-svid", token]));
    assert!(valid.starts_with("SVID is valid.\nSPIFFE ID : spiffe://example.org/backend\n"));
    let wrong = world.api(&["validate", "jwt", "-audience", "other", "-svid", token]);
    assert!(words_of_failure(&wrong).contains("expected audience in"));
    let pid = text_of(world.ask(&["explain", &std::process::id().to_string()]));
    assert!(pid.contains("its identities, the default one first:\n  spiffe://example.org/backend"));
}
