//! Passwords, and what the server is told in their place.

use holdfast_logical::Error;
use holdfast_types::{Random, SecretString};

use super::{Database, plain};

impl Database {
    /// A password by the first policy that is named, else of 32 characters.
    pub(super) async fn new_password(&self, policies: &[&str]) -> Result<SecretString, Error> {
        let Some(policy) = policies.iter().find(|policy| !policy.is_empty()) else {
            return Ok(password(&*self.context.random));
        };
        let made = self.context.passwords.generate(policy).await?;
        made.ok_or_else(|| plain("failed to generate password: no password policy found"))
    }
}

/// 32 characters of `0-9 A-Z a-z`, at least one of each kind: 190 bits.
fn password(random: &dyn Random) -> SecretString {
    loop {
        let password = SecretString::new(random.base62(32));
        let has = |kind: fn(&char) -> bool| password.expose().chars().any(|c| kind(&c));
        if has(char::is_ascii_digit)
            && has(char::is_ascii_uppercase)
            && has(char::is_ascii_lowercase)
        {
            return password;
        }
    }
}

/// What PostgreSQL stores of a password. It takes 4096 rounds of HMAC: not on a thread that
/// serves requests.
pub(super) async fn verifier(password: &SecretString) -> Result<String, Error> {
    let password = password.clone();
    let verifier = tokio::task::spawn_blocking(move || {
        postgres_protocol::password::scram_sha_256(password.expose().as_bytes())
    });
    verifier.await.map_err(|error| Error::internal("derive a SCRAM verifier", error))
}
