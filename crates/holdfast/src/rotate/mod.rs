//! `holdfast rotate`: changes a secret everywhere it is used, and ends the old one only then.
//!
//! It knows the secrets server by its API alone, agents by their control sockets, and PostgreSQL.
//! [`lifecycle`] decides what comes next, [`drive`] does it, and what is known of a rotation is kept
//! in the secrets server ([`record`]), so that whoever finds one half done can go on with it.

mod admin;
mod agents;
mod back;
mod begin;
mod drive;
mod fields;
mod forward;
mod lifecycle;
mod owner;
mod plan;
mod postgres;
mod prepare;
mod record;
mod show;
mod store;
mod target;
mod teller;
mod trouble;
mod watch;

use std::io::{Read as _, stdin};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand, ValueEnum};
use holdfast_client::vault::VaultClient;
use holdfast_types::{SecretString, Ttl};
use nix::sys::prctl;

use crate::platform::verbs::PlaceOption;
use crate::vault::Connection;
use begin::Wish;
use drive::Named;
use lifecycle::Phase;
pub(crate) use plan::{Plan, Wishes};
use record::Record;
use store::Store;
use target::Target;
use teller::Teller;

/// The largest value that is read from a file, in bytes.
const LARGEST: u64 = 1 << 20;

/// Change a secret everywhere: stage a new one, write it, wait until every consumer uses it, end
/// the old one.
///
/// The secret's custom metadata says how: rotate=postgres for the password of a database role,
/// rotate=value for anything else, rotate=never. A static role of a database engine is rotated by
/// its engine. Agents are asked on their control sockets who has taken up what; a consumer that does
/// not, or any other failure, takes everything back. It can be killed at any moment: the same
/// command goes on.
///
/// Exit code: 0 rotated, 1 nothing was begun, 3 rolled back, 4 it stands still until `rotate retry`
/// or `rotate rollback`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  holdfast rotate kv/clipper/db\n  \
                  holdfast rotate kv/clipper/api-key --as value --field key --value @new-key.txt\n  \
                  holdfast rotate database/static-creds/reporting --timeout 2m\n  \
                  holdfast rotate show kv/clipper/db\n  \
                  holdfast rotate rollback kv/clipper/db"
)]
pub(crate) struct Rotate {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    start: Start,
}

#[derive(Debug, Subcommand)]
enum Other {
    List(List),
    Show(Show),
    Retry(Retry),
    Rollback(Rollback),
}

/// What `rotate PATH` takes.
#[derive(Debug, Args)]
struct Start {
    /// The secret: kv/app/db, or database/static-creds/ROLE
    #[arg(required = true)]
    path: Option<String>,
    /// How it is rotated, where its metadata does not say: value or postgres
    #[arg(long = "as", value_name = "HOW")]
    method: Option<String>,
    /// The field to change [default: `rotate_field` in the metadata, or password]
    #[arg(long, value_name = "NAME")]
    field: Option<String>,
    /// The new value, from a file or standard input [default: a generated one]
    #[arg(long, value_name = "@FILE|-")]
    value: Option<String>,
    /// Agree that the old password ends before consumers have the new one
    #[arg(long)]
    single_role: bool,
    /// How long agents and consumers may take
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m")]
    timeout: Duration,
    /// How long sessions of the old role may go on [default: `rotate_drain`, or 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    drain: Option<Duration>,
    /// On a failure stand still, with both credentials valid, and do not roll back
    #[arg(long)]
    hold: bool,
    /// In the end, destroy the secret's version before
    #[arg(long)]
    destroy_old: bool,
    /// Go on though no agent delivers the secret: nobody is told
    #[arg(long)]
    without_agents: bool,
    /// PEM file of the authority of PostgreSQL's certificate [default: `rotate_ca_file`]
    #[arg(long, value_name = "FILE", env = "PGSSLROOTCERT")]
    postgres_ca: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// What every command here takes.
#[derive(Debug, Args)]
struct Common {
    /// The KV mount that keeps what is known of rotations [default: the secret's own; for a static
    /// role the only one there is]
    #[arg(long, value_name = "MOUNT")]
    records: Option<String>,
    /// The control socket of a further agent; can be given several times
    #[arg(long = "agent", value_name = "SOCKET")]
    agents: Vec<PathBuf>,
    /// Ask only the agents named by --agent, and not those that are found on this machine
    #[arg(long, requires = "agents")]
    no_other_agents: bool,
    /// How to print the outcome
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    place: PlaceOption,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Show all rotations, under way and finished.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast rotate list\n  \
                        holdfast rotate list --records kv --output json")]
struct List {
    #[command(flatten)]
    common: Common,
}

/// Show a rotation: its phase and since when, which credentials are valid, who is still on the old.
///
/// Exit code: 0 under way or rotated, 1 none is known, 3 rolled back, 4 it stands still.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast rotate show kv/clipper/db\n  \
                        holdfast rotate show kv/clipper/db --output json")]
struct Show {
    /// The secret
    path: String,
    #[command(flatten)]
    common: Common,
}

/// Go on with a rotation that stands still, in the direction that it had.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast rotate retry kv/clipper/db")]
struct Retry {
    /// The secret
    path: String,
    #[command(flatten)]
    common: Common,
}

/// Take a rotation back that is not finished: the old credential is valid again, and written back.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  holdfast rotate rollback kv/clipper/db")]
struct Rollback {
    /// The secret
    path: String,
    #[command(flatten)]
    common: Common,
}

impl Rotate {
    /// Runs it, and tells what came of it.
    pub(crate) fn run(self) -> ExitCode {
        // Neither core dumps nor other processes of the user get to see what is staged.
        let _ = prctl::set_dumpable(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = runtime.context("start").and_then(|runtime| {
            runtime.block_on(async {
                match self.other {
                    None => self.start.run().await,
                    Some(Other::List(list)) => show::list(&list.common).await,
                    Some(Other::Show(show)) => show::show(&show.path, &show.common).await,
                    Some(Other::Retry(retry)) => retry.common.lead(&retry.path, Wish::Retry).await,
                    Some(Other::Rollback(back)) => {
                        back.common.lead(&back.path, Wish::Rollback).await
                    }
                }
            })
        });
        match outcome {
            Ok(code) => code,
            Err(error) => {
                anstream::eprintln!("holdfast: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

impl Start {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let given = self.value.as_deref().map(value).transpose()?;
        let wishes = Wishes {
            method: self.method,
            field: self.field,
            single_role: self.single_role,
            drain: self.drain,
            ca_file: self.postgres_ca,
            timeout: self.timeout,
            hold: self.hold,
            destroy_old: self.destroy_old,
            without_agents: self.without_agents,
        };
        let path = self.path.context("which secret?")?;
        self.common.lead(&path, Wish::Begin { wishes, given }).await
    }
}

impl Common {
    /// Works on the rotation of `path` until its end.
    async fn lead(&self, path: &str, wish: Wish) -> anyhow::Result<ExitCode> {
        let client = self.client().await?;
        let target = Target::find(&client, path.trim_matches('/')).await?;
        let store = self.store(&client, &target).await?;
        let teller = Teller::new();
        let named = Named { sockets: self.agents.clone(), no_others: self.no_other_agents };
        let begun = begin::begin(client, store, target, named, wish, &teller).await;
        let mut rotation = match begun {
            Ok(rotation) => rotation,
            Err(error) => {
                teller.end();
                return Err(error);
            }
        };
        let outcome = rotation.run().await;
        if let Err(error) = outcome {
            anstream::eprintln!("holdfast: {error:#}");
            return Ok(ExitCode::from(4));
        }
        self.print(&rotation.record)?;
        Ok(code(&rotation.record))
    }

    async fn client(&self) -> anyhow::Result<VaultClient> {
        crate::why::reach(&self.connection, &self.place).await
    }

    /// Where what is known of a rotation is kept.
    async fn store(&self, client: &VaultClient, target: &Target) -> anyhow::Result<Store> {
        let mount = match (&self.records, target) {
            (Some(mount), _) => mount.trim_matches('/').to_owned(),
            (None, Target::Kv { mount, .. }) => mount.clone(),
            (None, Target::Engine { .. }) => {
                let mut mounts = target::versioned_mounts(client).await?;
                ensure!(
                    mounts.len() == 1,
                    "what is known of a rotation is kept in a KV mount with versions: name it by \
                     --records ({})",
                    if mounts.is_empty() { "there is none".to_owned() } else { mounts.join(", ") }
                );
                mounts.remove(0)
            }
        };
        Ok(Store::new(client.clone(), mount))
    }

    fn print(&self, record: &Record) -> anyhow::Result<()> {
        let text = match self.output {
            Output::Json => format!("{}\n", serde_json::to_string_pretty(record)?),
            Output::Text => show::text(record, drive::now()),
        };
        crate::why::print(&text)
    }
}

/// How a command about a rotation ends.
fn code(record: &Record) -> ExitCode {
    match record.phase {
        _ if record.held => ExitCode::from(4),
        Phase::RolledBack => ExitCode::from(3),
        _ => ExitCode::SUCCESS,
    }
}

/// A value that an operator gives: never on the command line, where others can read it.
fn value(whence: &str) -> anyhow::Result<SecretString> {
    let mut text = zeroize::Zeroizing::new(String::new());
    let read = match (whence, whence.strip_prefix('@')) {
        ("-", _) => stdin().lock().take(LARGEST + 1).read_to_string(&mut text),
        (_, Some(file)) => {
            let file = std::fs::File::open(file).with_context(|| format!("open {file}"))?;
            file.take(LARGEST + 1).read_to_string(&mut text)
        }
        _ => anyhow::bail!("--value takes @FILE or -: others could read it on the command line"),
    };
    read.context("read the new value")?;
    ensure!(text.len() as u64 <= LARGEST, "the new value is longer than 1 MiB");
    let value = text.strip_suffix('\n').unwrap_or(&text);
    ensure!(!value.is_empty(), "the new value is empty");
    Ok(SecretString::from(value))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = Ttl::parse(text).map_err(|error| error.to_string())?.0;
    match duration.as_secs() {
        0 => Err("expected a second or more".to_owned()),
        _ => Ok(duration),
    }
}
