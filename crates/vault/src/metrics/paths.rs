//! `sys/metrics`.

use holdfast_logical::{Error, Fields, Operation, RawBody, Response};
use holdfast_types::Timestamp;
use serde_json::{Map, Value};

use super::Metrics;
use super::gauges::collect;
use super::render::{document, prometheus};
use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a request to `sys/metrics`.
///
/// # Errors
/// The format is not known.
pub(crate) async fn handle(vault: &Vault, invocation: &Invocation) -> Result<Answer, Error> {
    match invocation.request.operation {
        Operation::Read => {
            let data = &invocation.request.data;
            let raw = answer(&vault.metrics, Some(vault), data, vault.clock.now()).await?;
            Ok(Response { raw: Some(raw), ..Response::default() }.into())
        }
        Operation::List => Err(Error::UnsupportedPath),
        _ => Err(Error::UnsupportedOperation),
    }
}

/// All numbers, in the format that `data` names.
///
/// # Errors
/// The format is not known.
pub(crate) async fn answer(
    metrics: &Metrics,
    vault: Option<&Vault>,
    data: &Map<String, Value>,
    now: Timestamp,
) -> Result<RawBody, Error> {
    let format = Fields::new(data).string("format")?.unwrap_or_default();
    let samples = collect(metrics, vault).await;
    match format.as_str() {
        "prometheus" => Ok(RawBody {
            content_type: PROMETHEUS.to_owned(),
            body: prometheus(&samples).into_bytes(),
        }),
        "" => {
            let mut body = document(&samples, now).to_string();
            body.push('\n');
            let content_type = "application/json".to_owned();
            Ok(RawBody { content_type, body: body.into_bytes() })
        }
        other => Err(Error::invalid(format!("metric response format {other:?} unknown"))),
    }
}
