//! SPIRE's delegated identity API: SVIDs of workloads, for another process that acts for them, such
//! as a proxy that all of a machine share.
//!
//! A delegate is a workload itself: the kernel says who it is, as of every caller, and one of its
//! identities is among those that the agent was told of. The workload that it asks for is named by
//! its process's number, and that counts only where a supervisor introduced the very process that
//! has it, which the agent holds by a pidfd: the number of a process that ended is never taken for
//! it. Selectors, which SPIRE takes on the delegate's word, are refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_types::SpiffeId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::attest::Peer;
use super::caller::Caller;
use super::core::{Core, View, unsigned};
use super::follow::{Answers, RETRY, until};
use super::registry::Registry;
use super::seen::{LOOK_AGAIN, Seen};
use super::workload::{bundles, caller_of, check_audience};
use crate::Bundle;
use crate::proto::spire::api::agent::delegatedidentity::v1::delegated_identity_server::DelegatedIdentity;
use crate::proto::spire::api::agent::delegatedidentity::v1::{
    FetchJwtsviDsRequest, FetchJwtsviDsResponse, SubscribeToJwtBundlesRequest,
    SubscribeToJwtBundlesResponse, SubscribeToX509BundlesRequest, SubscribeToX509BundlesResponse,
    SubscribeToX509sviDsRequest, SubscribeToX509sviDsResponse, X509svidWithKey,
};
use crate::proto::spire::api::types::{Jwtsvid, Selector, Spiffeid, X509svid};

/// The service.
#[derive(Clone)]
pub(super) struct Delegated {
    core: Arc<Core>,
    delegates: Arc<BTreeSet<SpiffeId>>,
}

/// What a delegate is told of: a workload's SVIDs, or the bundles of all.
struct Subscription<T> {
    workload: Option<Peer>,
    answer: fn(&View) -> T,
    /// Whether the answer for one view is that for the other, too.
    is_same: fn(&View, &View) -> bool,
}

impl Delegated {
    /// The service, for whoever has one of the identities `delegates`.
    pub(super) fn new(core: Arc<Core>, delegates: BTreeSet<SpiffeId>) -> Self {
        Self { core, delegates: Arc::new(delegates) }
    }

    /// Lets delegates pass; says as whom.
    async fn authorize(
        &self,
        caller: &Caller,
        registry: &Registry,
        seen: &mut Seen,
    ) -> Result<SpiffeId, Status> {
        let attested = seen.look(&self.core, self.core.process(caller)?, registry).await?;
        let entries = self.core.entries(registry, &attested)?;
        let delegate = entries.iter().find(|entry| self.delegates.contains(&entry.spiffe_id));
        let delegate = delegate.map(|entry| entry.spiffe_id.clone());
        delegate.ok_or_else(|| {
            tracing::warn!(
                pid = attested.pid,
                spiffe.id = %entries[0].spiffe_id,
                "asked for another's identity and is no delegate"
            );
            Status::permission_denied("caller not configured as an authorized delegate")
        })
    }

    /// The process that a delegate asks for.
    fn workload(&self, pid: i32, selectors: &[Selector]) -> Result<Peer, Status> {
        if (pid == 0) == selectors.is_empty() {
            let words = "must provide either selectors or non-zero PID, but not both";
            return Err(Status::invalid_argument(words));
        }
        if pid == 0 {
            let words = "selectors are not taken on a delegate's word: name a process by its PID";
            return Err(Status::permission_denied(words));
        }
        self.core.attestor.introduced(pid).ok_or_else(not_introduced)
    }

    /// Opens a stream. The first answer comes at once.
    fn follow<T: Send + 'static>(
        &self,
        caller: Arc<Caller>,
        seen: Seen,
        subscription: Subscription<T>,
    ) -> Result<Response<Answers<T>>, Status> {
        let place = self.core.open_stream(&caller)?;
        let workload = subscription.workload.as_ref();
        let ending = workload.map(Peer::watch).transpose().map_err(|error| {
            tracing::warn!(%error, "watch a workload");
            Status::resource_exhausted("the workload cannot be watched")
        })?;
        let (sender, receiver) = mpsc::channel(1);
        let this = self.clone();
        tokio::spawn(async move {
            let _place = place;
            let failed = sender.clone();
            let ended = async {
                match ending {
                    Some(ending) => ending.wait().await,
                    None => std::future::pending().await,
                }
            };
            let refusal = tokio::select! {
                biased;
                // Nobody is there to read.
                () = caller.ended() => None,
                () = failed.closed() => None,
                () = ended => Some(not_introduced()),
                outcome = this.tell(&caller, seen, &subscription, sender) => outcome.err(),
            };
            if let Some(status) = refusal {
                let _ = failed.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn tell<T>(
        &self,
        caller: &Caller,
        mut delegate: Seen,
        subscription: &Subscription<T>,
        sender: mpsc::Sender<Result<T, Status>>,
    ) -> Result<(), Status> {
        let core = &self.core;
        let mut changes = core.registry.clone();
        let mut seen = Seen::default();
        let mut sent: Option<View> = None;
        loop {
            let Some(registry) = changes.borrow_and_update().clone() else {
                return Err(Status::unavailable("the agent has not heard from its server yet"));
            };
            self.authorize(caller, &registry, &mut delegate).await?;
            let view = match &subscription.workload {
                Some(workload) => self.workloads(workload, &registry, &mut seen).await,
                None => Ok(everything(&registry)),
            };
            let wait = match view {
                Ok(view) => {
                    let wait = until(core.clock.now(), view.next);
                    if sent.as_ref().is_none_or(|sent| !(subscription.is_same)(sent, &view)) {
                        // The last look, at both: what leaves is for the programs that were seen.
                        let workload = subscription.workload.as_ref();
                        if !delegate.is_still(core, core.process(caller)?)
                            || workload.is_some_and(|workload| !seen.is_still(core, workload))
                        {
                            continue;
                        }
                        if sender.send(Ok((subscription.answer)(&view))).await.is_err() {
                            return Ok(());
                        }
                        sent = Some(view);
                    }
                    wait
                }
                // Who has an answer keeps it, and hears when there is another.
                Err(status) if sent.is_some() && status.code() == Code::Unavailable => RETRY,
                Err(status) => return Err(status),
            };
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return Err(Status::unavailable("the agent ends"));
                    }
                }
                () = tokio::time::sleep(wait.min(LOOK_AGAIN)) => {}
            }
        }
    }

    /// What is a workload's, which may be nothing yet.
    async fn workloads(
        &self,
        workload: &Peer,
        registry: &Registry,
        seen: &mut Seen,
    ) -> Result<View, Status> {
        let attested = seen.look(&self.core, workload, registry).await?;
        let entries = self.core.identities(registry, &attested);
        self.core.view(registry, &entries, true).await
    }
}

#[tonic::async_trait]
impl DelegatedIdentity for Delegated {
    type SubscribeToX509SVIDsStream = Answers<SubscribeToX509sviDsResponse>;
    type SubscribeToX509BundlesStream = Answers<SubscribeToX509BundlesResponse>;
    type SubscribeToJWTBundlesStream = Answers<SubscribeToJwtBundlesResponse>;

    async fn subscribe_to_x509svi_ds(
        &self,
        request: Request<SubscribeToX509sviDsRequest>,
    ) -> Result<Response<Self::SubscribeToX509SVIDsStream>, Status> {
        let (caller, mut seen) = (caller_of(&request)?, Seen::default());
        let registry = self.core.registry().await?;
        let delegate = self.authorize(&caller, &registry, &mut seen).await?;
        let SubscribeToX509sviDsRequest { selectors, pid } = request.into_inner();
        let workload = self.workload(pid, &selectors)?;
        tracing::info!(spiffe.id = %delegate, pid, "a delegate subscribes to a workload's SVIDs");
        let workload = Some(workload);
        let is_same = View::is_same_x509;
        self.follow(caller, seen, Subscription { workload, answer: x509_svids, is_same })
    }

    async fn subscribe_to_x509_bundles(
        &self,
        request: Request<SubscribeToX509BundlesRequest>,
    ) -> Result<Response<Self::SubscribeToX509BundlesStream>, Status> {
        let (caller, mut seen) = (caller_of(&request)?, Seen::default());
        let registry = self.core.registry().await?;
        self.authorize(&caller, &registry, &mut seen).await?;
        let answer = |view: &View| SubscribeToX509BundlesResponse {
            ca_certificates: bundles(view, Bundle::x509_der),
        };
        let is_same = View::is_same_x509;
        self.follow(caller, seen, Subscription { workload: None, answer, is_same })
    }

    async fn fetch_jwtsvi_ds(
        &self,
        request: Request<FetchJwtsviDsRequest>,
    ) -> Result<Response<FetchJwtsviDsResponse>, Status> {
        let (caller, mut delegate) = (caller_of(&request)?, Seen::default());
        let FetchJwtsviDsRequest { audience, selectors, pid } = request.into_inner();
        check_audience(&audience)?;
        let registry = self.core.registry().await?;
        let delegate_id = self.authorize(&caller, &registry, &mut delegate).await?;
        let workload = self.workload(pid, &selectors)?;
        let mut seen = Seen::default();
        let attested = seen.look(&self.core, &workload, &registry).await?;
        let entries = self.core.entries(&registry, &attested)?;
        let bundle = &registry.snapshot.bundle;
        let mut svids = Vec::new();
        for entry in &entries {
            let token = self.core.tokens.get(entry, &audience, bundle).await;
            let token = token.map_err(|error| unsigned(&error))?;
            svids.push(Jwtsvid {
                token: token.token.expose().clone(),
                id: Some(id(&entry.spiffe_id)),
                expires_at: token.expires_at.as_second(),
                issued_at: token.issued_at.as_second(),
                hint: entry.hint.clone(),
            });
        }
        let process = self.core.process(&caller)?;
        if !delegate.is_still(&self.core, process) || !seen.is_still(&self.core, &workload) {
            return Err(Status::unavailable("a process changed while it was attested"));
        }
        tracing::info!(spiffe.id = %delegate_id, pid, "a delegate fetched a workload's tokens");
        Ok(Response::new(FetchJwtsviDsResponse { svids }))
    }

    async fn subscribe_to_jwt_bundles(
        &self,
        request: Request<SubscribeToJwtBundlesRequest>,
    ) -> Result<Response<Self::SubscribeToJWTBundlesStream>, Status> {
        let (caller, mut seen) = (caller_of(&request)?, Seen::default());
        let registry = self.core.registry().await?;
        self.authorize(&caller, &registry, &mut seen).await?;
        let answer =
            |view: &View| SubscribeToJwtBundlesResponse { bundles: bundles(view, Bundle::jwks) };
        let is_same = View::is_same_jwt;
        self.follow(caller, seen, Subscription { workload: None, answer, is_same })
    }
}

/// SPIRE's answer for a process that is gone. One that was not introduced is told from it by nobody.
fn not_introduced() -> Status {
    Status::unavailable("workload attestation failed: no process of this PID was introduced")
}

/// All bundles that the agent knows.
fn everything(registry: &Registry) -> View {
    let (bundle, federated) =
        (registry.snapshot.bundle.clone(), registry.snapshot.federated.clone());
    View { svids: Vec::new(), bundle, federated, next: None }
}

fn x509_svids(view: &View) -> SubscribeToX509sviDsResponse {
    let svids = view.svids.iter().map(|svid| X509svidWithKey {
        x509_svid: Some(X509svid {
            cert_chain: svid.chain.clone(),
            id: Some(id(&svid.entry.spiffe_id)),
            expires_at: svid.not_after.as_second(),
            hint: svid.entry.hint.clone(),
        }),
        x509_svid_key: svid.key.to_vec(),
    });
    let federated = view.federated.keys();
    SubscribeToX509sviDsResponse {
        x509_svids: svids.collect(),
        federates_with: federated.map(|domain| domain.id().to_string()).collect(),
    }
}

fn id(id: &SpiffeId) -> Spiffeid {
    Spiffeid { trust_domain: id.trust_domain().to_owned(), path: id.path().to_owned() }
}
