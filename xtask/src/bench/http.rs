//! HTTP/1.1, as much as a benchmark needs: requests that are written in one piece, answers that are
//! read by their length.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Appends a request to `buffer`. A body is JSON.
pub(super) fn write_request(
    buffer: &mut Vec<u8>,
    method: &str,
    path: &str,
    token: &str,
    body: &str,
) {
    let token =
        if token.is_empty() { String::new() } else { format!("X-Vault-Token: {token}\r\n") };
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
    };
    let head = format!("{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\n{token}{length}\r\n");
    buffer.extend_from_slice(head.as_bytes());
    buffer.extend_from_slice(body.as_bytes());
}

/// What the beginning of an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Bytes before the body.
    pub(super) head: usize,
    /// Bytes of the body, or none where it comes in chunks.
    pub(super) body: Option<usize>,
}

impl Answer {
    /// Reads the head of an answer. None: it is not complete yet.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&bytes[..end]).context("an answer's head is no text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.with_context(|| format!("no answer in HTTP: {head:?}"))?;
        let mut body = Some(0);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                body = Some(value.trim().parse().context("read an answer's length")?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                body = None;
            }
        }
        Ok(Some(Self { status, head: end + 4, body }))
    }

    /// Whether all of it stands in `bytes`. Chunks of JSON hold no line break of their own.
    pub(super) fn is_complete(&self, bytes: &[u8]) -> bool {
        match self.body {
            Some(length) => bytes.len() >= self.head + length,
            None => bytes.len() > self.head && bytes.ends_with(b"0\r\n\r\n"),
        }
    }

    fn body(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut rest = &bytes[self.head..];
        if let Some(length) = self.body {
            return Ok(rest[..length].to_vec());
        }
        let mut body = Vec::new();
        loop {
            let line = rest.windows(2).position(|window| window == b"\r\n");
            let line = line.context("a chunk without its length")?;
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..line])?, 16)?;
            let chunk = rest.get(line + 2..line + 2 + length).context("a chunk that is cut off")?;
            if length == 0 {
                return Ok(body);
            }
            body.extend_from_slice(chunk);
            rest = rest.get(line + 4 + length..).context("a chunk without its end")?;
        }
    }
}

/// Sends one request on a connection of its own. Gives the status, and the body where it is JSON.
pub(super) fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: &str,
    body: &Value,
) -> Result<(u16, Value)> {
    let mut stream = TcpStream::connect(address).context("connect")?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut bytes = Vec::new();
    write_request(&mut bytes, method, path, token, &body);
    stream.write_all(&bytes)?;
    bytes.clear();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(answer) = Answer::parse(&bytes)?
            && answer.is_complete(&bytes)
        {
            let value = serde_json::from_slice(&answer.body(&bytes)?).unwrap_or_default();
            return Ok((answer.status, value));
        }
        match stream.read(&mut buffer)? {
            0 => bail!("{method} {path}: the server hung up"),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
        ensure!(bytes.len() < 16 << 20, "{method} {path}: the answer has no end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_by_their_length() {
        let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let chunks = b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n\
                       1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
        let empty = b"HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n\r\n";
        for (bytes, status, body) in
            [(&plain[..], 200, &b"{}"[..]), (&chunks[..], 400, b"{}"), (&empty[..], 204, b"")]
        {
            for cut in 0..bytes.len() {
                let answer = Answer::parse(&bytes[..cut]).unwrap();
                assert!(answer.is_none_or(|answer| !answer.is_complete(&bytes[..cut])), "{cut}");
            }
            let answer = Answer::parse(bytes).unwrap().unwrap();
            assert!(answer.is_complete(bytes));
            assert_eq!((answer.status, answer.body(bytes).unwrap().as_slice()), (status, body));
        }
        assert!(Answer::parse(b"SMTP ready\r\n\r\n").is_err());
    }
}
