//! How a backend refuses.

use std::error::Error as StdError;

use holdfast_barrier::EntryError;

/// Why a request was not answered. The core alone knows the status code of each.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request makes no sense as it is: 400 with these words.
    #[error("{0}")]
    Invalid(String),
    /// The secret is wrong for a name that can log in: 400 with these words, and counted against
    /// the name that [`Backend::login_name`](crate::Backend::login_name) gives.
    #[error("{0}")]
    Credentials(String),
    /// The login or the token has no right to this: 403 `permission denied`.
    #[error("permission denied")]
    Denied,
    /// Another error, with more to it than the client may know.
    #[error("{told}")]
    Refused {
        /// What the client is answered, and what counts.
        told: Box<Error>,
        /// What really stood against it, for operators. Must hold no secret.
        reason: String,
        /// What operators can do about it.
        advice: String,
    },
    /// There is nothing here: 404 with an empty list of errors.
    #[error("not found")]
    NotFound,
    /// The path exists but not for this operation: 405 `unsupported operation`.
    #[error("unsupported operation")]
    UnsupportedOperation,
    /// No such path in this backend: 404 `unsupported path`.
    #[error("unsupported path")]
    UnsupportedPath,
    /// An answer with this status and these words, where none of the others fits.
    #[error("{message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What the client reads.
        message: String,
    },
    /// Too much at once: 429, or 503 where the server as a whole is at its limit.
    #[error("{0}")]
    Busy(String),
    /// Storage, and whatever else a client can do nothing about: 500 `internal error`, except that
    /// a sealed barrier is 503. The chain is logged.
    #[error("{context}")]
    Internal {
        /// What was being done.
        context: String,
        /// Why it failed.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// As `Internal`, but the client is shown the whole chain: a database that does not answer is
    /// for the operator to read. Must hold no secret.
    #[error("{context}")]
    Upstream {
        /// What was being done.
        context: String,
        /// Why it failed.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The storage behind the barrier.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl Error {
    /// A request that makes no sense: 400 with `message`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// The same error to the client; operators who ask are told the reason and what to do.
    pub fn because(self, reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Refused { told: Box::new(self), reason: reason.into(), advice: advice.into() }
    }

    /// The error that the client is told.
    pub fn told(&self) -> &Self {
        match self {
            Self::Refused { told, .. } => told.told(),
            other => other,
        }
    }

    /// A failure that the client can do nothing about.
    pub fn internal(
        context: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Internal { context: context.into(), source: source.into() }
    }

    /// A failure of a system behind the backend, which the client is told of.
    pub fn upstream(
        context: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Upstream { context: context.into(), source: source.into() }
    }

    /// The same, with what OpenBao puts before a field of the wrong kind everywhere but on writes
    /// that may create: a client that matches on its words meets them here too.
    pub fn field_validation(self) -> Self {
        match self {
            Self::Invalid(message) if message.starts_with("error converting input") => {
                Self::Invalid(format!("Field validation failed: {message}"))
            }
            other => other,
        }
    }
}
