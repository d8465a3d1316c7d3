//! Processes of a Kubernetes node: the container of each by its cgroup, and the container's pod by the
//! kubelet's word.
//!
//! A pod is listed a moment after its first process starts, so what is not there is asked for again
//! for a while, at growing distances. Many may wait at once: one question answers all of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_client::kubernetes::token_in;
use holdfast_types::SecretString;
use reqwest::{Certificate, Client, StatusCode, redirect};
use tokio::time::Instant;

use super::{Peer, process};
use crate::Selector;

mod cgroup;
mod pods;
#[cfg(test)]
mod tests;

use cgroup::Container;
use pods::Pods;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// No node's list is longer, in bytes: 110 pods are about 1 MB.
const LARGEST: usize = 16 << 20;
/// What the kubelet said this long ago is asked for again.
const FRESH: Duration = Duration::from_secs(1);
/// While the kubelet does not answer, what it said last counts so long: a container's id never goes to
/// another pod.
const KEPT: Duration = Duration::from_mins(1);
/// The first pause before a container is looked for again, and the longest. Nor is the kubelet asked
/// more often than the first one for all who wait together.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a container may be missing from the list.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the kubelet of this node is, and how it is known.
#[derive(Debug, Clone)]
pub struct KubeletSettings {
    /// Such as `https://node-1:10250`, by a name of its certificate.
    pub url: String,
    /// Who certifies it, in PEM.
    pub authorities: Vec<u8>,
    /// The agent's service account token. Read each time: it is replaced every hour.
    pub token_file: PathBuf,
}

/// Why the kubelet cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// Without TLS anybody could answer.
    #[error("the kubelet's address {0:?} must be https://host:port")]
    Url(String),
    /// No certificates, or ones that cannot be read.
    #[error("read the authorities of the kubelet")]
    Authorities(#[source] Option<reqwest::Error>),
    /// The token is not there.
    #[error("read the token {}", .0.display())]
    Token(PathBuf, #[source] std::io::Error),
    /// It is not there, or is somebody else.
    #[error("ask the kubelet")]
    Ask(#[source] reqwest::Error),
    /// Not 200.
    #[error("the kubelet answered {0}")]
    Status(StatusCode),
    /// More than any node has.
    #[error("the kubelet's answer is longer than {LARGEST} bytes")]
    TooLong,
    /// Not a list of pods.
    #[error("read the kubelet's answer")]
    Form(#[source] serde_json::Error),
}

/// The kubelet of this node, and what it said last.
#[derive(Debug)]
pub struct Kubelet {
    client: Client,
    url: String,
    token_file: PathBuf,
    said: Mutex<Said>,
    /// When the last question began, whatever came of it.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Said {
    pods: Option<(Arc<Pods>, Instant)>,
}

/// What is known of a process's pod.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is in no pod.
    NoPod,
    /// What its pod and container give.
    Selectors(BTreeSet<Selector>),
    /// It is in a pod, and nothing certain is known of that.
    Gap(String),
    /// It is in a pod, and the kubelet has not said anything yet, or not for a long time.
    Silent,
}

impl Kubelet {
    /// A kubelet that is asked over TLS, and no other.
    ///
    /// # Errors
    /// The settings make no sense.
    pub fn new(settings: KubeletSettings) -> Result<Self, KubeletError> {
        let KubeletSettings { url, authorities, token_file } = settings;
        let host = url.strip_prefix("https://").map(|host| host.trim_end_matches('/'));
        let host = host.filter(|host| !host.is_empty() && !host.contains(['/', '@', '?', '#']));
        let Some(host) = host else { return Err(KubeletError::Url(url)) };
        let authorities = Certificate::from_pem_bundle(&authorities)
            .map_err(|error| KubeletError::Authorities(Some(error)))?;
        if authorities.is_empty() {
            // The system's would be trusted.
            return Err(KubeletError::Authorities(None));
        }
        let client = Client::builder()
            .https_only(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .timeout(ASK_LIMIT)
            .tls_certs_only(authorities)
            .build()
            .map_err(KubeletError::Ask)?;
        let url = format!("https://{host}/pods");
        let (said, asked) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { client, url, token_file, said, asked })
    }

    /// Waits until the kubelet has listed the container that a process is in, for half a minute at
    /// most. Of a process without one nothing is asked.
    pub(super) async fn list(&self, process: &Peer) {
        let Ok(cgroups) = process::cgroups(process.pid()) else { return };
        if let Ok(Some(container)) = Container::of(&cgroups) {
            self.list_container(&container, PATIENCE).await;
        }
    }

    async fn list_container(&self, container: &Container, patience: Duration) {
        let start = Instant::now();
        let mut since = start.checked_sub(FRESH).unwrap_or(start);
        let mut pause = PAUSE.0;
        loop {
            self.ask_since(since).await;
            let is_listed = self.pods().is_some_and(|pods| {
                pods.selectors(container).is_ok_and(|selectors| selectors.is_some())
            });
            if is_listed || start.elapsed() + pause > patience {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
            let now = Instant::now();
            since = now.checked_sub(PAUSE.0).unwrap_or(now);
        }
    }

    /// What the kubelet said last of a process in these cgroups.
    pub(super) fn seen(&self, cgroups: &str) -> Seen {
        let container = match Container::of(cgroups) {
            Ok(None) => return Seen::NoPod,
            Ok(Some(container)) => container,
            Err(error) => return Seen::Gap(format!("k8s: {error}")),
        };
        let Some(pods) = self.pods() else { return Seen::Silent };
        match pods.selectors(&container) {
            Ok(Some(selectors)) => Seen::Selectors(selectors),
            Ok(None) => Seen::Gap(format!("k8s: the kubelet lists no container {}", container.id)),
            Err(error) => Seen::Gap(format!("k8s: {error}")),
        }
    }

    fn pods(&self) -> Option<Arc<Pods>> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (pods, at) = said.pods.as_ref()?;
        (at.elapsed() < KEPT).then(|| pods.clone())
    }

    /// Asks, unless somebody else did since then.
    async fn ask_since(&self, since: Instant) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked >= since) {
            return;
        }
        let began = Instant::now();
        *asked = Some(began);
        match self.ask().await {
            Ok(pods) => {
                let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                said.pods = Some((Arc::new(pods), began));
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "ask the kubelet for pods"
                );
            }
        }
    }

    async fn ask(&self) -> Result<Pods, KubeletError> {
        let token = self.token()?;
        let question = self.client.get(&self.url).bearer_auth(token.expose());
        let mut answer = question.send().await.map_err(KubeletError::Ask)?;
        if answer.status() != StatusCode::OK {
            return Err(KubeletError::Status(answer.status()));
        }
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(KubeletError::Ask)? {
            if text.len() + piece.len() > LARGEST {
                return Err(KubeletError::TooLong);
            }
            text.extend_from_slice(&piece);
        }
        Pods::parse(&text).map_err(KubeletError::Form)
    }

    fn token(&self) -> Result<SecretString, KubeletError> {
        let failed = |error| KubeletError::Token(self.token_file.clone(), error);
        token_in(&self.token_file).map_err(failed)
    }
}
