//! What random policies allow, asked of two servers by `sys/capabilities`.
//!
//! The policies of a token are written over from case to case, so that a server that keeps what it
//! once made of them is found out, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::thread;

use anyhow::{Context, Result, ensure};
use holdfast_policy::testing::{Case, Generator};
use serde_json::{Value, json};

use crate::Target;
use crate::http::{self, Request};

/// Cases put to the servers at the same time.
const WORKERS: usize = 4;
/// The most policies that a case has.
const POLICIES: usize = 3;

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Comparison {
    /// How many pairs of policies and a path were compared.
    pub pairs: usize,
    /// Those that the servers decide otherwise, each with its policies.
    pub differences: Vec<String>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        write!(f, "{} pairs of policies and a path, {} differ", self.pairs, self.differences.len())
    }
}

/// Puts at least `pairs` pairs of policies and a path to both servers.
///
/// # Errors
/// A server does not answer, or refuses a policy.
pub fn compare(real: Target<'_>, ours: Target<'_>, pairs: usize) -> Result<Comparison> {
    let share = pairs.div_ceil(WORKERS);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| scope.spawn(move || compare_share(real, ours, number, share)))
            .collect();
        let mut all = Comparison::default();
        for worker in workers {
            let part = worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
            all.pairs += part.pairs;
            all.differences.extend(part.differences);
        }
        Ok(all)
    })
}

fn compare_share(
    real: Target<'_>,
    ours: Target<'_>,
    number: usize,
    share: usize,
) -> Result<Comparison> {
    let (real, ours) = (Oracle::new(real, number)?, Oracle::new(ours, number)?);
    let mut generator = Generator::new(1000 + number as u64);
    let mut comparison = Comparison::default();
    while comparison.pairs < share {
        let case = generator.case();
        let (want, got) = (real.ask(&case)?, ours.ask(&case)?);
        comparison.pairs += want.len();
        ensure!(want.len() == got.len(), "{} answers for {} paths", got.len(), want.len());
        for (path, want) in want {
            let got = &got[&path];
            if *got != want {
                let policies = case.policies.join("--\n");
                comparison
                    .differences
                    .push(format!("{path:?}: {got}, not {want}, under\n{policies}"));
            }
        }
    }
    Ok(comparison)
}

/// A server, with tokens that hold policies to be written over.
struct Oracle<'a> {
    target: Target<'a>,
    names: Vec<String>,
    /// The token at `n - 1` holds the first `n` policies.
    tokens: Vec<String>,
}

impl<'a> Oracle<'a> {
    fn new(target: Target<'a>, number: usize) -> Result<Self> {
        let names: Vec<_> = (0..POLICIES).map(|policy| format!("fuzz-{number}-{policy}")).collect();
        let mut oracle = Self { target, names, tokens: Vec::new() };
        for count in 1..=POLICIES {
            let body = json!({ "policies": oracle.names[..count], "no_default_policy": true });
            let answer = oracle.post("auth/token/create", &body)?;
            let token = answer["auth"]["client_token"].as_str().context("no token")?;
            oracle.tokens.push(token.to_owned());
        }
        Ok(oracle)
    }

    /// The capabilities that the case's policies give on each of its paths.
    fn ask(&self, case: &Case) -> Result<BTreeMap<String, Value>> {
        for (name, text) in self.names.iter().zip(&case.policies) {
            self.post(&format!("sys/policies/acl/{name}"), &json!({ "policy": text }))?;
        }
        let token = &self.tokens[case.policies.len() - 1];
        let paths: BTreeSet<_> = case.paths.iter().collect();
        let answer = self.post("sys/capabilities", &json!({ "token": token, "paths": paths }))?;
        ensure!(answer["data"].is_object(), "{}: no answer: {answer}", self.target.address);
        let of_path = |path: &&String| Some(((*path).clone(), answer["data"].get(*path)?.clone()));
        Ok(paths.iter().filter_map(of_path).collect())
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let request = Request {
            method: "POST",
            path: &format!("/v1/{path}"),
            headers: vec![("X-Vault-Token", self.target.root_token)],
            body: Some(body.as_bytes()),
        };
        let response = http::send(self.target.address, self.target.trust, &request)?;
        let text = String::from_utf8_lossy(&response.body);
        ensure!(response.status < 300, "{}: {path} {body}: {text}", self.target.address);
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}
