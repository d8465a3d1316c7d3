//! What a pool needs to know.

use std::time::Duration;

use super::Database;
use super::lifecycle::Rules;

/// Where the database and its credentials are, and how patient to be.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Where PostgreSQL is.
    pub database: Database,
    /// The path that gives a database user with a lease, such as `database/creds/backend-role`.
    pub credential: String,
    /// How many connections are opened before a credential comes to serve. Default: 5.
    pub min_connections: usize,
    /// The most connections of one credential; while one is replaced there can be twice as many.
    /// Default: 20.
    pub max_connections: usize,
    /// What each new connection is told first, such as `SET ROLE app_owner`. Default: nothing.
    pub session: Option<String>,
    /// How long connections in use may go on after their credential was replaced; half the lease
    /// where that is shorter. Then the lease is revoked, which ends them. Default: 30 s.
    pub drain_limit: Duration,
    /// How long a getter waits for a connection. Default: 10 s.
    pub wait_limit: Duration,
    /// How long a login may take, a reading, opening the first connections, a revocation, each.
    /// Default: 10 s.
    pub step_limit: Duration,
    /// The wait after a failure. It doubles with each, by chance up to that. Default: 500 ms.
    pub min_backoff: Duration,
    /// The longest wait after a failure, or a twelfth of the lease where that is shorter.
    /// Default: 30 s.
    pub max_backoff: Duration,
    /// How long the first credential may take. Default: 60 s.
    pub start_limit: Duration,
    /// How long [`close`](super::RotatingPool::close) waits for the secrets server, after the
    /// drain. Default: 10 s.
    pub close_limit: Duration,
}

/// How many credentials may be on their way out: one drains, others wait for a secrets server that
/// does not answer.
const LEAVING: usize = 16;

impl PoolSettings {
    /// With the defaults.
    pub fn new(database: Database, credential: impl Into<String>) -> Self {
        Self {
            database,
            credential: credential.into(),
            min_connections: 5,
            max_connections: 20,
            session: None,
            drain_limit: Duration::from_secs(30),
            wait_limit: Duration::from_secs(10),
            step_limit: Duration::from_secs(10),
            min_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
            start_limit: Duration::from_secs(60),
            close_limit: Duration::from_secs(10),
        }
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            drain_limit: self.drain_limit,
            backoff: (self.min_backoff, self.max_backoff.max(self.min_backoff)),
            close_limit: self.close_limit,
            leaving: LEAVING,
        }
    }

    /// The least and the most connections, as far as they make sense: one at least.
    pub(super) fn sizes(&self) -> (usize, usize) {
        let most = self.max_connections.max(1);
        (self.min_connections.clamp(1, most), most)
    }
}
