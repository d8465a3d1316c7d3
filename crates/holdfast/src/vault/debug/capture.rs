//! Asking the server, again and again.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use holdfast_client::vault::{
    LogStream, Method, Response, SubscribeError, VaultClient, VaultConfig, VaultError,
};
use holdfast_types::{Clock as _, SystemClock};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, MissedTickBehavior};

use super::bundle::Bundle;
use super::plan::{Plan, Target};
use super::progress;
use crate::vault::connection::explain;

/// What makes a server that is sealed or stands by say how it is all the same. The misspelt word is
/// the official client's.
const HEALTH: [(&str, &str); 7] = [
    ("drsecondarycode", "299"),
    ("haunhealhty", "299"),
    ("performancestandbycode", "299"),
    ("removedcode", "299"),
    ("sealedcode", "299"),
    ("standbycode", "299"),
    ("uninitcode", "299"),
];

/// What an OpenBao server tells of its own process at once.
const PROFILES: [&str; 5] = ["allocs", "block", "goroutine", "heap", "mutex"];

/// What a target gave.
pub(super) struct Collected {
    pub(super) target: Target,
    pub(super) documents: Vec<Value>,
    pub(super) problems: Vec<Problem>,
}

/// Why something is missing; as `index.json` has it.
#[derive(serde::Serialize)]
pub(super) struct Problem {
    error: String,
    target: String,
    timestamp: String,
}

impl Problem {
    fn new(target: impl Into<String>, error: String) -> Self {
        Self { error, target: target.into(), timestamp: SystemClock.now().to_string() }
    }
}

/// Collects what the plan names.
pub(super) struct Capture<'a> {
    pub(super) client: VaultClient,
    pub(super) plan: &'a Plan,
    pub(super) log_format: &'a str,
}

/// How the server is.
pub(super) async fn health(client: &VaultClient) -> Result<Value, VaultError> {
    client.request(Method::GET, "sys/health", None, &HEALTH).await?.success()?.json()
}

impl Capture<'_> {
    /// What does not change.
    pub(super) async fn collect_once(&self) -> Vec<Collected> {
        let mut all = Vec::new();
        if self.plan.has(Target::Config) {
            progress("configuration state", None);
            let mut collected = Collected::new(Target::Config);
            let answer = self.data("sys/config/state/sanitized").await;
            collected.take(answer.map(|config| json!({ "config": config })));
            all.push(collected);
        }
        all
    }

    /// The rest, until the time is over or somebody interrupts.
    pub(super) async fn collect(&self, config: &VaultConfig, bundle: &Bundle) -> Vec<Collected> {
        let until = Instant::now() + self.plan.duration;
        let interrupted = async {
            // Where signals cannot be heard of, the time ends it.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let targets = self.plan.targets.iter().filter(|target| **target != Target::Config);
        let all = targets.map(|target| {
            let mut stopped = stopped.clone();
            async move {
                let mut collected = Collected::new(*target);
                let work = self.follow(&mut collected, until, config, bundle);
                tokio::select! {
                    () = work => {}
                    _ = stopped.changed() => {}
                }
                collected
            }
        });
        let all = futures_util::future::join_all(all);
        let mut all = std::pin::pin!(all);
        tokio::select! {
            collected = &mut all => collected,
            () = interrupted => {
                let _ = stop.send(true);
                all.await
            }
        }
    }

    async fn follow(
        &self,
        collected: &mut Collected,
        until: Instant,
        config: &VaultConfig,
        bundle: &Bundle,
    ) {
        let every = match collected.target {
            Target::Log => {
                let log = self.log(until, config, bundle);
                return collected.problems.extend(log.await.err());
            }
            Target::Metrics => self.plan.metrics_interval,
            _ => self.plan.interval,
        };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for count in 0.. {
            // A look is due at the very end, too.
            let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(100);
            if tokio::time::timeout(left, ticks.tick()).await.is_err() {
                return;
            }
            self.look(collected, count, bundle).await;
        }
    }

    async fn look(&self, collected: &mut Collected, count: usize, bundle: &Bundle) {
        match collected.target {
            Target::Host => {
                progress("host information", Some(count));
                collected.take(self.data("sys/host-info").await.map(Value::Object));
            }
            Target::Requests => {
                progress("in-flight request status", Some(count));
                let requests = self.json("sys/in-flight-req").await;
                collected.take(requests.map(|all| json!({ "in_flight_requests": all })));
            }
            Target::Metrics => {
                progress("metrics", Some(count));
                // They carry a time of their own.
                match self.json("sys/metrics").await {
                    Ok(metrics) => collected.documents.push(metrics),
                    Err(error) => collected.fail(&error),
                }
            }
            Target::ReplicationStatus => {
                progress("replication status", Some(count));
                collected.take(self.data("sys/replication/status").await.map(Value::Object));
            }
            Target::ServerStatus => {
                progress("server status", Some(count));
                let status = async {
                    let health = health(&self.client).await?;
                    Ok(json!({ "health": health, "seal": self.json("sys/seal-status").await? }))
                };
                collected.take(status.await);
            }
            Target::Pprof => {
                progress("pprof data", Some(count));
                for profile in PROFILES {
                    self.profile(collected, profile, bundle).await;
                }
            }
            Target::Config | Target::Log => {}
        }
    }

    /// What a Go program tells of itself; servers that are none have nothing there.
    async fn profile(&self, collected: &mut Collected, profile: &str, bundle: &Bundle) {
        let response =
            self.client.request(Method::GET, &format!("sys/pprof/{profile}"), None, &[]).await;
        let target = format!("pprof.{profile}");
        match response.and_then(Response::success) {
            Ok(response) => {
                let written = bundle.write_profile(profile, response.body.expose());
                collected.problems.extend(written.err().map(|error| Problem::new(target, error)));
            }
            Err(error) => collected.miss(target, &error),
        }
    }

    /// Follows the log.
    async fn log(
        &self,
        until: Instant,
        config: &VaultConfig,
        bundle: &Bundle,
    ) -> Result<(), Problem> {
        let problem = |error: String| Problem::new(Target::Log.name(), error);
        let mut file: File = bundle.log_file().map_err(problem)?;
        let mut log = match LogStream::open(config, "trace", self.log_format).await {
            Ok(log) => log,
            Err(SubscribeError::Server(error)) => return Err(problem(explain(&error))),
            Err(SubscribeError::Config(error)) => return Err(problem(error.to_string())),
        };
        while let Ok(Some(text)) = tokio::time::timeout_at(until, log.next()).await {
            file.write_all(&text).map_err(|error| problem(format!("write the log: {error}")))?;
        }
        Ok(())
    }

    async fn json(&self, path: &str) -> Result<Value, VaultError> {
        self.client.request(Method::GET, path, None, &[]).await?.success()?.json()
    }

    async fn data(&self, path: &str) -> Result<Map<String, Value>, VaultError> {
        let response = self.client.request(Method::GET, path, None, &[]).await?.success()?;
        Ok(response.reply()?.data.unwrap_or_default())
    }
}

impl Collected {
    fn new(target: Target) -> Self {
        Self { target, documents: Vec::new(), problems: Vec::new() }
    }

    /// Keeps what was answered, with the time.
    fn take(&mut self, answer: Result<Value, VaultError>) {
        match answer {
            Ok(mut document) => {
                document["timestamp"] = SystemClock.now().to_string().into();
                self.documents.push(document);
            }
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &VaultError) {
        self.miss(self.target.name().to_owned(), error);
    }

    /// Once is enough for what fails each time alike.
    fn miss(&mut self, target: String, error: &VaultError) {
        let error = explain(error);
        if !self.problems.iter().any(|old| old.target == target && old.error == error) {
            self.problems.push(Problem::new(target, error));
        }
    }
}
