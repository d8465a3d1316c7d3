//! What the tests of every engine need: a backend on a store in memory, and requests.

use std::sync::Arc;

use holdfast_barrier::{MemoryEntries, View};
use holdfast_logical::{
    Backend, Caller, Connection, Context, Error, MountInfo, Operation, Request, Response, TokenKind,
};
use holdfast_testkit::FakeClock;
use holdfast_types::SystemRandom;
use serde_json::Value;

/// A mount to which requests are put.
pub(crate) struct Mount {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) storage: View,
    info: Arc<MountInfo>,
}

impl Mount {
    /// A mount with `options`, at the time 1,000,000.
    pub(crate) async fn new(
        options: &[(&str, &str)],
        factory: impl Fn(Context) -> Arc<dyn Backend>,
    ) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let info = Arc::new(MountInfo {
            options: options.iter().map(own).collect(),
            default_ttl: std::time::Duration::from_secs(2_764_800),
            ..MountInfo::default()
        });
        let clock = Arc::new(FakeClock::at(1_000_000));
        let storage = View::new(Arc::new(MemoryEntries::default()), "logical/");
        let backend = factory(Context {
            storage: storage.clone(),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            mount: info.clone(),
        });
        backend.start().await.expect("the mount starts");
        Self { backend, clock, storage, info }
    }

    /// Puts a request of the token `token`.
    pub(crate) async fn request(
        &self,
        operation: Operation,
        path: &str,
        data: &Value,
        token: &str,
        kind: TokenKind,
    ) -> Result<Option<Response>, Error> {
        let content_type = ("content-type".to_owned(), "application/merge-patch+json".to_owned());
        let request = Request {
            id: "test".to_owned(),
            operation,
            path: path.to_owned(),
            mount: self.info.clone(),
            data: data.as_object().cloned().unwrap_or_default(),
            caller: Some(Caller {
                accessor: String::new(),
                token_hash: token.to_owned(),
                display_name: "token".to_owned(),
                policies: Vec::new(),
                entity_id: String::new(),
                metadata: Default::default(),
                is_root: false,
                kind,
                expires_at: None,
            }),
            connection: Connection::default(),
            headers: [content_type].into(),
            wrap_ttl: None,
        };
        self.backend.handle(&request).await
    }

    /// The same, as status and data (or the refusal's words).
    pub(crate) async fn ask(&self, operation: Operation, path: &str, data: Value) -> (u16, Value) {
        match self.request(operation, path, &data, "token", TokenKind::Service).await {
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
            Err(Error::Denied) => (403, Value::Null),
            Err(error @ Error::Invalid(_)) => (400, error.to_string().into()),
            Err(error) => panic!("{error:?}"),
        }
    }
}
