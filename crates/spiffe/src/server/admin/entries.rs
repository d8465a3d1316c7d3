//! Entries.

use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use super::{AdminService, invalid, optional_id};
use crate::proto::node as wire;
use crate::server::registrar::RegistrarError;
use crate::server::registry::Filter;
use crate::wire::{entry_from_wire, entry_to_wire, selectors_from_wire};

const MAX_PAGE: u32 = 1000;

impl AdminService {
    pub(super) async fn create_entry(
        &self,
        request: Request<wire::Entry>,
    ) -> Result<Response<wire::Entry>, Status> {
        const ACTION: &str = "entry create";
        let (caller, asked) = self.asked_entry(request, ACTION)?;
        let outcome = match entry_from_wire(asked) {
            Ok(entry) => self.0.registrar.create(entry).await.map_err(Status::from),
            Err(error) => Err(invalid(error)),
        };
        self.end(&caller, ACTION, outcome.map(|entry| entry_to_wire(&entry)))
    }

    pub(super) async fn update_entry(
        &self,
        request: Request<wire::Entry>,
    ) -> Result<Response<wire::Entry>, Status> {
        const ACTION: &str = "entry update";
        let (caller, asked) = self.asked_entry(request, ACTION)?;
        let outcome = match entry_from_wire(asked) {
            Ok(entry) => self.0.registrar.update(entry).await.map_err(Status::from),
            Err(error) => Err(invalid(error)),
        };
        self.end(&caller, ACTION, outcome.map(|entry| entry_to_wire(&entry)))
    }

    pub(super) async fn list_entries(
        &self,
        request: Request<wire::ListEntriesRequest>,
    ) -> Result<Response<wire::ListEntriesResponse>, Status> {
        const ACTION: &str = "entry show";
        let caller = self.caller(&request, ACTION)?;
        let asked = request.into_inner();
        let details = json!({ "entry_id": asked.entry_id, "spiffe_id": asked.spiffe_id });
        self.begin(&caller, ACTION, &details)?;
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
        let registry = self.0.registrar.registry();
        let entries = if asked.entry_id.is_empty() {
            registry.list(&filter, &asked.after, limit)
        } else {
            let found = registry.get(&asked.entry_id).cloned();
            Vec::from_iter(found)
        };
        let next = entries.last().filter(|_| entries.len() == limit).map(|last| last.id.clone());
        Ok(Response::new(wire::ListEntriesResponse {
            entries: entries.iter().map(|entry| entry_to_wire(entry)).collect(),
            next: next.unwrap_or_default(),
        }))
    }

    pub(super) async fn delete_entry(
        &self,
        request: Request<wire::DeleteEntryRequest>,
    ) -> Result<Response<wire::Entry>, Status> {
        const ACTION: &str = "entry delete";
        let caller = self.caller(&request, ACTION)?;
        let id = request.into_inner().entry_id;
        self.begin(&caller, ACTION, &json!({ "entry_id": id }))?;
        let outcome = self.0.registrar.delete(&id).await.map_err(Status::from);
        self.end(&caller, ACTION, outcome.map(|entry| entry_to_wire(&entry)))
    }

    pub(super) async fn count_entries(
        &self,
        request: Request<wire::CountEntriesRequest>,
    ) -> Result<Response<wire::CountEntriesResponse>, Status> {
        const ACTION: &str = "entry count";
        let caller = self.caller(&request, ACTION)?;
        self.begin(&caller, ACTION, &Value::Null)?;
        let count = self.0.registrar.registry().len() as u64;
        Ok(Response::new(wire::CountEntriesResponse { count }))
    }

    /// An entry that is to be made or changed, as it was audited, and by whom.
    fn asked_entry(
        &self,
        request: Request<wire::Entry>,
        action: &str,
    ) -> Result<(String, wire::Entry), Status> {
        let caller = self.caller(&request, action)?;
        let mut asked = request.into_inner();
        // What only the server says.
        asked.origin.clear();
        asked.revision = 0;
        let selectors: Vec<_> =
            asked.selectors.iter().map(|one| format!("{}:{}", one.r#type, one.value)).collect();
        let details = json!({
            "entry_id": asked.id, "spiffe_id": asked.spiffe_id, "parent_id": asked.parent_id,
            "selectors": selectors,
        });
        self.begin(&caller, action, &details)?;
        Ok((caller, asked))
    }
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
