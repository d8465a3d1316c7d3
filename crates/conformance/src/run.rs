//! Runs suites against an address.
//!
//! Answers are compared in a normal form: times, identifiers, tokens and versions are replaced by
//! their kind, and the seconds that are left of a life are rounded. All else must be the same: the
//! status, every name, every value.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::database::Database;
use crate::exchange::{Answer, Exchange, Line, Ours, Suite};
use crate::http::Trust;
use crate::kubernetes::Cluster;
use crate::{http, normal, x509};

/// Whose answers are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The engine that the suite was recorded from.
    Real,
    /// Our part, which may differ where the suite says so.
    Ours,
}

/// A server to run against.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Such as `http://127.0.0.1:8200`.
    pub address: &'a str,
    /// The token for exchanges that name no caller.
    pub root_token: &'a str,
    /// What it is.
    pub engine: Engine,
    /// Whose certificate an `https://` address needs.
    pub trust: Option<&'a Trust>,
}

/// An answer that is not what the suite says.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The suite's name.
    pub suite: String,
    /// What was asked, and by whom.
    pub request: String,
    /// What the suite says.
    pub want: Answer,
    /// What came.
    pub got: Answer,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many exchanges were made.
    pub exchanges: usize,
    /// Those that were not as they should be.
    pub differences: Vec<Difference>,
}

impl Report {
    /// Adds another run.
    pub fn add(&mut self, other: Self) {
        self.exchanges += other.exchanges;
        self.differences.extend(other.differences);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        write!(f, "{} exchanges, {} differ", self.exchanges, self.differences.len())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suite, request, want, got } = self;
        writeln!(f, "{suite}: {request}")?;
        if want.status != got.status {
            writeln!(f, "    status {}, not {}", got.status, want.status)?;
        }
        let none = Value::String("<no body>".to_owned());
        let (want, got) = (want.body.as_ref(), got.body.as_ref());
        compare("", want.unwrap_or(&none), got.unwrap_or(&none), f)
    }
}

/// Writes a line for each place where two bodies differ.
fn compare(at: &str, want: &Value, got: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            for (name, value) in want {
                let at = format!("{at}/{name}");
                match got.get(name) {
                    Some(other) => compare(&at, value, other, f)?,
                    None => writeln!(f, "    {at} is missing, should be {value}")?,
                }
            }
            for (name, value) in got {
                if !want.contains_key(name) {
                    writeln!(f, "    {at}/{name} is {value}, should be missing")?;
                }
            }
            Ok(())
        }
        _ if want == got => Ok(()),
        _ => writeln!(f, "    {at} is {got}, should be {want}"),
    }
}

/// Makes every exchange of `suite` in turn and reports those that differ.
///
/// # Errors
/// The server does not answer, or an exchange refers to what was not kept.
pub fn run(suite: &Suite, target: Target<'_>) -> Result<Report> {
    let mut session = Session::new(target);
    let mut report = Report::default();
    for exchange in suite.exchanges() {
        let got = session.make(exchange).with_context(|| context(suite, exchange))?;
        let want = match (&exchange.ours, target.engine) {
            (Some(ours), Engine::Ours) => &ours.answer,
            _ => &exchange.answer,
        };
        report.exchanges += 1;
        if got != *want {
            report.differences.push(Difference {
                suite: suite.name.clone(),
                request: described(exchange),
                want: want.clone(),
                got,
            });
        }
    }
    Ok(report)
}

/// Makes every exchange and writes down what is answered.
///
/// # Errors
/// As for [`run`].
pub fn record(suite: &mut Suite, target: Target<'_>) -> Result<()> {
    let mut session = Session::new(target);
    let name = suite.name.clone();
    for line in &mut suite.lines {
        let Line::Exchange(exchange) = line else { continue };
        exchange.answer =
            session.make(exchange).with_context(|| format!("{name}: {}", described(exchange)))?;
    }
    Ok(())
}

/// Makes every exchange against our part and notes where it answers otherwise than the real engine.
/// A difference that is new has no reason yet.
///
/// # Errors
/// As for [`run`].
pub fn adopt(suite: &mut Suite, target: Target<'_>) -> Result<()> {
    let mut session = Session::new(target);
    let name = suite.name.clone();
    for line in &mut suite.lines {
        let Line::Exchange(exchange) = line else { continue };
        let answer =
            session.make(exchange).with_context(|| format!("{name}: {}", described(exchange)))?;
        let known = exchange.ours.take();
        if answer != exchange.answer {
            let why = known.map(|known| known.why).unwrap_or_default();
            exchange.ours = Some(Ours { why, answer });
        }
    }
    Ok(())
}

/// What was kept so far.
struct Session<'a> {
    target: Target<'a>,
    kept: BTreeMap<String, String>,
    database: Database,
    cluster: Cluster,
}

impl<'a> Session<'a> {
    fn new(target: Target<'a>) -> Self {
        Self {
            target,
            kept: BTreeMap::new(),
            database: Database::default(),
            cluster: Cluster::default(),
        }
    }

    /// Makes one exchange and gives its answer in normal form.
    fn make(&mut self, exchange: &Exchange) -> Result<Answer> {
        let (method, path) = exchange.request.split_once(' ').context("no path")?;
        let path = self.fill(path, str::to_owned)?;
        if method == "SQL" {
            let login = exchange
                .caller
                .as_deref()
                .map(|login| self.fill(login, str::to_owned))
                .transpose()?;
            let (status, mut body) = self.database.query(login.as_deref(), &path)?;
            normal::normalise(&mut body, exchange.unordered);
            return Ok(Answer { status, body: Some(body) });
        }
        let path = if path.starts_with('/') { path } else { format!("/v1/{path}") };
        let token = match exchange.caller.as_deref() {
            None => self.target.root_token.to_owned(),
            Some("nobody") => String::new(),
            Some(name) => self.kept.get(name).cloned().unwrap_or_else(|| name.to_owned()),
        };
        let mut headers = Vec::new();
        for (name, value) in &exchange.headers {
            headers.push((name.clone(), self.fill(value, str::to_owned)?));
        }
        if !token.is_empty() {
            headers.push(("X-Vault-Token".to_owned(), token));
        }
        let body = match (&exchange.with, &exchange.raw) {
            (Some(json), _) => Some(self.fill(&json.to_string(), in_json)?),
            (None, Some(raw)) => Some(self.fill(raw, str::to_owned)?),
            (None, None) => None,
        };
        let request = http::Request {
            method,
            path: &path,
            headers: headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
            body: body.as_deref().map(str::as_bytes),
        };
        let identity = exchange.shows.as_deref().map(|name| self.identity(name)).transpose()?;
        let (address, trust) = (self.target.address, self.target.trust);
        let response = http::send_showing(address, trust, identity.as_ref(), &request)?;
        let text = match String::from_utf8(response.body) {
            Ok(text) => text,
            Err(error) => x509::described_bytes(error.as_bytes())
                .unwrap_or_else(|| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        };
        let text = self.cluster.without_places(&self.database.without_places(&text));
        let mut body = match serde_json::from_str(&text) {
            Ok(json) => Some(json),
            Err(_) if text.is_empty() => None,
            Err(_) => Some(Value::String(text)),
        };
        for (name, pointer) in &exchange.keep {
            let found = body.as_ref().and_then(|body| body.pointer(pointer));
            let text = found.and_then(Value::as_str).map(str::to_owned);
            // Where the server answered otherwise, what follows shows it too.
            self.kept.insert(name.clone(), text.unwrap_or_else(|| "missing".to_owned()));
        }
        if let Some(body) = &mut body {
            for pointer in &exchange.ignore {
                if let Some(place) = body.pointer_mut(pointer) {
                    *place = Value::String("<any>".to_owned());
                }
            }
            normal::normalise(body, exchange.unordered);
        }
        Ok(Answer { status: response.status, body })
    }

    /// The client certificate that was kept under this name.
    fn identity(&self, name: &str) -> Result<http::Identity<'_>> {
        let kept = |name: &str| {
            let text = self.kept.get(name).map(String::as_str);
            text.with_context(|| format!("nothing was kept as {name:?}"))
        };
        Ok(http::Identity { certificate: kept(name)?, key: kept(&format!("{name}_key"))? })
    }

    /// `text` with what was kept in its place, `written` as it must be there.
    fn fill(&mut self, text: &str, written: impl Fn(&str) -> String) -> Result<String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').context("a ${ without its }")?;
            let value = match name.split_once('*') {
                // `${a*5000}`: a long text.
                Some((letter, times)) => letter.repeat(times.parse()?),
                None if name.starts_with("postgres_") => self.database.place(name)?,
                None if name.starts_with("kubernetes_") => written(&self.cluster.place(name)?),
                None => {
                    let kept = self.kept.get(name);
                    written(kept.with_context(|| format!("nothing was kept as {name:?}"))?)
                }
            };
            filled.push_str(before);
            filled.push_str(&value);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// Text inside a JSON string: a certificate has several lines.
fn in_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn described(exchange: &Exchange) -> String {
    let mut text = exchange.request.clone();
    if let Some(body) = &exchange.with {
        text.push_str(&format!(" {body}"));
    }
    if let Some(caller) = &exchange.caller {
        text.push_str(&format!(" as {caller}"));
    }
    if let Some(name) = &exchange.shows {
        text.push_str(&format!(" showing {name}"));
    }
    text
}

fn context(suite: &Suite, exchange: &Exchange) -> String {
    format!("{}: {}", suite.name, described(exchange))
}
