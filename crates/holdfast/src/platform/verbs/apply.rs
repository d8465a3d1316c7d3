//! `holdfast plan` and `holdfast apply`.

use std::process::ExitCode;

use super::super::config::Platform;
use super::super::control::{ApplyMode, Request};
use super::super::delivery;
use super::super::spiffe::Declarations;
use super::super::state::State;
use super::status::Output;
use super::{Place, block_on};
use crate::apply::{Desired, Record, Report, least_policy};

/// `holdfast plan`. Ends with 2 when there is something to change.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    place: Place,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// Instead print the least policy, in HCL, that a token for an external secrets server needs to
    /// plan and apply. The platform need not be up.
    #[arg(long, conflicts_with = "output")]
    print_policy: bool,
}

/// `holdfast apply`.
#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    place: Place,
    /// Take over what others made under a name of ours.
    #[arg(long)]
    adopt: bool,
    /// Remove mounts that no file names any more, with everything stored there.
    #[arg(long)]
    delete_data: bool,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
}

impl Plan {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        if self.print_policy {
            self.print_policy()?;
            return Ok(ExitCode::SUCCESS);
        }
        let request = Request::Apply(ApplyMode { plan: true, adopt: false, delete_data: false });
        let report: Report = block_on(self.place.ask(&request))?;
        print(&report, self.output)?;
        Ok(if report.changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }

    /// Names the paths of the directory and, where the platform was started, of what it applied.
    fn print_policy(&self) -> anyhow::Result<()> {
        let platform = Platform::read(&self.place.platform)?;
        let mut desired = Desired::read_without_facts(&platform.directory)?;
        // By which keys services log in does not change what has to be written.
        let declarations = Declarations::read(&platform)?;
        let keys = delivery::Trust::Brought(Vec::new());
        desired.add(delivery::objects(&platform, &declarations, &keys)?);
        let state = State::open(&self.place.state_path()?)?;
        let record = state.map(|state| Record::last(&state.join("applied.json"))).transpose()?;
        print!("{}", least_policy(&desired, record.flatten().as_ref()));
        Ok(())
    }
}

impl Apply {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self { place, adopt, delete_data, output } = self;
        let request = Request::Apply(ApplyMode { plan: false, adopt, delete_data });
        print(&block_on(place.ask(&request))?, output)
    }
}

fn print(report: &Report, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Table => print!("{}", report.text()),
        Output::Json => println!("{}", serde_json::to_string_pretty(report)?),
    }
    Ok(())
}
