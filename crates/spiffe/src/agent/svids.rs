//! X.509-SVIDs, one for each entry, whoever of its workloads asks.
//!
//! An SVID is signed when it is first asked for, and again at half of its life, give or take a
//! tenth, when somebody still holds it: every stream comes back for it at that moment. So nothing is
//! signed that nobody uses, and no two are due at once because the agent started.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_keys::x509::{Certificate, GeneralName};
use holdfast_types::{Clock, Random, Timestamp};
use zeroize::Zeroizing;

use crate::source::key_and_request;
use crate::{Bundle, Entry, MintError, Source};

/// How long to wait after a failure while the SVID at hand is still good.
const RETRY: Duration = Duration::from_secs(5);
/// From so many entries on, those that nobody asked for since they ended are forgotten.
const SWEEP: usize = 1024;

/// A signed identity and its key.
pub(super) struct Svid {
    /// What it is of.
    pub(super) entry: Arc<Entry>,
    /// DER: the leaf, then the authorities between it and the bundle.
    pub(super) chain: Vec<Vec<u8>>,
    /// PKCS #8, DER.
    pub(super) key: Zeroizing<Vec<u8>>,
    /// Its end.
    pub(super) not_after: Timestamp,
    /// When to ask for another one.
    pub(super) rotate_at: Timestamp,
    /// No other SVID of this process has the same.
    pub(super) serial: u64,
}

/// All SVIDs that are in use.
pub(super) struct Svids {
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    cells: Mutex<HashMap<String, Arc<Cell>>>,
    serials: AtomicU64,
}

/// The place of one entry's SVID.
struct Cell {
    /// Another entry may come in its place, with the same id and as few changes.
    entry: Arc<Entry>,
    held: Mutex<Option<Held>>,
    /// Whoever holds it has another one signed, and who needs that waits for it.
    signing: tokio::sync::Mutex<()>,
}

struct Held {
    svid: Arc<Svid>,
    /// When it was last asked for.
    asked: Timestamp,
    /// When to look at it again.
    next: Timestamp,
    /// The bundle that was seen to hold its authority.
    sequence: u64,
}

impl Svids {
    /// An empty store.
    pub(super) fn new(
        source: Arc<dyn Source>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let (cells, serials) = (Mutex::default(), AtomicU64::new(0));
        Self { source, clock, random, cells, serials }
    }

    /// The SVID of an entry, and when to ask again.
    ///
    /// # Errors
    /// There is no good one, and the server does not sign another.
    pub(super) async fn get(
        &self,
        entry: &Arc<Entry>,
        bundle: &Bundle,
    ) -> Result<(Arc<Svid>, Timestamp), MintError> {
        let cell = self.cell(entry);
        if let Some(good) = cell.good(self.clock.now(), bundle) {
            return Ok(good);
        }
        let _signing = cell.signing.lock().await;
        let now = self.clock.now();
        // Another may have had it signed meanwhile.
        if let Some(good) = cell.good(now, bundle) {
            return Ok(good);
        }
        let minted = self.mint(entry, now).await;
        let mut held = cell.held();
        match minted {
            Ok(svid) => {
                let svid = Arc::new(svid);
                let next = svid.rotate_at;
                let sequence = bundle.sequence;
                *held = Some(Held { svid: svid.clone(), asked: now, next, sequence });
                Ok((svid, next))
            }
            Err(error) => match held.as_mut() {
                // Nothing is gained by taking away what still works.
                Some(held) if now < held.svid.not_after && !is_final(&error) => {
                    tracing::warn!(
                        spiffe.id = %entry.spiffe_id,
                        error = %error,
                        "sign another SVID"
                    );
                    (held.asked, held.next) = (now, (now + RETRY).min(held.svid.not_after));
                    Ok((held.svid.clone(), held.next))
                }
                _ => Err(error),
            },
        }
    }

    /// What is held now, for people to see.
    pub(super) fn held(&self) -> Vec<Arc<Svid>> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let held = |cell: &Arc<Cell>| Some(cell.held().as_ref()?.svid.clone());
        cells.values().filter_map(held).collect()
    }

    fn cell(&self, entry: &Arc<Entry>) -> Arc<Cell> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = cells.get(&entry.id).filter(|cell| is_same(&cell.entry, entry)) {
            return cell.clone();
        }
        if cells.len() >= SWEEP && cells.len().is_power_of_two() {
            let now = self.clock.now();
            cells.retain(|_, cell| {
                let is_good = cell.held().as_ref().is_some_and(|held| now < held.svid.not_after);
                is_good || cell.signing.try_lock().is_err()
            });
        }
        let (held, signing) = Default::default();
        let cell = Arc::new(Cell { entry: entry.clone(), held, signing });
        cells.insert(entry.id.clone(), cell.clone());
        cell
    }

    async fn mint(&self, entry: &Arc<Entry>, now: Timestamp) -> Result<Svid, MintError> {
        let failed = |error| MintError::Unavailable(Box::new(error));
        let (key, request) = key_and_request().map_err(failed)?;
        let signed = self.source.mint_x509(&entry.id, &request).await?;
        // The server signs what the entry says by now, which may be for others than it was.
        if !is_of(&signed.chain, entry) {
            return Err(MintError::NoEntry(entry.id.clone()));
        }
        Ok(Svid {
            entry: entry.clone(),
            chain: signed.chain,
            key: key.to_pkcs8(),
            not_after: signed.not_after,
            rotate_at: half_life(now, signed.not_after, &*self.random),
            serial: self.serials.fetch_add(1, Ordering::Relaxed),
        })
    }
}

impl Cell {
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is held, and when to ask again, if it need not be signed anew.
    fn good(&self, now: Timestamp, bundle: &Bundle) -> Option<(Arc<Svid>, Timestamp)> {
        let mut held = self.held();
        let held = held.as_mut()?;
        if held.sequence != bundle.sequence && is_by(&held.svid, bundle) {
            held.sequence = bundle.sequence;
        }
        let is_time = was_before(held.asked, now) && now < held.next;
        let is_good = held.sequence == bundle.sequence && is_time;
        is_good.then(|| (held.svid.clone(), held.next))
    }
}

/// Whether a moment was before `now`. If not, the clock was set back meanwhile, and what was signed then may
/// not be valid yet.
pub(super) fn was_before(moment: Timestamp, now: Timestamp) -> bool {
    /// What a clock that is kept right by small steps may go back.
    const STEP: Duration = Duration::from_secs(2);
    moment <= now + STEP
}

/// Half of the time from `now` to `end`, give or take a tenth of that time.
pub(super) fn half_life(now: Timestamp, end: Timestamp, random: &dyn Random) -> Timestamp {
    let life = end.as_millisecond().saturating_sub(now.as_millisecond()).max(0);
    let mut bytes = [0; 2];
    random.fill(&mut bytes);
    let jitter = i64::from(u16::from_le_bytes(bytes)) * (life / 10) / i64::from(u16::MAX);
    // From 0.45 to 0.55 of the life.
    let at = now.as_millisecond() + life * 45 / 100 + jitter;
    Timestamp::from_millisecond(at).unwrap_or(now)
}

/// Whether what is kept for one entry is good for the other. Most often it is the very same one.
pub(super) fn is_same(one: &Arc<Entry>, other: &Arc<Entry>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// Whether a chain's leaf is for the identity of the entry.
fn is_of(chain: &[Vec<u8>], entry: &Entry) -> bool {
    let leaf = chain.first().and_then(|der| Certificate::from_der(der).ok());
    let is_id =
        |name: &GeneralName| matches!(name, GeneralName::Uri(id) if id == entry.spiffe_id.as_str());
    leaf.is_some_and(|leaf| leaf.names().iter().any(is_id))
}

/// Whether no later attempt can succeed.
fn is_final(error: &MintError) -> bool {
    matches!(error, MintError::NoEntry(_) | MintError::Invalid(_))
}

/// Whether one of the bundle's authorities has signed the chain's end, and no tainted one the leaf.
fn is_by(svid: &Svid, bundle: &Bundle) -> bool {
    let Some(Ok(last)) = svid.chain.last().map(|der| Certificate::from_der(der)) else {
        return false;
    };
    let leaf = svid.chain.first().filter(|_| !bundle.tainted.is_empty());
    if leaf.is_some_and(|der| Certificate::from_der(der).is_ok_and(|leaf| bundle.taints(&leaf))) {
        return false;
    }
    bundle.x509_authorities.iter().any(|der| {
        Certificate::from_der(der).is_ok_and(|authority| last.check_signed_by(&authority).is_ok())
    })
}

#[cfg(test)]
mod tests;
