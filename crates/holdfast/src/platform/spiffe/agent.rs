//! The agent of this machine. It needs no secret: the server knows it by the kernel's word.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use tokio::net::UnixStream;

use super::super::account::Account;
use super::super::config::Platform;
use super::super::launch::{Launch, MARK};
use super::super::part::PartPlan;
use super::super::state::State;
use super::{AGENT, Introductions, Sockets};

/// What the agent calls the socket on which it hears of the supervisor's children.
const INTRODUCTIONS: &str = "introductions";

/// How it is run: as the supervisor's own user, for it looks at the processes of all others.
pub(crate) fn plan(
    platform: &Platform,
    state: &State,
    sockets: &Sockets,
    introductions: Introductions,
    socket: OwnedFd,
) -> anyhow::Result<PartPlan> {
    let account = Account::caller();
    let mut arguments: Vec<OsString> = vec!["spiffe".into(), "agent".into()];
    for (option, path) in [
        ("-socketPath", &sockets.workload),
        ("-adminSocketPath", &sockets.admin),
        ("-serverSocketPath", &sockets.server),
    ] {
        arguments.extend([option.into(), path.into()]);
    }
    for delegate in &platform.spiffe.authorized_delegates {
        arguments.extend(["-authorizedDelegate".into(), delegate.as_str().into()]);
    }
    let launch = Launch {
        program: std::env::current_exe().context("find our own program")?,
        arguments,
        environment: vec![
            (MARK.to_owned(), state.directory().into()),
            ("PATH".to_owned(), "/usr/bin:/bin".into()),
            ("HOME".to_owned(), account.home.clone().into()),
        ],
        directory: state.directory().to_owned(),
        account,
        death_signal: Signal::SIGKILL,
        inherit: Vec::new(),
        socket: Some((INTRODUCTIONS, socket)),
        secrets: None,
        confinement: None,
        cgroup: None,
        introduced: None,
    };
    let workload = sockets.workload.clone();
    Ok(PartPlan {
        name: AGENT.to_owned(),
        launch,
        prepare: Box::new(move || {
            introductions.all_again();
            Ok(())
        }),
        probe: Arc::new(move || {
            let socket = workload.clone();
            Box::pin(async move {
                UnixStream::connect(&socket).await.context("it does not listen yet")?;
                Ok(())
            })
        }),
        stop_signal: Signal::SIGTERM,
        patience: Duration::from_secs(10),
    })
}
