//! `sys/capabilities`, of a token, of oneself, of an accessor.

use holdfast_logical::{Error, Operation, Response};
use serde_json::{Map, Value, json};

use crate::core::acl::{AclError, acl_for};
use crate::core::answer::{Answer, one_error};
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;

/// Answers a request to `which` of the three.
pub(super) async fn handle(
    vault: &Vault,
    invocation: &Invocation,
    which: &str,
) -> Result<Answer, Error> {
    let request = &invocation.request;
    if !request.operation.is_write() {
        return Err(Error::UnsupportedOperation);
    }
    debug_assert_ne!(request.operation, Operation::Read);
    let fields = request.fields();
    fields.known(&["path", "paths"]);
    let said = |name: &str| fields.string(name).map(|text| text.filter(|text| !text.is_empty()));
    let token = match which {
        "capabilities-self" => {
            let own = invocation.token.clone();
            own.ok_or_else(|| one_error(403, "permission denied"))?
        }
        "capabilities-accessor" => {
            let accessor = said("accessor")?.ok_or_else(|| Error::invalid("missing accessor"))?;
            let token = vault.tokens.by_accessor(&accessor).await?;
            token.ok_or_else(|| one_error(400, "invalid accessor"))?
        }
        _ => {
            let token = said("token")?.ok_or_else(|| one_error(500, "no token found"))?;
            let token = vault.tokens.lookup(&token).await?;
            token.ok_or_else(|| one_error(400, "invalid token"))?
        }
    };
    let paths = match fields.strings("paths")?.filter(|paths| !paths.is_empty()) {
        Some(paths) => paths,
        None => fields.strings("path")?.unwrap_or_default(),
    };
    if paths.is_empty() {
        return Err(Error::invalid("paths must be supplied"));
    }
    let who = vault.identity.who(&token.entry.entity_id).await?;
    if !who.is_good() {
        return Err(one_error(400, "invalid token"));
    }
    let acl = acl_for(vault, &token, &who).map_err(|failed| match failed {
        AclError::Template { .. } => one_error(403, &failed.to_string()),
        failed => failed.into(),
    })?;
    let mut data = Map::new();
    for path in &paths {
        let mut capabilities = acl.acl.capabilities(&vault.mounts.canonical(path));
        capabilities.sort_unstable();
        if paths.len() == 1 {
            data.insert("capabilities".to_owned(), json!(capabilities));
        }
        data.insert(path.clone(), json!(capabilities));
    }
    Ok(Response { flatten: true, ..Response::data(Value::Object(data)) }.into())
}
