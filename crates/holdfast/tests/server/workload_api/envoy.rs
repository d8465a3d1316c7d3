//! Real Envoys that have their certificates and authorities from the agent, by SDS.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_testkit::{Envoy, Registration, SpiffeEngine, TrustDomain, TrustDomainSettings};
use serde_json::{Value, json};

use super::PATIENCE;

/// Half of this is waited for.
const LIFE: Duration = Duration::from_secs(20);

/// An Envoy that runs until this is dropped.
struct Running {
    process: Child,
    port: u16,
    admin: u16,
    log: PathBuf,
}

impl Running {
    /// Starts one that listens with `listener`, which gets its port, and has the agent and `more` as
    /// its clusters.
    fn start(
        domain: &TrustDomain,
        name: &str,
        listener: impl Fn(u16) -> Value,
        more: Option<Value>,
    ) -> Self {
        let [port, admin] = free_ports();
        let agent = json!({
            "name": "agent",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": {} },
                },
            },
            "load_assignment": { "cluster_name": "agent", "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": { "pipe": { "path": domain.socket() } } } },
            ] }] },
        });
        let clusters: Vec<Value> = std::iter::once(agent).chain(more).collect();
        let config = json!({
            "node": { "id": name, "cluster": "test" },
            "admin": { "address": address(admin) },
            "static_resources": { "listeners": [listener(port)], "clusters": clusters },
        });
        let (file, log) =
            (domain.path(&format!("{name}.json")), domain.path(&format!("{name}.log")));
        fs::write(&file, config.to_string()).unwrap();
        let output = fs::File::create(&log).unwrap();
        let mut command = Command::new(Envoy::install().binary());
        command.arg("-c").arg(file).args(["--concurrency", "1", "--disable-hot-restart"]);
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let running = Self { process: command.spawn().unwrap(), port, admin, log };
        running.until("to be ready", || running.ask("/ready").is_some_and(|told| told == "LIVE\n"));
        running
    }

    /// What its operators read at a path.
    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.admin)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        if !head.starts_with("HTTP/1.1 200") {
            return None;
        }
        // What is sent in pieces is short enough for one.
        let pieces = head.contains("chunked");
        let body =
            if pieces { body.split_once("\r\n")?.1.rsplit_once("\r\n0\r\n")?.0 } else { body };
        Some(body.to_owned())
    }

    /// One of its counters.
    fn counter(&self, name: &str) -> u64 {
        let told = self.ask(&format!("/stats?filter=^{name}$")).unwrap_or_default();
        told.trim().rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    fn until(&self, what: &str, is: impl Fn() -> bool) {
        let start = Instant::now();
        while !is() {
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "waited for Envoy {what}: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

/// A secret that the agent has.
fn secret(name: &str) -> Value {
    json!({ "name": name, "sds_config": {
        "resource_api_version": "V3",
        "api_config_source": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "grpc_services": [{ "envoy_grpc": { "cluster_name": "agent" } }],
        },
    } })
}

/// The own certificate, and a peer who must be this one.
fn identity(own: &str, peer: &str) -> Value {
    json!({
        "tls_certificate_sds_secret_configs": [secret(own)],
        "combined_validation_context": {
            "default_validation_context": { "match_typed_subject_alt_names": [
                { "san_type": "URI", "matcher": { "exact": peer } },
            ] },
            "validation_context_sds_secret_config": secret("spiffe://example.org"),
        },
    })
}

fn http(action: &Value) -> Value {
    json!({ "name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "http_filters": [{ "name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        } }],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
            action,
        ] }] },
    } })
}

/// One that answers who shows the certificate of `peer`.
fn server(domain: &TrustDomain, name: &str, peer: &str) -> Running {
    let listener = |port| {
        let action = json!({
            "match": { "prefix": "/" },
            "direct_response": { "status": 200, "body": { "inline_string": "hello" } },
        });
        json!({ "name": "tls", "address": address(port), "filter_chains": [{
            "filters": [http(&action)],
            "transport_socket": { "name": "tls", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": true,
                "common_tls_context": identity("spiffe://example.org/server", peer),
            } },
        }] })
    };
    Running::start(domain, name, listener, None)
}

/// One that passes requests on, as `spiffe://example.org/client`.
fn client(domain: &TrustDomain, name: &str, server: &Running) -> Running {
    let listener = |port| {
        let action = json!({ "match": { "prefix": "/" }, "route": { "cluster": "server" } });
        json!({ "name": "plain", "address": address(port), "filter_chains": [
            { "filters": [http(&action)] },
        ] })
    };
    let upstream = json!({
        "name": "server",
        "load_assignment": { "cluster_name": "server", "endpoints": [{ "lb_endpoints": [
            { "endpoint": { "address": address(server.port) } },
        ] }] },
        "transport_socket": { "name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "common_tls_context": identity(
                "spiffe://example.org/client", "spiffe://example.org/server"),
        } },
    });
    Running::start(domain, name, listener, Some(upstream))
}

/// One connection for many requests.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// The status and the body of an answer.
    fn get(&mut self) -> (u16, String) {
        self.0.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: server\r\n\r\n").unwrap();
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap();
            }
            if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            assert!(!line.is_empty(), "the connection was dropped");
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }
}

#[test]
fn envoys_trust_each_other_and_rotate_without_dropping_a_connection() {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_holdfast"));
    let settings = TrustDomainSettings { x509_ttl: LIFE, ..TrustDomainSettings::default() };
    let domain = TrustDomain::start(SpiffeEngine::Holdfast(binary), settings);
    domain.register(&Registration::own("/server"));
    domain.register(&Registration::own("/client"));

    let own = server(&domain, "server", "spiffe://example.org/client");
    let proxy = client(&domain, "client", &own);
    let mut connection = Connection::open(proxy.port);
    assert_eq!(connection.get(), (200, "hello".to_owned()));
    // A server that wants somebody else refuses.
    let other = server(&domain, "other", "spiffe://example.org/somebody");
    let stranger = client(&domain, "stranger", &other);
    assert_eq!(Connection::open(stranger.port).get().0, 503);
    assert_eq!(other.counter("listener.*.ssl.fail_verify_san"), 1, "{:?}", other.ask("/stats"));

    // Requests that never rest, until both have had another certificate pushed.
    // Its counters have the names of secrets without a scheme.
    let updates = |envoy: &Running, name: &str| {
        envoy.counter(&format!("sds.spiffe_example.org{name}.update_success"))
    };
    let names = ["/server", "/client"];
    let start = Instant::now();
    let mut served = 1;
    while updates(&own, names[0]) < 2 || updates(&proxy, names[1]) < 2 {
        assert_eq!(connection.get(), (200, "hello".to_owned()));
        served += 1;
        assert!(
            start.elapsed() < LIFE + PATIENCE,
            "no rotation: {:?}",
            own.ask("/stats?filter=sds")
        );
    }
    assert_eq!(connection.get(), (200, "hello".to_owned()));
    served += 1;
    assert_eq!(proxy.counter("cluster.server.upstream_cx_total"), 1, "one connection for all");
    assert_eq!(proxy.counter("cluster.server.upstream_cx_destroy"), 0);
    assert_eq!(updates(&own, ""), 1, "the authorities are the same and were not pushed again");
    // And the new certificates are good for new connections.
    let again = client(&domain, "again", &own);
    assert_eq!(Connection::open(again.port).get(), (200, "hello".to_owned()));
    println!("{served} requests over one connection across a rotation");
}
