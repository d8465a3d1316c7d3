//! What an operator asks of a server, most of it without a token.

use http::{Method, StatusCode};
use serde_json::json;

use super::{Health, InitReply, InitRequest, SealStatus, UnsealRequest, VaultClient, VaultError};

impl VaultClient {
    /// The server's state, whether or not it can serve.
    ///
    /// # Errors
    /// No answer, or none in the API's shape.
    pub async fn health(&self) -> Result<Health, VaultError> {
        // With these the states that are no failure of the request are not answered as one.
        let ok = [("uninitcode", "299"), ("sealedcode", "299"), ("standbycode", "299")];
        self.request(Method::GET, "sys/health", None, &ok).await?.success()?.parse()
    }

    /// Whether the server is initialised and sealed, and how it is unsealed.
    ///
    /// # Errors
    /// No answer, or none in the API's shape.
    pub async fn seal_status(&self) -> Result<SealStatus, VaultError> {
        self.request(Method::GET, "sys/seal-status", None, &[]).await?.success()?.parse()
    }

    /// Makes the store of a new server.
    ///
    /// # Errors
    /// 400 when it is initialised already.
    pub async fn init(&self, request: &InitRequest) -> Result<InitReply, VaultError> {
        let body = serde_json::to_value(request).unwrap_or_default();
        self.request(Method::PUT, "sys/init", Some(&body), &[]).await?.success()?.parse()
    }

    /// Gives a share of the unseal key, or forgets those given.
    ///
    /// # Errors
    /// 400 for a share that is none.
    pub async fn unseal(&self, request: &UnsealRequest) -> Result<SealStatus, VaultError> {
        let body = match request {
            UnsealRequest::Key(key) => json!({ "key": key.expose() }),
            UnsealRequest::Reset => json!({ "reset": true }),
        };
        self.request(Method::PUT, "sys/unseal", Some(&body), &[]).await?.success()?.parse()
    }

    /// Seals the server.
    ///
    /// # Errors
    /// Every refusal.
    pub async fn seal(&self) -> Result<(), VaultError> {
        let response = self.request(Method::PUT, "sys/seal", None, &[]).await?;
        match response.status {
            StatusCode::NO_CONTENT => Ok(()),
            _ => response.success().map(drop),
        }
    }
}
