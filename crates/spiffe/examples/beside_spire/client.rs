//! Workloads, as they ask.

use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_spiffe::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use holdfast_spiffe::proto::workload::{JwtsvidRequest, X509svidRequest, X509svidResponse};
use holdfast_spiffe::remote::unix_channel;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// How long anything may take before the benchmark ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// One workload's connection.
#[derive(Clone)]
pub(crate) struct Workload(SpiffeWorkloadApiClient<Channel>);

impl Workload {
    pub(crate) fn new(socket: &Path) -> Self {
        Self(SpiffeWorkloadApiClient::new(unix_channel(socket)))
    }

    /// A stream of X.509-SVIDs.
    pub(crate) async fn stream(&mut self) -> Result<Streaming<X509svidResponse>, Status> {
        Ok(self.0.fetch_x509svid(with_header(X509svidRequest {})).await?.into_inner())
    }

    /// The first answer of a stream that is closed then.
    pub(crate) async fn x509(&mut self) -> Result<X509svidResponse, Status> {
        let answer = self.stream().await?.message().await?;
        answer.ok_or_else(|| Status::unavailable("the stream ended"))
    }

    /// A token.
    pub(crate) async fn jwt(&mut self, audience: String) -> Result<(), Status> {
        let request = JwtsvidRequest { audience: vec![audience], spiffe_id: String::new() };
        self.0.fetch_jwtsvid(with_header(request)).await.map(|_| ())
    }
}

/// Waits until a workload gets an identity. It asks on a connection of its own each time, as one
/// that has just started does.
pub(crate) async fn first_svid(socket: &Path) {
    let start = Instant::now();
    loop {
        let answer = Workload::new(socket).x509().await;
        if answer.is_ok() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "no identity: {answer:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How many identities an answer has.
pub(crate) fn count(answer: &X509svidResponse) -> usize {
    answer.svids.len()
}

fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
    request
}
