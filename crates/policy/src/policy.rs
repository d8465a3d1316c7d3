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
}

/// A path pattern, what is permitted there, and on which conditions.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The path as the policy writes it, templates included.
    pub path: String,
    /// The line of the policy that it starts on, from 1.
    pub line: u32,
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
        for rule in &self.rules {
            let rendered = match rule.pattern {
                Some(_) => Some(rule.clone()),
                None => template::render(rule, identity, self.options)?,
            };
            rules.extend(rendered);
        }
        Ok(Arc::new(Self { rules, templated: false, ..Self::clone(self) }))
    }
}
