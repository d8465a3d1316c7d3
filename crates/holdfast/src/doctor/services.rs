//! Services of a platform: their agents are configured by `holdfast up`, and what their templates may
//! ask for is in the policies of each.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_policy::Policy;

use super::access::Access;
use super::rules;
use super::seen::Seen;
use super::templates::{self, Read};
use crate::finding::{File, Finding};
use crate::platform;
use crate::policy;

/// A service that is given secrets.
pub(super) struct Service {
    /// The names of the policies of its agent.
    policies: Vec<String>,
    /// Its templates, and whether a file comes of them.
    templates: Vec<(File, bool)>,
}

impl Service {
    /// The files of its templates, by their real paths.
    pub(super) fn sources(&self) -> impl Iterator<Item = PathBuf> {
        self.templates.iter().filter_map(|(file, _)| fs::canonicalize(&file.path).ok())
    }

    /// All files in which comments may stand.
    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        self.templates.iter().map(|(file, _)| file)
    }

    /// What its agent will be allowed.
    pub(super) fn access(&self, policies: &[Arc<Policy>], seen: &Seen) -> Access {
        // One that is not there was reported with the service.
        let held =
            policies.iter().filter(|policy| self.policies.iter().any(|name| name == policy.name()));
        let held: Vec<_> = held.cloned().collect();
        Access::new(&held, Vec::new(), &seen.policies)
    }

    /// Its templates, read.
    pub(super) fn read(&self) -> Vec<Read> {
        let read = self.templates.iter().map(|(file, is_file)| match is_file {
            true => templates::alone(file),
            false => templates::of_variable(file),
        });
        read.collect()
    }
}

/// The services of the platform in `folder`, and what is wrong with what they are to be given.
pub(super) fn of_platform(folder: &Path) -> anyhow::Result<(Vec<Service>, Vec<Finding>)> {
    let (deliveries, problems) = platform::config::deliveries(folder)?;
    let path = folder.join(platform::config::FILE_NAME);
    let file = File { text: policy::read(&path)?.into(), path };
    let findings = problems.into_iter().map(|message| Finding {
        file: file.clone(),
        at: None,
        also: Vec::new(),
        rule: rules::CONFIG,
        message,
        fix: "the platform does not start with this: correct it first".to_owned(),
    });
    let services = deliveries.into_iter().filter_map(|(policies, delivery)| {
        let delivery = delivery?;
        let files = delivery.templates.iter().map(|path| (path, true));
        let variables = delivery.variables.values().map(|path| (path, false));
        // What is not there was reported above.
        let read = files.chain(variables).filter_map(|(path, is_file)| {
            let path = folder.join(path);
            Some((File { text: policy::read(&path).ok()?.into(), path }, is_file))
        });
        Some(Service { templates: read.collect(), policies })
    });
    Ok((services.collect(), findings.collect()))
}
