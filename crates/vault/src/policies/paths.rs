//! The paths of `sys/policies/acl` and, with other names for the same, `sys/policy`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_logical::{Error, Operation, Response};
use holdfast_types::{Timestamp, rfc3339};
use serde_json::{Map, Value, json};

use super::{DEFAULT, Policies, PolicyRecord, RESPONSE_WRAPPING, ROOT};
use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::tokens::params::after;

/// Which of the two families of paths is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyStyle {
    /// `sys/policies/acl`: the text is `policy`.
    Acl,
    /// `sys/policy`: the text is `rules`, and answers are flattened.
    Old,
}

/// Answers a request for the policy `name`, which is in lower case, or for the list where that is
/// empty.
///
/// # Errors
/// 400 in OpenBao's words.
pub(crate) async fn handle(
    vault: &Vault,
    invocation: &Invocation,
    style: PolicyStyle,
    name: &str,
) -> Result<Answer, Error> {
    use Operation::{Create, Delete, List, Read, Update};
    let policies = &vault.policies;
    let now = vault.clock.now();
    // Rules were held against the path with these spaces, so it is not the list's.
    if !name.is_empty() && name.trim().is_empty() {
        return Err(Error::UnsupportedOperation);
    }
    let folder = if name.is_empty() { String::new() } else { format!("{name}/") };
    match (name.is_empty(), style, invocation.request.operation) {
        (_, PolicyStyle::Acl, List) => Ok(Response::list(policies.names_in(&folder)).into()),
        (_, PolicyStyle::Old, List) | (true, PolicyStyle::Old, Read) => {
            let names = policies.names_in(&folder);
            let data = json!({ "keys": names, "policies": names });
            Ok(Response { flatten: true, ..Response::data(data) }.into())
        }
        (true, ..) => Err(Error::UnsupportedOperation),
        (false, _, Read) => Ok(policies.show(name, style, now).into()),
        (false, _, Create | Update) => write(vault, invocation, style, name).await,
        (false, _, Delete) => {
            match name {
                DEFAULT => return Err(Error::invalid("cannot delete default policy")),
                ROOT | RESPONSE_WRAPPING => {
                    return Err(Error::invalid(format!("cannot delete \"{name}\" policy")));
                }
                _ => policies.delete(name).await?,
            }
            Ok(Answer::none())
        }
        (false, ..) => Err(Error::UnsupportedOperation),
    }
}

/// Answers a request to `sys/policies/detailed/acl`: a list with all that is known of each policy.
/// `name` is the folder that is listed, without its slash.
///
/// # Errors
/// 405 for anything but a list.
pub(crate) fn detailed(
    vault: &Vault,
    invocation: &Invocation,
    name: &str,
) -> Result<Answer, Error> {
    if invocation.request.operation != Operation::List {
        return Err(Error::UnsupportedOperation);
    }
    let policies = &vault.policies;
    let folder = if name.is_empty() { String::new() } else { format!("{name}/") };
    let mut names = policies.names_in(&folder);
    // It is in every such list.
    if !names.iter().any(|name| name == ROOT) {
        names.push(ROOT.to_owned());
    }
    let now = vault.clock.now();
    let shown = names.iter().filter_map(|name| {
        let data = policies.show(name, PolicyStyle::Acl, now)?.data?;
        Some((name.clone(), Value::Object(data)))
    });
    let info: Map<_, _> = shown.collect();
    names.retain(|name| info.contains_key(name));
    Ok(Response::data(json!({ "keys": names, "key_info": info })).into())
}

async fn write(
    vault: &Vault,
    invocation: &Invocation,
    style: PolicyStyle,
    name: &str,
) -> Result<Answer, Error> {
    if matches!(name, ROOT | RESPONSE_WRAPPING) {
        return Err(Error::invalid(format!("cannot update \"{name}\" policy")));
    }
    let fields = invocation.request.fields();
    let said = |field: &str| fields.string(field).map(|text| text.filter(|t| !t.is_empty()));
    let (text, old_name) = match (said("policy")?, said("rules")?) {
        (Some(text), _) => (text, false),
        (None, Some(text)) if style == PolicyStyle::Old => (text, true),
        _ => return Err(Error::invalid("'policy' parameter not supplied or empty")),
    };
    let text = decode(text);
    let now = vault.clock.now();
    let expiration = match (said("expiration")?, fields.duration("ttl")?) {
        (Some(at), _) => {
            let parsed = at.parse::<Timestamp>();
            Some(parsed.map_err(|_| Error::invalid(format!("invalid expiration {at:?}")))?)
        }
        (None, Some(ttl)) if !ttl.is_zero() => Some(after(now, ttl)),
        _ => None,
    };
    let cas_required = fields.bool("cas_required")?.unwrap_or(false);
    let cas = fields.integer("cas")?;
    vault.policies.put(name, &text, cas, cas_required, expiration).await?;
    if old_name {
        let warning = "'rules' is deprecated, please use 'policy' instead";
        return Ok(Response::default().warn(warning).into());
    }
    Ok(Answer::none())
}

/// The text, which may come as base64: whatever can be read so, is.
fn decode(text: String) -> String {
    match STANDARD.decode(text.trim()) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => text,
    }
}

impl Policies {
    fn show(&self, name: &str, style: PolicyStyle, now: Timestamp) -> Option<Response> {
        let text_field = if style == PolicyStyle::Acl { "policy" } else { "rules" };
        let mut data = match name {
            ROOT => shown(ROOT, None),
            name => {
                let kept = self.kept.load();
                let found = kept.get(name)?;
                found.record.expiration.is_none_or(|end| end > now).then_some(())?;
                shown(name, Some(&found.record))
            }
        };
        let text = match name {
            ROOT => String::new(),
            name => self.kept.load().get(name)?.record.text.clone(),
        };
        data.insert(text_field.to_owned(), json!(text));
        let flatten = style == PolicyStyle::Old;
        Some(Response { flatten, data: Some(data), ..Response::default() })
    }
}

fn shown(name: &str, record: Option<&PolicyRecord>) -> Map<String, Value> {
    let mut data = Map::new();
    let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
    set("allow_slashes_in_identity_templates", json!(false));
    set("allow_wildcards_in_identity_templates", json!(false));
    set("cas_required", json!(record.is_some_and(|record| record.cas_required)));
    set("name", json!(name));
    set("version", json!(record.map_or(0, |record| record.version)));
    if let Some(record) = record {
        set("modified", json!(rfc3339(record.modified)));
        if let Some(end) = record.expiration {
            set("expiration", json!(rfc3339(end)));
        }
    }
    data
}
