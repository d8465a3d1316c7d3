//! The agent of a service: its files, its configuration, its process.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_agent::status as agents;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::super::account::Account;
use super::super::config::{Delivery, Platform, Reload};
use super::super::confinement::Confinement;
use super::super::files;
use super::super::launch::{Launch, MARK};
use super::super::part::{PartPlan, Probe};
use super::super::spiffe::Domain;
use super::{Place, environment, login};

/// How long a service may take to take up what changed. One that is started anew has to end first.
const TAKE_UP: &str = "60s";
/// How often secrets are read again where the engine does not tell of changes.
const POLL: &str = "10s";
/// After which part of what is left a credential is replaced that cannot be renewed further: earlier
/// than stock agents do, because a service that nobody tells may still be at work with it.
const REPLACED_AT: f64 = 0.6;

/// How soon a login that could not be had is asked for again.
const SOONEST: Duration = Duration::from_secs(1);

/// An agent to be run.
pub(crate) struct Agent<'a> {
    pub(crate) platform: &'a Platform,
    pub(crate) place: Place,
    pub(crate) delivery: &'a Delivery,
    /// Whom the service runs as, and so its agent.
    pub(crate) account: Account,
    /// The service's own, which templates see by `env`.
    pub(crate) environment: Vec<(String, std::ffi::OsString)>,
    pub(crate) state: PathBuf,
    /// The secrets server.
    pub(crate) address: String,
    /// The certificates to trust; none for the system's.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) cgroup: Option<PathBuf>,
}

impl Agent<'_> {
    /// What the part is called that is the agent of `service`.
    pub(crate) fn part_name(service: &str) -> String {
        format!("{service}-agent")
    }

    /// Writes what the agent reads, and gives how it is run.
    ///
    /// # Errors
    /// A template cannot be read, or the tmpfs is none.
    pub(crate) fn plan(self) -> anyhow::Result<PartPlan> {
        let place = self.place.clone();
        place.make(&self.account)?;
        copy_templates(self.platform, &place, self.delivery)?;
        let config = place.root.join(format!("{}.json", place.service));
        let text = serde_json::to_vec_pretty(&self.configuration())?;
        files::write(&config, &text, 0o444, None)
            .with_context(|| format!("write {}", config.display()))?;
        super::announce(&place).with_context(|| format!("announce {}", place.unique_name))?;

        let program = std::env::current_exe().context("find our own program")?;
        let mut readable = vec![program.clone(), place.root.clone()];
        readable.extend(self.ca_file.clone());
        let confinement = Confinement::is_available()
            .then(|| Confinement { readable, writable: vec![place.files(), place.run()] });
        let own = [MARK, "HOME", "XDG_RUNTIME_DIR"];
        let mut environment = self.environment;
        environment.retain(|(name, _)| !own.contains(&name.as_str()));
        environment.extend([
            (MARK.to_owned(), self.state.into()),
            ("HOME".to_owned(), place.run().into()),
            ("XDG_RUNTIME_DIR".to_owned(), place.run().into()),
        ]);
        let launch = Launch {
            program,
            arguments: vec![
                "vault".into(),
                "agent".into(),
                format!("-config={}", config.display()).into(),
            ],
            environment,
            directory: place.root.clone(),
            account: self.account.clone(),
            death_signal: Signal::SIGKILL,
            secrets: None,
            inherit: Vec::new(),
            socket: None,
            confinement,
            cgroup: self.cgroup,
            introduced: None,
        };
        let name = Self::part_name(&place.service);
        Ok(PartPlan {
            name,
            launch,
            probe: probe(place),
            // Its login is there, and kept fresh.
            prepare: Box::new(|| Ok(())),
            stop_signal: Signal::SIGTERM,
            patience: Duration::from_secs(10),
        })
    }

    /// A stock agent's configuration, in JSON: there is nothing in it to be escaped.
    fn configuration(&self) -> Value {
        let place = &self.place;
        let mut server = json!({ "address": self.address });
        if let Some(ca_file) = &self.ca_file {
            server["ca_cert"] = json!(ca_file);
        }
        let method = json!({
            "type": "jwt",
            "mount_path": format!("auth/{}", login::mount(self.platform)),
            "max_backoff": "30s",
            "config": [{
                "path": place.jwt(),
                "role": place.service,
                "remove_jwt_after_reading": false,
            }],
        });
        let files = self.delivery.templates.iter().map(|template| {
            let name = template.file_name().unwrap_or_default();
            (place.templates().join(name), place.destination(template))
        });
        let variables = self.delivery.variables.keys().map(|variable| {
            (place.variable_template(variable), environment::file(&place.files(), variable))
        });
        let templates = files.chain(variables).map(|(source, destination)| {
            let mut block = json!({
                "source": source,
                "destination": destination,
                "perms": "0600",
                // A file without its secret is worse than one that is late.
                "error_on_missing_key": true,
                "error_fatal": false,
            });
            if self.delivery.reload == Reload::Restart {
                block["acknowledge"] = json!([{ "file": place.taken_up(), "timeout": TAKE_UP }]);
            }
            block
        });
        json!({
            "vault": [server],
            "auto_auth": [{ "method": [method] }],
            "template_config": [{
                "static_secret_render_interval": POLL,
                "lease_renewal_threshold": REPLACED_AT,
            }],
            "template": templates.collect::<Vec<_>>(),
            "state_dir": place.run(),
        })
    }
}

/// Ready when every file is there.
fn probe(place: Place) -> Probe {
    Arc::new(move || {
        let socket = place.socket();
        Box::pin(async move {
            match super::missing(&agents::read(&socket).await?) {
                Some(why) => bail!("{why}"),
                None => Ok(()),
            }
        })
    })
}

/// Copies the service's templates to where its user can read them. The agent takes a change up by
/// itself.
pub(crate) fn copy_templates(
    platform: &Platform,
    place: &Place,
    delivery: &Delivery,
) -> anyhow::Result<()> {
    let files = delivery.templates.iter().map(|template| {
        (template, place.templates().join(template.file_name().unwrap_or_default()))
    });
    let variables = delivery.variables.iter();
    let variables = variables.map(|(name, template)| (template, place.variable_template(name)));
    for (template, to) in files.chain(variables) {
        let from = platform.directory.join(template);
        let text = std::fs::read(&from).with_context(|| format!("read {}", from.display()))?;
        if files::read(&to)?.as_ref() != Some(&text) {
            files::write(&to, &text, 0o444, None)
                .with_context(|| format!("write {}", to.display()))?;
        }
    }
    Ok(())
}

/// Replaces the service's login again and again, until it is dropped.
pub(crate) async fn keep_login(domain: Rc<Domain>, place: Place, account: Account) {
    let mut good = Duration::ZERO;
    loop {
        // Long before it ends, and often enough that a machine that slept catches up.
        sleep((good / 3).clamp(SOONEST, login::EVERY)).await;
        match login::write(&domain, &place, &account).await {
            Ok(left) => good = left,
            Err(error) => {
                good = Duration::ZERO;
                tracing::error!(service = place.service, "{error:#}");
            }
        }
    }
}
