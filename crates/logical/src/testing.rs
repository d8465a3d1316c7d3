//! What the tests of backends need: a mount on a store in memory, and requests to it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_barrier::{MemoryEntries, View};
use holdfast_testkit::FakeClock;
use holdfast_types::{SecretString, SystemRandom};
use serde_json::Value;

use crate::{
    Backend, Caller, Connection, Context, Error, LookedAt, MountInfo, Operation, Passwords, Reply,
    Request, TokenKind,
};

/// A mount to which requests are put.
pub struct Mount {
    /// The backend itself.
    pub backend: Arc<dyn Backend>,
    /// Stands at 1,000,000 seconds until it is moved.
    pub clock: Arc<FakeClock>,
    /// The mount's corner of the store.
    pub storage: View,
    info: Arc<MountInfo>,
}

impl Mount {
    /// A started mount with these options, lives of 32 days, and a store of its own.
    ///
    /// # Panics
    /// The backend does not start.
    pub async fn new(
        options: &[(&str, &str)],
        factory: impl Fn(Context) -> Arc<dyn Backend>,
    ) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let info = Arc::new(MountInfo {
            options: options.iter().map(own).collect(),
            default_ttl: Duration::from_secs(768 * 3600),
            max_ttl: Duration::from_secs(768 * 3600),
            ..MountInfo::default()
        });
        let clock = Arc::new(FakeClock::at(1_000_000));
        let storage = View::new(Arc::new(MemoryEntries::default()), "logical/");
        let backend = factory(Context {
            storage: storage.clone(),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            passwords: Arc::new(OnePassword),
            mount: info.clone(),
        });
        backend.start().await.expect("the mount starts");
        Self { backend, clock, storage, info }
    }

    /// A request by a service token, from 127.0.0.1, with the content type of a patch. What else
    /// a test needs it changes.
    pub fn request(&self, operation: Operation, path: &str, data: &Value) -> Request {
        let content_type = ("content-type".to_owned(), "application/merge-patch+json".to_owned());
        Request {
            id: "test".to_owned(),
            operation,
            path: path.to_owned(),
            mount: self.info.clone(),
            data: data.as_object().cloned().unwrap_or_default(),
            caller: Some(caller("token", TokenKind::Service)),
            connection: Connection {
                remote_address: Some(IpAddr::from([127, 0, 0, 1])),
                ..Connection::default()
            },
            headers: [content_type].into(),
            wrap_ttl: None,
            looked_at: LookedAt::default(),
        }
    }

    /// Puts a request.
    pub async fn put(&self, request: &Request) -> Reply {
        self.backend.handle(request).await
    }

    /// Puts a request and gives what the core would make of the answer: its status, and its data
    /// or the words of the refusal.
    ///
    /// # Panics
    /// The answer is an internal error.
    pub async fn ask(&self, operation: Operation, path: &str, data: Value) -> (u16, Value) {
        let request = self.request(operation, path, &data);
        match self.put(&request).await {
            Ok(None) => match operation {
                Operation::Read | Operation::List => (404, Value::Null),
                _ => (204, Value::Null),
            },
            Ok(Some(response)) => {
                let data = response.data.map(Value::Object);
                (response.status.unwrap_or(200), data.unwrap_or_default())
            }
            Err(Error::Status { status, message }) => (status, message.into()),
            Err(Error::UnsupportedOperation) => (405, Value::Null),
            Err(Error::UnsupportedPath | Error::NotFound) => (404, Value::Null),
            Err(Error::Denied) => (403, Value::Null),
            Err(error) => match error.told() {
                Error::Invalid(_) | Error::Credentials(_) => (400, error.to_string().into()),
                _ => panic!("{error:?}"),
            },
        }
    }

    /// Puts requests one after another; each row is what is asked and the status that must come,
    /// so that a difference shows where it begins.
    ///
    /// # Panics
    /// A status is another.
    pub async fn walk(&self, steps: &[(Operation, &str, Value, u16)]) {
        for (operation, path, data, want) in steps {
            let (status, answer) = self.ask(*operation, path, data.clone()).await;
            assert_eq!(status, *want, "{operation:?} {path} {data}: {answer}");
        }
    }
}

/// The policy `one` makes always the same password; there is no other.
pub struct OnePassword;

#[async_trait]
impl Passwords for OnePassword {
    async fn generate(&self, policy: &str) -> Result<Option<SecretString>, Error> {
        Ok((policy == "one").then(|| SecretString::new("the one password".to_owned())))
    }
}

/// A caller with this token and no rights to speak of.
pub fn caller(token_hash: &str, kind: TokenKind) -> Caller {
    Caller {
        accessor: String::new(),
        token_hash: token_hash.to_owned(),
        display_name: "token".to_owned(),
        policies: Vec::new(),
        entity_id: String::new(),
        metadata: Default::default(),
        is_root: false,
        kind,
        expires_at: None,
    }
}
