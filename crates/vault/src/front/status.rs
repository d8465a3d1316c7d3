//! `sys/seal-status`, `sys/unseal` and `sys/leader`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_barrier::{ShareError, UnsealError};
use holdfast_types::SecretBytes;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::lifecycle::{Lifecycle, LifecycleError};
use super::{VERSION, report};
use crate::wire::Outgoing;

/// Where unsealing stands.
pub(super) fn seal_status(lifecycle: &Lifecycle) -> Value {
    let status = lifecycle.barrier().seal_status();
    let mut body = json!({
        "type": status.kind,
        "initialized": status.initialized,
        "sealed": lifecycle.is_sealed(),
        "t": status.threshold,
        "n": status.shares,
        "progress": status.progress,
        "nonce": status.nonce,
        "recovery_seal": status.recovery_seal,
        "version": VERSION,
        "migration": false,
        "storage_type": lifecycle.barrier().physical().kind(),
    });
    if status.recovery_seal {
        body["recovery_seal_type"] = "shamir".into();
    }
    if let Some(cluster) = lifecycle.cluster() {
        body["cluster_name"] = cluster.name.clone().into();
        body["cluster_id"] = cluster.id.clone().into();
    }
    body
}

/// One server, which leads nobody.
pub(super) fn leader(_lifecycle: &Lifecycle) -> Outgoing {
    Outgoing::json(200, json!({ "ha_enabled": false }))
}

/// Takes one share, or forgets all of them.
pub(super) async fn unseal(lifecycle: &Lifecycle, data: &Map<String, Value>) -> Outgoing {
    if !lifecycle.barrier().seal_status().initialized {
        return Outgoing::errors(400, ["Vault is not initialized"]);
    }
    if data.get("reset").and_then(Value::as_bool) == Some(true) {
        if !lifecycle.barrier().seal_status().sealed {
            return Outgoing::errors(400, ["vault is unsealed"]);
        }
        lifecycle.barrier().reset_unseal();
        return Outgoing::json(200, seal_status(lifecycle));
    }
    let key = match data.get("key") {
        None | Some(Value::Null) => "",
        Some(Value::String(key)) => key.as_str(),
        Some(other) => return Outgoing::errors(400, [not_a_string("UnsealRequest.key", other)]),
    };
    if key.is_empty() {
        let text = "'key' must be specified in request body as JSON, or 'reset' set to true";
        return Outgoing::errors(400, [text]);
    }
    if data.get("migrate").and_then(Value::as_bool) == Some(true) {
        return Outgoing::errors(400, ["can't perform a seal migration, no migration seal found"]);
    }
    let Some(share) = share(key) else { return Outgoing::errors(400, [NO_SHARE]) };
    match lifecycle.unseal(share).await {
        Ok(()) => Outgoing::json(200, seal_status(lifecycle)),
        Err(LifecycleError::Unseal(UnsealError::Share(error))) => {
            Outgoing::errors(400, [share_error(&error)])
        }
        Err(LifecycleError::WrongKey) => {
            Outgoing::errors(400, [LifecycleError::WrongKey.to_string()])
        }
        Err(error) => report("unseal", &error),
    }
}

/// What is said of text that is no share.
pub(super) const NO_SHARE: &str = "'key' must be a valid hex or base64 string";

/// A share in hexadecimal or base64.
pub(super) fn share(text: &str) -> Option<SecretBytes> {
    let text = Zeroizing::new(text.trim().to_owned());
    let bytes = hex::decode(text.as_bytes()).or_else(|_| STANDARD.decode(text.as_bytes())).ok()?;
    Some(SecretBytes::new(bytes))
}

/// The real server's words.
pub(super) fn share_error(error: &ShareError) -> String {
    match error {
        ShareError::Short | ShareError::Long => format!("invalid key: {error}"),
        ShareError::Combine(_) => {
            "unable to generate root key: failed to compute combined key".to_owned()
        }
        ShareError::Wrong => "unable to retrieve stored keys: invalid key: failed to decrypt keys \
             from storage: cipher: message authentication failed"
            .to_owned(),
    }
}

/// What Go's decoder says of a value that should have been text.
fn not_a_string(field: &str, value: &Value) -> String {
    let kind = match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::Array(_) => "array",
        _ => "object",
    };
    format!(
        "failed to decode JSON input: json: cannot unmarshal {kind} into Go struct field {field} \
         of type string"
    )
}
