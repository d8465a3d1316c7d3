//! How a node joins: whatever the attestor, it ends with an agent that is kept and its SVID.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::SpiffeId;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use zeroize::Zeroizing;

use super::x509pop::PopError;
use super::{K8sPsat, NodeError, NodeService, X509Pop, read_request};
use crate::proto::node as wire;
use crate::server::Shared;
use crate::{Selector, psat};

/// How long an attestation may take in all.
const ATTEST_LIMIT: Duration = Duration::from_secs(20);

/// By what nodes may join besides tokens.
#[derive(Default)]
pub struct Attestors {
    /// A certificate of the operator's own authority.
    pub x509pop: Option<X509Pop>,
    /// The token of a pod's service account.
    pub k8s_psat: Option<K8sPsat>,
}

/// What attestation found out.
#[derive(Debug, Clone)]
pub(crate) struct Attested {
    /// The agent's id.
    pub(crate) agent: SpiffeId,
    /// How: `join_token`, `x509pop`, `k8s_psat`.
    pub(crate) kind: &'static str,
    /// What was seen of the node.
    pub(crate) selectors: BTreeSet<Selector>,
    /// An identity that its join token gives the node besides.
    pub(crate) alias: Option<SpiffeId>,
}

type Answers = mpsc::Sender<Result<wire::AttestResponse, Status>>;

/// Attests whoever sends `steps`; the audit log has a line of it before the answer goes out.
pub(super) fn attest(
    shared: Arc<Shared>,
    peer: String,
    steps: Streaming<wire::AttestRequest>,
) -> ReceiverStream<Result<wire::AttestResponse, Status>> {
    let (answers, receiver) = mpsc::channel(2);
    let service = NodeService(shared);
    tokio::spawn(async move {
        let work = tokio::time::timeout(ATTEST_LIMIT, service.attest_caller(steps, &answers));
        let outcome = work.await.unwrap_or_else(|_| Err(Status::deadline_exceeded("too slow")));
        let agent = outcome.as_ref().ok().map(|svid| svid.spiffe_id.clone());
        let error = outcome.as_ref().err().map(|status| status.message().to_owned());
        let details = serde_json::json!({ "spiffe_id": agent });
        let written = service.0.audit.write(&peer, "agent attest", &details, error.as_deref());
        let answer = match written {
            Ok(()) => outcome.map(|svid| wire::AttestResponse {
                step: Some(wire::attest_response::Step::Svid(svid)),
            }),
            Err(_) => Err(Status::unavailable("the audit log cannot be written")),
        };
        let _ = answers.send(answer).await;
    });
    ReceiverStream::new(receiver)
}

impl NodeService {
    async fn attest_caller(
        &self,
        mut steps: Streaming<wire::AttestRequest>,
        answers: &Answers,
    ) -> Result<wire::AgentSvid, Status> {
        use wire::attest_request::Step;
        let first = steps.message().await?.and_then(|request| request.step);
        let Some(Step::Params(params)) = first else {
            return Err(Status::invalid_argument("the first message holds the parameters"));
        };
        let wire::AttestParams { r#type, payload, csr } = params;
        let payload = Zeroizing::new(payload);
        let refused = |error: NodeError| Status::permission_denied(error.to_string());
        // Everything that can be wrong with the request is looked at before a token is used up.
        read_request(&csr)?;
        let Attestors { x509pop, k8s_psat } = &self.0.attestors;
        let attested = match r#type.as_str() {
            "join_token" => {
                let token = std::str::from_utf8(&payload).unwrap_or_default().into();
                self.0.join_tokens.redeem(&token, self.0.clock.now()).await.map_err(refused)?
            }
            "x509pop" if let Some(attestor) = x509pop => {
                self.possession(attestor, &payload, &mut steps, answers).await?
            }
            psat::NAME if let Some(attestor) = k8s_psat => {
                let attested = attestor.attest(&payload, &self.0.settings.trust_domain).await;
                attested.map_err(Status::from)?
            }
            _ => return Err(Status::invalid_argument("no attestor of this type is configured")),
        };
        let (svid, leaf) = self.agent_svid(&attested.agent, &csr)?;
        self.0.nodes.admit(attested.clone(), &leaf).await.map_err(refused)?;
        if let Some(alias) = attested.alias {
            self.0.alias(&attested.agent, alias).await?;
        }
        Ok(self.agent_answer(&attested.agent, svid))
    }

    /// The node that has the key of the certificate it shows.
    async fn possession(
        &self,
        attestor: &X509Pop,
        payload: &[u8],
        steps: &mut Streaming<wire::AttestRequest>,
        answers: &Answers,
    ) -> Result<Attested, Status> {
        let refused = |error: PopError| Status::permission_denied(error.to_string());
        let claimed = attestor.claim(payload, self.0.clock.now()).map_err(refused)?;
        let mut challenge = [0; crate::pop::NONCE];
        self.0.random.fill(&mut challenge);
        let step = wire::attest_response::Step::Challenge(challenge.to_vec());
        let sent = answers.send(Ok(wire::AttestResponse { step: Some(step) })).await;
        sent.map_err(|_| Status::cancelled("the agent is gone"))?;
        let answer = steps.message().await?.and_then(|request| request.step);
        let Some(wire::attest_request::Step::ChallengeResponse(answer)) = answer else {
            return Err(Status::invalid_argument("the challenge was not answered"));
        };
        claimed.check(&challenge, &answer, &self.0.settings.trust_domain).map_err(refused)
    }
}
