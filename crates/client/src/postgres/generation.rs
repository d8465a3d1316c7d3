//! The connections of one credential, and who uses them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod,
};
use futures_util::future::try_join_all;
use tokio::sync::Notify;

use super::database::Connector;
use super::lifecycle::Generation;

/// A connection that nobody used for this long is tried before it is handed out: what lies between
/// may have forgotten it.
const IDLE: Duration = Duration::from_secs(30);
/// How long that may take.
const TRY_LIMIT: Duration = Duration::from_secs(2);

/// The pool of one credential.
pub(super) struct Connections {
    pub(super) generation: Generation,
    /// The database user.
    pub(super) user: String,
    pool: Pool,
    users: Arc<Users>,
}

/// Who has a connection, or waits for one. The pool's own count leaves out those whose connection
/// is being opened, and one that is opened while its lease is revoked would be lost.
#[derive(Default)]
struct Users {
    count: AtomicUsize,
    changed: Notify,
}

/// One user.
pub(super) struct Use(Arc<Users>);

impl Connections {
    /// Opens nothing yet.
    pub(super) fn new(
        generation: Generation,
        connector: Connector,
        user: String,
        most: usize,
    ) -> Result<Self, deadpool_postgres::BuildError> {
        let config = connector.config.clone();
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(config, connector, recycling);
        let is_alive = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, metrics| {
            let is_idle = metrics.last_used() >= IDLE;
            Box::pin(async move {
                if !is_idle {
                    return Ok(());
                }
                let asked = tokio::time::timeout(TRY_LIMIT, client.simple_query("")).await;
                let answer = asked.map_err(|_| HookError::message("no answer"))?;
                answer.map(drop).map_err(HookError::Backend)
            })
        });
        let pool = Pool::builder(manager).max_size(most).post_recycle(is_alive).build()?;
        Ok(Self { generation, user, pool, users: Arc::default() })
    }

    /// A connection. Waits for one.
    ///
    /// # Errors
    /// [`PoolError::Closed`] once this credential was replaced; PostgreSQL's.
    pub(super) async fn get(&self) -> Result<(Object, Use), PoolError> {
        // Counted before it is asked for: whoever closes the pool first and then finds no user can
        // be sure that there will be none.
        let user = self.enter();
        let connection = self.pool.get().await?;
        Ok((connection, user))
    }

    /// Opens so many connections at once, and asks something of each.
    pub(super) async fn open(&self, number: usize) -> Result<(), PoolError> {
        let one = || async {
            let (connection, user) = self.get().await?;
            connection.simple_query("SELECT 1").await.map_err(PoolError::Backend)?;
            Ok::<_, PoolError>((connection, user))
        };
        // All are held until the last is open: one that was given back would be got again.
        try_join_all((0..number).map(|_| one())).await.map(drop)
    }

    /// No more connections from here on; whoever waits is told so.
    pub(super) fn close(&self) {
        self.pool.close();
    }

    /// Waits until nobody uses it. Only after [`close`](Self::close) does it stay like that.
    pub(super) async fn unused(&self) {
        loop {
            let changed = self.users.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.in_use() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// How many connections are open, in use or not.
    pub(super) fn size(&self) -> usize {
        self.pool.status().size
    }

    /// How many have a connection or wait for one.
    pub(super) fn in_use(&self) -> usize {
        self.users.count.load(Ordering::SeqCst)
    }

    fn enter(&self) -> Use {
        self.users.count.fetch_add(1, Ordering::SeqCst);
        Use(self.users.clone())
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.changed.notify_waiters();
        }
    }
}
