//! One template: its text, and what it makes of the secrets of a moment.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_ctmpl::{
    Answer, Error, ErrorKind, Limits, MissingKey, Need, Options, Output, Source, Template, Value,
    WriteFile,
};
use holdfast_types::{Clock, SecretBytes, Timestamp};
use nix::fcntl::OFlag;
use tokio::time::Instant;

use crate::config::{TemplateSource, TemplateText};
use crate::files;
use crate::generation::SourceRecord;
use crate::status::Problem;
use crate::store::{Core, Failure, FailureKind, Found, Request};

/// The largest template, and the largest file that one may read.
const LARGEST: u64 = 16 << 20;
/// How long one rendering may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many answers are kept as templates see them, while they are rendered.
const VALUES: usize = 32;
/// What Go prints for a key that is not there.
const NO_VALUE: &[u8] = b"<no value>";

/// A template as the operator wrote it. It is parsed each time that it is rendered: the trees of a
/// thousand would be most of what the agent keeps in memory.
pub(super) struct Loaded {
    text: Arc<TemplateText>,
    sandbox: Option<PathBuf>,
    /// Of a file, its text as it was last read.
    read: Option<Result<Box<[u8]>, Problem>>,
}

/// What a template made of a moment.
pub(super) enum Rendered {
    /// All of it.
    Complete(Made),
    /// Nothing yet: some needs are on their way.
    Pending(Vec<Need>),
    /// It cannot be rendered.
    Failed {
        /// Why not.
        problem: Problem,
        /// What it asked for until then.
        needs: Vec<Need>,
        /// Whether it is the template's own fault, and not that a secret cannot be had.
        is_own: bool,
    },
}

/// What came out. Less than all that is known of it: a thousand may wait for each other.
pub(super) struct Made {
    /// The text.
    pub(super) bytes: SecretBytes,
    /// The secrets in it.
    pub(super) sources: Vec<SourceRecord>,
    /// The leases that it depends on.
    pub(super) leases: Vec<String>,
    /// What was asked for.
    pub(super) needs: Vec<Need>,
    /// The files that it read.
    pub(super) files: Vec<String>,
    /// What is to be done beside.
    pub(super) effects: Vec<WriteFile>,
    /// Whether it holds what Go prints for a key that is not there, and the template does not.
    pub(super) lacks_a_key: bool,
}

impl Loaded {
    pub(super) fn new(text: Arc<TemplateText>, sandbox: Option<PathBuf>) -> Self {
        let mut this = Self { text, sandbox, read: None };
        this.reload();
        this
    }

    /// Reads the template again. What is wrong with it shows when it is rendered.
    pub(super) fn reload(&mut self) {
        self.read = match &self.text.source {
            TemplateSource::Contents(_) => None,
            TemplateSource::File(path) => Some(read_bounded(path).map(Vec::into_boxed_slice)),
        };
    }

    fn bytes(&self) -> Result<&[u8], Problem> {
        match (&self.text.source, &self.read) {
            (TemplateSource::Contents(text), _) => Ok(text.as_bytes()),
            (_, Some(Ok(bytes))) => Ok(bytes),
            (_, Some(Err(problem))) => Err(problem.clone()),
            (_, None) => Ok(&[]),
        }
    }

    fn parse(&self) -> Result<Template, Problem> {
        let parsed = Template::parse(&self.name(), self.bytes()?, &self.options());
        let parsed = parsed.map_err(|error| of_error(&error))?;
        self.check_calls(&parsed)?;
        Ok(parsed)
    }

    /// Passes where the template calls nothing that the operator forbids.
    fn check_calls(&self, template: &Template) -> Result<(), Problem> {
        let forbidden = &self.text.function_denylist;
        if forbidden.is_empty() {
            return Ok(());
        }
        let calls = template.calls();
        let call = calls.iter().find(|call| forbidden.iter().any(|name| name == call.function));
        call.map_or(Ok(()), |call| {
            let message = format!("function is disabled: {} (function_denylist)", call.function);
            let (line, column) = (Some(call.position.0), Some(call.position.1 + 1));
            Err(Problem { message, line, column, explain: None })
        })
    }

    /// The file, or what stands for it.
    pub(super) fn name(&self) -> String {
        match &self.text.source {
            TemplateSource::Contents(_) => "(contents)".to_owned(),
            TemplateSource::File(path) => path.display().to_string(),
        }
    }

    /// The file, if there is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.text.source {
            TemplateSource::Contents(_) => None,
            TemplateSource::File(path) => Some(path),
        }
    }

    /// Whether a failure to render ends an agent that is to end at failures.
    pub(super) fn is_fatal(&self) -> bool {
        self.text.error_fatal
    }

    fn options(&self) -> Options {
        Options {
            left_delimiter: self.text.left_delimiter.clone(),
            right_delimiter: self.text.right_delimiter.clone(),
            missing_key: match self.text.error_on_missing_key {
                true => MissingKey::Error,
                false => MissingKey::Zero,
            },
            ..Options::default()
        }
    }

    /// Renders it with what `moment` knows.
    pub(super) fn render(&self, moment: &Moment<'_>) -> Rendered {
        let template = match self.parse() {
            Ok(template) => template,
            Err(problem) => {
                return Rendered::Failed { problem, needs: Vec::new(), is_own: true };
            }
        };
        let view = View {
            moment,
            sandbox: self.sandbox.as_deref(),
            asked: RefCell::default(),
            failure: RefCell::default(),
            until: Instant::now() + PATIENCE,
        };
        match template.render(&view, &Limits::default()) {
            Ok(output) if output.complete => Rendered::Complete(self.made(output, moment.core)),
            Ok(output) => Rendered::Pending(output.needs),
            Err(error) => {
                let mut problem = of_error(&error);
                problem.explain = view.failure.take().and_then(|failure| failure.explain);
                let is_own = error.kind() != ErrorKind::Source;
                Rendered::Failed { problem, needs: view.asked.take(), is_own }
            }
        }
    }

    fn made(&self, output: Output, core: &Core) -> Made {
        let lacks_a_key = contains(output.bytes.expose(), NO_VALUE)
            && !self.bytes().is_ok_and(|text| contains(text, NO_VALUE));
        let (sources, leases) = (sources_of(&output, core), leases_of(&output, core));
        let Output { bytes, needs, files, effects, .. } = output;
        Made { bytes, sources, leases, needs, files, effects, lacks_a_key }
    }
}

fn of_error(error: &Error) -> Problem {
    Problem {
        message: error.to_string(),
        line: Some(error.line()).filter(|line| *line > 0),
        column: error.column().map(|column| column + 1),
        explain: None,
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, Problem> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = files::open_regular(path, OFlag::empty())?;
        file.take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    };
    read().map_err(|error| Problem {
        message: format!("read {}: {error}", path.display()),
        line: None,
        column: None,
        explain: None,
    })
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

/// What is asked of the server for a need.
pub(super) fn request_of(need: &Need) -> Request {
    let pairs = |parameters: &BTreeMap<String, String>| {
        parameters.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    match need {
        Need::Read { path, parameters } => {
            Request::Read { path: path.clone(), query: pairs(parameters) }
        }
        Need::List { path } => Request::List { path: path.clone() },
        Need::Write { path, parameters } | Need::PkiCert { path, parameters } => {
            Request::Write { path: path.clone(), fields: pairs(parameters) }
        }
    }
}

/// The secrets whose values are in an output that was rendered with what `core` knows.
fn sources_of(output: &Output, core: &Core) -> Vec<SourceRecord> {
    let rotated = |path: &str| {
        let requests = output.needs.iter().map(request_of);
        requests.filter(|request| core.path(request) == path).find_map(|request| {
            match core.find(&request) {
                Found::Known(answer) => answer.rotated.clone(),
                Found::Pending | Found::Failed(_) => None,
            }
        })
    };
    let mut fields: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for span in &output.spans {
        for origin in span.origins.iter() {
            fields.entry((&origin.path, &origin.version)).or_default().push(&origin.field);
        }
    }
    let record = |((path, version), mut fields): ((&str, &str), Vec<&str>)| {
        fields.sort_unstable();
        fields.dedup();
        SourceRecord {
            path: path.to_owned(),
            version: version.parse().ok(),
            rotated: rotated(path),
            fields: fields.into_iter().map(str::to_owned).collect(),
        }
    };
    fields.into_iter().map(record).collect()
}

/// The leases of all that an output asked for, whether a value of theirs is in it or decided of it.
fn leases_of(output: &Output, core: &Core) -> Vec<String> {
    let requests = output.needs.iter().map(request_of);
    let leases = requests.filter_map(|request| core.lease(&request).map(str::to_owned));
    leases.collect::<BTreeSet<_>>().into_iter().collect()
}

/// All that is known at one moment, for all templates that are rendered in it.
pub(super) struct Moment<'a> {
    core: &'a Core,
    clock: &'a dyn Clock,
    /// What answers look like to templates: made once for those that ask for the same close to each
    /// other, and not kept for all.
    values: RefCell<HashMap<Need, Value>>,
}

impl<'a> Moment<'a> {
    pub(super) fn new(core: &'a Core, clock: &'a dyn Clock) -> Self {
        Self { core, clock, values: RefCell::default() }
    }

    fn value(&self, need: &Need, answer: &crate::store::Answer) -> Value {
        if let Some(value) = self.values.borrow().get(need) {
            return value.clone();
        }
        let request = request_of(need);
        let path = self.core.path(&request);
        let json = answer.to_json();
        let data = &json["data"];
        let value = match need {
            Need::Read { .. } | Need::Write { .. } => holdfast_ctmpl::secret(path, &json),
            Need::List { .. } => {
                let keys = data["keys"].as_array().into_iter().flatten();
                holdfast_ctmpl::names(path, keys.filter_map(|key| Some(key.as_str()?.to_owned())))
            }
            Need::PkiCert { .. } => certificate(path, data),
        };
        let mut values = self.values.borrow_mut();
        if values.len() >= VALUES {
            values.clear();
        }
        values.insert(need.clone(), value.clone());
        value
    }
}

fn certificate(path: &str, data: &serde_json::Value) -> Value {
    let block = |value: &serde_json::Value| {
        let text = value.as_str().unwrap_or_default().trim_end();
        if text.is_empty() { String::new() } else { format!("{text}\n") }
    };
    let mut chain: Vec<String> =
        data["ca_chain"].as_array().into_iter().flatten().map(block).collect();
    if chain.is_empty() {
        chain.extend(Some(block(&data["issuing_ca"])).filter(|block| !block.is_empty()));
    }
    let serial = data["serial_number"].as_str().unwrap_or_default();
    holdfast_ctmpl::certificate(
        path,
        serial,
        &block(&data["certificate"]),
        &block(&data["private_key"]),
        &chain,
    )
}

/// A moment as one template sees it.
struct View<'a> {
    moment: &'a Moment<'a>,
    sandbox: Option<&'a Path>,
    asked: RefCell<Vec<Need>>,
    failure: RefCell<Option<Failure>>,
    until: Instant,
}

impl Source for View<'_> {
    fn ask(&self, need: &Need) -> Answer {
        self.asked.borrow_mut().push(need.clone());
        match self.moment.core.find(&request_of(need)) {
            Found::Known(answer) => Answer::Known(self.moment.value(need, &answer)),
            Found::Pending => Answer::Pending,
            // Nothing there is no names, as consul-template has it.
            Found::Failed(failure)
                if failure.kind == FailureKind::Absent && matches!(need, Need::List { .. }) =>
            {
                Answer::Known(holdfast_ctmpl::names(need.path(), []))
            }
            // A secret that is not there is waited for: a file without it would be a broken one.
            Found::Failed(failure) => {
                let message = failure.message.clone();
                *self.failure.borrow_mut() = Some(failure);
                Answer::Failed(message)
            }
        }
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        let path = Path::new(path);
        if let Some(sandbox) = self.sandbox {
            let real = fs::canonicalize(path);
            let real = real.map_err(|error| format!("open {}: {error}", path.display()))?;
            if !fs::canonicalize(sandbox).is_ok_and(|sandbox| real.starts_with(sandbox)) {
                return Err(format!(
                    "'{}' is outside of sandbox ({})",
                    path.display(),
                    sandbox.display()
                ));
            }
        }
        read_bounded(path).map_err(|problem| problem.message)
    }

    fn now(&self) -> Timestamp {
        self.moment.clock.now()
    }

    fn expired(&self) -> bool {
        Instant::now() > self.until
    }
}
