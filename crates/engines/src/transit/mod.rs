//! `transit`: cryptography as a service. Keys stay here; data comes, is encrypted, decrypted,
//! signed, verified or hashed, and goes again without being kept.
//!
//! | file | its concept |
//! |---|---|
//! | `route`, `routes` | which endpoint a path names, and what each takes |
//! | `key`, `key_type`, `material` | a named key: settings, versions, the key itself |
//! | `symmetric`, `ed25519`, `ecdsa`, `rsa`, `pss` | one cryptosystem each |
//! | `keys`, `stored` | the store, the cache, the locks |
//! | `lifecycle`, `config`, `describe` | making, rotating, trimming, deleting, reading keys |
//! | `encrypt`, `datakey`, `sign`, `hmac`, `digest`, `random` | using them |
//! | `export`, `backup`, `import`, `agree`, `certificates` | keys that come and go |
//! | `batch`, `ciphertext`, `encoding`, `der`, `pem` | the forms of all that |

mod agree;
mod backup;
mod backup_format;
mod batch;
mod certificates;
mod ciphertext;
mod config;
mod datakey;
mod der;
mod describe;
mod digest;
mod ecdsa;
mod ed25519;
mod encoding;
mod encrypt;
mod export;
mod hash_algorithm;
mod hmac;
mod import;
mod key;
mod key_type;
mod keys;
mod lifecycle;
mod material;
mod mount_config;
mod pem;
mod pss;
mod random;
mod refused;
mod route;
mod routes;
mod rsa;
mod sign;
mod stored;
mod symmetric;
#[cfg(test)]
mod tests;
mod wrapping;

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_barrier::View;
use holdfast_logical::{Backend, Context, Error, Operation, Reply, Request, Response};
use holdfast_types::{Clock, Random};
use serde_json::Value;

use self::key::Key;
use self::keys::Keys;
use self::lifecycle::Rotation;
use self::mount_config::MountConfig;
use self::route::{Endpoint, Route, field_error};
use self::wrapping::WrappingKey;

/// The backend of a `transit` mount.
pub fn backend(context: Context) -> Arc<dyn Backend> {
    Arc::new(Transit {
        keys: Keys::new(context.storage.clone()),
        config: MountConfig::default(),
        wrapping: WrappingKey::default(),
        rotation: Rotation::default(),
        storage: context.storage,
        clock: context.clock,
        random: context.random,
    })
}

struct Transit {
    storage: View,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    keys: Keys,
    config: MountConfig,
    wrapping: WrappingKey,
    rotation: Rotation,
}

impl Transit {
    async fn dispatch(&self, request: &Request, route: &Route<'_>) -> Reply {
        use Endpoint::*;
        let (read, write) = (request.operation == Operation::Read, request.operation.is_write());
        let delete = request.operation == Operation::Delete;
        match route.endpoint {
            ListKeys if request.operation == Operation::List => self.list_keys(request).await,
            Key if write => self.create_key(request, route.name).await,
            Key if read => self.read_key(request, route.name).await,
            Key if delete => self.delete_key(route.name).await,
            Rotate if write => self.rotate_key(request, route.name).await,
            Config if write => self.configure_key(request, route.name).await,
            Trim if write => self.trim_key(request, route.name).await,
            SoftDelete if delete => self.soft_delete_key(route.name, true).await,
            SoftDeleteRestore if write => self.soft_delete_key(route.name, false).await,
            Import if write => self.import_key(request, route.name).await,
            ImportVersion if write => self.import_version(request, route.name).await,
            Csr if write => self.create_csr(request, route.name).await,
            SetCertificate if write => self.set_certificate(request, route.name).await,
            Encrypt if write => self.encrypt(request, route.name).await,
            Decrypt if write => self.decrypt(request, route.name).await,
            Rewrap if write => self.rewrap(request, route.name).await,
            Datakey if write => self.make_datakey(request, route).await,
            Sign if write => self.sign(request, route).await,
            Verify if write => self.verify(request, route).await,
            Hmac if write => self.hmac(request, route).await,
            Hash if write => digest::hash(request, route),
            Random if write => random::bytes(request, route, &*self.random),
            Export if read => self.export_key(request, route).await,
            ByokExport if read => self.export_wrapped(request, route).await,
            Backup if read => self.back_up(route.name).await,
            Restore if write => self.restore(request, route.name).await,
            WrappingKey if read => self.read_wrapping_key().await,
            DeriveKey if write => self.agree_on_key(request, route.name).await,
            CacheConfig if read => self.read_cache_config(),
            CacheConfig if write => self.write_cache_config(request).await,
            ConfigKeys if read => self.read_keys_config(),
            ConfigKeys if write => self.write_keys_config(request).await,
            _ => Err(Error::UnsupportedOperation),
        }
    }

    /// The key of that name.
    ///
    /// # Errors
    /// There is none: 400 `missing`.
    async fn existing(&self, name: &str, missing: &str) -> Result<Arc<Key>, Error> {
        self.keys.get(name).await?.ok_or_else(|| Error::invalid(missing))
    }
}

#[async_trait]
impl Backend for Transit {
    async fn handle(&self, request: &Request) -> Reply {
        let route = Route::parse(&request.path).ok_or(Error::UnsupportedPath)?;
        let reply = self.dispatch(request, &route).await;
        reply.map_err(|error| field_error(route.endpoint, error))
    }

    fn routes(&self) -> &'static [holdfast_logical::Route] {
        routes::ROUTES
    }

    /// Encrypting with a key that is not there makes it: who may not create may not do that.
    async fn exists(&self, request: &Request) -> Result<Option<bool>, Error> {
        match Route::parse(&request.path) {
            Some(Route { endpoint: Endpoint::Encrypt, name, .. }) => {
                Ok(Some(self.keys.get(name).await?.is_some()))
            }
            _ => Ok(None),
        }
    }

    async fn start(&self) -> Result<(), Error> {
        self.load_config().await
    }

    async fn tick(&self) -> Result<(), Error> {
        self.rotate_due_keys().await
    }

    fn help(&self, path: &str) -> Option<String> {
        path.is_empty()
            .then(|| "Encrypts, signs and hashes with keys that never leave it.".to_owned())
    }
}

/// An answer of `data`, which must be an object.
fn answer(data: Value) -> Reply {
    Ok(Some(Response::data(data)))
}

/// Runs what computes for long where it holds up no other request.
async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|failure| Error::internal("compute", failure))
}
