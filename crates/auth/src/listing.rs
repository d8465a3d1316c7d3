//! `LIST role?after=&limit=`, which every login method has.

use holdfast_barrier::View;
use holdfast_logical::{Error, Reply, Request, Response};

/// The names under `prefix`, which ends in `/`: those after `after`, at most `limit` of them.
pub(crate) async fn list(storage: &View, prefix: &str, request: &Request) -> Reply {
    let (after, limit) = page(request)?;
    Ok(Response::list(storage.list_page(prefix, after.as_deref(), limit).await?))
}

/// The fields `after` and `limit`.
///
/// # Errors
/// 400: one is of the wrong kind.
pub(crate) fn page(request: &Request) -> Result<(Option<String>, Option<usize>), Error> {
    let fields = request.fields();
    let after = fields.string("after").map_err(Error::field_validation)?;
    let limit = fields.integer("limit").map_err(Error::field_validation)?.unwrap_or_default();
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
    Ok((after.filter(|after| !after.is_empty()), limit))
}
