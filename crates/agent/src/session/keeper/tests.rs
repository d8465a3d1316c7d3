use std::collections::VecDeque;
use std::sync::Mutex;

use holdfast_client::vault::{ApiFailure, VaultConfig};
use holdfast_types::SystemRandom;
use tokio::sync::Notify;

use super::*;

/// A wall clock that goes with tokio's paused time.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_000_000).unwrap() + self.0.elapsed()
    }
}

/// Grants what it is told to, and writes down when it was asked.
#[derive(Default)]
struct Script {
    logins: VecDeque<Result<Life, LoginError>>,
    renewals: VecDeque<Result<Life, VaultError>>,
    alive: Option<bool>,
    calls: Vec<(&'static str, u64)>,
}

struct FakeAuthority {
    script: Arc<Mutex<Script>>,
    started: tokio::time::Instant,
    changed: Arc<Notify>,
}

impl FakeAuthority {
    fn note(&self, call: &'static str) -> std::sync::MutexGuard<'_, Script> {
        let mut script = self.script.lock().unwrap();
        script.calls.push((call, self.started.elapsed().as_secs()));
        script
    }
}

#[async_trait]
impl Authority for FakeAuthority {
    async fn log_in(&mut self) -> Result<Granted, LoginError> {
        let life = self.note("login").logins.pop_front().unwrap_or(Ok(Life::new(3600, true)))?;
        let config = VaultConfig::new("http://127.0.0.1:1".parse().unwrap());
        let client = VaultClient::new(&config).unwrap();
        Ok(Granted::Token { client, accessor: "a".into(), life })
    }

    async fn renew(&mut self, _client: &VaultClient) -> Result<Life, VaultError> {
        self.note("renew").renewals.pop_front().unwrap_or(Ok(Life::new(3600, true)))
    }

    async fn is_alive(&mut self, _client: &VaultClient) -> Option<bool> {
        self.note("look").alive
    }

    async fn changed(&mut self) {
        self.changed.notified().await;
    }

    fn reload(&mut self, server: &ServerConfig) -> Result<VaultClient, ConfigError> {
        server.client()
    }
}

struct World {
    session: Session,
    script: Arc<Mutex<Script>>,
    changed: Arc<Notify>,
    server: watch::Sender<ServerConfig>,
    keeper: tokio::task::JoinHandle<Result<(), LoginError>>,
}

impl World {
    fn start(script: Script, exit_on_err: bool) -> Self {
        let script = Arc::new(Mutex::new(script));
        let started = tokio::time::Instant::now();
        let changed = Arc::new(Notify::new());
        let authority = FakeAuthority { script: script.clone(), started, changed: changed.clone() };
        let (min_backoff, max_backoff) = (Duration::from_secs(1), Duration::from_secs(300));
        let rules = Rules { min_backoff, max_backoff, exit_on_err };
        let clock = Arc::new(PausedClock(started));
        let (server, servers) = watch::channel(server("http://127.0.0.1:1"));
        let (keeper, session) =
            Keeper::new(Box::new(authority), rules, clock, Arc::new(SystemRandom), servers);
        let keeper = tokio::spawn(keeper.run(CancellationToken::new()));
        Self { session, script, changed, keeper, server }
    }

    async fn generation(&self, generation: u64) -> Login {
        let mut states = self.session.states();
        let state = states
            .wait_for(|state| state.login().is_some_and(|it| it.generation == generation))
            .await
            .unwrap();
        state.login().unwrap().clone()
    }

    fn calls(&self) -> Vec<(&'static str, u64)> {
        self.script.lock().unwrap().calls.clone()
    }
}

fn server(address: &str) -> ServerConfig {
    ServerConfig {
        address: address.parse().unwrap(),
        trust: holdfast_client::vault::Trust::System,
        client_certificate: None,
        server_name: None,
        namespace: None,
        max_retries: 0,
    }
}

fn refusal(status: u16) -> VaultError {
    let (method, url) = ("PUT".into(), "u".into());
    let errors = vec!["permission denied".into()];
    VaultError::Denied(Box::new(ApiFailure { method, url, status, errors, raw: false }))
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_and_replaced_and_everybody_hears_of_it() {
    let script = Script {
        renewals: [Ok(Life::new(3600, true)), Ok(Life::new(600, true))].into(),
        ..Script::default()
    };
    let world = World::start(script, false);
    let first = world.generation(1).await;
    let second = world.generation(2).await;
    assert!(second.expires > first.expires);
    let calls = world.calls();
    let names: Vec<_> = calls.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["login", "renew", "renew", "login"]);
    assert!((2040..=2401).contains(&calls[1].1), "after two thirds: {calls:?}");
    let after_cap = calls[3].1 - calls[2].1;
    assert!((340..=401).contains(&after_cap), "before the capped token ends: {calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_renewal_leads_to_a_login_at_once() {
    let world =
        World::start(Script { renewals: [Err(refusal(403))].into(), ..Script::default() }, false);
    world.generation(2).await;
    let calls = world.calls();
    assert_eq!(calls[2], ("login", calls[1].1));
}

#[tokio::test(start_paused = true)]
async fn failed_logins_are_tried_again_with_growing_waits() {
    let failures = (0..6).map(|_| Err(LoginError::Credential("gone".into())));
    let world = World::start(Script { logins: failures.collect(), ..Script::default() }, false);
    world.generation(1).await;
    let calls = world.calls();
    assert_eq!(calls.len(), 7);
    // Six waits of at least 1 s each, and at most of 2, 4, 8, 16, 32, 64.
    assert!((6..=126).contains(&calls[6].1), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn exit_on_err_ends_it() {
    let logins = [Err(LoginError::Credential("gone".into()))].into();
    let world = World::start(Script { logins, ..Script::default() }, true);
    assert!(matches!(world.keeper.await.unwrap(), Err(LoginError::Credential(_))));
}

#[tokio::test(start_paused = true)]
async fn doubts_about_a_dead_token_bring_one_look_and_one_login() {
    let world = World::start(Script { alive: Some(false), ..Script::default() }, false);
    let login = world.generation(1).await;
    for _ in 0..50 {
        world.session.doubt(login.generation);
    }
    world.generation(2).await;
    // What was doubted is gone; the same doubts, late, are about nothing.
    for _ in 0..50 {
        world.session.doubt(login.generation);
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let names: Vec<_> = world.calls().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["login", "look", "login"]);
}

#[tokio::test(start_paused = true)]
async fn another_credential_is_used_at_once() {
    let world = World::start(Script::default(), false);
    world.generation(1).await;
    world.changed.notify_one();
    world.generation(2).await;
    assert_eq!(world.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn settings_that_are_read_anew_change_the_client_and_not_the_login() {
    let world = World::start(Script::default(), false);
    world.generation(1).await;
    let mut states = world.session.states();
    states.borrow_and_update();
    world.server.send(server("http://127.0.0.2:1")).unwrap();
    states.changed().await.unwrap();
    let login = world.session.current().unwrap();
    assert_eq!(login.client.address().to_string(), "http://127.0.0.2:1");
    assert_eq!((login.generation, world.calls().len()), (1, 1));
}
