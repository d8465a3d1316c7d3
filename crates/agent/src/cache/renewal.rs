//! Keeps a lease or a token alive while its answer is kept.

use std::sync::Arc;
use std::time::Duration;

use holdfast_client::vault::{VaultClient, VaultError};
use holdfast_types::Random;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::session::{Life, is_refusal};

/// How long to wait after a renewal that got no answer.
const AGAIN: Duration = Duration::from_secs(5);

/// What is renewed, by a client that carries the token for it.
pub(crate) struct Renewing {
    pub(crate) client: VaultClient,
    /// The lease; none for the client's token itself.
    pub(crate) lease: Option<String>,
    pub(crate) life: Life,
}

/// Renews until the lease or token cannot last longer, and returns shortly before its end.
pub(crate) async fn keep(what: Renewing, random: Arc<dyn Random>) {
    let Some(granted) = what.life.ttl else {
        // Without an end: only a revocation ends it, or its token's end.
        return std::future::pending().await;
    };
    let mut ttl = granted;
    let mut end = Instant::now() + ttl;
    loop {
        let mut byte = [0];
        random.fill(&mut byte);
        let chance = f64::from(byte[0]) / 255.0;
        sleep(ttl.mul_f64(2.0 / 3.0 - 0.1 * chance)).await;
        let life = loop {
            match what.renew().await {
                Ok(life) => break Some(life),
                Err(error) if is_refusal(&error) => break None,
                Err(error) => debug!(%error, "renew what is kept"),
            }
            if Instant::now() + AGAIN >= end {
                break None;
            }
            sleep(AGAIN).await;
        };
        match life {
            Some(Life { ttl: Some(next), renewable }) => {
                end = Instant::now() + next;
                if !renewable || next < granted.mul_f64(0.9) {
                    // Its longest life is near: the next to ask gets another.
                    return sleep(next.mul_f64(0.8)).await;
                }
                ttl = next;
            }
            Some(Life { ttl: None, .. }) => return std::future::pending().await,
            None => return,
        }
    }
}

impl Renewing {
    async fn renew(&self) -> Result<Life, VaultError> {
        match &self.lease {
            Some(lease) => {
                let body = json!({ "lease_id": lease });
                let reply = self.client.write("sys/leases/renew", &body).await?;
                Ok(Life::new(reply.lease_duration, reply.renewable))
            }
            None => {
                let auth = self.client.token_renew_self(None).await?;
                Ok(Life::new(auth.lease_duration, auth.renewable))
            }
        }
    }
}
