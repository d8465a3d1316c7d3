//! Documents of others: fetched in bounded time and size, from where the operator said.

use std::time::Duration;

use holdfast_types::SecretString;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, StatusCode};
use rustls::ClientConfig;
use serde_json::Value;

/// A document that is larger is not read to its end.
const MAX_DOCUMENT: usize = 1 << 20;
/// How long one fetch may take, and how long the connection of it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no answer, or not all of it in time.
    #[error("get {url}")]
    Request {
        /// What was asked.
        url: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// It is not 200.
    #[error("get {url}: status {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The answer's.
        status: StatusCode,
    },
    /// Nobody's document is so long.
    #[error("get {url}: more than {MAX_DOCUMENT} bytes")]
    TooLong {
        /// What was asked.
        url: String,
    },
}

/// A client that follows no redirect: the URL is what the operator trusts.
#[derive(Debug, Clone)]
pub struct Fetcher(Client);

impl Fetcher {
    /// Trusts the certificates in `ca_pem`, or the system's where that is empty. None: the PEM
    /// holds no certificate.
    pub fn new(ca_pem: &str) -> Option<Self> {
        let mut builder = builder();
        if !ca_pem.is_empty() {
            let certificates = Certificate::from_pem_bundle(ca_pem.as_bytes()).ok()?;
            if certificates.is_empty() {
                return None;
            }
            builder = builder.tls_certs_only(certificates);
        }
        builder.build().ok().map(Self)
    }

    /// Verifies servers as `tls` says.
    pub fn with_tls(tls: ClientConfig) -> Option<Self> {
        builder().tls_backend_preconfigured(tls).build().ok().map(Self)
    }

    /// The document at `url`.
    ///
    /// # Errors
    /// See [`FetchError`]; an answer other than 200 is one.
    pub async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        expect_ok(url, send(url, self.0.get(url)).await?)
    }

    /// The same with a bearer token.
    ///
    /// # Errors
    /// As with [`Fetcher::get`].
    pub async fn get_as(&self, url: &str, token: &SecretString) -> Result<Vec<u8>, FetchError> {
        expect_ok(url, send(url, self.0.get(url).bearer_auth(token.expose())).await?)
    }

    /// Posts JSON with a bearer token, and gives whatever is answered.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn post_json(
        &self,
        url: &str,
        token: &SecretString,
        body: &Value,
    ) -> Result<(StatusCode, Vec<u8>), FetchError> {
        send(url, self.0.post(url).bearer_auth(token.expose()).json(body)).await
    }

    /// Posts a form as a client of the issuer (RFC 6749, 2.3.1), and gives whatever is answered.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn post_form(
        &self,
        url: &str,
        client_id: &str,
        client_secret: &SecretString,
        form: &[(&str, &str)],
    ) -> Result<(StatusCode, Vec<u8>), FetchError> {
        let encoded =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .0
            .post(url)
            .basic_auth(encoded(client_id), Some(encoded(client_secret.expose())))
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        send(url, request).await
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(FETCH_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
}

fn expect_ok(url: &str, (status, body): (StatusCode, Vec<u8>)) -> Result<Vec<u8>, FetchError> {
    match status {
        StatusCode::OK => Ok(body),
        status => Err(FetchError::Status { url: url.to_owned(), status }),
    }
}

async fn send(url: &str, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), FetchError> {
    let failed = |source| FetchError::Request { url: url.to_owned(), source };
    // The URL stands in our own message; reqwest would tell it again.
    let without = |error: reqwest::Error| failed(error.without_url());
    let mut response = request.send().await.map_err(without)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(without)? {
        if body.len() + chunk.len() > MAX_DOCUMENT {
            return Err(FetchError::TooLong { url: url.to_owned() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, body))
}
