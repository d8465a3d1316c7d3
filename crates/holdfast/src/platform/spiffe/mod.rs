//! Workload identity as a part of the platform: the SPIFFE server, the agent of this machine, and
//! whom the supervisor introduces to it.
//!
//! [`server`] and [`agent`] are the two processes, [`declared`] says who is to be who, [`domain`] is
//! the running trust domain as the supervisor sees it, and [`introductions`] tells the agent of each
//! child before that executes.

mod agent;
mod declared;
mod domain;
mod introductions;
mod server;

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::account::Account;
use super::files;

pub(crate) use agent::plan as agent_plan;
pub(crate) use declared::Declarations;
pub(crate) use domain::{Domain, jwt_key_ids, jwt_keys, operators};
pub(crate) use introductions::Introductions;
pub(crate) use server::Server;

/// What the parts are called.
pub(crate) const SERVER: &str = "spiffe-server";
pub(crate) const AGENT: &str = "spiffe-agent";

/// Where server and agent are reached: on the tmpfs, which is there as long as the platform is up.
#[derive(Debug, Clone)]
pub(crate) struct Sockets {
    /// The server's: for the agent, the supervisor and operators.
    pub(crate) server: PathBuf,
    /// The Workload API.
    pub(crate) workload: PathBuf,
    /// The agent's, for operators.
    pub(crate) admin: PathBuf,
}

impl Sockets {
    /// Those of the platform whose tmpfs is `secrets`; workloads may be given another place.
    pub(crate) fn of(secrets: &Path, workload: Option<&PathBuf>) -> Self {
        let agent = secrets.join(AGENT);
        Self {
            server: secrets.join(SERVER).join("server.sock"),
            workload: workload.cloned().unwrap_or_else(|| agent.join("agent.sock")),
            admin: agent.join("admin.sock"),
        }
    }

    /// Makes the directories of the sockets.
    fn make(&self, server: &Account) -> anyhow::Result<()> {
        let directory = |socket: &Path| socket.parent().map(Path::to_owned).context("a directory");
        // Root passes everywhere; without root all is one user's.
        files::directory(&directory(&self.server)?, 0o700, Some(server))?;
        files::directory(&directory(&self.admin)?, 0o711, None)?;
        let workload = directory(&self.workload)?;
        if !workload.exists() {
            files::directory(&workload, 0o755, None)?;
        }
        Ok(())
    }

    /// What clients are given as `SPIFFE_ENDPOINT_SOCKET`.
    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.workload.display())
    }
}
