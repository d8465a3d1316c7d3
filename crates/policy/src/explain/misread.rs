//! Rules that were meant to allow a request, and do not.

use super::matching::{Reading, covers};
use super::{Cause, MountFacts, NearRule, Scene};
use crate::{Operation, Rule};

/// The parts of a KV store of version 2 that hold something by a secret's name.
const PARTS: [&str; 6] = ["data", "metadata", "delete", "undelete", "destroy", "subkeys"];

impl Scene<'_> {
    /// A rule that grants what is needed, and why it does not apply.
    pub(super) fn misread(&self) -> Option<(Cause, Option<NearRule>)> {
        self.misread_pattern()
            .or_else(|| self.trailing_slash())
            .or_else(|| self.shadowed())
            .or_else(|| self.kv2())
            .or_else(|| self.other_case())
    }

    fn misread_pattern(&self) -> Option<(Cause, Option<NearRule>)> {
        for policy in self.policies {
            let unresolved = policy.unresolved.iter().find(|unresolved| {
                self.grants(&unresolved.rule)
                    && covers(&unresolved.rule.path, &self.path, Reading::Template)
            });
            if let Some(unresolved) = unresolved {
                let near = self.near((&policy.name, &unresolved.rule));
                return Some((Cause::TemplateUnresolved, Some(near)));
            }
        }
        let expired = self.rules().find(|(_, rule)| {
            self.is_expired(rule) && self.grants(rule) && self.read_as(rule, Reading::Plain)
        });
        if let Some(found) = expired {
            return Some((Cause::RuleExpired, Some(self.near(found))));
        }
        [
            (Reading::StarAnywhere, Cause::StarInside),
            (Reading::PlusAnywhere, Cause::PlusInside),
            (Reading::LongPlus, Cause::PlusIsOneSegment),
        ]
        .into_iter()
        .find_map(|(reading, cause)| {
            self.granting(|rule| self.read_as(rule, reading) && !self.read_as(rule, Reading::Plain))
                .map(|near| (cause, Some(near)))
        })
    }

    /// The first rule that grants what is needed, has not expired, and is as `is` says.
    fn granting(&self, is: impl Fn(&Rule) -> bool) -> Option<NearRule> {
        let found = self
            .rules()
            .find(|(_, rule)| self.grants(rule) && !self.is_expired(rule) && is(rule))?;
        Some(self.near(found))
    }

    fn read_as(&self, rule: &Rule, reading: Reading) -> bool {
        self.reads(rule, &self.path, reading)
            || (self.is_list() && self.reads(rule, self.path.trim_end_matches('/'), reading))
    }

    fn reads(&self, rule: &Rule, path: &str, reading: Reading) -> bool {
        let pattern = rule.pattern.as_ref().map(ToString::to_string);
        pattern.is_some_and(|pattern| covers(&pattern, path, reading))
    }

    /// `x/` and `x/*` are about what is below `x`, and `x` is about `x` alone.
    fn trailing_slash(&self) -> Option<(Cause, Option<NearRule>)> {
        if self.is_list() {
            return None;
        }
        let other = match self.path.strip_suffix('/') {
            Some(without) => without.to_owned(),
            None => format!("{}/", self.path),
        };
        let near = self.granting(|rule| {
            // One that is about everything below the mount was not meant for its name.
            self.reads(rule, &other, Reading::Plain)
                && !self.reads(rule, &self.path, Reading::Plain)
        })?;
        Some((Cause::TrailingSlash, Some(near)))
    }

    fn shadowed(&self) -> Option<(Cause, Option<NearRule>)> {
        let decides = self.acl.find(&self.path, self.is_list())?;
        let near = self.granting(|rule| {
            rule.pattern.as_ref() != Some(decides.pattern()) && self.read_as(rule, Reading::Plain)
        })?;
        Some((Cause::Shadowed, Some(near)))
    }

    fn kv2(&self) -> Option<(Cause, Option<NearRule>)> {
        let MountFacts::Kv2(mount) = self.facts.mount else { return None };
        let below = self.path.strip_prefix(mount)?;
        let (part, rest) = below.split_once('/').unwrap_or((below, ""));
        if below == "config" {
            return None;
        }
        if !PARTS.contains(&part) {
            let right = self.kv2_right_path()?;
            let near = self.granting(|rule| self.reads(rule, &right, Reading::Plain));
            return Some((Cause::Kv2RequestWithoutData, near));
        }
        if self.is_list() && part == "data" {
            let right = self.kv2_right_path()?;
            let near = self.granting(|rule| self.reads(rule, &right, Reading::Plain));
            return Some((Cause::Kv2ListOfData, near));
        }
        let decides = self.acl.find(&self.path, self.is_list());
        let elsewhere = |rule: &Rule, path: &str| {
            let decides =
                decides.is_some_and(|found| Some(found.pattern()) == rule.pattern.as_ref());
            !decides
                && (self.reads(rule, path, Reading::Plain)
                    || (self.is_list()
                        && self.reads(rule, path.trim_end_matches('/'), Reading::Plain)))
        };
        let bare = format!("{mount}{rest}");
        if let Some(near) = self.granting(|rule| elsewhere(rule, &bare)) {
            return Some((Cause::Kv2RuleWithoutData, Some(near)));
        }
        PARTS.into_iter().filter(|other| *other != part).find_map(|other| {
            let path = format!("{mount}{other}/{rest}");
            let near = self.granting(|rule| elsewhere(rule, &path))?;
            Some((Cause::Kv2OtherPart, Some(near)))
        })
    }

    /// Where in a KV store of version 2 that was meant which the request asks for.
    pub(super) fn kv2_right_path(&self) -> Option<String> {
        let MountFacts::Kv2(mount) = self.facts.mount else { return None };
        let below = self.path.strip_prefix(mount)?;
        let below = below.strip_prefix("data/").unwrap_or(below);
        let part = match self.question.operation {
            Operation::List | Operation::Scan => "metadata",
            _ => "data",
        };
        Some(format!("{mount}{part}/{below}"))
    }

    fn other_case(&self) -> Option<(Cause, Option<NearRule>)> {
        let near = self.granting(|rule| {
            self.read_as(rule, Reading::AnyCase) && !self.read_as(rule, Reading::Plain)
        })?;
        Some((Cause::LetterCase, Some(near)))
    }
}
