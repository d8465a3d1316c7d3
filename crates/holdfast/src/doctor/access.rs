//! What templates ask for, against the policies that their agent will have.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use holdfast_agent::store::{Mount, Request};
use holdfast_ctmpl::{Argument, Call};
use holdfast_policy::{
    Acl, Cause, Facts, Fix, MountFacts, Operation, Policy, Question, Target, explain,
    is_root_protected,
};
use holdfast_types::{Clock, SystemClock};

use super::roles::Role;
use super::rules;
use super::seen::{Agent, Seen};
use super::text::Text;
use crate::finding::Finding;
use crate::policy;

/// What every token has; what it grants is its server's to say.
const DEFAULT: &str = "default";

/// Policies together, and what is known around them.
pub(super) struct Access {
    policies: Vec<Arc<Policy>>,
    acl: Acl,
    /// Policies that are named and not there.
    missing: Vec<String>,
    files: BTreeMap<String, PathBuf>,
    mounts: Vec<Mount>,
}

/// The policies in these files.
pub(super) fn given(files: &[PathBuf]) -> anyhow::Result<Vec<Arc<Policy>>> {
    let parse = |path: &PathBuf| {
        let policy = Policy::parse(&policy::name_of(path), &policy::read(path)?);
        policy.map(Arc::new).with_context(|| format!("{}: no policy", path.display()))
    };
    files.iter().map(parse).collect()
}

/// What an agent will be allowed; none where that is not known, which `left_out` then says.
pub(super) fn of(
    agent: &Agent,
    role: Option<&Role<'_>>,
    given: &[Arc<Policy>],
    policies: &[Arc<Policy>],
    seen: &Seen,
    left_out: &mut Vec<String>,
) -> Option<Access> {
    if !given.is_empty() {
        return Some(Access::new(given, Vec::new(), &seen.policies));
    }
    let outline = &agent.outline;
    if outline.templates.is_empty() && outline.env_templates.is_empty() {
        return None;
    }
    let Some(role) = role else {
        let file = agent.file.path.display();
        left_out.push(format!(
            "the paths that {file} asks for, because its role is not known here: name the policy by \
             --policy, or in a platform directory the role by a comment, holdfast doctor: role NAME"
        ));
        return None;
    };
    let names = role.policies();
    let (mut held, mut missing) = (Vec::new(), Vec::new());
    for name in names.into_iter().filter(|name| name != DEFAULT) {
        match policies.iter().find(|policy| policy.name() == name) {
            Some(policy) => held.push(policy.clone()),
            None if name == Policy::ROOT => held.push(Arc::new(Policy::root())),
            None => missing.push(name),
        }
    }
    Some(Access::new(&held, missing, &seen.policies))
}

impl Access {
    pub(super) fn new(held: &[Arc<Policy>], missing: Vec<String>, seen: &policy::Seen) -> Self {
        let policies: Vec<_> = held.iter().map(generous).collect();
        let known = seen
            .mounts
            .iter()
            .map(|mount| Mount { path: mount.path.clone(), kv: mount.kv2.then_some(2) });
        let files = seen.files.iter().map(|file| (policy::name_of(&file.path), file.path.clone()));
        Self {
            acl: Acl::new(policies.iter().cloned(), SystemClock.now()),
            mounts: known.collect(),
            files: files.collect(),
            policies,
            missing,
        }
    }

    /// What these calls ask for and may not.
    pub(super) fn look(&self, text: &Text, calls: &[Call], findings: &mut Vec<Finding>) {
        for call in calls {
            if let Some((operation, request)) = asked(call) {
                findings.extend(self.denied(text, call, operation, request));
            }
        }
    }

    fn denied(
        &self,
        text: &Text,
        call: &Call,
        operation: Operation,
        request: Request,
    ) -> Option<Finding> {
        let mount = self.mount(request.path());
        let request = match &mount {
            Some(mount) => request.at(mount),
            None => request,
        };
        let path = request.path();
        // Every token has one of its own.
        if path.starts_with("cubbyhole/") {
            return None;
        }
        let names: Vec<String> = match &request {
            Request::Write { fields, .. } => fields.iter().map(|(name, _)| name.clone()).collect(),
            _ => Vec::new(),
        };
        let question =
            Question { operation, path, parameters: &names, wrap_ttl: None, verdict: None };
        let facts = Facts {
            mount: match &mount {
                Some(Mount { path, kv: Some(2) }) => MountFacts::Kv2(path),
                Some(Mount { path, .. }) => MountFacts::Other(path),
                None => MountFacts::Unknown,
            },
            needs_sudo: is_root_protected(path),
            target: Target::Unknown,
            missing_policies: &self.missing,
            has_entity: true,
            now: SystemClock.now(),
        };
        let told = explain(&self.acl, &self.policies, &question, &facts);
        if told.fix == Fix::None {
            return None;
        }
        let doing = match operation {
            Operation::Read => "read",
            Operation::List => "list",
            _ => "write",
        };
        let why = match told.cause {
            Cause::NoRule => "no rule covers it".to_owned(),
            _ => told.summary,
        };
        Some(Finding {
            file: text.file.clone(),
            at: Some(text.at(call.position)),
            also: Vec::new(),
            rule: rules::DENIED,
            message: format!("the agent may not {doing} {path}: {why}"),
            fix: self.fix(&told.fix),
        })
    }

    fn fix(&self, fix: &Fix) -> String {
        let policy = |name: &str| match self.files.get(name) {
            Some(file) => file.display().to_string(),
            None => format!("the policy {name}"),
        };
        let note = |note: &Option<String>| {
            note.as_ref().map(|note| format!("\n\nBut: {note}")).unwrap_or_default()
        };
        match fix {
            Fix::None => String::new(),
            Fix::Advice(text) => text.clone(),
            Fix::Add { policy: name, hcl, note: more } => {
                let place = name.as_deref().map(policy);
                let place = place.unwrap_or_else(|| "a policy of the agent's role".to_owned());
                format!("add to {place}\n\n{}{}", hcl.trim_end(), note(more))
            }
            Fix::Change { policy: name, line, hcl, note: more } => {
                let place = policy(name);
                format!("in {place}, write on line {line}\n\n{}{}", hcl.trim_end(), note(more))
            }
        }
    }

    /// The mount of a path. Where mounts are not known, rules tell which are KV of version 2.
    fn mount(&self, path: &str) -> Option<Mount> {
        let folder = format!("{}/", path.trim_end_matches('/'));
        let known = self.mounts.iter().filter(|mount| folder.starts_with(&mount.path));
        if let Some(mount) = known.max_by_key(|mount| mount.path.len()) {
            return Some(mount.clone());
        }
        let rules = self.policies.iter().flat_map(|policy| policy.rules());
        let prefixes = rules.filter_map(|rule| {
            let at = ["/data/", "/metadata/"].into_iter().find_map(|part| rule.path.find(part))?;
            Some(format!("{}/", &rule.path[..at]))
        });
        let path = prefixes.filter(|prefix| folder.starts_with(prefix)).max_by_key(String::len)?;
        Some(Mount { path, kv: Some(2) })
    }
}

/// What a call asks the server for, if that can be told from its text.
fn asked(call: &Call) -> Option<(Operation, Request)> {
    let mut arguments = call.arguments.iter().map(|argument| match argument {
        Argument::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    });
    let written = arguments.next()??;
    let (path, _) = written.split_once('?').unwrap_or((&written, ""));
    let path = path.trim_start_matches('/').to_owned();
    // A value may be put together: its name then is, too, and is left out.
    let fields = arguments.flatten().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let fields: Vec<_> = fields.collect();
    match call.function {
        "secret" if call.arguments.len() == 1 => {
            Some((Operation::Read, Request::Read { path, query: Vec::new() }))
        }
        "secret" | "pkiCert" => Some((Operation::Update, Request::Write { path, fields })),
        "secrets" => Some((Operation::List, Request::List { path })),
        _ => None,
    }
}

/// The policy with each template in its paths as a wildcard: who will log in, nobody knows yet.
fn generous(policy: &Arc<Policy>) -> Arc<Policy> {
    if !policy.is_templated() {
        return policy.clone();
    }
    let mut text = String::new();
    for rule in policy.rules() {
        let segments = rule.path.split('/');
        let open = segments.map(|segment| if segment.contains("{{") { "+" } else { segment });
        let path = open.collect::<Vec<_>>().join("/");
        text.push_str(&rule.to_hcl().replacen(&rule.path, &path, 1));
        text.push('\n');
    }
    Policy::parse(policy.name(), &text).map_or_else(|_| policy.clone(), Arc::new)
}
