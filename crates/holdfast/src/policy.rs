//! `holdfast policy`: policies looked at before a server has them.

mod seen;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::ValueEnum;
use holdfast_client::vault::{Method, Reply, Response};
use holdfast_policy::{Acl, Policy, SeenMount};
use holdfast_types::{Clock, SystemClock};

use crate::finding::Finding;
use crate::vault::Connection;
use crate::why::print;
pub(crate) use seen::{Seen, given, name_of, read};

/// Look at policies before a server has them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PolicyCommand {
    Lint(Lint),
}

/// Find rules that do not do what they look like.
///
/// Exit code 0: nothing is wrong. 1: something is. 2: a file cannot be read, or is no policy.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdfast policy lint examples/zero-trust           a platform directory: its mounts are known
  holdfast policy lint web.hcl --uses kv/data/web/db is a path that is in use covered?
  holdfast policy lint policies/ --address https://vault.example:8200")]
pub(crate) struct Lint {
    /// Policies, directories of them, or a platform directory.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// A path that is in use, which a rule has to cover; may be repeated.
    #[arg(long, value_name = "PATH")]
    uses: Vec<String>,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl PolicyCommand {
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Self::Lint(lint) => lint.run(),
        }
    }
}

impl Lint {
    fn run(&self) -> ExitCode {
        match self.look() {
            Ok((problems, broken)) => {
                let code = if broken { 2 } else { u8::from(!problems.is_empty()) };
                match self.print(&problems) {
                    Ok(()) => ExitCode::from(code),
                    Err(_) => ExitCode::from(2),
                }
            }
            Err(error) => {
                eprintln!("holdfast: {error:#}");
                ExitCode::from(2)
            }
        }
    }

    /// All that is wrong, and whether a policy could not be read.
    fn look(&self) -> anyhow::Result<(Vec<Finding>, bool)> {
        let mut seen = Seen::default();
        for path in &self.paths {
            seen.add(path)?;
        }
        if self.connection.has_address() {
            seen.mounts.extend(self.mounts()?);
        }
        let (mut findings, policies) = seen.findings();
        let broken = findings.iter().any(|finding| finding.rule == seen::NO_POLICY);
        findings.extend(self.uncovered(&seen, &policies));
        findings.extend(seen.unused());
        Ok((findings, broken))
    }

    fn mounts(&self) -> anyhow::Result<Vec<SeenMount>> {
        let client = self.connection.connect(None)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let response = runtime.block_on(client.request(Method::GET, "sys/mounts", None, &[]));
        let reply: Reply =
            response.and_then(Response::success).context("read the server's mounts")?.parse()?;
        let rows = reply.data.unwrap_or_default();
        Ok(rows.iter().map(|(path, row)| seen::mount(path, row)).collect())
    }

    /// Paths in use that no policy has a rule for.
    fn uncovered(&self, seen: &Seen, policies: &[Arc<Policy>]) -> Vec<Finding> {
        let acl = Acl::new(policies.iter().cloned(), SystemClock.now());
        let Some(file) = seen.files.first() else { return Vec::new() };
        let open = self.uses.iter().filter(|path| acl.find(path, true).is_none());
        open.map(|path| Finding {
            file: file.clone(),
            at: None,
            also: Vec::new(),
            rule: "not-covered",
            message: format!("{path} is in use, and no rule of any policy covers it"),
            fix: format!("add path {path:?} {{ capabilities = [\"read\"] }} to a policy"),
        })
        .collect()
    }

    fn print(&self, findings: &[Finding]) -> anyhow::Result<()> {
        if self.output == Output::Json {
            let rows: Vec<_> = findings.iter().map(Finding::to_json).collect();
            return print(&format!("{}\n", serde_json::to_string_pretty(&rows)?));
        }
        for finding in findings {
            eprintln!("{:?}", finding.report());
        }
        print(&match findings.len() {
            0 => "nothing is wrong\n".to_owned(),
            1 => "1 problem\n".to_owned(),
            count => format!("{count} problems\n"),
        })
    }
}
