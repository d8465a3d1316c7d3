//! `secrets` and `auth`: what is mounted where, and how it is tuned. The two differ in little but
//! their paths and words.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use holdfast_client::vault::Method;
use holdfast_types::format_go_duration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::connection::{Connection, explain};
use super::output::{Format, FormatFlag, print_document, print_line, print_rows, warn};
use super::path::mount;
use super::secret::Secret;
use super::table::go_value;
use super::{Failure, Outcome, values};

/// Mount and tune secrets engines.
#[derive(Debug, Subcommand)]
pub(super) enum Secrets {
    /// Mount a secrets engine.
    #[command(after_help = "Examples:\n  vault secrets enable -version=2 kv\n  \
                            vault secrets enable -path=db database")]
    Enable(Enable),
    /// Unmount a secrets engine: its secrets are deleted, its leases revoked.
    #[command(after_help = "Example:\n  vault secrets disable db")]
    Disable(Disable),
    /// List the secrets engines.
    #[command(after_help = "Example:\n  vault secrets list -detailed")]
    List(List),
    /// Change the settings of a mounted secrets engine.
    #[command(after_help = "Example:\n  vault secrets tune -max-lease-ttl=1h db")]
    Tune(Tune),
    /// Move a secrets engine to another path. Its leases are revoked.
    #[command(after_help = "Example:\n  vault secrets move db database")]
    Move(Move),
}

/// Mount and tune login methods.
#[derive(Debug, Subcommand)]
pub(super) enum Auth {
    /// Mount a login method.
    #[command(after_help = "Example:\n  vault auth enable -path=apps approle")]
    Enable(Enable),
    /// Unmount a login method: the tokens that came from it are revoked.
    #[command(after_help = "Example:\n  vault auth disable apps")]
    Disable(Disable),
    /// List the login methods.
    #[command(after_help = "Example:\n  vault auth list -detailed")]
    List(List),
    /// Change the settings of a mounted login method.
    #[command(after_help = "Example:\n  vault auth tune -default-lease-ttl=20m apps")]
    Tune(TuneAuth),
    /// Move a login method to another path.
    #[command(after_help = "Example:\n  vault auth move auth/apps auth/services")]
    Move(Move),
    Help(super::auth_help::Help),
}

#[derive(Debug, Args)]
pub(super) struct Enable {
    /// Its type: `kv`, `database`, `approle`, `jwt`, ...
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Where to mount it; by default under the name of its type
    #[arg(long)]
    path: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// What it is for
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    /// How long leases last when nothing else says so
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    default_lease_ttl: Option<Duration>,
    /// How long leases last at most
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    max_lease_ttl: Option<Duration>,
    /// Do not cache what it stores
    #[arg(long)]
    force_no_cache: bool,
    /// Keep it from being replicated
    #[arg(long)]
    local: bool,
    /// Encrypt its critical values by the seal as well
    #[arg(long)]
    seal_wrap: bool,
    /// Let it use the server's external source of randomness
    #[arg(long)]
    external_entropy_access: bool,
    /// The plugin to run, when TYPE is `plugin`
    #[arg(long, value_name = "NAME")]
    plugin_name: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(super) struct Tune {
    /// Where it is mounted
    path: String,
    #[command(flatten)]
    settings: Settings,
    /// What it is for
    #[arg(long)]
    description: Option<String>,
    /// How long leases last when nothing else says so; `system`: as the server says
    #[arg(long, value_name = "DURATION", value_parser = values::system_duration)]
    default_lease_ttl: Option<String>,
    /// How long leases last at most; `system`: as the server says
    #[arg(long, value_name = "DURATION", value_parser = values::system_duration)]
    max_lease_ttl: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// The flags of login methods, which lock users out that fail too often.
#[derive(Debug, Args)]
pub(super) struct TuneAuth {
    #[command(flatten)]
    tune: Tune,
    /// After how many failed logins a user is locked out
    #[arg(long, value_name = "COUNT", value_parser = values::integer)]
    user_lockout_threshold: Option<i64>,
    /// For how long a user is locked out
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    user_lockout_duration: Option<Duration>,
    /// How long after a failed login it is forgotten
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    user_lockout_counter_reset_duration: Option<Duration>,
    /// Lock nobody out
    #[arg(long)]
    user_lockout_disable: bool,
}

/// What can be set on mounting and later.
#[derive(Debug, Args)]
struct Settings {
    /// A request field that the audit log holds in clear text; may be repeated
    #[arg(long, value_name = "KEY")]
    audit_non_hmac_request_keys: Vec<String>,
    /// A response field that the audit log holds in clear text; may be repeated
    #[arg(long, value_name = "KEY")]
    audit_non_hmac_response_keys: Vec<String>,
    /// Whether it is listed to who may not use it: `unauth` or `hidden`
    #[arg(long, value_name = "VISIBILITY")]
    listing_visibility: Option<String>,
    /// A request header that it gets to see; may be repeated
    #[arg(long, value_name = "NAME")]
    passthrough_request_headers: Vec<String>,
    /// A response header that it may set; may be repeated
    #[arg(long, value_name = "NAME")]
    allowed_response_headers: Vec<String>,
    /// The kind of token that a login method makes
    #[arg(long, value_name = "TYPE")]
    token_type: Option<String>,
    /// The version of the plugin to run
    #[arg(long, value_name = "VERSION")]
    plugin_version: Option<String>,
    /// An option of its own, `key=value`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    options: Vec<(String, String)>,
    /// The version of the engine: for `kv` 1, or 2 with versions
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = values::integer)]
    version: Option<i64>,
}

#[derive(Debug, Args)]
pub(super) struct Disable {
    /// Where it is mounted
    path: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Show settings and versions too
    #[arg(long)]
    detailed: bool,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub(super) struct Move {
    /// Where it is mounted
    source: String,
    /// Where it shall be
    destination: String,
    #[command(flatten)]
    connection: Connection,
}

/// A mount as it is shown, in the official order.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct MountInfo {
    uuid: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    description: String,
    accessor: String,
    config: MountConfig,
    options: Option<Map<String, Value>>,
    local: bool,
    seal_wrap: bool,
    external_entropy_access: bool,
    plugin_version: String,
    running_plugin_version: String,
    running_sha256: String,
    deprecation_status: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct MountConfig {
    default_lease_ttl: i64,
    max_lease_ttl: i64,
    force_no_cache: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audit_non_hmac_request_keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audit_non_hmac_response_keys: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    listing_visibility: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    passthrough_request_headers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_response_headers: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    token_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_lockout_config: Option<Value>,
}

/// Which of the two command groups is at work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Secrets,
    Auth,
}

impl Secrets {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Enable(command) => command.run(Kind::Secrets).await,
            Self::Disable(command) => command.run(Kind::Secrets).await,
            Self::List(command) => command.run(Kind::Secrets).await,
            Self::Tune(command) => command.run(Kind::Secrets, Map::new()).await,
            Self::Move(command) => command.run(Kind::Secrets).await,
        }
    }
}

impl Auth {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Enable(command) => command.run(Kind::Auth).await,
            Self::Disable(command) => command.run(Kind::Auth).await,
            Self::List(command) => command.run(Kind::Auth).await,
            Self::Tune(command) => command.run().await,
            Self::Move(command) => command.run(Kind::Auth).await,
            Self::Help(command) => command.run().await,
        }
    }
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Self::Secrets => "secrets engine",
            Self::Auth => "auth method",
        }
    }

    /// The API path at which mounts of the kind are managed.
    fn api(self) -> &'static str {
        match self {
            Self::Secrets => "sys/mounts",
            Self::Auth => "sys/auth",
        }
    }
}

impl Enable {
    async fn run(&self, kind: Kind) -> Outcome {
        let client = self.connection.client()?;
        let wanted = self.kind.trim();
        let is_plugin = wanted == "plugin";
        let type_name =
            if is_plugin { self.plugin_name.as_deref().unwrap_or_default() } else { wanted };
        let path = self.path.as_deref().filter(|path| !path.is_empty()).unwrap_or(type_name);
        let path = match path.trim() {
            path if path.ends_with('/') => path.to_owned(),
            path => format!("{path}/"),
        };
        let ttl = |ttl: Option<Duration>| format_go_duration(ttl.unwrap_or_default());
        let mut config = self.settings.config();
        config.insert("default_lease_ttl".into(), ttl(self.default_lease_ttl).into());
        config.insert("max_lease_ttl".into(), ttl(self.max_lease_ttl).into());
        config.insert("force_no_cache".into(), self.force_no_cache.into());
        let body = json!({
            "type": type_name,
            "description": self.description,
            "config": config,
            "local": self.local,
            "seal_wrap": self.seal_wrap,
            "external_entropy_access": self.external_entropy_access,
            "options": self.settings.options(),
        });
        let request = format!("{}/{path}", kind.api());
        let answer = Secret::send(&client, Method::POST, &request, Some(&body)).await;
        answer.map_err(Failure::doing(match kind {
            Kind::Secrets => "Error enabling".to_owned(),
            Kind::Auth => format!("Error enabling {type_name} auth"),
        }))?;
        let mut thing = format!("{type_name} {}", kind.noun());
        if let Some(version) = &self.settings.plugin_version {
            thing.push_str(&format!(" version {version}"));
        }
        let the = if kind == Kind::Secrets { "the " } else { "" };
        print_line(&format!("Success! Enabled {the}{thing} at: {path}"))
    }
}

impl TuneAuth {
    async fn run(&self) -> Outcome {
        let duration = |value: Option<Duration>| value.map(|it| json!(format_go_duration(it)));
        let threshold = self.user_lockout_threshold.map(|count| json!(count.to_string()));
        let lockout = [
            ("lockout_threshold", threshold),
            ("lockout_duration", duration(self.user_lockout_duration)),
            ("lockout_counter_reset_duration", duration(self.user_lockout_counter_reset_duration)),
            ("lockout_disable", self.user_lockout_disable.then_some(json!(true))),
        ];
        let lockout = lockout.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let lockout: Map<String, Value> = lockout.collect();
        let mut more = Map::new();
        if !lockout.is_empty() {
            more.insert("user_lockout_config".to_owned(), lockout.into());
        }
        self.tune.run(Kind::Auth, more).await
    }
}

impl Tune {
    /// Sets what the flags say, and `more`.
    async fn run(&self, kind: Kind, more: Map<String, Value>) -> Outcome {
        let client = self.connection.client()?;
        let path = mount(&self.path);
        let mut body = self.settings.config();
        body.extend(more);
        for (key, value) in [
            ("description", &self.description),
            ("default_lease_ttl", &self.default_lease_ttl),
            ("max_lease_ttl", &self.max_lease_ttl),
        ] {
            if let Some(value) = value {
                body.insert(key.into(), value.as_str().into());
            }
        }
        if let Some(options) = self.settings.options() {
            body.insert("options".into(), options.into());
        }
        let request = match kind {
            Kind::Secrets => format!("sys/mounts/{path}tune"),
            Kind::Auth => format!("sys/mounts/auth/{path}tune"),
        };
        let answer = Secret::send(&client, Method::POST, &request, Some(&body.into())).await;
        answer.map_err(Failure::doing(format!("Error tuning {} {path}", kind.noun())))?;
        print_line(&format!("Success! Tuned the {} at: {path}", kind.noun()))
    }
}

impl Settings {
    /// Those that were given.
    fn config(&self) -> Map<String, Value> {
        let lists = [
            ("audit_non_hmac_request_keys", &self.audit_non_hmac_request_keys),
            ("audit_non_hmac_response_keys", &self.audit_non_hmac_response_keys),
            ("passthrough_request_headers", &self.passthrough_request_headers),
            ("allowed_response_headers", &self.allowed_response_headers),
        ];
        let texts = [
            ("listing_visibility", &self.listing_visibility),
            ("token_type", &self.token_type),
            ("plugin_version", &self.plugin_version),
        ];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let lists = lists.map(|(key, list)| (key.to_owned(), json!(list)));
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?)));
        lists.chain(texts.map(|(key, text)| (key.to_owned(), json!(text)))).collect()
    }

    fn options(&self) -> Option<Map<String, Value>> {
        let mut options: Map<String, Value> =
            self.options.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        if let Some(version @ 1..) = self.version {
            options.insert("version".into(), version.to_string().into());
        }
        (!options.is_empty()).then_some(options)
    }
}

impl Disable {
    async fn run(&self, kind: Kind) -> Outcome {
        let client = self.connection.client()?;
        let path = mount(&self.path);
        let answer = Secret::delete(&client, &format!("{}/{path}", kind.api()), &[]).await;
        let noun = kind.noun();
        answer.map_err(Failure::doing(format!("Error disabling {noun} at {path}")))?;
        print_line(&format!("Success! Disabled the {noun} (if it existed) at: {path}"))
    }
}

impl List {
    async fn run(&self, kind: Kind) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let mounts = fetch(&client, kind.api()).await.map_err(Failure::doing(match kind {
            Kind::Secrets => "Error listing secrets engines",
            Kind::Auth => "Error listing enabled authentications",
        }))?;
        if format != Format::Table {
            return print_document(format, &mounts);
        }
        if self.detailed {
            let rows = mounts.iter().map(|(path, mount)| mount.detailed_row(path, kind));
            return print_rows(&detailed_heading(kind), rows.collect());
        }
        let mut heading = vec!["Path", "Type", "Accessor", "Description"];
        if kind == Kind::Auth {
            heading.push("Version");
        }
        let rows = mounts.iter().map(|(path, mount)| {
            let cells =
                [path, &mount.kind, &mount.accessor, &mount.description, &mount.plugin_version];
            cells.into_iter().take(heading.len()).cloned().collect()
        });
        print_rows(&heading, rows.collect())
    }
}

/// The login methods, by path.
pub(super) async fn login_methods(
    client: &holdfast_client::vault::VaultClient,
) -> Result<BTreeMap<String, MountInfo>, holdfast_client::vault::VaultError> {
    fetch(client, Kind::Auth.api()).await
}

async fn fetch(
    client: &holdfast_client::vault::VaultClient,
    path: &str,
) -> Result<BTreeMap<String, MountInfo>, holdfast_client::vault::VaultError> {
    #[derive(Deserialize)]
    struct Reply {
        data: BTreeMap<String, MountInfo>,
    }
    let response = client.request(Method::GET, path, None, &[]).await?.success()?;
    response.parse::<Reply>().map(|reply| reply.data)
}

impl MountInfo {
    fn detailed_row(&self, path: &str, kind: Kind) -> Vec<String> {
        let ttl = |seconds: i64| match (self.kind.as_str(), seconds) {
            ("system" | "cubbyhole", _) => String::new(),
            (_, 0) => "system".to_owned(),
            (_, seconds) => seconds.to_string(),
        };
        let options = self.options.clone().unwrap_or_default();
        vec![
            path.to_owned(),
            self.kind.clone(),
            self.accessor.clone(),
            ttl(self.config.default_lease_ttl),
            ttl(self.config.max_lease_ttl),
            match kind {
                Kind::Secrets => self.config.force_no_cache.to_string(),
                Kind::Auth => self.config.token_type.clone(),
            },
            if self.local { "local" } else { "replicated" }.to_owned(),
            self.seal_wrap.to_string(),
            self.external_entropy_access.to_string(),
            go_value(&options.into()),
            self.description.clone(),
            self.uuid.clone(),
            self.plugin_version.clone(),
            self.running_plugin_version.clone(),
            self.running_sha256.clone(),
            self.deprecation_status.clone(),
        ]
    }
}

fn detailed_heading(kind: Kind) -> [&'static str; 16] {
    [
        "Path",
        "Plugin",
        "Accessor",
        "Default TTL",
        "Max TTL",
        match kind {
            Kind::Secrets => "Force No Cache",
            Kind::Auth => "Token Type",
        },
        "Replication",
        "Seal Wrap",
        "External Entropy Access",
        "Options",
        "Description",
        "UUID",
        "Version",
        "Running Version",
        "Running SHA256",
        "Deprecation Status",
    ]
}

/// How often the server is asked whether a move is done.
const MOVE_POLL: Duration = Duration::from_millis(500);

impl Move {
    async fn run(&self, kind: Kind) -> Outcome {
        let slash = |path: &str| format!("{}/", path.trim().trim_end_matches('/'));
        let (from, to, noun) = (slash(&self.source), slash(&self.destination), kind.noun());
        let client = self.connection.client()?;
        let body = json!({ "from": from, "to": to });
        let answer = Secret::send(&client, Method::POST, "sys/remount", Some(&body)).await;
        let answer =
            answer.map_err(Failure::doing(format!("Error moving {noun} {from} to {to}")))?;
        let data = answer.and_then(|secret| secret.data).unwrap_or_default();
        let id = data.get("migration_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        print_line(&format!("Started moving {noun} {from} to {to}, with migration ID {id}"))?;
        loop {
            let status = Secret::read(&client, &format!("sys/remount/status/{id}"), &[]).await;
            let status = status.map_err(|error| {
                let cause = explain(&error);
                Failure::Request(format!(
                    "Error checking migration status of {noun} {from} to {to}: {cause}"
                ))
            })?;
            let data = status.and_then(|secret| secret.data).unwrap_or_default();
            match data.get("migration_info").and_then(|info| info["status"].as_str()) {
                Some("success") => {
                    return print_line(&format!(
                        "Success! Finished moving {noun} {from} to {to}, with migration ID {id}"
                    ));
                }
                Some("failure") => {
                    warn(&format!(
                        "Failure! Error encountered moving {noun} {from} to {to}, with migration \
                         ID {id}"
                    ));
                    return Err(Failure::Told(2));
                }
                _ => tokio::time::sleep(MOVE_POLL).await,
            }
        }
    }
}
