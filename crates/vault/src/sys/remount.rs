//! `sys/remount`.

use std::sync::Arc;

use holdfast_logical::{Error, Operation, Response};
use serde_json::json;

use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::mounts::remount;

const QUEUED: &str = "Mount move has been queued. Progress will be reported in OpenBao's server \
                      log, tagged with the returned migration_id";

/// Answers a request to `sys/remount`; `rest` is what follows.
pub(super) async fn handle(
    vault: &Arc<Vault>,
    invocation: &Invocation,
    rest: &str,
) -> Result<Answer, Error> {
    let request = &invocation.request;
    match (rest.strip_prefix("status/"), request.operation) {
        (Some(id), Operation::Read) if !id.is_empty() && !id.contains('/') => {
            let Some(known) = vault.mounts.moved(id) else { return Ok(Answer::none()) };
            Ok(Response::data(json!({
                "migration_id": known.id,
                "migration_info": {
                    "source_mount": known.from,
                    "target_mount": known.to,
                    "status": known.status,
                },
            }))
            .into())
        }
        (Some(id), _) if !id.is_empty() && !id.contains('/') => Err(Error::UnsupportedOperation),
        (None, operation) if request.path == "remount" && operation.is_write() => {
            let fields = request.fields();
            let path = |name: &str| {
                let path = fields.string(name).map_err(Error::field_validation);
                path.map(Option::unwrap_or_default)
            };
            let id = remount(vault, &path("from")?, &path("to")?).await?;
            let response = Response::data(json!({ "migration_id": id }));
            Ok(Response { flatten: true, ..response.warn(QUEUED) }.into())
        }
        (None, _) if request.path == "remount" => Err(Error::UnsupportedOperation),
        _ => Err(Error::UnsupportedPath),
    }
}
