//! `template { ... }` and `template_config { ... }`: files to render.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_hcl::{Block, Position, Problems, Settings, ValueKind};
use holdfast_types::Ttl;
use nix::sys::signal::Signal;

use super::command::words;
use super::{AcknowledgeConfig, Acknowledgement, CommandConfig, NotifyConfig, Principal, value};

/// How often secrets without a lease are read again.
const STATIC_INTERVAL: Duration = Duration::from_secs(300);
/// After which part of a lease it is renewed, or read anew, as in the stock agent.
const LEASE_THRESHOLD: f64 = 0.90;
/// How many connections to the server at most.
const CONNECTIONS: usize = 10;

/// What a template says, and how it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateText {
    /// Where it stands.
    pub source: TemplateSource,
    /// What opens an action. Default: `{{`.
    pub left_delimiter: String,
    /// What closes it. Default: `}}`.
    pub right_delimiter: String,
    /// Fails where a template names a field that its secret has not.
    pub error_on_missing_key: bool,
    /// Whether such a failure ends the agent. Default: yes.
    pub error_fatal: bool,
    /// Functions that the template may not call.
    pub function_denylist: Vec<String>,
}

/// Where a template's text stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateSource {
    /// In a file.
    File(PathBuf),
    /// In the configuration itself.
    Contents(String),
}

/// A file that is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateConfig {
    /// What is rendered. Shared with whoever renders it: there may be thousands.
    pub text: Arc<TemplateText>,
    /// Into which file.
    pub destination: PathBuf,
    /// The file's permission bits, where the operator wrote any.
    pub mode: Option<u32>,
    /// Whose the file is; none for the agent's user.
    pub user: Option<Principal>,
    /// Its group; none for the agent's.
    pub group: Option<Principal>,
    /// Makes missing folders above the file. Default: yes.
    pub create_dest_dirs: bool,
    /// Keeps the file before under its name with `.bak`.
    pub backup: bool,
    /// How long to wait for further changes before rendering.
    pub wait: Option<WaitConfig>,
    /// Which folder the template's function `file` may read.
    pub sandbox_path: Option<PathBuf>,
    /// What is run once the file changed.
    pub command: Option<CommandConfig>,
    /// Which process is sent a signal once the file changed.
    pub notify: Option<NotifyConfig>,
    /// What the process in `exec` is sent once the file changed, in place of a restart.
    pub reload_signal: Option<Signal>,
    /// How a consumer of the file says that it has taken it up.
    pub acknowledge: Option<AcknowledgeConfig>,
}

/// `wait { min = "5s" max = "20s" }`: renders `min` after a change, but no later than `max` after
/// the first of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitConfig {
    /// How long nothing else may change.
    pub min: Duration,
    /// How long to wait at most. Default: four times `min`.
    pub max: Duration,
}

/// `template_config { ... }`: what holds for all templates.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplatingConfig {
    /// Ends the agent when a secret cannot be had after all repetitions.
    pub exit_on_retry_failure: bool,
    /// How often secrets without a lease are read again. Default: 5 min.
    pub static_secret_render_interval: Duration,
    /// How many connections to the server at most. Default: 10.
    pub max_connections_per_host: usize,
    /// After which part of a lease it is renewed, or its secret read anew: 0 to 1. Default: 0.9.
    pub lease_renewal_threshold: f64,
    /// Where all files are rendered together, one folder a generation, with `current` a symbolic
    /// link to the latest. None: in the deepest folder above all destinations, hidden.
    pub generation_dir: Option<PathBuf>,
}

impl Default for TemplatingConfig {
    fn default() -> Self {
        Self {
            exit_on_retry_failure: false,
            static_secret_render_interval: STATIC_INTERVAL,
            max_connections_per_host: CONNECTIONS,
            lease_renewal_threshold: LEASE_THRESHOLD,
            generation_dir: None,
        }
    }
}

impl TemplatingConfig {
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Self {
        let mut settings = block.settings(problems);
        let interval = settings.duration("static_secret_render_interval");
        let connections = settings.integer("max_connections_per_host");
        let threshold = threshold(&mut settings);
        let this = Self {
            exit_on_retry_failure: settings.bool("exit_on_retry_failure").unwrap_or(false),
            static_secret_render_interval: interval
                .filter(|interval| !interval.is_zero())
                .unwrap_or(STATIC_INTERVAL),
            max_connections_per_host: connections
                .filter(|number| *number > 0)
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(CONNECTIONS),
            lease_renewal_threshold: threshold.unwrap_or(LEASE_THRESHOLD),
            generation_dir: value::path(&mut settings, "generation_dir"),
        };
        settings.finish();
        this
    }
}

/// A part of one, as a number or in quotes.
fn threshold(settings: &mut Settings<'_, '_>) -> Option<f64> {
    let key = "lease_renewal_threshold";
    let value = settings.value(key)?;
    let text = match &value.kind {
        ValueKind::Float(text) => Some(text.as_str()),
        _ => value.as_text(),
    };
    let threshold = text.and_then(|text| text.parse().ok());
    let threshold = threshold.filter(|part: &f64| *part > 0.0 && *part <= 1.0);
    if threshold.is_none() {
        settings.refuse(key, "expected a part of one, such as 0.9");
    }
    threshold
}

impl TemplateText {
    /// None where there is no text, or two, which was reported.
    pub(super) fn read(position: Position, settings: &mut Settings<'_, '_>) -> Option<Self> {
        let contents = settings.string("contents");
        let file = value::path(settings, "source");
        let source = match (contents, file) {
            (Some(contents), None) => Some(TemplateSource::Contents(contents)),
            (None, Some(file)) => Some(TemplateSource::File(file)),
            (Some(_), Some(_)) => {
                settings.refuse("source", "excludes contents");
                None
            }
            (None, None) => {
                settings.problems().add(position, "source", "is missing, and so is contents");
                None
            }
        };
        let mut delimiter = |key, usual: &str| {
            let text = settings.string(key).filter(|text| !text.is_empty());
            text.unwrap_or_else(|| usual.to_owned())
        };
        let left_delimiter = delimiter("left_delimiter", "{{");
        let right_delimiter = delimiter("right_delimiter", "}}");
        let mut function_denylist = settings.strings("function_denylist").unwrap_or_default();
        function_denylist.extend(settings.strings("function_blacklist").unwrap_or_default());
        Some(Self {
            left_delimiter,
            right_delimiter,
            error_on_missing_key: settings.bool("error_on_missing_key").unwrap_or(false),
            error_fatal: settings.bool("error_fatal").unwrap_or(true),
            function_denylist,
            source: source?,
        })
    }
}

impl TemplateConfig {
    /// None where something is wrong that was reported.
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Option<Self> {
        let mut settings = block.settings(problems);
        let text = TemplateText::read(block.position, &mut settings);
        let destination = value::path(&mut settings, "destination");
        if destination.is_none() {
            let text = "is missing: the file to write";
            settings.problems().add(block.position, "template.destination", text);
        }
        let line = words(&mut settings, "command");
        let timeout = settings.duration("command_timeout");
        let exec = value::last_block(&mut settings, "exec", CommandConfig::read).flatten();
        let command = exec.or_else(|| line.map(|line| CommandConfig::plain(line, timeout)));
        let notify = value::last_block(&mut settings, "notify", NotifyConfig::read).flatten();
        let acknowledge = value::last_block(&mut settings, "acknowledge", AcknowledgeConfig::read);
        let acknowledge = acknowledge.flatten();
        if acknowledge.as_ref().is_some_and(|one| one.by == Acknowledgement::Ready) {
            let text = "has ready = true, which only the process in exec can say: write it there";
            settings.problems().add(block.position, "template.acknowledge", text);
        }
        let mode = value::mode(&mut settings, "perms");
        let user = value::principal(&mut settings, "user", "uid");
        let group = value::principal(&mut settings, "group", "gid");
        let create_dest_dirs = settings.bool("create_dest_dirs").unwrap_or(true);
        let backup = settings.bool("backup").unwrap_or(false);
        let wait = WaitConfig::read(&mut settings);
        let sandbox_path = value::path(&mut settings, "sandbox_path");
        let reload_signal = value::signal(&mut settings, "reload_signal");
        settings.finish();
        Some(Self {
            text: text?.into(),
            destination: destination?,
            mode,
            user,
            group,
            create_dest_dirs,
            backup,
            wait,
            sandbox_path,
            command,
            notify,
            reload_signal,
            acknowledge,
        })
    }
}

impl WaitConfig {
    /// `wait { min max }`, or `wait = "5s:20s"`.
    fn read(settings: &mut Settings<'_, '_>) -> Option<Self> {
        let (min, max) = if settings.has_text("wait") {
            let text = settings.string("wait")?;
            let (min, max) = text.split_once(':').unwrap_or((&text, ""));
            let parsed = Ttl::parse(min).and_then(|min| Ok((min.0, Ttl::parse(max)?.0)));
            let Ok(both) = parsed else {
                settings.refuse("wait", "expected durations such as \"5s:20s\"");
                return None;
            };
            both
        } else {
            value::last_block(settings, "wait", read_wait)?
        };
        let max = if max.is_zero() { min.saturating_mul(4) } else { max };
        if max < min {
            settings.refuse("wait", "its min is longer than its max");
        }
        (!max.is_zero()).then_some(Self { min, max })
    }
}

/// `min` and `max`, zero for what is left out.
fn read_wait(block: &Block<'_>, problems: &mut Problems) -> (Duration, Duration) {
    let mut settings = block.settings(problems);
    let enabled = settings.bool("enabled").unwrap_or(true);
    let min = settings.duration("min").unwrap_or_default();
    let max = settings.duration("max").unwrap_or_default();
    settings.finish();
    if enabled { (min, max) } else { Default::default() }
}
