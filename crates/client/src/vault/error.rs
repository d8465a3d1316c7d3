//! Why a request failed, told apart as far as callers act differently.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};

use super::address::AddressError;

/// Why a request failed. Neither tokens nor bodies are ever part of it.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No answer came from the address.
    #[error("reach {address}: {cause}")]
    Unreachable {
        /// What was dialled.
        address: String,
        /// `GET`, `PUT`, ... and the URL.
        request: String,
        /// What kind of failure it was.
        cause: Unreachable,
        /// The failure itself.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The server is sealed and answers almost nothing until it is unsealed.
    #[error("the server is sealed")]
    Sealed(Box<ApiFailure>),
    /// The server has no store yet.
    #[error("the server is not initialized")]
    Uninitialised(Box<ApiFailure>),
    /// 403: the token is missing, unknown or expired, or its policies do not allow this.
    #[error("permission denied")]
    Denied(#[source] Box<ApiFailure>),
    /// 404: nothing is there.
    #[error("not found")]
    NotFound(#[source] Box<ApiFailure>),
    /// Any other refusal.
    #[error("the server refused the request")]
    Api(#[source] Box<ApiFailure>),
    /// The body of the answer is larger than [`VaultConfig::max_response_bytes`].
    ///
    /// [`VaultConfig::max_response_bytes`]: super::VaultConfig::max_response_bytes
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The answer is not what the API promises. Without the text, which may be secret.
    #[error("the answer to {request} is not what the API promises: {problem}")]
    Malformed {
        /// `GET`, `PUT`, ... and the URL.
        request: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A path that cannot be sent.
    #[error(transparent)]
    Path(#[from] AddressError),
    /// A token, namespace or wrap TTL that no HTTP header can carry.
    #[error("the {0} holds characters that cannot be sent")]
    Header(&'static str),
    /// The client only shows its requests: see [`Rehearsal`](super::Rehearsal).
    #[error("the request was not sent, only shown")]
    Rehearsed,
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreachable {
    /// Nothing listens there.
    Refused,
    /// The host's name has no address.
    NoSuchHost,
    /// There is no socket at that path.
    NoSuchSocket,
    /// The socket's mode forbids it.
    SocketDenied,
    /// It took longer than allowed.
    TimedOut,
    /// The connection ended in the middle.
    Closed,
    /// The server's certificate is for other names.
    WrongName {
        /// The name that was dialled.
        expected: String,
        /// The names in the certificate.
        presented: Vec<String>,
    },
    /// The server's certificate is signed by nobody who is trusted.
    UnknownIssuer,
    /// The server's certificate is no longer valid.
    Expired,
    /// The server's certificate is not yet valid.
    NotYetValid,
    /// The server's certificate is unusable for another reason.
    Certificate(String),
    /// The server wants another client certificate, or one at all.
    ClientCertificate(String),
    /// The other side does not speak TLS, or no version or cipher in common.
    Tls(String),
    /// None of the above.
    Other(String),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::NoSuchHost => f.write_str("no such host"),
            Self::NoSuchSocket => f.write_str("no such socket"),
            Self::SocketDenied => f.write_str("permission denied on the socket"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Closed => f.write_str("the connection was closed"),
            Self::WrongName { expected, presented } if presented.is_empty() => {
                write!(f, "the certificate is not valid for {expected}")
            }
            Self::WrongName { expected, presented } => write!(
                f,
                "the certificate is not valid for {expected}, only for {}",
                presented.join(", ")
            ),
            Self::UnknownIssuer => f.write_str("the certificate is signed by an unknown authority"),
            Self::Expired => f.write_str("the certificate has expired"),
            Self::NotYetValid => f.write_str("the certificate is not yet valid"),
            Self::Certificate(text) => write!(f, "the certificate is unusable: {text}"),
            Self::ClientCertificate(text) => {
                write!(f, "the server refused the client certificate: {text}")
            }
            Self::Tls(text) => write!(f, "no TLS connection: {text}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Unreachable {
    /// Whether it can pass by itself, as a server that is starting does; a wrong name cannot.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Refused | Self::NoSuchHost | Self::NoSuchSocket | Self::TimedOut | Self::Closed
        )
    }
}

/// A refusal as the API gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiFailure {
    /// `GET`, `PUT`, ...
    pub method: String,
    /// What was asked, the query included.
    pub url: String,
    /// The HTTP status.
    pub status: u16,
    /// What the server says about it; for an answer that is not JSON its text, shortened.
    pub errors: Vec<String>,
    /// Whether [`errors`](Self::errors) is such a text.
    pub raw: bool,
}

impl fmt::Display for ApiFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: status {}", self.method, self.url, self.status)?;
        for error in &self.errors {
            write!(f, ": {}", error.trim())?;
        }
        Ok(())
    }
}

impl StdError for ApiFailure {}

impl VaultError {
    /// The variant for what the server said.
    pub(super) fn from_failure(failure: ApiFailure) -> Self {
        let says = |text: &str| failure.errors.iter().any(|error| error.contains(text));
        // The wordings are OpenBao's, and Vault's.
        if says("not initialized") || says("not yet initialized") {
            return Self::Uninitialised(Box::new(failure));
        }
        if failure.status == 503 && says("is sealed") {
            return Self::Sealed(Box::new(failure));
        }
        match failure.status {
            403 => Self::Denied(Box::new(failure)),
            404 => Self::NotFound(Box::new(failure)),
            _ => Self::Api(Box::new(failure)),
        }
    }

    /// What the server said, where it said anything.
    pub fn failure(&self) -> Option<&ApiFailure> {
        match self {
            Self::Sealed(failure)
            | Self::Uninitialised(failure)
            | Self::Denied(failure)
            | Self::NotFound(failure)
            | Self::Api(failure) => Some(failure),
            _ => None,
        }
    }

    /// The HTTP status, where there was one.
    pub fn status(&self) -> Option<u16> {
        self.failure().map(|failure| failure.status)
    }
}

/// What kind of failure the chain under `error` amounts to.
pub(super) fn classify(error: &reqwest::Error, socket: bool) -> Unreachable {
    let mut deepest = error.to_string();
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        deepest = error.to_string();
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return classify_tls(error);
        }
        next = error.source();
        if let Some(error) = error.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => return Unreachable::Refused,
                io::ErrorKind::NotFound if socket => return Unreachable::NoSuchSocket,
                io::ErrorKind::PermissionDenied if socket => return Unreachable::SocketDenied,
                io::ErrorKind::TimedOut => return Unreachable::TimedOut,
                // An `io::Error` is not in its own chain of sources, only what is below it.
                _ => next = error.get_ref().map(|inner| inner as _).or(next),
            }
            let closed = matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionAborted
            );
            if closed && next.is_none() {
                return Unreachable::Closed;
            }
        }
    }
    if error.is_timeout() {
        Unreachable::TimedOut
    } else if deepest.contains("lookup address") || deepest.contains("dns error") {
        Unreachable::NoSuchHost
    } else if deepest.contains("connection closed") || deepest.contains("eof") {
        Unreachable::Closed
    } else {
        Unreachable::Other(deepest)
    }
}

fn classify_tls(error: &rustls::Error) -> Unreachable {
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::NotValidForName => {
                Unreachable::WrongName { expected: "this host".into(), presented: Vec::new() }
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                Unreachable::WrongName {
                    expected: expected.to_str().into_owned(),
                    presented: presented.clone(),
                }
            }
            CertificateError::UnknownIssuer => Unreachable::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Unreachable::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Unreachable::NotYetValid
            }
            other => Unreachable::Certificate(other.to_string()),
        },
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked),
        ) => Unreachable::ClientCertificate(format!("{alert:?}")),
        other => Unreachable::Tls(other.to_string()),
    }
}
