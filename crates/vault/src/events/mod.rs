//! Changes, told to those who wait for them.
//!
//! An event is sent after the commit that it tells of. It carries no secret, but its path tells
//! that something is there, so it goes only to tokens that may read that path, asked anew for each
//! event. A reader that does not keep up, or whose token has ended, is cut off: it reads anew when
//! it comes back, so that nothing is ever missed by being told late.

mod subscription;

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_logical::{Event, MountInfo};
use holdfast_types::{Clock, Random, Timestamp};
use serde_json::{Value, json};
use tokio::sync::broadcast;

pub(crate) use self::subscription::subscribe;

/// How far the slowest reader may be behind, in events.
const BACKLOG: usize = 1024;
/// Readers at the same time; more are refused.
const READERS: usize = 512;

/// The way from those who change something to those who wait for it.
pub(crate) struct Events {
    sender: broadcast::Sender<Arc<Published>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// An event on its way.
#[derive(Debug)]
struct Published {
    id: String,
    time: Timestamp,
    kind: &'static str,
    /// The whole path.
    data_path: String,
    metadata: BTreeMap<&'static str, String>,
    mount: MountInfo,
    class: &'static str,
}

impl Events {
    pub(crate) fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG), clock, random }
    }

    /// Whether anybody listens: nothing needs to be made for nobody.
    pub(crate) fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Tells of a change at `mount`. Never waits.
    pub(crate) fn publish(&self, mount: &MountInfo, event: Event) {
        let published = Published {
            id: self.random.uuid(),
            time: self.clock.now(),
            kind: event.kind,
            data_path: format!("{}{}", mount.path, event.data_path),
            metadata: event.metadata,
            mount: mount.clone(),
            class: if mount.path.starts_with("auth/") { "auth" } else { "secret" },
        };
        // An error means that nobody listens any more.
        let _ = self.sender.send(Arc::new(published));
    }

    /// Tells what becomes of a lease: `lease/issue`, `lease/renew` or `lease/revoke`. `path` is what
    /// was asked for it, below its mount.
    pub(crate) fn lease(&self, kind: &'static str, mount: &MountInfo, path: &str, id: &str) {
        if self.is_heard() {
            self.publish(mount, Event::new(kind, path).with("lease_id", id));
        }
    }

    /// None where there are as many readers as there may be.
    fn listen(&self) -> Option<broadcast::Receiver<Arc<Published>>> {
        (self.sender.receiver_count() < READERS).then(|| self.sender.subscribe())
    }
}

impl Published {
    /// As `CloudEvents` in JSON, with the members that Vault's clients read.
    fn to_json(&self) -> Value {
        let mut metadata = json!(self.metadata);
        metadata["path"] = json!(self.data_path);
        metadata["data_path"] = json!(self.data_path);
        metadata["modified"] = json!("true");
        json!({
            "id": self.id,
            "source": "holdfast://vault",
            "specversion": "1.0",
            "type": self.kind,
            "datacontenttype": "application/json",
            "time": self.time.to_string(),
            "data": {
                "event_type": self.kind,
                "event": { "id": self.id, "metadata": metadata },
                "plugin_info": {
                    "mount_class": self.class,
                    "mount_accessor": self.mount.accessor,
                    "mount_path": self.mount.path,
                    "plugin": self.mount.kind,
                },
            },
        })
    }
}
