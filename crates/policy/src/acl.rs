//! The policies of a token, compiled.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_types::Timestamp;

use crate::index::{Prefixes, Segments};
use crate::merge::Merged;
use crate::pattern::Kind;
use crate::{Capabilities, Capability, Pattern, Policy};

/// What a set of policies permits.
///
/// Of all patterns that match a path, one alone decides, together with the same pattern in other
/// policies: an exact one before any with wildcards; then the one whose first wildcard comes
/// later; then one without a trailing `*`; then the one with fewer `+`; then the longer; then the
/// later in the alphabet. On one pattern capabilities add up, and `deny` wins.
#[derive(Debug, Clone, Default)]
pub struct Acl {
    is_root: bool,
    stale_at: Option<Timestamp>,
    merged: Vec<Merged>,
    exact: HashMap<String, usize>,
    prefixes: Prefixes,
    segments: Segments,
}

/// The pattern that decides over a path.
#[derive(Debug, Clone, Copy)]
pub struct Match<'a>(pub(crate) &'a Merged);

impl<'a> Match<'a> {
    /// The pattern.
    pub fn pattern(&self) -> &'a Pattern {
        &self.0.pattern
    }

    /// What it permits.
    pub fn capabilities(&self) -> Capabilities {
        self.0.capabilities
    }

    /// The names, in lower case, of those of a request's parameters that its conditions concern.
    pub fn concerned(&self, data: &serde_json::Map<String, serde_json::Value>) -> Vec<String> {
        let conditions = &self.0.conditions;
        let denied = conditions.denied_parameters.as_ref();
        let all = conditions.allowed_parameters.as_ref().is_some_and(|names| !names.is_empty())
            || denied.is_some_and(|names| names.contains_key("*"));
        let required = &conditions.required_parameters;
        let names = data.keys().map(|name| name.to_lowercase());
        names
            .filter(|name| {
                all || denied.is_some_and(|names| names.contains_key(name))
                    || required.iter().any(|required| required.to_lowercase() == *name)
            })
            .collect()
    }

    /// The policies that have rules on this pattern, with what each permits.
    pub fn policies(&self) -> impl Iterator<Item = (&'a str, Capabilities)> {
        self.0.sources.iter().map(|(policy, capabilities)| (&**policy, *capabilities))
    }
}

impl Acl {
    /// Compiles policies, leaving out rules that have expired by `now`. Templated ones must have
    /// been rendered: what is still a template matches nothing.
    ///
    /// The policy `root` permits everything, but only on its own; beside others it is ignored.
    pub fn new(policies: impl IntoIterator<Item = Arc<Policy>>, now: Timestamp) -> Self {
        let mut acl = Self::default();
        let mut by_pattern: HashMap<Pattern, usize> = HashMap::new();
        let (mut roots, mut others) = (0, 0);
        for policy in policies {
            if policy.name() == Policy::ROOT {
                roots += 1;
                continue;
            }
            others += 1;
            for rule in policy.rules() {
                let Some(pattern) = &rule.pattern else { continue };
                if let Some(expires_at) = rule.expires_at {
                    if expires_at < now {
                        continue;
                    }
                    acl.stale_at = Some(acl.stale_at.map_or(expires_at, |at| at.min(expires_at)));
                }
                match by_pattern.get(pattern) {
                    Some(index) => acl.merged[*index].add(&policy.name, rule),
                    None => {
                        by_pattern.insert(pattern.clone(), acl.merged.len());
                        acl.merged.push(Merged::new(pattern.clone(), &policy.name, rule));
                    }
                }
            }
        }
        acl.is_root = roots > 0 && others == 0;
        acl.build_index();
        acl
    }

    fn build_index(&mut self) {
        let mut prefixes = Vec::new();
        for (index, merged) in self.merged.iter().enumerate() {
            let text = merged.pattern.text();
            match merged.pattern.kind() {
                Kind::Exact => {
                    self.exact.insert(text.to_owned(), index);
                }
                Kind::Prefix => prefixes.push((text.to_owned(), index)),
                Kind::Segments { prefix } => self.segments.insert(text, prefix, index),
            }
        }
        self.prefixes = Prefixes::new(prefixes);
    }

    /// Whether it permits everything.
    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// When the first of its rules expires, so that it must be compiled anew. None: never.
    pub fn stale_at(&self) -> Option<Timestamp> {
        self.stale_at
    }

    /// What `sys/capabilities` answers for `path`: `root`, `deny`, or what is permitted.
    pub fn capabilities(&self, path: &str) -> Vec<&'static str> {
        if self.is_root {
            return vec![Policy::ROOT];
        }
        // Asked of a path, not of an operation: listing rules count, too.
        let found = self.find(path, true);
        let capabilities = found.map_or(Capabilities::NONE, |found| found.capabilities());
        if capabilities.contains(Capability::Deny) || capabilities == Capabilities::NONE {
            return vec![Capability::Deny.as_str()];
        }
        capabilities.iter().map(Capability::as_str).collect()
    }

    /// The pattern that decides over `path`. A `list` of `x/` is also decided by rules on `x`,
    /// after those on `x/`.
    pub fn find(&self, path: &str, list: bool) -> Option<Match<'_>> {
        let path = path.trim_start_matches('/');
        let folder = path.strip_suffix('/').filter(|_| list);
        let found = self
            .find_exact(path)
            .or_else(|| self.find_exact(folder?))
            .or_else(|| self.find_wildcard(path))
            .or_else(|| self.find_wildcard(folder?))?;
        Some(Match(found))
    }

    /// Whether anything at all is permitted under the mount at `prefix`, such as `kv/`: who may
    /// know that it is there.
    pub fn reaches(&self, prefix: &str) -> bool {
        if self.is_root {
            return true;
        }
        let permits = |capabilities: Capabilities| {
            !capabilities.contains(Capability::Deny) && capabilities != Capabilities::NONE
        };
        self.find(prefix, true).is_some_and(|found| permits(found.capabilities()))
            || self
                .merged
                .iter()
                .any(|merged| permits(merged.capabilities) && merged.pattern.reaches(prefix))
    }

    fn find_exact(&self, path: &str) -> Option<&Merged> {
        self.exact.get(path).map(|index| &self.merged[*index])
    }

    fn find_wildcard(&self, path: &str) -> Option<&Merged> {
        let mut best = self.prefixes.longest(path).map(|index| &self.merged[index]);
        if !self.segments.is_empty() {
            self.segments.matches(path, |index| {
                let found = &self.merged[index];
                if best.is_none_or(|best| found.pattern.specificity(&best.pattern).is_gt()) {
                    best = Some(found);
                }
            });
        }
        best
    }
}
