//! Every route of the server, tried by those who may do nothing: nobody is told anything, and what
//! exists is refused as what does not, in the same words and in the same time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast_testkit::StockServer;
use serde_json::{Value, json};

use crate::conformance::server;
use crate::keep_alive::{Answer, Connection};

/// The list that the router's tables are printed to.
const ROUTES: &str = include_str!("../../../vault/routes.txt");
/// Stored where it can be: no answer may hold it.
const CANARY: &str = "canary-9f2d41";
/// Stands for a name in a path: one that is there, and one that is not.
const THERE: &str = "kept-1";
const MISSING: &str = "lost-1";

/// A route of the list.
struct Route {
    pattern: &'static str,
    operations: Vec<&'static str>,
    is_open: bool,
}

fn routes() -> Vec<Route> {
    let lines = ROUTES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parse = |line: &'static str| {
        let words: Vec<_> = line.split(' ').collect();
        let [pattern, operations, needs] = words[..] else { panic!("{line:?}") };
        let operations = operations.split(',').collect();
        // A development server shows its numbers to everybody, an authority its issuers.
        let is_open = needs == "open" || ["sys/metrics", "pki/issuers"].contains(&pattern);
        Route { pattern, operations, is_open }
    };
    lines.map(parse).collect()
}

impl Route {
    /// The path with `name` for each of its parameters.
    fn path(&self, name: &str) -> String {
        let fill = |segment: &str| match segment.starts_with('{') {
            true => name.to_owned(),
            false => segment.to_owned(),
        };
        self.pattern.split('/').map(fill).collect::<Vec<_>>().join("/")
    }

    fn has_parameter(&self) -> bool {
        self.pattern.contains('{')
    }
}

fn method(operation: &str) -> &'static str {
    match operation {
        "read" => "GET",
        "list" => "LIST",
        "scan" => "SCAN",
        "create" | "update" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        other => panic!("no method for {other:?}"),
    }
}

/// Those who may do nothing.
fn callers(root: &mut Connection) -> Vec<(&'static str, String)> {
    let body = json!({ "policies": ["no-rights"], "no_default_policy": true });
    let created = root.ask("PUT", "auth/token/create", Some(&body));
    let token = created.json()["auth"]["client_token"].as_str().unwrap().to_owned();
    let wrong = "s.AAAAAAAAAAAAAAAAAAAAAAAA".to_owned();
    vec![("no token", String::new()), ("a wrong token", wrong), ("no rights", token)]
}

/// Mounts everything that the list knows, and puts something named [`THERE`] wherever a path can
/// name something.
fn furnish(root: &mut Connection) {
    let mut put = |path: &str, body: Value| {
        let answer = root.ask("PUT", path, Some(&body));
        assert!(answer.status < 300, "{path}: {}", answer.text());
    };
    let mut mounts: BTreeMap<&str, &str> = BTreeMap::new();
    for route in routes() {
        let (first, rest) = route.pattern.split_once('/').unwrap();
        match first {
            "sys" | "identity" | "cubbyhole" => {}
            "auth" => {
                let kind = rest.split('/').next().unwrap();
                mounts.insert(&route.pattern[..first.len() + 1 + kind.len()], kind);
            }
            kind => {
                mounts.insert(kind, kind);
            }
        }
    }
    mounts.remove("auth/token");
    for (path, kind) in mounts {
        let body = match kind {
            "kv-v1" | "kv-v2" => json!({ "type": "kv", "options": { "version": &kind[4..] } }),
            kind => json!({ "type": kind }),
        };
        let path = match path.strip_prefix("auth/") {
            Some(path) => format!("sys/auth/{path}"),
            None => format!("sys/mounts/{path}"),
        };
        put(&path, body);
    }
    put(&format!("sys/mounts/{THERE}"), json!({ "type": "kv" }));
    put(&format!("sys/auth/{THERE}"), json!({ "type": "approle" }));
    put(&format!("sys/policies/acl/{THERE}"), json!({ "policy": "path \"x\" {}" }));
    put(&format!("kv-v1/{THERE}"), json!({ "value": CANARY }));
    put(&format!("kv-v2/data/{THERE}"), json!({ "data": { "value": CANARY } }));
    put(&format!("{THERE}/{THERE}"), json!({ "value": CANARY }));
    put(&format!("auth/approle/role/{THERE}"), json!({ "token_ttl": "1m" }));
    put(&format!("auth/userpass/users/{THERE}"), json!({ "password": CANARY }));
    put(&format!("auth/token/roles/{THERE}"), json!({ "orphan": true }));
    put("identity/entity", json!({ "name": THERE }));
    put("identity/group", json!({ "name": THERE }));
    put(&format!("transit/keys/{THERE}"), json!({}));
    put("pki/root/generate/internal", json!({ "common_name": "root", "key_type": "ec" }));
    put(&format!("pki/roles/{THERE}"), json!({ "allow_any_name": true }));
}

fn connections() -> (StockServer, Connection) {
    let server = server();
    let root = Connection::new(server.address(), StockServer::ROOT_TOKEN);
    (server, root)
}

#[test]
fn whoever_may_do_nothing_is_told_nothing_on_any_route() {
    let (server, mut root) = connections();
    furnish(&mut root);
    let mut tried = 0;
    for (who, token) in callers(&mut root) {
        let mut caller = Connection::new(server.address(), &token);
        for route in routes() {
            for operation in &route.operations {
                let mut ask = |name| {
                    let body = matches!(method(operation), "PUT" | "PATCH").then(|| json!({}));
                    caller.ask(method(operation), &route.path(name), body.as_ref())
                };
                let (there, missing) = (ask(THERE), ask(MISSING));
                tried += 2;
                let what = format!("{operation} {} with {who}", route.pattern);
                for answer in [&there, &missing] {
                    assert!(answer.status != 500, "{what}: {}", answer.text());
                    assert!(!answer.text().contains(CANARY), "{what}: {}", answer.text());
                    if !route.is_open {
                        assert!(answer.status >= 400, "{what}: {}", answer.text());
                    }
                }
                if route.has_parameter() && !route.is_open {
                    assert_eq!(seen(&there, THERE), seen(&missing, MISSING), "{what}");
                }
            }
        }
    }
    println!("{tried} requests");
}

/// What the caller sees of an answer, but for the name that it asked for itself.
fn seen(answer: &Answer, name: &str) -> (u16, Vec<String>, String) {
    let hide = |text: &str| text.replace(name, "<name>");
    let is_own =
        |line: &&String| !line.starts_with("date:") && !line.starts_with("x-holdfast-explain:");
    let head = answer.head.iter().filter(is_own).map(|line| hide(line)).collect();
    (answer.status, head, hide(&answer.text()))
}

/// How often each route is timed; `cargo xtask prove refusals` asks for it. None: not at all, since
/// what is measured on a busy machine fails for no reason.
fn rounds() -> Option<usize> {
    let rounds = std::env::var("HOLDFAST_PROVE_REFUSALS_ROUNDS").ok()?;
    Some(rounds.parse().expect("a number of rounds"))
}

#[test]
fn what_exists_is_refused_in_the_time_of_what_does_not() {
    let Some(rounds) = rounds() else { return };
    let (server, mut root) = connections();
    furnish(&mut root);
    let callers = callers(&mut root);
    let (server, mut found) = (&server, Vec::new());
    std::thread::scope(|scope| {
        // Most of the time is spent waiting for refusals, so they can be timed side by side.
        let timers: Vec<_> = callers
            .iter()
            .map(|(who, token)| scope.spawn(move || differences(server, who, token, rounds)))
            .collect();
        found.extend(timers.into_iter().flat_map(|timer| timer.join().unwrap()));
    });
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    println!("the largest difference: {}", found[0].1);
    let leaks: Vec<_> = found.iter().filter(|(t, _)| *t > LIMIT).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// For each route, how far what exists is from what does not, and what it is.
fn differences(server: &StockServer, who: &str, token: &str, rounds: usize) -> Vec<(f64, String)> {
    let mut caller = Connection::new(server.address(), token);
    let mut pairs: Vec<(&str, String, String)> = vec![
        ("GET", format!("{THERE}/data/x"), format!("{MISSING}/data/x")),
        ("GET", format!("auth/{THERE}/role/x"), format!("auth/{MISSING}/role/x")),
    ];
    for route in routes().iter().filter(|route| route.has_parameter() && !route.is_open) {
        let method = method(route.operations[0]);
        pairs.push((method, route.path(THERE), route.path(MISSING)));
    }
    let time = |(method, there, missing): (&str, String, String)| {
        let t = difference(&mut caller, method, [&there, &missing], rounds).abs();
        (t, format!("{method} {there} with {who}: t = {t:.1}"))
    };
    pairs.into_iter().map(time).collect()
}

/// Beyond this a difference in time is taken for real: by chance one pair in a million comes so
/// far, and those are measured again.
const LIMIT: f64 = 5.0;

/// Welch's t of the times of two requests that are made in turn, without the slowest tenth. A value
/// beyond the limit is measured again with four times the rounds: what is real grows with their
/// root, what is chance does not.
fn difference(caller: &mut Connection, method: &str, paths: [&str; 2], rounds: usize) -> f64 {
    let t = welch(time(caller, method, paths, rounds));
    if t.abs() <= LIMIT {
        return t;
    }
    welch(time(caller, method, paths, rounds * 4))
}

fn time(
    caller: &mut Connection,
    method: &str,
    paths: [&str; 2],
    rounds: usize,
) -> [Vec<Duration>; 2] {
    let body = matches!(method, "PUT" | "PATCH").then(|| json!({}));
    let mut times = [Vec::with_capacity(rounds), Vec::with_capacity(rounds)];
    for round in 0..rounds * 2 {
        // In turn, and each as often after itself as after the other.
        let which = (round ^ (round >> 1)) & 1;
        let start = Instant::now();
        caller.ask(method, paths[which], body.as_ref());
        times[which].push(start.elapsed());
    }
    times
}

fn welch(times: [Vec<Duration>; 2]) -> f64 {
    let of = |mut times: Vec<Duration>| {
        times.sort();
        times.truncate(times.len() * 9 / 10);
        let count = times.len() as f64;
        let micros = |time: &Duration| time.as_secs_f64() * 1e6;
        let mean = times.iter().map(micros).sum::<f64>() / count;
        let square = |time| (micros(time) - mean).powi(2);
        let variance = times.iter().map(square).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    };
    let [(mean, error), (other_mean, other_error)] = times.map(of);
    (mean - other_mean) / (error + other_error).sqrt()
}
