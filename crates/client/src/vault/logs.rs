//! Reading the server's log as it is written.

use std::fmt;

use super::transport::{Outgoing, Transport};
use super::{Method, SubscribeError, VaultClient, VaultConfig, VaultError};

/// The path of a server's log.
const PATH: &str = "sys/monitor";

/// The log of a server, from now on.
pub struct LogStream(reqwest::Response);

impl LogStream {
    /// Asks for lines of `level` (`trace` to `error`) and above, as `standard` text or `json`, with
    /// the token of `config`.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub async fn open(
        config: &VaultConfig,
        level: &str,
        format: &str,
    ) -> Result<Self, SubscribeError> {
        let transport = Transport::for_streams(config)?;
        let outgoing = Outgoing {
            method: Method::GET,
            path: PATH,
            query: &query(level, format),
            body: None,
            token: config.token.as_ref(),
            namespace: config.namespace.as_deref(),
            wrap_ttl: None,
        };
        Ok(Self(transport.stream(&outgoing).await?))
    }

    /// Shows what [`Self::open`] would ask, where `client` shows its requests and sends none.
    ///
    /// # Errors
    /// [`VaultError::Rehearsed`]: it was shown.
    pub fn rehearse(client: &VaultClient, level: &str, format: &str) -> Result<(), VaultError> {
        client.rehearse(Method::GET, PATH, &query(level, format))
    }

    /// The next piece of text; it need not end where a line does. None at the end: the server
    /// stops, the token has ended, or we were too slow. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.0.chunk().await.ok().flatten().map(Vec::from)
    }
}

fn query<'a>(level: &'a str, format: &'a str) -> [(&'static str, &'a str); 2] {
    [("log_format", format), ("log_level", level)]
}

impl fmt::Debug for LogStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogStream")
    }
}
