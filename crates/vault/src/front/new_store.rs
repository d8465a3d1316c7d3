//! The contents of a new store, made in memory and then written in one commit with its keys: after
//! a crash all of it is there, or the store is as empty as before and the next start begins anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_barrier::{Batch, Entries, MemoryEntries, View};
use holdfast_logical::Connection;
use holdfast_types::{Random, SecretString};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::lifecycle::{AUDIT_PREFIX, CLUSTER_KEY, Lifecycle, LifecycleError};
use crate::config::InitRequest;
use crate::wire::{Incoming, Outgoing, Verb};

/// The names of this installation, as `sys/health` tells them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) id: String,
}

impl Cluster {
    pub(super) fn generate(name: Option<&str>, random: &dyn Random) -> Self {
        let id = random.uuid();
        let name = name.map_or_else(|| format!("vault-cluster-{}", &id[..8]), str::to_owned);
        Self { name, id }
    }
}

/// What a new store begins with.
pub(super) struct NewStore {
    pub(super) entries: Batch,
    /// None where the configuration's requests have used and revoked it.
    pub(super) root_token: Option<SecretString>,
}

impl Lifecycle {
    /// Runs a core over memory until it holds what a new store begins with: a root token (of this
    /// name, where it is not to be random), or else what `requests` leave behind.
    pub(super) async fn new_store(
        &self,
        requests: &[InitRequest],
        root_token: Option<&str>,
    ) -> Result<NewStore, LifecycleError> {
        let memory = Arc::new(MemoryEntries::default());
        let entries = Arc::clone(&memory) as Arc<dyn Entries>;
        let view = View::new(Arc::clone(&entries), "");
        let cluster = Cluster::generate(self.cluster_name(), self.random());
        view.put_json(CLUSTER_KEY, &cluster).await?;
        let (core, audit) = self.assemble(Arc::clone(&entries));
        audit.load(view.sub(AUDIT_PREFIX), self.declared_audit(), self.random()).await?;
        core.post_unseal().await.map_err(LifecycleError::Start)?;
        let root_token = core.create_root_token(root_token).await.map_err(LifecycleError::Start)?;
        let mut remaining = Some(root_token);
        if !requests.is_empty()
            && let Some(token) = remaining.take()
        {
            for request in requests {
                info!(request = %request.name, path = %request.path, "self-initialisation");
                let answer = core.handle(self.incoming(request, &token)).await;
                check(request, &answer)?;
            }
            let revoke = InitRequest {
                name: "the revocation of its root token".to_owned(),
                verb: Verb::Write,
                path: "auth/token/revoke-self".to_owned(),
                token: None,
                data: serde_json::Map::new(),
                allow_failure: false,
            };
            check(&revoke, &core.handle(self.incoming(&revoke, &token)).await)?;
        }
        core.pre_seal().await;
        audit.unload();

        let mut batch = Batch::new();
        for key in entries.scan("").await? {
            if let Some(value) = entries.get(&key).await? {
                batch.put(key, value);
            }
        }
        Ok(NewStore { entries: batch, root_token: remaining })
    }

    fn incoming(&self, request: &InitRequest, root_token: &SecretString) -> Incoming {
        let mut headers = BTreeMap::new();
        if request.verb == Verb::Patch {
            let merge_patch = "application/merge-patch+json".to_owned();
            headers.insert("content-type".to_owned(), merge_patch);
        }
        Incoming {
            id: self.random().uuid(),
            verb: request.verb,
            path: request.path.clone(),
            data: request.data.clone(),
            token: Some(request.token.clone().unwrap_or_else(|| root_token.clone())),
            is_bearer: false,
            wrap_ttl: None,
            headers,
            connection: Connection::default(),
        }
    }
}

/// Whether the request succeeded, or may fail.
fn check(request: &InitRequest, answer: &Outgoing) -> Result<(), LifecycleError> {
    match LifecycleError::unless_ok(&request.name, &request.path, answer) {
        Err(error) if request.allow_failure => {
            warn!(%error, "it may fail, so the initialisation goes on");
            Ok(())
        }
        result => result,
    }
}
