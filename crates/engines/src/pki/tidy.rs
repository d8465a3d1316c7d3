//! Forgetting certificates that have expired.
//!
//! A run goes through the store page by page, in the background; there is one at a time. Stopping
//! it in the middle leaves nothing half done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_barrier::Batch;
use holdfast_keys::x509::Certificate;
use holdfast_logical::{Context, Error, Reply, Request, Response};
use holdfast_types::{Timestamp, rfc3339};
use serde_json::{Map, Value, json};
use tracing::{info, warn};

use super::Engine;
use super::revoke::{Revoked, signed_by};
use super::tidy_config::{OPERATIONS, TidyConfig};

/// The run that is under way, or the last one.
pub(super) struct Tidy {
    status: Mutex<Status>,
    running: AtomicBool,
    cancelled: AtomicBool,
    /// Names the mount in the status, as OpenBao does.
    uuid: String,
}

#[derive(Clone, Default)]
struct Status {
    run: Option<Run>,
    /// When a run was last begun or ended, from which the next is counted.
    last: Option<Timestamp>,
}

#[derive(Clone)]
struct Run {
    config: TidyConfig,
    state: &'static str,
    error: Option<String>,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    message: Option<String>,
    certificates: u64,
    revoked: u64,
    without_issuer: u64,
}

/// Why a run ended before its time.
enum Stopped {
    Cancelled,
    Failed(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<holdfast_barrier::EntryError> for Stopped {
    fn from(error: holdfast_barrier::EntryError) -> Self {
        Self::Failed(error.into())
    }
}

impl Tidy {
    pub(super) fn new(context: &Context) -> Self {
        let status = Status { run: None, last: Some(context.clock.now()) };
        Self {
            status: Mutex::new(status),
            running: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            uuid: context.random.uuid(),
        }
    }

    /// Ends a run at its next entry.
    pub(super) fn stop(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn count(&self, change: impl FnOnce(&mut Run)) {
        self.update(|status| {
            if let Some(run) = &mut status.run {
                change(run);
            }
        });
    }

    fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Engine {
    pub(super) async fn start_tidy(self: &Arc<Self>, request: &Request) -> Reply {
        let config = TidyConfig::once(request.fields())?;
        let does_anything = config.does_anything();
        if !self.run_tidy(config) {
            return Ok(Some(Response::default().warn("Tidy operation already in progress.")));
        }
        let warning = match does_anything {
            true => "Tidy operation successfully started. Any information from the operation will \
                     be printed to OpenBao's server logs."
                .to_owned(),
            false => format!(
                "Manual tidy requested but no tidy operations were set. Enable at least one tidy \
                 operation to be run ({OPERATIONS})."
            ),
        };
        Ok(Some(Response::default().warn(warning).status(202)))
    }

    /// Begins a run when the time has come.
    pub(super) async fn auto_tidy(self: &Arc<Self>) -> Result<(), Error> {
        let config = self.tidy_config().await?;
        if !config.enabled || config.interval_duration.is_zero() {
            return Ok(());
        }
        let last = self.tidy.status().last;
        let now = self.context.clock.now();
        if last.is_none_or(|last| now >= last + config.interval_duration) {
            self.run_tidy(config);
        }
        Ok(())
    }

    /// Begins a run in the background, unless one is under way.
    fn run_tidy(self: &Arc<Self>, config: TidyConfig) -> bool {
        if self.tidy.running.swap(true, Ordering::SeqCst) {
            return false;
        }
        self.tidy.cancelled.store(false, Ordering::SeqCst);
        let now = self.context.clock.now();
        self.tidy.update(|status| {
            status.last = Some(now);
            status.run = Some(Run {
                config: config.clone(),
                state: "Running",
                error: None,
                started_at: now,
                finished_at: None,
                message: None,
                certificates: 0,
                revoked: 0,
                without_issuer: 0,
            });
        });
        let engine = self.clone();
        tokio::spawn(async move {
            let ended = engine.tidy_all(&config).await;
            engine.end_tidy(ended);
        });
        true
    }

    fn end_tidy(&self, ended: Result<(), Stopped>) {
        let now = self.context.clock.now();
        let (state, error) = match ended {
            Ok(()) => ("Finished", None),
            Err(Stopped::Cancelled) => ("Cancelled", Some("tidy operation cancelled".to_owned())),
            Err(Stopped::Failed(error)) => {
                warn!(%error, "tidy certificates");
                ("Error", Some(error.to_string()))
            }
        };
        self.tidy.update(|status| {
            if state == "Finished" {
                status.last = Some(now);
            }
            if let Some(run) = &mut status.run {
                run.state = state;
                run.error = error.filter(|_| state == "Error");
                run.finished_at = Some(now);
                if state == "Finished" {
                    run.message = None;
                }
            }
        });
        self.tidy.running.store(false, Ordering::SeqCst);
    }

    async fn tidy_all(&self, config: &TidyConfig) -> Result<(), Stopped> {
        let mut rebuild = false;
        if config.tidy_cert_store || config.tidy_invalid_certs {
            rebuild |= self.tidy_certificates(config).await?;
        }
        let assoc = config.tidy_revoked_cert_issuer_associations;
        if config.tidy_revoked_certs || assoc || config.tidy_invalid_certs {
            rebuild |= self.tidy_revoked(config).await?;
        }
        if rebuild && !self.crl_config().await?.auto_rebuild {
            self.rebuild_lists(false).await?;
        }
        if config.tidy_expired_issuers {
            self.tidy_issuers(config).await?;
        }
        Ok(())
    }

    /// Goes on, after the pause between two entries.
    async fn next_entry(&self, config: &TidyConfig) -> Result<(), Stopped> {
        if self.tidy.cancelled.load(Ordering::SeqCst) {
            return Err(Stopped::Cancelled);
        }
        if !config.pause_duration.is_zero() {
            tokio::time::sleep(config.pause_duration).await;
        }
        Ok(())
    }

    /// Issued certificates. Gives whether one of them was on a list.
    async fn tidy_certificates(&self, config: &TidyConfig) -> Result<bool, Stopped> {
        let storage = &self.context.storage;
        let (mut after, mut total, mut listed) = (None::<String>, 0, false);
        loop {
            let page = storage.list_page("certs/", after.as_deref(), Some(config.page())).await?;
            let Some(last) = page.last().cloned() else { return Ok(listed) };
            for (index, number) in page.iter().enumerate() {
                self.next_entry(config).await?;
                self.tidy.count(|run| {
                    run.message = Some(format!(
                        "Tidying certificate store: checking entry {index} of {} on current page; \
                         total certs checked: {}",
                        config.page_size,
                        total + index
                    ));
                });
                listed |= self.tidy_certificate(config, number).await?;
            }
            total += page.len();
            after = Some(last);
        }
    }

    async fn tidy_certificate(&self, config: &TidyConfig, number: &str) -> Result<bool, Stopped> {
        let storage = &self.context.storage;
        let path = format!("certs/{number}");
        let Some(der) = storage.get(&path).await? else { return Ok(false) };
        let mut batch = Batch::new();
        let mut listed = false;
        match Certificate::from_der(&der) {
            Err(_) if config.tidy_invalid_certs => batch.delete(path),
            Ok(certificate) if config.tidy_cert_store => {
                let now = self.context.clock.now();
                let revoked = format!("revoked/{number}");
                let is_revoked = storage.get(&revoked).await?.is_some();
                let buffer = match is_revoked {
                    true => config.revoked_safety_buffer(),
                    false => config.safety_buffer,
                };
                if has_passed(now, certificate.not_after, buffer) {
                    batch.delete(path);
                    if is_revoked && config.tidy_revoked_certs {
                        batch.delete(revoked);
                        listed = true;
                    }
                }
            }
            _ => {}
        }
        if !batch.is_empty() {
            storage.commit(batch).await?;
            self.tidy.count(|run| {
                run.certificates += 1;
                run.revoked += u64::from(listed);
            });
        }
        Ok(listed)
    }

    /// Revoked certificates. Gives whether one of them was on a list.
    async fn tidy_revoked(&self, config: &TidyConfig) -> Result<bool, Stopped> {
        let storage = &self.context.storage;
        let (mut after, mut total, mut listed) = (None::<String>, 0, false);
        loop {
            let page = storage.list_page("revoked/", after.as_deref(), Some(config.page())).await?;
            let Some(last) = page.last().cloned() else { return Ok(listed) };
            for (index, number) in page.iter().enumerate() {
                self.next_entry(config).await?;
                self.tidy.count(|run| {
                    run.message = Some(format!(
                        "Tidying revoked certificates: checking certificate {index} of {} on \
                         current page; total revoked certs checked: {}",
                        page.len(),
                        total + index
                    ));
                });
                let _revocations = self.revocations.lock().await;
                listed |= self.tidy_revocation(config, number).await?;
            }
            total += page.len();
            after = Some(last);
        }
    }

    async fn tidy_revocation(&self, config: &TidyConfig, number: &str) -> Result<bool, Stopped> {
        let storage = &self.context.storage;
        let path = format!("revoked/{number}");
        let Some(mut revoked) = storage.get_json::<Revoked>(&path).await? else {
            return Ok(false);
        };
        let mut batch = Batch::new();
        let mut listed = false;
        match revoked.certificate() {
            None if config.tidy_invalid_certs => batch.delete(path),
            None => {}
            Some(certificate) => {
                let now = self.context.clock.now();
                let buffer = config.revoked_safety_buffer();
                if config.tidy_revoked_certs && has_passed(now, certificate.not_after, buffer) {
                    batch.delete(path);
                    batch.delete(format!("certs/{number}"));
                    listed = true;
                } else if config.tidy_revoked_cert_issuer_associations {
                    let authorities = self.store.authorities().await?;
                    let is_known = |id: &String| authorities.issuers.contains_key(id);
                    if !revoked.issuer.as_ref().is_some_and(is_known) {
                        self.tidy.count(|run| run.without_issuer += 1);
                        revoked.issuer = signed_by(&authorities, &certificate);
                        storage.put_json(&path, &revoked).await?;
                    }
                }
            }
        }
        if !batch.is_empty() {
            storage.commit(batch).await?;
            self.tidy.count(|run| run.revoked += 1);
        }
        Ok(listed)
    }

    /// Issuers that expired long ago. The default stays.
    async fn tidy_issuers(&self, config: &TidyConfig) -> Result<(), Stopped> {
        let mut change = self.store.change().await?;
        let now = self.context.clock.now();
        let default = change.authorities.config.default.clone();
        let expired: Vec<_> = change
            .authorities
            .issuers
            .values()
            .filter(|i| has_passed(now, i.certificate.not_after, config.issuer_safety_buffer))
            .filter(|issuer| issuer.entry.id != default)
            .cloned()
            .collect();
        if expired.is_empty() {
            return Ok(());
        }
        for issuer in expired {
            info!(
                issuer = issuer.entry.id,
                name = issuer.entry.name,
                "an expired issuer is removed"
            );
            change.remove_issuer(&issuer.entry.id)?;
        }
        change.commit().await?;
        self.rebuild_lists(false).await?;
        Ok(())
    }

    pub(super) fn cancel_tidy(&self) -> Reply {
        if !self.tidy.running.load(Ordering::SeqCst) {
            return Ok(Some(
                Response::default()
                    .warn("Tidy operation cannot be cancelled as none is currently running."),
            ));
        }
        self.tidy.stop();
        self.tidy.count(|run| {
            if run.finished_at.is_none() {
                run.state = "Cancelling";
            }
        });
        self.tidy_status()
    }

    pub(super) fn tidy_status(&self) -> Reply {
        let status = self.tidy.status();
        let mut data: Map<String, Value> = TidyConfig::default()
            .operations()
            .into_iter()
            .map(|(name, _)| (name, Value::Null))
            .collect();
        for name in [
            "error",
            "time_started",
            "time_finished",
            "message",
            "cert_store_deleted_count",
            "revoked_cert_deleted_count",
            "missing_issuer_cert_count",
            "current_cert_store_count",
            "current_revoked_cert_count",
            "total_acme_account_count",
            "acme_account_deleted_count",
            "acme_account_revoked_count",
            "acme_orders_deleted_count",
        ] {
            data.insert(name.to_owned(), Value::Null);
        }
        data.insert("state".to_owned(), json!("Inactive"));
        data.insert("internal_backend_uuid".to_owned(), json!(self.tidy.uuid));
        if let Some(run) = status.run {
            let last = status.last.map_or(Value::Null, |last| json!(rfc3339(last)));
            data.insert("last_auto_tidy_finished".to_owned(), last);
            run.describe(&mut data);
        }
        Ok(Some(Response { data: Some(data), ..Response::default() }))
    }
}

/// Whether `end` is longer ago than `buffer`. What has no end has never passed.
fn has_passed(now: Timestamp, end: Timestamp, buffer: Duration) -> bool {
    end.checked_add(buffer).is_ok_and(|end| now > end)
}

impl Run {
    fn describe(self, data: &mut Map<String, Value>) {
        data.extend(self.config.operations());
        let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
        set("state", json!(self.state));
        set("error", json!(self.error));
        set("time_started", json!(rfc3339(self.started_at)));
        set("time_finished", json!(self.finished_at.map(rfc3339)));
        set("message", json!(self.message));
        set("cert_store_deleted_count", json!(self.certificates));
        set("revoked_cert_deleted_count", json!(self.revoked));
        set("missing_issuer_cert_count", json!(self.without_issuer));
        for name in [
            "total_acme_account_count",
            "acme_account_deleted_count",
            "acme_account_revoked_count",
            "acme_orders_deleted_count",
        ] {
            set(name, json!(0));
        }
    }
}
