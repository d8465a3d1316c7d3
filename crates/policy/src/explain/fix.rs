//! The least rule that allows a request and changes nothing else.
//!
//! A rule on exactly the request's path decides alone over that path, so it must go on granting
//! there what was granted before: reading is not to end because writing begins. A rule on `x` also
//! decides over lists of `x/`, where none on `x/` does.

use std::sync::Arc;

use super::{Cause, Fix, MountFacts, NearRule, Scene};
use crate::pattern::Kind;
use crate::policy::Conditions;
use crate::render::{duration, rule as hcl};
use crate::{Capabilities, Capability, Operation, Pattern, Rule};

const LISTING: [Capability; 2] = [Capability::List, Capability::Scan];

impl Scene<'_> {
    pub(super) fn fix(&self, cause: &Cause, nearest: Option<&NearRule>) -> Fix {
        if let Cause::Allowed = cause {
            return Fix::None;
        }
        if let Some(advice) = self.advice(cause) {
            return Fix::Advice(advice);
        }
        if self.path.starts_with("sys/") || self.facts.needs_sudo {
            let what = if self.path.starts_with("sys/") { "below sys/" } else { "that need sudo" };
            return Fix::Advice(format!(
                "no rule is proposed for paths {what}: what they open reaches far beyond one \
                 secret. Let an operator make the request, or grant it knowingly"
            ));
        }
        if !self.can_be_named() {
            return Fix::Advice(format!(
                "no rule can name the path {:?} alone: as a pattern it means others, too. Rename \
                 what is there",
                self.path
            ));
        }
        let exact: Vec<_> = self
            .rules()
            .filter(|(_, rule)| self.is_exact(rule) && !self.is_expired(rule))
            .collect();
        if exact.is_empty() { self.add(cause, nearest) } else { self.change(cause, &exact) }
    }

    /// What helps where the request is at fault, not the policies.
    fn advice(&self, cause: &Cause) -> Option<String> {
        let found = self.acl.find(&self.path, self.is_list());
        let conditions = found.map(|found| &found.0.conditions);
        let ttl = |ttl: fn(&Conditions) -> Option<std::time::Duration>| {
            conditions.and_then(ttl).map(duration).unwrap_or_default()
        };
        Some(match cause {
            Cause::ParameterMissing(name) => {
                format!("send the parameter {name:?} with the request")
            }
            Cause::NotWrapped | Cause::WrapTtlTooShort => format!(
                "have the answer wrapped for at least {}: -wrap-ttl, or the header X-Vault-Wrap-TTL",
                ttl(|conditions| conditions.min_wrapping_ttl.or(conditions.max_wrapping_ttl))
            ),
            Cause::WrapTtlTooLong => format!(
                "have the answer wrapped for at most {}",
                ttl(|conditions| conditions.max_wrapping_ttl)
            ),
            Cause::ListLimit => {
                let most = conditions.and_then(|conditions| conditions.pagination_limit);
                format!("ask for a limit from 1 to {}", most.unwrap_or_default())
            }
            Cause::Kv2RequestWithoutData | Cause::Kv2ListOfData => {
                format!("ask for {} instead", self.kv2_right_path()?)
            }
            Cause::NoMount => match self.facts.mount {
                MountFacts::Missing(Some(near)) => format!(
                    "ask for a path below a mount that is there: was {near} meant? No rule would \
                     help"
                ),
                _ => "mount an engine there, or ask for a path below a mount that is there"
                    .to_owned(),
            },
            Cause::NeedsSudo => format!(
                "let an operator make the request. {} is protected: a rule on it must grant \
                 \"sudo\" as well, which is not proposed here because such paths reach far beyond \
                 one secret",
                self.path
            ),
            _ => return None,
        })
    }

    /// Whether a pattern without wildcards and templates says exactly the path.
    fn can_be_named(&self) -> bool {
        let Ok(pattern) = Pattern::parse(&self.path) else { return false };
        let is_exact = pattern.kind() == Kind::Exact && pattern.text() == self.path;
        let odd = ["{{", "}}", "//"].iter().any(|odd| self.path.contains(odd));
        is_exact && !self.path.is_empty() && !odd
    }

    fn is_exact(&self, rule: &Rule) -> bool {
        rule.pattern
            .as_ref()
            .is_some_and(|pattern| pattern.kind() == Kind::Exact && pattern.text() == self.path)
    }

    /// A rule on the path alone, where there is none yet.
    fn add(&self, cause: &Cause, nearest: Option<&NearRule>) -> Fix {
        let alone = self.acl.find(&self.path, false);
        let folder = match self.path.ends_with('/') {
            true => self.acl.find(&self.path, true),
            false => {
                let folder = format!("{}/", self.path);
                // A rule on the folder goes on deciding over its lists.
                let own = self.rules().any(|(_, rule)| {
                    rule.pattern.as_ref().is_some_and(|pattern| {
                        pattern.kind() == Kind::Exact && pattern.text() == folder
                    }) && !self.is_expired(rule)
                });
                self.acl.find(&folder, true).filter(|_| !own)
            }
        };
        let granted = |found: Option<crate::Match<'_>>, listing: bool| {
            let capabilities = found.map_or(Capabilities::NONE, |found| found.capabilities());
            let kept = capabilities.iter().filter(|capability| {
                LISTING.contains(capability) == listing && *capability != Capability::Deny
            });
            kept.collect::<Capabilities>()
        };
        let kept = granted(alone, false).union(granted(folder, true));
        let decides = if self.is_list() { folder } else { alone };
        let mut conditions = match decides {
            Some(found) if kept != Capabilities::NONE => found.0.conditions.clone(),
            _ => Conditions::default(),
        };
        if let Err(advice) = self.relax(&mut conditions, cause) {
            return Fix::Advice(advice);
        }
        let policy = self.home(cause, nearest);
        let hcl = hcl(&self.path, kept.union(self.needs), &conditions);
        Fix::Add { policy, hcl, note: self.note(cause) }
    }

    /// The rule on the path itself, changed.
    fn change(&self, cause: &Cause, exact: &[(&Arc<str>, &Rule)]) -> Fix {
        let is_denial = |rule: &Rule| rule.capabilities.contains(Capability::Deny);
        let several = || {
            let places: Vec<_> = exact
                .iter()
                .map(|(policy, rule)| format!("{policy}, line {}", rule.line))
                .collect();
            Fix::Advice(format!(
                "change the rules on this path together: {}. Changing one of them would open more \
                 than was asked for, or not enough",
                places.join("; ")
            ))
        };
        let merged = self.acl.find(&self.path, false).map(|found| found.0.conditions.clone());
        let mut conditions = merged.unwrap_or_default();
        let before = conditions.clone();
        if let Err(advice) = self.relax(&mut conditions, cause) {
            return Fix::Advice(advice);
        }
        let denied = exact.iter().any(|(_, rule)| is_denial(rule));
        if exact.len() > 1 && (denied || conditions != before) {
            return several();
        }
        let Some((policy, rule)) = exact.iter().max_by_key(|(policy, _)| &***policy != "default")
        else {
            return several();
        };
        let granted = if denied { Capabilities::NONE } else { rule.capabilities };
        if exact.len() > 1 {
            conditions = rule.conditions.clone();
        }
        // The templates of the rule stay: others hold the policy, too.
        let hcl = hcl(&rule.path, granted.union(self.needs), &conditions);
        Fix::Change { policy: (*policy).clone(), line: rule.line, hcl, note: self.note(cause) }
    }

    /// Widens conditions until they let the request pass.
    ///
    /// # Errors
    /// What the request must do instead.
    fn relax(&self, conditions: &mut Conditions, cause: &Cause) -> Result<(), String> {
        if let (None, Some(min)) = (self.question.wrap_ttl, conditions.min_wrapping_ttl) {
            return Err(format!(
                "the rule that decides asks for wrapped answers: have this one wrapped for at least \
                 {}, and ask again",
                duration(min)
            ));
        }
        let judged = matches!(
            self.question.operation,
            Operation::Read | Operation::Create | Operation::Update | Operation::Patch
        );
        if !judged {
            return Ok(());
        }
        let names: Vec<String> =
            self.question.parameters.iter().map(|name| name.to_lowercase()).collect();
        let missing = conditions.required_parameters.iter().find(|required| {
            !self.question.parameters.is_empty()
                && !self.question.parameters.contains(&required.to_lowercase())
        });
        if let Some(missing) = missing {
            return Err(format!("send the parameter {missing:?} with the request, and ask again"));
        }
        if let Some(denied) = &mut conditions.denied_parameters {
            if denied.contains_key("*") && !names.is_empty() {
                conditions.denied_parameters = None;
                let allowed = conditions.allowed_parameters.get_or_insert_default();
                allowed.retain(|name, _| name != "*");
                allowed.extend(names.iter().map(|name| (name.clone(), Vec::new())));
                return Ok(());
            }
            let refused = match cause {
                Cause::ParameterDenied(name) => Some(name.to_lowercase()),
                _ => None,
            };
            denied.retain(|name, values| {
                refused.as_ref() != Some(name) && !(values.is_empty() && names.contains(name))
            });
            if denied.is_empty() {
                conditions.denied_parameters = None;
            }
        }
        if let Some(allowed) = &mut conditions.allowed_parameters
            && !allowed.is_empty()
        {
            let any = allowed.contains_key("*");
            for name in names.iter().filter(|_| !any) {
                allowed.entry(name.clone()).or_default();
            }
            if let Cause::ValueNotAllowed(name) | Cause::ParameterNotAllowed(name) = cause {
                allowed.insert(name.to_lowercase(), Vec::new());
            }
        }
        Ok(())
    }

    /// The policy to add a rule to: the one with the rule that came nearest, unless everybody has it.
    fn home(&self, cause: &Cause, nearest: Option<&NearRule>) -> Option<Arc<str>> {
        if let (Cause::PolicyMissing, Some(missing)) = (cause, self.facts.missing_policies.first())
        {
            return Some(missing.as_str().into());
        }
        let nearest = nearest.map(|near| near.policy.clone()).filter(|name| &**name != "default");
        nearest.or_else(|| {
            let mut names = self.policies.iter().map(|policy| &policy.name);
            names.find(|name| &***name != "default").cloned()
        })
    }

    fn note(&self, cause: &Cause) -> Option<String> {
        match cause {
            Cause::ExplicitDeny => Some(
                "somebody wrote the denial on purpose: ask them before you go round it".to_owned(),
            ),
            Cause::ParameterDenied(name) | Cause::ParameterNotAllowed(name) => {
                Some(format!("or leave {name:?} out of the request"))
            }
            Cause::ValueNotAllowed(name) => Some(format!(
                "any value of {name:?} is allowed by this: the one that was sent is not kept. Write \
                 it between the brackets, or send another"
            )),
            Cause::PolicyMissing => {
                Some("the policy is not there yet, or its name is misspelt at the role".to_owned())
            }
            Cause::TemplateUnresolved => {
                Some("this opens the path to all who hold the policy".to_owned())
            }
            _ => None,
        }
    }
}
