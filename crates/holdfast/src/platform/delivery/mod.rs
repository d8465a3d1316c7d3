//! Secrets for services. Beside each service that has templates runs an agent: `holdfast vault
//! agent`, as the service's user, which logs in as the service and renders its files.
//!
//! [`login`] is who a service is to the secrets server, [`agent`] the process beside it, [`Place`]
//! where both meet, and [`reload`] how the service learns of a change.

mod agent;
pub(super) mod environment;
mod login;
mod reload;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use holdfast_agent::status::{self as agents, FileState, Status};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::config::{Delivery, Platform};
use super::files;
use super::state::State;
use super::status::DeliveryStatus;

pub(crate) use agent::{Agent, copy_templates, keep_login};
pub(crate) use login::{
    AUDIENCE, OPERATOR_POLICY, OPERATOR_ROLE, OPERATOR_TTL, SUPERVISOR_ROLE, Trust,
    certificate_mount, mount, objects, trust, write as write_login,
};
pub(crate) use reload::follow;

/// How often an agent is asked whether its files are there.
const LOOK: Duration = Duration::from_millis(100);
/// How long a file may have a problem before that counts: the first try can come too early.
const GRACE: Duration = Duration::from_secs(3);
/// How long all files may take where none has a problem.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the secrets of one service are, and what its agent needs: on the tmpfs. The supervisor owns
/// it and most of what is in it; the service, the rest.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    root: PathBuf,
    /// Names the service among all platforms of the machine.
    unique_name: String,
    service: String,
}

impl Place {
    /// That of `service`, with `secrets` the platform's tmpfs.
    pub(crate) fn of(secrets: &Path, state: &State, platform: &Platform, service: &str) -> Self {
        let unique_name = format!("{}-{service}", state.unique_name(&platform.name));
        let root = secrets.join("services").join(service);
        Self { root, unique_name, service: service.to_owned() }
    }

    /// What the service is given: its files.
    pub(crate) fn files(&self) -> PathBuf {
        self.root.join("files")
    }

    /// Where its agent answers how things are.
    pub(crate) fn socket(&self) -> PathBuf {
        self.run().join("control.sock")
    }

    /// The number of the generation that the files are of.
    pub(crate) fn generation(&self) -> Option<u64> {
        reload::current(&self.files())
    }

    /// The agent's own.
    fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Proves who the service is; replaced long before it ends.
    fn jwt(&self) -> PathBuf {
        self.root.join("jwt")
    }

    /// Holds the generation of files that the service has taken up.
    fn taken_up(&self) -> PathBuf {
        self.root.join("taken-up")
    }

    fn templates(&self) -> PathBuf {
        self.root.join("templates")
    }

    /// Where the file of a template is found.
    fn destination(&self, template: &Path) -> PathBuf {
        self.files().join(template.file_stem().unwrap_or_default())
    }

    /// Where the template of a variable is.
    fn variable_template(&self, variable: &str) -> PathBuf {
        self.templates().join("variables").join(format!("{variable}.ctmpl"))
    }

    /// Makes it for a service that runs as `account`.
    fn make(&self, account: &Account) -> anyhow::Result<()> {
        // To be passed through by the service's user, and changed by nobody else.
        let mode = if account.is_caller() { 0o700 } else { 0o711 };
        let services = self.root.parent().context("a parent")?;
        let templates = self.templates();
        for directory in [services, &self.root, &templates, &templates.join("variables")] {
            files::directory(directory, mode, None)?;
        }
        files::directory(&self.files(), 0o700, Some(account))?;
        files::directory(&self.run(), 0o700, Some(account))?;
        super::tmpfs::prove(&self.files())
    }
}

/// Waits until the agent has delivered every file, and says so by `held` when somebody has to do
/// something for that.
pub(crate) async fn delivered(place: &Place, held: &watch::Sender<bool>) {
    let begun = Instant::now();
    let mut troubled = None;
    loop {
        let status = agents::read(&place.socket()).await.ok();
        if status.as_ref().is_some_and(|status| missing(status).is_none()) {
            return;
        }
        let ill =
            status.is_some_and(|status| status.files.iter().any(|file| file.problem.is_some()));
        let since = troubled.get_or_insert_with(Instant::now);
        if ill && since.elapsed() >= GRACE || begun.elapsed() >= PATIENCE {
            held.send_replace(true);
        }
        if !ill {
            troubled = None;
        }
        sleep(LOOK).await;
    }
}

/// What keeps the files of an agent from being there, if anything does. Files that an agent before
/// this one left do not count: what they hold may have ended.
fn missing(status: &Status) -> Option<String> {
    let file = status.files.iter().find(|file| file.state != FileState::Current)?;
    let name = file.destination.file_name().unwrap_or_default().to_string_lossy();
    let why = match (&file.problem, status.worst()) {
        (Some(problem), _) => problem.message.clone(),
        (None, Some(worst)) => worst,
        (None, None) => "it is being rendered".to_owned(),
    };
    Some(format!("{name} is not there yet: {why}"))
}

/// How the secrets of a service are.
pub(crate) async fn status(place: &Place, delivery: &Delivery) -> DeliveryStatus {
    let service = place.service.clone();
    let count = delivery.templates.len();
    let environment: Vec<_> = delivery.variables.keys().cloned().collect();
    match agents::read(&place.socket()).await {
        Ok(mut status) => {
            // One that is being told is no problem yet.
            status.consumers.retain(|consumer| consumer.problem.is_some());
            DeliveryStatus {
                service,
                directory: place.files(),
                generation: status.generation.as_ref().map(|generation| generation.number),
                files: count,
                environment,
                problem: status.worst(),
            }
        }
        Err(error) => DeliveryStatus {
            service,
            directory: place.files(),
            generation: None,
            files: count,
            environment,
            problem: Some(format!("its agent does not answer: {error}")),
        },
    }
}

/// Takes the agents of a platform off the list of the machine's, also those of a killed supervisor.
pub(crate) fn withdraw(state: &State, name: &str) {
    agents::withdraw(&format!("{}-", state.unique_name(name)));
}

/// Lets the commands that ask the agents of this machine find this one.
fn announce(place: &Place) -> io::Result<()> {
    agents::announce(&place.unique_name, &place.socket())
}
