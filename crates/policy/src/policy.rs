//! A policy and its rules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::Timestamp;
use serde_json::Value;

use crate::template::{self, Identity, TemplateError, TemplateOptions};
use crate::{Capabilities, Pattern, PolicyError, parse};

/// A named list of rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub(crate) name: Arc<str>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) templated: bool,
    pub(crate) options: TemplateOptions,
    /// Of a rendered policy.
    pub(crate) unresolved: Vec<Unresolved>,
}

/// A rule that is left out of a rendered policy, because a template in it stands for nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Unresolved {
    /// The rule as it was written.
    pub rule: Rule,
    /// The template, such as `identity.entity.metadata.team`.
    pub template: String,
}

/// A path pattern, what is permitted there, and on which conditions.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The path as the policy writes it, templates included.
    pub path: String,
    /// The line of the policy that it starts on, from 1.
    pub line: u32,
    /// The column there, from 1.
    pub column: u32,
    /// The same as a pattern. None while templates are in it: such a rule matches nothing.
    pub pattern: Option<Pattern>,
    /// What is permitted. With [`crate::Capability::Deny`], nothing else is in it.
    pub capabilities: Capabilities,
    /// The conditions.
    pub conditions: Conditions,
    /// When the rule ceases to be. None: never.
    pub expires_at: Option<Timestamp>,
}

/// What a request must fulfil beside having the capability.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
    /// If set, no other parameters than these, each with one of the values; no values mean any.
    /// `*` stands for any other parameter. Names are in lower case.
    pub allowed_parameters: Option<BTreeMap<String, Vec<Value>>>,
    /// None of these parameters with one of the values; no values mean any.
    pub denied_parameters: Option<BTreeMap<String, Vec<Value>>>,
    /// Parameters that must be there.
    pub required_parameters: Vec<String>,
    /// The answer must be wrapped for at least this long.
    pub min_wrapping_ttl: Option<Duration>,
    /// The answer must be wrapped for at most this long.
    pub max_wrapping_ttl: Option<Duration>,
    /// A list gives at most this many entries.
    pub pagination_limit: Option<u64>,
}

impl Policy {
    /// Parses a policy, as HCL or as JSON.
    ///
    /// Templates are checked for balanced braces only: their values are known when they are
    /// rendered for a caller.
    ///
    /// # Errors
    /// What the server answers to a policy that it refuses, after `failed to parse policy: `.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        parse::parse(name, text)
    }

    /// The policy `root`, which permits everything and has no rules.
    pub fn root() -> Self {
        Self {
            name: Self::ROOT.into(),
            rules: Vec::new(),
            templated: false,
            options: TemplateOptions::default(),
            unresolved: Vec::new(),
        }
    }

    /// The name of the policy that permits everything.
    pub const ROOT: &'static str = "root";

    /// The same policy, whose templates may hold what `options` says.
    pub fn with_template_options(mut self, options: TemplateOptions) -> Self {
        self.options = options;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules, in the order they were written.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Of a rendered policy, the rules whose templates stand for nothing.
    pub fn unresolved(&self) -> &[Unresolved] {
        &self.unresolved
    }

    /// Whether a rule's path holds templates, so that the policy must be rendered.
    pub fn is_templated(&self) -> bool {
        self.templated
    }

    /// The policy as it applies to `identity`: templates replaced by its names and metadata. Rules
    /// whose templates have no value for it are left out. A policy without templates is itself.
    ///
    /// # Errors
    /// A value would change what the pattern means: it holds `+` or `*`, or `/`, and the policy
    /// does not allow that. The request must then fail: leaving the rule out might drop a denial.
    pub fn render(self: &Arc<Self>, identity: &Identity) -> Result<Arc<Self>, TemplateError> {
        if !self.templated {
            return Ok(self.clone());
        }
        let mut rules = Vec::with_capacity(self.rules.len());
        let mut unresolved = Vec::new();
        for rule in &self.rules {
            if rule.pattern.is_some() {
                rules.push(rule.clone());
                continue;
            }
            match template::render(rule, identity, self.options)? {
                Ok(rendered) => rules.push(rendered),
                Err(template) => unresolved.push(Unresolved { rule: rule.clone(), template }),
            }
        }
        Ok(Arc::new(Self { rules, templated: false, unresolved, ..Self::clone(self) }))
    }
}
