//! The running trust domain, as the supervisor sees it: on the SPIFFE server's own socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use holdfast_spiffe::remote::RemoteSource;
use holdfast_spiffe::{Entry, Snapshot, Source};
use tokio::time::timeout;

use super::declared::is_part;
use super::{Declarations, SERVER, Sockets};
use crate::apply::{Change, ChangeKind, Report};

/// How long the server may take to answer, or to take over what was declared.
const LIMIT: Duration = Duration::from_secs(10);

/// The trust domain, watched.
pub(crate) struct Domain {
    source: RemoteSource,
}

impl Domain {
    /// The server that listens by now.
    pub(crate) fn new(sockets: &Sockets) -> Self {
        Self { source: RemoteSource::unix(&sockets.server) }
    }

    /// What would change, and what would not, if `wanted` were in force.
    pub(crate) async fn compare(&self, wanted: &Declarations) -> anyhow::Result<Report> {
        let snapshot = self.wait(|_| true).await?;
        let mut found: BTreeMap<_, _> = declared(&snapshot).map(|it| (&it.id, it)).collect();
        let mut report = Report::default();
        let mut note = |kind, entry: &Entry| {
            let file = entry.origin.rsplit_once('(').map(|(_, file)| file.trim_end_matches(')'));
            report.changes.push(Change {
                kind,
                path: format!("identity{}", entry.spiffe_id.path()),
                file: file.filter(|_| kind != ChangeKind::Remove).map(str::to_owned),
                fields: Vec::new(),
            });
        };
        let mut unchanged = 0;
        for entry in wanted.entries() {
            let is_shown = !is_part(&entry.spiffe_id);
            match found.remove(&entry.id) {
                Some(there) if is_same(there, entry) => unchanged += usize::from(is_shown),
                _ if !is_shown => {}
                Some(_) => note(ChangeKind::Change, entry),
                None => note(ChangeKind::Create, entry),
            }
        }
        for entry in found.into_values().filter(|entry| !is_part(&entry.spiffe_id)) {
            note(ChangeKind::Remove, entry);
        }
        report.unchanged = unchanged;
        Ok(report)
    }

    /// Returns once `wanted` is in force.
    pub(crate) async fn has(&self, wanted: &Declarations) -> anyhow::Result<()> {
        let is_there = |snapshot: &Snapshot| {
            let found: BTreeMap<_, _> = declared(snapshot).map(|it| (&it.id, it)).collect();
            // An entry under another parent is not shown to the agent of this machine.
            let own = |entry: &&Entry| found.values().any(|it| it.parent == entry.parent);
            let wanted: Vec<_> = wanted.entries().iter().filter(own).collect();
            found.len() == wanted.len()
                && wanted
                    .iter()
                    .all(|entry| found.get(&entry.id).is_some_and(|there| is_same(there, entry)))
        };
        self.wait(is_there).await.map(drop).with_context(|| {
            format!("have the identities of the platform directory in force; see `holdfast logs {SERVER}`")
        })
    }

    async fn wait(&self, is_it: impl Fn(&Snapshot) -> bool) -> anyhow::Result<Arc<Snapshot>> {
        let mut seen = self.source.watch();
        let found = seen.wait_for(|seen| seen.as_deref().is_some_and(&is_it));
        let found = timeout(LIMIT, found).await.context("the SPIFFE server does not answer")??;
        found.clone().context("a snapshot")
    }
}

/// What files declare, and no operator made by hand.
fn declared(snapshot: &Snapshot) -> impl Iterator<Item = &Entry> {
    snapshot.entries.iter().map(Arc::as_ref).filter(|entry| !entry.origin.is_empty())
}

/// Whether they say the same; times and file names aside.
fn is_same(one: &Entry, other: &Entry) -> bool {
    let said = |entry: &Entry| Entry {
        created: other.created,
        revision: 0,
        origin: String::new(),
        ..entry.clone()
    };
    said(one) == said(other)
}
