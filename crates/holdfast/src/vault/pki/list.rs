//! `pki list-intermediates`: which certificates come from another.

use std::collections::BTreeMap;

use clap::{ArgAction, Args};
use holdfast_client::vault::VaultClient;
use serde_json::Value;

use super::certificate::{Issuer, Relation};
use crate::vault::connection::{Connection, explain};
use crate::vault::output::{Format, FormatFlag, print_line};
use crate::vault::path::sanitize;
use crate::vault::secret::Secret;
use crate::vault::{Failure, Outcome, table, values};

/// List issuers, and whether their certificates come from another one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault pki list-intermediates pki/issuer/root
  vault pki list-intermediates -use_names pki/issuer/root pki_int")]
pub(in crate::vault) struct ListIntermediates {
    /// The issuer that they may come from
    parent: String,
    /// Issuers, or mounts with issuers; by default all mounts that can be listed
    children: Vec<String>,
    /// Ask that the parent's key signed the certificate itself
    #[arg(long = "direct_sign", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_value = "true", default_missing_value = "true",
          value_parser = values::boolean)]
    direct_sign: bool,
    /// Ask that whoever trusts the parent can trust the certificate
    #[arg(long = "indirect_sign", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_value = "true", default_missing_value = "true",
          value_parser = values::boolean)]
    indirect_sign: bool,
    /// Ask that the key identifiers name each other
    #[arg(long = "key_id_match", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_value = "true", default_missing_value = "true",
          value_parser = values::boolean)]
    key_id_match: bool,
    /// Ask that the parent stands in the certificate's chain
    #[arg(long = "path_match")]
    path_match: bool,
    /// Ask that the certificate names the parent's subject
    #[arg(long = "subject_match", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_value = "true", default_missing_value = "true",
          value_parser = values::boolean)]
    subject_match: bool,
    /// Show issuers by their names, where they have one
    #[arg(long = "use_names")]
    use_names: bool,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

impl ListIntermediates {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let failed = |text: String| Failure::Usage(format!("Failed to read issuer: {text}"));
        let parent = Issuer::read(&client, sanitize(&self.parent)).await.map_err(failed)?;
        let mut all = BTreeMap::new();
        for path in self.issuers(&client).await? {
            // Whatever cannot be read does not come from anything.
            let relation = match Issuer::read(&client, &path).await {
                Ok(child) => parent.relation_to(&child),
                Err(_) => None,
            };
            all.insert(path, relation.is_some_and(|relation| self.is_met(&relation)));
        }
        if format != Format::Table {
            return super::print_answer(format, &all);
        }
        let rows = all.into_iter().map(|(path, met)| vec![path, met.to_string()]);
        print_line(&(table::write(&["intermediate", "match?"], rows.collect()) + "\n\n"))
    }

    fn is_met(&self, relation: &Relation) -> bool {
        (!self.direct_sign || relation.signature_match)
            && (!self.indirect_sign || relation.trust_match)
            && (!self.key_id_match || relation.key_id_match)
            && (!self.path_match || relation.path_match)
            && (!self.subject_match || relation.subject_match)
    }

    /// The paths of the issuers to look at.
    async fn issuers(&self, client: &VaultClient) -> Result<Vec<String>, Failure> {
        let children = match self.children.is_empty() {
            true => mounts(client).await?,
            false => self.children.iter().map(|path| sanitize(path).to_owned()).collect(),
        };
        let mut paths = Vec::new();
        for child in children {
            match child.contains("/issuer/") {
                true => paths.push(child),
                false => paths.extend(self.issuers_of(client, child.trim_end_matches('/')).await?),
            }
        }
        Ok(paths)
    }

    async fn issuers_of(&self, client: &VaultClient, mount: &str) -> Result<Vec<String>, Failure> {
        let listed = Secret::list(client, &format!("{mount}/issuers"), &[]).await;
        let doing = format!("Failed to list issuers of {mount}");
        let Some(listed) = listed.map_err(Failure::doing(doing)).map_err(Failure::into_usage)?
        else {
            return Ok(Vec::new());
        };
        let info = listed.key_info();
        let name = |id: &str| {
            let name = info?.get(id)?.get("issuer_name")?.as_str()?;
            (self.use_names && !name.is_empty()).then(|| name.to_owned())
        };
        let ids = listed.keys().into_iter().flatten().filter_map(Value::as_str);
        let named = ids.map(|id| name(id).unwrap_or_else(|| id.to_owned()));
        Ok(named.map(|name| format!("{mount}/issuer/{name}")).collect())
    }
}

/// The mounts of this kind.
async fn mounts(client: &VaultClient) -> Result<Vec<String>, Failure> {
    let mounts = Secret::read(client, "sys/mounts", &[]).await;
    let mounts = mounts
        .map_err(|error| Failure::Usage(format!("failed to list mounts: {}", explain(&error))))?;
    let mounts = mounts.and_then(|secret| secret.data).unwrap_or_default();
    let is_pki = |mount: &Value| mount.get("type").and_then(Value::as_str) == Some("pki");
    let paths = mounts.into_iter().filter(|(_, mount)| is_pki(mount)).map(|(path, _)| path);
    Ok(paths.collect())
}
