//! A server for development: in memory, open from the start, with a key-value store at `secret/`.

use std::collections::BTreeMap;

use holdfast_barrier::SharePlan;
use holdfast_logical::Connection;
use holdfast_types::{SecretBytes, SecretString};
use serde_json::json;

use crate::front::{Lifecycle, LifecycleError};
use crate::wire::{Incoming, Verb};

/// How a development server is set up.
#[derive(Debug, Default)]
pub struct DevSettings {
    /// The root token; random where none is chosen.
    pub root_token_id: Option<String>,
}

/// What opens a development server. It is printed.
#[derive(Debug)]
pub struct DevCredentials {
    /// The only share of its seal key.
    pub unseal_key: SecretBytes,
    /// Its root token.
    pub root_token: SecretString,
}

pub(super) async fn start(
    lifecycle: &Lifecycle,
    settings: &DevSettings,
) -> Result<DevCredentials, LifecycleError> {
    let plan = SharePlan::new(1, 1).ok();
    let id = settings.root_token_id.as_deref();
    let mut started = lifecycle.initialize(plan, id).await?;
    let share = started.shares.pop().unwrap_or_default();
    lifecycle.unseal(share.clone()).await?;
    let mount = Incoming {
        id: lifecycle.random().uuid(),
        verb: Verb::Write,
        path: "sys/mounts/secret".to_owned(),
        data: json!({
            "type": "kv",
            "description": "key/value secret storage",
            "options": { "version": "2" }
        })
        .as_object()
        .cloned()
        .unwrap_or_default(),
        token: Some(started.root_token.clone()),
        is_bearer: false,
        wrap_ttl: None,
        headers: BTreeMap::new(),
        connection: Connection::default(),
    };
    let answer = lifecycle.core().handle(mount).await;
    LifecycleError::unless_ok("development", "sys/mounts/secret", &answer)?;
    Ok(DevCredentials { unseal_key: share, root_token: started.root_token })
}
