//! What operators may ask, on a socket of their own: the kernel says who they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use nix::unistd::Uid;
use tonic::{Request, Response, Status};

use super::attest::{AttestError, Peer};
use super::caller::Caller;
use super::core::Core;
use super::denials::{Near, nearest};
use super::workload::caller_of;
use crate::proto::agent::agent_admin_server::AgentAdmin;
use crate::proto::agent::explain_request::Subject;
use crate::proto::agent::{
    ExplainRequest, ExplainResponse, HeldSvid, Rule, ShowRequest, ShowResponse,
};
use crate::{Entry, Selector};

/// The service.
pub(super) struct Admin {
    core: Arc<Core>,
}

impl Admin {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

/// Lets root in, and the user that the agent runs as.
fn authorize<T>(request: &Request<T>) -> Result<(), Status> {
    let caller: Arc<Caller> = caller_of(request)?;
    let may = caller.user == Uid::effective().as_raw() || caller.user == 0;
    if may { Ok(()) } else { Err(Status::permission_denied("for root and the agent's own user")) }
}

/// Who was looked at: facts of now, or of a refusal.
struct Looked {
    pid: i32,
    executable: String,
    selectors: BTreeSet<Selector>,
    gaps: Vec<String>,
    refused_at: i64,
}

#[tonic::async_trait]
impl AgentAdmin for Admin {
    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        authorize(&request)?;
        let registry = self.core.registry().await?;
        let looked = match request.into_inner().subject {
            None => return Err(Status::invalid_argument("nobody was named")),
            Some(Subject::ExplainId(id)) => {
                let found = self.core.denials.find(&id);
                let denial = found
                    .ok_or_else(|| Status::not_found("no such refusal among the last ones"))?;
                Looked {
                    pid: denial.pid,
                    executable: denial.executable.display().to_string(),
                    selectors: denial.selectors,
                    gaps: denial.gaps,
                    refused_at: denial.at.as_second(),
                }
            }
            Some(Subject::Pid(pid)) => self.look(Peer::open(pid).map_err(not_seen)?).await?,
            Some(Subject::Service(name)) => {
                let peer = self.core.attestor.service(&name);
                let none = || Status::not_found(format!("no service {name:?} was introduced"));
                self.look(peer.ok_or_else(none)?).await?
            }
        };
        let matching = registry.matching(&looked.selectors);
        let matching = matching.iter().map(|entry| rule(entry, &[])).collect();
        let near = nearest(&registry, &looked.selectors).into_iter();
        let nearest = near.map(|Near { entry, missing }| rule(&entry, &missing)).collect();
        Ok(Response::new(ExplainResponse {
            pid: looked.pid,
            executable: looked.executable,
            selectors: looked.selectors.iter().map(Selector::to_string).collect(),
            gaps: looked.gaps,
            matching,
            nearest,
            entries: registry.snapshot.entries.len() as u64,
            refused_at: looked.refused_at,
        }))
    }

    async fn show(&self, request: Request<ShowRequest>) -> Result<Response<ShowResponse>, Status> {
        authorize(&request)?;
        let registry = self.core.registry().await?;
        let name = &request.get_ref().name;
        let is_wanted = |entry: &Entry| {
            let id = entry.spiffe_id.as_str();
            name.is_empty() || id == name || id.rsplit('/').next() == Some(name)
        };
        let held = self.core.svids.held().into_iter().filter(|svid| is_wanted(&svid.entry));
        let svids = held.map(|svid| HeldSvid {
            spiffe_id: svid.entry.spiffe_id.to_string(),
            entry_id: svid.entry.id.clone(),
            chain: svid.chain.clone(),
            not_after: svid.not_after.as_second(),
            rotate_at: svid.rotate_at.as_second(),
        });
        let mut svids: Vec<_> = svids.collect();
        svids.sort_by(|a, b| (&a.spiffe_id, &a.entry_id).cmp(&(&b.spiffe_id, &b.entry_id)));
        Ok(Response::new(ShowResponse {
            trust_domain: registry.snapshot.trust_domain.to_string(),
            entries: registry.snapshot.entries.len() as u64,
            svids,
        }))
    }
}

impl Admin {
    async fn look(&self, peer: Peer) -> Result<Looked, Status> {
        let attestor = self.core.attestor.clone();
        attestor.prepare(&peer).await;
        // With the hash, whoever asks: a rule to come may need it.
        let look = tokio::task::spawn_blocking(move || attestor.attest(&peer, true)).await;
        let attested = look.map_err(|_| Status::internal("the look failed"))?.map_err(not_seen)?;
        Ok(Looked {
            pid: attested.pid,
            executable: attested.executable.display().to_string(),
            selectors: attested.selectors,
            gaps: attested.gaps,
            refused_at: 0,
        })
    }
}

fn not_seen(error: AttestError) -> Status {
    match error {
        AttestError::Gone => Status::not_found("there is no such process"),
        error => Status::unavailable(error.to_string()),
    }
}

fn rule(entry: &Entry, missing: &[Selector]) -> Rule {
    Rule {
        entry_id: entry.id.clone(),
        spiffe_id: entry.spiffe_id.to_string(),
        selectors: entry.selectors.iter().map(Selector::to_string).collect(),
        missing: missing.iter().map(Selector::to_string).collect(),
        origin: entry.origin.clone(),
    }
}
