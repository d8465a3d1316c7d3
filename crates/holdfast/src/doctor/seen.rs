//! The files that are looked at, found by what is in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use holdfast_agent::config::{self, Outline, Overrides};
use holdfast_hcl::{Body, Position};

use super::services::Service;
use super::{allow, rules};
use crate::apply::{Desired, Object};
use crate::finding::{File, Finding};
use crate::policy;

/// How many files of a directory are looked at, and how deep.
const MAX_FILES: usize = 10_000;
const MAX_DEPTH: usize = 8;

/// What there is to look at.
#[derive(Default)]
pub(super) struct Seen {
    /// Policies, and mounts as far as they are known.
    pub(super) policies: policy::Seen,
    /// What platform directories say is to be on their server, each with its text.
    pub(super) objects: Vec<(File, Object)>,
    /// Agents' configurations.
    pub(super) agents: Vec<Agent>,
    /// Services of platforms that are given secrets.
    pub(super) services: Vec<Service>,
    /// Templates that no agent here renders.
    pub(super) templates: Vec<File>,
    /// What is wrong with the configurations themselves.
    pub(super) problems: Vec<Finding>,
    /// Files that were looked at already.
    known: BTreeSet<PathBuf>,
}

/// A file of an agent's configuration.
pub(super) struct Agent {
    pub(super) file: File,
    pub(super) outline: Outline,
    /// The role that a comment in it names.
    pub(super) role: Option<String>,
}

/// What a file is.
enum Kind {
    Agent(Body),
    Policy,
    Template,
    Other,
}

impl Seen {
    /// Takes in a file, or what is in a directory.
    pub(super) fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        if path.is_dir() {
            return self.add_folder(path, 0);
        }
        let file = File { path: path.to_owned(), text: policy::read(path)?.into() };
        match kind(&file) {
            Kind::Agent(body) => self.add_agents(&[(file, body)]),
            Kind::Policy => self.add_policy(&file.path)?,
            Kind::Template => self.add_template(file),
            Kind::Other => bail!(
                "{}: is neither an agent's configuration, nor a policy, nor a template",
                path.display()
            ),
        }
        Ok(())
    }

    /// Passes where there is something to look at. Templates that an agent renders belong to it.
    pub(super) fn check(&mut self, paths: &[PathBuf]) -> anyhow::Result<()> {
        let of_agents = self.agents.iter().flat_map(super::templates::sources);
        let of_services = self.services.iter().flat_map(Service::sources);
        let rendered: BTreeSet<PathBuf> = of_agents.chain(of_services).collect();
        let rendered =
            |path: &Path| fs::canonicalize(path).is_ok_and(|path| rendered.contains(&path));
        self.templates.retain(|file| !rendered(&file.path));
        let empty = self.agents.is_empty() && self.templates.is_empty() && self.problems.is_empty();
        let empty = empty && self.services.is_empty();
        if empty && self.policies.files.is_empty() && self.objects.is_empty() {
            let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            bail!(
                "{}: there is no agent's configuration, no template (.ctmpl), no policy and no \
                 platform",
                paths.join(", ")
            );
        }
        Ok(())
    }

    /// All files in which comments may stand.
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        let agents = self.agents.iter().map(|agent| &agent.file);
        let services = self.services.iter().flat_map(Service::files);
        agents.chain(&self.policies.files).chain(&self.templates).chain(services)
    }

    fn add_folder(&mut self, folder: &Path, depth: usize) -> anyhow::Result<()> {
        let platform = folder.join("holdfast.toml").exists();
        if platform {
            self.policies.add(folder)?;
            let (services, mut problems) = super::services::of_platform(folder)?;
            self.services.extend(services);
            self.problems.append(&mut problems);
            for object in Desired::read_without_facts(folder)?.0 {
                let path = folder.join(&object.file);
                let file = File { text: policy::read(&path)?.into(), path };
                self.objects.push((file, object));
            }
        }
        let (mut configs, mut folders) = (Vec::new(), Vec::new());
        for path in entries(folder)? {
            let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            let is_link = path.is_symlink();
            if path.is_dir() {
                let of_platform = platform && matches!(&*name, "policies" | "vault" | "database");
                let foreign = matches!(&*name, "target" | "node_modules");
                if !is_link && !of_platform && !foreign && depth < MAX_DEPTH {
                    folders.push(path);
                }
                continue;
            }
            let known = ["hcl", "json", "ctmpl"];
            let extension = path.extension().and_then(|extension| extension.to_str());
            if !extension.is_some_and(|extension| known.contains(&extension)) {
                continue;
            }
            if self.known.len() >= MAX_FILES {
                bail!("{}: more than {MAX_FILES} files; name some of them", folder.display());
            }
            self.known.insert(path.clone());
            // What is too large, or no text, is none of ours.
            let Ok(text) = policy::read(&path) else { continue };
            let file = File { path, text: text.into() };
            match kind(&file) {
                Kind::Agent(body) => configs.push((file, body)),
                Kind::Policy => self.add_policy(&file.path)?,
                Kind::Template => self.add_template(file),
                Kind::Other => {}
            }
        }
        // Other programs have blocks of the same names: in a folder an agent has to log in.
        if configs.iter().any(|(_, body)| logs_in(body)) {
            self.add_agents(&configs);
        }
        folders.into_iter().try_for_each(|folder| self.add_folder(&folder, depth + 1))
    }

    fn add_policy(&mut self, path: &Path) -> anyhow::Result<()> {
        let known = |file: &File| file.path == path;
        if self.policies.files.iter().any(known) {
            return Ok(());
        }
        self.policies.add_file(path)
    }

    fn add_template(&mut self, file: File) {
        if !self.templates.iter().any(|known| known.path == file.path) {
            self.templates.push(file);
        }
    }

    /// Takes in the files of a folder: those without a login complete the one that has it.
    fn add_agents(&mut self, files: &[(File, Body)]) {
        let whole = files.iter().filter(|(_, body)| logs_in(body)).count();
        let paths = |file: &File, body: &Body| match whole {
            1 => files.iter().map(|(file, _)| file.path.clone()).collect(),
            _ if logs_in(body) || files.len() == 1 => vec![file.path.clone()],
            // Which of them it belongs to, nobody knows.
            _ => Vec::new(),
        };
        let mut loaded = BTreeSet::new();
        for (file, body) in files {
            if self.agents.iter().any(|known| known.file.path == file.path) {
                continue;
            }
            let together = paths(file, body);
            if !together.is_empty() && loaded.insert(together.clone()) {
                self.load(&together, files);
            }
            let role = allow::Comments::read(&file.text).role;
            self.agents.push(Agent { file: file.clone(), outline: Outline::of(body), role });
        }
    }

    /// What the agent itself would say of its files.
    fn load(&mut self, paths: &[PathBuf], files: &[(File, Body)]) {
        let Err(error) = config::load(paths, &Overrides::default()) else { return };
        let first = files.iter().find(|(file, _)| Some(&file.path) == paths.first());
        for problem in error.0 {
            let named = files.iter().find(|(file, _)| Some(&file.path) == problem.file.as_ref());
            let Some((file, _)) = named.or(first) else { continue };
            let start = Position { line: 1, column: 1 };
            self.problems.push(Finding {
                file: file.clone(),
                at: Some(problem.position.unwrap_or(start)),
                also: Vec::new(),
                rule: rules::CONFIG,
                message: problem.message,
                fix: "the agent does not start with this: correct it first".to_owned(),
            });
        }
    }
}

fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut entries = read().with_context(|| format!("read {}", folder.display()))?;
    // Of editors, of version control, of an agent's own.
    entries.retain(|path| {
        path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
    });
    entries.sort();
    Ok(entries)
}

fn kind(file: &File) -> Kind {
    let extension = file.path.extension().and_then(|extension| extension.to_str());
    if !matches!(extension, Some("hcl" | "json")) {
        return Kind::Template;
    }
    let says = |word: &str| file.text.contains(word);
    match holdfast_hcl::parse(&file.text) {
        Ok(body) if config::is_agents(&body) => Kind::Agent(body),
        Ok(body) if body.items.iter().any(|item| item.name() == "path") => Kind::Policy,
        Ok(_) => Kind::Other,
        // What it was to be can only be told from its words.
        Err(_) if says("auto_auth") => Kind::Agent(Body::default()),
        Err(_) if says("path \"") && says("capabilities") => Kind::Policy,
        Err(_) => Kind::Other,
    }
}

/// Whether an agent's file logs in, or was to and cannot be understood.
fn logs_in(body: &Body) -> bool {
    body.items.is_empty() || body.items.iter().any(|item| item.name() == "auto_auth")
}
