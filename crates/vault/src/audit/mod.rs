//! The audit log: every request and every answer is written down before it has an effect outside.

mod record;

pub use record::{AuthRecord, RequestRecord, ResponseRecord, WrapRecord};

/// No audit device could write: the request must fail.
#[derive(Debug, thiserror::Error)]
#[error("no audit device could write")]
pub struct AuditError;

/// All enabled devices. A record counts as written when at least one device has it.
#[derive(Default)]
pub struct Audit;

impl Audit {
    /// Writes down a request, before it is handed to a backend.
    ///
    /// # Errors
    /// No device could write. With no device enabled there is nothing to write.
    pub async fn request(&self, _request: &RequestRecord) -> Result<(), AuditError> {
        Ok(())
    }

    /// Writes down an answer, before it is sent.
    ///
    /// # Errors
    /// As for [`Audit::request`].
    pub async fn response(
        &self,
        _request: &RequestRecord,
        _response: &ResponseRecord,
    ) -> Result<(), AuditError> {
        Ok(())
    }
}
