//! Templates: whether they are any, and what a shell makes of what they write.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_agent::config::{
    Acknowledgement, Placed, TemplateConfig, TemplateSource, TemplateText,
};
use holdfast_ctmpl::{Argument, Call, MissingKey, Options, Purpose, Template, Use};
use holdfast_hcl::Position;

use super::rules;
use super::seen::Agent;
use super::text::Text;
use crate::finding::{File, Finding};
use crate::policy;

/// A template, read.
pub(super) struct Read {
    pub(super) text: Text,
    pub(super) parsed: Result<Template, holdfast_ctmpl::Error>,
    /// Where its block stands in the agent's file; none for a template by itself.
    pub(super) block: Option<Position>,
    /// Whether a key that is not there is an error.
    pub(super) strict: bool,
    /// Whether what it writes is read by a shell.
    for_shell: bool,
}

/// Endings of files that shells read, or that are read like a shell's.
const OF_SHELLS: [&str; 7] = ["env", "sh", "bash", "zsh", "ksh", "envrc", "profile"];
/// Functions of which nothing comes that a shell would expand or split.
const HARMLESS: [&str; 16] = [
    "shquote",
    "base64Encode",
    "base64URLEncode",
    "sprig_b64enc",
    "sha256Hex",
    "sprig_sha256sum",
    "hmacSHA256Hex",
    "md5sum",
    "len",
    "parseInt",
    "parseUint",
    "parseFloat",
    "parseBool",
    "eq",
    "ne",
    "contains",
];
/// Functions that answer with a secret.
pub(super) const SECRETS: [&str; 2] = ["secret", "pkiCert"];

/// The templates of an agent's file. Those that lie on another machine are left out.
pub(super) fn of_agent(agent: &Agent, left_out: &mut Vec<String>) -> Vec<Read> {
    let outline = &agent.outline;
    let files = outline.templates.iter().map(|placed| {
        let shell = is_for_shell(&placed.value);
        (&placed.value.text, placed.position, placed.at("contents"), placed.at("source"), shell)
    });
    let variables = outline.env_templates.iter().map(|placed| {
        let text = &placed.value.text;
        (text, placed.position, placed.at("contents"), placed.at("source"), false)
    });
    let mut read = Vec::new();
    for (text, block, contents, source, for_shell) in files.chain(variables) {
        let body = match &text.source {
            TemplateSource::Contents(body) => Text::within(agent.file.clone(), body, contents),
            TemplateSource::File(path) => {
                let found = find(agent, path)
                    .and_then(|path| Some(File { text: policy::read(&path).ok()?.into(), path }));
                let Some(file) = found else {
                    let config = agent.file.path.display();
                    left_out
                        .push(format!("{} ({config}:{source}), which is not here", path.display()));
                    continue;
                };
                Text::whole(file)
            }
        };
        read.push(parse(body, text, Some(block), for_shell));
    }
    read
}

/// The files of an agent's templates that are here, by their real paths.
pub(super) fn sources(agent: &Agent) -> Vec<PathBuf> {
    let outline = &agent.outline;
    let texts = outline.templates.iter().map(|placed| &placed.value.text);
    let texts = texts.chain(outline.env_templates.iter().map(|placed| &placed.value.text));
    let files = texts.filter_map(|text| match &text.source {
        TemplateSource::File(path) => fs::canonicalize(find(agent, path)?).ok(),
        TemplateSource::Contents(_) => None,
    });
    files.collect()
}

/// A template that no agent here renders. Its name says what it makes: `backend.env.ctmpl`.
pub(super) fn alone(file: &File) -> Read {
    let text = TemplateText {
        source: TemplateSource::File(file.path.clone()),
        left_delimiter: String::new(),
        right_delimiter: String::new(),
        error_on_missing_key: true,
        error_fatal: true,
        function_denylist: Vec::new(),
    };
    let for_shell = has_shell_name(&file.path.with_extension(""));
    parse(Text::whole(file.clone()), &text, None, for_shell)
}

/// A template whose text becomes a variable of a service's environment: no shell reads it.
pub(super) fn of_variable(file: &File) -> Read {
    Read { for_shell: false, ..alone(file) }
}

/// What is wrong with the text itself, and for a shell with what it writes.
pub(super) fn look(read: &Read, findings: &mut Vec<Finding>) {
    match &read.parsed {
        Err(error) => findings.push(unreadable(&read.text, error)),
        Ok(template) if read.for_shell => {
            findings.extend(expanded(&read.text, &template.calls()));
        }
        Ok(_) => {}
    }
}

/// A secret's part that is written, with what the call asked for.
pub(super) fn written(calls: &[Call]) -> impl Iterator<Item = (&Call, &Use)> {
    let secrets = calls.iter().filter(|call| SECRETS.contains(&call.function));
    secrets.flat_map(|call| {
        let uses = call.uses.iter().filter(|one| one.purpose == Purpose::Printed);
        uses.map(move |one| (call, one))
    })
}

fn parse(text: Text, config: &TemplateText, block: Option<Position>, for_shell: bool) -> Read {
    let missing_key =
        if config.error_on_missing_key { MissingKey::Error } else { MissingKey::Zero };
    let options = Options {
        left_delimiter: config.left_delimiter.clone(),
        right_delimiter: config.right_delimiter.clone(),
        missing_key,
        ..Options::default()
    };
    let parsed = Template::parse("", text.body.as_bytes(), &options);
    let script = text.body.lines().next().is_some_and(|line| {
        line.starts_with("#!") && (line.ends_with("sh") || line.contains("sh "))
    });
    Read {
        text,
        parsed,
        block,
        strict: config.error_on_missing_key,
        for_shell: for_shell || script,
    }
}

fn find(agent: &Agent, path: &Path) -> Option<PathBuf> {
    let beside = agent.file.path.parent().map(|folder| folder.join(path));
    [Some(path.to_owned()), beside].into_iter().flatten().find(|path| path.is_file())
}

fn unreadable(text: &Text, error: &holdfast_ctmpl::Error) -> Finding {
    let (line, message) = (error.line().max(1), error.to_string());
    let message = message.split_once(&format!(":{line}: ")).map_or(&*message, |(_, rest)| rest);
    let blank = text.body.lines().nth(line - 1).unwrap_or_default();
    let blank = blank.len() - blank.trim_start().len();
    Finding {
        file: text.file.clone(),
        at: Some(text.at((line, blank))),
        also: Vec::new(),
        rule: rules::TEMPLATE,
        message: message.to_owned(),
        fix: "nothing is rendered from this: correct it first".to_owned(),
    }
}

/// Secrets that a shell would expand or split.
fn expanded(text: &Text, calls: &[Call]) -> Option<Finding> {
    let bare: Vec<_> = written(calls)
        .map(|(_, one)| one)
        .filter(|one| !one.through.iter().any(|name| HARMLESS.contains(name)))
        .filter(|one| one.path.is_empty() || !is_about(&one.path))
        .collect();
    let first = bare.first()?;
    let quoted = |one: &Use| {
        calls.iter().any(|call| {
            let asks = |argument: &Argument| {
                matches!(argument, Argument::Text(text) if String::from_utf8_lossy(text).contains("%q"))
            };
            call.function == "printf"
                && one.through.contains(&"printf")
                && call.position.0 == one.position.0
                && call.arguments.iter().any(asks)
        })
    };
    let what = name(&first.path);
    let message = match quoted(first) {
        true => {
            format!("%q leaves $ and ` in {what} alive: a shell that reads this file expands them")
        }
        false => {
            format!("a shell that reads this file splits {what} at blanks and expands $ in it")
        }
    };
    let fix = match quoted(first) {
        true => "write | shquote in place of printf \"%q\"".to_owned(),
        false => "write | shquote, and no quotes around it: {{ … | shquote }}".to_owned(),
    };
    let mut places: Vec<_> = bare.iter().map(|one| text.at(one.position)).collect();
    places.dedup();
    let mut places = places.into_iter();
    Some(Finding {
        file: text.file.clone(),
        at: places.next(),
        also: places.collect(),
        rule: rules::SHELL,
        message,
        fix,
    })
}

/// Whether a part of an answer tells about the secret and is none: its lease, its version.
fn is_about(path: &str) -> bool {
    let secret = ["Data", "Key", "Cert", "CA", "CAs", "Auth", "WrapInfo"];
    let first = path.split('.').next().unwrap_or_default();
    !secret.contains(&first) || path.starts_with("Data.metadata.")
}

/// A part of a secret as people know it: `password` for `Data.data.password`.
pub(super) fn name(path: &str) -> String {
    match path.rsplit('.').next() {
        None | Some("" | "*" | "Data" | "data") => "the secret".to_owned(),
        Some(name) => name.to_owned(),
    }
}

fn is_for_shell(config: &TemplateConfig) -> bool {
    let path = &config.destination;
    let acknowledge = config.acknowledge.as_ref().and_then(|it| match &it.by {
        Acknowledgement::Command(words) => Some(words),
        Acknowledgement::File(_) | Acknowledgement::Ready => None,
    });
    let commands = config.command.iter().map(|command| &command.command).chain(acknowledge);
    let text = path.display().to_string();
    let sourced = commands
        .flatten()
        .any(|line| [". ", "source "].iter().any(|word| line.contains(&format!("{word}{text}"))));
    sourced || has_shell_name(path)
}

fn has_shell_name(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let ending = name.rsplit('.').next().filter(|ending| ending.len() < name.len());
    ending.is_some_and(|ending| OF_SHELLS.contains(&ending)) || name.starts_with(".env.")
}

/// The block that a template was read from.
pub(super) fn block<'a>(agent: &'a Agent, read: &Read) -> Option<&'a Placed<TemplateConfig>> {
    agent.outline.templates.iter().find(|placed| Some(placed.position) == read.block)
}
