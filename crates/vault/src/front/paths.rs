//! The paths of `sys/` that concern the server itself and need a token: audit devices, rotation,
//! root tokens, sealing.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use holdfast_barrier::Barrier;
use holdfast_logical::{
    Backend, Error, Operation, RawBody, Reply, Request, Response, SpecialPaths,
};
use holdfast_types::{Random, rfc3339};
use serde_json::{Map, Value, json};
use tracing::info;

use super::key_rotation::KeyRotation;
use super::lifecycle::LifecycleParts;
use super::root_token::RootTokens;
use super::rotation::Rotations;
use crate::audit::{Audit, DeviceError, DeviceSpec};
use crate::core::Core;
use crate::http::InFlight;
use crate::logs::{self, Logs};

/// Part of the mount `sys/`; paths are relative to it.
pub struct ServerPaths {
    barrier: Arc<Barrier>,
    core: Weak<Core>,
    audit: Arc<Audit>,
    in_flight: Arc<InFlight>,
    logs: Arc<Logs>,
    sanitized: Value,
    random: Arc<dyn Random>,
    rotations: Rotations,
    key_rotation: KeyRotation,
    root_tokens: RootTokens,
}

impl ServerPaths {
    /// Of the server that `core` belongs to; the core in turn owns these paths.
    pub fn new(parts: &LifecycleParts, core: &Arc<Core>, audit: Arc<Audit>) -> Self {
        let core: Weak<Core> = Arc::downgrade(core);
        Self {
            barrier: Arc::clone(&parts.barrier),
            core: core.clone(),
            audit,
            in_flight: Arc::clone(&parts.in_flight),
            logs: Arc::clone(&parts.logs),
            sanitized: parts.sanitized.clone(),
            random: Arc::clone(&parts.random),
            key_rotation: KeyRotation::new(Arc::clone(&parts.barrier), Arc::clone(&parts.clock)),
            rotations: Rotations::new(Arc::clone(&parts.barrier), Arc::clone(&parts.random)),
            root_tokens: RootTokens::new(
                Arc::clone(&parts.barrier),
                core,
                Arc::clone(&parts.random),
            ),
        }
    }
}

#[async_trait]
impl Backend for ServerPaths {
    async fn handle(&self, request: &Request) -> Reply {
        let write = request.operation.is_write();
        let read = request.operation == Operation::Read;
        match (&request.segments()[..], request.operation) {
            // Both take effect once this answer is on its way: see `Front`. There is no standby
            // that could take over.
            (["seal" | "step-down"], _) if write => Ok(None),
            (["audit"], Operation::Read) => Ok(Some(self.list_devices())),
            (["audit", name @ ..], _) if write && !name.is_empty() => {
                self.enable_device(&name.join("/"), request).await
            }
            (["audit", name @ ..], Operation::Delete) if !name.is_empty() => {
                self.audit.disable(&device_path(&name.join("/"))).await.map_err(device_error)?;
                Ok(None)
            }
            (["audit-hash", name @ ..], _) if write && !name.is_empty() => {
                self.hash(&name.join("/"), request)
            }
            (["rotate"] | ["rotate", "keyring"], _) if write => {
                self.rotate().await?;
                Ok(None)
            }
            (["rotate", "root"], _) if write => match self.barrier.rotate_root().await? {
                true => Ok(None),
                false => Err(Error::invalid(
                    "the root key of a Shamir seal is replaced together with its shares: begin \
                     with sys/rotate/root/init",
                )),
            },
            (["rotate", "config"] | ["rotate", "keyring", "config"], _) => {
                self.key_rotation.handle(request).await
            }
            (["rotate", which @ ("root" | "recovery"), step], _) => {
                self.rotations.handle(which, step, request).await
            }
            (["generate-root-token", step], _) => self.root_tokens.handle(step, request).await,
            (["key-status"], _) if read => self.key_status(),
            (["loggers"], _) => logs::loggers(&self.logs, None, request),
            (["loggers", name], _) => logs::loggers(&self.logs, Some(name), request),
            (["config", "state", "sanitized"], _) if read => {
                Ok(Some(Response::data(self.sanitized.clone())))
            }
            (["in-flight-req"], _) if read => Ok(Some(self.requests_under_way())),
            (
                [
                    "seal" | "step-down" | "audit" | "audit-hash" | "rotate" | "key-status"
                    | "in-flight-req",
                    ..,
                ]
                | ["config", "state", "sanitized"],
                _,
            ) => Err(Error::UnsupportedOperation),
            _ => Err(Error::UnsupportedPath),
        }
    }

    fn special_paths(&self) -> SpecialPaths {
        special_paths()
    }

    /// New shares that nobody has shown to work yet are never taken into use.
    async fn stop(&self) {
        self.rotations.abandon().await;
    }

    async fn tick(&self) -> Result<(), Error> {
        if self.key_rotation.is_due().await? {
            let term = self.rotate().await?;
            info!(term, "the encryption key rotated as configured");
        }
        Ok(())
    }
}

/// Paths with rules of their own.
fn special_paths() -> SpecialPaths {
    let sudo = [
        "audit",
        "audit/*",
        "generate-root-token/*",
        "in-flight-req",
        "rotate",
        "rotate/*",
        "seal",
        "step-down",
    ];
    SpecialPaths { sudo: sudo.map(str::to_owned).to_vec(), ..SpecialPaths::default() }
}

/// The rules of all of `sys/`: these and the core's.
#[cfg(test)]
pub(crate) fn special_paths_of_sys() -> SpecialPaths {
    let mut all = crate::sys::special_paths();
    all.sudo.extend(special_paths().sudo);
    all
}

impl ServerPaths {
    /// A new encryption key, and with it a new key of each kind that the core makes its own tokens
    /// with. Gives the number of the first.
    async fn rotate(&self) -> Result<u32, Error> {
        let status = self.barrier.rotate().await?;
        if let Some(core) = self.core.upgrade() {
            core.rotate_keys().await?;
        }
        Ok(status.term)
    }

    fn list_devices(&self) -> Response {
        let row = |spec: DeviceSpec| {
            let row = json!({
                "path": spec.path,
                "type": spec.kind,
                "description": spec.description,
                "options": spec.options,
                "local": false,
            });
            (spec.path, row)
        };
        let devices: Map<String, Value> = self.audit.list().into_iter().map(row).collect();
        Response { data: Some(devices), flatten: true, ..Response::default() }
    }

    async fn enable_device(&self, name: &str, request: &Request) -> Reply {
        let fields = request.fields();
        let spec = DeviceSpec {
            path: device_path(name),
            kind: fields.string("type")?.unwrap_or_default(),
            description: fields.string("description")?.unwrap_or_default(),
            options: fields.string_map("options")?.unwrap_or_default(),
        };
        self.audit.enable(spec, &*self.random).await.map_err(device_error)?;
        Ok(None)
    }

    fn hash(&self, name: &str, request: &Request) -> Reply {
        let input = request.fields().string("input")?.unwrap_or_default();
        if input.is_empty() {
            return Err(Error::invalid("the \"input\" parameter is empty"));
        }
        let hash = self.audit.hash(&device_path(name), &input).map_err(device_error)?;
        Ok(Some(Response { flatten: true, ..Response::data(json!({ "hash": hash })) }))
    }

    fn key_status(&self) -> Reply {
        let status = self.barrier.key_status()?;
        let data = json!({
            "term": status.term,
            "install_time": rfc3339(status.install_time),
            "encryptions": status.encryptions,
        });
        Ok(Some(Response { flatten: true, ..Response::data(data) }))
    }

    /// A bare table, without the envelope of other answers.
    fn requests_under_way(&self) -> Response {
        let mut body = Value::Object(self.in_flight.to_json()).to_string();
        body.push('\n');
        let raw = RawBody { content_type: "application/json".to_owned(), body: body.into_bytes() };
        Response { raw: Some(raw), ..Response::default() }
    }
}

/// Devices are named with a slash at the end.
fn device_path(name: &str) -> String {
    format!("{}/", name.trim_matches('/'))
}

fn device_error(error: DeviceError) -> Error {
    match error {
        DeviceError::Entry(error) => error.into(),
        other => Error::invalid(other.to_string()),
    }
}
