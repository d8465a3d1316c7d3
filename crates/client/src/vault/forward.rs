//! Passing on requests of others as they came: any header field, any body, answers as streams.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt as _};
use http::header::{HOST, HeaderMap, LOCATION};
use http::{Method, StatusCode};
use reqwest::{Body, Url};

use super::config::{ConfigError, VaultConfig};
use super::error::{VaultError, classify};
use super::transport::Transport;
use super::{Address, AddressError};

/// Pieces of a body.
pub type Pieces =
    Pin<Box<dyn Stream<Item = Result<Vec<u8>, Box<dyn StdError + Send + Sync>>> + Send>>;

/// Passes requests on to one server. Cheap to clone.
///
/// Nothing is repeated: whoever asked decides. How long a request may take is theirs to say, too.
#[derive(Clone)]
pub struct Forwarder(Arc<Transport>);

/// A request to pass on.
pub struct Passed {
    /// `GET`, `LIST`, ...
    pub method: Method,
    /// Path and query as they came, such as `/v1/kv/data/a%20b?version=2`.
    pub target: String,
    /// Header fields, without those of the connection itself.
    pub headers: HeaderMap,
    /// The body.
    pub body: PassedBody,
}

/// The body of a request to pass on.
pub enum PassedBody {
    /// All of it.
    Whole(Vec<u8>),
    /// As it comes.
    Pieces(Pieces),
}

/// An answer, whatever its status.
pub struct Forwarded {
    /// The HTTP status.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body as it comes.
    pub body: Pieces,
}

impl Forwarder {
    /// One for the server that `config` describes. Of it the token, the namespace and everything
    /// that is about repeating is without meaning here.
    ///
    /// # Errors
    /// As for a client.
    pub fn new(config: &VaultConfig) -> Result<Self, ConfigError> {
        Ok(Self(Arc::new(Transport::for_streams(config)?)))
    }

    /// Where the server is.
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// Sends a request. One redirect is followed, from a standby to the active server, where the
    /// body is at hand to be sent again.
    ///
    /// # Errors
    /// No answer came; [`VaultError::Path`] for a target that another path hides in.
    pub async fn send(&self, request: Passed) -> Result<Forwarded, VaultError> {
        let url = self.0.address.target(&request.target)?;
        let (method, headers) = (request.method, request.headers);
        let (body, again) = match request.body {
            PassedBody::Whole(bytes) => (Body::from(bytes.clone()), Some(bytes)),
            PassedBody::Pieces(pieces) => (Body::wrap_stream(pieces), None),
        };
        let response = self.exchange(&method, &url, &headers, body).await?;
        if let (Some(next), Some(bytes)) = (self.redirect(&url, &response), again) {
            let response = self.exchange(&method, &next, &headers, Body::from(bytes)).await?;
            return Ok(answer(response));
        }
        Ok(answer(response))
    }

    async fn exchange(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<reqwest::Response, VaultError> {
        let mut request = self.0.http.request(method.clone(), self.0.dialled(url));
        request = request.headers(headers.clone()).body(body);
        if let Some(host) = &self.0.host {
            request = request.header(HOST, host);
        }
        request.send().await.map_err(|error| VaultError::Unreachable {
            address: self.0.address.to_string(),
            request: format!("{method} {}", url.path()),
            cause: classify(&error, self.0.address.socket().is_some()),
            source: Box::new(error.without_url()),
        })
    }

    /// Where a standby sends the request; never out of TLS.
    fn redirect(&self, url: &Url, response: &reqwest::Response) -> Option<Url> {
        let moved = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::TEMPORARY_REDIRECT
        );
        let location = response.headers().get(LOCATION).filter(|_| moved)?.to_str().ok()?;
        let next = url.join(location).ok()?;
        let safe = next.scheme() == "https" || next.scheme() == url.scheme();
        (safe && self.0.address.socket().is_none()).then_some(next)
    }
}

fn answer(mut response: reqwest::Response) -> Forwarded {
    Forwarded {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body: Box::pin(
            response
                .bytes_stream()
                .map_ok(|piece| piece.to_vec())
                .map_err(|error| Box::new(error.without_url()).into()),
        ),
    }
}

impl Address {
    /// The URL of a path and query that came from elsewhere, and begin with `/v1/`.
    ///
    /// # Errors
    /// A segment `.` or `..`, however it is written: this end and the server would read different
    /// paths.
    fn target(&self, target: &str) -> Result<Url, AddressError> {
        let refused = || AddressError::Path(target.to_owned());
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let hides = |segment: &str| {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            plain == "." || plain == ".."
        };
        if !path.starts_with("/v1/") || path.contains('\\') || path.split('/').any(hides) {
            return Err(refused());
        }
        let base = self.base_text();
        Url::parse(&format!("{base}{target}")).map_err(|_| refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_passed_on_as_it_came_or_not_at_all() {
        for (address, target, want) in [
            ("http://h:1", "/v1/kv/a%20b?list=true", Some("http://h:1/v1/kv/a%20b?list=true")),
            ("https://h/pre/", "/v1/kv//a", Some("https://h/pre/v1/kv//a")),
            ("unix:///s.sock", "/v1/sys/health", Some("http://localhost/v1/sys/health")),
            ("http://h", "/v1/kv/../sys", None),
            ("http://h", "/v1/kv/%2E%2e/sys", None),
            ("http://h", "/v1/kv/.", None),
            ("http://h", "/v1/kv\\..\\sys", None),
            ("http://h", "/ui/", None),
            ("http://h", "@evil/v1/", None),
        ] {
            let address: Address = address.parse().unwrap();
            let url = address.target(target).ok().map(|url| url.to_string());
            assert_eq!(url.as_deref(), want, "{target}");
        }
    }
}
