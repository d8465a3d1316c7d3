//! `token`: make, look at, renew and revoke tokens.

use std::time::Duration;

use clap::{ArgAction, Args, Subcommand};
use holdfast_client::vault::Method;
use holdfast_types::format_go_duration;
use serde_json::{Map, Value, json};

use super::connection::Connection;
use super::output::{FieldFlags, Format, FormatFlag, print_document, print_line, print_secret};
use super::secret::Secret;
use super::{Failure, Outcome, values};

/// Make, look at, renew and revoke tokens.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    Create(Create),
    Lookup(Lookup),
    Renew(Renew),
    Revoke(Revoke),
    Capabilities(Capabilities),
}

/// Make a token, a child of the current one. Without -policy it may do what its parent may.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault token create -policy=web -ttl=20m
  vault token create -orphan -period=1h -field=token")]
pub(super) struct Create {
    /// A policy; may be repeated
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
    /// How long it lasts, unless renewed
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    ttl: Option<Duration>,
    /// How long it lasts at most, renewed or not
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    explicit_max_ttl: Option<Duration>,
    /// Make it last for ever, as long as it is renewed within this time
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    period: Option<Duration>,
    /// Whether it can be renewed
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_value = "true", default_missing_value = "true", value_parser = values::boolean)]
    renewable: bool,
    /// Let it outlive its parent
    #[arg(long)]
    orphan: bool,
    /// Leave out the policy `default`
    #[arg(long)]
    no_default_policy: bool,
    /// How many requests it is good for; 0: any number
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = values::integer)]
    use_limit: i64,
    /// Make it by this token role
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// `service` or `batch`
    #[arg(long = "type", value_name = "TYPE", default_value = "service")]
    kind: String,
    /// What the audit log says of it, `key=value`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    metadata: Vec<(String, String)>,
    /// What it is called
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    display_name: String,
    /// The entity alias to use, where the role allows it
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    entity_alias: String,
    /// The token itself, for the root token only; by default random
    #[arg(long, value_name = "TOKEN")]
    id: Option<String>,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

/// Show what the server knows about a token; without an argument, about the current one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault token lookup -field=ttl
  vault token lookup -accessor 9793c9b3-e04a-46f3-e7b8-748d7da248da")]
pub(super) struct Lookup {
    /// The token, or its accessor
    token: Option<String>,
    /// The argument is an accessor
    #[arg(long)]
    accessor: bool,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

/// Have a token last longer; without an argument, the current one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault token renew -increment=30m")]
pub(super) struct Renew {
    /// The token, or its accessor
    token: Option<String>,
    /// The argument is an accessor
    #[arg(long)]
    accessor: bool,
    /// For how long from now; a wish that the server may cut
    #[arg(short, long, value_name = "DURATION", value_parser = values::duration)]
    increment: Option<Duration>,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

/// Revoke a token with its children and all their leases.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault token revoke -self
  vault token revoke -accessor 9793c9b3-e04a-46f3-e7b8-748d7da248da
  vault token revoke -mode=path auth/apps")]
pub(super) struct Revoke {
    /// The token, its accessor, or with -mode=path a path
    token: Vec<String>,
    /// The argument is an accessor
    #[arg(long)]
    accessor: bool,
    /// Revoke the current token
    #[arg(long = "self")]
    own: bool,
    /// `orphan`: leave its children; `path`: all that came from a path
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true)]
    mode: String,
    #[command(flatten)]
    connection: Connection,
}

/// Show what a token may do at a path; without TOKEN, the current one.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vault token capabilities secret/data/app\n  \
                  vault token capabilities s.abcdef secret/data/app",
    override_usage = "vault token capabilities [OPTIONS] [TOKEN] <PATH>"
)]
pub(super) struct Capabilities {
    /// The token, and the path
    #[arg(value_name = "PATH")]
    first: String,
    /// The path, where a token is given
    #[arg(hide = true)]
    second: Option<String>,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

impl Token {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Create(command) => command.run().await,
            Self::Lookup(command) => command.run().await,
            Self::Renew(command) => command.run().await,
            Self::Revoke(command) => command.run().await,
            Self::Capabilities(command) => command.run().await,
        }
    }
}

impl Create {
    async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        let client = self.connection.client()?;
        let path = match self.role.as_deref() {
            None | Some("") => "auth/token/create".to_owned(),
            Some(role) => format!("auth/token/create/{role}"),
        };
        let answer = Secret::send(&client, Method::POST, &path, Some(&self.body())).await;
        let answer = answer.map_err(Failure::doing("Error creating token"))?;
        self.output.print_secret(format, &answer.unwrap_or_default())
    }

    fn body(&self) -> Value {
        let duration =
            |duration: Option<Duration>| format_go_duration(duration.unwrap_or_default());
        let mut body = json!({
            "ttl": duration(self.ttl),
            "explicit_max_ttl": duration(self.explicit_max_ttl),
            "period": duration(self.period),
            "display_name": self.display_name,
            "num_uses": self.use_limit,
            "renewable": self.renewable && self.kind != "batch",
            "type": self.kind,
            "entity_alias": self.entity_alias,
        });
        if let Some(id) = &self.id {
            body["id"] = id.as_str().into();
        }
        if !self.policy.is_empty() {
            body["policies"] = json!(self.policy);
        }
        if !self.metadata.is_empty() {
            let metadata: Map<_, _> =
                self.metadata.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            body["meta"] = metadata.into();
        }
        for (key, set) in
            [("no_parent", self.orphan), ("no_default_policy", self.no_default_policy)]
        {
            if set {
                body[key] = true.into();
            }
        }
        body
    }
}

impl Lookup {
    async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        let token = named(self.token.as_deref());
        if self.accessor && token.is_none() {
            let text = "Not enough arguments with -accessor (expected 1, got 0)";
            return Err(Failure::Usage(text.into()));
        }
        let client = self.connection.client()?;
        let answer = match token {
            None => Secret::read(&client, "auth/token/lookup-self", &[]).await,
            Some(accessor) if self.accessor => {
                let body = json!({ "accessor": accessor });
                let path = "auth/token/lookup-accessor";
                Secret::send(&client, Method::POST, path, Some(&body)).await
            }
            Some(token) => {
                let body = json!({ "token": token });
                Secret::send(&client, Method::POST, "auth/token/lookup", Some(&body)).await
            }
        };
        let answer = answer.map_err(Failure::doing("Error looking up token"))?;
        self.output.print_secret(format, &answer.unwrap_or_default())
    }
}

impl Renew {
    async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let increment = self.increment.unwrap_or_default().as_secs();
        let (method, path, body) = match named(self.token.as_deref()) {
            None => (Method::PUT, "auth/token/renew-self", json!({ "increment": increment })),
            Some(accessor) if self.accessor => (
                Method::POST,
                "auth/token/renew-accessor",
                json!({ "accessor": accessor, "increment": increment }),
            ),
            Some(token) => {
                (Method::PUT, "auth/token/renew", json!({ "token": token, "increment": increment }))
            }
        };
        let answer = Secret::send(&client, method, path, Some(&body)).await;
        let answer = answer.map_err(Failure::doing("Error renewing token"))?;
        print_secret(format, &answer.unwrap_or_default())
    }
}

impl Revoke {
    async fn run(&self) -> Outcome {
        self.check().map_err(Failure::Usage)?;
        let client = self.connection.client()?;
        let token = self.token.first().map(|token| token.trim()).unwrap_or_default();
        let body = json!({ "token": token });
        let (method, path, body) = match self.mode.as_str() {
            _ if self.own => (Method::PUT, "auth/token/revoke-self".to_owned(), None),
            "orphan" => (Method::PUT, "auth/token/revoke-orphan".to_owned(), Some(body)),
            "path" => (Method::PUT, format!("sys/leases/revoke-prefix/{token}"), None),
            _ if self.accessor => {
                let body = json!({ "accessor": token });
                (Method::POST, "auth/token/revoke-accessor".to_owned(), Some(body))
            }
            _ => (Method::PUT, "auth/token/revoke".to_owned(), Some(body)),
        };
        let answer = Secret::send(&client, method, &path, body.as_ref()).await;
        answer.map_err(Failure::doing("Error revoking token"))?;
        print_line("Success! Revoked token (if it existed)")
    }

    fn check(&self) -> Result<(), String> {
        let got = self.token.len();
        Err(match (self.mode.as_str(), self.own) {
            (mode, _) if !matches!(mode, "" | "orphan" | "path") => format!("Invalid mode: {mode}"),
            (_, true) if got > 0 => {
                format!("Too many arguments with -self (expected 0, got {got})")
            }
            (_, false) if got > 1 => {
                format!("Too many arguments (expected 1 or -self, got {got})")
            }
            (_, false) if got < 1 => {
                format!("Not enough arguments (expected 1 or -self, got {got})")
            }
            (_, true) if self.accessor => "Cannot use -self with -accessor!".to_owned(),
            (mode, true) if !mode.is_empty() => "Cannot use -self with -mode!".to_owned(),
            (mode, _) if self.accessor && !mode.is_empty() => {
                format!("Cannot use -accessor with -mode={mode}!")
            }
            _ => return Ok(()),
        })
    }
}

impl Capabilities {
    async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let (token, path) = match &self.second {
            Some(path) => (Some(self.first.as_str()), path),
            None => (None, &self.first),
        };
        let own = client.token().map(|token| token.expose().clone()).unwrap_or_default();
        let token = token.unwrap_or(&own);
        let request = match token == own {
            true => "sys/capabilities-self",
            false => "sys/capabilities",
        };
        let body = json!({ "token": token, "path": path });
        let answer = Secret::send(&client, Method::POST, request, Some(&body)).await;
        let answer = answer.map_err(Failure::doing("Error listing capabilities"))?;
        let data = answer.and_then(|secret| secret.data).unwrap_or_default();
        let names = data.get(path.as_str()).or_else(|| data.get("capabilities"));
        let Some(names) = names.and_then(Value::as_array) else {
            return Err(Failure::Usage("No capabilities found".into()));
        };
        if format != Format::Table {
            return print_document(format, names);
        }
        let mut names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
        names.sort_unstable();
        print_line(&names.join(", "))
    }
}

fn named(token: Option<&str>) -> Option<&str> {
    token.map(str::trim).filter(|token| !token.is_empty())
}
