//! The suites that the real engine was recorded by, run against ours.

use std::path::Path;

use holdfast_conformance::run::run;
use holdfast_conformance::{Engine, Report, Target, vault};
use holdfast_testkit::{Stock, StockServer};

/// Ours in development mode, by the same options as the real one.
fn server() -> StockServer {
    let ours = Path::new(env!("CARGO_BIN_EXE_holdfast"));
    StockServer::start_binary(ours, &["vault", "server"])
}

#[test]
fn the_server_answers_as_the_real_one_but_where_the_suite_says_why() {
    let server = server();
    let target = Target {
        address: server.address(),
        root_token: StockServer::ROOT_TOKEN,
        engine: Engine::Ours,
    };
    let mut report = Report::default();
    for suite in vault::suites().expect("the suites parse") {
        report.add(run(&suite, target).expect("the server answers"));
    }
    assert!(report.exchanges > 900, "only {} exchanges", report.exchanges);
    assert!(report.differences.is_empty(), "{report}");
}

#[test]
fn hvac_walks_the_server() {
    let server = server();
    vault::walk_with_hvac(&Stock::install(), server.address(), StockServer::ROOT_TOKEN)
        .expect("hvac is not surprised");
}
