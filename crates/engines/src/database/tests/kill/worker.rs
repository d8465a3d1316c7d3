//! A process to be killed: makes and ends database users without pause, over a store in a file.
//!
//! It is this test binary, started again for this one test, with its settings after the test's
//! name: `store:FILE` alone prints the leases, and touches nothing; with `users:N` it reads the
//! engine's config from standard input, settles what an earlier process left open, and makes N
//! users, or dies by its own hand where `dies:POINT:NTH` says. It does the core's part: a lease is
//! stored in one batch with what settles it, and marked before its user is ended.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use holdfast_barrier::{Change, EntryError};
use holdfast_types::Random;
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
        let entries = FileEntries::open(store, None).await?;
        return print(&View::new(Arc::new(entries), "")).await;
    };
    let point = setting("dies:").and_then(|point| point.split_once(':'));
    let point = point.map(|(name, nth)| {
        Ok::<_, Failure>(Point { name: name.to_owned(), passages_left: Mutex::new(nth.parse()?) })
    });
    let mut config = String::new();
    std::io::stdin().read_to_string(&mut config)?;
    let entries = Arc::new(FileEntries::open(store, point.transpose()?).await?);
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

/// The leases, the write-ahead records that are left, and how many leases there ever were.
async fn print(storage: &View) -> Result<(), Failure> {
    let mut leases = Vec::new();
    for id in storage.list("leases/").await? {
        let stored = storage.get_json::<StoredLease>(&format!("leases/{id}")).await?;
        leases.push(stored.ok_or("a lease went away")?);
    }
    let records = storage.list("logical/wal/").await?;
    let made = storage.list("made/").await?.len();
    println!("\n{}", json!({ "leases": leases, "records": records, "made": made }));
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
    async fn start(entries: Arc<FileEntries>, config: Value) -> Result<Self, Failure> {
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

/// The step that a batch is.
fn step(batch: &Batch) -> Option<&'static str> {
    batch.0.iter().find_map(|change| match change {
        Change::Put(key, _) if key.starts_with("logical/wal/") => Some("record"),
        Change::Put(key, _) if key.starts_with("made/") => Some("lease"),
        Change::Delete(key) if key.starts_with("leases/") => Some("end"),
        _ => None,
    })
}

/// Entries in a file, which is replaced as a whole at each commit. A killed process leaves the
/// older or the newer one.
struct FileEntries {
    file: PathBuf,
    memory: MemoryEntries,
    point: Option<Point>,
    writer: tokio::sync::Mutex<BTreeMap<String, Vec<u8>>>,
}

impl FileEntries {
    async fn open(file: PathBuf, point: Option<Point>) -> Result<Self, Failure> {
        let entries: BTreeMap<String, Vec<u8>> = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error.into()),
        };
        let memory = MemoryEntries::default();
        let mut batch = Batch::new();
        for (key, value) in &entries {
            batch.put(key.clone(), value.clone());
        }
        memory.commit(batch).await?;
        Ok(Self { file, memory, point, writer: tokio::sync::Mutex::new(entries) })
    }

    fn write(&self, entries: &BTreeMap<String, Vec<u8>>) -> Result<(), EntryError> {
        let failed = |error: Failure| EntryError::Storage(error);
        let next = self.file.with_extension("next");
        let bytes = serde_json::to_vec(entries).map_err(|error| failed(error.into()))?;
        let mut file = std::fs::File::create(&next).map_err(|error| failed(error.into()))?;
        file.write_all(&bytes).map_err(|error| failed(error.into()))?;
        std::fs::rename(&next, &self.file).map_err(|error| failed(error.into()))
    }
}

#[async_trait]
impl Entries for FileEntries {
    async fn get(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, EntryError> {
        self.memory.get(key).await
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, EntryError> {
        self.memory.list_page(prefix, after, limit).await
    }

    async fn scan(&self, prefix: &str) -> Result<Vec<String>, EntryError> {
        self.memory.scan(prefix).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), EntryError> {
        let mut entries = self.writer.lock().await;
        for change in &batch.0 {
            match change {
                Change::Put(key, value) => drop(entries.insert(key.clone(), value.to_vec())),
                Change::Delete(key) => drop(entries.remove(key)),
            }
        }
        let step = step(&batch);
        if let Some(point) = &self.point {
            point.pass("before", step);
        }
        self.write(&entries)?;
        if let Some(point) = &self.point {
            point.pass("after", step);
        }
        self.memory.commit(batch).await
    }
}
