//! What is known of rotations, for people and programs.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use holdfast_types::Timestamp;

use super::owner::Life;
use super::record::{Credential, Record, Validity};
use super::store::Store;
use super::target::{self, Target};
use super::trouble::Trouble;
use super::watch::behind;
use super::{Common, Output, code, drive};
use crate::delivery::{ages, status::table};

/// `rotate show`.
pub(super) async fn show(path: &str, common: &Common) -> anyhow::Result<ExitCode> {
    let client = common.client().await?;
    let target = Target::find(&client, path.trim_matches('/')).await?;
    let store = common.store(&client, &target).await?;
    let path = target.path();
    let (record, _) = store.load(&path).await.map_err(Trouble::into_error)?;
    let record = record.with_context(|| format!("no rotation of {path} is known"))?;
    common.print(&record)?;
    Ok(code(&record))
}

/// `rotate list`.
pub(super) async fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let client = common.client().await?;
    let mounts = match &common.records {
        Some(mount) => vec![mount.trim_matches('/').to_owned()],
        None => target::versioned_mounts(&client).await?,
    };
    let mut records = Vec::new();
    for mount in mounts {
        let store = Store::new(client.clone(), mount.clone());
        let paths = match store.paths().await {
            Ok(paths) => paths,
            // One mount that the caller may not look at does not hide the others.
            Err(error) if error.status() == Some(403) && common.records.is_none() => {
                anstream::eprintln!("{mount}: you may not look for rotations there");
                continue;
            }
            Err(error) => return Err(error).context("look for rotations"),
        };
        for path in paths {
            let (record, _) = store.load(&path).await.map_err(Trouble::into_error)?;
            records.extend(record);
        }
    }
    // What needs somebody comes first.
    records.sort_by_key(|record| (!record.held, record.is_over(), record.path.clone()));
    let text = match common.output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&records)?),
        Output::Text if records.is_empty() => "no rotation is known\n".to_owned(),
        Output::Text => table_of(&records, drive::now()),
    };
    crate::why::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn table_of(records: &[Record], now: Timestamp) -> String {
    let mut table = table(["SECRET", "PHASE", "SINCE", "BEFORE", ""]);
    for record in records {
        let before = match record.history.len() {
            0 => String::new(),
            1 => "1 rotation".to_owned(),
            number => format!("{number} rotations"),
        };
        let phase = if record.held {
            format!("{} (HELD)", record.phase.name())
        } else {
            record.phase.name().to_owned()
        };
        let since = ages::ago(Some(record.since), now);
        let problem = record.problem.clone().unwrap_or_default();
        table.add_row([record.path.clone(), phase, since, before, problem]);
    }
    format!("{}\n", table.trim_fmt())
}

/// A rotation in words, the worst first.
pub(super) fn text(record: &Record, now: Timestamp) -> String {
    let mut text = String::new();
    let since = ages::ago(Some(record.since), now);
    let _ = write!(text, "{}: {} since {since}", record.path, record.phase.name());
    match &record.owner {
        _ if record.held => text.push_str(", and stands still: holdfast rotate retry, or rollback"),
        Some(owner) => {
            let life = match owner.life() {
                Life::Alive => "",
                Life::Dead => ", which is gone: holdfast rotate retry goes on",
                Life::Elsewhere => " there",
            };
            let _ = write!(text, ", by process {} of {}{life}", owner.pid, owner.host);
        }
        None => {}
    }
    text.push('\n');
    if let Some(problem) = &record.problem {
        let _ = writeln!(text, "  why: {problem}");
    }
    let _ = writeln!(text, "  new: {}", credential(&record.new));
    let _ = writeln!(text, "  old: {}", credential(&record.old));
    if let Some(version) = record.restored {
        let _ = writeln!(text, "  the old value was written back as version {version}");
    }
    for straggler in &record.stragglers {
        let since = ages::ago(straggler.since, now);
        let since = if since.is_empty() { since } else { format!(", since {since}") };
        let _ = writeln!(text, "  STALE: {}{since}", behind(straggler, 1));
    }
    for step in &record.steps {
        let _ =
            writeln!(text, "  {} {}: {}", step.at.strftime("%FT%TZ"), step.phase.name(), step.note);
    }
    for past in record.history.iter().rev() {
        let why = past.problem.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let ended = past.ended.strftime("%FT%TZ");
        let _ = writeln!(text, "  before: {} {ended}{why}", past.outcome.name());
    }
    text
}

fn credential(credential: &Credential) -> String {
    let name = credential.username.as_deref().unwrap_or("the value");
    let validity = match credential.validity {
        Validity::Valid => "valid",
        Validity::Ended => "ended",
        Validity::Unknown => "not in use",
    };
    match credential.version {
        Some(version) => format!("{name}, version {version}, {validity}"),
        None => format!("{name}, {validity}"),
    }
}

#[cfg(test)]
mod tests;
