//! What would become of a request, by the policies as the server's API tells them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use holdfast_client::vault::{Method, Reply, Response, VaultClient};
use holdfast_policy::{
    Acl, Alias, Entity, Facts, Group, Identity, MountFacts, Operation, Policy, Question, Target,
    TemplateOptions, explain, is_root_protected,
};
use holdfast_types::{Clock, SystemClock, Timestamp};
use serde_json::{Map, Value, json};

use super::Doing;

/// The operation, and whether a write is known to create.
impl From<Doing> for (Operation, Target) {
    fn from(doing: Doing) -> Self {
        match doing {
            Doing::Read => (Operation::Read, Target::Unknown),
            Doing::List => (Operation::List, Target::Unknown),
            Doing::Scan => (Operation::Scan, Target::Unknown),
            Doing::Write => (Operation::Update, Target::Unknown),
            Doing::Create => (Operation::Create, Target::Absent),
            Doing::Update => (Operation::Update, Target::Present),
            Doing::Patch => (Operation::Patch, Target::Unknown),
            Doing::Delete => (Operation::Delete, Target::Unknown),
        }
    }
}

/// Explains what becomes of a request of the token with that accessor.
pub(super) async fn ask(
    client: &VaultClient,
    accessor: &str,
    path: &str,
    (operation, target): (Operation, Target),
) -> anyhow::Result<Map<String, Value>> {
    let now = SystemClock.now();
    let path = path.trim_start_matches('/');
    let body = json!({ "accessor": accessor });
    let token = client.write("auth/token/lookup-accessor", &body).await;
    let token = token.with_context(|| format!("look up the token with the accessor {accessor}"))?;
    let token = token.data.context("the server says nothing of that token")?;
    let (identity, of_identity) = identity(client, &text(&token, "entity_id")).await?;
    let mut names = texts(token.get("policies"));
    for name in texts(token.get("identity_policies")).into_iter().chain(of_identity) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut policies = Vec::new();
    let mut missing = Vec::new();
    for name in &names {
        match policy(client, name, now).await? {
            Some(policy) => {
                let rendered = policy.render(&identity);
                policies.push(rendered.with_context(|| {
                    format!("the policy {name}: the token may do nothing at all")
                })?);
            }
            None => missing.push(name.clone()),
        }
    }
    let acl = Acl::new(policies.iter().cloned(), now);
    let place = Place::find(client, path).await;
    let question = Question { operation, path, parameters: &[], wrap_ttl: None, verdict: None };
    let facts = Facts {
        mount: place.facts(),
        needs_sudo: is_root_protected(path),
        target,
        missing_policies: &missing,
        has_entity: identity.entity.is_some(),
        now,
    };
    let explanation = explain(&acl, &policies, &question, &facts);
    let Value::Object(mut told) = explanation.to_json() else {
        bail!("an explanation is an object")
    };
    let policies: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
    let caller = json!({
        "accessor": accessor,
        "display_name": token.get("display_name"),
        "entity_id": token.get("entity_id"),
        "entity_name": identity.entity.as_ref().map(|entity| &entity.name),
        "metadata": token.get("meta"),
        "policies": policies,
    });
    told.insert("caller".to_owned(), caller);
    let operation = format!("{operation:?}").to_lowercase();
    told.insert("request".to_owned(), json!({ "operation": operation, "path": path }));
    Ok(told)
}

/// The entity with its groups, and the policies that it has by them.
async fn identity(client: &VaultClient, id: &str) -> anyhow::Result<(Identity, Vec<String>)> {
    if id.is_empty() {
        return Ok((Identity::default(), Vec::new()));
    }
    let read = client.read(&format!("identity/entity/id/{id}"), &[]).await;
    let Some(found) = read.context("read the token's entity")?.and_then(|reply| reply.data) else {
        return Ok((Identity::default(), Vec::new()));
    };
    let mut policies = texts(found.get("policies"));
    let aliases = found.get("aliases").and_then(Value::as_array).into_iter().flatten();
    let aliases = aliases.filter_map(Value::as_object).map(|alias| Alias {
        mount_accessor: text(alias, "mount_accessor"),
        id: text(alias, "id"),
        name: text(alias, "name"),
        metadata: map(alias.get("metadata")),
        custom_metadata: map(alias.get("custom_metadata")),
    });
    let entity = Entity {
        id: text(&found, "id"),
        name: text(&found, "name"),
        metadata: map(found.get("metadata")),
        aliases: aliases.collect(),
    };
    let mut ids = texts(found.get("group_ids"));
    ids.extend(texts(found.get("direct_group_ids")));
    ids.extend(texts(found.get("inherited_group_ids")));
    ids.sort();
    ids.dedup();
    let mut groups = Vec::new();
    for id in ids {
        let read = client.read(&format!("identity/group/id/{id}"), &[]).await;
        let Some(group) = read.context("read a group of the entity")?.and_then(|reply| reply.data)
        else {
            continue;
        };
        policies.extend(texts(group.get("policies")));
        groups.push(Group { id, name: text(&group, "name"), metadata: map(group.get("metadata")) });
    }
    Ok((Identity { entity: Some(entity), groups }, policies))
}

/// A policy by its name; none where there is none, or it has expired.
async fn policy(
    client: &VaultClient,
    name: &str,
    now: Timestamp,
) -> anyhow::Result<Option<Arc<Policy>>> {
    if name == Policy::ROOT {
        return Ok(Some(Arc::new(Policy::root())));
    }
    let read = client.read(&format!("sys/policies/acl/{name}"), &[]).await;
    let read = read.with_context(|| format!("read the policy {name}"))?;
    let Some(data) = read.and_then(|reply| reply.data) else { return Ok(None) };
    let end = text(&data, "expiration").parse::<Timestamp>().ok();
    if end.is_some_and(|end| end <= now) {
        return Ok(None);
    }
    let flag = |name: &str| data.get(name).and_then(Value::as_bool).unwrap_or(false);
    let options = TemplateOptions {
        allow_wildcards: flag("allow_wildcards_in_identity_templates"),
        allow_slashes: flag("allow_slashes_in_identity_templates"),
    };
    let policy = Policy::parse(name, &text(&data, "policy"))
        .with_context(|| format!("the policy {name}"))?;
    Ok(Some(Arc::new(policy.with_template_options(options))))
}

/// Where a path leads.
enum Place {
    Unknown,
    Missing(Option<String>),
    Kv2(String),
    Other(String),
}

impl Place {
    /// By the table of mounts. Whoever may not read it is told less.
    async fn find(client: &VaultClient, path: &str) -> Self {
        let mut mounts = Vec::new();
        for (table, prefix) in [("sys/mounts", ""), ("sys/auth", "auth/")] {
            let read = client.request(Method::GET, table, None, &[]).await;
            let read = read.and_then(Response::success);
            let parsed = read.and_then(|response| response.parse::<Reply>());
            let reply = match parsed {
                Ok(reply) => reply,
                // That table asks for more than most operators may.
                Err(_) if prefix == "auth/" && !path.starts_with(prefix) => continue,
                Err(_) => return Self::Unknown,
            };
            for (mount, row) in reply.data.unwrap_or_default() {
                let kv2 = row["type"] == "kv" && row["options"]["version"] == "2";
                mounts.push((format!("{prefix}{mount}"), kv2));
            }
        }
        let folder = format!("{}/", path.trim_end_matches('/'));
        let serving = mounts.iter().filter(|(mount, _)| folder.starts_with(mount.as_str()));
        match serving.max_by_key(|(mount, _)| mount.len()) {
            Some((mount, true)) => Self::Kv2(mount.clone()),
            Some((mount, false)) => Self::Other(mount.clone()),
            None => {
                let first = folder.split('/').next().unwrap_or_default();
                let names = mounts.iter().map(|(mount, _)| mount.trim_end_matches('/'));
                let near = holdfast_types::closest(first, names);
                Self::Missing(near.map(|name| format!("{name}/")))
            }
        }
    }

    fn facts(&self) -> MountFacts<'_> {
        match self {
            Self::Unknown => MountFacts::Unknown,
            Self::Missing(near) => MountFacts::Missing(near.as_deref()),
            Self::Kv2(mount) => MountFacts::Kv2(mount),
            Self::Other(mount) => MountFacts::Other(mount),
        }
    }
}

fn text(of: &Map<String, Value>, name: &str) -> String {
    of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn map(object: Option<&Value>) -> BTreeMap<String, String> {
    let object = object.and_then(Value::as_object).into_iter().flatten();
    object.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}
