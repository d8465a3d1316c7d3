//! `sys/plugins/`: what can be mounted. All of it is built in; nothing can be added.

use holdfast_logical::{Error, Operation, Response};
use serde_json::{Value, json};

use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::mounts::{MountClass, RUNNING_VERSION};

/// The kinds of databases that the engine `database` speaks to.
const DATABASES: [&str; 1] = ["postgresql-database-plugin"];
const NO_PLUGINS: &str = "plugins cannot be added to this server: all that can be mounted is built \
                          in, see sys/plugins/catalog";

/// Answers a request to `sys/plugins/`; `rest` is what follows.
pub(super) fn handle(vault: &Vault, invocation: &Invocation, rest: &str) -> Result<Answer, Error> {
    use Operation::{Create, Delete, List, Read, Update};
    let segments: Vec<_> = rest.split('/').collect();
    match (segments.as_slice(), invocation.request.operation) {
        (["catalog"] | ["catalog", ""], Read) => Ok(catalog(vault).into()),
        (["catalog"] | ["catalog", ""], _) => Err(Error::UnsupportedOperation),
        (["catalog", kind, ""], List) => match names(vault, kind) {
            Some(names) => Ok(Response::list(names).into()),
            None => Err(Error::UnsupportedOperation),
        },
        (["catalog", kind, name], Read) if !name.is_empty() => match names(vault, kind) {
            Some(names) if names.iter().any(|known| known == name) => Ok(one(name).into()),
            Some(_) => Ok(Answer::none()),
            None => Err(Error::invalid(format!("unknown plugin type: {kind:?}"))),
        },
        (["catalog", _, name], Create | Update) if !name.is_empty() => {
            Err(Error::invalid(NO_PLUGINS))
        }
        // What is not there is no less there afterwards.
        (["catalog", _, name], Delete) if !name.is_empty() => Ok(Answer::none()),
        (["catalog", _] | ["catalog", _, _], _) => Err(Error::UnsupportedOperation),
        (["reload", "backend"], Create | Update) => reload(vault, invocation),
        (["reload", "backend"], operation) if operation != List => Err(Error::UnsupportedOperation),
        _ => Err(Error::UnsupportedPath),
    }
}

/// The names of a type's plugins. None: there is no such type.
fn names(vault: &Vault, kind: &str) -> Option<Vec<String>> {
    let names = match kind {
        "auth" => vault.mounts.kinds(MountClass::Auth),
        // Mounted by itself, once.
        "secret" => {
            let mut kinds = vault.mounts.kinds(MountClass::Secret);
            kinds.retain(|kind| kind != "cubbyhole");
            kinds
        }
        "database" => DATABASES.map(str::to_owned).to_vec(),
        _ => return None,
    };
    Some(names)
}

fn catalog(vault: &Vault) -> Response {
    let mut data = json!({});
    let mut detailed = Vec::new();
    for kind in ["auth", "database", "secret"] {
        let names = names(vault, kind).unwrap_or_default();
        detailed.extend(names.iter().map(|name| {
            json!({
                "builtin": true,
                "deprecation_status": "supported",
                "name": name,
                "type": kind,
                "version": RUNNING_VERSION,
            })
        }));
        data[kind] = names.into();
    }
    data["detailed"] = Value::from(detailed);
    Response::data(data)
}

fn one(name: &str) -> Response {
    Response::data(json!({
        "args": null,
        "builtin": true,
        "command": "",
        "declarative": false,
        "deprecation_status": "supported",
        "name": name,
        "oci": false,
        "sha256": "",
        "version": RUNNING_VERSION,
    }))
}

/// What is built in runs in this process: there is nothing to start anew. Clients are told of
/// wrong names as everywhere.
fn reload(vault: &Vault, invocation: &Invocation) -> Result<Answer, Error> {
    let fields = invocation.request.fields();
    let plugin = fields.string("plugin").map_err(Error::field_validation)?.unwrap_or_default();
    let mounts = fields.strings("mounts").map_err(Error::field_validation)?.unwrap_or_default();
    let scope = fields.string("scope").map_err(Error::field_validation)?.unwrap_or_default();
    if !matches!(scope.as_str(), "" | "global") {
        return Err(Error::invalid("scope must be unset or \"global\""));
    }
    match (plugin.is_empty(), mounts.is_empty()) {
        (true, true) => return Err(Error::invalid("plugin or mounts must be provided")),
        (false, false) => {
            return Err(Error::invalid("plugin and mounts cannot be set at the same time"));
        }
        _ => {}
    }
    let is_known = ["auth", "secret", "database"]
        .iter()
        .any(|kind| names(vault, kind).is_some_and(|names| names.contains(&plugin)));
    if !plugin.is_empty() && !is_known {
        return Err(Error::invalid(format!("plugin not found in the catalog: {plugin:?}")));
    }
    for mount in &mounts {
        let folder = format!("{}/", mount.trim_end_matches('/'));
        if !vault.mounts.all().iter().any(|found| found.info.path == folder) {
            return Err(Error::invalid(format!(
                "1 error occurred:\n\t* cannot fetch mount entry on {mount:?}\n\n"
            )));
        }
    }
    Ok(Response::data(json!({ "reload_id": invocation.request.id })).into())
}
