//! Reasons in a sentence.

use super::{Cause, MountFacts, NearRule, Scene};
use crate::render::duration;
use crate::{Capabilities, Operation};

impl Scene<'_> {
    pub(super) fn summary(&self, cause: &Cause, nearest: Option<&NearRule>) -> String {
        let path = &self.path;
        let rule = nearest.map(place).unwrap_or_else(|| "the rule".to_owned());
        let written = nearest.map(|near| near.rule.path.as_str()).unwrap_or_default();
        let decides = self.acl.find(path, self.is_list());
        let conditions = decides.map(|found| &found.0.conditions);
        let ttl = |ttl: Option<std::time::Duration>| ttl.map(duration).unwrap_or_default();
        match cause {
            Cause::Allowed => format!("{} {path} is allowed", self.doing()),
            Cause::NoRule => format!("no rule covers {path}"),
            Cause::LacksCapability(lacking) => {
                format!("{rule} decides over {path} and does not grant {}", or(*lacking))
            }
            Cause::ExplicitDeny => format!("{rule} denies {path} explicitly"),
            Cause::NeedsSudo => {
                format!("{path} needs \"sudo\" as well, which {rule} does not grant")
            }
            Cause::ParameterDenied(name) => format!("{rule} denies the parameter {name:?}"),
            Cause::ParameterNotAllowed(name) => {
                format!("{rule} does not allow the parameter {name:?}: it names others")
            }
            Cause::ValueNotAllowed(name) => {
                format!("{rule} does not allow that value of the parameter {name:?}")
            }
            Cause::ParameterMissing(name) => {
                format!("{rule} requires the parameter {name:?}, which was not sent")
            }
            Cause::NotWrapped => {
                format!("{rule} asks for a wrapped answer, and none was asked for")
            }
            Cause::WrapTtlTooShort => format!(
                "the answer was to be wrapped for {}, and {rule} asks for at least {}",
                ttl(self.question.wrap_ttl),
                ttl(conditions.and_then(|conditions| conditions.min_wrapping_ttl))
            ),
            Cause::WrapTtlTooLong => format!(
                "the answer was to be wrapped for {}, and {rule} allows at most {}",
                ttl(self.question.wrap_ttl),
                ttl(conditions.and_then(|conditions| conditions.max_wrapping_ttl))
            ),
            Cause::ListLimit => format!(
                "{rule} allows lists of at most {} names, and the request asks for more, or for no \
                 limit",
                conditions.and_then(|conditions| conditions.pagination_limit).unwrap_or_default()
            ),
            Cause::Shadowed => {
                let decides = decides.map(|found| found.pattern().to_string()).unwrap_or_default();
                format!(
                    "{decides} decides over {path}, being more specific, and does not grant {}; \
                     {rule} would",
                    or(self.needs)
                )
            }
            Cause::Kv2RuleWithoutData => {
                let part = self.kv2_part();
                format!(
                    "{rule} lacks {part}/ after the mount: in KV version 2 the request is one for \
                     {path}"
                )
            }
            Cause::Kv2RequestWithoutData => {
                let right = self.kv2_right_path().unwrap_or_default();
                format!(
                    "the mount is a KV store of version 2, where this is at {right}, not at {path}"
                )
            }
            Cause::Kv2OtherPart => {
                let part = self.kv2_part();
                format!(
                    "{rule} is about another part of the KV store: {} asks {part}/, which is {path}",
                    self.doing()
                )
            }
            Cause::Kv2ListOfData => {
                let right = self.kv2_right_path().unwrap_or_default();
                format!("data/ cannot be listed: in KV version 2 names are listed at {right}")
            }
            Cause::TrailingSlash => match path.strip_suffix('/') {
                Some(without) => format!("{rule} is about {without}, not about {path}"),
                None => format!("{rule} is about what is below {path}/, not about {path} itself"),
            },
            Cause::PlusIsOneSegment => {
                format!("the + in {rule} stands for exactly one segment, and {path} has more there")
            }
            Cause::PlusInside => {
                format!("the + in {rule} means itself, because it is not a whole segment")
            }
            Cause::StarInside => {
                format!(
                    "the * in the middle of {rule} means itself: only at the end is it a wildcard"
                )
            }
            Cause::LetterCase => {
                format!("{rule} differs from {path} in letter case, which counts")
            }
            Cause::RuleExpired => {
                let at = nearest.and_then(|near| near.rule.expires_at);
                let at = at.map(|at| at.to_string()).unwrap_or_default();
                format!("{rule} has expired: it held until {at}")
            }
            Cause::TemplateUnresolved => {
                let template = self.template(nearest);
                format!("{rule} applies to nobody here: {{{{{template}}}}} has no value, {}", {
                    if self.facts.has_entity {
                        "the caller's entity knows none"
                    } else {
                        "for the token belongs to no entity"
                    }
                })
            }
            Cause::NoMount => match (self.facts.mount, written.is_empty()) {
                (MountFacts::Missing(Some(near)), _) => {
                    format!("nothing is mounted at {path}; there is {near}")
                }
                _ => format!("nothing is mounted at {path}"),
            },
            Cause::PolicyMissing => {
                let names = self.facts.missing_policies.join(", ");
                format!(
                    "no rule covers {path}, and the token names policies that are not there: {names}"
                )
            }
        }
    }

    fn kv2_part(&self) -> &str {
        let MountFacts::Kv2(mount) = self.facts.mount else { return "data" };
        let below = self.path.strip_prefix(mount).unwrap_or(&self.path);
        below.split('/').next().unwrap_or_default()
    }

    fn template(&self, nearest: Option<&NearRule>) -> String {
        let unresolved = self.policies.iter().flat_map(|policy| policy.unresolved());
        let mut of_rule = unresolved
            .filter(|unresolved| nearest.is_some_and(|near| near.rule == unresolved.rule));
        of_rule.next().map(|unresolved| unresolved.template.clone()).unwrap_or_default()
    }

    fn doing(&self) -> &'static str {
        match self.question.operation {
            Operation::Read => "reading",
            Operation::List => "listing",
            Operation::Scan => "scanning",
            Operation::Create | Operation::Update => "writing",
            Operation::Patch => "patching",
            Operation::Delete => "deleting",
            Operation::Help => "asking for help",
        }
    }
}

/// `kv/data/app/* (policy web, line 3)`
fn place(near: &NearRule) -> String {
    format!("{} (policy {}, line {})", near.rule.path, near.policy, near.rule.line)
}

/// `"create" or "update"`
fn or(capabilities: Capabilities) -> String {
    let names: Vec<_> =
        capabilities.iter().map(|capability| format!("{:?}", capability.as_str())).collect();
    names.join(" or ")
}
