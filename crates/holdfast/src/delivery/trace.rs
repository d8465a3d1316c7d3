//! `trace`: where a secret went.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use holdfast_agent::generation::SourceRecord;
use holdfast_agent::status::{Status, sockets};
use holdfast_types::{Clock, SystemClock, Timestamp};
use serde::Serialize;

use super::ages::ago;
use super::status::table;

/// Find out where something went.
#[derive(Debug, Subcommand)]
pub(crate) enum Trace {
    Secret(Secret),
}

/// Show which files and processes hold a secret, in which version, and since when.
///
/// It asks the agents on this machine that the caller may ask: the caller's own; for root, all that
/// root started. Values are never shown.
///
/// Exit code: 0 where every holder has the newest version that any agent knows, 1 where some have
/// an older one, 2 where no agent knows the secret.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast trace secret kv/clipper/backend\n  \
                        holdfast trace secret kv/data/clipper/backend --output json")]
pub(crate) struct Secret {
    /// The secret's path, with or without the data/ of KV version 2
    path: String,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Somebody who holds a secret.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Holder {
    /// The secret's path at the API.
    secret: String,
    version: Option<u64>,
    fields: Vec<String>,
    /// The file; for a process the file or variables by which it has it.
    file: Option<String>,
    template: Option<String>,
    /// Who uses it. None for the file itself.
    process: Option<String>,
    pid: Option<i32>,
    since: Option<Timestamp>,
    /// Whether a newer version is known.
    outdated: bool,
    problem: Option<String>,
    agent: String,
}

impl Trace {
    /// Runs the verb.
    pub(crate) fn run(&self) -> ExitCode {
        let Self::Secret(secret) = self;
        match secret.run() {
            Ok(code) => code,
            Err(error) => {
                anstream::eprintln!("{error:#}");
                ExitCode::from(2)
            }
        }
    }
}

impl Secret {
    fn run(&self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let asked = runtime.context("start")?.block_on(super::ask(sockets()));
        let (agents, silent) = asked;
        for why in &silent {
            anstream::eprintln!("{why}");
        }
        let holders = holders(&agents, &self.path);
        match self.output {
            Output::Json => println!("{}", serde_json::to_string_pretty(&holders)?),
            Output::Text if holders.is_empty() => {
                let count = agents.len();
                anstream::eprintln!("no agent here holds {} ({count} asked)", self.path);
            }
            Output::Text => print!("{}", text(&holders, SystemClock.now())),
        }
        Ok(match holders.iter().any(|holder| holder.outdated) {
            _ if holders.is_empty() => ExitCode::from(2),
            true => ExitCode::from(1),
            false => ExitCode::SUCCESS,
        })
    }
}

/// Whether `path` at the API is what `asked` means: `kv/app` means `kv/data/app`, too.
fn is_meant(path: &str, asked: &str) -> bool {
    let asked = asked.trim_matches('/');
    path == asked
        || path.match_indices("/data/").any(|(at, found)| {
            let without = format!("{}/{}", &path[..at], &path[at + found.len()..]);
            without == asked
        })
}

/// All who hold the secret, file by file, each followed by those who use it.
fn holders(agents: &[Status], asked: &str) -> Vec<Holder> {
    let meant = |sources: &[SourceRecord]| {
        sources.iter().find(|source| is_meant(&source.path, asked)).cloned()
    };
    let mut all = Vec::new();
    for agent in agents {
        let holder = |source: SourceRecord| Holder {
            secret: source.path,
            version: source.version,
            fields: source.fields,
            file: None,
            template: None,
            process: None,
            pid: None,
            since: None,
            outdated: false,
            problem: None,
            agent: agent.name.clone(),
        };
        for file in &agent.files {
            let Some(source) = meant(&file.sources) else { continue };
            let path = file.destination.display().to_string();
            all.push(Holder {
                file: Some(path.clone()),
                template: Some(file.template.clone()),
                since: file.changed,
                problem: file.problem.as_ref().map(|problem| problem.message.clone()),
                ..holder(source)
            });
            let users = agent.consumers.iter().filter(|one| one.files.contains(&file.destination));
            for (consumer, source) in users.filter_map(|one| Some((one, meant(&one.holds)?))) {
                all.push(Holder {
                    file: Some(path.clone()),
                    process: Some(consumer.name.clone()),
                    pid: consumer.pid,
                    since: consumer.since,
                    problem: consumer.problem.clone(),
                    ..holder(source)
                });
            }
        }
        // By its environment alone.
        let variables = agent.variables.iter().filter(|one| meant(&one.sources).is_some());
        let names: Vec<_> = variables.map(|one| format!("${}", one.name)).collect();
        let process = agent.consumers.iter().find(|one| one.pid.is_some());
        if let Some((process, source)) = process.and_then(|one| Some((one, meant(&one.holds)?)))
            && !names.is_empty()
        {
            all.push(Holder {
                file: Some(names.join(" ")),
                process: Some(process.name.clone()),
                pid: process.pid,
                since: process.since,
                problem: process.problem.clone(),
                ..holder(source)
            });
        }
    }
    let newest = all.iter().filter_map(|holder| holder.version).max();
    for holder in &mut all {
        holder.outdated = holder.version < newest;
    }
    all
}

fn text(holders: &[Holder], now: Timestamp) -> String {
    let mut table = table(["VERSION", "FILE", "PROCESS", "SINCE", ""]);
    for holder in holders {
        let process = match (&holder.process, holder.pid) {
            (Some(name), Some(pid)) => format!("{name} (pid {pid})"),
            (Some(name), None) => name.clone(),
            (None, _) => String::new(),
        };
        let version = holder.version.map_or_else(|| "-".to_owned(), |version| version.to_string());
        let why = holder.problem.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        let outdated = if holder.outdated { format!("OUTDATED{why}") } else { String::new() };
        let file = holder.file.clone().unwrap_or_default();
        table.add_row([version, file, process, ago(holder.since, now), outdated]);
    }
    let mut secrets: Vec<_> = holders.iter().map(|holder| holder.secret.as_str()).collect();
    secrets.dedup();
    format!("{}\n\n{}\n", secrets.join(", "), table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::{at, example};
    use super::*;

    #[test]
    fn who_holds_a_secret_is_told_by_file_and_process() {
        let mut first = example();
        first.files.truncate(1);
        let all = holders(&[first.clone()], "kv/clipper/backend");
        assert_eq!(all, holders(&[first], "/kv/data/clipper/backend/"));
        insta::assert_snapshot!(text(&all, at(0)));
        assert!(holders(&[example()], "kv/clipper").is_empty());
    }

    #[test]
    fn data_may_be_left_out_wherever_it_stands() {
        for (path, asked, want) in [
            ("kv/data/a", "kv/a", true),
            ("kv/data/a/data/b", "kv/a/data/b", true),
            ("kv/data/a/data/b", "kv/data/a/b", true),
            ("team/kv/data/a", "team/kv/a", true),
            ("kv/data/a", "kv/ab", false),
            ("database/creds/app", "database/creds/app", true),
        ] {
            assert_eq!(is_meant(path, asked), want, "{path} {asked}");
        }
    }
}
