//! `pki issue`: a new authority on one mount, signed by another.

use clap::Args;
use holdfast_client::vault::VaultClient;
use serde_json::{Map, Value, json};

use super::certificate::Issuer;
use crate::vault::connection::Connection;
use crate::vault::output::{Format, FormatFlag, print_secret};
use crate::vault::path::sanitize;
use crate::vault::secret::Secret;
use crate::vault::{Failure, Outcome, data};

/// Make an intermediate authority on one mount, and have an issuer of another sign it.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  vault pki issue -issuer_name=web pki/issuer/root pki_int common_name=web.example ttl=8760h")]
pub(in crate::vault) struct Issue {
    /// The issuer that signs, such as `pki/issuer/root`
    parent: String,
    /// The mount that the new authority belongs to
    child_mount: String,
    /// `key=value`, as `generate/intermediate` and `sign-intermediate` take it
    #[arg(required = true)]
    options: Vec<String>,
    /// What the new issuer is called
    #[arg(
        long = "issuer_name",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    issuer_name: String,
    /// `internal` for a new key, `existing` for one that the mount has
    #[arg(long = "type", value_name = "KIND", default_value = "internal")]
    kind: String,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

impl Issue {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let options = data::parse(&self.options, !self.connection.non_interactive)?;
        let new = New {
            parent: sanitize(&self.parent),
            mount: sanitize(&self.child_mount),
            kind: &self.kind,
            name: &self.issuer_name,
            options,
        };
        new.make(&client, format).await
    }
}

/// An authority that is to be.
pub(super) struct New<'a> {
    /// The path of the issuer that signs.
    pub(super) parent: &'a str,
    /// The mount that it belongs to.
    pub(super) mount: &'a str,
    /// Where its key comes from: `internal` or `existing`.
    pub(super) kind: &'a str,
    /// What it is called; may be empty.
    pub(super) name: &'a str,
    /// The parameters of its request and of its signing.
    pub(super) options: Map<String, Value>,
}

impl New<'_> {
    /// Makes it, and prints its issuer.
    pub(super) async fn make(self, client: &VaultClient, format: Format) -> Outcome {
        let Self { parent, mount, kind, name: own_name, mut options } = self;
        let failed =
            |text: String| Failure::Usage(format!("Unable to access parent issuer {text}"));
        let above = Issuer::read(client, parent).await.map_err(failed)?;

        let path = format!("{mount}/intermediate/generate/{kind}");
        let made = ask(client, &path, options.clone(), "failed to generate the request").await?;
        options.insert("csr".to_owned(), field(&made, "csr")?.into());
        let path = format!("{parent}/sign-intermediate");
        let signed = ask(client, &path, options, "failed to sign the request").await?;

        let mut bundle = field(&signed, "certificate")?;
        for above in signed.get("ca_chain").and_then(Value::as_array).into_iter().flatten() {
            bundle.push('\n');
            bundle.push_str(above.as_str().unwrap_or_default());
        }
        let import = Map::from_iter([("pem_bundle".to_owned(), bundle.into())]);
        let path = format!("{mount}/issuers/import/bundle");
        let imported = ask(client, &path, import, "failed to import the certificate").await?;
        let issuer = new_issuer(&imported, &field(&made, "key_id")?).ok_or_else(|| {
            Failure::Usage("the imported certificate belongs to no key of the mount".into())
        })?;
        let path = format!("{mount}/issuer/{issuer}");
        name(client, &path, own_name).await?;
        // Its parent came along: it is called there what it is called here.
        let called = Secret::read(client, parent, &[]).await;
        let called = called.ok().flatten().and_then(|secret| secret.field("issuer_name"));
        for other in others(&imported, &issuer) {
            let path = format!("{mount}/issuer/{other}");
            let is_parent = Issuer::read(client, &path).await.is_ok_and(|it| it.is(&above));
            if let Some(called) = called.as_ref().and_then(Value::as_str).filter(|_| is_parent) {
                name(client, &path, called).await?;
            }
        }
        let issuer = Secret::read(client, &path, &[]).await;
        let issuer = issuer.map_err(Failure::doing("failed to read the issuer"))?;
        print_secret(format, &issuer.unwrap_or_default())
    }
}

/// Gives an issuer its name, if it is to have one.
async fn name(client: &VaultClient, path: &str, name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Ok(());
    }
    let named = Secret::patch(client, path, &json!({ "issuer_name": name })).await;
    let named = named.map_err(Failure::doing("failed to name the issuer"));
    named.map(drop).map_err(Failure::into_usage)
}

/// The issuers that came in beside this one.
fn others(imported: &Map<String, Value>, issuer: &str) -> Vec<String> {
    let all = imported.get("imported_issuers").and_then(Value::as_array);
    let all = all.into_iter().flatten().filter_map(Value::as_str);
    all.filter(|other| *other != issuer).map(str::to_owned).collect()
}

/// What a write answers; every step needs the one before.
async fn ask(
    client: &VaultClient,
    path: &str,
    body: Map<String, Value>,
    doing: &str,
) -> Result<Map<String, Value>, Failure> {
    let answer = Secret::write(client, path, &Value::Object(body)).await;
    let answer = answer.map_err(Failure::doing(doing)).map_err(Failure::into_usage)?;
    Ok(answer.and_then(|secret| secret.data).unwrap_or_default())
}

fn field(data: &Map<String, Value>, name: &str) -> Result<String, Failure> {
    let text = data.get(name).and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| Failure::Usage(format!("the server's answer holds no {name}")))
}

/// The issuer whose certificate belongs to the key.
fn new_issuer(imported: &Map<String, Value>, key: &str) -> Option<String> {
    let keys = imported.get("mapping")?.as_object()?;
    keys.iter().find(|(_, of)| of.as_str() == Some(key)).map(|(issuer, _)| issuer.clone())
}
