//! Nodes of Kubernetes that prove what they are by the token of their agent's service account.
//!
//! The cluster is asked whose the token is, which pod it was made for, and on which node that pod runs.
//! Ids and selectors are those of SPIRE's attestor of this name.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use holdfast_client::kubernetes::{
    Api, Clients, Metadata, ObjectError, Pod, ReviewError, User, is_label, is_subdomain, token_in,
};
use holdfast_types::{SpiffeId, TrustDomain};
use tokio::sync::Semaphore;
use tonic::Status;

use super::attest::Attested;
use crate::Selector;
use crate::psat::{LARGEST_TOKEN, NAME, Payload};

/// How long a cluster may take for all that it is asked about one node.
const LIMIT: Duration = Duration::from_secs(15);
/// Anybody can send tokens: no more than this many are looked at at the same time.
const MAX_QUESTIONS: usize = 16;
/// Besides the token there are the cluster's name and JSON.
const LARGEST_PAYLOAD: usize = LARGEST_TOKEN + 1024;
/// A longer file holds no authorities, in bytes.
const LARGEST_FILE: u64 = 1 << 20;
const EXTRA: &str = "authentication.kubernetes.io/";

/// A cluster whose nodes may join.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// What agents and selectors call it: a segment of a SPIFFE ID's path.
    pub name: String,
    /// Its API, such as `https://10.0.0.1:6443`.
    pub url: String,
    /// Who certifies it, PEM. Read each time.
    pub ca_file: PathBuf,
    /// The token of who asks: may `create` `tokenreviews` and `get` `pods` and `nodes`. Read each time.
    pub token_file: PathBuf,
    /// Whose agents may join, as `namespace:name`.
    pub service_accounts: BTreeSet<String>,
    /// Whom tokens must be for: one of these.
    pub audiences: Vec<String>,
    /// The labels of a node that become selectors.
    pub node_label_keys: BTreeSet<String>,
    /// The same of the agent's pod.
    pub pod_label_keys: BTreeSet<String>,
}

/// What is wrong with a cluster's settings.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It becomes part of ids.
    #[error("cluster {0:?}: the name must be of A-Z a-z 0-9 . - _")]
    Name(String),
    /// Without TLS anybody could answer.
    #[error("cluster {0:?}: the API's address must be https://host:port")]
    Url(String),
    /// Nobody could join, or not who was meant.
    #[error("cluster {0:?}: service accounts are given as namespace:name, at least one")]
    ServiceAccounts(String),
    /// The cluster's own audience is that of every pod's token.
    #[error("cluster {0:?}: there must be an audience")]
    Audiences(String),
}

/// The clusters whose nodes may join.
pub struct K8sPsat {
    clusters: BTreeMap<String, Cluster>,
    questions: Semaphore,
    limit: Duration,
}

struct Cluster {
    settings: ClusterSettings,
    clients: Clients,
}

/// Why a node is not what it says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PsatError {
    #[error("k8s_psat: the agent sent no cluster's name and token")]
    Payload,
    #[error("k8s_psat: the token is longer than {LARGEST_TOKEN} bytes")]
    TooLong,
    #[error("k8s_psat: the agent's cluster is not configured")]
    NoCluster,
    /// The server cannot ask; why is for the log.
    #[error("k8s_psat: cluster {0:?} cannot be asked about the token at the moment")]
    Unavailable(String, #[source] Option<Box<dyn StdError + Send + Sync>>),
    #[error("k8s_psat: cluster {0:?} does not answer in time")]
    TooSlow(String),
    #[error("k8s_psat: {0}")]
    Review(ReviewError),
    #[error("k8s_psat: the token is of no service account")]
    NoServiceAccount,
    #[error("k8s_psat: \"{0}:{1}\" is not an allowed service account")]
    NotAllowed(String, String),
    /// A token that lay in a secret, or of a pod that is gone.
    #[error("k8s_psat: the cluster does not say which pod the token was made for")]
    NoPod,
    #[error("k8s_psat: the {0} of the token is not there")]
    Gone(&'static str),
    #[error("k8s_psat: the {0} of the token is not the one that is there")]
    Other(&'static str),
    #[error("k8s_psat: the token's pod runs on no node")]
    NoNode,
    #[error("k8s_psat: the node's id cannot be made")]
    Id,
}

impl From<PsatError> for Status {
    fn from(error: PsatError) -> Self {
        match &error {
            PsatError::Unavailable(..) | PsatError::TooSlow(_) => {
                // Who asks is nobody yet: where the cluster is, and what fails there, is not for them.
                tracing::warn!(error = &error as &dyn StdError, "attest a node");
                Self::unavailable(error.to_string())
            }
            _ => Self::permission_denied(error.to_string()),
        }
    }
}

impl K8sPsat {
    /// Nodes of these clusters may join.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub fn new(clusters: Vec<ClusterSettings>) -> Result<Self, ClusterError> {
        let clusters = clusters.into_iter().map(|settings| {
            let settings = settings.checked()?;
            Ok((settings.name.clone(), Cluster { settings, clients: Clients::default() }))
        });
        let clusters = clusters.collect::<Result<_, _>>()?;
        Ok(Self { clusters, questions: Semaphore::new(MAX_QUESTIONS), limit: LIMIT })
    }

    /// The same with another time for what a cluster is asked about one node.
    #[cfg(test)]
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// What the node is whose agent shows this.
    pub(crate) async fn attest(
        &self,
        payload: &[u8],
        trust_domain: &TrustDomain,
    ) -> Result<Attested, PsatError> {
        if payload.len() > LARGEST_PAYLOAD {
            return Err(PsatError::TooLong);
        }
        let payload: Payload = serde_json::from_slice(payload).map_err(|_| PsatError::Payload)?;
        match payload.token.expose().len() {
            0 => return Err(PsatError::Payload),
            length if length > LARGEST_TOKEN => return Err(PsatError::TooLong),
            _ => {}
        }
        let cluster = self.clusters.get(&payload.cluster).ok_or(PsatError::NoCluster)?;
        let name = &cluster.settings.name;
        let work = async {
            // It is never closed.
            let _place = self.questions.acquire().await;
            cluster.attest(&payload, trust_domain).await
        };
        let outcome = tokio::time::timeout(self.limit, work).await;
        outcome.unwrap_or_else(|_| Err(PsatError::TooSlow(name.clone())))
    }
}

impl ClusterSettings {
    fn checked(mut self) -> Result<Self, ClusterError> {
        let Ok(anywhere) = TrustDomain::parse("any") else {
            return Err(ClusterError::Name(self.name));
        };
        if self.name.contains('/') || agent_id(&anywhere, &self.name, "node").is_none() {
            return Err(ClusterError::Name(self.name));
        }
        let host = self.url.strip_prefix("https://").map(|host| host.trim_end_matches('/'));
        let host = host.filter(|host| !host.is_empty() && !host.contains(['/', '@', '?', '#']));
        let Some(host) = host else { return Err(ClusterError::Url(self.name)) };
        self.url = format!("https://{host}");
        let is_account = |account: &String| {
            let halves = account.split_once(':');
            halves.is_some_and(|(namespace, name)| is_label(namespace) && is_subdomain(name))
        };
        if self.service_accounts.is_empty() || !self.service_accounts.iter().all(is_account) {
            return Err(ClusterError::ServiceAccounts(self.name));
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(ClusterError::Audiences(self.name));
        }
        Ok(self)
    }
}

impl Cluster {
    async fn attest(
        &self,
        payload: &Payload,
        trust_domain: &TrustDomain,
    ) -> Result<Attested, PsatError> {
        let settings = &self.settings;
        let authorities = read(&settings.ca_file).map_err(|error| self.unavailable(error))?;
        let fetcher = self.clients.trusting(&authorities).await;
        let fetcher = fetcher.ok_or_else(|| {
            let place = settings.ca_file.display();
            self.unavailable(io::Error::other(format!("{place} holds no certificate")))
        })?;
        let caller = token_in(&settings.token_file).map_err(|error| {
            let place = settings.token_file.display();
            self.unavailable(io::Error::other(format!("read {place}: {error}")))
        })?;
        let api = Api { fetcher: &fetcher, url: &settings.url, caller: &caller };
        let user = api.review(&payload.token, &settings.audiences).await;
        let user = user.map_err(|error| match error {
            error @ (ReviewError::Fetch(_)
            | ReviewError::Unauthorized
            | ReviewError::Status(_)
            | ReviewError::Form) => self.unavailable(error),
            error => PsatError::Review(error),
        })?;
        let (namespace, account) = user.service_account().ok_or(PsatError::NoServiceAccount)?;
        if !settings.service_accounts.contains(&format!("{namespace}:{account}")) {
            return Err(PsatError::NotAllowed(namespace.to_owned(), account.to_owned()));
        }
        let named = (extra(&user, "pod-name"), extra(&user, "pod-uid"));
        let (Some(pod_name), Some(pod_uid)) = named else { return Err(PsatError::NoPod) };
        let pod = api.pod(namespace, pod_name).await.map_err(|error| self.missing("pod", error))?;
        if pod.metadata.uid != pod_uid || pod.spec.service_account_name != account {
            return Err(PsatError::Other("pod"));
        }
        let node_name = &pod.spec.node_name;
        if node_name.is_empty() {
            return Err(PsatError::NoNode);
        }
        // Newer clusters bind tokens to the node, too, and a pod never moves to another one.
        if extra(&user, "node-name").is_some_and(|name| name != node_name) {
            return Err(PsatError::Other("node"));
        }
        let node = api.node(node_name).await.map_err(|error| self.missing("node", error))?;
        let node = node.metadata;
        if extra(&user, "node-uid").is_some_and(|uid| uid != node.uid) {
            return Err(PsatError::Other("node"));
        }
        let agent = agent_id(trust_domain, &settings.name, &node.uid).ok_or(PsatError::Id)?;
        let mut selectors = BTreeSet::new();
        let mut add = |key: &str, value: &str| {
            selectors.insert(Selector::new(NAME, format!("{key}:{value}")));
        };
        add("agent_ns", namespace);
        add("agent_sa", account);
        add("agent_pod_name", pod_name);
        add("agent_pod_uid", pod_uid);
        self.add_placed(&pod, &node, &mut add);
        Ok(Attested { agent, kind: NAME, selectors, alias: None })
    }

    /// What the pod's node gives, and labels.
    fn add_placed(&self, pod: &Pod, node: &Metadata, add: &mut impl FnMut(&str, &str)) {
        add("cluster", &self.settings.name);
        add("agent_node_ip", &pod.status.host_ip);
        add("agent_node_name", &pod.spec.node_name);
        add("agent_node_uid", &node.uid);
        for (kind, keys, labels) in [
            ("agent_node_label", &self.settings.node_label_keys, &node.labels),
            ("agent_pod_label", &self.settings.pod_label_keys, &pod.metadata.labels),
        ] {
            for (key, value) in labels.iter().filter(|(key, _)| keys.contains(*key)) {
                add(kind, &format!("{key}:{value}"));
            }
        }
    }

    fn unavailable(&self, why: impl StdError + Send + Sync + 'static) -> PsatError {
        PsatError::Unavailable(self.settings.name.clone(), Some(Box::new(why)))
    }

    fn missing(&self, what: &'static str, error: ObjectError) -> PsatError {
        match error {
            error if error.is_not_found() => PsatError::Gone(what),
            ObjectError::Name(_) => PsatError::Gone(what),
            error => self.unavailable(error),
        }
    }
}

/// What the token says of itself besides whose it is. More than one value says nothing.
fn extra<'u>(user: &'u User, key: &str) -> Option<&'u str> {
    match user.extra.get(&format!("{EXTRA}{key}"))?.as_slice() {
        [value] if !value.is_empty() => Some(value),
        _ => None,
    }
}

/// The id of a node's agent. None: a part cannot stand in an id.
fn agent_id(trust_domain: &TrustDomain, cluster: &str, node_uid: &str) -> Option<SpiffeId> {
    if node_uid.contains('/') {
        return None;
    }
    trust_domain.member(&format!("/spire/agent/{NAME}/{cluster}/{node_uid}")).ok()
}

fn read(path: &std::path::Path) -> io::Result<String> {
    let failed = |error: io::Error| io::Error::other(format!("read {}: {error}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LARGEST_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
