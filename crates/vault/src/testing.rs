//! A server in memory for this crate's tests, with a backend that does what it is told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_barrier::{Batch, Entries, EntryError, MemoryEntries};
use holdfast_logical::{
    Auth, Backend, BatchCell, Connection, Context, EntityAlias, Error, Lease, LeaseSpec, Operation,
    Reply, Request, Response, SpecialPaths, TokenParams,
};
use holdfast_testkit::FakeClock;
use holdfast_types::{SecretString, SystemRandom};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::audit::Audit;
use crate::core::{Core, Deps, Limits};
use crate::leases::revoke_all_due;
use crate::mounts::Registry;
use crate::wire::{Incoming, Outgoing, OutgoingBody, Verb};

/// When tests begin.
pub(crate) const START: i64 = 1_800_000_000;

/// What a fake backend did and is to do, shared by all of them.
#[derive(Default)]
pub(crate) struct FakeState {
    /// Things that exist: made by `creds`, gone when revoked.
    pub made: Mutex<BTreeMap<String, u64>>,
    /// Whether revoking fails.
    pub broken: AtomicBool,
    /// Revocations asked for.
    pub revocations: AtomicU64,
    /// Times that a backend was asked whether a target is there.
    pub asked: AtomicU64,
    /// Called when something was made.
    pub on_made: Mutex<Option<Box<dyn Fn() + Send + Sync>>>,
    /// While set, `creds` waits for `resume` after it has made its thing.
    pub paused: AtomicBool,
    /// Lets one waiting `creds` go on.
    pub resume: Notify,
    counter: AtomicU64,
}

impl FakeState {
    /// How many things exist.
    pub(crate) fn count(&self) -> usize {
        self.made.lock().unwrap().len()
    }
}

/// An engine and login method in one: `creds` makes a thing with a lease of an hour (at most two),
/// `login` makes a token of the policies it is asked for, `store/<name>` stores.
struct Fake {
    state: Arc<FakeState>,
    context: Context,
}

#[async_trait]
impl Backend for Fake {
    async fn handle(&self, request: &Request) -> Reply {
        let fields = request.fields();
        match (request.segments().as_slice(), request.operation) {
            (["creds"], Operation::Read) => {
                let number = self.state.counter.fetch_add(1, Ordering::SeqCst);
                let name = format!("thing-{number}");
                self.state.made.lock().unwrap().insert(name.clone(), 1);
                if let Some(on_made) = &*self.state.on_made.lock().unwrap() {
                    on_made();
                }
                if self.state.paused.load(Ordering::SeqCst) {
                    self.state.resume.notified().await;
                }
                let data = json!({ "name": name });
                Ok(Some(Response {
                    lease: Some(LeaseSpec {
                        ttl: Some(Duration::from_secs(3600)),
                        max_ttl: Some(Duration::from_secs(7200)),
                        renewable: true,
                        internal: json!({ "name": name }),
                        settles: Batch::new(),
                    }),
                    ..Response::data(data)
                }))
            }
            (["login"], Operation::Create | Operation::Update) => Ok(Some(Response {
                auth: Some(Auth {
                    params: TokenParams {
                        token_ttl: fields.duration("ttl")?.unwrap_or_default(),
                        token_policies: fields.strings("policies")?.unwrap_or_default(),
                        token_num_uses: 0,
                        ..TokenParams::default()
                    },
                    alias: match fields.string("name")? {
                        Some(name) => Some(EntityAlias {
                            name,
                            metadata: fields.string_map("metadata")?.unwrap_or_default(),
                        }),
                        None => None,
                    },
                    group_aliases: fields.strings("groups")?.unwrap_or_default(),
                    renewable: true,
                    settles: BatchCell::default(),
                    ..Auth::default()
                }),
                ..Response::default()
            })),
            (["store", name], Operation::Read) => {
                let data = self.context.storage.get_json::<Map<String, Value>>(name).await?;
                Ok(data.map(|data| Response { data: Some(data), ..Response::default() }))
            }
            (["store", name], Operation::Create | Operation::Update) => {
                self.context.storage.put_json(name, request.fields().any()).await?;
                Ok(Some(Response::data(json!({ "operation": request.operation.as_str() }))))
            }
            (["fail"], _) => Err(Error::internal("fail", "as told")),
            _ => Err(Error::UnsupportedPath),
        }
    }

    fn special_paths(&self) -> SpecialPaths {
        SpecialPaths { unauthenticated: vec!["login".to_owned()], sudo: vec!["store/sudo".into()] }
    }

    async fn exists(&self, request: &Request) -> Result<Option<bool>, Error> {
        self.state.asked.fetch_add(1, Ordering::SeqCst);
        match request.path.strip_prefix("store/") {
            Some(name) => Ok(Some(self.context.storage.get(name).await?.is_some())),
            None => Ok(None),
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<Option<Value>, Error> {
        let made = self.state.made.lock().unwrap();
        match made.contains_key(lease.internal["name"].as_str().unwrap()) {
            true => Ok(None),
            false => Err(Error::invalid("no such thing")),
        }
    }

    async fn revoke(&self, lease: &Lease) -> Result<(), Error> {
        self.state.revocations.fetch_add(1, Ordering::SeqCst);
        if self.state.broken.load(Ordering::SeqCst) {
            return Err(Error::upstream("drop the thing", "it is stuck"));
        }
        let name = lease.internal["name"].as_str().unwrap();
        self.state.made.lock().unwrap().remove(name);
        Ok(())
    }
}

/// A server.
pub(crate) struct Server {
    pub core: Core,
    pub entries: Arc<dyn Entries>,
    pub clock: Arc<FakeClock>,
    pub fake: Arc<FakeState>,
    pub root: String,
}

impl Server {
    /// An empty, unsealed one, with `fake/` and `auth/fake/`.
    pub(crate) async fn new() -> Self {
        Self::with(Arc::new(MemoryEntries::default()), Arc::new(Audit::default())).await
    }

    /// The same over given entries, with a given audit log.
    pub(crate) async fn with(entries: Arc<dyn Entries>, audit: Arc<Audit>) -> Self {
        let clock = Arc::new(FakeClock::at(START));
        let fake = Arc::new(FakeState::default());
        let mut server = Self::over(entries, clock, fake, audit, String::new()).await;
        let token = server.core.create_root_token(None).await.unwrap();
        server.root = token.expose().clone();
        for path in ["sys/mounts/fake", "sys/auth/fake"] {
            server.ok(Verb::Write, path, json!({ "type": "fake" })).await;
        }
        server
    }

    /// The same store and clock after a crash: nothing in memory is left.
    pub(crate) async fn crash(self) -> Self {
        let Self { core, entries, clock, fake, root } = self;
        drop(core);
        Self::over(entries, clock, fake, Arc::new(Audit::default()), root).await
    }

    /// A server over what is stored in `entries`.
    pub(crate) async fn over(
        entries: Arc<dyn Entries>,
        clock: Arc<FakeClock>,
        fake: Arc<FakeState>,
        audit: Arc<Audit>,
        root: String,
    ) -> Self {
        let factory = {
            let fake = fake.clone();
            move |context| Arc::new(Fake { state: fake.clone(), context }) as Arc<dyn Backend>
        };
        let core = Core::new(Deps {
            metrics: Arc::default(),
            entries: entries.clone(),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            audit,
            registry: Registry::default()
                .secret("kv", holdfast_engines::kv::backend)
                .secret("cubbyhole", holdfast_engines::cubbyhole::backend)
                .secret("fake", factory.clone())
                .auth("fake", factory),
            limits: Limits::default(),
            logs: crate::logs::Logs::detached(),
            api_addr: "https://holdfast.test".to_owned(),
        });
        core.post_unseal().await.unwrap();
        Self { core, entries, clock, fake, root }
    }

    /// A request with a token and, if any, a wrapping time.
    pub(crate) async fn send(
        &self,
        token: &str,
        verb: Verb,
        path: &str,
        data: Value,
        wrap: Option<u64>,
    ) -> (u16, Value) {
        let Value::Object(data) = data else { panic!("{data} is no object") };
        let incoming = self.incoming(token, verb, path, data);
        let wrap_ttl = wrap.map(Duration::from_secs);
        split(self.core.handle(Incoming { wrap_ttl, ..incoming }).await)
    }

    /// A request with a token, from this machine.
    pub(crate) fn incoming(
        &self,
        token: &str,
        verb: Verb,
        path: &str,
        data: Map<String, Value>,
    ) -> Incoming {
        Incoming {
            id: "request".to_owned(),
            verb,
            path: path.to_owned(),
            data,
            token: Some(token).filter(|token| !token.is_empty()).map(SecretString::from),
            is_bearer: false,
            wrap_ttl: None,
            headers: BTreeMap::new(),
            connection: Connection {
                remote_address: Some("127.0.0.1".parse().unwrap()),
                ..Connection::default()
            },
        }
    }

    /// A request of a token.
    pub(crate) async fn call(
        &self,
        token: &str,
        verb: Verb,
        path: &str,
        data: Value,
    ) -> (u16, Value) {
        self.send(token, verb, path, data, None).await
    }

    /// A request of root's that must succeed.
    pub(crate) async fn ok(&self, verb: Verb, path: &str, data: Value) -> Value {
        let (status, body) = self.call(&self.root.clone(), verb, path, data).await;
        assert!(status < 300, "{path}: {status} {body}");
        body
    }

    /// What a path without the envelope answers.
    pub(crate) async fn raw(&self, token: &str, verb: Verb, path: &str, data: Value) -> Value {
        let Value::Object(data) = data else { panic!("{data} is no object") };
        match self.core.handle(self.incoming(token, verb, path, data)).await.body {
            OutgoingBody::Raw(_, body) => serde_json::from_slice(&body).unwrap(),
            _ => panic!("{path} answers with the envelope"),
        }
    }

    /// A token of root's making.
    pub(crate) async fn token(&self, data: Value) -> String {
        let body = self.ok(Verb::Write, "auth/token/create", data).await;
        body["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// Writes a policy.
    pub(crate) async fn policy(&self, name: &str, text: &str) {
        let path = format!("sys/policies/acl/{name}");
        self.ok(Verb::Write, &path, json!({ "policy": text })).await;
    }

    /// Whether the token is valid.
    pub(crate) async fn is_live(&self, token: &str) -> bool {
        let body = json!({ "token": token });
        let root = self.root.clone();
        self.call(&root, Verb::Write, "auth/token/lookup", body).await.0 == 200
    }

    /// Revokes what is due, as the task in the background does.
    pub(crate) async fn reap(&self) {
        let vault = self.core.vault();
        revoke_all_due(&vault, &CancellationToken::new()).await.unwrap();
    }

    /// All keys of the store under `prefix`.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        self.entries.scan(prefix).await.unwrap()
    }

    /// Waits until `condition` holds, while background tasks run.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        for _ in 0..2000 {
            if condition(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("waited in vain until {what}");
    }
}

/// What a path that needs no token answers, without the envelope.
pub(crate) async fn raw_json(server: &Server, path: &str) -> Value {
    server.raw("", Verb::Read, path, json!({})).await
}

fn split(outgoing: Outgoing) -> (u16, Value) {
    let body = match outgoing.body {
        OutgoingBody::Empty | OutgoingBody::Messages(_) | OutgoingBody::Lines(_) => Value::Null,
        OutgoingBody::Json(body) => body,
        OutgoingBody::Raw(..) => json!("raw"),
    };
    (outgoing.status, body)
}

/// Entries whose commits fail once a number of them is used up: a crash at any moment.
pub(crate) struct Fragile {
    inner: Arc<dyn Entries>,
    left: AtomicU64,
}

impl Fragile {
    /// `inner`, of which `left` more commits succeed.
    pub(crate) fn new(inner: Arc<dyn Entries>, left: u64) -> Arc<Self> {
        Arc::new(Self { inner, left: AtomicU64::new(left) })
    }
}

#[async_trait]
impl Entries for Fragile {
    async fn get(&self, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, EntryError> {
        self.inner.get(key).await
    }

    async fn list_page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<String>, EntryError> {
        self.inner.list_page(prefix, after, limit).await
    }

    async fn scan(&self, prefix: &str) -> Result<Vec<String>, EntryError> {
        self.inner.scan(prefix).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), EntryError> {
        let took = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        match took {
            Ok(_) => self.inner.commit(batch).await,
            Err(_) => Err(EntryError::Storage("the machine has stopped".into())),
        }
    }
}
