//! `policy`: what tokens are allowed to do.

use std::fs;
use std::io::{self, Read};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use holdfast_policy::FormatError;
use serde_json::{Value, json};

use super::connection::Connection;
use super::output::{Format, FormatFlag, print_document, print_line, warn};
use super::secret::Secret;
use super::{Failure, Outcome};

/// Say what tokens are allowed to do.
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    List(List),
    Read(ReadPolicy),
    Write(Write),
    Delete(Delete),
    Fmt(Fmt),
}

/// List the names of policies.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault policy list")]
pub(super) struct List {
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// Print a policy.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault policy read web")]
pub(super) struct ReadPolicy {
    /// Its name
    name: String,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// Write a policy from a file or standard input, in place of what was there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault policy write web policies/web.hcl
  generate | vault policy write web -")]
pub(super) struct Write {
    /// Its name; upper case becomes lower case
    name: String,
    /// The file, or `-` for standard input
    file: String,
    #[command(flatten)]
    connection: Connection,
}

/// Delete a policy. Tokens that name it lose what it allowed at once.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault policy delete web")]
pub(super) struct Delete {
    /// Its name
    name: String,
    #[command(flatten)]
    connection: Connection,
}

/// Write a policy's file anew in its canonical form. Comments stay.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault policy fmt policies/web.hcl")]
pub(super) struct Fmt {
    /// The file
    file: String,
    #[command(flatten)]
    connection: Connection,
}

impl Policy {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::List(command) => command.run().await,
            Self::Read(command) => command.run().await,
            Self::Write(command) => command.run().await,
            Self::Delete(command) => command.run().await,
            Self::Fmt(command) => command.run(),
        }
    }
}

impl List {
    async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let secret = Secret::list(&client, "sys/policies/acl", &[]).await;
        let secret = secret.map_err(Failure::doing("Error listing policies"))?;
        let names = secret.as_ref().and_then(Secret::keys).cloned().unwrap_or_default();
        if format != Format::Table {
            return print_document(format, &names);
        }
        for name in names.iter().filter_map(Value::as_str) {
            print_line(name)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl ReadPolicy {
    async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let name = normal_name(&self.name);
        let secret = Secret::read(&client, &format!("sys/policies/acl/{name}"), &[]).await;
        let secret =
            secret.map_err(Failure::doing(format!("Error reading policy named {name}")))?;
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        match data.get("policy").and_then(Value::as_str).filter(|rules| !rules.is_empty()) {
            None => Err(Failure::Request(format!("No policy named: {name}"))),
            Some(rules) if format == Format::Table => print_line(rules.trim()),
            Some(rules) => print_document(format, &json!({ "policy": rules })),
        }
    }
}

impl Write {
    async fn run(&self) -> Outcome {
        let client = self.connection.client()?;
        let name = normal_name(&self.name);
        let rules = match self.file.trim() {
            "-" => {
                let mut rules = String::new();
                io::stdin().read_to_string(&mut rules).map(|_| rules)
            }
            path => fs::read_to_string(path),
        };
        let rules = rules.map_err(|error| {
            let cause = cause(self.file.trim(), &error);
            Failure::Request(format!("Error opening policy file: {cause}"))
        })?;
        let body = json!({ "policy": rules });
        let answer = Secret::write(&client, &format!("sys/policies/acl/{name}"), &body).await;
        answer.map_err(Failure::doing("Error uploading policy"))?;
        if name != self.name {
            warn(&format!("Policy name was converted from \"{}\" to \"{name}\"", self.name));
        }
        print_line(&format!("Success! Uploaded policy: {name}"))
    }
}

impl Delete {
    async fn run(&self) -> Outcome {
        let client = self.connection.client()?;
        let name = normal_name(&self.name);
        let answer = Secret::delete(&client, &format!("sys/policies/acl/{name}"), &[]).await;
        answer.map_err(Failure::doing(format!("Error deleting {name}")))?;
        print_line(&format!("Success! Deleted policy: {name}"))
    }
}

impl Fmt {
    fn run(&self) -> Outcome {
        // Its flags are those of all commands; none of them is of use here.
        let Self { file, connection: _ } = self;
        let path = file.trim();
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::Usage(format!("Error reading source file: {}", cause(path, &error)))
        })?;
        let formatted = holdfast_policy::format(&text).map_err(|error| {
            Failure::Usage(match error {
                FormatError::Policy(error) => error.to_string(),
                FormatError::Form(error) => format!("Error printing result: {error}"),
            })
        })?;
        fs::write(path, formatted).map_err(|error| {
            Failure::Usage(format!("Error writing result: {}", cause(path, &error)))
        })?;
        print_line(&format!("Success! Formatted policy: {path}"))
    }
}

/// Why a file cannot be read, in Go's words where it is just not there.
fn cause(path: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("open {path}: no such file or directory"),
        io::ErrorKind::IsADirectory => format!("read {path}: is a directory"),
        _ => format!("{path}: {error}"),
    }
}

/// Policies are named in lower case.
fn normal_name(name: &str) -> String {
    name.trim().to_lowercase()
}
