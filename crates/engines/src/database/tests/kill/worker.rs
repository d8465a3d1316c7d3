//! A process to be killed: makes and ends database users without pause, and changes the passwords
//! of others, over the server's own store.
//!
//! It is this test binary, started again for this one test, with its settings after the test's
//! name: `store:FILE` alone prints the leases, and touches nothing; with `users:N` it reads the
//! engine's config from standard input, settles what an earlier process left open, and makes N
//! users, or dies by its own hand where `dies:POINT:NTH` says. It does the core's part: a lease is
//! stored in one batch with what settles it, and marked before its user is ended.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use holdfast_barrier::physical::Sqlite;
use holdfast_barrier::{Barrier, Change, EntryError, SealConfig, StaticKey};
use holdfast_types::{Random, SecretBytes};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::*;

const TTL: Duration = Duration::from_secs(3600);
const WORKERS: usize = 3;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Nothing to do, unless a proof has started this process.
#[tokio::test]
async fn worker() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let setting = |name| arguments.iter().find_map(|argument| argument.strip_prefix(name));
    let Some(store) = setting("store:").map(PathBuf::from) else { return Ok(()) };
    let Some(users) = setting("users:") else {
        let entries = Store::open(&store, None).await?;
        return print(&View::new(Arc::new(entries), "")).await;
    };
    let point = setting("dies:").and_then(|point| point.split_once(':'));
    let point = point.map(|(name, nth)| {
        Ok::<_, Failure>(Point { name: name.to_owned(), passages_left: Mutex::new(nth.parse()?) })
    });
    let mut config = String::new();
    std::io::stdin().read_to_string(&mut config)?;
    let entries = Arc::new(Store::open(&store, point.transpose()?).await?);
    let worker = Arc::new(Worker::start(entries, serde_json::from_str(&config)?).await?);

    let left = Arc::new(Mutex::new(users.parse::<usize>()?));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (worker, left) = (worker.clone(), left.clone());
        workers.spawn(async move {
            while take_one(&left) {
                worker.make_user().await?;
                if worker.toss(2) {
                    worker.end_some_user().await?;
                }
                if worker.toss(2) {
                    worker.rotate_some_password().await?;
                }
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(result) = workers.join_next().await {
        result??;
    }
    worker.backend.stop().await;
    print(&worker.storage).await
}

fn take_one(left: &Mutex<usize>) -> bool {
    let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
    let some = *left > 0;
    *left -= usize::from(some);
    some
}

/// The leases, the write-ahead records that are left, how many leases there ever were, and the
/// passwords of the users who were there before: as they are stored, and as they were about to be.
async fn print(storage: &View) -> Result<(), Failure> {
    let mut leases = Vec::new();
    for id in storage.list("leases/").await? {
        let stored = storage.get_json::<StoredLease>(&format!("leases/{id}")).await?;
        leases.push(stored.ok_or("a lease went away")?);
    }
    let records = storage.list("logical/wal/").await?;
    let made = storage.list("made/").await?.len();
    let rotated = storage.list("rotated/").await?.len();
    let mut passwords = BTreeMap::new();
    for user in FIXED {
        let stored = storage.get_json::<Value>(&format!("logical/static-role/{user}")).await?;
        let begun = storage.get_json::<Value>(&begun_key(user)).await?;
        let password = |role: &Value| role["password"].as_str().map(str::to_owned);
        let stored = stored.as_ref().and_then(password);
        let begun = begun.as_ref().and_then(|begun| password(&begun["role"]));
        passwords.insert(user, (stored, begun));
    }
    let due = storage.list("logical/static-due/").await?;
    let report = json!({
        "leases": leases, "records": records, "made": made,
        "rotated": rotated, "passwords": passwords, "due": due,
    });
    println!("\n{report}");
    Ok(())
}

/// A lease as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredLease {
    id: String,
    path: String,
    username: String,
    internal: Value,
    /// The user is being ended: whether it is there yet nobody can say.
    ending: bool,
}

struct Worker {
    backend: Arc<Database>,
    storage: View,
    mount: Arc<MountInfo>,
    /// One at a time chooses a lease to end.
    choice: tokio::sync::Mutex<()>,
}

impl Worker {
    /// Opens the mount, and ends what an earlier process was about to end.
    async fn start(entries: Arc<Store>, config: Value) -> Result<Self, Failure> {
        let storage = View::new(entries, "");
        let mount = Arc::new(MountInfo { default_ttl: TTL, max_ttl: TTL, ..MountInfo::default() });
        let backend = Database::new(Context {
            storage: storage.sub("logical/"),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            passwords: Arc::new(holdfast_logical::testing::OnePassword),
            mount: mount.clone(),
        });
        let worker = Self { backend, storage, mount, choice: tokio::sync::Mutex::default() };
        worker.backend.start().await?;
        // What a start had no time for on a busy machine.
        worker.backend.tick().await?;
        if worker.storage.get("logical/config/pg").await?.is_none() {
            worker.request(Operation::Create, "config/pg", config).await?;
            let statement = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' \
                             VALID UNTIL '{{expiration}}'; GRANT proof TO \"{{name}}\"";
            let role = json!({ "db_name": "pg", "creation_statements": statement });
            worker.request(Operation::Create, "roles/app", role).await?;
        }
        for user in FIXED {
            let path = format!("static-roles/{user}");
            if worker.storage.get(&format!("logical/static-role/{user}")).await?.is_none() {
                let role = json!({ "db_name": "pg", "username": user, "rotation_period": "24h" });
                worker.request(Operation::Create, &path, role).await?;
            } else if worker.storage.get(&begun_key(user)).await?.is_some() {
                // Put off by a server that was away: nobody has to wait for the next try.
                let path = format!("rotate-role/{user}");
                worker.request(Operation::Update, &path, Value::Null).await?;
            }
        }
        for id in worker.storage.list("leases/").await? {
            let stored = worker.lease(&id).await?;
            if stored.ending {
                worker.end(stored).await?;
            }
        }
        Ok(worker)
    }

    async fn lease(&self, id: &str) -> Result<StoredLease, Failure> {
        Ok(self.storage.get_json(&format!("leases/{id}")).await?.ok_or("a lease went away")?)
    }

    async fn make_user(&self) -> Result<(), Failure> {
        let response = self.request(Operation::Read, "creds/app", Value::Null).await?;
        let response = response.ok_or("no answer")?;
        let (data, spec) = response.data.zip(response.lease).ok_or("no user")?;
        let id = (&SystemRandom as &dyn Random).uuid();
        let stored = StoredLease {
            id: id.clone(),
            path: "creds/app".to_owned(),
            username: data["username"].as_str().ok_or("no name")?.to_owned(),
            internal: spec.internal,
            ending: false,
        };
        let mut batch = Batch::new();
        self.storage.batch_json(&mut batch, &format!("leases/{id}"), &stored)?;
        self.storage.batch_json(&mut batch, &format!("made/{id}"), &Value::Null)?;
        batch.append(spec.settles);
        self.storage.commit(batch).await?;
        Ok(())
    }

    async fn end_some_user(&self) -> Result<(), Failure> {
        let stored = {
            let _choice = self.choice.lock().await;
            let ids = self.storage.list("leases/").await?;
            let at = usize::from(SystemRandom.bytes::<1>()[0]) % ids.len().max(1);
            let Some(id) = ids.get(at) else { return Ok(()) };
            let mut stored = self.lease(id).await?;
            if stored.ending {
                return Ok(());
            }
            stored.ending = true;
            self.storage.put_json(&format!("leases/{id}"), &stored).await?;
            stored
        };
        self.end(stored).await
    }

    async fn end(&self, stored: StoredLease) -> Result<(), Failure> {
        let now = SystemClock.now();
        let lease = Lease {
            id: stored.id.clone(),
            path: stored.path,
            internal: stored.internal,
            issued_at: now,
            expires_at: now,
        };
        self.backend.revoke(&lease).await?;
        self.storage.delete(&format!("leases/{}", stored.id)).await?;
        Ok(())
    }

    async fn rotate_some_password(&self) -> Result<(), Failure> {
        let user = FIXED[usize::from(SystemRandom.bytes::<1>()[0]) % FIXED.len()];
        self.request(Operation::Update, &format!("rotate-role/{user}"), Value::Null).await?;
        let made = (&SystemRandom as &dyn Random).uuid();
        self.storage.put_json(&format!("rotated/{made}"), &Value::Null).await?;
        Ok(())
    }

    /// True once in `sides` times.
    fn toss(&self, sides: u8) -> bool {
        SystemRandom.bytes::<1>()[0].is_multiple_of(sides)
    }

    async fn request(
        &self,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> Result<Option<Response>, Failure> {
        let request = Request {
            id: String::new(),
            operation,
            path: path.to_owned(),
            mount: self.mount.clone(),
            data: data.as_object().cloned().unwrap_or_default(),
            caller: Some(Caller {
                accessor: String::new(),
                token_hash: String::new(),
                display_name: "proof".to_owned(),
                policies: Vec::new(),
                entity_id: String::new(),
                metadata: BTreeMap::new(),
                is_root: false,
                kind: TokenKind::Service,
                expires_at: None,
            }),
            connection: Connection::default(),
            headers: BTreeMap::new(),
            wrap_ttl: None,
            looked_at: Default::default(),
        };
        Ok(self.backend.handle(&request).await?)
    }
}

/// Where the process dies. Each stands between two steps of a user's life.
struct Point {
    /// `before` or `after`, and the step: `before-record`, `after-lease`, `before-end`.
    name: String,
    passages_left: Mutex<usize>,
}

impl Point {
    fn pass(&self, when: &str, step: Option<&str>) {
        let Some(step) = step else { return };
        if self.name != format!("{when}-{step}") {
            return;
        }
        let mut left = self.passages_left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(1);
        if *left == 0 {
            std::process::abort();
        }
    }
}

fn begun_key(user: &str) -> String {
    format!("logical/static-rotation/{user}")
}

/// The step that a batch is.
fn step(batch: &Batch) -> Option<&'static str> {
    batch.0.iter().find_map(|change| match change {
        Change::Put(key, _) if key.starts_with("logical/wal/") => Some("record"),
        Change::Put(key, _) if key.starts_with("made/") => Some("lease"),
        Change::Put(key, _) if key.starts_with("logical/static-rotation/") => Some("change"),
        Change::Delete(key) if key.starts_with("logical/static-rotation/") => Some("changed"),
        Change::Delete(key) if key.starts_with("leases/") => Some("end"),
        _ => None,
    })
}

/// The server's own store, whose commits are the points where the process can die.
struct Store {
    barrier: Barrier,
    point: Option<Point>,
}

impl Store {
    async fn open(file: &Path, point: Option<Point>) -> Result<Self, Failure> {
        let current = StaticKey::parse("proof", &SecretBytes::new(vec![7; 32]))?;
        let seal = SealConfig::Static { current, previous: None };
        let physical = Arc::new(Sqlite::open(file)?);
        let barrier =
            Barrier::open(physical, seal, Arc::new(SystemClock), Arc::new(SystemRandom)).await?;
        if !barrier.seal_status().initialized {
            barrier.initialize(None, Batch::new()).await?;
        }
        barrier.auto_unseal().await?;
        Ok(Self { barrier, point })
    }
}

#[async_trait]
impl Entries for Store {
    async fn get(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, EntryError> {
        self.barrier.get(key).await
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, EntryError> {
        self.barrier.list_page(prefix, after, limit).await
    }

    async fn scan(&self, prefix: &str) -> Result<Vec<String>, EntryError> {
        self.barrier.scan(prefix).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), EntryError> {
        let step = step(&batch);
        if let Some(point) = &self.point {
            point.pass("before", step);
        }
        self.barrier.commit(batch).await?;
        if let Some(point) = &self.point {
            point.pass("after", step);
        }
        Ok(())
    }
}
