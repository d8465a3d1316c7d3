//! The commands of operators, asked of ours and of a real SPIRE: what is printed, and whether it went
//! well, must be the same for scripts. What people read on standard error is each one's own.

use std::path::PathBuf;

use holdfast_testkit::{Ca, SpiffeEngine, Spire, TrustDomain, TrustDomainSettings};

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
