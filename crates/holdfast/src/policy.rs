//! `holdfast policy`: policies looked at before a server has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::ValueEnum;
use holdfast_client::vault::{Method, Reply, Response};
use holdfast_policy::{Acl, Finding, Policy, PolicyError, SeenMount, lint, position_of};
use holdfast_types::{Clock, SystemClock};
use miette::{LabeledSpan, MietteDiagnostic, NamedSource, Report, SourceOffset};
use serde_json::{Value, json};

use crate::vault::Connection;
use crate::why::print;

/// A file of a directory can be this large, as for `holdfast apply`.
const MAX_FILE: u64 = 1 << 20;

/// Look at policies before a server has them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PolicyCommand {
    Lint(Lint),
}

/// Find rules that do not do what they look like.
///
/// Exit code 0: nothing is wrong. 1: something is. 2: a file cannot be read, or is no policy.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdfast policy lint examples/zero-trust           a platform directory: its mounts are known
  holdfast policy lint web.hcl --uses kv/data/web/db is a path that is in use covered?
  holdfast policy lint policies/ --address https://vault.example:8200")]
pub(crate) struct Lint {
    /// Policies, directories of them, or a platform directory.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// A path that is in use, which a rule has to cover; may be repeated.
    #[arg(long, value_name = "PATH")]
    uses: Vec<String>,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Something wrong, and where.
struct Problem {
    file: PathBuf,
    text: Arc<str>,
    finding: Finding,
}

/// What is looked at.
#[derive(Default)]
struct Seen {
    files: Vec<(PathBuf, Arc<str>)>,
    mounts: Vec<SeenMount>,
    /// Names of policies that files of a platform give to somebody, with the file.
    given: BTreeMap<String, PathBuf>,
    is_platform: bool,
}

impl PolicyCommand {
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Self::Lint(lint) => lint.run(),
        }
    }
}

impl Lint {
    fn run(&self) -> ExitCode {
        match self.look() {
            Ok((problems, broken)) => {
                let code = if broken { 2 } else { u8::from(!problems.is_empty()) };
                match self.print(&problems) {
                    Ok(()) => ExitCode::from(code),
                    Err(_) => ExitCode::from(2),
                }
            }
            Err(error) => {
                eprintln!("holdfast: {error:#}");
                ExitCode::from(2)
            }
        }
    }

    /// All that is wrong, and whether a policy could not be read.
    fn look(&self) -> anyhow::Result<(Vec<Problem>, bool)> {
        let mut seen = Seen::default();
        for path in &self.paths {
            seen.add(path)?;
        }
        if self.connection.has_address() {
            seen.mounts.extend(self.mounts()?);
        }
        let (mut problems, mut policies, mut broken) = (Vec::new(), Vec::new(), false);
        for (file, text) in &seen.files {
            let name = name_of(file);
            let found = match lint(&name, text, &seen.mounts) {
                Ok(found) => found,
                Err(error) => {
                    broken = true;
                    vec![unreadable(&error)]
                }
            };
            problems.extend(found.into_iter().map(|finding| Problem {
                file: file.clone(),
                text: text.clone(),
                finding,
            }));
            policies.extend(Policy::parse(&name, text).ok().map(Arc::new));
        }
        problems.extend(self.uncovered(&seen, &policies));
        problems.extend(seen.unused());
        Ok((problems, broken))
    }

    fn mounts(&self) -> anyhow::Result<Vec<SeenMount>> {
        let client = self.connection.connect(None)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let response = runtime.block_on(client.request(Method::GET, "sys/mounts", None, &[]));
        let reply: Reply =
            response.and_then(Response::success).context("read the server's mounts")?.parse()?;
        Ok(reply.data.unwrap_or_default().iter().map(|(path, row)| mount(path, row)).collect())
    }

    /// Paths in use that no policy has a rule for.
    fn uncovered(&self, seen: &Seen, policies: &[Arc<Policy>]) -> Vec<Problem> {
        let acl = Acl::new(policies.iter().cloned(), SystemClock.now());
        let Some((file, text)) = seen.files.first() else { return Vec::new() };
        let open = self.uses.iter().filter(|path| acl.find(path, true).is_none());
        open.map(|path| Problem {
            file: file.clone(),
            text: text.clone(),
            finding: Finding {
                code: "not-covered",
                line: 0,
                column: 0,
                message: format!("{path} is in use, and no rule of any policy covers it"),
                fix: format!("add path {path:?} {{ capabilities = [\"read\"] }} to a policy"),
            },
        })
        .collect()
    }

    fn print(&self, problems: &[Problem]) -> anyhow::Result<()> {
        if self.output == Output::Json {
            let rows: Vec<_> = problems.iter().map(Problem::to_json).collect();
            return print(&format!("{}\n", serde_json::to_string_pretty(&rows)?));
        }
        for problem in problems {
            eprintln!("{:?}", problem.report());
        }
        let count = problems.len();
        print(&match count {
            0 => "nothing is wrong\n".to_owned(),
            1 => "1 problem\n".to_owned(),
            _ => format!("{count} problems\n"),
        })
    }
}

impl Problem {
    fn to_json(&self) -> Value {
        let Finding { code, line, column, message, fix } = &self.finding;
        json!({
            "file": self.file,
            "line": line,
            "column": column,
            "code": code,
            "message": message,
            "fix": fix,
        })
    }

    fn report(&self) -> Report {
        let Finding { code, line, column, message, fix } = &self.finding;
        let diagnostic = MietteDiagnostic::new(message.clone()).with_code(*code).with_help(fix);
        if *line == 0 {
            return Report::new(diagnostic);
        }
        let (line, column) = (*line as usize, *column as usize);
        let start = SourceOffset::from_location(&*self.text, line, column).offset();
        let rest = self.text.get(start..).unwrap_or_default();
        let length = rest.find(['\n', '{']).map_or(rest.len(), |end| rest[..end].trim_end().len());
        let label = LabeledSpan::at(start..start + length, code.replace('-', " "));
        let source = NamedSource::new(self.file.display().to_string(), self.text.to_string());
        Report::new(diagnostic.with_label(label)).with_source_code(source)
    }
}

impl Seen {
    /// Takes in a policy, a directory of them, or a platform directory.
    fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        if !path.is_dir() {
            return self.add_file(path);
        }
        let platform = path.join("holdfast.toml").exists();
        let folder = if platform { path.join("policies") } else { path.to_owned() };
        let before = self.files.len();
        for file in files(&folder, "hcl")? {
            self.add_file(&file)?;
        }
        if platform {
            self.is_platform = true;
            for file in files(&path.join("vault/sys/mounts"), "json")? {
                let row = object(&file)?;
                self.mounts.push(mount(&format!("{}/", name_of(&file)), &row));
            }
            for file in deep_files(&path.join("vault"))? {
                for name in given(&object(&file)?) {
                    self.given.entry(name).or_insert_with(|| file.clone());
                }
            }
        } else if self.files.len() == before {
            bail!("{}: there is no policy, that is, no file named .hcl", path.display());
        }
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> anyhow::Result<()> {
        self.files.push((path.to_owned(), read(path)?.into()));
        Ok(())
    }

    /// Of a platform: policies that nobody is given, and those that are given and not there.
    fn unused(&self) -> Vec<Problem> {
        // `holdfast login` gives this one; the server itself the other.
        const ALWAYS: [&str; 3] = ["operator", "default", "root"];
        if !self.is_platform {
            return Vec::new();
        }
        let names: BTreeSet<String> = self.files.iter().map(|(file, _)| name_of(file)).collect();
        let unused = self.files.iter().filter(|(file, _)| {
            let name = name_of(file);
            !self.given.contains_key(&name) && !ALWAYS.contains(&name.as_str())
        });
        let problem = |file: &PathBuf, text: &Arc<str>, code, message, fix: String| Problem {
            file: file.clone(),
            text: text.clone(),
            finding: Finding { code, line: 0, column: 0, message, fix },
        };
        let unused = unused.map(|(file, text)| {
            let message =
                format!("{}: no role of the platform is given this policy", file.display());
            problem(
                file,
                text,
                "unused-policy",
                message,
                "name it at a role, or remove it".to_owned(),
            )
        });
        let missing = self
            .given
            .iter()
            .filter(|(name, _)| !names.contains(*name) && !ALWAYS.contains(&name.as_str()));
        let missing = missing.map(|(name, file)| {
            let message =
                format!("{}: names the policy {name}, which is not there", file.display());
            let fix = format!("write policies/{name}.hcl, or correct the name");
            problem(file, &"".into(), "missing-policy", message, fix)
        });
        unused.chain(missing).collect()
    }
}

/// The names of policies in the fields that give them.
fn given(fields: &Value) -> Vec<String> {
    let fields = ["token_policies", "policies", "allowed_policies"].map(|name| &fields[name]);
    let mut names = Vec::new();
    for field in fields {
        match field {
            Value::String(list) => names.extend(list.split(',').map(|name| name.trim().to_owned())),
            Value::Array(list) => {
                names.extend(list.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn mount(path: &str, row: &Value) -> SeenMount {
    let kv2 = match row["type"].as_str() {
        Some("kv-v2") => true,
        Some("kv") => row["options"]["version"] == "2" || row["options"]["version"] == 2,
        _ => false,
    };
    SeenMount { path: path.to_owned(), kv2 }
}

fn unreadable(error: &PolicyError) -> Finding {
    let at = position_of(error);
    Finding {
        code: "no-policy",
        line: at.map_or(0, |at| at.line),
        column: at.map_or(0, |at| at.column),
        message: error.to_string(),
        fix: "no server takes this policy: correct it first".to_owned(),
    }
}

fn name_of(file: &Path) -> String {
    file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn read(path: &Path) -> anyhow::Result<String> {
    let size = fs::metadata(path).with_context(|| format!("read {}", path.display()))?.len();
    if size > MAX_FILE {
        bail!("{}: larger than {MAX_FILE} bytes", path.display());
    }
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn object(path: &Path) -> anyhow::Result<Value> {
    serde_json::from_str(&read(path)?).with_context(|| format!("{}: no JSON", path.display()))
}

/// The files of a folder with that ending, sorted; none where there is no folder.
fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_file() && path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// All JSON files below a folder.
fn deep_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        found.extend(files(&folder, "json")?);
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
            let entry = entry?;
            // A link could lead round in a circle.
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
