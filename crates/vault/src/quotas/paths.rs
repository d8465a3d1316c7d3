//! The paths of `sys/quotas/`.

use std::time::Duration;

use holdfast_logical::{Error, Operation, Response};
use serde_json::{Value, json};

use super::rule::Rule;
use super::table::Table;
use super::{CONFIG, Config, Limit, MOST_RULES, Quotas, rule_key};
use crate::core::answer::Answer;
use crate::core::invocation::Invocation;
use crate::core::vault::Vault;
use crate::mounts::MountClass;

/// Paths that are exempt at most.
const MOST_EXEMPT: usize = 256;

/// Answers a request to `sys/quotas/`; `rest` is what follows.
///
/// # Errors
/// OpenBao's for each path.
pub(crate) async fn handle(
    vault: &Vault,
    invocation: &Invocation,
    rest: &str,
) -> Result<Answer, Error> {
    use Operation::{Create, Delete, List, Read, Update};
    let quotas = &vault.quotas;
    let segments: Vec<_> = rest.split('/').collect();
    match (segments.as_slice(), invocation.request.operation) {
        (["config"], Read) => Ok(quotas.show_config().into()),
        (["config"], Create | Update) => {
            quotas.write_config(invocation).await?;
            Ok(Answer::none())
        }
        (["rate-limit", ""], List) => Ok(Response::list(quotas.table.load().names()).into()),
        (["config"] | ["rate-limit"] | ["rate-limit", ""], operation) if operation != List => {
            Err(Error::UnsupportedOperation)
        }
        (["rate-limit", name], operation) if is_name(name) => match operation {
            Read => {
                let table = quotas.table.load();
                Ok(table.get(name).map(|limit| Response::data(limit.rule.to_wire(name))).into())
            }
            Create | Update => {
                let rule = rule(vault, invocation, name)?;
                quotas.write(name, rule).await?;
                Ok(Answer::none())
            }
            Delete => {
                quotas.delete(name).await?;
                Ok(Answer::none())
            }
            _ => Err(Error::UnsupportedOperation),
        },
        _ => Err(Error::UnsupportedPath),
    }
}

/// Letters, digits, `_`, and between those `-` and `.`.
fn is_name(name: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = name.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && bytes.iter().all(|byte| is_word(byte) || matches!(byte, b'-' | b'.'))
}

fn rule(vault: &Vault, invocation: &Invocation, name: &str) -> Result<Rule, Error> {
    let fields = invocation.request.fields();
    let text = |field: &str| {
        let text = fields.string(field).map_err(Error::field_validation);
        text.map(Option::unwrap_or_default)
    };
    let time = |field: &str| fields.duration(field).map_err(Error::field_validation);
    let rate = rate(fields.value("rate"))?;
    let interval = time("interval")?.filter(|interval| !interval.is_zero());
    let block_interval = time("block_interval")?.unwrap_or_default();
    let inheritable = fields.bool("inheritable").map_err(Error::field_validation)?;
    if rate <= 0.0 {
        return Err(Error::invalid("'rate' is invalid"));
    }
    let (given, role) = (text("path")?, text("role")?);
    let given = given.trim_start_matches('/');
    let (path, mount) = place(vault, given)?;
    let is_login = vault.mounts.all().iter().any(|found| {
        found.info.path == mount && found.entry.class == MountClass::Auth && path == mount
    });
    if !role.is_empty() && !is_login {
        return Err(Error::invalid(format!(
            "Mount path \"{path}\" is not a valid auth method and therefore unsuitable for use \
             with role-based quotas"
        )));
    }
    if let Some(twin) = vault.quotas.table.load().twin(name, &path, &role) {
        return Err(Error::invalid(format!(
            "quota rule with similar properties exists under the name {:?}",
            twin.name
        )));
    }
    let inheritable = inheritable.unwrap_or(path.is_empty());
    let interval = interval.unwrap_or(Duration::from_secs(1));
    Ok(Rule { path, mount, role, rate, interval, block_interval, inheritable })
}

/// The path in its final form and the mount that it belongs to: a mount alone ends in `/`.
fn place(vault: &Vault, given: &str) -> Result<(String, String), Error> {
    if given.is_empty() {
        return Ok((String::new(), String::new()));
    }
    let Some(mount) = vault.mounts.route(given.trim_end_matches('*')) else {
        return Err(Error::invalid(format!("invalid mount path \"{given}\"")));
    };
    let mount = mount.info.path.clone();
    let is_mount = given.trim_end_matches('/') == mount.trim_end_matches('/');
    Ok((if is_mount { mount.clone() } else { given.to_owned() }, mount))
}

/// A number, with or without a point.
fn rate(value: Option<&Value>) -> Result<f64, Error> {
    let wrong = |problem: &str| {
        let place = "error converting input for field \"rate\"";
        Error::invalid(format!("Field validation failed: {place}: {problem}"))
    };
    let rate = match value {
        None => 0.0,
        Some(Value::Number(number)) => number.as_f64().unwrap_or_default(),
        Some(Value::String(text)) => text.parse().map_err(|_| {
            wrong("'' cannot parse value as 'float64': strconv.ParseFloat: invalid syntax")
        })?,
        Some(_) => return Err(wrong("'' expected type 'float64'")),
    };
    Ok(if rate.is_finite() { rate } else { 0.0 })
}

impl Quotas {
    fn show_config(&self) -> Response {
        let config = self.config.load();
        Response::data(json!({
            "enable_rate_limit_audit_logging": config.audit,
            "enable_rate_limit_response_headers": config.headers,
            "rate_limit_exempt_paths": config.exempt,
        }))
    }

    /// What the request does not name is off: the whole is written.
    async fn write_config(&self, invocation: &Invocation) -> Result<(), Error> {
        let fields = invocation.request.fields();
        let flag = |name: &str| {
            let flag = fields.bool(name).map_err(Error::field_validation);
            flag.map(Option::unwrap_or_default)
        };
        // Text is one path: commas may stand in it.
        let exempt = match fields.value("rate_limit_exempt_paths") {
            Some(Value::String(path)) => Some(vec![path.clone()]),
            _ => fields.strings("rate_limit_exempt_paths").map_err(Error::field_validation)?,
        };
        let config = Config {
            exempt: exempt.unwrap_or_default(),
            audit: flag("enable_rate_limit_audit_logging")?,
            headers: flag("enable_rate_limit_response_headers")?,
        };
        if config.exempt.len() > MOST_EXEMPT {
            return Err(Error::invalid("too many paths"));
        }
        let _change = self.change.lock().await;
        self.store.put_json(CONFIG, &config).await?;
        self.config.store(config.into());
        Ok(())
    }

    async fn write(&self, name: &str, rule: Rule) -> Result<(), Error> {
        let _change = self.change.lock().await;
        let mut table = Table::clone(&self.table.load());
        if table.len() >= MOST_RULES && table.get(name).is_none() {
            return Err(Error::invalid("too many rate limits"));
        }
        self.store.put_json(&rule_key(name), &rule).await?;
        table.insert(Limit::new(name.to_owned(), rule));
        self.table.store(table.into());
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        let _change = self.change.lock().await;
        self.store.delete(&rule_key(name)).await?;
        let mut table = Table::clone(&self.table.load());
        table.remove(name);
        self.table.store(table.into());
        Ok(())
    }
}
