//! Every route of the checked-in list, asked for without a token and with one.

use std::path::Path;

use holdfast_conformance::run::record;
use holdfast_conformance::{Engine, Suite, Target};
use holdfast_testkit::StockServer;
use serde_json::{Value, json};

const ROUTES: &str = include_str!("../../../vault/routes.txt");

/// Routes that need no token. A new one is a decision, and stands here.
const OPEN: &[&str] = &[
    "sys/decode-token",
    "sys/health",
    "sys/init",
    "sys/internal/specs/openapi",
    "sys/internal/ui/mounts",
    "sys/internal/ui/mounts/{path*}",
    "sys/internal/ui/namespaces",
    "sys/leader",
    "sys/seal-status",
    "sys/unseal",
    "sys/wrapping/lookup",
    "identity/oidc/.well-known/openid-configuration",
    "identity/oidc/.well-known/keys",
    "identity/oidc/provider/{name}/.well-known/openid-configuration",
    "identity/oidc/provider/{name}/.well-known/keys",
    // What an authority publishes.
    "pki/issuer/{issuer_ref}/json",
    "pki/issuer/{issuer_ref}/der",
    "pki/issuer/{issuer_ref}/pem",
    "pki/issuer/{issuer_ref}/crl",
    "pki/issuer/{issuer_ref}/crl/der",
    "pki/issuer/{issuer_ref}/crl/pem",
    "pki/issuer/{issuer_ref}/crl/delta",
    "pki/issuer/{issuer_ref}/crl/delta/der",
    "pki/issuer/{issuer_ref}/crl/delta/pem",
    "pki/cert/ca_chain",
    "pki/cert/crl",
    "pki/cert/delta-crl",
    "pki/cert/{serial}",
    "pki/cert/{serial}/raw",
    "pki/cert/{serial}/raw/pem",
    "pki/ca",
    "pki/ca/pem",
    "pki/ca_chain",
    "pki/crl",
    "pki/crl/pem",
    "pki/crl/delta",
    "pki/crl/delta/pem",
    "pki/ocsp",
    "pki/ocsp/{req*}",
];

/// What is open besides: a development server's numbers, and the list of issuers, which is open by
/// the slash at its end.
const OPEN_BESIDES: &[&str] = &["sys/metrics", "pki/issuers"];

/// What would end the server or the token that asks, and what answers without an end.
const NOT_FOR_ROOT: &[&str] = &["sys/seal", "auth/token/revoke-self", "sys/monitor"];

struct Row {
    pattern: &'static str,
    operations: Vec<&'static str>,
    access: &'static str,
}

fn rows() -> Vec<Row> {
    let lines = ROUTES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rows = lines.map(|line| {
        let mut words = line.split(' ');
        let mut next = || words.next().expect("three words");
        let (pattern, operations, access) = (next(), next(), next());
        Row { pattern, operations: operations.split(',').collect(), access }
    });
    rows.collect()
}

/// The path of a route, with `x` for each parameter that takes it.
fn sample(pattern: &str) -> String {
    let segment = |segment| match segment {
        "{type}" => "auth",
        "{urlalgorithm}" => "sha2-256",
        "{serial}" => "00:11",
        segment if str::starts_with(segment, "{") => "x",
        segment => segment,
    };
    pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn exchange(method: &str, path: &str, caller: Option<&str>) -> Value {
    let mut exchange = json!({ "do": format!("{method} {path}") });
    if let Some(caller) = caller {
        exchange["as"] = caller.into();
    }
    if matches!(method, "PUT" | "PATCH") {
        exchange["with"] = json!({});
    }
    if method == "PATCH" {
        exchange["headers"] = json!({ "Content-Type": "application/merge-patch+json" });
    }
    exchange
}

fn method(operation: &str) -> &'static str {
    match operation {
        "read" => "GET",
        "list" => "LIST",
        "scan" => "SCAN",
        "create" | "update" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        other => panic!("{other} is no operation"),
    }
}

/// A mount for each table of the list that has none yet.
fn mounts() -> Vec<Value> {
    let own = ["sys/", "identity/", "cubbyhole/", "auth/token/"];
    let mut made: Vec<String> = Vec::new();
    let mut requests = Vec::new();
    for row in rows() {
        if own.iter().any(|own| row.pattern.starts_with(own)) {
            continue;
        }
        let mut segments = row.pattern.split('/');
        let first = segments.next().expect("a segment");
        let (at, name) = match first {
            "auth" => ("sys/auth", segments.next().expect("a login method")),
            engine => ("sys/mounts", engine),
        };
        let path = format!("{at}/{name}");
        if made.contains(&path) {
            continue;
        }
        let (kind, version) = name.split_once("-v").unwrap_or((name, ""));
        let mut mount = exchange("PUT", &path, None);
        mount["with"] = json!({ "type": kind });
        if !version.is_empty() {
            mount["with"]["options"] = json!({ "version": version });
        }
        requests.push(mount);
        made.push(path);
    }
    requests
}

/// Makes the requests, each once; returns what was asked, the status and the body.
fn answers(requests: &[Value]) -> Vec<(String, u16, String)> {
    let ours = Path::new(env!("CARGO_BIN_EXE_holdfast"));
    let server = StockServer::start_binary(ours, &["vault", "server"]);
    let lines: Vec<_> = requests.iter().map(Value::to_string).collect();
    let mut suite = Suite::parse("routes", &lines.join("\n")).expect("the requests parse");
    let target = Target {
        address: server.address(),
        root_token: StockServer::ROOT_TOKEN,
        engine: Engine::Ours,
        trust: None,
    };
    record(&mut suite, target).expect("the server answers");
    let answered = suite.exchanges().map(|exchange| {
        let body = exchange.answer.body.as_ref().map(Value::to_string).unwrap_or_default();
        (exchange.request.clone(), exchange.answer.status, body)
    });
    answered.collect()
}

#[test]
fn no_route_answers_without_a_token_but_those_that_are_known_to() {
    let rows = rows();
    let logins = |pattern: &str| pattern.starts_with("auth/");
    let open: Vec<_> = rows.iter().filter(|row| row.access == "open").collect();
    let of_server: Vec<_> =
        open.iter().map(|row| row.pattern).filter(|pattern| !logins(pattern)).collect();
    assert_eq!(of_server, OPEN);
    assert!(open.iter().any(|row| row.pattern == "auth/approle/login"));

    let mut requests = mounts();
    let first = requests.len();
    let is_closed = |row: &&Row| row.access != "open" && !OPEN_BESIDES.contains(&row.pattern);
    for row in rows.iter().filter(is_closed) {
        for operation in &row.operations {
            requests.push(exchange(method(operation), &sample(row.pattern), Some("nobody")));
        }
    }
    let answered = answers(&requests);
    assert!(answered.len() > 300, "only {} requests", answered.len());
    let wrong: Vec<_> = answered[first..].iter().filter(|(_, status, _)| *status != 403).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_route_of_the_list_is_served() {
    let mut requests = mounts();
    let first = requests.len();
    // What is made on the way is removed last, and what lies in it before it.
    let mut removals = Vec::new();
    for row in rows().iter().filter(|row| !NOT_FOR_ROOT.contains(&row.pattern)) {
        for operation in &row.operations {
            let request = exchange(method(operation), &sample(row.pattern), None);
            match *operation {
                "delete" => removals.insert(0, request),
                _ => requests.push(request),
            }
        }
    }
    requests.append(&mut removals);
    let answered = answers(&requests);
    for (request, status, body) in &answered[..first] {
        assert_eq!(*status, 204, "{request}: {body}");
    }
    let unserved = |status: u16, body: &str| {
        let words = ["unsupported path", "unsupported operation", "no handler"];
        status == 405 || words.iter().any(|words| body.contains(words))
    };
    let wrong: Vec<_> =
        answered[first..].iter().filter(|(_, status, body)| unserved(*status, body)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
