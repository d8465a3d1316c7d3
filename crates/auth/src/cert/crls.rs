//! `crls/<name>`: certificates that are not to be taken any more.
//!
//! As in OpenBao, a number on any list counts against every chain with that number, and a list
//! counts until it is removed, also after its own end. A list from a URL is fetched again once its
//! next issue is due; where that fails, the old one stays and it is tried every minute.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_barrier::View;
use holdfast_client::fetch::Fetcher;
use holdfast_keys::x509::{Certificate, RevocationList, decimal, decode_pem};
use holdfast_logical::{Error, Reply, Request, Response};
use holdfast_types::{Chain, Clock, Timestamp, rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, RwLock};
use tracing::warn;

/// As OpenBao writes a time that is not known.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// A list as it is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    /// Where it comes from. Empty: it was written.
    url: String,
    /// When its next issue is due.
    valid_until: Option<Timestamp>,
    /// In decimal.
    serials: BTreeSet<String>,
}

/// All lists of a mount.
pub(super) struct RevocationLists {
    storage: View,
    clock: Arc<dyn Clock>,
    /// Read from the store at first use.
    known: RwLock<Option<Arc<BTreeMap<String, Stored>>>>,
    /// Held while a list changes.
    changes: Mutex<()>,
}

impl RevocationLists {
    pub(super) fn new(storage: View, clock: Arc<dyn Clock>) -> Self {
        Self { storage, clock, known: RwLock::new(None), changes: Mutex::new(()) }
    }

    /// What is revoked now.
    pub(super) async fn revoked(&self) -> Result<Revoked, Error> {
        Ok(Revoked(self.known().await?))
    }

    /// `GET crls/<name>`
    pub(super) async fn read(&self, name: &str) -> Reply {
        let known = self.known().await?;
        let list = known.get(name).ok_or_else(|| no_such_list(name))?;
        let mut data = Map::new();
        if !list.serials.is_empty() {
            let serials = list.serials.iter().map(|serial| (serial.clone(), json!({})));
            data.insert("serials".to_owned(), Value::Object(serials.collect()));
        }
        if !list.url.is_empty() {
            let until = list.valid_until.map_or(NO_TIME.to_owned(), rfc3339);
            data.insert("cdp".to_owned(), json!({ "url": list.url, "valid_until": until }));
        }
        Ok(Some(Response::data(Value::Object(data))))
    }

    /// `PUT crls/<name>`: a list, or where to fetch it.
    pub(super) async fn write(&self, request: &Request, name: &str) -> Reply {
        let fields = request.fields();
        let text = |name| fields.string(name).map_err(Error::field_validation);
        let (crl, url) = (text("crl")?, text("url")?);
        let list = match (crl, url) {
            (Some(crl), _) => {
                let list = parse(crl.as_bytes())
                    .map_err(|why| Error::invalid(format!("failed to parse CRL: {why}")))?;
                stored(String::new(), &list)
            }
            (None, Some(url)) if url.is_empty() => {
                return Err(Error::invalid("empty CRL url"));
            }
            (None, Some(url)) => {
                fetch(url).await.map_err(|why| Error::invalid(format!("fetch CRL: {why}")))?
            }
            (None, None) => {
                return Err(Error::invalid("one of 'crl' or 'url' must be provided"));
            }
        };
        let _guard = self.changes.lock().await;
        self.keep(name, list).await?;
        Ok(None)
    }

    /// `DELETE crls/<name>`
    pub(super) async fn delete(&self, name: &str) -> Reply {
        let _guard = self.changes.lock().await;
        if !self.known().await?.contains_key(name) {
            return Err(no_such_list(name));
        }
        self.storage.delete(&entry(name)).await?;
        *self.known.write().await = None;
        Ok(None)
    }

    /// Fetches the lists again whose next issue is due.
    pub(super) async fn refresh_due(&self) -> Result<(), Error> {
        let now = self.clock.now();
        for (name, list) in self.known().await?.iter() {
            if list.url.is_empty() || list.valid_until.is_none_or(|until| until > now) {
                continue;
            }
            match fetch(list.url.clone()).await {
                Ok(fetched) => {
                    let _guard = self.changes.lock().await;
                    // It may have been removed, or written anew, meanwhile.
                    if self.known().await?.get(name).is_some_and(|now| now.url == list.url) {
                        self.keep(name, fetched).await?;
                    }
                }
                Err(error) => warn!(list = name, error, "fetch a revocation list again"),
            }
        }
        Ok(())
    }

    async fn keep(&self, name: &str, list: Stored) -> Result<(), Error> {
        self.storage.put_json(&entry(name), &list).await?;
        *self.known.write().await = None;
        Ok(())
    }

    async fn known(&self) -> Result<Arc<BTreeMap<String, Stored>>, Error> {
        if let Some(known) = &*self.known.read().await {
            return Ok(known.clone());
        }
        let mut slot = self.known.write().await;
        if let Some(known) = &*slot {
            return Ok(known.clone());
        }
        let mut known = BTreeMap::new();
        for name in self.storage.list("crls/").await? {
            if let Some(list) = self.storage.get_json(&entry(&name)).await? {
                known.insert(name, list);
            }
        }
        let known = Arc::new(known);
        *slot = Some(known.clone());
        Ok(known)
    }
}

/// What is revoked.
pub(super) struct Revoked(Arc<BTreeMap<String, Stored>>);

impl Revoked {
    /// Whether one of these certificates, in DER, is on a list. What cannot be read counts as
    /// revoked.
    pub(super) fn holds_any(&self, chain: &[&[u8]]) -> bool {
        !self.0.is_empty()
            && chain.iter().any(|der| {
                Certificate::from_der(der).map_or(true, |certificate| self.holds(&certificate))
            })
    }

    pub(super) fn holds(&self, certificate: &Certificate) -> bool {
        let serial = decimal(&certificate.serial);
        self.0.values().any(|list| list.serials.contains(&serial))
    }
}

fn entry(name: &str) -> String {
    format!("crls/{name}")
}

fn no_such_list(name: &str) -> Error {
    Error::invalid(format!("no such CRL {name}"))
}

/// Reads DER, or the first block of PEM.
fn parse(bytes: &[u8]) -> Result<RevocationList, String> {
    let block = std::str::from_utf8(bytes).ok().and_then(decode_pem);
    let der = block.as_ref().map_or(bytes, |(block, _)| block.der.as_slice());
    RevocationList::from_der(der).map_err(|error| error.to_string())
}

fn stored(url: String, list: &RevocationList) -> Stored {
    let serials = list.serials.iter().map(|serial| decimal(serial)).collect();
    Stored { url, valid_until: list.next_update, serials }
}

async fn fetch(url: String) -> Result<Stored, String> {
    let fetcher = Fetcher::new("").ok_or("no HTTP client")?;
    let body = fetcher.get(&url).await.map_err(|error| Chain(&error).to_string())?;
    Ok(stored(url, &parse(&body)?))
}
