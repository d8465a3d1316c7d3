//! The suites that the real engine was recorded by, run against ours.

use std::path::Path;

use holdfast_conformance::{Engine, Target, capabilities, vault};
use holdfast_testkit::{Stock, StockServer};

/// Ours in development mode, by the same options as the real one.
pub(crate) fn server() -> StockServer {
    let ours = Path::new(env!("CARGO_BIN_EXE_holdfast"));
    StockServer::start_binary(ours, &["vault", "server"])
}

#[test]
fn the_server_answers_as_the_real_one_but_where_the_suite_says_why() {
    let (plain, tls) = (server(), crate::clients::ours());
    let report = vault::run_all([&plain, &tls], Engine::Ours).expect("the servers answer");
    assert!(report.exchanges > 900, "only {} exchanges", report.exchanges);
    assert!(report.differences.is_empty(), "{report}");
}

#[test]
fn hvac_walks_the_server() {
    let server = server();
    vault::walk_with_hvac(&Stock::install(), server.address(), None, StockServer::ROOT_TOKEN)
        .expect("hvac is not surprised");
}

/// How many pairs of policies and a path; `cargo xtask prove policy` asks for 100,000.
const PAIRS: usize = 2_400;

#[test]
fn random_policies_allow_what_they_allow_on_the_real_server() {
    let pairs = std::env::var("HOLDFAST_PROVE_POLICY_PAIRS");
    let pairs = pairs.map_or(PAIRS, |pairs| pairs.parse().expect("a number of pairs"));
    let (real, ours) = (StockServer::start(&Stock::install()), server());
    fn target(server: &StockServer, engine: Engine) -> Target<'_> {
        Target {
            address: server.address(),
            root_token: StockServer::ROOT_TOKEN,
            engine,
            trust: None,
        }
    }
    let compared =
        capabilities::compare(target(&real, Engine::Real), target(&ours, Engine::Ours), pairs)
            .expect("both answer");
    assert!(compared.pairs >= pairs && compared.differences.is_empty(), "{compared}");
    println!("{compared}");
}
