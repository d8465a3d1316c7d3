//! `holdfast why`: why a request was refused, and what would allow it.
//!
//! Our server keeps every refusal under the id that its answer carried. Of another server the same
//! is computed here, from the policies as its API tells them.

mod hypothetical;
mod text;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::ValueEnum;
use holdfast_client::vault::{Method, Reply, Response, VaultClient};
use serde_json::{Map, Value};

use crate::platform::verbs::{Place, PlaceOption, secrets_server};
use crate::vault::Connection;

/// Say why a request was refused, and the least that would allow it.
///
/// Every refusal carries an id in its header X-Holdfast-Explain. Asking needs an operator's token:
/// `holdfast login` gets one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  holdfast why 4a1c5e2b-...                           what the header X-Holdfast-Explain said
  holdfast why --last --service backend               the last refusal of one service
  holdfast why --as 8609694a-... --path kv/data/app   may that token read it, and if not, why?")]
pub(crate) struct Why {
    /// The id from the header X-Holdfast-Explain.
    #[arg(required_unless_present_any = ["last", "accessor"], conflicts_with_all = ["last", "accessor"])]
    id: Option<String>,
    /// The last refusal.
    #[arg(long, conflicts_with = "accessor")]
    last: bool,
    /// The last refusal of this one: a token's display name, an entity, or a role.
    #[arg(long, value_name = "NAME", requires = "last")]
    service: Option<String>,
    /// Ask what would become of a request of the token with this accessor. Works with OpenBao, too.
    #[arg(long = "as", value_name = "ACCESSOR", requires = "path")]
    accessor: Option<String>,
    /// The path of that request.
    #[arg(long, requires = "accessor")]
    path: Option<String>,
    /// What it does there.
    #[arg(long, value_enum, default_value = "read", requires = "accessor")]
    operation: Doing,
    /// For people, or for programs.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    place: PlaceOption,
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

/// An operation, as policies call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Doing {
    Read,
    List,
    Scan,
    /// Create or update.
    Write,
    Create,
    Update,
    Patch,
    Delete,
}

impl Why {
    /// Asks, and prints what comes back.
    pub(crate) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let asked = runtime.context("start").and_then(|runtime| runtime.block_on(self.ask()));
        match asked {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("holdfast: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    async fn ask(self) -> anyhow::Result<()> {
        let client = reach(&self.connection, &self.place).await?;
        let told = match (&self.accessor, &self.path, &self.id) {
            (Some(accessor), Some(path), _) => {
                hypothetical::ask(&client, accessor, path, self.operation.into()).await?
            }
            (_, _, Some(id)) => recorded(&client, id).await?,
            _ => recorded(&client, &last(&client, self.service.as_deref()).await?).await?,
        };
        match self.output {
            Output::Table => print(&text::write(&told)),
            Output::Json => print(&format!("{}\n", serde_json::to_string_pretty(&told)?)),
        }
    }
}

/// A client of the server that is named, else of the platform's.
pub(crate) async fn reach(
    connection: &Connection,
    place: &PlaceOption,
) -> anyhow::Result<VaultClient> {
    if connection.names_a_server() {
        return connection.connect(None);
    }
    let place = Place::from(place.clone());
    let (address, authority) = secrets_server(&place)
        .await
        .context("neither --address nor VAULT_ADDR names a server, and no platform is here")?;
    connection.connect(Some((&address, authority.as_deref())))
}

/// Writes to stdout. A reader that went away (`| head`) is no failure.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// What the server has kept of a refusal.
async fn recorded(client: &VaultClient, id: &str) -> anyhow::Result<Map<String, Value>> {
    let known = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !known || id.is_empty() {
        bail!("{id:?} is not such an id: the answer's header X-Holdfast-Explain holds it");
    }
    let path = format!("sys/internal/explain/{id}");
    let response = client.request(Method::GET, &path, None, &[]).await?;
    match response.status.as_u16() {
        404 if response_says(&response, "unsupported") => bail!(NOT_OURS),
        404 => bail!(
            "no refusal with the id {id} is kept: it was another server's, is older than three \
             days, or gave way to newer ones of the same caller"
        ),
        403 => bail!(NOT_ALLOWED),
        _ => {}
    }
    let reply: Reply = response.success()?.parse()?;
    reply.data.context("the server says nothing of it")
}

const NOT_OURS: &str = "this server keeps no refusals, as OpenBao and Vault do not. Ask what would \
                        become of the request: holdfast why --as ACCESSOR --path PATH";
const NOT_ALLOWED: &str = "your token may not ask this: it needs a policy with\n\n\
    path \"sys/internal/explain\"   { capabilities = [\"list\", \"sudo\"] }\n\
    path \"sys/internal/explain/*\" { capabilities = [\"read\", \"sudo\"] }\n\n\
    On a platform, `holdfast login` gets an operator's token";

/// The id of the last refusal, of all or of one service.
async fn last(client: &VaultClient, service: Option<&str>) -> anyhow::Result<String> {
    let query = [("list", "true")];
    let response = client.request(Method::GET, "sys/internal/explain", None, &query).await?;
    match response.status.as_u16() {
        404 if response_says(&response, "unsupported") => bail!(NOT_OURS),
        404 => bail!("nothing was refused lately"),
        403 => bail!(NOT_ALLOWED),
        _ => {}
    }
    let reply: Reply = response.success()?.parse()?;
    let data = reply.data.unwrap_or_default();
    let ids = data.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
    let of = |id: &&str| {
        let info = data.get("key_info").and_then(|info| info.get(*id));
        service.is_none_or(|service| info.is_some_and(|info| is_of(info, service)))
    };
    let found = ids.iter().filter_map(Value::as_str).find(of).map(str::to_owned);
    match (found, service) {
        (Some(id), _) => Ok(id),
        (None, Some(service)) => bail!("nothing of {service:?} was refused lately"),
        (None, None) => bail!("nothing was refused lately"),
    }
}

/// Whether a refusal's line says that it was that service's.
fn is_of(info: &Value, service: &str) -> bool {
    let names = [&info["display_name"], &info["entity_name"]];
    let roles =
        ["role_name", "role", "service", "token_meta_role"].map(|key| &info["metadata"][key]);
    let same = |name: &Value| {
        let name = name.as_str().unwrap_or_default();
        name == service || name.strip_prefix("token-") == Some(service)
    };
    names.iter().chain(roles.iter()).any(|name| same(name))
}

fn response_says(response: &Response, word: &str) -> bool {
    String::from_utf8_lossy(response.body.expose()).contains(word)
}
