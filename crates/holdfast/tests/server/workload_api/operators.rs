//! The commands of operators, asked of ours and of a real SPIRE: what is printed, and whether it went
//! well, must be the same for scripts. What people read on standard error is each one's own.

use std::path::PathBuf;

use holdfast_testkit::{Ca, SpiffeEngine, Spire, TrustDomain, TrustDomainSettings};
use serde_json::Value;

use super::side_by_side::{Outcomes, compare};

/// What is said otherwise, and why, in `docs/decisions/spiffe-server.md`.
const DIFFERENCES: &[&str] = &[
    "federation: update none",
    "federation: create again",
    "federation: two",
    "entry: delete none",
    "entry: delete",
];

const WEB: &[&str] = &[
    "-trustDomain",
    "other.test",
    "-bundleEndpointURL",
    "https://localhost:1/bundle",
    "-bundleEndpointProfile",
    "https_web",
];
const SPIFFE: &[&str] = &[
    "-trustDomain",
    "other.test",
    "-bundleEndpointURL",
    "https://localhost:1/other",
    "-bundleEndpointProfile",
    "https_spiffe",
    "-endpointSpiffeID",
    "spiffe://other.test/spire/server",
];

#[test]
fn ours_and_spires_commands_print_the_same() {
    let upstream = Ca::new("upstream");
    let ours = SpiffeEngine::Holdfast(PathBuf::from(env!("CARGO_BIN_EXE_holdfast")));
    let theirs = SpiffeEngine::Spire(Spire::install());
    let told = [ours, theirs].map(|engine| {
        let settings = TrustDomainSettings::default();
        walk(&TrustDomain::start_under(engine, settings, &upstream))
    });
    compare(&told[0], &told[1], DIFFERENCES);
}

fn walk(domain: &TrustDomain) -> Outcomes {
    let mut said: Outcomes = Vec::new();
    let mut ask = |name: &'static str, command: &[&str], flags: &[&str]| {
        let output = domain.tool(&[command, flags].concat()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // Each side's own agent, which joins SPIRE's server by a token.
        let text = text.replace(domain.agent_id(), "<agent>");
        let went = if output.status.success() { "done" } else { "failed" };
        said.push((name, format!("{went}: {text:?}")));
    };
    federation(&mut ask);
    entries(domain, &mut ask);
    bundles(&mut ask);
    said
}

fn federation(ask: &mut impl FnMut(&'static str, &[&str], &[&str])) {
    let other = &["-trustDomain", "other.test"];
    let id = &["-id", "other.test"];
    ask("federation: none", &["federation", "list"], &[]);
    ask("federation: show none", &["federation", "show"], other);
    ask("federation: update none", &["federation", "update"], WEB);
    ask("federation: refresh none", &["federation", "refresh"], id);
    ask("federation: delete none", &["federation", "delete"], id);
    ask("federation: create", &["federation", "create"], WEB);
    ask("federation: create again", &["federation", "create"], WEB);
    ask("federation: show", &["federation", "show"], other);
    ask("federation: one", &["federation", "list"], &[]);
    ask("federation: update", &["federation", "update"], SPIFFE);
    ask("federation: show what is new", &["federation", "show"], other);
    ask("federation: refresh what does not answer", &["federation", "refresh"], id);
    let second = [&["-trustDomain", "another.test"], &WEB[2..]].concat();
    ask("federation: create a second", &["federation", "create"], &second);
    ask("federation: two", &["federation", "list"], &[]);
    ask("federation: no profile", &["federation", "update"], &WEB[..4]);
    ask("federation: no URL", &["federation", "update"], &[&WEB[..2], &WEB[4..]].concat());
    ask("federation: of nobody", &["federation", "show"], &[]);
    ask("federation: delete", &["federation", "delete"], id);
    ask("federation: delete the second", &["federation", "delete"], &["-id", "another.test"]);
}

fn entries(domain: &TrustDomain, ask: &mut impl FnMut(&'static str, &[&str], &[&str])) {
    let parent = domain.agent_id();
    ask("entry: count none", &["entry", "count"], &[]);
    ask("entry: show none", &["entry", "show"], &[]);
    ask("entry: delete none", &["entry", "delete"], &["-entryID", "nothing"]);
    let backend = ["-spiffeID", "spiffe://example.org/backend", "-parentID", parent];
    ask("entry: no selector", &["entry", "create"], &backend);
    ask(
        "entry: wrong selector",
        &["entry", "create"],
        &[&backend[..], &["-selector", "x"]].concat(),
    );
    let wrong = ["-spiffeID", "backend", "-parentID", parent, "-selector", "unix:uid:1"];
    ask("entry: wrong ID", &["entry", "create"], &wrong);
    let good = [&backend[..], &["-selector", "unix:uid:1", "-entryID", "a"]].concat();
    let more = ["-x509SVIDTTL", "120", "-dns", "backend.example.org", "-hint", "main"];
    ask("entry: create", &["entry", "create"], &[&good[..], &more].concat());
    ask("entry: count", &["entry", "count"], &[]);
    ask("entry: show", &["entry", "show"], &["-entryID", "a"]);
    ask("entry: show by ID", &["entry", "show"], &["-spiffeID", "spiffe://example.org/backend"]);
    ask("entry: show by another", &["entry", "show"], &["-selector", "unix:uid:2"]);
    let less = ["-entryID", "a", "-jwtSVIDTTL", "60", "-selector", "unix:gid:2"];
    ask("entry: update", &["entry", "update"], &[&good[..6], &less].concat());
    ask("entry: show what is new", &["entry", "show"], &["-entryID", "a"]);
    let none = [&good[..6], &["-entryID", "nothing"]].concat();
    ask("entry: update none", &["entry", "update"], &none);
    let wrong = [&wrong[..], &["-entryID", "a"]].concat();
    ask("entry: update to a wrong ID", &["entry", "update"], &wrong);
    let back = [&good[..], &more].concat();
    ask("entry: update back", &["entry", "update"], &back);
    let twice = [&good[..6], &["-entryID", "b"]].concat();
    ask("entry: create the same", &["entry", "create"], &twice);
    ask("entry: delete", &["entry", "delete"], &["-entryID", "a"]);
    ask("entry: count none again", &["entry", "count"], &[]);
}

fn bundles(ask: &mut impl FnMut(&'static str, &[&str], &[&str])) {
    ask("bundle: list none", &["bundle", "list"], &[]);
    ask("bundle: delete none", &["bundle", "delete"], &["-id", "spiffe://other.test"]);
    ask(
        "bundle: set no file",
        &["bundle", "set"],
        &["-id", "spiffe://other.test", "-path", "/none"],
    );
    ask("token: of no life", &["token", "generate"], &["-ttl", "0"]);
}

/// What is said otherwise, and why, in `docs/decisions/spiffe-server.md`.
const AUTHORITIES: &[&str] = &[
    "x509: show the tainted",
    "x509: show what is left",
    "jwt: show the tainted",
    "jwt: show what is left",
];

#[test]
fn ours_and_spires_authorities_are_replaced_and_ended_the_same() {
    let ours = SpiffeEngine::Holdfast(PathBuf::from(env!("CARGO_BIN_EXE_holdfast")));
    let theirs = SpiffeEngine::Spire(Spire::install());
    let told = [ours, theirs].map(|engine| {
        let settings = TrustDomainSettings { self_signed: true, ..TrustDomainSettings::default() };
        let domain = TrustDomain::start(engine, settings);
        [replace(&domain, "x509"), replace(&domain, "jwt")].concat()
    });
    compare(&told[0], &told[1], AUTHORITIES);
}

/// The orders for one kind of authority, from the first one to its end.
fn replace(domain: &TrustDomain, kind: &str) -> Outcomes {
    let run = |order: &[&str]| {
        let output = domain.tool(&[&["localauthority", kind], order].concat()).output().unwrap();
        let went = if output.status.success() { "done" } else { "failed" };
        (went, String::from_utf8(output.stdout).unwrap())
    };
    let id_of = |standing: &str| {
        let shown: Value = serde_json::from_str(&run(&["show", "-output", "json"]).1).unwrap();
        shown[standing]["authority_id"].as_str().unwrap_or_default().to_owned()
    };
    let mut ids = vec![id_of("active")];
    let mut said: Outcomes = Vec::new();
    let mut ask = |name: &str, ids: &[String], order: &[&str]| {
        let (went, mut text) = run(order);
        for (index, id) in ids.iter().enumerate() {
            text = text.replace(id, &format!("<{index}>"));
        }
        let name: &'static str = format!("{kind}: {name}").leak();
        said.push((name, format!("{went}: {:?}", without_times(&text))));
    };
    ask("show", &ids, &["show"]);
    ask("show as JSON", &ids, &["show", "-output", "json"]);
    ask("activate nothing", &ids, &["activate"]);
    ask("activate what is not there", &ids, &["activate", "-authorityID", "none"]);
    ask("activate the active", &ids, &["activate", "-authorityID", &ids[0]]);
    ask("taint the active", &ids, &["taint", "-authorityID", &ids[0]]);
    ask("revoke the active", &ids, &["revoke", "-authorityID", &ids[0]]);
    assert_eq!(run(&["prepare"]).0, "done");
    ids.push(id_of("prepared"));
    ask("show the prepared", &ids, &["show"]);
    ask("taint the prepared", &ids, &["taint", "-authorityID", &ids[1]]);
    ask("revoke the prepared", &ids, &["revoke", "-authorityID", &ids[1]]);
    // What was prepared before is not activated any more.
    assert_eq!(run(&["prepare", "-output", "json"]).0, "done");
    ids.push(id_of("prepared"));
    ask("activate what was replaced", &ids, &["activate", "-authorityID", &ids[1]]);
    ask("activate", &ids, &["activate", "-authorityID", &ids[2]]);
    ask("show the old", &ids, &["show"]);
    ask("show the old as JSON", &ids, &["show", "-output", "json"]);
    ask("revoke the untainted", &ids, &["revoke", "-authorityID", &ids[0]]);
    ask("taint", &ids, &["taint", "-authorityID", &ids[0]]);
    ask("taint again", &ids, &["taint", "-authorityID", &ids[0]]);
    ask("show the tainted", &ids, &["show"]);
    ask("revoke", &ids, &["revoke", "-authorityID", &ids[0]]);
    ask("revoke again", &ids, &["revoke", "-authorityID", &ids[0]]);
    ask("show what is left", &ids, &["show"]);
    said
}

/// A command's text, or its JSON with the fields in order, without the moments in it.
fn without_times(text: &str) -> String {
    let text = match serde_json::from_str::<Value>(text) {
        Ok(json) => json.to_string(),
        Err(_) => text.to_owned(),
    };
    let words = text.split_inclusive([' ', '\n', '"']).map(|word| {
        let is_time =
            word.len() > 6 && word.bytes().take(8).all(|one| b"0123456789-:".contains(&one));
        if is_time { "<time> " } else { word }
    });
    words.collect()
}
