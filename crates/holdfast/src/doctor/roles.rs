//! The roles that agents log in as, and secrets that say how they are rotated.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_agent::config::{Method, MethodConfig};
use holdfast_agent::store::{Mount, Request};
use holdfast_ctmpl::Argument;
use holdfast_hcl::Position;
use holdfast_policy::SeenMount;
use holdfast_types::Ttl;
use serde_json::Value;

use super::rules;
use super::seen::Agent;
use super::templates::{self, Read};
use crate::apply::Object;
use crate::finding::{File, Finding};
use crate::policy;
use crate::rotate::{Plan, Wishes};

/// How long a token lives at most, where neither its role nor its server says otherwise.
const LONGEST: Duration = Duration::from_secs(768 * 3600);

/// A role of a platform directory.
pub(super) struct Role<'a> {
    file: &'a File,
    object: &'a Object,
}

/// The role that an agent logs in as, as far as its file, its name or `--role` tell.
pub(super) fn of_agent<'a>(
    agent: &Agent,
    objects: &'a [(File, Object)],
    named: Option<&str>,
) -> Option<Role<'a>> {
    let method = agent.outline.method.as_ref()?;
    let find = |path: &str| objects.iter().find(|(_, object)| object.path == path);
    let folder = folder(method)?;
    let below = |name: &str| find(&format!("{folder}/{name}"));
    let by_name = policy::name_of(&agent.file.path);
    let found = match named.or(agent.role.as_deref()).or(in_config(method)) {
        Some(name) => below(name.rsplit('/').next().unwrap_or(name)),
        None => below(&by_name).or_else(|| {
            let prefix = format!("{folder}/");
            let mut all = objects.iter().filter(|(_, object)| object.path.starts_with(&prefix));
            all.next().filter(|_| all.next().is_none())
        }),
    };
    found.map(|(file, object)| Role { file, object })
}

/// Where the roles of a method are.
fn folder(method: &MethodConfig) -> Option<String> {
    let below = match method.method {
        Method::AppRole(_) | Method::Jwt(_) | Method::Kubernetes(_) => "role",
        Method::Cert(_) => "certs",
        Method::TokenFile(_) => return None,
    };
    Some(format!("{}/{below}", method.mount_path))
}

/// The role's name, where the agent's file has it.
fn in_config(method: &MethodConfig) -> Option<&str> {
    match &method.method {
        Method::AppRole(it) => {
            let path = it.wrapping_path.as_deref()?.strip_suffix("/secret-id")?;
            path.rsplit('/').next()
        }
        Method::Jwt(it) => Some(&it.role),
        Method::Kubernetes(it) => Some(&it.role),
        Method::Cert(it) => it.name.as_deref(),
        Method::TokenFile(_) => None,
    }
}

impl Role<'_> {
    /// The names of the policies that it gives.
    pub(super) fn policies(&self) -> Vec<String> {
        policy::given(&Value::Object(self.object.fields.clone()))
    }

    fn duration(&self, key: &str) -> Option<Duration> {
        let ttl = match self.object.fields.get(key)? {
            Value::String(text) => Ttl::parse(text).ok()?.0,
            value => Duration::from_secs(value.as_u64()?),
        };
        Some(ttl).filter(|ttl| !ttl.is_zero())
    }

    fn count(&self, key: &str) -> Option<u64> {
        match self.object.fields.get(key)? {
            Value::String(text) => text.parse().ok(),
            value => value.as_u64(),
        }
    }
}

/// Whether the agent can still log in when its token has come to its end.
pub(super) fn look(agent: &Agent, role: Option<&Role<'_>>, findings: &mut Vec<Finding>) {
    let method = agent.outline.method.as_ref().map(|method| &method.method);
    let (Some(role), Some(Method::AppRole(_))) = (role, method) else { return };
    // Such a token is renewed for as long as the agent lives.
    if role.duration("token_period").is_some() {
        return;
    }
    let end = role.duration("token_max_ttl").unwrap_or(LONGEST);
    let ends = role.duration("secret_id_ttl").filter(|ttl| *ttl < end);
    let (key, message) = match ends {
        Some(ttl) => (
            "secret_id_ttl",
            format!(
                "a secret id ends after {}, and the agent logs in with it again after {} at the \
                 latest, when its token ends",
                show(ttl),
                show(end)
            ),
        ),
        None if role.count("secret_id_num_uses") == Some(1) => (
            "secret_id_num_uses",
            format!(
                "a secret id is good for one login, and the agent logs in with it again after {} at \
                 the latest, when its token ends",
                show(end)
            ),
        ),
        None => return,
    };
    findings.push(Finding {
        file: role.file.clone(),
        at: place(role.file, key),
        also: Vec::new(),
        rule: rules::SECRET_ID,
        message,
        fix: "give the role a token_period, such as \"1h\": its token is then renewed without an \
              end; or let the secret id outlive token_max_ttl"
            .to_owned(),
    });
}

/// Passwords that are declared to be rotated, and whose database would not hear of it.
pub(super) fn rotations(
    objects: &[(File, Object)],
    templates: &[Read],
    mounts: &[SeenMount],
    findings: &mut Vec<Finding>,
) {
    let mut report = |file: &File, key: &str, message, fix: &str| {
        let (file, at) = (file.clone(), place(file, key));
        let rule = rules::ROTATION;
        findings.push(Finding { file, at, also: Vec::new(), rule, message, fix: fix.to_owned() });
    };
    for (file, object) in objects {
        if let Some((mount, _)) = object.path.split_once("/static-roles/") {
            let database = object.fields.get("db_name").and_then(Value::as_str).unwrap_or_default();
            let path = format!("{mount}/config/{database}");
            if !objects.iter().any(|(_, other)| other.path == path) {
                let message = format!(
                    "{} is rotated in the database {database:?}, which is not in vault/{path}.json",
                    object.path
                );
                report(file, "db_name", message, "write that file, or correct db_name");
            }
            continue;
        }
        let Some((mount, name)) = object.path.split_once("/metadata/") else { continue };
        let declared = declared(object);
        if !matches!(declared.get("rotate").map(String::as_str), Some(how) if how != "never") {
            continue;
        }
        let path = format!("{mount}/data/{name}");
        let plan = match Plan::of(&declared, &Wishes::default()) {
            Ok(plan) => plan,
            Err(error) => {
                let message = format!("{path} cannot be rotated as it says: {error:#}");
                report(file, "rotate", message, "docs/rotation.md has the keys");
                continue;
            }
        };
        let is_of_database = ["rotate_connection", "rotate_roles", "rotate_admin"];
        let says_so = is_of_database.iter().find(|key| declared.contains_key(**key));
        let used = templates.iter().any(|read| uses_both(read, &path, mounts, &plan));
        if plan.database.is_none() && (says_so.is_some() || used) {
            let why = match says_so {
                Some(key) => format!("it has {key}"),
                None => format!("templates take {} from it, too", plan.username_field),
            };
            let message = format!(
                "{path} is the password of a database user ({why}), and rotate=value changes it \
                 here alone: whoever takes the new one up is locked out"
            );
            let fix = "write rotate=postgres with rotate_connection, rotate_roles and rotate_admin";
            report(file, "rotate", message, fix);
        }
    }
}

/// The custom metadata of a secret.
fn declared(object: &Object) -> BTreeMap<String, String> {
    let custom = object.fields.get("custom_metadata").and_then(Value::as_object);
    let pairs = custom.into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Whether a template writes both user and password of a secret.
fn uses_both(read: &Read, path: &str, mounts: &[SeenMount], plan: &Plan) -> bool {
    let Ok(template) = &read.parsed else { return false };
    let calls = template.calls();
    let mut found = (false, false);
    for (call, one) in templates::written(&calls) {
        let Some(Argument::Text(asked)) = call.arguments.first() else { continue };
        let asked = Request::Read {
            path: String::from_utf8_lossy(asked).trim_start_matches('/').to_owned(),
            query: Vec::new(),
        };
        let mount = mounts.iter().find(|mount| asked.path().starts_with(&mount.path));
        let asked = match mount {
            Some(mount) => {
                let kv = mount.kv2.then_some(2);
                asked.at(&Mount { path: mount.path.clone(), kv })
            }
            None => asked,
        };
        if asked.path() == path {
            found.0 |= one.path == format!("Data.data.{}", plan.username_field);
            found.1 |= one.path == format!("Data.data.{}", plan.field);
        }
    }
    found == (true, true)
}

/// Where a key's value stands in a JSON file, however deep.
fn place(file: &File, key: &str) -> Option<Position> {
    fn find(body: &holdfast_hcl::Body, key: &str) -> Option<Position> {
        body.items.iter().find_map(|item| {
            let named = item.keys.iter().any(|name| name.text == key);
            named.then_some(item.value.position).or_else(|| find(item.value.as_object()?, key))
        })
    }
    let start = Position { line: 1, column: 1 };
    Some(find(&holdfast_hcl::parse(&file.text).ok()?, key).unwrap_or(start))
}

/// A duration as people write it: `10m`, `768h`.
fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}
