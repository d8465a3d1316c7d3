//! From what happened to what operators read.

use std::sync::Arc;

use holdfast_logical::{Connection, MountInfo, Operation, Request};
use holdfast_policy::{Explanation, Facts, MountFacts, Question, Target as PolicyTarget, explain};
use holdfast_types::{closest, rfc3339};
use serde_json::{Map, Value, json};

use super::cut;
use super::ended::{End, Ended, of};
use super::pending::{Judgement, Pending, Why};
use crate::core::acl::policy_operation;
use crate::core::vault::Vault;
use crate::mounts::{MountClass, Target};

/// The longest text in an explanation, in bytes.
const TEXT: usize = 4096;

/// What the client asks before it asks for secrets.
const PREFLIGHT: &str = "sys/internal/ui/mounts/";

/// Everything that is told of a denial.
pub(super) async fn diagnose(vault: &Vault, pending: &Pending) -> Map<String, Value> {
    let mut body = match &pending.why {
        Why::NoToken => told(
            "no-token",
            "the request carried no token",
            "send one in the header X-Vault-Token: log in first, or set VAULT_TOKEN",
        ),
        Why::BadToken(hash) => {
            let ended = match vault.denials.ended.get(*hash) {
                Some(ended) => Some(ended),
                None => {
                    let entry = vault.tokens.entry(*hash).await.ok().flatten();
                    entry.map(|entry| of(&entry, vault.clock.now()))
                }
            };
            bad_token(ended.as_ref())
        }
        Why::BadBatchToken(entry) => bad_token(Some(&of(entry, pending.at))),
        Why::UsedUp => told(
            "token-used-up",
            "the token has no uses left",
            "make one with more uses: -use-limit, or token_num_uses of the role",
        ),
        Why::Elsewhere(bound) => {
            let from = pending.remote_address.map(|address| address.to_string());
            let nets: Vec<_> = bound.iter().map(ToString::to_string).collect();
            told(
                "token-cidr",
                &format!(
                    "the token must not be used from {}",
                    from.as_deref().unwrap_or("a Unix socket")
                ),
                &format!(
                    "use it from {}, or have one made by a role whose token_bound_cidrs allow the \
                     address",
                    nets.join(", ")
                ),
            )
        }
        Why::Unreadable(text) => unreadable(vault, pending, text),
        Why::Entity => told(
            "entity-not-good",
            "the entity behind the token is disabled, or was removed",
            "enable it again below identity/entity/, or log in anew where it was removed",
        ),
        Why::Backend { said, reason } => backend(pending, said, reason.as_ref()),
        Why::Policies(judgement) => judged(vault, pending, judgement).await,
    };
    body.insert("time".to_owned(), json!(rfc3339(pending.at)));
    body.insert("status".to_owned(), json!(pending.status));
    body.insert("caller".to_owned(), who(vault, pending).await);
    body.insert("request".to_owned(), request(pending));
    body
}

fn told(cause: &str, summary: &str, advice: &str) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("cause".to_owned(), json!(cause));
    body.insert("summary".to_owned(), json!(cut(summary, TEXT)));
    body.insert("rule".to_owned(), Value::Null);
    let fix = json!({ "kind": "advice", "text": cut(advice, TEXT) });
    body.insert("fix".to_owned(), fix);
    body
}

fn bad_token(ended: Option<&Ended>) -> Map<String, Value> {
    let Some(ended) = ended else {
        return told(
            "token-unknown",
            "the token is not one of this server's, or ended long ago",
            "log in again; is the address that of the server which issued it?",
        );
    };
    let Ended { how, at, accessor, display_name } = ended;
    let whose = format!("the token {display_name:?} (accessor {accessor})");
    let at = rfc3339(*at);
    match how {
        End::Expired => told(
            "token-expired",
            &format!("{whose} expired at {at}"),
            "log in again, and renew the token before it expires",
        ),
        End::Revoked => told(
            "token-revoked",
            &format!("{whose} was revoked at {at}, or the token that made it was"),
            "log in again; the audit log says who revoked it",
        ),
        End::UsedUp => told(
            "token-used-up",
            &format!("{whose} has no uses left since {at}"),
            "make one with more uses: -use-limit, or token_num_uses of the role",
        ),
    }
}

fn unreadable(vault: &Vault, pending: &Pending, text: &str) -> Map<String, Value> {
    let now = vault.clock.now();
    let broken = pending.who.policies.iter().find(|name| vault.policies.get(name, now).is_err());
    match broken {
        Some(name) => told(
            "policy-unreadable",
            &format!("the policy {name:?} does not parse, so that whoever has it may do nothing"),
            "write the policy anew; the server's log says what is wrong with it",
        ),
        None => told(
            "template-forbidden",
            &format!("a template stands for a value that would change what its rule means: {text}"),
            "rename the entity, or change its metadata",
        ),
    }
}

fn backend(pending: &Pending, said: &str, reason: Option<&(String, String)>) -> Map<String, Value> {
    if let Some(mount) = pending.path.strip_prefix(PREFLIGHT) {
        let mount = mount.trim_end_matches('/');
        return told(
            "preflight",
            &format!(
                "none of the caller's policies grants anything below {mount}/, if it is there"
            ),
            &format!(
                "grant what is needed below {mount}/; the client asks this before the request"
            ),
        );
    }
    let login = pending.mount_path.starts_with("auth/");
    let kind = if login { "login-refused" } else { "refused-by-mount" };
    match reason {
        Some((reason, advice)) => told(kind, reason, advice),
        None => told(
            kind,
            &format!("{} refused: {said}", pending.mount_path),
            if login { "check what is sent against the role" } else { "see what it says" },
        ),
    }
}

async fn judged(vault: &Vault, pending: &Pending, judgement: &Judgement) -> Map<String, Value> {
    let acl = &judgement.acl;
    let known = |name: &&String| !acl.policies.iter().any(|policy| policy.name() == name.as_str());
    let missing: Vec<String> = pending.who.policies.iter().filter(known).cloned().collect();
    let meant = nearest_mount(vault, &pending.path);
    let mount = match pending.mount_path.as_str() {
        "" => MountFacts::Missing(meant.as_deref()),
        path if pending.kv_version_2 => MountFacts::Kv2(path),
        path => MountFacts::Other(path),
    };
    let question = Question {
        operation: policy_operation(pending.operation),
        path: &pending.path,
        parameters: &judgement.parameters,
        wrap_ttl: pending.wrap_ttl,
        verdict: Some(&judgement.verdict),
    };
    let facts = Facts {
        mount,
        needs_sudo: judgement.needs_sudo,
        target: target(vault, pending).await,
        missing_policies: &missing,
        has_entity: !pending.who.entity_id.is_empty(),
        now: pending.at,
    };
    let explanation = explain(&acl.acl, &acl.policies, &question, &facts);
    let mut body = shown(&explanation);
    if pending.masked {
        let text = "the path holds a token, which is not kept: send it in the body, as current \
                    clients do";
        body.insert("fix".to_owned(), json!({ "kind": "advice", "text": text }));
    }
    body
}

fn shown(explanation: &Explanation) -> Map<String, Value> {
    let Value::Object(mut body) = explanation.to_json() else { return Map::new() };
    for text in body.values_mut() {
        shorten(text);
    }
    body
}

/// Cuts texts that are too long to keep, at any depth.
fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > TEXT => *text = cut(text, TEXT),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Array(items) => items.iter_mut().for_each(shorten),
        _ => {}
    }
}

/// Whether a write would create. Asked here and not when the write was refused, where the answer
/// could have been told from the time it took.
async fn target(vault: &Vault, pending: &Pending) -> PolicyTarget {
    if pending.operation != Operation::Update {
        return PolicyTarget::Unknown;
    }
    if pending.masked {
        return PolicyTarget::Unknown;
    }
    let Some(mount) = vault.mounts.route(&pending.path) else { return PolicyTarget::Unknown };
    let Some(below) = pending.path.strip_prefix(mount.info.path.as_str()) else {
        return PolicyTarget::Unknown;
    };
    let exists = match &mount.target {
        Target::Backend(backend) => {
            let request = Request {
                id: String::new(),
                operation: pending.operation,
                path: below.to_owned(),
                mount: Arc::<MountInfo>::clone(&mount.info),
                data: Map::new(),
                caller: None,
                connection: Connection::default(),
                headers: Default::default(),
                wrap_ttl: None,
                looked_at: Default::default(),
            };
            backend.exists(&request).await
        }
        Target::Token => crate::tokens::exists(vault, below).await,
        Target::System | Target::Identity => Ok(None),
    };
    match exists {
        Ok(Some(false)) => PolicyTarget::Absent,
        Ok(_) => PolicyTarget::Present,
        Err(_) => PolicyTarget::Unknown,
    }
}

/// The mount that was meant by the first segment of a path which belongs to none.
fn nearest_mount(vault: &Vault, path: &str) -> Option<String> {
    let mounts = vault.mounts.all();
    let secret = mounts.iter().filter(|mount| mount.entry.class == MountClass::Secret);
    let names = secret.map(|mount| mount.entry.path.trim_end_matches('/'));
    let name = closest(path.split('/').next()?, names)?;
    Some(format!("{name}/"))
}

async fn who(vault: &Vault, pending: &Pending) -> Value {
    let who = &pending.who;
    let versions = match &pending.why {
        Why::Policies(judgement) => judgement.acl.versions.as_slice(),
        _ => &[],
    };
    let policies: Vec<_> = who
        .policies
        .iter()
        .map(|name| match versions.iter().find(|version| version.name == *name) {
            Some(found) => {
                json!({ "name": name, "version": found.version, "sha256": found.digest() })
            }
            None => json!({ "name": name }),
        })
        .collect();
    let name = match who.entity_id.as_str() {
        "" => None,
        id => vault.identity.who(id).await.ok().and_then(|who| who.for_templates().entity),
    };
    json!({
        "accessor": who.accessor,
        "display_name": who.display_name,
        "entity_id": who.entity_id,
        "entity_name": name.map(|entity| entity.name),
        "metadata": who.metadata,
        "policies": policies,
        "token_type": who.token_type,
        "remote_address": pending.remote_address.map(|address| address.to_string()),
    })
}

fn request(pending: &Pending) -> Value {
    let parameters = match &pending.why {
        Why::Policies(judgement) => judgement.parameters.as_slice(),
        _ => &[],
    };
    json!({
        "operation": pending.operation.as_str(),
        "path": pending.path,
        "mount_type": pending.mount_kind,
        "parameters": parameters,
        "wrap_ttl": pending.wrap_ttl.map(|ttl| ttl.as_secs()),
    })
}
