//! What a node joins with, and how it is shown.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_types::SecretString;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::JoinError;
use super::kept::Kept;
use super::x509pop::possession;
use crate::proto::node as wire;
use crate::proto::node::node_client::NodeClient;
use crate::psat;
use crate::source::key_and_request;

pub(super) const CALL_LIMIT: Duration = Duration::from_secs(30);

/// What a node joins with.
#[derive(Clone)]
pub enum Proof {
    /// A join token, which works once.
    Token(SecretString),
    /// A certificate, with those between it and its root (DER), and its key (PEM).
    Certificate(Vec<Vec<u8>>, SecretString),
    /// The token of the service account of the agent's pod.
    ServiceAccount {
        /// What the server calls the cluster.
        cluster: String,
        /// Where the kubelet puts the token; read each time, as it is replaced.
        token_file: PathBuf,
    },
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::Certificate(..) => "Certificate",
            Self::ServiceAccount { .. } => "ServiceAccount",
        })
    }
}

impl Proof {
    /// Whether it can be shown again when an SVID has ended.
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Token(_))
    }

    /// Whether it is shown again also while the SVID is valid: what it proves can change.
    pub(super) fn is_current(&self) -> bool {
        matches!(self, Self::ServiceAccount { .. })
    }

    /// The attestor's name, and what that wants to see first.
    fn shown(&self) -> Result<(&'static str, Vec<u8>), JoinError> {
        Ok(match self {
            Self::Token(token) => ("join_token", token.expose().clone().into_bytes()),
            Self::Certificate(chain, _) => ("x509pop", chain.concat()),
            Self::ServiceAccount { cluster, token_file } => {
                let token = psat::token_in(token_file);
                let failed = |source| JoinError::Token { path: token_file.clone(), source };
                (psat::NAME, psat::payload(cluster, &token.map_err(failed)?))
            }
        })
    }
}

/// Joins over a channel on which nobody has said who they are.
pub(super) async fn attest(channel: Channel, proof: &Proof, now: i64) -> Result<Kept, JoinError> {
    use wire::attest_request::Step;
    use wire::attest_response::Step as Answer;

    let (key, csr) = key_and_request()?;
    let (kind, payload) = proof.shown()?;
    let params = wire::AttestParams { r#type: kind.to_owned(), payload, csr };
    let (sender, steps) = mpsc::channel(1);
    // There is room for one.
    let _ = sender.try_send(wire::AttestRequest { step: Some(Step::Params(params)) });
    let mut client = NodeClient::new(channel);
    let call = async {
        let mut answers = client.attest(ReceiverStream::new(steps)).await?.into_inner();
        loop {
            let answer = answers.message().await?.and_then(|answer| answer.step);
            match (answer, proof) {
                (Some(Answer::Svid(svid)), _) => return Kept::of(&key, svid, now),
                (Some(Answer::Challenge(challenge)), Proof::Certificate(_, own)) => {
                    let step = Some(Step::ChallengeResponse(possession(&challenge, own)?));
                    let _ = sender.try_send(wire::AttestRequest { step });
                }
                _ => return Err(JoinError::Answer("holds no SVID")),
            }
        }
    };
    let answer = tokio::time::timeout(CALL_LIMIT, call).await;
    answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer").into()))
}
