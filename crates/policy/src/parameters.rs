//! Conditions on a request's parameters.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Verdict;
use crate::policy::Conditions;

/// Whether the parameters of a request that reads or writes fulfil the conditions.
pub(crate) fn check(conditions: &Conditions, data: &Map<String, Value>) -> Result<(), Verdict> {
    for parameter in &conditions.required_parameters {
        if !data.contains_key(&parameter.to_lowercase()) {
            return Err(Verdict::MissingParameter(parameter.clone()));
        }
    }
    if let Some(denied) = &conditions.denied_parameters {
        check_denied(denied, data)?;
    }
    if let Some(allowed) = &conditions.allowed_parameters {
        check_allowed(allowed, data)?;
    }
    Ok(())
}

fn check_denied(
    denied: &BTreeMap<String, Vec<Value>>,
    data: &Map<String, Value>,
) -> Result<(), Verdict> {
    let all = denied.contains_key("*");
    for (parameter, value) in data {
        let values = denied.get(&parameter.to_lowercase());
        if all || values.is_some_and(|values| is_among(value, values)) {
            return Err(Verdict::DeniedParameter(parameter.clone()));
        }
    }
    Ok(())
}

fn check_allowed(
    allowed: &BTreeMap<String, Vec<Value>>,
    data: &Map<String, Value>,
) -> Result<(), Verdict> {
    let all = allowed.contains_key("*");
    if allowed.is_empty() || (all && allowed.len() == 1) {
        return Ok(());
    }
    for (parameter, value) in data {
        match allowed.get(&parameter.to_lowercase()) {
            Some(values) if is_among(value, values) => {}
            Some(_) => return Err(Verdict::ValueNotAllowed(parameter.clone())),
            None if all => {}
            None => return Err(Verdict::ParameterNotAllowed(parameter.clone())),
        }
    }
    Ok(())
}

/// Whether `value` is one of `values`; of none, any is. Strings may begin or end in `*`.
fn is_among(value: &Value, values: &[Value]) -> bool {
    values.is_empty()
        || values.iter().any(|permitted| match (permitted, value) {
            (Value::String(glob), Value::String(text)) => glob_matches(glob, text),
            // Numbers by their value. OpenBao takes a number in a policy for unequal to any in a
            // request, so that a denial of it denies nothing.
            (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
            _ => permitted == value,
        })
}

fn glob_matches(glob: &str, text: &str) -> bool {
    if glob.len() < 2 {
        return glob == text;
    }
    match (glob.strip_prefix('*'), glob.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(&glob[1..glob.len() - 1]),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => glob == text,
    }
}
