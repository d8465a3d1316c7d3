//! The audit log: every request and every answer is written down before it has an effect outside.
//!
//! A record counts as written when at least one device has it; where devices exist and none takes
//! it, the request fails and nothing is served. Values are hashed with a key per device, so that a
//! log says whether a known secret was used without saying any secret.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use arc_swap::ArcSwap;
use holdfast_barrier::{EntryError, View};
use holdfast_types::{Clock, Random, SecretString, SystemClock};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};
use zeroize::Zeroizing;

use crate::space::Watched;

mod device;
mod file;
mod line;
mod options;
mod record;

pub use device::DeviceSpec;
pub use options::{Allowances, OptionsError};
pub use record::{AuthRecord, RequestRecord, ResponseRecord, Shown, WrapRecord};

use device::Device;
use line::Line;

/// No audit device could write: the request must fail.
#[derive(Debug, thiserror::Error)]
#[error("no audit device could write")]
pub struct AuditError;

/// Why a device cannot be enabled or disabled.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// There is one at this path, or at one above or below it.
    #[error("path already in use")]
    InUse,
    /// There is none at this path.
    #[error("unknown audit backend {0:?}")]
    Unknown(String),
    /// It stands in the configuration file, which is where to remove it.
    #[error("cannot disable configuration-managed audit device")]
    Declared,
    /// Its type or its options.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// It cannot be written to.
    #[error("failed to write a first record to the audit device: {0}")]
    Unwritable(#[source] std::io::Error),
    /// Its settings cannot be stored.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// A device as it is stored behind the barrier, under its path.
#[derive(Serialize, Deserialize)]
struct StoredDevice {
    spec: DeviceSpec,
    /// Comes from the configuration file.
    declared: bool,
    /// The key of its hashes, in hexadecimal.
    salt: SecretString,
}

/// All enabled devices.
pub struct Audit {
    devices: ArcSwap<Vec<Arc<Device>>>,
    allowances: Allowances,
    clock: Arc<dyn Clock>,
    /// Held while the table of devices changes.
    changing: tokio::sync::Mutex<()>,
    storage: Mutex<Option<View>>,
}

impl Default for Audit {
    /// No devices.
    fn default() -> Self {
        Self::new(Allowances::default(), Arc::new(SystemClock))
    }
}

impl Audit {
    /// No devices yet.
    pub fn new(allowances: Allowances, clock: Arc<dyn Clock>) -> Self {
        Self {
            devices: ArcSwap::default(),
            allowances,
            clock,
            changing: tokio::sync::Mutex::new(()),
            storage: Mutex::new(None),
        }
    }

    /// Writes down a request, before it is handed to a backend.
    ///
    /// # Errors
    /// No device could write. With no device enabled there is nothing to write.
    pub async fn request(&self, request: &RequestRecord) -> Result<(), AuditError> {
        self.write(&Line { request, response: None, time: request.time }).await
    }

    /// Writes down an answer, before it is sent.
    ///
    /// # Errors
    /// As for [`Audit::request`].
    pub async fn response(
        &self,
        request: &RequestRecord,
        response: &ResponseRecord,
    ) -> Result<(), AuditError> {
        self.write(&Line { request, response: Some(response), time: self.clock.now() }).await
    }

    async fn write(&self, line: &Line<'_>) -> Result<(), AuditError> {
        let devices = self.devices.load_full();
        if devices.is_empty() {
            return Ok(());
        }
        let queued: Vec<_> = devices.iter().map(|device| device.queue(line)).collect();
        // Requests that are under way at the same time are written down in one call.
        let_others_run().await;
        let mut written = false;
        for (device, queued) in devices.iter().zip(queued) {
            match queued.and_then(|queued| device.write(&queued)) {
                Ok(()) => written = true,
                Err(error) => device.complain(&error),
            }
        }
        if written {
            return Ok(());
        }
        error!(request.id = %line.request.id, "no audit device could write: the request is refused");
        Err(AuditError)
    }

    /// Loads the stored devices after an unseal and makes them those that `declared` names: new
    /// ones are enabled, ones that are no longer declared are disabled. `storage` is the corner of
    /// the store that is the audit log's own.
    ///
    /// A device that cannot be opened now stays in the table and is tried again with each record.
    ///
    /// # Errors
    /// The store, or options that make no sense.
    pub async fn load(
        &self,
        storage: View,
        declared: &[DeviceSpec],
        random: &dyn Random,
    ) -> Result<(), DeviceError> {
        let _changing = self.changing.lock().await;
        let mut table = BTreeMap::new();
        for path in storage.scan("").await? {
            let Some(stored) = storage.get_json::<StoredDevice>(&path).await? else { continue };
            if stored.declared && !declared.iter().any(|spec| spec.path == path) {
                storage.delete(&path).await?;
                warn!(device = %path, "audit device is no longer in the configuration");
                continue;
            }
            table.insert(path, stored);
        }
        for spec in declared {
            let salt = match table.remove(&spec.path) {
                Some(stored) if stored.declared && stored.spec == *spec => {
                    table.insert(spec.path.clone(), stored);
                    continue;
                }
                Some(stored) => stored.salt,
                None => new_salt(random),
            };
            let stored = StoredDevice { spec: spec.clone(), declared: true, salt };
            storage.put_json(&spec.path, &stored).await?;
            table.insert(spec.path.clone(), stored);
        }
        let devices = table.into_values().map(|stored| {
            let options = options::Options::parse(&stored.spec, self.allowances)?;
            let device = Device::new(stored.spec, options, stored.declared, &stored.salt);
            if let Err(error) = device.open() {
                device.complain(&error);
            }
            Ok(Arc::new(device))
        });
        let devices = devices.collect::<Result<Vec<_>, OptionsError>>()?;
        self.devices.store(Arc::new(devices));
        *self.storage() = Some(storage);
        Ok(())
    }

    /// Forgets the devices and their keys, at sealing.
    pub fn unload(&self) {
        self.devices.store(Arc::default());
        *self.storage() = None;
    }

    /// Enables a device by the API. A first record is written to it, so that one that cannot be
    /// written to is refused now.
    ///
    /// # Errors
    /// Why it was not enabled.
    pub async fn enable(&self, spec: DeviceSpec, random: &dyn Random) -> Result<(), DeviceError> {
        let _changing = self.changing.lock().await;
        let devices = self.devices.load_full();
        let overlaps = |device: &Arc<Device>| {
            let (old, new) = (&device.spec().path, &spec.path);
            old.starts_with(new.as_str()) || new.starts_with(old.as_str())
        };
        if devices.iter().any(overlaps) {
            return Err(DeviceError::InUse);
        }
        if !self.allowances.creation_by_api {
            return Err(OptionsError::ByApi.into());
        }
        let storage = self.sealed_or_storage()?;
        let options = options::Options::parse(&spec, self.allowances)?;
        let salt = new_salt(random);
        let device = Device::new(spec.clone(), options, false, &salt);
        device.write_test(self.clock.now(), random).map_err(DeviceError::Unwritable)?;
        let path = spec.path.clone();
        storage.put_json(&path, &StoredDevice { spec, declared: false, salt }).await?;
        let mut devices = Vec::clone(&devices);
        devices.push(Arc::new(device));
        devices.sort_by(|a, b| a.spec().path.cmp(&b.spec().path));
        self.devices.store(Arc::new(devices));
        Ok(())
    }

    /// Disables a device. Where there is none, nothing is to be done.
    ///
    /// # Errors
    /// It stands in the configuration, or the store failed.
    pub async fn disable(&self, path: &str) -> Result<(), DeviceError> {
        let _changing = self.changing.lock().await;
        let devices = self.devices.load_full();
        let Some(device) = devices.iter().find(|device| device.spec().path == path) else {
            return Ok(());
        };
        if device.is_declared() {
            return Err(DeviceError::Declared);
        }
        self.sealed_or_storage()?.delete(path).await?;
        let rest = devices.iter().filter(|device| device.spec().path != path);
        self.devices.store(Arc::new(rest.cloned().collect()));
        Ok(())
    }

    /// The enabled devices.
    pub fn list(&self) -> Vec<DeviceSpec> {
        self.devices.load().iter().map(|device| device.spec().clone()).collect()
    }

    /// The files that the enabled devices write, for watching their disks.
    pub(crate) fn files(&self) -> Vec<Watched> {
        let devices = self.devices.load();
        let watched = devices.iter().filter_map(|device| {
            let name = format!("audit device {}", device.spec().path);
            Some(Watched { name, path: device.path()?.to_owned() })
        });
        watched.collect()
    }

    /// How the device at `path` writes `input`: `hmac-sha256:<hex>`.
    ///
    /// # Errors
    /// There is no such device.
    pub fn hash(&self, path: &str, input: &str) -> Result<String, DeviceError> {
        let devices = self.devices.load();
        let device = devices.iter().find(|device| device.spec().path == path);
        let device = device.ok_or_else(|| DeviceError::Unknown(path.to_owned()))?;
        Ok(device.hash(input))
    }

    /// Opens every file anew, after a rotation of logs has moved it. One that cannot be opened goes
    /// on with the old file.
    pub fn reopen(&self) {
        for device in self.devices.load().iter() {
            if let Err(error) = device.open() {
                device.complain(&error);
            }
        }
    }

    fn storage(&self) -> std::sync::MutexGuard<'_, Option<View>> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sealed_or_storage(&self) -> Result<View, EntryError> {
        self.storage().clone().ok_or(EntryError::Sealed)
    }
}

/// Goes to the end of the queue of tasks that can run. Unlike tokio's `yield_now` it does not wait
/// for the queue to be empty.
async fn let_others_run() {
    let mut is_second = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut is_second, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn new_salt(random: &dyn Random) -> SecretString {
    let mut bytes = Zeroizing::new([0; 32]);
    random.fill(bytes.as_mut_slice());
    SecretString::new(hex::encode(bytes.as_slice()))
}

#[cfg(test)]
mod tests;
