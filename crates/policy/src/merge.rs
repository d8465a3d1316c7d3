//! Several rules on the same pattern made one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::policy::Conditions;
use crate::{Capabilities, Capability, Pattern, Rule};

/// All that the policies of an ACL say of one pattern.
#[derive(Debug, Clone)]
pub(crate) struct Merged {
    pub(crate) pattern: Pattern,
    pub(crate) capabilities: Capabilities,
    pub(crate) conditions: Conditions,
    /// What each policy contributed, in order. After a denial, its policy alone.
    pub(crate) sources: Vec<(Arc<str>, Capabilities)>,
}

impl Merged {
    pub(crate) fn new(pattern: Pattern, policy: &Arc<str>, rule: &Rule) -> Self {
        Self {
            pattern,
            capabilities: rule.capabilities,
            conditions: rule.conditions.clone(),
            sources: vec![(policy.clone(), rule.capabilities)],
        }
    }

    /// Adds a further rule: capabilities add up, a denial wins over everything. Conditions add up
    /// as OpenBao has them, which is not always the stricter: allowed values are joined, and
    /// the shorter of two wrapping TTLs counts.
    pub(crate) fn add(&mut self, policy: &Arc<str>, rule: &Rule) {
        if self.capabilities.contains(Capability::Deny) {
            return;
        }
        if rule.capabilities.contains(Capability::Deny) {
            self.capabilities = rule.capabilities;
            self.conditions = Conditions::default();
            self.sources = vec![(policy.clone(), rule.capabilities)];
            return;
        }
        self.capabilities = self.capabilities.union(rule.capabilities);
        self.sources.push((policy.clone(), rule.capabilities));
        let (mine, other) = (&mut self.conditions, &rule.conditions);
        lower(&mut mine.max_wrapping_ttl, other.max_wrapping_ttl);
        lower(&mut mine.min_wrapping_ttl, other.min_wrapping_ttl);
        lower(&mut mine.pagination_limit, other.pagination_limit);
        join(&mut mine.allowed_parameters, other.allowed_parameters.as_ref());
        join(&mut mine.denied_parameters, other.denied_parameters.as_ref());
        for parameter in &other.required_parameters {
            if !mine.required_parameters.contains(parameter) {
                mine.required_parameters.push(parameter.clone());
            }
        }
    }

    /// The names of the policies that grant `capability`.
    pub(crate) fn granting(&self, capability: Capability) -> Vec<Arc<str>> {
        let grants = self.sources.iter().filter(|(_, granted)| granted.contains(capability));
        grants.map(|(policy, _)| policy.clone()).collect()
    }
}

fn lower<T: Ord + Copy>(mine: &mut Option<T>, other: Option<T>) {
    *mine = match (*mine, other) {
        (Some(mine), Some(other)) => Some(mine.min(other)),
        (mine, other) => mine.or(other),
    };
}

/// Joins the values of two parameter lists. A parameter without values takes any, and keeps doing
/// so whatever values the other names.
fn join(
    mine: &mut Option<BTreeMap<String, Vec<Value>>>,
    other: Option<&BTreeMap<String, Vec<Value>>>,
) {
    let Some(other) = other.filter(|other| !other.is_empty()) else { return };
    let Some(mine) = mine else {
        *mine = Some(other.clone());
        return;
    };
    for (parameter, values) in other {
        match mine.get_mut(parameter) {
            Some(present) if present.is_empty() || values.is_empty() => present.clear(),
            Some(present) => present.extend(values.iter().cloned()),
            None => {
                mine.insert(parameter.clone(), values.clone());
            }
        }
    }
}
