//! Why requests were refused, for operators to ask.
//!
//! Every refusal carries its request's id in a header field, [`HEADER`]; the id says nothing by
//! itself. What is known at that moment is kept in memory as it is. In the background it is
//! explained and written to `sys/explain/<id>`, many in one commit: a denial costs its caller no
//! write, and the store no more than a bounded number of entries, however many are provoked.
//!
//! **Invariant**: nothing of this is on the way of a request that is allowed, but one comparison.

mod diagnose;
mod ended;
mod pending;
mod ring;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_barrier::{Batch, EntryError, View};
use holdfast_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub(crate) use self::ended::EndedTokens;
pub(crate) use self::pending::{Judgement, Pending, Who, Why, mask};
use self::ring::{Kept, Ring};
use crate::core::answer::Chain;
use crate::core::vault::Vault;

/// The header field of a refusal that holds its id.
pub const HEADER: &str = "x-holdfast-explain";

/// How long denials are kept.
const LIFE: Duration = Duration::from_secs(72 * 3600);
/// How often those that are new are written to the store.
const FLUSH: Duration = Duration::from_secs(5);

/// A denial as stored, and as the API shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Explained {
    /// When.
    at: Timestamp,
    /// Whose denials it is counted with.
    caller: String,
    /// The rest: who, what, why, and what to do.
    body: Map<String, Value>,
}

enum Denial {
    /// As it happened.
    Pending(Arc<Pending>),
    /// As it is told.
    Explained(Arc<Explained>),
}

/// All denials that are kept.
pub(crate) struct Denials {
    store: View,
    ring: Mutex<Ring<Denial>>,
    /// Tokens that ended lately.
    pub(crate) ended: EndedTokens,
}

impl Denials {
    pub(crate) fn new(root: &View) -> Self {
        Self {
            store: root.sub("sys/explain/"),
            ring: Mutex::default(),
            ended: EndedTokens::default(),
        }
    }

    /// Keeps a denial under the id of its request.
    pub(crate) fn note(&self, id: &str, pending: Pending) {
        let (at, caller) = (pending.at, pending.bucket());
        let denial = Denial::Pending(Arc::new(pending));
        self.ring().add(Kept { id: id.into(), at, caller, denial, stored: false });
    }

    fn ring(&self) -> MutexGuard<'_, Ring<Denial>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads back what an earlier process has stored.
    async fn load(&self) -> Result<(), EntryError> {
        for name in self.store.scan("").await? {
            let Some(explained) = self.store.get_json::<Explained>(&name).await? else { continue };
            self.ring().add(Kept {
                id: name.into(),
                at: explained.at,
                caller: explained.caller.as_str().into(),
                denial: Denial::Explained(Arc::new(explained)),
                stored: true,
            });
        }
        Ok(())
    }
}

/// The denial with that id, as the API shows it.
///
/// # Errors
/// The store's.
pub(crate) async fn show(
    vault: &Vault,
    id: &str,
) -> Result<Option<Map<String, Value>>, EntryError> {
    let explained = match explained(vault, id).await {
        Some(explained) => explained,
        // Not read back yet, shortly after a start.
        None if is_id(id) => match vault.denials.store.get_json::<Explained>(id).await? {
            Some(explained) => Arc::new(explained),
            None => return Ok(None),
        },
        None => return Ok(None),
    };
    Ok(is_kept(vault, explained.at).then(|| with_id(id, &explained)))
}

/// All denials, newest first, each with its id.
pub(crate) async fn list(vault: &Vault) -> Vec<(String, Map<String, Value>)> {
    let ids: Vec<Arc<str>> =
        vault.denials.ring().newest().into_iter().map(|kept| kept.id.clone()).collect();
    let mut shown = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(explained) = explained(vault, &id).await else { continue };
        if is_kept(vault, explained.at) {
            shown.push((id.to_string(), with_id(&id, &explained)));
        }
    }
    shown
}

fn is_kept(vault: &Vault, at: Timestamp) -> bool {
    at >= end_of_life(vault.clock.now())
}

fn end_of_life(now: Timestamp) -> Timestamp {
    now.checked_sub(LIFE).unwrap_or(Timestamp::MIN)
}

fn with_id(id: &str, explained: &Explained) -> Map<String, Value> {
    let mut body = explained.body.clone();
    body.insert("id".to_owned(), json!(id));
    body
}

/// Whether it can be one: what names an entry of the store must not lead elsewhere.
fn is_id(id: &str) -> bool {
    id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The denial, explained now where it is not yet.
async fn explained(vault: &Vault, id: &str) -> Option<Arc<Explained>> {
    let pending = match &vault.denials.ring().get(id)?.denial {
        Denial::Explained(explained) => return Some(explained.clone()),
        Denial::Pending(pending) => pending.clone(),
    };
    let body = diagnose::diagnose(vault, &pending).await;
    let caller = pending.bucket().to_string();
    let explained = Arc::new(Explained { at: pending.at, caller, body });
    if let Some(kept) = vault.denials.ring().get_mut(id) {
        kept.denial = Denial::Explained(explained.clone());
    }
    Some(explained)
}

/// Explains and stores what is new, and removes what is old, until `shutdown`; then once more.
pub(crate) async fn run(vault: Arc<Vault>, shutdown: CancellationToken) {
    if let Err(error) = vault.denials.load().await {
        warn!(error = %Chain(&error), "read back why requests were refused");
    }
    let mut tick = tokio::time::interval_at(Instant::now() + FLUSH, FLUSH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            biased;
            () = shutdown.cancelled() => true,
            _ = tick.tick() => false,
        };
        if let Err(error) = flush(&vault).await {
            warn!(error = %Chain(&error), "store why requests were refused");
        }
        if last {
            return;
        }
    }
}

/// Brings the store up to date, in one commit.
pub(crate) async fn flush(vault: &Vault) -> Result<(), EntryError> {
    let denials = &vault.denials;
    let (unsaved, forgotten) = {
        let mut ring = denials.ring();
        ring.expire(end_of_life(vault.clock.now()));
        (ring.unsaved(), ring.take_forgotten())
    };
    if unsaved.is_empty() && forgotten.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::new();
    for id in &unsaved {
        if let Some(explained) = explained(vault, id).await {
            denials.store.batch_json(&mut batch, id, &*explained)?;
        }
    }
    for id in &forgotten {
        batch.delete(id.to_string());
    }
    let committed = denials.store.commit(batch).await;
    let mut ring = denials.ring();
    match committed {
        Ok(()) => unsaved.iter().for_each(|id| ring.saved(id)),
        Err(error) => {
            ring.give_back_forgotten(forgotten);
            return Err(error);
        }
    }
    Ok(())
}

/// The beginning of `text`, at most `most` bytes of it, and a mark where it was longer.
fn cut(text: &str, most: usize) -> String {
    match text.len() <= most {
        true => text.to_owned(),
        false => format!("{}…", &text[..text.floor_char_boundary(most)]),
    }
}
