//! Listens to a client at work: a server between it and the real one, which writes a suite.
//!
//! What a client takes from one answer into a later request, such as an id or a token, is found
//! and kept by name, so that the suite can be run against any server.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::exchange::{Answer, Exchange, Line, Suite};
use crate::{Target, http, normal};

/// Header fields that every client sends and no answer depends on.
const USUAL: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "user-agent",
    "x-vault-request",
    "x-vault-token",
];
/// The most that a request's body holds.
const BODY: usize = 1 << 20;

/// A request as it came, and what the server made of it.
struct Overheard {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    answer: Option<Value>,
}

/// Runs `command` with `VAULT_ADDR` and `VAULT_TOKEN` set, and returns its exchanges with the server.
/// Their answers are still to be recorded.
///
/// # Errors
/// The command fails, or the server does not answer.
pub fn capture(name: &str, command: &[String], target: Target<'_>) -> Result<Suite> {
    let (program, arguments) = command.split_first().context("no command was given")?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("listen")?;
    let address = format!("http://{}", listener.local_addr()?);
    let overheard = Mutex::new(Vec::new());
    let status = thread::scope(|scope| {
        let overheard = &overheard;
        let accept = scope.spawn(move || {
            // A connection that says nothing is the signal to end.
            while let Ok((stream, _)) = listener.accept() {
                match serve(&stream, target) {
                    Ok(Some(one)) => overheard.lock().map(|mut all| all.push(one)).unwrap_or(()),
                    Ok(None) => return,
                    Err(error) => eprintln!("capture: {error:#}"),
                }
            }
        });
        let status = Command::new(program)
            .args(arguments)
            .env("VAULT_ADDR", &address)
            .env("VAULT_TOKEN", target.root_token)
            .status();
        drop(TcpStream::connect(address.trim_start_matches("http://")));
        let _ = accept.join();
        status
    });
    let status = status.with_context(|| format!("run {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    let overheard = overheard.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    Ok(Suite { name: name.to_owned(), lines: exchanges(overheard, target.root_token) })
}

/// Hands one request on. None where the connection closes without one.
fn serve(stream: &TcpStream, target: Target<'_>) -> Result<Option<Overheard>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else { bail!("{line:?}") };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "a request that breaks off");
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(Ok(0), |length| length.parse())?;
    ensure!(length <= BODY, "a body of {length} bytes");
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let passed = |name: &str| !["connection", "content-length", "host"].contains(&name);
    let request = http::Request {
        method,
        path,
        headers: headers
            .iter()
            .filter(|(name, _)| passed(name) && *name != "accept-encoding")
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        body: (length > 0).then_some(body.as_slice()),
    };
    let response = http::send(target.address, target.trust, &request)?;
    let head = format!(
        "HTTP/1.1 {} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        response.status,
        response.body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(&response.body)?;
    let answer = serde_json::from_slice(&response.body).ok();
    let (method, path) = (method.to_owned(), path.to_owned());
    Ok(Some(Overheard { method, path, headers, body, answer }))
}

/// What was overheard, with names for what goes from answers into later requests.
fn exchanges(overheard: Vec<Overheard>, root_token: &str) -> Vec<Line> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut seen = Seen::default();
    for one in overheard {
        let caller = match one.headers.get("x-vault-token").map(String::as_str) {
            Some(token) if token == root_token => None,
            None | Some("") => Some("nobody".to_owned()),
            Some(token) => Some(seen.name_of(token, &mut exchanges)),
        };
        let own = one.headers.iter().filter(|(name, _)| !USUAL.contains(&name.as_str()));
        let headers = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        let path = one.path.strip_prefix("/v1/").unwrap_or(&one.path);
        let request = format!("{} {}", one.method, seen.fill(path, &mut exchanges));
        let body = String::from_utf8_lossy(&one.body);
        let body = seen.fill(&body, &mut exchanges);
        let with = serde_json::from_str(&body).ok();
        let raw = (with.is_none() && !body.is_empty()).then_some(body);
        if let Some(answer) = &one.answer {
            seen.note(answer, "", exchanges.len());
        }
        exchanges.push(Exchange {
            shows: None,
            request,
            caller,
            headers,
            with,
            raw,
            keep: BTreeMap::new(),
            unordered: false,
            ignore: Vec::new(),
            answer: Answer::default(),
            ours: None,
        });
    }
    exchanges.into_iter().map(|exchange| Line::Exchange(Box::new(exchange))).collect()
}

/// What stood in answers and differs from run to run.
#[derive(Default)]
struct Seen(BTreeMap<String, Place>);

/// Where it stood first.
struct Place {
    exchange: usize,
    pointer: String,
}

impl Seen {
    /// Remembers what `value`, at `pointer` in the answer of `exchange`, has of such kind.
    fn note(&mut self, value: &Value, pointer: &str, exchange: usize) {
        match value {
            Value::String(text) if is_made_up(text) => {
                let place = Place { exchange, pointer: pointer.to_owned() };
                self.0.entry(text.clone()).or_insert(place);
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.note(item, &format!("{pointer}/{index}"), exchange);
                }
            }
            Value::Object(map) => {
                for (name, item) in map {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    self.note(item, &format!("{pointer}/{name}"), exchange);
                }
            }
            _ => {}
        }
    }

    /// The name that `text` is kept under, or itself where no answer had it.
    fn name_of(&self, text: &str, exchanges: &mut [Exchange]) -> String {
        self.0.get(text).map_or_else(|| text.to_owned(), |place| place.keep(exchanges))
    }

    /// `text` with names in place of what stood in answers.
    fn fill(&self, text: &str, exchanges: &mut [Exchange]) -> String {
        let mut filled = text.to_owned();
        for (value, place) in &self.0 {
            if filled.contains(value.as_str()) {
                let name = place.keep(exchanges);
                filled = filled.replace(value.as_str(), &format!("${{{name}}}"));
            }
        }
        filled
    }
}

impl Place {
    /// Has the exchange keep it, and says under which name.
    fn keep(&self, exchanges: &mut [Exchange]) -> String {
        // Such as `12/auth/client_token`.
        let name = format!("{}{}", self.exchange, self.pointer);
        exchanges[self.exchange].keep.insert(name.clone(), self.pointer.clone());
        name
    }
}

/// Whether a server chose it at random: a token, an id, an accessor, a ciphertext.
fn is_made_up(text: &str) -> bool {
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let has = |kind: fn(&u8) -> bool| text.as_bytes().iter().any(kind);
    let is_random_word = text.len() >= 20
        && is_word
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase);
    let is_whole =
        !text.contains(char::is_whitespace) && normal::normal_text(text).starts_with('<');
    is_random_word || is_whole || normal::is_accessor(text) || text.starts_with("vault:v")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_takes_from_an_answer_is_named() {
        let one = |path: &str, token: &str, answer: Value| Overheard {
            method: "GET".to_owned(),
            path: format!("/v1/{path}"),
            headers: BTreeMap::from([("x-vault-token".to_owned(), token.to_owned())]),
            body: Vec::new(),
            answer: Some(answer),
        };
        let token = "s.abcdefghijklmnopqrstuvwx";
        let accessor = "auth_approle_0a1b2c3d";
        let lines = exchanges(
            vec![
                one("a", "root", serde_json::json!({ "auth": { "client_token": token } })),
                one("b", token, serde_json::json!({ "data": { "x/": { "accessor": accessor } } })),
                one(&format!("c/{accessor}/d"), "", Value::Null),
            ],
            "root",
        );
        let suite = Suite { name: String::new(), lines };
        let all: Vec<_> = suite.exchanges().collect();
        assert_eq!(all[0].keep["0/auth/client_token"], "/auth/client_token");
        assert_eq!(all[1].caller.as_deref(), Some("0/auth/client_token"));
        assert_eq!(all[1].keep["1/data/x~1/accessor"], "/data/x~1/accessor");
        assert_eq!(all[2].request, "GET c/${1/data/x~1/accessor}/d");
        assert_eq!(all[2].caller.as_deref(), Some("nobody"));
    }
}
