//! The suites of the Vault API, recorded from OpenBao 2.7.2.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use holdfast_testkit::{Stock, StockServer};

use crate::run::run;
use crate::{Engine, Report, Suite, Target, Trust};

/// What a program does that uses hvac, with its assertions.
const HVAC_WALK: &str = include_str!("../clients/walk.py");

/// The same for logins by certificate and JWT, which need files.
const HVAC_LOGINS: &str = include_str!("../clients/logins.py");

macro_rules! suite_files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../exchanges/vault/", $name, ".jsonl")))),*]
    };
}

/// All of them, in the order in which they are run. Each works on mounts, policies and roles of its
/// own on a server in development mode, so that they can be run alone, too.
///
/// # Errors
/// A file does not parse.
pub fn suites() -> Result<Vec<Suite>> {
    let files = suite_files![
        "config",
        "quotas",
        "remount",
        "server",
        "tune",
        "system",
        "bad-input",
        "mounts",
        "policies",
        "password-policies",
        "tokens",
        "wrapping",
        "kv-v2",
        "kv-v1",
        "kv-values",
        "cubbyhole",
        "database",
        "approle",
        "userpass",
        "cert",
        "jwt",
        "oidc",
        "kubernetes",
        "lockout",
        "leases",
        "unknown-fields",
        "identity",
        "identity-tokens",
        "token-roles",
        "transit",
        "terraform",
        "pki",
    ];
    files.into_iter().map(|(name, text)| Suite::parse(name, text)).collect()
}

/// Runs every suite against one of two servers of the same kind: the one without TLS, or, where the
/// suite shows client certificates, the other.
///
/// # Errors
/// A server does not answer.
pub fn run_all([plain, tls]: [&StockServer; 2], engine: Engine) -> Result<Report> {
    let authority = tls.ca_file().context("the second server speaks TLS")?;
    let trust = Trust::from_file(&authority)?;
    let mut report = Report::default();
    for suite in suites()? {
        let (server, trust) = match suite.needs_tls() {
            true => (tls, Some(&trust)),
            false => (plain, None),
        };
        let (address, root_token) = (server.address(), StockServer::ROOT_TOKEN);
        report.add(run(&suite, Target { address, root_token, engine, trust })?);
    }
    Ok(report)
}

/// Walks the API of the server at `address` with the stock hvac. An `https://` address needs the
/// PEM file of the `authority` that its certificate is from.
///
/// # Errors
/// What surprised it.
pub fn walk_with_hvac(
    stock: &Stock,
    address: &str,
    authority: Option<&Path>,
    root_token: &str,
) -> Result<()> {
    hvac(stock, authority, &[HVAC_WALK, address, root_token])
}

/// Logs in to the server with the stock hvac by certificate and by JWT, over TLS. What `folder`
/// holds is said in the script.
///
/// # Errors
/// What surprised it.
pub fn log_in_with_hvac(
    stock: &Stock,
    server: &StockServer,
    folder: &Path,
    engine: Engine,
) -> Result<()> {
    let engine = match engine {
        Engine::Real => "real",
        Engine::Ours => "ours",
    };
    let authority = server.ca_file().context("the server speaks TLS")?;
    let folder = folder.to_str().context("a folder with a name of UTF-8")?;
    let arguments = [HVAC_LOGINS, server.address(), StockServer::ROOT_TOKEN, folder, engine];
    hvac(stock, Some(&authority), &arguments)
}

/// Runs a script, which comes first, with these arguments.
fn hvac(stock: &Stock, authority: Option<&Path>, arguments: &[&str]) -> Result<()> {
    let mut walk = Command::new(stock.python());
    if let Some(authority) = authority {
        // What hvac's HTTP library reads.
        walk.env("REQUESTS_CA_BUNDLE", authority);
    }
    let output = walk.arg("-c").args(arguments).output().context("run Python")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "hvac against {}:\n{said}{complained}", arguments[1]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_server_still_answers_as_it_was_recorded() {
        let stock = Stock::install();
        let (plain, tls) =
            (StockServer::start(&stock), StockServer::start_tls(stock.bao(), &["server"]));
        let report = run_all([&plain, &tls], Engine::Real).unwrap();
        assert!(report.exchanges > 900, "only {} exchanges", report.exchanges);
        assert!(report.differences.is_empty(), "{report}");
    }

    #[test]
    fn every_difference_of_ours_has_a_reason() {
        for suite in suites().unwrap() {
            for exchange in suite.exchanges() {
                if let Some(ours) = &exchange.ours {
                    let request = &exchange.request;
                    assert_ne!(
                        ours.answer, exchange.answer,
                        "{}: {request} is the same",
                        suite.name
                    );
                    assert!(ours.why.len() > 10, "{}: {request} has no reason", suite.name);
                }
            }
        }
    }

    #[test]
    fn hvac_walks_the_real_server() {
        let stock = Stock::install();
        let server = StockServer::start(&stock);
        walk_with_hvac(&stock, server.address(), None, StockServer::ROOT_TOKEN).unwrap();
    }
}
