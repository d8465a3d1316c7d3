//! What agents write: who can read it, whether it outlives the machine, what it says where a key is
//! missing.

use std::path::{Path, PathBuf};

use holdfast_agent::generation::is_memory;
use holdfast_hcl::Position;

use super::rules;
use super::seen::Agent;
use super::templates::{self, Read, SECRETS};
use crate::finding::Finding;

/// The owner reads and writes, the group reads.
const WIDEST: u32 = 0o640;
/// In memory on every machine that keeps to the file system's standard.
const IN_MEMORY: [&str; 3] = ["/run", "/var/run", "/dev/shm"];
/// Functions that give something else where there is nothing, or find nothing by themselves.
const FALL_BACK: [&str; 6] =
    ["or", "index", "sprig_default", "sprig_coalesce", "sprig_get", "sprig_dig"];
/// As many keys are named.
const NAMED: usize = 3;

/// What is wrong with the files that an agent writes.
pub(super) fn look(agent: &Agent, templates: &[Read], findings: &mut Vec<Finding>) {
    let mut report = |at, rule, message, fix: &str| {
        let file = agent.file.clone();
        findings.push(Finding {
            file,
            at: Some(at),
            also: Vec::new(),
            rule,
            message,
            fix: fix.into(),
        });
    };
    for sink in &agent.outline.sinks {
        if sink.value.encryption.is_some() {
            continue;
        }
        let path = &sink.value.path;
        perms("mode", sink.value.mode, path, sink.at("mode"), &mut report);
        on_disk(path, sink.at("path"), &mut report);
    }
    for read in templates {
        missing_key(agent, read, &mut report);
        let Some(block) = templates::block(agent, read).filter(|_| has_secrets(read)) else {
            continue;
        };
        let path = &block.value.destination;
        if let Some(mode) = block.value.mode {
            perms("perms", mode, path, block.at("perms"), &mut report);
        }
        let lies_in = agent.outline.generation_dir.as_ref().unwrap_or(path);
        on_disk(lies_in, block.at("destination"), &mut report);
    }
}

type Report<'r> = dyn FnMut(Position, &'static str, String, &str) + 'r;

fn perms(key: &str, mode: u32, path: &Path, at: Position, report: &mut Report<'_>) {
    let extra = mode & !WIDEST;
    if extra == 0 {
        return;
    }
    let path = path.display();
    let who = match extra {
        _ if extra & 0o004 != 0 => format!("everybody on the machine can read {path}"),
        _ if extra & 0o002 != 0 => format!("everybody on the machine can write {path}"),
        _ if extra & 0o020 != 0 => format!("the group of {path} can change it"),
        _ => format!("{path} can be executed"),
    };
    report(
        at,
        rules::WIDE_PERMS,
        format!("with {key} {mode:04o} {who}"),
        "write 0640, and as its group that of the program which reads it",
    );
}

fn on_disk(path: &Path, at: Position, report: &mut Report<'_>) {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if IN_MEMORY.iter().any(|folder| path.starts_with(folder)) {
        return;
    }
    let above = path.ancestors().find(|folder| folder.exists()).map(PathBuf::from);
    if above.is_some_and(|folder| is_memory(&folder).unwrap_or(false)) {
        return;
    }
    report(
        at,
        rules::ON_DISK,
        format!("{} is not on a tmpfs: secrets outlive the machine there", path.display()),
        "write below /run, such as /run/<service>/, or set template_config.generation_dir to a \
         folder there",
    );
}

/// Keys that would be written as `<no value>`.
fn missing_key(agent: &Agent, read: &Read, report: &mut Report<'_>) {
    let (false, Some(at), Ok(template)) = (read.strict, read.block, &read.parsed) else { return };
    let calls = template.calls();
    let mut names = Vec::new();
    for (_, one) in templates::written(&calls) {
        let falls_back = one.through.iter().any(|name| FALL_BACK.contains(name));
        if !one.guarded && !falls_back && may_be_missing(&one.path) {
            let name = templates::name(&one.path);
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if names.is_empty() {
        return;
    }
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let template = match &read.text.file.path {
        path if *path == agent.file.path => "this template".to_owned(),
        path => path.display().to_string(),
    };
    let names = names.join(" or ");
    report(
        at,
        rules::MISSING_KEY,
        format!("{template} writes <no value> where a secret has no {names}"),
        "write error_on_missing_key = true: the last good file stays, and the status says what is \
         missing",
    );
}

/// Whether a part of an answer is a key of the secret, and not of every answer.
fn may_be_missing(path: &str) -> bool {
    let mut names = path.split('.');
    let is_data = names.next() == Some("Data");
    let key = names.next();
    let below = names.next();
    let is_key = match key {
        None | Some("metadata" | "*") => false,
        Some("data") => below.is_some(),
        Some(_) => true,
    };
    is_data && is_key && !path.contains('*')
}

fn has_secrets(read: &Read) -> bool {
    let Ok(template) = &read.parsed else { return false };
    template.calls().iter().any(|call| SECRETS.contains(&call.function))
}
