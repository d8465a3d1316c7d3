//! `sys/init`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_barrier::{InitializeError, SharePlan};
use holdfast_logical::Fields;
use holdfast_types::SecretBytes;
use serde_json::{Map, Value, json};

use super::lifecycle::{Lifecycle, LifecycleError, Started};
use super::report;
use crate::wire::Outgoing;

pub(super) fn is_initialized(lifecycle: &Lifecycle) -> Outgoing {
    let initialized = lifecycle.barrier().seal_status().initialized;
    Outgoing::json(200, json!({ "initialized": initialized }))
}

/// Makes the keys and the first root token.
pub(super) async fn answer(lifecycle: &Lifecycle, data: &Map<String, Value>) -> Outgoing {
    let status = lifecycle.barrier().seal_status();
    if status.initialized {
        return Outgoing::errors(400, [InitializeError::Already.to_string()]);
    }
    let plan = match share_plan(data, status.kind) {
        Ok(plan) => plan,
        Err(reason) => return Outgoing::errors(400, [reason]),
    };
    let recovery = status.kind != "shamir";
    match lifecycle.initialize(plan, None).await {
        Ok(Started { shares, root_token }) => {
            let hex = |share: &SecretBytes| Value::from(hex::encode(share.expose()));
            let base64 = |share: &SecretBytes| Value::from(STANDARD.encode(share.expose()));
            let hex: Vec<_> = shares.iter().map(hex).collect();
            let base64: Vec<_> = shares.iter().map(base64).collect();
            let mut body = json!({ "keys": [], "keys_base64": [] });
            let names = if recovery {
                ["recovery_keys", "recovery_keys_base64"]
            } else {
                ["keys", "keys_base64"]
            };
            if !shares.is_empty() {
                body[names[0]] = hex.into();
                body[names[1]] = base64.into();
            }
            body["root_token"] = root_token.expose().as_str().into();
            Outgoing::json(200, body)
        }
        Err(LifecycleError::Initialize(
            error @ (InitializeError::Already | InitializeError::NoShares),
        )) => Outgoing::errors(400, [error.to_string()]),
        Err(error) => report("initialize", &error),
    }
}

/// How many shares the request asks for; none with a seal that opens by itself.
fn share_plan(data: &Map<String, Value>, seal: &str) -> Result<Option<SharePlan>, String> {
    let fields = Fields::new(data);
    let number = |name: &str| {
        fields.integer(name).map(Option::unwrap_or_default).map_err(|error| error.to_string())
    };
    let [shares, threshold, other_shares, other_threshold] = match seal {
        "shamir" => ["secret_shares", "secret_threshold", "recovery_shares", "recovery_threshold"],
        _ => ["recovery_shares", "recovery_threshold", "secret_shares", "secret_threshold"],
    };
    let not_applicable: Vec<_> = [other_shares, other_threshold]
        .into_iter()
        .filter(|name| number(name).is_ok_and(|value| value != 0))
        .collect();
    if !not_applicable.is_empty() {
        let names = not_applicable.join(",");
        return Err(format!("parameters {names} not applicable to seal type {seal}"));
    }
    for name in ["pgp_keys", "recovery_pgp_keys", "root_token_pgp_key"] {
        let empty = |value: &Value| {
            value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty)
        };
        if data.get(name).is_some_and(|value| !empty(value)) {
            return Err(format!("{name}: encrypting shares with PGP keys is not supported"));
        }
    }
    let (shares, threshold) = (number(shares)?, number(threshold)?);
    if seal != "shamir" && (shares, threshold) == (0, 0) {
        return Ok(None);
    }
    let plan = SharePlan::new(shares, threshold);
    plan.map(Some).map_err(|error| match seal {
        "shamir" => format!("invalid seal configuration: {error}"),
        _ => format!("invalid recovery configuration: {error}"),
    })
}
