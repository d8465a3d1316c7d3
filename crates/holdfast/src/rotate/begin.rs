//! How a process comes to work on a rotation: it begins one, or takes over one whose process is gone.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use holdfast_client::vault::VaultClient;
use holdfast_types::{Random, SecretString, SystemRandom};
use tokio::time::{Duration, Instant, sleep};

use super::drive::{Named, Rotation, SILENCE, now};
use super::lifecycle::{Event, Next};
use super::owner::{Life, Owner};
use super::plan::{Plan, Wishes};
use super::record::Record;
use super::store::{self, Store, Written};
use super::target::Target;
use super::teller::Teller;
use super::trouble::Trouble;

/// What an operator wants.
pub(crate) enum Wish {
    /// A new credential. Goes on with a rotation whose process is gone.
    Begin { wishes: Wishes, given: Option<SecretString> },
    /// Go on with one that stands still.
    Retry,
    /// The old credential back.
    Rollback,
}

/// Claims the rotation of `target`.
///
/// # Errors
/// Somebody else works on it, or there is nothing to do what was asked for. Nothing was changed.
pub(crate) async fn begin<'a>(
    client: VaultClient,
    store: Store,
    target: Target,
    named: Named,
    wish: Wish,
    teller: &'a Teller,
) -> anyhow::Result<Rotation<'a>> {
    let path = target.path();
    let random: &dyn Random = &SystemRandom;
    let owner = Owner::this(random.uuid());
    let (found, version) = store.load(&path).await.map_err(Trouble::into_error)?;
    let under_way = found.as_ref().is_some_and(|found| !found.is_over());
    let (record, given) = match (found, wish) {
        (Some(found), wish) if under_way => {
            let record = take_over(&store, found, owner.clone(), teller).await?;
            (resume(record, &wish)?, None)
        }
        (before, Wish::Begin { wishes, given }) => {
            let plan = plan(&client, &target, &wishes).await?;
            let id = random.uuid();
            let record = Record::new(id, path.clone(), plan, owner.clone(), before, now());
            (record, given)
        }
        (Some(found), _) => bail!("the rotation of {path} is over: {}", found.phase.name()),
        (None, _) => bail!("no rotation of {path} is known"),
    };
    let cluster = client.health().await.ok().and_then(|health| health.cluster_id);
    let mut rotation = Rotation {
        client,
        store,
        target,
        record,
        owner,
        version,
        cluster,
        given,
        named,
        teller,
        staged: None,
        admin: None,
        beaten: Instant::now(),
    };
    rotation.record.beat += 1;
    match rotation.store.save(&rotation.record, version).await.map_err(Trouble::into_error)? {
        Written::As(version) => rotation.version = version,
        Written::Overtaken => bail!("somebody else has just begun to work on {path}"),
    }
    Ok(rotation)
}

/// How the target is rotated.
async fn plan(client: &VaultClient, target: &Target, wishes: &Wishes) -> anyhow::Result<Plan> {
    let Target::Kv { mount, name } = target else { return Ok(Plan::of_engine(wishes)) };
    let metadata = store::metadata(client, &format!("{mount}/metadata/{name}")).await;
    let metadata = metadata.map_err(Trouble::into_error).context("read its metadata")?;
    let metadata: BTreeMap<String, String> = metadata
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
        .collect();
    Plan::of(&metadata, wishes).with_context(|| format!("{} is not rotated", target.path()))
}

/// Takes a rotation over from a process that is gone. One of another machine is watched for a
/// while; clocks are not compared.
async fn take_over(
    store: &Store,
    mut found: Record,
    owner: Owner,
    teller: &Teller,
) -> anyhow::Result<Record> {
    if let Some(other) = found.owner.clone() {
        let busy = || {
            format!(
                "a rotation of {} is under way since {}, by process {} of {}",
                found.path, found.started, other.pid, other.host
            )
        };
        match other.life() {
            Life::Alive => bail!(busy()),
            Life::Dead => {}
            Life::Elsewhere => {
                teller.note(&format!("{}: is it alive?", busy()));
                let deadline = Instant::now() + SILENCE;
                while Instant::now() < deadline {
                    sleep(Duration::from_secs(1)).await;
                    let (again, _) = store.load(&found.path).await.map_err(Trouble::into_error)?;
                    let beat = again.map(|again| again.beat);
                    ensure!(beat == Some(found.beat), "{}, which lives", busy());
                }
            }
        }
        teller.note(&format!("goes on from {}, where {} was", found.phase.name(), other.pid));
        let note = format!("taken over from process {} of {}", other.pid, other.host);
        found.note(note, now());
    }
    found.owner = Some(owner);
    Ok(found)
}

/// Sets the direction.
fn resume(mut record: Record, wish: &Wish) -> anyhow::Result<Record> {
    match wish {
        Wish::Begin { given: Some(_), .. } => bail!(
            "a rotation of {} is not finished, and has a value of its own: holdfast rotate retry, \
             or rollback, first",
            record.path
        ),
        Wish::Begin { .. } if record.held => bail!(
            "a rotation of {} stands still in {} ({}): holdfast rotate retry, or rollback",
            record.path,
            record.phase.name(),
            record.problem.as_deref().unwrap_or("no reason is known")
        ),
        Wish::Begin { .. } => {}
        Wish::Retry => {
            if record.phase.is_forward() {
                record.problem = None;
            }
            // What may be tried again has its whole time again.
            record.since = now();
        }
        Wish::Rollback => {
            let next = record.plan.kind.next(record.phase, record.reached, Event::GoBack);
            let Next::Enter(phase) = next else {
                bail!(
                    "{} cannot be rolled back: its engine has forgotten the password before",
                    record.path
                )
            };
            if record.phase.is_forward() {
                record.problem.get_or_insert_with(|| "an operator asked for it".to_owned());
                record.enter(phase, now());
            }
        }
    }
    record.held = false;
    Ok(record)
}
