//! The decision over one request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::policy::Conditions;
use crate::{Acl, Capability, Match, Operation, Policy, parameters};

/// A request to be decided.
#[derive(Debug, Clone, Copy)]
pub struct AccessRequest<'a> {
    /// What is to be done.
    pub operation: Operation,
    /// The full path, such as `kv/data/app`.
    pub path: &'a str,
    /// The parameters, if there are any.
    pub data: Option<&'a Map<String, Value>>,
    /// How long the answer is to be wrapped, if at all.
    pub wrap_ttl: Option<Duration>,
}

impl<'a> AccessRequest<'a> {
    /// A request without parameters or wrapping.
    pub fn new(operation: Operation, path: &'a str) -> Self {
        Self { operation, path, data: None, wrap_ttl: None }
    }
}

/// The decision, and what it rests on.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    /// Whether the request may go on.
    pub allowed: bool,
    /// Why, or why not.
    pub verdict: Verdict,
    /// Whether the caller has root privileges on the path (`sudo`). Says nothing of `allowed`.
    pub sudo: bool,
    /// Whether the caller may do everything.
    pub is_root: bool,
    /// The pattern that decided. None for `root`, for help, and where none matches.
    pub rule: Option<Match<'a>>,
    /// The names of the policies that grant the operation.
    pub granting: Vec<Arc<str>>,
    /// What the request's `limit` must be set to before it goes on, if anything.
    pub limit: Option<u64>,
}

/// Why a request is allowed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is allowed.
    Allowed,
    /// No pattern matches the path.
    NoRule,
    /// The pattern says `deny`.
    Denied,
    /// The pattern lacks this capability.
    Lacks(Capability),
    /// The answer must be wrapped within the bounds that the rule sets.
    WrapTtl,
    /// This parameter is required.
    MissingParameter(String),
    /// This parameter, or its value, is among those denied.
    DeniedParameter(String),
    /// This parameter is not among those allowed.
    ParameterNotAllowed(String),
    /// This parameter is allowed, but not with its value.
    ValueNotAllowed(String),
    /// The list's `limit` is missing, no number, or too large.
    Limit,
}

impl Acl {
    /// Decides over a request.
    pub fn check(&self, request: &AccessRequest<'_>) -> Decision<'_> {
        let mut decision = Decision {
            allowed: false,
            verdict: Verdict::NoRule,
            sudo: false,
            is_root: self.is_root(),
            rule: None,
            granting: Vec::new(),
            limit: None,
        };
        if self.is_root() {
            decision.sudo = true;
            decision.granting = vec![Policy::ROOT.into()];
            return decision.allow();
        }
        let Some(needed) = request.operation.needs() else { return decision.allow() };
        let Some(found) = self.find(&request.folder(), request.operation.is_list()) else {
            return decision;
        };
        decision.rule = Some(found);
        decision.sudo = found.capabilities().contains(Capability::Sudo);
        if !found.capabilities().contains(needed) {
            let denied = found.capabilities().contains(Capability::Deny);
            decision.verdict = if denied { Verdict::Denied } else { Verdict::Lacks(needed) };
            return decision;
        }
        decision.granting = found.0.granting(needed);
        match request.fulfils(&found.0.conditions) {
            Ok(limit) => {
                decision.limit = limit;
                decision.allow()
            }
            Err(verdict) => Decision { verdict, ..decision },
        }
    }
}

impl Decision<'_> {
    fn allow(self) -> Self {
        Self { allowed: true, verdict: Verdict::Allowed, ..self }
    }
}

impl AccessRequest<'_> {
    /// The path; of a list, as a folder.
    fn folder(&self) -> Cow<'_, str> {
        if self.operation.is_list() && !self.path.ends_with('/') {
            Cow::Owned(format!("{}/", self.path))
        } else {
            Cow::Borrowed(self.path)
        }
    }

    /// Whether the request fulfils what a rule asks beside the capability, and what its `limit`
    /// becomes.
    fn fulfils(&self, conditions: &Conditions) -> Result<Option<u64>, Verdict> {
        let (min, max) = (conditions.min_wrapping_ttl, conditions.max_wrapping_ttl);
        let wrapped = self.wrap_ttl;
        if min.is_some_and(|min| wrapped.is_none_or(|ttl| ttl < min))
            || max.is_some_and(|max| wrapped.is_none_or(|ttl| ttl > max))
        {
            return Err(Verdict::WrapTtl);
        }
        let empty = Map::new();
        let data = self.data.unwrap_or(&empty);
        match self.operation {
            Operation::Read | Operation::Create | Operation::Update | Operation::Patch => {
                parameters::check(conditions, data)?;
                Ok(None)
            }
            Operation::List | Operation::Scan => limit(conditions, data.get("limit")),
            Operation::Delete | Operation::Help => Ok(None),
        }
    }
}

/// What a list's `limit` becomes. `max` asks for as many entries as are permitted.
fn limit(conditions: &Conditions, asked: Option<&Value>) -> Result<Option<u64>, Verdict> {
    let is_max = asked.and_then(Value::as_str) == Some("max");
    let Some(most) = conditions.pagination_limit else {
        return Ok(is_max.then_some(0));
    };
    let required = || {
        let mut required = conditions.required_parameters.iter();
        required.any(|parameter| parameter.eq_ignore_ascii_case("limit"))
    };
    match asked {
        None if required() => Err(Verdict::Limit),
        None => Ok(Some(most)),
        Some(_) if is_max => Ok(Some(most)),
        Some(asked) => {
            let number = match asked {
                Value::Number(number) => number.as_u64(),
                Value::String(text) if text.is_empty() => Some(0),
                Value::String(text) => text.parse().ok(),
                _ => None,
            };
            match number {
                Some(0) => Ok(Some(most)),
                Some(number) if number <= most => Ok(None),
                _ => Err(Verdict::Limit),
            }
        }
    }
}
