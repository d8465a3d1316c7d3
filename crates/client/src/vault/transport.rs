//! One request and its answer: headers, retries, bounds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::{Random, SecretBytes, SecretString, SystemRandom};
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, RequestBuilder, Upgraded, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::debug;

use super::config::{self, ConfigError, Trust, VaultConfig};
use super::error::{ApiFailure, VaultError, classify};
use super::{Address, Reply};

/// How much of an answer that is not JSON is quoted in an error.
const QUOTED: usize = 2048;

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: SecretBytes,
    method: Method,
    url: String,
}

/// The connections to one server, shared by all clients made from one another.
pub(super) struct Transport {
    pub(super) address: Address,
    pub(super) http: Client,
    pub(super) host: Option<HeaderValue>,
    server_name: Option<String>,
    /// Those of [`VaultConfig::headers`], which every request carries.
    pub(super) headers: Vec<(String, String)>,
    follow_redirects: bool,
    max_retries: u32,
    retry_wait: Duration,
    max_response_bytes: usize,
}

/// What goes out.
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<&'a Value>,
    pub(super) token: Option<&'a SecretString>,
    pub(super) namespace: Option<&'a str>,
    pub(super) wrap_ttl: Option<&'a str>,
}

impl Response {
    /// The body as JSON; `null` when it is empty.
    ///
    /// # Errors
    /// [`VaultError::Malformed`].
    pub fn json(&self) -> Result<Value, VaultError> {
        self.parse()
    }

    /// The body as the API's usual envelope; an empty one when there is no body.
    ///
    /// # Errors
    /// [`VaultError::Malformed`].
    pub fn reply(&self) -> Result<Reply, VaultError> {
        self.parse::<Option<Reply>>().map(Option::unwrap_or_default)
    }

    /// The body as a `T`; an empty body counts as `null`.
    ///
    /// # Errors
    /// [`VaultError::Malformed`].
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, VaultError> {
        let body: &[u8] = if self.body.expose().is_empty() { b"null" } else { self.body.expose() };
        serde_json::from_slice(body).map_err(|error| VaultError::Malformed {
            request: format!("{} {}", self.method, self.url),
            // Only the kind and the place: serde quotes values, and they may be secret.
            problem: format!("{:?} error at line {}", error.classify(), error.line()),
        })
    }

    /// This answer if it is a success (below 400), else the error that it stands for.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn success(self) -> Result<Self, VaultError> {
        if self.status.as_u16() < 400 { Ok(self) } else { Err(self.failure()) }
    }

    /// What the server says against the request.
    pub(super) fn failure(&self) -> VaultError {
        let body = self.body.expose();
        let listed = serde_json::from_slice::<Value>(body)
            .ok()
            .and_then(|json| Some(json.get("errors")?.as_array()?.clone()));
        let raw = listed.is_none();
        let errors = match listed {
            Some(errors) => errors
                .iter()
                .map(|error| error.as_str().map_or_else(|| error.to_string(), str::to_owned))
                .collect(),
            None if body.is_empty() => Vec::new(),
            None => vec![String::from_utf8_lossy(&body[..body.len().min(QUOTED)]).into_owned()],
        };
        VaultError::from_failure(ApiFailure {
            method: self.method.to_string(),
            url: self.url.clone(),
            status: self.status.as_u16(),
            errors,
            raw,
        })
    }
}

impl Transport {
    pub(super) fn new(config: &VaultConfig) -> Result<Self, ConfigError> {
        let within = |builder: ClientBuilder| builder.timeout(config.timeout);
        Self::with(config, &[b"h2", b"http/1.1"], within)
    }

    /// One whose answers may go on for ever, on connections that can become something else.
    pub(super) fn for_streams(config: &VaultConfig) -> Result<Self, ConfigError> {
        Self::with(config, &[b"http/1.1"], ClientBuilder::http1_only)
    }

    fn with(
        config: &VaultConfig,
        protocols: &[&[u8]],
        finish: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self, ConfigError> {
        let mut headers = HeaderMap::new();
        // Keeps browsers' cross-site requests apart from clients that know what they do.
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        for (name, value) in &config.headers {
            let refused = || ConfigError::Header(name.clone());
            let value = HeaderValue::from_str(value).map_err(|_| refused())?;
            headers.append(HeaderName::try_from(name).map_err(|_| refused())?, value);
        }
        let mut builder = Client::builder()
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(config.connect_timeout)
            // Followed below, once: the token goes along.
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(socket) = config.address.socket() {
            builder = builder.unix_socket(socket.clone());
        }
        if let Some(certificates) = config.trust.certificates()? {
            builder = builder.tls_certs_only(certificates);
        }
        if matches!(config.trust, Trust::Anyone) {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Trust::Tls(tls) = &config.trust {
            if config.identity.is_some() {
                return Err(ConfigError::TwoIdentities);
            }
            let mut tls = rustls::ClientConfig::clone(tls);
            tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            builder = builder.tls_backend_preconfigured(tls);
        }
        if let Some(pem) = &config.identity {
            builder = builder.identity(config::identity(pem)?);
        }
        let mut host = None;
        if let Some(name) = &config.server_name {
            let url = Url::parse(&format!("https://{name}/"));
            if !url.is_ok_and(|url| url.domain() == Some(name.to_lowercase().as_str())) {
                return Err(ConfigError::ServerName(name.clone()));
            }
            let real = config.address.host().to_owned();
            host = HeaderValue::from_str(&real).ok();
            builder = builder.dns_resolver(Renamed(real.into()));
        }
        Ok(Self {
            address: config.address.clone(),
            http: finish(builder)
                .build()
                .map_err(|error| ConfigError::Build(error.without_url()))?,
            host,
            server_name: config.server_name.clone(),
            headers: config.headers.clone(),
            follow_redirects: config.follow_redirects,
            max_retries: config.max_retries,
            retry_wait: config.retry_wait,
            max_response_bytes: config.max_response_bytes,
        })
    }

    /// Sends `outgoing`, again where that can help, and gives the answer whatever its status.
    pub(super) async fn send(&self, outgoing: &Outgoing<'_>) -> Result<Response, VaultError> {
        let url = self.address.url(outgoing.path, outgoing.query)?;
        let headers = outgoing.headers()?;
        let mut attempt = 0;
        loop {
            let result = self.attempt(outgoing, &headers, &url).await;
            let again = match &result {
                Ok(response) => is_transient(response.status),
                Err(failure) => failure.passes,
            };
            if !again || attempt == self.max_retries {
                return result.map_err(|failure| failure.error);
            }
            attempt += 1;
            let wait = self.retry_wait.mul_f64(1.0 + chance() / 2.0) * attempt;
            debug!(attempt, wait.ms = wait.as_millis(), url = %url, "repeat request");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(
        &self,
        outgoing: &Outgoing<'_>,
        headers: &HeaderMap,
        url: &Url,
    ) -> Result<Response, Failure> {
        let response = self.exchange(outgoing, headers, url).await?;
        // A standby names the active server; one hop is enough, and never out of TLS.
        let next = match response.status {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::TEMPORARY_REDIRECT => {
                let location = response.headers.get(LOCATION).and_then(|value| value.to_str().ok());
                location.and_then(|location| url.join(location).ok())
            }
            _ => None,
        };
        match next {
            Some(next)
                if self.follow_redirects
                    && self.address.socket().is_none()
                    && (next.scheme() == "https" || next.scheme() == url.scheme()) =>
            {
                self.exchange(outgoing, headers, &next).await
            }
            _ => Ok(response),
        }
    }

    async fn exchange(
        &self,
        outgoing: &Outgoing<'_>,
        headers: &HeaderMap,
        url: &Url,
    ) -> Result<Response, Failure> {
        let failed = |error: reqwest::Error| self.failed(outgoing, url, error);
        let response = self.dial(outgoing, headers, url).send().await.map_err(failed)?;
        self.read(outgoing, url, response).await
    }

    /// Asks that the connection becomes something else, by the header fields in `asking`. None of
    /// it is repeated.
    ///
    /// # Errors
    /// As for [`Self::send`]; the server's refusal.
    pub(super) async fn upgrade(
        &self,
        outgoing: &Outgoing<'_>,
        asking: HeaderMap,
    ) -> Result<Upgraded, VaultError> {
        let url = self.address.url(outgoing.path, outgoing.query)?;
        let mut headers = outgoing.headers()?;
        headers.extend(asking);
        let failed = |error: reqwest::Error| self.failed(outgoing, &url, error).error;
        let response = self.dial(outgoing, &headers, &url).send().await.map_err(failed)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response.upgrade().await.map_err(failed);
        }
        let response = self.read(outgoing, &url, response).await;
        Err(response.map_err(|failure| failure.error)?.failure())
    }

    /// Sends `outgoing` once, and gives the answer with its body still to come.
    ///
    /// # Errors
    /// As for [`Self::send`]; the server's refusal.
    pub(super) async fn stream(
        &self,
        outgoing: &Outgoing<'_>,
    ) -> Result<reqwest::Response, VaultError> {
        let url = self.address.url(outgoing.path, outgoing.query)?;
        let failed = |error: reqwest::Error| self.failed(outgoing, &url, error).error;
        let dialled = self.dial(outgoing, &outgoing.headers()?, &url);
        let response = dialled.send().await.map_err(failed)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let response = self.read(outgoing, &url, response).await;
        Err(response.map_err(|failure| failure.error)?.failure())
    }

    fn failed(&self, outgoing: &Outgoing<'_>, url: &Url, error: reqwest::Error) -> Failure {
        let cause = classify(&error, self.address.socket().is_some());
        Failure {
            passes: error.is_connect() && cause.may_pass(),
            error: VaultError::Unreachable {
                address: self.address.to_string(),
                request: format!("{} {url}", outgoing.method),
                cause,
                source: Box::new(error.without_url()),
            },
        }
    }

    fn dial(&self, outgoing: &Outgoing<'_>, headers: &HeaderMap, url: &Url) -> RequestBuilder {
        let mut request =
            self.http.request(outgoing.method.clone(), self.dialled(url)).headers(headers.clone());
        if let Some(host) = &self.host {
            request = request.header(HOST, host);
        }
        if let Some(body) = outgoing.body {
            request = request.body(body.to_string());
        }
        request
    }

    /// Reads an answer whole.
    async fn read(
        &self,
        outgoing: &Outgoing<'_>,
        url: &Url,
        mut response: reqwest::Response,
    ) -> Result<Response, Failure> {
        let failed = |error: reqwest::Error| self.failed(outgoing, url, error);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > self.max_response_bytes {
                let limit = self.max_response_bytes;
                return Err(Failure { passes: false, error: VaultError::TooLarge { limit } });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: SecretBytes::new(body),
            method: outgoing.method.clone(),
            url: url.to_string(),
        })
    }

    /// `url` with the server name in place of the host, from which the TLS library takes it;
    /// [`Renamed`] finds the way back.
    pub(super) fn dialled(&self, url: &Url) -> Url {
        let mut url = url.clone();
        if let Some(name) = &self.server_name
            && url.scheme() == "https"
        {
            let _ = url.set_host(Some(name));
        }
        url
    }
}

impl Outgoing<'_> {
    fn headers(&self) -> Result<HeaderMap, VaultError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = self.token {
            let mut value =
                HeaderValue::from_str(token.expose()).map_err(|_| VaultError::Header("token"))?;
            value.set_sensitive(true);
            headers.insert("x-vault-token", value);
        }
        if let Some(namespace) = self.namespace {
            let value =
                HeaderValue::from_str(namespace).map_err(|_| VaultError::Header("namespace"))?;
            headers.insert("x-vault-namespace", value);
        }
        if let Some(ttl) = self.wrap_ttl {
            let value = HeaderValue::from_str(ttl).map_err(|_| VaultError::Header("wrap TTL"))?;
            headers.insert("x-vault-wrap-ttl", value);
        }
        if self.body.is_some() {
            let kind = match self.method {
                Method::PATCH => "application/merge-patch+json",
                _ => "application/json",
            };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        Ok(headers)
    }
}

/// A failed attempt.
struct Failure {
    /// Whether another attempt may fare better, and cannot do twice what this one did: no
    /// connection stood.
    passes: bool,
    error: VaultError,
}

/// Statuses that the official client repeats a request after. 412: this node has not yet seen a
/// write that the client saw.
fn is_transient(status: StatusCode) -> bool {
    status == StatusCode::PRECONDITION_FAILED
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// A number from 0 to 1.
fn chance() -> f64 {
    f64::from(u16::from_be_bytes(SystemRandom.bytes())) / f64::from(u16::MAX)
}

/// Resolves every name to the addresses of one host.
struct Renamed(Arc<str>);

impl Resolve for Renamed {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = Arc::clone(&self.0);
        Box::pin(async move {
            // The URL's port overrides this one.
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((&*host, 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
