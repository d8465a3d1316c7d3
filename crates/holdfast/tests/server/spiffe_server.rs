//! `holdfast spiffe server` with others: agents that join it from other machines, trust domains that
//! it federates with, and a secrets server above it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use holdfast_client::vault::{Trust, VaultClient, VaultConfig};
use holdfast_keys::SignedToken;
use holdfast_testkit::{
    Ca, SpiffeEngine, Spire, Stock, StockServer, TrustDomain, TrustDomainSettings,
};
use serde_json::json;
use tempfile::TempDir;

use crate::clients;

mod authorities;
mod k8s_psat;

/// How long anything here may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder, and the processes that work in it.
struct World {
    folder: TempDir,
    processes: Vec<(String, Child)>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("seal.key"), [7; 32]).unwrap();
        Self { folder, processes: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a process whose log is in `<name>.log`.
    fn spawn(&mut self, name: &str, arguments: &[String]) {
        let log = fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        let mut command = holdfast(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.processes.push((name.to_owned(), command.spawn().unwrap()));
    }

    /// A server of `trust_domain`, which listens for everybody.
    fn server(&mut self, name: &str, trust_domain: &str, more: &[String]) {
        let mut arguments = vec![
            "server".to_owned(),
            format!("-trustDomain={trust_domain}"),
            format!("-dataDir={}", self.path(name).display()),
            format!("-sealKey={}", self.path("seal.key").display()),
            format!("-socketPath={}", self.socket(name).display()),
        ];
        arguments.extend_from_slice(more);
        self.spawn(name, &arguments);
        self.wait(&self.socket(name), name);
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.sock"))
    }

    fn kill(&mut self, name: &str) {
        let place = self.processes.iter().position(|(one, _)| one == name).unwrap();
        let (_, mut process) = self.processes.remove(place);
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Where a server listens over TLS for `what`.
    fn address(&self, name: &str, what: &str) -> SocketAddr {
        let found = || {
            let log = self.log(name);
            let is_it = |line: &&str| line.contains("listening") && line.contains(what);
            log.lines().find(is_it).map(str::to_owned)
        };
        self.until(&format!("{name} to say where it listens"), || found().is_some());
        let line = found().unwrap();
        let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
        address.parse().unwrap()
    }

    fn wait(&self, socket: &Path, name: &str) {
        let start = Instant::now();
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            assert!(start.elapsed() < PATIENCE, "{name} does not listen: {}", self.log(name));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What an operator's command of a server prints.
    fn tool(&self, server: &str, verbs: &[&str], flags: &[&str]) -> String {
        text_of(&self.ask(server, verbs, flags))
    }

    fn ask(&self, server: &str, verbs: &[&str], flags: &[&str]) -> Output {
        let mut command = holdfast(&verbs.iter().map(ToString::to_string).collect::<Vec<_>>());
        command.arg("-socketPath").arg(self.socket(server)).args(flags);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// What a workload gets from an agent, as soon as it gets anything.
    fn fetch(&self, agent: &str) -> String {
        let start = Instant::now();
        loop {
            let folder = self.folder.path().display().to_string();
            let output = self.ask(agent, &["api", "fetch", "x509"], &["-write", &folder]);
            if output.status.success() {
                return text_of(&output);
            }
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(start.elapsed() < PATIENCE, "{told}\n{}", self.log(agent));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn until(&self, what: &str, is: impl Fn() -> bool) {
        let start = Instant::now();
        while !is() {
            let logs: Vec<String> = self.processes.iter().map(|(name, _)| self.log(name)).collect();
            assert!(start.elapsed() < PATIENCE, "waited for {what}: {}", logs.join("\n"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (_, process) in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn holdfast(arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.arg("spiffe").args(arguments);
    command
}

fn text_of(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn own_user() -> String {
    format!("unix:uid:{}", nix::unistd::geteuid())
}

/// An agent as on another machine; `proof` is what it joins with.
fn remote_agent(world: &World, server: SocketAddr, proof: &[String]) -> Vec<String> {
    let mut arguments = vec![
        "agent".to_owned(),
        format!("-socketPath={}", world.socket("agent").display()),
        format!("-serverAddress={}", server.ip()),
        format!("-serverPort={}", server.port()),
        "-trustDomain=demo.local".to_owned(),
        format!("-trustBundle={}", world.path("bundle.pem").display()),
        format!("-dataDir={}", world.path("agent-state").display()),
    ];
    arguments.extend_from_slice(proof);
    arguments
}

#[test]
fn an_agent_joins_by_token_and_restarts_without_one() {
    let mut world = World::new();
    world.server("server", "demo.local", &["-bindAddress=127.0.0.1:0".to_owned()]);
    let address = world.address("server", "agents");
    fs::write(world.path("bundle.pem"), world.tool("server", &["bundle", "show"], &[])).unwrap();
    let node = "spiffe://demo.local/node/db";
    let made = world.tool("server", &["token", "generate"], &["-spiffeID", node]);
    fs::write(world.path("token"), made.strip_prefix("Token: ").unwrap()).unwrap();
    let create = ["-spiffeID", "spiffe://demo.local/db", "-parentID", node];
    let selector = own_user();
    let flags = [&create[..], &["-selector", &selector]].concat();
    world.tool("server", &["entry", "create"], &flags);

    let proof = format!("-joinTokenFile={}", world.path("token").display());
    let arguments = remote_agent(&world, address, &[proof]);
    world.spawn("agent", &arguments);
    world.wait(&world.socket("agent"), "agent");
    assert!(world.fetch("agent").contains("spiffe://demo.local/db"));
    let list = world.tool("server", &["agents", "list"], &[]);
    assert!(list.contains("Attestation type  : join_token"), "{list}");
    let mode = {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(world.path("agent-state/agent.json")).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode, 0o600);

    // Killed and started again, with the same flags, and without the file of the token.
    world.kill("agent");
    fs::remove_file(world.path("token")).unwrap();
    world.spawn("agent", &arguments);
    world.wait(&world.socket("agent"), "agent");
    assert!(world.fetch("agent").contains("spiffe://demo.local/db"));

    the_agent_is_looked_at_and_evicted(&world);

    // A second machine cannot use the token again.
    world.kill("agent");
    fs::remove_dir_all(world.path("agent-state")).unwrap();
    fs::write(world.path("token"), made.strip_prefix("Token: ").unwrap()).unwrap();
    let refused = holdfast(&arguments).stdin(Stdio::null()).output().unwrap();
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("join token does not exist or has already been used"), "{told}");
    fs::remove_file(world.path("token")).unwrap();
    let refused = holdfast(&arguments).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("read -joinTokenFile from"), "{told}");
}

/// The words are those of `spire-server agent`.
fn the_agent_is_looked_at_and_evicted(world: &World) {
    let list = world.tool("server", &["agents", "list"], &["-output", "json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let agent = &list["agents"][0];
    let path = agent["id"]["path"].as_str().unwrap();
    let id = format!("spiffe://demo.local{path}");
    let serial = agent["x509svid_serial_number"].as_str().unwrap();
    assert_eq!((&agent["banned"], &agent["can_reattest"]), (&json!(false), &json!(false)));
    let shown = world.tool("server", &["agents", "show"], &["-spiffeID", &id]);
    for line in [
        "Found an attested agent given its SPIFFE ID\n\n".to_owned(),
        format!("SPIFFE ID         : {id}\nAttestation type  : join_token\nExpiration time   : 20"),
        format!(" +0000 UTC\nSerial number     : {serial}\nCan re-attest     : false\n"),
    ] {
        assert!(shown.contains(&line), "{line:?} in {shown}");
    }
    assert_eq!(world.tool("server", &["agents", "count"], &[]), "1 attested agent\n");
    let none = world.tool("server", &["agents", "list"], &["-banned", "true"]);
    assert_eq!(none, "No attested agents found\n");
    let evicted = world.tool("server", &["agents", "evict"], &["-spiffeID", &id]);
    assert_eq!(evicted, "Agent evicted successfully\n");
    assert_eq!(world.tool("server", &["agents", "count"], &[]), "0 attested agents\n");
    let unknown = world.ask("server", &["agents", "show"], &["-spiffeID", &id]);
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("see `holdfast spiffe agents list`"));
}

#[test]
fn an_agent_joins_by_its_machines_certificate_and_waits_for_its_server() {
    let machines = Ca::new("machines");
    let mut world = World::new();
    fs::write(world.path("machines.pem"), machines.pem()).unwrap();
    let leaf = machines.client("db1");
    fs::write(world.path("machine.pem"), &leaf.certificate_pem).unwrap();
    fs::write(world.path("machine.key"), &leaf.key_pem).unwrap();
    let flags = [
        "-bindAddress=127.0.0.1:0".to_owned(),
        format!("-x509popBundle={}", world.path("machines.pem").display()),
    ];
    world.server("server", "demo.local", &flags);
    let address = world.address("server", "agents");
    fs::write(world.path("bundle.pem"), world.tool("server", &["bundle", "show"], &[])).unwrap();
    world.kill("server");

    let proof = [
        format!("-x509popCert={}", world.path("machine.pem").display()),
        format!("-x509popKey={}", world.path("machine.key").display()),
    ];
    let arguments = remote_agent(&world, address, &proof);
    world.spawn("agent", &arguments);
    world.until("the agent to try", || world.log("agent").contains("does not answer yet"));
    let flags = [format!("-bindAddress={address}"), flags[1].clone()];
    world.server("server", "demo.local", &flags);
    world.wait(&world.socket("agent"), "agent");
    let list = world.tool("server", &["agents", "list"], &[]);
    assert!(list.contains("Attestation type  : x509pop"), "{list}");

    let node = "spiffe://demo.local/node/db";
    let flags = ["-node", "-spiffeID", node, "-selector", "x509pop:subject:cn:db1"];
    world.tool("server", &["entry", "create"], &flags);
    let selector = own_user();
    let flags = ["-spiffeID", "spiffe://demo.local/db", "-parentID", node, "-selector", &selector];
    world.tool("server", &["entry", "create"], &flags);
    assert!(world.fetch("agent").contains("spiffe://demo.local/db"));

    // A key that is not the certificate's proves nothing.
    world.kill("agent");
    fs::remove_dir_all(world.path("agent-state")).unwrap();
    fs::write(world.path("machine.key"), machines.client("other").key_pem).unwrap();
    let refused = holdfast(&arguments).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("join the SPIFFE server"), "{told}");
    assert!(!world.path("agent-state/agent.json").exists());
}

#[test]
fn two_trust_domains_federate_by_their_svids() {
    let mut world = World::new();
    for (name, domain) in [("one", "one.test"), ("two", "two.test")] {
        world.server(name, domain, &["-webAddress=127.0.0.1:0".to_owned()]);
        let agent = [
            "agent".to_owned(),
            format!("-socketPath={}", world.socket(&format!("{name}-agent")).display()),
            format!("-adminSocketPath={}", world.path(&format!("{name}-admin.sock")).display()),
            format!("-serverSocketPath={}", world.socket(name).display()),
        ];
        world.spawn(&format!("{name}-agent"), &agent);
        world.wait(&world.socket(&format!("{name}-agent")), &format!("{name}-agent"));
    }
    let selector = own_user();
    let flags = [
        "-spiffeID",
        "spiffe://one.test/web",
        "-parentID",
        "spiffe://one.test/spire/agent/local",
        "-selector",
        &selector,
        "-federatesWith",
        "two.test",
    ];
    world.tool("one", &["entry", "create"], &flags);
    assert!(!world.fetch("one-agent").contains("two.test"));

    let two = world.tool("two", &["bundle", "show"], &["-format", "spiffe"]);
    fs::write(world.path("two.json"), &two).unwrap();
    let path = world.path("two.json").display().to_string();
    let id = "spiffe://two.test";
    // The address of the web of two, known by its server's own SVID.
    let url = format!("https://{}", world.address("two", "bundle and discovery"));
    let create = [
        "-trustDomain",
        "two.test",
        "-bundleEndpointURL",
        &url,
        "-bundleEndpointProfile",
        "https_spiffe",
        "-endpointSpiffeID",
        "spiffe://two.test/spire/server",
    ];
    let made = world.tool("one", &["federation", "create"], &create);
    assert!(made.contains("Bundle endpoint profile   : https_spiffe"), "{made}");
    let refused = world.ask("one", &["federation", "refresh"], &["-id", id]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("set one first"), "{told}");
    let set =
        world.tool("one", &["bundle", "set"], &["-id", id, "-path", &path, "-format", "spiffe"]);
    assert_eq!(set, "bundle set.\n");
    let refreshed = world.tool("one", &["federation", "refresh"], &["-id", id]);
    assert_eq!(refreshed, "Bundle refreshed\n");
    let listed = world.tool("one", &["bundle", "list"], &["-id", id, "-format", "spiffe"]);
    assert_eq!(listed, two, "it is what two says of itself");
    let listed = world.tool("one", &["bundle", "list"], &[]);
    assert!(listed.contains("* spiffe://two.test\n") && listed.contains("BEGIN CERT"), "{listed}");
    world.until("the workload to have it", || world.fetch("one-agent").contains("two.test"));

    // Two is away: what is known of it stays, also through a restart.
    world.kill("two");
    let refused = world.ask("one", &["federation", "refresh"], &["-id", id]);
    assert!(!refused.status.success());
    world.kill("one");
    world.server("one", "one.test", &[]);
    assert_eq!(world.tool("one", &["bundle", "list"], &["-id", id, "-format", "spiffe"]), two);
    let refused = world.ask("one", &["bundle", "delete"], &["-id", id]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("federated with 1 registration entries"), "{told}");
    world.tool("one", &["federation", "delete"], &["-id", "two.test"]);
    let deleted = world.tool("one", &["bundle", "delete"], &["-id", id, "-mode", "dissociate"]);
    assert_eq!(deleted, "bundle deleted.\n");
    world.until("the workload to lose it", || !world.fetch("one-agent").contains("two.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secrets_server_signs_the_authorities() {
    for (engine, server) in [
        ("ours", clients::ours()),
        ("the real one", StockServer::start_tls(Stock::install().bao(), &["server"])),
    ] {
        let mut config = VaultConfig::new(server.address().parse().unwrap());
        config.trust = Trust::File(server.ca_file().unwrap());
        config.token = Some(StockServer::ROOT_TOKEN.into());
        let root = VaultClient::new(&config).unwrap();
        let write = async |path: &str, body| root.write(path, &body).await.expect(path);
        write("sys/mounts/pki", json!({ "type": "pki", "config": { "max_lease_ttl": "8760h" } }))
            .await;
        let made = write(
            "pki/root/generate/internal",
            json!({ "common_name": "platform", "ttl": "8760h" }),
        );
        let authority = made.await.data.unwrap()["certificate"].as_str().unwrap().to_owned();
        let policy = r#"path "pki/root/sign-intermediate" { capabilities = ["update"] }"#;
        write("sys/policies/acl/spiffe", json!({ "policy": policy })).await;
        let made = write("auth/token/create", json!({ "policies": ["spiffe"] })).await;
        let token = made.auth.unwrap().client_token;

        let mut world = World::new();
        fs::write(world.path("token"), token.expose()).unwrap();
        let flags = [
            format!("-upstreamVault={}", server.address()),
            format!("-upstreamVaultCACert={}", server.ca_file().unwrap().display()),
            format!("-upstreamVaultTokenFile={}", world.path("token").display()),
        ];
        world.server("server", "demo.local", &flags);
        let bundle = world.tool("server", &["bundle", "show"], &[]);
        assert_eq!(bundle.trim(), authority.trim(), "{engine}");
        let agent = [
            "agent".to_owned(),
            format!("-socketPath={}", world.socket("agent").display()),
            format!("-serverSocketPath={}", world.socket("server").display()),
        ];
        world.spawn("agent", &agent);
        world.wait(&world.socket("agent"), "agent");
        let selector = own_user();
        let flags = [
            "-spiffeID",
            "spiffe://demo.local/web",
            "-selector",
            &selector,
            "-parentID",
            "spiffe://demo.local/spire/agent/local",
        ];
        world.tool("server", &["entry", "create"], &flags);
        world.fetch("agent");
        fs::write(world.path("authority.pem"), &authority).unwrap();
        let verified = Command::new("openssl")
            .args(["verify", "-CAfile"])
            .arg(world.path("authority.pem"))
            .arg("-untrusted")
            .args([world.path("svid.0.pem"), world.path("svid.0.pem")])
            .output()
            .unwrap();
        assert!(text_of(&verified).ends_with("svid.0.pem: OK\n"), "{engine}");

        // Without a token that may, there is no authority, and the server says why.
        fs::write(world.path("token"), "nobody's").unwrap();
        let mut refused = holdfast(&["server".to_owned()]);
        refused.args(["-trustDomain=other.local", "-upstreamVaultMount=pki"]);
        refused.arg(format!("-dataDir={}", world.path("other").display()));
        refused.arg(format!("-sealKey={}", world.path("seal.key").display()));
        refused.arg(format!("-socketPath={}", world.socket("other").display()));
        refused.arg(format!("-upstreamVault={}", server.address()));
        refused.arg(format!("-upstreamVaultCACert={}", server.ca_file().unwrap().display()));
        refused.arg(format!("-upstreamVaultTokenFile={}", world.path("token").display()));
        let refused = refused.stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{engine}");
        assert!(told.contains("have an authority signed at pki/root/sign-intermediate"), "{told}");
        assert!(!told.contains("nobody's"), "{told}");
    }
}

/// As a service manager starts it: the socket is descriptor 3, and is there before the agent.
/// What a token says of itself, without moments; or in which words it is refused.
fn minted(domain: &TrustDomain, flags: &[&str]) -> Result<serde_json::Value, String> {
    let output = domain.tool(&["jwt", "mint"]).args(flags).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    let token = String::from_utf8(output.stdout).unwrap();
    let token = SignedToken::parse(token.trim()).unwrap();
    assert!(token.key_id.is_some());
    let mut claims = token.claims().unwrap();
    let moment = |name: &str| claims[name].as_i64().unwrap();
    let life = moment("exp") - moment("iat");
    claims.insert("life".to_owned(), life.into());
    for name in ["exp", "iat", "jti"] {
        claims.remove(name);
    }
    Ok(claims.into())
}

#[test]
fn tokens_are_minted_for_operators_as_by_spire() {
    let ours = SpiffeEngine::Holdfast(PathBuf::from(env!("CARGO_BIN_EXE_holdfast")));
    let [ours, theirs] = [ours, SpiffeEngine::Spire(Spire::install())]
        .map(|engine| TrustDomain::start(engine, TrustDomainSettings::default()));
    for flags in [
        &["-spiffeID", "spiffe://example.org/ci", "-audience", "vault"][..],
        &[
            "-spiffeID",
            "spiffe://example.org/ci",
            "-audience",
            "a",
            "-audience",
            "b",
            "-ttl",
            "90s",
        ],
    ] {
        assert_eq!(minted(&ours, flags), minted(&theirs, flags), "{flags:?}");
        assert!(minted(&ours, flags).is_ok(), "{flags:?}");
    }
    for flags in [
        &["-spiffeID", "spiffe://example.com/ci", "-audience", "vault"][..],
        &["-spiffeID", "spiffe://example.org", "-audience", "vault"],
        &["-spiffeID", "spiffe://example.org/ci"],
        &["-spiffeID", "example.org/ci", "-audience", "vault"],
    ] {
        let (ours, theirs) = (minted(&ours, flags), minted(&theirs, flags));
        assert!(ours.is_err() && theirs.is_err(), "{flags:?}: {ours:?}, {theirs:?}");
    }
    // SPIRE signs this one, and whoever holds it passes for an agent.
    let agent = ["-spiffeID", "spiffe://example.org/spire/agent/a", "-audience", "vault"];
    assert!(minted(&ours, &agent).unwrap_err().contains("reserved"));

    let path = ours.path("ci.jwt");
    let mut mint = ours.tool(&["jwt", "mint"]);
    mint.args(["-spiffeID", "spiffe://example.org/ci", "-audience", "vault", "-write"]).arg(&path);
    assert!(mint.output().unwrap().status.success());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    SignedToken::parse(&fs::read_to_string(&path).unwrap()).unwrap();
}

#[test]
fn a_socket_is_passed_on_and_outlives_the_agent() {
    const START: &str = r#"exec 3<&0 </dev/null; LISTEN_FDS=1 exec "$0" "$@""#;
    let mut world = World::new();
    world.server("server", "demo.local", &[]);
    let listener = std::os::unix::net::UnixListener::bind(world.socket("agent")).unwrap();
    let selector = own_user();
    let flags = [
        "-spiffeID",
        "spiffe://demo.local/web",
        "-selector",
        &selector,
        "-parentID",
        "spiffe://demo.local/spire/agent/local",
    ];
    world.tool("server", &["entry", "create"], &flags);
    for _ in 0..2 {
        let log = fs::File::create(world.path("agent.log")).unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", START, env!("CARGO_BIN_EXE_holdfast"), "spiffe", "agent"]);
        command.arg(format!("-socketPath={}", world.socket("agent").display()));
        command.arg(format!("-serverSocketPath={}", world.socket("server").display()));
        command.stdin(std::os::fd::OwnedFd::from(listener.try_clone().unwrap()));
        command.stdout(Stdio::null()).stderr(log);
        let process = command.spawn().unwrap();
        world.processes.push(("agent".to_owned(), process));
        assert!(world.fetch("agent").contains("spiffe://demo.local/web"));
        world.kill("agent");
        assert!(world.socket("agent").exists());
    }
}
