//! How answers are printed: as a table, JSON, YAML, or one field alone.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use super::secret::Secret;
use super::table::{self, human_seconds, looks_like_duration};
use super::{Failure, Outcome, environment, json, yaml};

/// The flag of commands that print one document.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct FormatFlag {
    /// How to print: table, json or yaml [env: `BAO_FORMAT`] [default: table]
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// The flags of commands that can print one field of it alone.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct FieldFlags {
    /// Print this field alone, without a newline when piped
    #[arg(long, value_name = "NAME")]
    pub(super) field: Option<String>,
    #[command(flatten)]
    format: FormatFlag,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Json,
    Yaml,
    /// The body as it came.
    Raw,
}

impl FormatFlag {
    /// The flag with this value.
    #[cfg(test)]
    pub(super) fn of(format: &str) -> Self {
        Self { format: Some(format.to_owned()) }
    }

    /// The format asked for by flag, else by the environment.
    pub(super) fn resolve(&self) -> Result<Format, Failure> {
        match self.resolve_with_raw()? {
            Format::Raw => {
                let text = "This command does not support the -format=raw option.";
                Err(Failure::Usage(text.into()))
            }
            format => Ok(format),
        }
    }

    /// The same for the command that can print the body as it came.
    pub(super) fn resolve_with_raw(&self) -> Result<Format, Failure> {
        let name = self.format.clone().filter(|name| !name.is_empty());
        Format::parse(&name.or_else(|| environment::read("FORMAT")).unwrap_or_default())
    }
}

impl Format {
    /// The format of this name; a table for none.
    pub(super) fn parse(name: &str) -> Result<Self, Failure> {
        match name.to_lowercase().as_str() {
            "" | "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "yaml" | "yml" => Ok(Self::Yaml),
            "raw" => Ok(Self::Raw),
            name => Err(Failure::Usage(format!("Invalid output format: {name}"))),
        }
    }
}

impl FieldFlags {
    /// As [`FormatFlag::resolve`].
    pub(super) fn resolve(&self) -> Result<Format, Failure> {
        self.format.resolve()
    }

    /// As [`FormatFlag::resolve_with_raw`].
    pub(super) fn resolve_with_raw(&self) -> Result<Format, Failure> {
        self.format.resolve_with_raw()
    }

    /// Prints `secret`, or the one field of it that was asked for.
    pub(super) fn print_secret(&self, format: Format, secret: &Secret) -> Outcome {
        print_secret_field(format, self.field.as_deref(), secret)
    }
}

impl FieldFlags {
    /// Prints an object, or the one field of it that was asked for.
    pub(super) fn print_map(&self, format: Format, mut map: Map<String, Value>) -> Outcome {
        match &self.field {
            Some(field) => print_field(format, map.remove(field), field, "map"),
            None => print_map(format, &map),
        }
    }

    /// Prints what a write answered, or `success` where it answered nothing.
    pub(super) fn print_answer(
        &self,
        format: Format,
        answer: Option<Secret>,
        success: &str,
    ) -> Outcome {
        match answer {
            Some(secret) => self.print_secret(format, &secret),
            None => print_success(format, success),
        }
    }
}

/// Prints `text` for a person; a program reads the exit code.
pub(super) fn print_success(format: Format, text: &str) -> Outcome {
    if format == Format::Table { print_line(text) } else { Ok(ExitCode::SUCCESS) }
}

/// Prints an answer, or one field of it.
pub(super) fn print_secret_field(format: Format, field: Option<&str>, secret: &Secret) -> Outcome {
    let Some(field) = field else { return print_secret(format, secret) };
    if format == Format::Table {
        print_warnings(secret);
    }
    print_field(format, secret.field(field), field, "secret")
}

/// Prints an answer.
pub(super) fn print_secret(format: Format, secret: &Secret) -> Outcome {
    match format {
        Format::Table => {
            print_warnings(secret);
            let rows = secret.rows();
            if !rows.is_empty() {
                print_rows(&["Key", "Value"], rows)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        _ => print_document(format, secret),
    }
}

/// Prints a value as JSON or YAML. Tables are each command's own.
pub(super) fn print_document(format: Format, document: &impl Serialize) -> Outcome {
    let text = document_text(format, document)?;
    print_line(&text)
}

/// A value as JSON or YAML, without a newline at its end.
fn document_text(format: Format, document: &impl Serialize) -> Result<String, Failure> {
    let failed = |error| Failure::Usage(format!("Could not parse output: {error}"));
    match format {
        Format::Yaml => Ok(yaml::write(&serde_json::to_value(document).map_err(failed)?)),
        _ => json::write(document).map_err(failed),
    }
}

/// Prints an object as a table of keys and values, or in the other formats.
pub(super) fn print_map(format: Format, map: &Map<String, Value>) -> Outcome {
    if format != Format::Table {
        return print_document(format, map);
    }
    if map.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    print_rows(&["Key", "Value"], map_rows(map))
}

/// The rows of an object: durations as people write them, the rest as Go prints them.
pub(super) fn map_rows(map: &Map<String, Value>) -> Vec<Vec<String>> {
    map.iter()
        .map(|(key, value)| {
            let text = match value.as_i64() {
                Some(seconds) if looks_like_duration(key) => human_seconds(seconds),
                _ => table::go_value(value),
            };
            vec![key.clone(), text]
        })
        .collect()
}

/// Prints a list of names under a heading, or in the other formats as it is.
pub(super) fn print_keys(format: Format, secret: &Secret, keys: &[Value]) -> Outcome {
    if format != Format::Table {
        return print_document(format, &keys);
    }
    print_warnings(secret);
    let mut names: Vec<String> = keys.iter().map(table::go_value).collect();
    names.sort();
    if names.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    print_rows(&["Keys"], names.into_iter().map(|name| vec![name]).collect())
}

/// Prints a table with its heading.
pub(super) fn print_rows(heading: &[&str], rows: Vec<Vec<String>>) -> Outcome {
    print_line(&table::write(heading, rows))
}

/// Prints one value bare: its text, or in the format that was asked for.
pub(super) fn print_field(format: Format, value: Option<Value>, field: &str, of: &str) -> Outcome {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Err(Failure::Usage(format!("Field {field:?} not present in {of}")));
    };
    match format {
        Format::Table | Format::Raw => print_bare(&table::go_value(&value)),
        // YAML ends with a newline here, as in the official client.
        Format::Yaml => print_bare(&format!("{}\n", document_text(format, &value)?)),
        Format::Json => print_bare(&document_text(format, &value)?),
    }
}

/// Prints `text`; with a newline only for a person, so that a pipe gets the value and no more.
pub(super) fn print_bare(text: &str) -> Outcome {
    if io::stdout().is_terminal() {
        return print_line(text);
    }
    print(text)
}

/// Prints `text` and a newline.
pub(super) fn print_line(text: &str) -> Outcome {
    print(&format!("{text}\n"))
}

/// Prints the warnings in an answer, to stderr.
pub(super) fn print_warnings(secret: &Secret) {
    let warnings = secret.warnings.as_deref().unwrap_or_default();
    if warnings.is_empty() {
        return;
    }
    warn("WARNING! The following warnings were returned from OpenBao:\n");
    for warning in warnings {
        warn(&table::wrap(&format!("* {warning}"), 2));
        warn("");
    }
}

/// Tells a person something beside the output.
pub(super) fn warn(text: &str) {
    anstream::eprintln!("{text}");
}

/// Writes to stdout. A reader that went away (`| head`) is no failure.
fn print(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Usage(format!("write the output: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
