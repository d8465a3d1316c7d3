//! Makes a delivery of a configuration.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_client::vault::{self, VaultClient};
use holdfast_types::{Clock, Random};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::consumers::Consumers;
use super::leases::Leases;
use super::template::Loaded;
use super::unit::{Target, Unit};
use super::watch::Watched;
use super::{Delivery, Server, effects};
use crate::config::{Acknowledgement, AgentConfig, Principal, TemplateConfig};
use crate::consumer::{Former, Guard, Launcher, ReadySocket};
use crate::files;
use crate::generation::{self, Destination, GenerationError, Owner, Place, Publisher};
use crate::session::Session;
use crate::status::StatePlace;
use crate::store::{self, Core, events};

/// How many changes wait to be looked at; the stream of events waits beyond that.
const EVENTS: usize = 1024;

/// What a delivery is made of.
pub struct Settings {
    /// What to deliver.
    pub config: Arc<AgentConfig>,
    /// Where the agent keeps what others look for.
    pub state: StatePlace,
    /// The token.
    pub session: Session,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// What a process is started by, so that it ends with the agent.
    pub launcher: Option<Launcher>,
}

/// Why nothing can be delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The server's certificates cannot be used.
    #[error("talk to the server")]
    Client(#[from] vault::ConfigError),
    /// A file is to belong to somebody who is not known here.
    #[error("{}", destination.display())]
    Owner {
        /// Which file.
        destination: PathBuf,
        /// Who.
        #[source]
        source: io::Error,
    },
    /// There is no place for files.
    #[error("deliver files")]
    Generation(#[from] GenerationError),
    /// There is no place for what the agent keeps.
    #[error("make {}", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Delivery {
    /// Takes charge of the files, and listens to whoever asks how things are. Nothing is asked of the
    /// server yet.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub fn build(settings: Settings) -> Result<Self, DeliveryError> {
        let Settings { config, state, session, clock, random, launcher } = settings;
        let mut client = config.server.client_config()?;
        client.max_retries = 0;
        let anonymous = VaultClient::new(&client)?;

        let destinations: Result<Vec<_>, _> = config.templates.iter().map(destination).collect();
        let destinations = destinations?;
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let paths: Vec<_> = destinations.iter().map(|one| absolute(&one.path)).collect();
        let failed = |source| DeliveryError::State { path: state.directory.clone(), source };
        let place = match &config.templating.generation_dir {
            _ if paths.is_empty() => {
                files::private_directory(&state.directory).map_err(failed)?;
                Place::inside(&state.directory.join("generations"))
            }
            Some(chosen) => Place::inside(&absolute(chosen)),
            None => {
                let fallback = StatePlace::generations();
                files::check_above(&fallback).map_err(failed)?;
                Place::of_ours(paths.iter().map(PathBuf::as_path), &state.name, &fallback)
            }
        };
        let publisher = Publisher::open(generation::Settings {
            place,
            destinations,
            links: true,
            clock: Arc::clone(&clock),
        })?;

        let listener = state.listen().map_err(failed)?;
        let (ask, questions) = mpsc::channel(16);
        let (events, event_config) = watch::channel(None);
        let (tell, heard) = mpsc::channel(EVENTS);
        let helpers = vec![
            tokio::spawn(listener.serve(ask)),
            tokio::spawn(events::listen(event_config, tell)),
        ];

        let acknowledge = config.exec.as_ref().and_then(|exec| exec.acknowledge.as_ref());
        let says = acknowledge.is_some_and(|one| one.by == Acknowledgement::Ready);
        let ready = says.then(|| ReadySocket::bind(&state.directory)).transpose();
        let ready = ready.map_err(failed)?;
        let guard = Guard {
            launcher,
            former: Former::of(&state.directory),
            ready: ready.as_ref().map(|socket| socket.path().to_owned()),
        };
        let now = Instant::now();
        let for_files = config.templates.iter().enumerate().map(|(index, template)| {
            let loaded = Loaded::new(Arc::clone(&template.text), template.sandbox_path.clone());
            Unit::new(Target::File(index), loaded, template.wait, now)
        });
        let variables = config.env_templates.iter().map(|template| {
            let loaded = Loaded::new(Arc::clone(&template.text), None);
            Unit::new(Target::Variable(template.variable.clone()), loaded, None, now)
        });
        let core = Core::new(store::Settings {
            limit: config.templating.max_connections_per_host,
            static_interval: config.templating.static_secret_render_interval,
            threshold: config.templating.lease_renewal_threshold,
        });
        let server = Server {
            cluster: None,
            reachable: true,
            answered: None,
            problem: None,
            told: false,
            polling_because: None,
        };
        Ok(Self {
            units: for_files.chain(variables).collect(),
            consumers: Consumers::new(&config, guard, ready, publisher.root().clone()),
            states: session.states(),
            states_end: false,
            started: clock.now(),
            anonymous,
            client: None,
            core,
            tasks: JoinSet::new(),
            events,
            heard,
            server,
            probed: None,
            looked: now,
            publisher,
            rejected: BTreeMap::new(),
            publish_problem: None,
            publish_failures: 0,
            changed: None,
            settled_once: false,
            watched: Watched::default(),
            revision: 0,
            process_holds: Vec::new(),
            leases: Leases::default(),
            questions,
            helpers,
            config,
            state,
            session,
            clock,
            random,
        })
    }
}

fn destination(template: &TemplateConfig) -> Result<Destination, DeliveryError> {
    let failed =
        |source| DeliveryError::Owner { destination: template.destination.clone(), source };
    let id = |who: &Option<Principal>, find: fn(&str) -> io::Result<Option<u32>>| match who {
        None => Ok(None),
        Some(Principal::Id(id)) => Ok(Some(*id)),
        Some(Principal::Name(name)) => find(name),
    };
    Ok(Destination {
        path: template.destination.clone(),
        mode: template.mode,
        owner: Owner {
            user: id(&template.user, effects::user).map_err(failed)?,
            group: id(&template.group, effects::group).map_err(failed)?,
        },
        backup: template.backup,
        make_directories: template.create_dest_dirs,
    })
}
