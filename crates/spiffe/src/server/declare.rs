//! Keeps the entries what the files declare.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Shared;
use super::registrar::{Reconciled, RegistrarError};
use super::rules::{Declared, Problems, RuleSettings, Signature, signature};

/// How often files are looked at. They are read once they have stayed the same for as long: a file
/// that is half written would take identities away.
const EVERY: Duration = Duration::from_millis(250);

/// Where entries are declared.
#[derive(Debug, Clone)]
pub struct DeclaredIn {
    /// A directory of `ClusterSPIFFEID` and `ClusterStaticEntry`.
    pub rules: Option<PathBuf>,
    /// A file of workloads.
    pub workloads: Option<PathBuf>,
    /// Where the server itself stands.
    pub settings: RuleSettings,
}

/// Why the entries are not what the files say.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// The files are wrong.
    #[error(transparent)]
    Files(#[from] Problems),
    /// The entries could not be kept.
    #[error("declare entries")]
    Registrar(#[from] RegistrarError),
    /// The server ends.
    #[error("the server is ending")]
    Ending,
}

impl DeclaredIn {
    fn read(&self) -> Result<Declared, Problems> {
        Declared::read(self.rules.as_deref(), self.workloads.as_deref())
    }
}

/// Takes over what the files say, now.
pub(super) async fn apply(
    shared: &Shared,
    files: &Arc<DeclaredIn>,
    declared: &Arc<Declared>,
) -> Result<Reconciled, DeclareError> {
    let (files, declared) = (files.clone(), declared.clone());
    // Beside the server, which would answer nobody meanwhile.
    let entries = tokio::task::spawn_blocking(move || declared.entries(&files.settings)).await;
    let entries = entries.map_err(|_| DeclareError::Ending)??;
    Ok(shared.registrar.reconcile(entries).await?)
}

/// Takes over every change of the files, until shutdown. Files that are wrong change nothing, and are
/// told of once. The first look, and one that was asked for, waits for nothing.
pub(super) async fn run(shared: Arc<Shared>, files: DeclaredIn, shutdown: CancellationToken) {
    if files.rules.is_none() && files.workloads.is_none() {
        return;
    }
    let files = Arc::new(files);
    let mut seen: Option<Signature> = None;
    let mut last: Option<Result<Arc<Declared>, Problems>> = None;
    let mut is_settled = false;
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_first = true;
    loop {
        let is_asked = tokio::select! {
            () = shutdown.cancelled() => return,
            () = shared.reread.notified() => true,
            _ = tick.tick() => std::mem::take(&mut is_first),
        };
        let looking = files.clone();
        let look = move || signature(looking.rules.as_deref(), looking.workloads.as_deref());
        let Ok(now) = tokio::task::spawn_blocking(look).await else { return };
        if seen.as_ref() != Some(&now) {
            is_settled = false;
            seen = Some(now);
            if !is_asked {
                continue;
            }
        }
        if is_settled && !is_asked {
            continue;
        }
        let reading = files.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || reading.read()).await else { return };
        let read = read.map(Arc::new);
        is_settled = true;
        if last.as_ref() == Some(&read) {
            continue;
        }
        let outcome = match &read {
            Ok(declared) => apply(&shared, &files, declared).await,
            Err(problems) => Err(problems.clone().into()),
        };
        // What only the store refused is tried again.
        is_settled = !matches!(outcome, Err(DeclareError::Registrar(RegistrarError::Store(_))));
        last = is_settled.then_some(read);
        match outcome {
            Ok(done) if done == Reconciled::default() => {}
            Ok(Reconciled { created, updated, deleted }) => {
                tracing::info!(created, updated, deleted, "declared entries are in force");
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the declared entries stay as they were");
            }
        }
    }
}
