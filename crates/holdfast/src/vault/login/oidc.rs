//! Logging in by redirects: the user logs in at the issuer with a browser, which comes back to this
//! command with a code.

use std::net::Ipv4Addr;
use std::time::Duration;

use holdfast_client::vault::VaultClient;
use holdfast_types::{Random, SystemRandom};
use http::Uri;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::super::Failure;
use super::super::output::warn;
use super::super::secret::Secret;

/// Where OpenBao's command listens, so that roles already allow it.
const PORT: u16 = 8250;
const CALLBACK: &str = "/oidc/callback";
/// As long as the server keeps a login that has begun.
const PATIENCE: Duration = Duration::from_secs(600);
/// A browser sends what it has at once.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// A longer request is not read to its end.
const MOST_BYTES: usize = 32 * 1024;

/// What the page in the browser says.
const DONE: &str = "You are logged in. This page can be closed.";
const FAILED: &str = "The login failed: the command line says why. This page can be closed.";

/// Logs in at the method mounted at `mount`. Fields: `role`, `port`.
pub(super) async fn log_in(
    client: &VaultClient,
    mount: &str,
    fields: &Map<String, Value>,
) -> Result<Secret, Failure> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let port = match text("port") {
        "" => PORT,
        port => port.parse().map_err(|_| {
            Failure::Usage(format!("port is a number up to {}, not {port:?}", u16::MAX))
        })?,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        Failure::Request(format!("Error authenticating: listen at 127.0.0.1:{port}: {error}"))
    })?;
    let random: &dyn Random = &SystemRandom;
    let client_nonce = random.base62(20);
    let order = json!({
        "role": text("role"),
        "redirect_uri": format!("http://localhost:{port}{CALLBACK}"),
        "client_nonce": client_nonce,
    });
    let begun = Secret::write(client, &format!("auth/{mount}/oidc/auth_url"), &order).await;
    let begun = begun.map_err(Failure::doing("Error authenticating"))?.unwrap_or_default();
    let url = begun.data.as_ref().and_then(|data| data.get("auth_url")).and_then(Value::as_str);
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        return Err(Failure::Request(format!(
            "Error authenticating: the role does not allow http://localhost:{port}{CALLBACK}: it \
             must stand in the role's allowed_redirect_uris, and the role be of the type oidc"
        )));
    };
    warn(&format!("Log in with a browser on this machine, at:\n\n    {url}\n"));
    let (stream, query) = timeout(PATIENCE, callback(&listener)).await.map_err(|_| {
        Failure::Request("Error authenticating: nobody logged in within ten minutes".into())
    })?;
    let mut query: Vec<_> = query.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    query.push(("client_nonce", &client_nonce));
    let path = format!("auth/{mount}/oidc/callback");
    let ended = Secret::read(client, &path, &query).await;
    let is_in = ended.as_ref().is_ok_and(Option::is_some);
    // The browser may be gone; the login does not depend on it.
    let _ = respond(stream, 200, if is_in { DONE } else { FAILED }).await;
    ended.map_err(Failure::doing("Error authenticating"))?.ok_or_else(|| {
        Failure::Request("Error extracting token: empty response from auth helper".into())
    })
}

/// The request with which the browser comes back: its connection and its query. Whatever else
/// connects is answered and forgotten.
async fn callback(listener: &TcpListener) -> (TcpStream, Vec<(String, String)>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        match timeout(REQUEST_PATIENCE, target(&mut stream)).await {
            Ok(Some(uri)) if uri.path() == CALLBACK => {
                return (stream, query_of(&uri));
            }
            _ => drop(respond(stream, 404, "Nothing is here.").await),
        }
    }
}

/// What the request of a browser asks for.
async fn target(stream: &mut TcpStream) -> Option<Uri> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
        request.extend_from_slice(&buffer[..length]);
        if request.len() > MOST_BYTES {
            return None;
        }
    }
    let line = String::from_utf8_lossy(&request);
    let mut words = line.lines().next()?.split(' ');
    match words.next()? {
        "GET" => words.next()?.parse().ok(),
        _ => None,
    }
}

/// The fields that the server knows, decoded.
fn query_of(uri: &Uri) -> Vec<(String, String)> {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let known = pairs.filter(|(name, _)| {
        matches!(*name, "state" | "code" | "id_token" | "error" | "error_description")
    });
    known.map(|(name, value)| (name.to_owned(), decode(value))).collect()
}

/// A value of a query: `+` is a space, `%2B` a plus.
fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = || after.get(..2).and_then(|pair| hex::decode(pair).ok());
        match (first, escaped()) {
            (b'%', Some(byte)) => {
                bytes.extend(byte);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn respond(mut stream: TcpStream, status: u16, text: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} OK\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_browser_comes_back_after_whatever_else_connects() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let browser = tokio::spawn(async move {
            let mut answers = Vec::new();
            for line in [
                "GET /favicon.ico",
                "POST /oidc/callback",
                "GET /oidc/callback?state=st_1&code=a%2Bb+c&session=x",
            ] {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                answers.push(answer);
            }
            answers
        });
        let (stream, query) = callback(&listener).await;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(query, [pair("state", "st_1"), pair("code", "a+b c")]);
        respond(stream, 200, DONE).await.unwrap();
        let answers = browser.await.unwrap();
        assert!(answers[0].starts_with("HTTP/1.1 404"), "{}", answers[0]);
        assert!(answers[1].starts_with("HTTP/1.1 404"), "{}", answers[1]);
        assert!(answers[2].ends_with(DONE), "{}", answers[2]);
    }
}
