//! `kv get`: read a secret.

use clap::Args;
use serde_json::Value;

use super::super::connection::Connection;
use super::super::output::{
    FieldFlags, Format, print_field, print_line, print_map, print_secret, print_warnings,
};
use super::super::secret::Secret;
use super::super::{Failure, Outcome, values};
use super::{Key, heading_over, print_path};

/// Read a secret, the current version or an older one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault kv get -mount=secret app
  vault kv get -field=password secret/app
  vault kv get -version=2 -format=json secret/app")]
pub(in super::super) struct Get {
    #[command(flatten)]
    key: Key,
    /// This version instead of the current one
    #[arg(long, value_name = "VERSION", allow_negative_numbers = true, default_value = "0", hide_default_value = true,
          value_parser = values::integer)]
    version: i64,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

impl Get {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        let client = self.connection.client()?;
        let location = self.key.locate(&client).await?;
        let path = location.face("data");
        let version = self.version.to_string();
        let query: &[_] = match (location.versioned, self.version) {
            (true, 1..) => &[("version", version.as_str())],
            _ => &[],
        };
        let secret = Secret::read(&client, &path, query).await;
        let secret = secret.map_err(Failure::doing(format!("Error reading {path}")))?;
        let Some(secret) = secret else {
            return Err(Failure::Request(format!("No value found at {path}")));
        };
        match &self.output.field {
            Some(field) if location.versioned => {
                self.print_versioned(format, field, &secret, &path)
            }
            Some(_) => self.output.print_secret(format, &secret),
            None if secret.wrap_info.is_some() || format != Format::Table => {
                print_secret(format, &secret)
            }
            None => print_tables(&secret, location.versioned, &path),
        }
    }

    /// Prints a field of the values; `data` is all of them, unless a value has that name.
    fn print_versioned(&self, format: Format, field: &str, secret: &Secret, path: &str) -> Outcome {
        let values = secret.data.as_ref().and_then(|data| data.get("data")?.as_object());
        let Some(values) = values else {
            return Err(Failure::Request(format!("No data found at {path}")));
        };
        if field == "data" && !values.contains_key("data") {
            return self.output.print_secret(format, secret);
        }
        print_field(format, values.get(field).cloned(), field, "map")
    }
}

fn print_tables(secret: &Secret, versioned: bool, path: &str) -> Outcome {
    print_warnings(secret);
    if versioned {
        print_path("Secret Path", path)?;
    }
    let data = secret.data.as_ref();
    if let Some(metadata) = data.and_then(|data| data.get("metadata")?.as_object()) {
        print_line(&heading_over("Metadata", metadata))?;
        print_map(Format::Table, metadata)?;
        print_line("")?;
    }
    let values = match versioned {
        true => data.and_then(|data| data.get("data")).and_then(Value::as_object),
        false => data,
    };
    if let Some(values) = values {
        print_line(&heading_over("Data", values))?;
        return print_map(Format::Table, values);
    }
    Ok(std::process::ExitCode::SUCCESS)
}
