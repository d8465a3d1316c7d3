//! Brings the trust domain's keys to a secrets server of others, which may not reach this machine: each
//! before it signs, for the SPIFFE server lets a key wait until it is told that it is there.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use holdfast_spiffe::Snapshot;
use holdfast_types::{Clock, SystemClock};

use super::super::config::Engine;
use super::super::status::{self, KeysStatus};
use super::super::{delivery, spiffe};
use super::Running;
use crate::apply::{Applier, ApplyError, EngineError, NoHooks};

/// How often it is tried again, at least.
const RETRY: Duration = Duration::from_secs(60);
/// How often keys are compared that nobody told of a change of.
const HOUR: Duration = Duration::from_secs(3600);

/// Does so as long as the platform is up.
pub(super) async fn bring(running: Rc<Running>) {
    let Ok(domain) = running.domain() else { return };
    let mut changed = domain.watch();
    // Those that were there when it last went well.
    let mut there = Vec::new();
    loop {
        let wait = match bring_once(&running, &domain).await {
            Ok(key_ids) => {
                if key_ids != there {
                    tracing::info!("the secrets server has the trust domain's keys");
                }
                there = key_ids;
                let keys = KeysStatus { brought: Some(SystemClock.now()), ..Default::default() };
                *running.keys.borrow_mut() = running.brings_keys().then_some(keys);
                HOUR
            }
            Err(error) => {
                note(&running, &error, is_late(&domain, &there).await);
                running.root.authority_lifetime().map_or(RETRY, |life| RETRY.min(life / 60))
            }
        };
        tokio::select! {
            Ok(()) = changed.changed() => {}
            () = running.applied.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Has the secrets server know the keys as they are now, and the SPIFFE server that it does; gives their
/// ids.
async fn bring_once(running: &Rc<Running>, domain: &spiffe::Domain) -> anyhow::Result<Vec<String>> {
    let snapshot = domain.snapshot().await?;
    // Without services that log in nobody verifies by them.
    if running.brings_keys() {
        write(running, &snapshot).await?;
    }
    let key_ids = spiffe::jwt_key_ids(&snapshot);
    domain.acknowledge(&key_ids).await?;
    Ok(key_ids)
}

async fn write(running: &Rc<Running>, snapshot: &Snapshot) -> anyhow::Result<()> {
    let trust = delivery::Trust::Brought(spiffe::jwt_keys(snapshot)?);
    let object = delivery::trust(&running.platform, &trust);
    let _turn = running.applying.lock().await;
    let vault = running.vault.borrow().clone().context("there is no secrets server")?;
    let applier = Applier {
        engine: &running.log_in(&vault).await?,
        record: &running.state.join("applied.json"),
        hooks: &NoHooks,
        shared: true,
        adopt: false,
        delete_data: false,
    };
    Ok(applier.refresh(&object).await?)
}

/// Whether tokens are signed by a key that is not there. Where that cannot be told it is not said.
async fn is_late(domain: &spiffe::Domain, there: &[String]) -> bool {
    let key_id = domain.signing_key_id("supervisor").await;
    key_id.is_ok_and(|key_id| !there.is_empty() && !there.contains(&key_id))
}

/// Has `status` say that the keys are not there, why, and what mends it.
fn note(running: &Running, error: &anyhow::Error, is_late: bool) {
    let mut problem = format!("{error:#}");
    problem.push_str(if is_late {
        "; tokens are signed by a key that it does not have, and nobody logs in with them"
    } else {
        "; the next key waits for that as long as the one before it is valid"
    });
    let mut keys = running.keys.borrow_mut();
    let keys = keys.get_or_insert_default();
    let command = remedy(running, error);
    if keys.problem.as_ref() != Some(&problem) {
        tracing::error!(command, "bring the trust domain's keys to the secrets server: {problem}");
    }
    (keys.problem, keys.command) = (Some(problem), Some(command));
}

fn remedy(running: &Running, error: &anyhow::Error) -> String {
    let platform = &running.platform;
    let place = status::place(&platform.name, &platform.directory, running.state.directory());
    let Engine::External { address, token_file, .. } = &platform.vault.engine else {
        return format!("holdfast apply{place}");
    };
    match error.downcast_ref() {
        Some(ApplyError::Engine(EngineError::Refused { status: 403, .. })) => match token_file {
            Some(file) => format!("write a token that it takes to {}", file.display()),
            None => format!(
                "holdfast down{place}; then, with a token that it takes in VAULT_TOKEN: holdfast up{place}"
            ),
        },
        Some(ApplyError::Engine(EngineError::Unreachable { .. })) => {
            format!("see that {address} answers; the keys are brought soon after")
        }
        Some(ApplyError::Conflict { .. }) => format!("holdfast apply --adopt{place}"),
        _ => format!("holdfast apply{place}"),
    }
}

impl Running {
    /// Whether a secrets server of others has to be brought keys.
    fn brings_keys(&self) -> bool {
        !self.platform.vault.is_supervised()
            && self.platform.services.values().any(|service| service.policies.is_some())
    }
}
