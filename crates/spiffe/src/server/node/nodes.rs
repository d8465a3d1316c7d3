//! The nodes that joined.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use holdfast_barrier::{Batch, EntryError, View};
use holdfast_keys::x509::{Certificate, GeneralName, decimal};
use holdfast_types::{Clock, SpiffeId, Timestamp, TrustDomain};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::attest::Attested;
use super::whole;
use crate::Selector;
use crate::server::registry::{NodeFacts, server_id};

const MAX_AGENTS: usize = 100_000;
/// An agent whose SVID ended this long ago is forgotten, unless it is banned; it has to join anew anyway.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// Why a node is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    /// Never made, used, or past its end: which of them is nobody's business.
    #[error("join token does not exist or has already been used")]
    Token,
    /// The certificate is of no agent that joined.
    #[error("agent is not attested")]
    Unknown,
    /// An operator ended it.
    #[error("agent is banned")]
    Banned,
    /// Somebody else holds the agent's name.
    #[error("agent has joined with another key")]
    OtherKey,
    /// More than the server keeps.
    #[error("there are too many agents or join tokens")]
    Full,
    /// The server is ending.
    #[error("the server is shutting down")]
    Stopped,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] EntryError),
}

/// A node's agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Agent {
    /// Its id.
    pub(crate) spiffe_id: SpiffeId,
    /// How it proved itself.
    pub(crate) attestation_type: String,
    /// What was seen of its node.
    pub(crate) selectors: BTreeSet<Selector>,
    /// When its SVID ends.
    pub(crate) expires: Timestamp,
    /// Whether an operator ended it.
    pub(crate) banned: bool,
    /// Of the SVID that was signed last, as a decimal number.
    #[serde(default)]
    pub(crate) serial: String,
    /// SHA-256 of the keys that it may use: that of the SVID that it was seen to use last, and those
    /// of the last two that were signed since, of which it may have either.
    keys: Vec<String>,
}

/// Agents on other machines.
pub(crate) struct Nodes {
    store: View,
    server: SpiffeId,
    /// The agent of this machine, which never joined.
    local: Option<SpiffeId>,
    clock: Arc<dyn Clock>,
    known: Mutex<BTreeMap<SpiffeId, Agent>>,
    changing: tokio::sync::Mutex<()>,
    changes: watch::Sender<u64>,
}

impl Nodes {
    /// Reads what is stored.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn open(
        store: View,
        trust_domain: &TrustDomain,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EntryError> {
        let mut known = BTreeMap::new();
        for name in store.scan("agent/").await? {
            if let Some(agent) = store.get_json::<Agent>(&format!("agent/{name}")).await? {
                known.insert(agent.spiffe_id.clone(), agent);
            }
        }
        Ok(Self {
            store,
            server: server_id(trust_domain).unwrap_or_else(|| trust_domain.id()),
            local: NodeFacts::local(trust_domain).map(|facts| facts.agent),
            clock,
            known: Mutex::new(known),
            changing: tokio::sync::Mutex::new(()),
            changes: watch::Sender::new(0),
        })
    }

    /// Tells when agents come, change or are banned.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All agents that joined.
    pub(crate) fn list(&self) -> Vec<Agent> {
        self.known().values().cloned().collect()
    }

    /// Keeps an agent that proved itself, with its SVID.
    ///
    /// # Errors
    /// It is banned, there are too many, or the store fails.
    pub(crate) async fn admit(
        &self,
        attested: Attested,
        svid: &Certificate,
    ) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        {
            let known = self.known();
            match known.get(&attested.agent) {
                Some(agent) if agent.banned => return Err(NodeError::Banned),
                None if known.len() >= MAX_AGENTS => return Err(NodeError::Full),
                _ => {}
            }
        }
        let agent = Agent {
            spiffe_id: attested.agent,
            attestation_type: attested.kind.to_owned(),
            selectors: attested.selectors,
            expires: whole(svid.not_after),
            banned: false,
            serial: decimal(&svid.serial),
            keys: vec![hash(svid.public_key.to_der())],
        };
        self.keep(agent).await
    }

    /// The agent, which asked by an SVID with the key `used`, is given another SVID. Whether that
    /// arrives nobody knows, so the key that was used stays good.
    ///
    /// # Errors
    /// There is no such agent, or the store fails.
    pub(crate) async fn renew(
        &self,
        id: &SpiffeId,
        used: &[u8],
        svid: &Certificate,
    ) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        let mut agent = self.known().get(id).cloned().ok_or(NodeError::Unknown)?;
        if agent.banned {
            return Err(NodeError::Banned);
        }
        (agent.expires, agent.serial) = (whole(svid.not_after), decimal(&svid.serial));
        let (used, key) = (hash(used), hash(svid.public_key.to_der()));
        agent.keys.retain(|known| *known != used && *known != key);
        // The last of the others: a question that was long under way may come after its successor.
        let surplus = agent.keys.len().saturating_sub(1);
        agent.keys.drain(..surplus);
        agent.keys.push(used);
        agent.keys.push(key);
        self.keep(agent).await
    }

    /// Ends an agent: from now on it gets nothing, and its name never joins again.
    ///
    /// # Errors
    /// There is no such agent, or the store fails.
    pub(crate) async fn ban(&self, id: &SpiffeId) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        let mut agent = self.known().get(id).cloned().ok_or(NodeError::Unknown)?;
        agent.banned = true;
        self.keep(agent).await
    }

    /// Forgets an agent, and that it was banned: it gets nothing until it joins again.
    ///
    /// # Errors
    /// There is no such agent, or the store fails.
    pub(crate) async fn evict(&self, id: &SpiffeId) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        if !self.known().contains_key(id) {
            return Err(NodeError::Unknown);
        }
        Ok(self.forget(std::slice::from_ref(id)).await?)
    }

    /// Forgets agents that ended long ago, but for those that are banned.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn expire(&self) -> Result<(), NodeError> {
        let _changing = self.changing.lock().await;
        let now = self.clock.now();
        let ids: Vec<_> = {
            let known = self.known();
            let is_over = |agent: &&Agent| !agent.banned && agent.expires + KEPT <= now;
            known.values().filter(is_over).map(|agent| agent.spiffe_id.clone()).collect()
        };
        match ids.is_empty() {
            true => Ok(()),
            false => Ok(self.forget(&ids).await?),
        }
    }

    async fn forget(&self, ids: &[SpiffeId]) -> Result<(), EntryError> {
        let mut batch = Batch::new();
        ids.iter().for_each(|id| batch.delete(agent_key(id)));
        self.store.commit(batch).await?;
        {
            let mut known = self.known();
            ids.iter().for_each(|id| drop(known.remove(id)));
        }
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// The node whose agent shows this certificate, which TLS has verified.
    ///
    /// # Errors
    /// It is no agent's, or not its present one.
    pub(crate) fn facts(
        &self,
        certificate: &Certificate,
        now: Timestamp,
    ) -> Result<NodeFacts, NodeError> {
        let names = certificate.names();
        let [GeneralName::Uri(uri)] = names.as_slice() else { return Err(NodeError::Unknown) };
        let id = SpiffeId::parse(uri).map_err(|_| NodeError::Unknown)?;
        let known = self.known();
        let agent = known.get(&id).ok_or(NodeError::Unknown)?;
        if agent.banned {
            return Err(NodeError::Banned);
        }
        if certificate.not_after <= now {
            return Err(NodeError::Unknown);
        }
        if !agent.keys.contains(&hash(certificate.public_key.to_der())) {
            return Err(NodeError::OtherKey);
        }
        let selectors = agent.selectors.clone();
        Ok(NodeFacts { agent: id, server: self.server.clone(), selectors })
    }

    /// Whether the node is still one. That of this machine always is.
    pub(crate) fn check(&self, node: &NodeFacts) -> Result<(), NodeError> {
        match self.known().get(&node.agent) {
            Some(agent) if agent.banned => Err(NodeError::Banned),
            None if Some(&node.agent) != self.local.as_ref() => Err(NodeError::Unknown),
            _ => Ok(()),
        }
    }

    async fn keep(&self, agent: Agent) -> Result<(), NodeError> {
        self.store.put_json(&agent_key(&agent.spiffe_id), &agent).await?;
        self.known().insert(agent.spiffe_id.clone(), agent);
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<SpiffeId, Agent>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn agent_key(id: &SpiffeId) -> String {
    format!("agent/{}", hash(id.as_str().as_bytes()))
}

pub(super) fn hash(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use holdfast_barrier::MemoryEntries;
    use holdfast_testkit::{Ca, FakeClock};

    use super::*;

    #[tokio::test]
    async fn who_is_banned_is_not_forgotten() {
        let clock = Arc::new(FakeClock::at(1_800_000_000));
        let store = View::new(Arc::new(MemoryEntries::default()), "");
        let domain = TrustDomain::parse("demo.local").unwrap();
        let open = || Nodes::open(store.clone(), &domain, clock.clone());
        let nodes = open().await.unwrap();
        let svid = Certificate::from_der(&Ca::new("agents").client("a").certificate_der).unwrap();
        let [good, bad] = ["good", "bad"].map(|name| {
            SpiffeId::parse(&format!("spiffe://demo.local/spire/agent/x509pop/{name}")).unwrap()
        });
        for agent in [&good, &bad] {
            let (agent, selectors) = (agent.clone(), BTreeSet::new());
            let attested = Attested { kind: "x509pop", agent, selectors, alias: None };
            nodes.admit(attested, &svid).await.unwrap();
        }
        nodes.ban(&bad).await.unwrap();
        clock.set(svid.not_after + KEPT + Duration::from_secs(1));
        nodes.expire().await.unwrap();
        let ids = |nodes: &Nodes| Vec::from_iter(nodes.list().into_iter().map(|one| one.spiffe_id));
        assert_eq!(ids(&nodes), std::slice::from_ref(&bad));
        assert_eq!(ids(&open().await.unwrap()), std::slice::from_ref(&bad));
        nodes.evict(&bad).await.unwrap();
        assert!(ids(&open().await.unwrap()).is_empty());
        assert!(matches!(nodes.evict(&good).await, Err(NodeError::Unknown)));
    }
}
