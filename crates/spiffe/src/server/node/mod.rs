//! The side that agents see: they prove what their node is, watch, and have SVIDs signed.

mod attest;
mod join_token;
mod k8s_psat;
mod nodes;
mod told;
mod updates;
mod x509pop;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use holdfast_keys::x509::{Certificate, CertificateRequest};
use holdfast_types::{SpiffeId, Timestamp};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub use attest::Attestors;
pub(crate) use join_token::JoinTokens;
pub use k8s_psat::{ClusterError, ClusterSettings, K8sPsat};
pub(crate) use nodes::{Agent, NodeError, Nodes};
pub use x509pop::X509Pop;

use super::Shared;
use super::peer::Peer;
use super::registry::NodeFacts;
use super::svid::{SignError, X509Subject};
use crate::proto::node as wire;
use crate::wire::bundle_to_wire;
use crate::{Entry, JwtSvid, X509Svid};

const MAX_REQUEST: usize = 16 << 10;
const MAX_AUDIENCES: usize = 32;
const MAX_AUDIENCE: usize = 1024;

/// `holdfast.spiffe.v1.Node`
pub(crate) struct NodeService(pub(crate) Arc<Shared>);

impl NodeService {
    /// The node that calls: the local one by the kernel's word, another by its agent's SVID.
    fn caller<T>(&self, request: &Request<T>) -> Result<NodeFacts, Status> {
        let peer = request.extensions().get::<Peer>();
        match peer {
            Some(peer) if peer.is_owner() || peer.is_user(&self.0.settings.agent_uids) => {
                let facts = NodeFacts::local(&self.0.settings.trust_domain);
                facts.ok_or_else(|| Status::internal("the trust domain's name is too long"))
            }
            Some(Peer::Tls { certificate: Some(certificate) }) => {
                let facts = self.0.nodes.facts(certificate, self.0.clock.now());
                facts.map_err(|error| Status::permission_denied(error.to_string()))
            }
            _ => Err(Status::permission_denied("the caller is not an agent of this server")),
        }
    }

    /// The entry, if the caller serves it.
    fn entry(&self, node: &NodeFacts, id: &str) -> Result<Arc<Entry>, Status> {
        let found = self.0.registrar.registry().serves(node, id).cloned();
        found.ok_or_else(|| Status::not_found("the agent has no such entry"))
    }

    /// Audits an SVID before it goes out: without a line it does not. Neither keys nor tokens are
    /// part of `details`.
    fn issued(
        &self,
        node: &NodeFacts,
        action: &str,
        details: &serde_json::Value,
    ) -> Result<(), Status> {
        let written = self.0.audit.write(node.agent.as_str(), action, details, None);
        written.map_err(|_| Status::unavailable("the audit log cannot be written"))
    }

    /// An agent's SVID, and its leaf.
    fn agent_svid(&self, agent: &SpiffeId, csr: &[u8]) -> Result<(X509Svid, Certificate), Status> {
        let request = read_request(csr)?;
        let svid = self.0.authorities.sign_x509(X509Subject {
            spiffe_id: agent,
            dns_names: &[],
            ip_addresses: &[],
            public_key: request.public_key,
            ttl: self.0.settings.agent_ttl,
        });
        let svid = svid.map_err(|error| unsigned(&error))?;
        let leaf = svid.chain.first().and_then(|leaf| Certificate::from_der(leaf).ok());
        let leaf = leaf.ok_or_else(|| Status::internal("the signed SVID cannot be read"))?;
        Ok((svid, leaf))
    }

    fn agent_answer(&self, agent: &SpiffeId, svid: X509Svid) -> wire::AgentSvid {
        wire::AgentSvid {
            spiffe_id: agent.to_string(),
            certificates: svid.chain,
            expires_at: svid.not_after.as_second(),
            bundle: Some(bundle_to_wire(&self.0.authorities.bundle().borrow())),
        }
    }
}

/// Whole seconds from one moment to a later one.
fn seconds_until(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second() - from.as_second()
}

/// Reads a request and checks that its maker has the key.
fn read_request(der: &[u8]) -> Result<CertificateRequest, Status> {
    let wrong = |why: &dyn std::fmt::Display| {
        Status::invalid_argument(format!("the certificate request: {why}"))
    };
    if der.len() > MAX_REQUEST {
        return Err(wrong(&"too long"));
    }
    let request = CertificateRequest::from_der(der).map_err(|error| wrong(&error))?;
    request.check_signature().map_err(|error| wrong(&error))?;
    Ok(request)
}

fn unsigned(error: &SignError) -> Status {
    tracing::warn!(error = error as &dyn std::error::Error, "sign an SVID");
    Status::unavailable("the server has no valid authority at the moment")
}

#[tonic::async_trait]
impl wire::node_server::Node for NodeService {
    type AttestStream = ReceiverStream<Result<wire::AttestResponse, Status>>;
    type WatchStream = ReceiverStream<Result<wire::Update, Status>>;

    async fn attest(
        &self,
        request: Request<Streaming<wire::AttestRequest>>,
    ) -> Result<Response<Self::AttestStream>, Status> {
        let peer = request.extensions().get::<Peer>().map(ToString::to_string).unwrap_or_default();
        Ok(Response::new(attest::attest(self.0.clone(), peer, request.into_inner())))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::AgentSvid>, Status> {
        let node = self.caller(&request)?;
        let Some(Peer::Tls { certificate: Some(used) }) = request.extensions().get::<Peer>() else {
            return Err(Status::permission_denied("the agent of this machine has no SVID"));
        };
        let used = used.public_key.to_der();
        let (svid, leaf) = self.agent_svid(&node.agent, &request.get_ref().csr)?;
        let kept = self.0.nodes.renew(&node.agent, used, &leaf).await;
        kept.map_err(|error| Status::permission_denied(error.to_string()))?;
        let details = serde_json::json!({
            "spiffe_id": node.agent, "serial": hex::encode(&leaf.serial),
            "ttl": seconds_until(self.0.clock.now(), svid.not_after),
        });
        self.issued(&node, "agent SVID renew", &details)?;
        Ok(Response::new(self.agent_answer(&node.agent, svid)))
    }

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let node = self.caller(&request)?;
        let (sender, receiver) = mpsc::channel(1);
        let mut updates = updates::Updates::new(self.0.clone(), node);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = updates.next() => next,
                    () = sender.closed() => return,
                };
                let message = match next {
                    Ok(update) => Ok(update),
                    Err(error @ NodeError::Stopped) => Err(Status::unavailable(error.to_string())),
                    Err(error) => Err(Status::permission_denied(error.to_string())),
                };
                let is_last = message.is_err();
                if sender.send(message).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn mint_x509(
        &self,
        request: Request<wire::MintX509Request>,
    ) -> Result<Response<wire::MintX509Response>, Status> {
        let node = self.caller(&request)?;
        let request = request.into_inner();
        let entry = self.entry(&node, &request.entry_id)?;
        let public_key = read_request(&request.csr)?.public_key;
        let svid = self.0.authorities.sign_x509(X509Subject {
            spiffe_id: &entry.spiffe_id,
            dns_names: &entry.dns_names,
            ip_addresses: &entry.ip_addresses,
            public_key,
            ttl: entry.x509_ttl.unwrap_or(self.0.settings.x509_ttl),
        });
        let svid = svid.map_err(|error| unsigned(&error))?;
        let serial = svid.chain.first().and_then(|leaf| Certificate::from_der(leaf).ok());
        let details = serde_json::json!({
            "spiffe_id": entry.spiffe_id, "entry_id": entry.id,
            "serial": serial.map(|leaf| hex::encode(leaf.serial)),
            "ttl": seconds_until(self.0.clock.now(), svid.not_after),
        });
        self.issued(&node, "X.509-SVID issue", &details)?;
        Ok(Response::new(wire::MintX509Response {
            not_before: svid.not_before.as_second(),
            not_after: svid.not_after.as_second(),
            certificates: svid.chain,
        }))
    }

    async fn mint_jwt(
        &self,
        request: Request<wire::MintJwtRequest>,
    ) -> Result<Response<wire::MintJwtResponse>, Status> {
        let node = self.caller(&request)?;
        let request = request.into_inner();
        let entry = self.entry(&node, &request.entry_id)?;
        let audiences = &request.audience;
        check_audiences(audiences)?;
        let ttl = entry.jwt_ttl.unwrap_or(self.0.settings.jwt_ttl);
        let svid = self.0.authorities.sign_jwt(&entry.spiffe_id, audiences, ttl);
        let svid = svid.map_err(|error| unsigned(&error))?;
        let mut details = token_details(&entry.spiffe_id, audiences, &svid);
        details["entry_id"] = entry.id.as_str().into();
        self.issued(&node, "JWT-SVID issue", &details)?;
        Ok(Response::new(token_to_wire(&svid)))
    }
}

/// Sees that a token is for somebody, and not for more than one can mean.
pub(super) fn check_audiences(audiences: &[String]) -> Result<(), Status> {
    let is_wrong = |audience: &String| audience.is_empty() || audience.len() > MAX_AUDIENCE;
    if audiences.is_empty() || audiences.len() > MAX_AUDIENCES || audiences.iter().any(is_wrong) {
        return Err(Status::invalid_argument("audience must be specified"));
    }
    Ok(())
}

/// What is audited of a token.
pub(super) fn token_details(
    id: &SpiffeId,
    audiences: &[String],
    svid: &JwtSvid,
) -> serde_json::Value {
    let hash = digest(&SHA256, svid.token.expose().as_bytes());
    serde_json::json!({
        "spiffe_id": id, "audience": audiences, "token_sha256": hex::encode(hash),
        "ttl": seconds_until(svid.issued_at, svid.expires_at),
    })
}

pub(super) fn token_to_wire(svid: &JwtSvid) -> wire::MintJwtResponse {
    wire::MintJwtResponse {
        token: svid.token.expose().clone(),
        issued_at: svid.issued_at.as_second(),
        expires_at: svid.expires_at.as_second(),
    }
}

/// A moment on the wire, for records.
pub(crate) fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
