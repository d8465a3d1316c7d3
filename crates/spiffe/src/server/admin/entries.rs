//! Entries.

use serde_json::{Value, json};
use tonic::Status;

use super::{invalid, optional_id};
use crate::Entry;
use crate::proto::node as wire;
use crate::server::Shared;
use crate::server::registrar::RegistrarError;
use crate::server::registry::Filter;
use crate::wire::{entry_from_wire, entry_to_wire, selectors_from_wire};

const MAX_PAGE: u32 = 1000;

/// What is audited of an entry that is to be made or changed.
pub(super) fn details(asked: &wire::Entry) -> Value {
    let selectors = asked.selectors.iter().map(|one| format!("{}:{}", one.r#type, one.value));
    json!({
        "entry_id": asked.id, "spiffe_id": asked.spiffe_id, "parent_id": asked.parent_id,
        "selectors": Vec::from_iter(selectors),
    })
}

pub(super) async fn create(shared: &Shared, asked: wire::Entry) -> Result<wire::Entry, Status> {
    Ok(entry_to_wire(&*shared.registrar.create(read(asked)?).await?))
}

pub(super) async fn update(shared: &Shared, asked: wire::Entry) -> Result<wire::Entry, Status> {
    Ok(entry_to_wire(&*shared.registrar.update(read(asked)?).await?))
}

pub(super) async fn list(
    shared: &Shared,
    asked: wire::ListEntriesRequest,
) -> Result<wire::ListEntriesResponse, Status> {
    let filter = Filter {
        spiffe_id: optional_id(&asked.spiffe_id)?,
        parent: optional_id(&asked.parent_id)?,
        selectors: selectors_from_wire(asked.selectors).map_err(invalid)?,
        hint: (!asked.hint.is_empty()).then_some(asked.hint),
    };
    let limit = match asked.limit {
        0 => MAX_PAGE,
        limit => limit.min(MAX_PAGE),
    } as usize;
    let registry = shared.registrar.registry();
    let entries = match asked.entry_id.as_str() {
        "" => registry.list(&filter, &asked.after, limit),
        id => Vec::from_iter(registry.get(id).cloned()),
    };
    let next = entries.last().filter(|_| entries.len() == limit).map(|last| last.id.clone());
    Ok(wire::ListEntriesResponse {
        entries: entries.iter().map(|entry| entry_to_wire(entry)).collect(),
        next: next.unwrap_or_default(),
    })
}

pub(super) async fn delete(
    shared: &Shared,
    asked: wire::DeleteEntryRequest,
) -> Result<wire::Entry, Status> {
    Ok(entry_to_wire(&*shared.registrar.delete(&asked.entry_id).await?))
}

pub(super) async fn count(
    shared: &Shared,
    _: wire::CountEntriesRequest,
) -> Result<wire::CountEntriesResponse, Status> {
    let count = shared.registrar.registry().len() as u64;
    Ok(wire::CountEntriesResponse { count })
}

fn read(asked: wire::Entry) -> Result<Entry, Status> {
    // What only the server says.
    let asked = wire::Entry { origin: String::new(), revision: 0, ..asked };
    entry_from_wire(asked).map_err(invalid)
}

/// The codes are those that SPIRE's server answers with.
impl From<RegistrarError> for Status {
    fn from(error: RegistrarError) -> Self {
        let text = error.to_string();
        match error {
            RegistrarError::Invalid(_) => Self::invalid_argument(text),
            RegistrarError::Similar(entry) => Self::already_exists(format!("{text}: {}", entry.id)),
            RegistrarError::NotFound(_) => Self::not_found(text),
            RegistrarError::Declared { .. } | RegistrarError::Federates { .. } => {
                Self::failed_precondition(text)
            }
            RegistrarError::Full => Self::resource_exhausted(text),
            RegistrarError::Ending => Self::unavailable(text),
            RegistrarError::Store(source) => {
                tracing::error!(error = &*source as &dyn std::error::Error, "keep an entry");
                Self::unavailable(text)
            }
        }
    }
}
