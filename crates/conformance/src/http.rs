//! HTTP as it is written: a client that tidies a path would hide what a server makes of it.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned};

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// With the leading `/`.
    pub(crate) path: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: Option<&'a [u8]>,
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// The certificate authority that servers with an `https://` address must have their names from.
pub struct Trust {
    roots: RootCertStore,
    anonymous: Arc<ClientConfig>,
}

/// A client certificate with its private key, both in PEM.
pub(crate) struct Identity<'a> {
    pub(crate) certificate: &'a str,
    pub(crate) key: &'a str,
}

impl Trust {
    /// Reads it from a PEM file.
    ///
    /// # Errors
    /// The file holds no certificate.
    pub fn from_file(path: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(path).with_context(|| path.display().to_string())?;
        for certificate in certificates {
            roots.add(certificate?)?;
        }
        ensure!(!roots.is_empty(), "{} holds no certificate", path.display());
        let config = client(roots.clone())?.with_no_client_auth();
        Ok(Self { roots, anonymous: Arc::new(config) })
    }

    fn showing(&self, identity: &Identity<'_>) -> Result<Arc<ClientConfig>> {
        let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().context("read a client certificate")?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).context("read its key")?;
        let config = client(self.roots.clone())?;
        Ok(Arc::new(config.with_client_auth_cert(chain, key)?))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

fn client(roots: RootCertStore) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots))
}

/// Makes one request on a connection of its own. `address` is `http://host:port`, or
/// `https://host:port` where there is a `trust`.
pub(crate) fn send(
    address: &str,
    trust: Option<&Trust>,
    request: &Request<'_>,
) -> Result<Response> {
    send_showing(address, trust, None, request)
}

/// The same, and over TLS the client may show who it is.
pub(crate) fn send_showing(
    address: &str,
    trust: Option<&Trust>,
    identity: Option<&Identity<'_>>,
    request: &Request<'_>,
) -> Result<Response> {
    let (scheme, host) = address.split_once("://").context("an address is a scheme and a host")?;
    let stream = TcpStream::connect(host).with_context(|| format!("connect to {host}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match (scheme, trust) {
        ("http", _) if identity.is_none() => exchange(stream, host, request),
        ("https", Some(trust)) => {
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
            let config = match identity {
                Some(identity) => trust.showing(identity)?,
                None => trust.anonymous.clone(),
            };
            let connection = ClientConnection::new(config, ServerName::try_from(name)?)?;
            exchange(StreamOwned::new(connection, stream), host, request)
        }
        ("http", _) => bail!("{address} is no place for client certificates"),
        _ => bail!("{address} is neither http:// nor https:// with an authority to trust"),
    }
}

fn exchange(mut stream: impl Read + Write, host: &str, request: &Request<'_>) -> Result<Response> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", request.method, request.path);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = request.body {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    if let Some(body) = request.body {
        // A server that refuses may close before it has read all: its answer counts.
        let _ = stream.write_all(body);
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(_) if !answer.is_empty() => {}
        Err(error) => return Err(error).context("read the answer"),
    }
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.context("the answer has no end of its head")?;
    let head = std::str::from_utf8(&answer[..end])?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.and_then(|status| status.parse().ok()).context("no status line")?;
    let is_chunked = lines.any(|line| {
        let line = line.to_ascii_lowercase();
        line.starts_with("transfer-encoding:") && line.contains("chunked")
    });
    let body = &answer[end + 4..];
    let body = if is_chunked { unchunk(body)? } else { body.to_vec() };
    Ok(Response { status, body })
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").context("a cut chunk")?;
        let length = std::str::from_utf8(&rest[..line])?.split(';').next().unwrap_or_default();
        let length = usize::from_str_radix(length.trim(), 16)?;
        if length == 0 {
            return Ok(body);
        }
        let chunk = rest.get(line + 2..line + 2 + length).context("a cut chunk")?;
        body.extend_from_slice(chunk);
        rest = rest.get(line + 4 + length..).context("a cut chunk")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_and_in_chunks() {
        for (answer, want) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", Some((204, ""))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", Some((200, "ab"))),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n",
                Some((200, "abc")),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab", None),
            ("nonsense", None),
        ] {
            let got = parse(answer.as_bytes()).ok();
            let got = got.as_ref().map(|got| (got.status, std::str::from_utf8(&got.body).unwrap()));
            assert_eq!(got, want, "{answer:?}");
        }
    }
}
