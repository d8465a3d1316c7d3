//! Writing the audit log, timed.

use std::time::Instant;

use super::vault::Vault;
use crate::audit::{AuditError, RequestRecord, ResponseRecord};

/// Writes down a request.
///
/// # Errors
/// No device could write.
pub(super) async fn request(vault: &Vault, record: &RequestRecord) -> Result<(), AuditError> {
    let began = Instant::now();
    let written = vault.audit.request(record).await;
    vault.metrics.audit_requests.record(began, Instant::now());
    written.inspect_err(|_| vault.metrics.audit_request_failures.add())
}

/// Writes down an answer.
///
/// # Errors
/// No device could write.
pub(super) async fn response(
    vault: &Vault,
    record: &RequestRecord,
    response: &ResponseRecord,
) -> Result<(), AuditError> {
    let began = Instant::now();
    let written = vault.audit.response(record, response).await;
    vault.metrics.audit_responses.record(began, Instant::now());
    written.inspect_err(|_| vault.metrics.audit_response_failures.add())
}
