//! `sys/mounts` and `sys/auth`.

use holdfast_logical::{Error, Operation, Response};
use serde_json::{Map, Value};

use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::mounts::{MountClass, disable};

/// Answers a request to `sys/mounts/` or `sys/auth/`; `rest` is what follows.
pub(super) async fn handle(
    vault: &Vault,
    invocation: &Invocation,
    class: MountClass,
    rest: &str,
) -> Result<Answer, Error> {
    use Operation::{Create, Delete, List, Read, Update};
    let operation = invocation.request.operation;
    let rest = rest.trim_matches('/');
    if rest.is_empty() {
        return match operation {
            Read => Ok(list(vault, class).into()),
            List => Err(Error::UnsupportedPath),
            _ => Err(Error::UnsupportedOperation),
        };
    }
    let (found, below) = by_whole_path(vault, class, rest);
    let fields = invocation.request.fields();
    if let Some(path) = below.strip_suffix("/tune") {
        let path = format!("{path}/");
        return match operation {
            Read => tuning(vault, found, &path).map(Answer::from),
            Create | Update => match vault.mounts.tune(found, &path, fields).await? {
                Some(warning) => Ok(Response::default().warn(warning).into()),
                None => Ok(Answer::none()),
            },
            _ => Err(Error::UnsupportedOperation),
        };
    }
    match operation {
        Read => one(vault, found, &format!("{below}/")).map(Answer::from),
        Create | Update => {
            vault.mounts.enable(class, &format!("{rest}/"), fields).await?;
            Ok(Answer::none())
        }
        Delete => {
            disable(vault, class, &format!("{rest}/")).await?;
            Ok(Answer::none())
        }
        _ => Err(Error::UnsupportedOperation),
    }
}

/// Login methods are found and tuned under `sys/mounts/auth/` as well: Terraform does so. They are
/// enabled and disabled under `sys/auth/` alone.
fn by_whole_path<'a>(vault: &Vault, class: MountClass, rest: &'a str) -> (MountClass, &'a str) {
    let Some(below) = rest.strip_prefix("auth/").filter(|_| class == MountClass::Secret) else {
        return (class, rest);
    };
    let path = below.strip_suffix("/tune").unwrap_or(below);
    match vault.mounts.find(MountClass::Auth, &format!("{path}/")) {
        Some(_) => (MountClass::Auth, below),
        None => (class, rest),
    }
}

fn flat(data: Value) -> Response {
    Response { flatten: true, ..Response::data(data) }
}

fn list(vault: &Vault, class: MountClass) -> Response {
    let mounts = vault.mounts.all();
    let rows = mounts.iter().filter(|mount| mount.entry.class == class);
    let rows: Map<_, _> =
        rows.map(|mount| (mount.entry.path.clone(), mount.entry.to_wire())).collect();
    flat(Value::Object(rows))
}

fn one(vault: &Vault, class: MountClass, path: &str) -> Result<Response, Error> {
    match vault.mounts.find(class, path) {
        Some(mount) => Ok(flat(mount.entry.to_wire())),
        None => Err(Error::invalid(match class {
            MountClass::Secret => format!("No secret engine mount at {path}"),
            MountClass::Auth => format!("No auth engine at {path}"),
        })),
    }
}

fn tuning(vault: &Vault, class: MountClass, path: &str) -> Result<Response, Error> {
    match vault.mounts.find(class, path) {
        Some(mount) => Ok(flat(mount.entry.tuning(vault.mounts.limits))),
        None => {
            let prefix = if class == MountClass::Auth { "auth/" } else { "" };
            Err(Error::invalid(format!("cannot fetch sysview for path \"{prefix}{path}\"")))
        }
    }
}
