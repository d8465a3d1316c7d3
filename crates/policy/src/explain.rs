//! Why a request is refused, and the least that would allow it.
//!
//! The decision itself ([`Acl::check`]) names a rule and a verdict. What an operator asks goes
//! further: which rule was *meant* to allow this, and what is wrong with it. So a refusal is read
//! again here, with the rules as they are written: a pattern that would match if `*` worked in its
//! middle, a path that lacks KV's `data/`, a template that stood for nothing. None of this is on the
//! way of a request; it is computed when somebody asks, or in the background.

mod describe;
mod fix;
mod matching;
mod misread;

use std::sync::Arc;
use std::time::Duration;

use holdfast_types::Timestamp;
use serde_json::{Value, json};

use crate::{AccessRequest, Acl, Capabilities, Capability, Operation, Policy, Rule, Verdict};

/// The request that was refused.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What was to be done. Of a write of which it is not known whether it creates, an update.
    pub operation: Operation,
    /// The full path.
    pub path: &'a str,
    /// The names of its parameters, as far as they are known. Values are not asked for.
    pub parameters: &'a [String],
    /// How long the answer was to be wrapped.
    pub wrap_ttl: Option<Duration>,
    /// What was decided. None: decide now, as if the request had no parameters.
    pub verdict: Option<&'a Verdict>,
}

/// What is known of the request's surroundings.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The mount that the path belongs to.
    pub mount: MountFacts<'a>,
    /// Whether the path needs `sudo`.
    pub needs_sudo: bool,
    /// Whether a write would create or change its target.
    pub target: Target,
    /// Policies that the caller names and that are not there.
    pub missing_policies: &'a [String],
    /// Whether there is an entity behind the caller.
    pub has_entity: bool,
    /// When the request was made.
    pub now: Timestamp,
}

impl Facts<'_> {
    /// Nothing is known but the time.
    pub fn unknown(now: Timestamp) -> Self {
        Self {
            mount: MountFacts::Unknown,
            needs_sudo: false,
            target: Target::Unknown,
            missing_policies: &[],
            has_entity: true,
            now,
        }
    }
}

/// The mount that a path belongs to.
#[derive(Debug, Clone, Copy)]
pub enum MountFacts<'a> {
    /// Not known.
    Unknown,
    /// There is none; of those that are there, perhaps this one was meant.
    Missing(Option<&'a str>),
    /// A KV store of version 2 at this path, such as `kv/`.
    Kv2(&'a str),
    /// Any other.
    Other(&'a str),
}

/// Whether a write creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// It is not there: a write creates it.
    Absent,
    /// It is there, or the path knows no difference: a write is an update.
    Present,
    /// Not known.
    Unknown,
}

/// The kind of reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It is allowed.
    Allowed,
    /// No rule covers the path.
    NoRule,
    /// The rule that decides does not grant these, of which the request needs one.
    LacksCapability(Capabilities),
    /// The rule that decides says `deny`.
    ExplicitDeny,
    /// The path needs `sudo` as well.
    NeedsSudo,
    /// The rule denies this parameter.
    ParameterDenied(String),
    /// The rule allows other parameters only.
    ParameterNotAllowed(String),
    /// The rule allows the parameter with other values only.
    ValueNotAllowed(String),
    /// The rule requires this parameter.
    ParameterMissing(String),
    /// The answer must be wrapped.
    NotWrapped,
    /// The answer must be wrapped for longer.
    WrapTtlTooShort,
    /// The answer must be wrapped for less long.
    WrapTtlTooLong,
    /// The list must be bounded.
    ListLimit,
    /// A rule would allow it, but a more specific one decides.
    Shadowed,
    /// The rule names a secret of KV version 2 without `data/`.
    Kv2RuleWithoutData,
    /// The request does.
    Kv2RequestWithoutData,
    /// The rule is about another part of the KV store: `data/` for `metadata/`.
    Kv2OtherPart,
    /// The request lists `data/`; names are listed below `metadata/`.
    Kv2ListOfData,
    /// The rule and the path differ by the slash at the end.
    TrailingSlash,
    /// `+` stands for one segment, not for several.
    PlusIsOneSegment,
    /// `+` within a segment means itself.
    PlusInside,
    /// `*` means itself anywhere but at the end.
    StarInside,
    /// The rule and the path differ in letter case.
    LetterCase,
    /// The rule has expired.
    RuleExpired,
    /// A template in the rule stands for nothing.
    TemplateUnresolved,
    /// Nothing is mounted there.
    NoMount,
    /// A policy that the caller names is not there.
    PolicyMissing,
}

impl Cause {
    /// The kind in a word, as programs read it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::NoRule => "no-rule",
            Self::LacksCapability(_) => "lacks-capability",
            Self::ExplicitDeny => "explicit-deny",
            Self::NeedsSudo => "needs-sudo",
            Self::ParameterDenied(_) => "parameter-denied",
            Self::ParameterNotAllowed(_) => "parameter-not-allowed",
            Self::ValueNotAllowed(_) => "value-not-allowed",
            Self::ParameterMissing(_) => "parameter-missing",
            Self::NotWrapped => "not-wrapped",
            Self::WrapTtlTooShort => "wrap-ttl-too-short",
            Self::WrapTtlTooLong => "wrap-ttl-too-long",
            Self::ListLimit => "list-limit",
            Self::Shadowed => "shadowed",
            Self::Kv2RuleWithoutData => "kv2-rule-without-data",
            Self::Kv2RequestWithoutData => "kv2-request-without-data",
            Self::Kv2OtherPart => "kv2-other-part",
            Self::Kv2ListOfData => "kv2-list-of-data",
            Self::TrailingSlash => "trailing-slash",
            Self::PlusIsOneSegment => "plus-is-one-segment",
            Self::PlusInside => "plus-inside",
            Self::StarInside => "star-inside",
            Self::LetterCase => "letter-case",
            Self::RuleExpired => "rule-expired",
            Self::TemplateUnresolved => "template-unresolved",
            Self::NoMount => "no-mount",
            Self::PolicyMissing => "policy-missing",
        }
    }
}

/// A rule and the policy that it stands in.
#[derive(Debug, Clone, PartialEq)]
pub struct NearRule {
    /// The policy.
    pub policy: Arc<str>,
    /// The rule, as it was written.
    pub rule: Rule,
    /// What its path became, where there were templates in it.
    pub rendered: Option<String>,
}

/// What would allow the request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fix {
    /// Nothing: it is allowed.
    None,
    /// This rule, added to that policy (or, if none is named, to any of the caller's).
    Add {
        /// The policy.
        policy: Option<Arc<str>>,
        /// The rule.
        hcl: String,
        /// What to know before.
        note: Option<String>,
    },
    /// This rule in place of the one on that line of that policy.
    Change {
        /// The policy.
        policy: Arc<str>,
        /// The line that the rule to replace starts on.
        line: u32,
        /// The rule.
        hcl: String,
        /// What to know before.
        note: Option<String>,
    },
    /// No rule is the answer, but this.
    Advice(String),
}

/// Why, with the rule that came nearest and what to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The kind of reason.
    pub cause: Cause,
    /// The reason in a sentence, without a full stop.
    pub summary: String,
    /// The rule that decided, or else came nearest.
    pub nearest: Option<NearRule>,
    /// What would allow it.
    pub fix: Fix,
}

impl Explanation {
    /// As programs read it.
    pub fn to_json(&self) -> Value {
        let rule = self.nearest.as_ref().map(|near| {
            json!({
                "policy": &*near.policy,
                "line": near.rule.line,
                "path": near.rule.path,
                "rendered": near.rendered,
                "hcl": near.rule.to_hcl(),
            })
        });
        json!({
            "cause": self.cause.kind(),
            "summary": self.summary,
            "rule": rule,
            "fix": self.fix.to_json(),
        })
    }
}

impl Fix {
    /// As programs read it.
    pub fn to_json(&self) -> Value {
        match self {
            Self::None => json!({ "kind": "none" }),
            Self::Add { policy, hcl, note } => {
                json!({ "kind": "add", "policy": policy.as_deref(), "hcl": hcl, "note": note })
            }
            Self::Change { policy, line, hcl, note } => json!({
                "kind": "change", "policy": &**policy, "line": line, "hcl": hcl, "note": note,
            }),
            Self::Advice(text) => json!({ "kind": "advice", "text": text }),
        }
    }
}

/// Explains what becomes of a request. `policies` are those that `acl` was compiled from, rendered.
///
/// Takes time in proportion to the number of rules: not for a request's own way.
pub fn explain(
    acl: &Acl,
    policies: &[Arc<Policy>],
    question: &Question<'_>,
    facts: &Facts<'_>,
) -> Explanation {
    let decided;
    let verdict = match question.verdict {
        Some(verdict) => verdict,
        None => {
            let request = AccessRequest {
                operation: question.operation,
                path: question.path,
                data: None,
                wrap_ttl: question.wrap_ttl,
            };
            decided = acl.check(&request);
            &decided.verdict
        }
    };
    let scene = Scene::new(acl, policies, question, facts);
    let (cause, nearest) = scene.cause(verdict);
    let fix = scene.fix(&cause, nearest.as_ref());
    let summary = scene.summary(&cause, nearest.as_ref());
    Explanation { cause, summary, nearest, fix }
}

/// What all of this looks at.
struct Scene<'a> {
    acl: &'a Acl,
    policies: &'a [Arc<Policy>],
    question: &'a Question<'a>,
    facts: &'a Facts<'a>,
    /// As rules match it: of a list, a folder; without a slash at its beginning.
    path: String,
    /// The request needs one of these.
    needs: Capabilities,
}

impl<'a> Scene<'a> {
    fn new(
        acl: &'a Acl,
        policies: &'a [Arc<Policy>],
        question: &'a Question<'a>,
        facts: &'a Facts<'a>,
    ) -> Self {
        let mut path = question.path.trim_start_matches('/').to_owned();
        if question.operation.is_list() && !path.ends_with('/') {
            path.push('/');
        }
        Self { acl, policies, question, facts, path, needs: needs(question, facts.target) }
    }

    fn is_list(&self) -> bool {
        self.question.operation.is_list()
    }

    /// All rules that have not been left out, with their policies.
    fn rules(&self) -> impl Iterator<Item = (&'a Arc<str>, &'a Rule)> {
        let policies = self.policies.iter();
        policies.flat_map(|policy| policy.rules.iter().map(move |rule| (&policy.name, rule)))
    }

    fn near(&self, (policy, rule): (&Arc<str>, &Rule)) -> NearRule {
        let rendered = rule.pattern.as_ref().map(ToString::to_string);
        let templated = rule.path.contains("{{");
        let rendered = rendered.filter(|_| templated);
        NearRule { policy: policy.clone(), rule: rule.clone(), rendered }
    }

    /// Whether a rule grants what the request needs.
    fn grants(&self, rule: &Rule) -> bool {
        let granted = rule.capabilities;
        !granted.contains(Capability::Deny) && self.needs.iter().any(|need| granted.contains(need))
    }

    fn is_expired(&self, rule: &Rule) -> bool {
        rule.expires_at.is_some_and(|at| at < self.facts.now)
    }

    /// The kind of reason, and the rule that it is about.
    fn cause(&self, verdict: &Verdict) -> (Cause, Option<NearRule>) {
        let deciding = self.deciding(verdict);
        let cause = match verdict {
            Verdict::Allowed if self.facts.needs_sudo && !self.has_sudo() => Cause::NeedsSudo,
            Verdict::Allowed => Cause::Allowed,
            Verdict::Denied => Cause::ExplicitDeny,
            Verdict::DeniedParameter(name) => Cause::ParameterDenied(name.clone()),
            Verdict::ParameterNotAllowed(name) => Cause::ParameterNotAllowed(name.clone()),
            Verdict::ValueNotAllowed(name) => Cause::ValueNotAllowed(name.clone()),
            Verdict::MissingParameter(name) => Cause::ParameterMissing(name.clone()),
            Verdict::Limit => Cause::ListLimit,
            Verdict::WrapTtl => self.wrapping(),
            Verdict::Lacks(lacking) => {
                if let Some(found) = self.misread() {
                    return found;
                }
                let lacking = match self.question.operation {
                    Operation::Create | Operation::Update => self.needs,
                    _ => Capabilities::NONE.with(*lacking),
                };
                Cause::LacksCapability(lacking)
            }
            Verdict::NoRule => {
                if let MountFacts::Missing(_) = self.facts.mount {
                    return (Cause::NoMount, self.alike());
                }
                if let Some(found) = self.misread() {
                    return found;
                }
                let missing = !self.facts.missing_policies.is_empty();
                let cause = if missing { Cause::PolicyMissing } else { Cause::NoRule };
                return (cause, self.alike().filter(|_| !missing));
            }
        };
        (cause, deciding)
    }

    fn has_sudo(&self) -> bool {
        let found = self.acl.find(&self.path, self.is_list());
        self.acl.is_root()
            || found.is_some_and(|found| found.capabilities().contains(Capability::Sudo))
    }

    fn wrapping(&self) -> Cause {
        let found = self.acl.find(&self.path, self.is_list());
        let conditions = found.map(|found| &found.0.conditions);
        let min = conditions.and_then(|conditions| conditions.min_wrapping_ttl);
        match (self.question.wrap_ttl, min) {
            (None, _) => Cause::NotWrapped,
            (Some(ttl), Some(min)) if ttl < min => Cause::WrapTtlTooShort,
            _ => Cause::WrapTtlTooLong,
        }
    }

    /// Of the rules on the pattern that decides, the one to show: what refuses, if one of them does.
    fn deciding(&self, verdict: &Verdict) -> Option<NearRule> {
        let found = self.acl.find(&self.path, self.is_list())?;
        let on_pattern = || {
            self.rules().filter(|(_, rule)| {
                rule.pattern.as_ref() == Some(found.pattern()) && !self.is_expired(rule)
            })
        };
        let refuses = |rule: &Rule| match verdict {
            Verdict::Denied => rule.capabilities.contains(Capability::Deny),
            Verdict::DeniedParameter(_) => rule.conditions.denied_parameters.is_some(),
            Verdict::ParameterNotAllowed(_) | Verdict::ValueNotAllowed(_) => {
                rule.conditions.allowed_parameters.is_some()
            }
            Verdict::MissingParameter(_) => !rule.conditions.required_parameters.is_empty(),
            Verdict::WrapTtl => {
                rule.conditions.min_wrapping_ttl.or(rule.conditions.max_wrapping_ttl).is_some()
            }
            Verdict::Limit => rule.conditions.pagination_limit.is_some(),
            _ => true,
        };
        let shown = on_pattern().find(|(_, rule)| refuses(rule)).or_else(|| on_pattern().next())?;
        Some(self.near(shown))
    }

    /// Where nothing matches: the rule that shares the most segments with the path from its
    /// beginning, the mount's at least.
    fn alike(&self) -> Option<NearRule> {
        let shared = |rule: &Rule| {
            let pattern = rule.pattern.as_ref().map(ToString::to_string).unwrap_or_default();
            let mine = self.path.split('/');
            mine.zip(pattern.split('/')).take_while(|(a, b)| a == b || *b == "+").count()
        };
        let ranked = self.rules().map(|(policy, rule)| (shared(rule), (policy, rule)));
        // Everybody has the default policy: that it shares a mount says nothing.
        let ranked =
            ranked.filter(|(shared, (policy, _))| *shared > usize::from(&***policy == "default"));
        // The first of several that share as much.
        let best = ranked.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
        Some(self.near(best.1))
    }
}

/// The capabilities of which a request needs one.
fn needs(question: &Question<'_>, target: Target) -> Capabilities {
    let both = [Capability::Create, Capability::Update];
    match (question.operation, target) {
        (Operation::Create, _) | (Operation::Update, Target::Absent) => {
            Capabilities::NONE.with(Capability::Create)
        }
        (Operation::Update, Target::Unknown) => both.into_iter().collect(),
        (operation, _) => operation.needs().into_iter().collect(),
    }
}
