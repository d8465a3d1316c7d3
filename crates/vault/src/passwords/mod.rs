//! Password policies: how the passwords are made that the server gives to others.
//!
//! `sys/password-policy/<name>` holds the text of one. It is read again each time a password is
//! made: that costs less than what the password is for.

mod paths;
mod policy;

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_barrier::View;
use holdfast_logical::{Error, Passwords};
use holdfast_types::{Random, SecretString};
use serde::{Deserialize, Serialize};

pub(crate) use self::paths::handle;
use self::policy::PasswordPolicy;

/// What is stored of a policy.
#[derive(Serialize, Deserialize)]
struct Record {
    text: String,
}

/// All password policies.
pub(crate) struct PasswordPolicies {
    store: View,
    random: Arc<dyn Random>,
}

impl PasswordPolicies {
    /// The policies in `root`.
    pub(crate) fn new(root: &View, random: Arc<dyn Random>) -> Self {
        Self { store: root.sub("sys/password-policy/"), random }
    }

    async fn text(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.store.get_json::<Record>(name).await?.map(|record| record.text))
    }
}

#[async_trait]
impl Passwords for PasswordPolicies {
    async fn generate(&self, policy: &str) -> Result<Option<SecretString>, Error> {
        let Some(text) = self.text(policy).await? else { return Ok(None) };
        let parsed = PasswordPolicy::parse(&text).map_err(|problem| {
            let problem = format!("stored password policy is not valid: {problem}");
            Error::internal("make a password", problem)
        })?;
        Ok(Some(parsed.generate(&*self.random)))
    }
}
