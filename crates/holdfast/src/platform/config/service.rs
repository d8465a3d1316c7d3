//! `[services.<name>]`: programs that run on the platform, and the secrets that they are given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use holdfast_types::closest;
use nix::sys::signal::Signal;
use serde::Deserialize;

use super::file::is_name;
use super::{Delivery, Problems, Reload, Service};

/// `[services.<name>]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServiceFile {
    /// Program and arguments. Required.
    command: Vec<String>,
    /// Whom it runs as when `up` is root. Default: a uid of its own.
    user: Option<String>,
    /// Parts and services that must be ready first.
    needs: Vec<String>,
    /// Settings that are no secrets.
    environment: BTreeMap<String, String>,
    /// What rules of `identity/` select it by, beside its name as `app`.
    labels: BTreeMap<String, String>,
    /// Files to render for it, such as `templates/app.json.ctmpl`: it finds `app.json` in
    /// `$CREDENTIALS_DIRECTORY`, and starts when all are there.
    templates: Vec<PathBuf>,
    /// Secrets in its environment, for a program that reads nothing else: the name of a variable, and
    /// a template such as `templates/password.ctmpl`. It is started anew when one changes.
    secret_environment: BTreeMap<String, PathBuf>,
    /// What its logins may do: names of files in `policies/`. Default: none, with templates the
    /// service's name.
    policies: Option<Vec<String>>,
    /// What happens when a file changed: `restart`, or a signal such as `SIGHUP`. Default: nothing,
    /// it reads its files when it needs them.
    reload: Option<String>,
}

/// Names of parts.
const RESERVED: &[&str] = &["vault", "postgres", "supervisor", "spiffe-server", "spiffe-agent"];
/// What the name of a template ends in.
const TEMPLATE: &str = "ctmpl";
/// The variables of a service that the platform sets.
const SET: [&str; 6] = [
    "CREDENTIALS_DIRECTORY",
    "HOLDFAST_STATE",
    "HOME",
    "PATH",
    "SPIFFE_ENDPOINT_SOCKET",
    "STATE_DIRECTORY",
];
/// What a part's name has where it is the agent of a service.
const AGENT: &str = "-agent";

impl ServiceFile {
    pub(super) fn resolve(
        self,
        name: &str,
        directory: &Path,
        parts: &[String],
        problems: &mut Problems,
    ) -> Service {
        let key = format!("services.{name}");
        if !is_name(name, '-') || RESERVED.contains(&name) {
            problems.add(&key, "must be 1 to 32 of a-z 0-9 -, and no part's name");
        }
        if name.strip_suffix(AGENT).is_some_and(|other| parts.iter().any(|part| part == other)) {
            problems.add(&key, "is what the agent of the other service is called");
        }
        if self.command.first().is_none_or(String::is_empty) {
            problems.add(format!("{key}.command"), "is missing: a program and its arguments");
        }
        for need in &self.needs {
            if need == name || !parts.contains(need) {
                let hint = closest(need, parts.iter().map(String::as_str))
                    .map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                problems.add(format!("{key}.needs"), format!("names no other part {need:?}{hint}"));
            }
        }
        Service {
            delivery: self.delivery(directory, &key, problems),
            policies: self.policies(name, directory, &key, problems),
            command: self.command,
            user: self.user,
            needs: self.needs,
            environment: self.environment,
            labels: self.labels,
        }
    }

    /// The secrets that it is given; none where it is given none, or the wrong ones.
    pub(super) fn delivery(
        &self,
        directory: &Path,
        key: &str,
        problems: &mut Problems,
    ) -> Option<Delivery> {
        if self.templates.is_empty() && self.secret_environment.is_empty() {
            if self.reload.is_some() {
                problems.add(format!("{key}.reload"), "needs templates");
            }
            return None;
        }
        let mut names = BTreeSet::new();
        for template in &self.templates {
            if let Some(problem) = wrong_template(directory, template) {
                let problem = format!("names {}, which {problem}", template.display());
                problems.add(format!("{key}.templates"), problem);
            } else if !names.insert(template.file_stem()) {
                let twice = format!("render two files of one name: {}", template.display());
                problems.add(format!("{key}.templates"), twice);
            }
        }
        for (variable, template) in &self.secret_environment {
            let field = format!("{key}.secret_environment.{variable}");
            if !is_variable(variable) {
                problems.add(&field, "must be of A-Z a-z 0-9 _, and begin with no digit");
            } else if SET.contains(&variable.as_str()) || self.environment.contains_key(variable) {
                problems.add(&field, "is set to something else already");
            } else if let Some(problem) = wrong_template(directory, template) {
                problems.add(&field, format!("names {}, which {problem}", template.display()));
            }
        }
        let reload = match self.reload.as_deref() {
            None if self.secret_environment.is_empty() => Reload::ByItself,
            None | Some("restart") => Reload::Restart,
            Some(_) if !self.secret_environment.is_empty() => {
                let problem = "must be \"restart\": the environment of a process does not change";
                problems.add(format!("{key}.reload"), problem);
                Reload::Restart
            }
            Some(word) => word.parse().map_or_else(
                |_| {
                    let problem = "must be \"restart\", or a signal such as \"SIGHUP\"";
                    problems.add(format!("{key}.reload"), problem);
                    Reload::ByItself
                },
                |signal: Signal| Reload::Signal(signal),
            ),
        };
        Some(Delivery {
            templates: self.templates.clone(),
            variables: self.secret_environment.clone(),
            reload,
        })
    }

    /// What its logins may do: a service that is given secrets has one by its name.
    pub(super) fn policies(
        &self,
        name: &str,
        directory: &Path,
        key: &str,
        problems: &mut Problems,
    ) -> Option<Vec<String>> {
        let policies = match &self.policies {
            Some(policies) => policies.clone(),
            None if self.templates.is_empty() && self.secret_environment.is_empty() => return None,
            None => vec![name.to_owned()],
        };
        for policy in &policies {
            if !directory.join("policies").join(format!("{policy}.hcl")).is_file() {
                let (field, problem) = match self.policies {
                    Some(_) => ("policies", "names no file of the platform directory"),
                    None => {
                        ("templates", "need a policy that says what they may read; there is no")
                    }
                };
                let problem = format!("{problem}: policies/{policy}.hcl");
                problems.add(format!("{key}.{field}"), problem.replace("no: ", "no "));
            }
        }
        Some(policies)
    }
}

fn is_variable(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(fine) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// What is wrong with a template's path, if anything is.
fn wrong_template(directory: &Path, template: &Path) -> Option<&'static str> {
    let within = template.components().all(|part| matches!(part, Component::Normal(_)));
    if !within {
        return Some("is not in the platform directory");
    }
    if template.extension().is_none_or(|extension| extension != TEMPLATE) {
        return Some("does not end in .ctmpl");
    }
    if template.file_stem().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")) {
        return Some("leaves no name for the file");
    }
    (!directory.join(template).is_file()).then_some("is no file")
}

/// Refuses services that wait for each other.
pub(super) fn check_order(services: &BTreeMap<String, Service>, problems: &mut Problems) {
    let mut started: Vec<&str> = Vec::new();
    loop {
        let before = started.len();
        for (name, service) in services {
            let waits =
                |need: &String| services.contains_key(need) && !started.contains(&need.as_str());
            if !started.contains(&name.as_str()) && !service.needs.iter().any(waits) {
                started.push(name);
            }
        }
        if started.len() == before {
            break;
        }
    }
    let stuck: Vec<_> =
        services.keys().map(String::as_str).filter(|name| !started.contains(name)).collect();
    if let [first, ..] = stuck.as_slice() {
        let message =
            format!("never come, because these wait for each other: {}", stuck.join(", "));
        problems.add(format!("services.{first}.needs"), message);
    }
}
