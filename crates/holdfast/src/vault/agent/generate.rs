//! `agent generate-config`: a file for an agent that starts a program with secrets in its environment.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use holdfast_client::vault::VaultClient;
use serde_json::{Map, Value};

use super::super::connection::{Connection, explain};
use super::super::kv::Location;
use super::super::output::{print_line, warn};
use super::super::path::sanitize;
use super::super::secret::Secret;
use super::super::token_file::TokenFile;
use super::super::{Failure, Outcome};

/// As many secrets as one file may name.
const MOST_SECRETS: usize = 10_000;

/// Write the configuration of an agent that starts a program with secrets in its environment.
///
/// Each field of a secret becomes a variable, such as `APP_PASSWORD` for the field password of secret/app.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault agent generate-config -type=env-template -path=secret/app -exec=./app
  vault agent generate-config -type=env-template -path='secret/team/*' team.hcl")]
pub(super) struct GenerateConfig {
    /// Where to write it
    #[arg(default_value = "agent.hcl")]
    file: String,
    /// What to write: env-template
    #[arg(long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    kind: String,
    /// A secret, or with `/*` at the end all below a path; may be repeated
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// The program to start, with its arguments
    #[arg(long, value_name = "COMMAND", default_value = "env")]
    exec: String,
    #[command(flatten)]
    connection: Connection,
}

/// A variable of the program's environment.
#[derive(Debug, PartialEq, Eq)]
struct Variable {
    name: String,
    template: String,
}

impl GenerateConfig {
    pub(super) async fn run(&self) -> Outcome {
        if self.kind != "env-template" {
            let text = match self.kind.as_str() {
                "" => "Please specify a -type flag; ".to_owned(),
                kind => format!("{kind:?} is not a supported configuration type; "),
            };
            let text = text + "currently only -type=\"env-template\" is supported.";
            return Err(Failure::Usage(text));
        }
        let client = self.connection.client()?;
        let mut variables = Vec::new();
        for path in &self.path {
            let path = sanitize(path);
            add(&client, path, &mut variables).await.map_err(|text| {
                Failure::Request(format!("Error: could not generate templates: {text}"))
            })?;
        }
        let token = TokenFile::find()?;
        let command: Vec<&str> = self.exec.split(' ').collect();
        let text = config(&client.address().to_string(), &token.path(), &command, &variables);
        let failed = |doing: &str, error: std::io::Error| {
            warn(&format!("Could not {doing} configuration file {:?}: {error}", self.file));
            Failure::Told(3)
        };
        let mut file = File::create(&self.file).map_err(|error| failed("create", error))?;
        file.write_all(text.as_bytes()).map_err(|error| failed("write to", error))?;
        print_line(&format!("Successfully generated {:?} configuration file!", self.file))?;
        warn(
            "Warning: the generated file uses 'token_file' authentication method, which is not \
             suitable for production environments.",
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// Adds the variables of the secret at `path`, or of all below it.
async fn add(
    client: &VaultClient,
    path: &str,
    variables: &mut Vec<Variable>,
) -> Result<(), String> {
    let folder = path.strip_suffix("/*");
    if folder.unwrap_or(path).contains('*') {
        return Err(format!(
            "the path {path:?} cannot contain '*' wildcard characters except as the last element \
             of the path"
        ));
    }
    let location = Location::find(client, folder.unwrap_or(path)).await;
    let location = location.map_err(|failure| match failure {
        Failure::Usage(text) | Failure::Request(text) => {
            format!("could not validate secret path {path:?}: {text}")
        }
        Failure::Told(_) => format!("could not validate secret path {path:?}"),
    })?;
    let location = location.without_face();
    let Some(_) = folder else {
        let added = of_secret(client, &location, variables).await;
        return added.map_err(|text| format!("could not read secret at {path:?}: {text}"));
    };
    let (mut rest, mut seen) = (vec![(location, true)], 0);
    while let Some((at, is_folder)) = rest.pop() {
        if !is_folder {
            of_secret(client, &at, variables).await?;
            continue;
        }
        let listed = Secret::list(client, &at.face("metadata"), &[]).await;
        let listed = listed.map_err(|error| explain(&error))?;
        let names = listed.as_ref().and_then(Secret::keys);
        let names = names.ok_or_else(|| format!("no value found at {:?}", at.face("metadata")))?;
        let mut names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
        names.sort_unstable();
        seen += names.len();
        if seen > MOST_SECRETS {
            return Err(format!("there are more than {MOST_SECRETS} secrets below {path:?}"));
        }
        // The first is the next.
        rest.extend(
            names
                .iter()
                .rev()
                .map(|name| (at.below(name.trim_end_matches('/')), name.ends_with('/'))),
        );
    }
    Ok(())
}

async fn of_secret(
    client: &VaultClient,
    location: &Location,
    variables: &mut Vec<Variable>,
) -> Result<(), String> {
    let path = location.face("data");
    let secret = Secret::read(client, &path, &[]).await;
    let secret = secret.map_err(|error| format!("error querying: {}", explain(&error)))?;
    let data = secret.and_then(|secret| secret.data).ok_or("secret not found")?;
    let (fields, place) = match location.versioned {
        false => (Some(&data), ".Data"),
        true => (data.get("data").and_then(Value::as_object), ".Data.data"),
    };
    let fields: &Map<String, Value> = fields.ok_or("secret.Data not found")?;
    variables.extend(fields.keys().map(|field| Variable {
        name: variable(&path, field),
        template: template(&path, place, field),
    }));
    Ok(())
}

/// `{{ with secret "secret/data/app" }}{{ .Data.data.password }}{{ end }}`. A field whose name is
/// no word of the template language is asked for by its name in quotes.
fn template(path: &str, place: &str, field: &str) -> String {
    let is_word = field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !field.starts_with(|c: char| c.is_ascii_digit());
    let value = match is_word && !field.is_empty() {
        true => format!("{place}.{field}"),
        false => format!("index {place} {}", quoted(field)),
    };
    format!("{{{{ with secret {} }}}}{{{{ {value} }}}}{{{{ end }}}}", quoted(path))
}

/// The name of a secret's field in the environment: `APP_PASS_WORD` of `pass-word` in `x/app`.
fn variable(path: &str, field: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    let words = [last, field].map(|text| text.split(|c: char| !c.is_alphanumeric()));
    let words: Vec<_> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
    words.join("_").to_uppercase()
}

fn config(address: &str, token: &str, command: &[&str], variables: &[Variable]) -> String {
    let mut text = format!(
        "\nauto_auth {{\n\n  method {{\n    type = \"token_file\"\n\n    config {{\n      \
         token_file_path = {}\n    }}\n  }}\n}}\n\ntemplate_config {{\n  \
         static_secret_render_interval = \"5m\"\n  exit_on_retry_failure         = true\n}}\n\n\
         vault {{\n  address = {}\n}}\n\n",
        hcl(token),
        hcl(address),
    );
    for Variable { name, template } in variables {
        let _ = writeln!(
            text,
            "env_template {} {{\n  contents             = {}\n  error_on_missing_key = true\n}}",
            hcl(name),
            hcl(template),
        );
    }
    if !variables.is_empty() {
        text.push('\n');
    }
    let command: Vec<_> = command.iter().map(|word| hcl(word)).collect();
    let _ = writeln!(
        text,
        "exec {{\n  command                   = [{}]\n  restart_on_secret_changes = \"always\"\n  \
         restart_stop_signal       = \"SIGTERM\"\n}}",
        command.join(", ")
    );
    text
}

/// A text of the template language.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A text of the configuration language, in which `${` and `%{` begin something else.
fn hcl(text: &str) -> String {
    quoted(text).replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use holdfast_agent::config::Overrides;

    use super::*;

    #[test]
    fn fields_become_variables() {
        for (path, field, want) in [
            ("secret/data/app", "password", "APP_PASSWORD"),
            ("secret/data/app", "pass-word", "APP_PASS_WORD"),
            ("kv/two.x", "a__b", "TWO_X_A_B"),
        ] {
            assert_eq!(variable(path, field), want, "{field}");
        }
        for (field, want) in [
            ("user", r#"{{ with secret "kv/app" }}{{ .Data.user }}{{ end }}"#),
            ("pass-word", r#"{{ with secret "kv/app" }}{{ index .Data "pass-word" }}{{ end }}"#),
            ("we\"ird", r#"{{ with secret "kv/app" }}{{ index .Data "we\"ird" }}{{ end }}"#),
        ] {
            assert_eq!(template("kv/app", ".Data", field), want, "{field}");
        }
    }

    #[test]
    fn an_agent_can_read_what_is_written() {
        let variable = Variable {
            name: "APP_USER".to_owned(),
            template: template("kv/app", ".Data", "we\"ird ${x}"),
        };
        let text =
            config("https://vault:8200", "/home/a/.vault-token", &["app", "-x"], &[variable]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.hcl");
        std::fs::write(&file, &text).unwrap();
        let loaded = holdfast_agent::config::load(&[file], &Overrides::default());
        assert!(
            loaded.is_ok(),
            "{text}\n{}",
            loaded.err().map(|e| e.to_string()).unwrap_or_default()
        );
    }
}
