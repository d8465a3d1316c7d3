//! One policy: how long a password is, and how many characters it has of which kind.
//!
//! ```hcl
//! length = 20
//! rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
//! rule "charset" { charset = "0123456789" min-chars = 2 }
//! ```
//!
//! What is taken and refused, and the words for it, are OpenBao's. Keys that mean nothing are
//! passed over, as there.

use std::collections::BTreeSet;

use holdfast_hcl::{Body, Item, Value, ValueKind};
use holdfast_types::{Random, SecretString};
use zeroize::Zeroize;

/// How many characters a password has.
const LENGTHS: std::ops::RangeInclusive<i64> = 4..=100;
/// Passwords drawn and thrown away because a rule did not hold, before one is put together.
const DRAWS: usize = 64;

/// A policy that can be kept.
#[derive(Debug, PartialEq)]
pub(super) struct PasswordPolicy {
    length: usize,
    rules: Vec<Rule>,
    /// All characters of all rules, each once.
    alphabet: Vec<char>,
}

/// At least so many of these characters.
#[derive(Debug, PartialEq)]
struct Rule {
    characters: Vec<char>,
    at_least: i64,
}

impl PasswordPolicy {
    /// Reads a policy.
    ///
    /// # Errors
    /// What is wrong with it, in OpenBao's words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (length, rules) =
            read(text).map_err(|problem| format!("invalid password policy: {problem}"))?;
        if !LENGTHS.contains(&length) {
            let (least, most) = (LENGTHS.start(), LENGTHS.end());
            return Err(format!("passwords must be between {least} and {most} characters"));
        }
        let length = usize::try_from(length).unwrap_or_default();
        let alphabet = alphabet(&rules);
        let policy = Self { length, rules, alphabet };
        // Negative numbers of some rules may have hidden that the others ask for too much.
        let needed: usize = policy.rules.iter().map(Rule::count).sum();
        if needed > length || policy.rules.iter().any(Rule::is_impossible) {
            return Err("unable to construct test password from provided policy: are the rules \
                        impossible?"
                .to_owned());
        }
        Ok(policy)
    }

    /// A password.
    ///
    /// Every password that the policy allows has the same chance. Where the rules allow so few of
    /// those that can be drawn that none comes up in time, the characters that they ask for are
    /// drawn first, then the others, and all are shuffled.
    pub(super) fn generate(&self, random: &dyn Random) -> SecretString {
        let mut drawn: Vec<char> = Vec::with_capacity(self.length);
        let mut source = Source { random, buffer: [0; 128], left: 0 };
        for _ in 0..DRAWS {
            drawn.zeroize();
            drawn.extend((0..self.length).map(|_| source.one_of(&self.alphabet)));
            if self.rules.iter().all(|rule| rule.holds_for(&drawn)) {
                return collected(drawn);
            }
        }
        drawn.zeroize();
        for rule in &self.rules {
            drawn.extend((0..rule.count()).map(|_| source.one_of(&rule.characters)));
        }
        while drawn.len() < self.length {
            drawn.push(source.one_of(&self.alphabet));
        }
        for at in (1..drawn.len()).rev() {
            drawn.swap(at, source.below(at + 1));
        }
        collected(drawn)
    }
}

impl Rule {
    fn count(&self) -> usize {
        usize::try_from(self.at_least).unwrap_or_default()
    }

    fn is_impossible(&self) -> bool {
        self.count() > 0 && self.characters.is_empty()
    }

    fn holds_for(&self, password: &[char]) -> bool {
        let fitting = password.iter().filter(|character| self.characters.contains(character));
        fitting.take(self.count()).count() == self.count()
    }
}

fn collected(mut characters: Vec<char>) -> SecretString {
    let password = SecretString::new(characters.iter().collect());
    characters.zeroize();
    password
}

/// Numbers without a bias, from few calls of the generator.
struct Source<'a> {
    random: &'a dyn Random,
    buffer: [u8; 128],
    left: usize,
}

impl Source<'_> {
    fn one_of(&mut self, characters: &[char]) -> char {
        characters[self.below(characters.len())]
    }

    /// From 0 to `bound` - 1. `bound` is not 0, and far below 2^32.
    fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        // The numbers from here on would favour the first ones.
        let limit = (1 << 32) / bound * bound;
        loop {
            if self.left == 0 {
                self.random.fill(&mut self.buffer);
                self.left = self.buffer.len();
            }
            self.left -= 4;
            let bytes = &self.buffer[self.left..self.left + 4];
            let number = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            if number < limit {
                return (number % bound) as usize;
            }
        }
    }
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

fn alphabet(rules: &[Rule]) -> Vec<char> {
    let all: BTreeSet<char> = rules.iter().flat_map(|rule| rule.characters.clone()).collect();
    all.into_iter().collect()
}

fn read(text: &str) -> Result<(i64, Vec<Rule>), String> {
    let body = holdfast_hcl::parse(text).map_err(|error| format!("unable to decode: {error}"))?;
    let mut length = 0;
    for item in &body.items {
        if item.name().eq_ignore_ascii_case("length") {
            length = integer("length", item)
                .map_err(|problem| format!("failed to decode configuration: {problem}"))?;
        }
    }
    let mut rules = Vec::new();
    for item in body.items.iter().filter(|item| item.name() == "rule") {
        rules.extend(rule(item)?);
    }

    let mut problems = Vec::new();
    let needed = rules.iter().fold(0_i64, |sum, rule| sum.saturating_add(rule.at_least));
    if length <= 0 {
        problems.push("length must be > 0".to_owned());
    } else if length < needed {
        problems.push(format!(
            "specified rules require at least {needed} characters but {length} is specified"
        ));
    }
    let alphabet = alphabet(&rules);
    if alphabet.is_empty() {
        problems.push("no charset specified".to_owned());
    } else if !alphabet.iter().copied().all(is_printable) {
        problems.push("non-printable character in charset".to_owned());
    }
    if problems.is_empty() {
        return Ok((length, rules));
    }
    // The layout is that of Go's multierror package.
    let count = problems.len();
    let errors = if count == 1 { "error" } else { "errors" };
    Err(format!("{count} {errors} occurred:\n\t* {}\n\n", problems.join("\n\t* ")))
}

/// What an item `rule ...` says: one rule, or none where it is only a name.
fn rule(item: &Item) -> Result<Option<Rule>, String> {
    let Some(body) = item.value.as_object() else {
        let kind = go_type(&item.value.kind);
        return Err(format!(
            "unable to retrieve rules: '' source data must be an array or slice, got {kind}"
        ));
    };
    let unparsed = |problem: String| format!("unable to parse rules: {problem}");
    let mut labels = item.labels();
    let (kind, settings) = match (labels.next(), labels.next()) {
        (Some(kind), None) => (kind, Some(body)),
        // A block in a block, whose settings are not the rule's.
        (Some(kind), Some(_)) => (kind, None),
        (None, _) => {
            let first = body.items.first();
            let first =
                first.ok_or_else(|| unparsed("unable to get rule info: rule is empty".into()))?;
            let kind = go_type(&first.value.kind);
            let settings = first.value.as_object().ok_or_else(|| {
                unparsed(format!(
                    "unable to get rule info: unable to get rule data: '' source data must be an \
                     array or slice, got {kind}"
                ))
            })?;
            (first.name(), Some(settings))
        }
    };
    if kind != "charset" {
        return Err(unparsed(format!(
            "unable to parse rule {kind}: unrecognized rule type {kind}"
        )));
    }
    let Some(settings) = settings else { return Ok(None) };
    let rule = charset(settings).map_err(|problem| {
        unparsed(format!(
            "unable to parse rule charset: failed to parse charset restriction: {problem}"
        ))
    })?;
    Ok(Some(rule))
}

fn charset(settings: &Body) -> Result<Rule, String> {
    let mut rule = Rule { characters: Vec::new(), at_least: 0 };
    for item in &settings.items {
        if item.name().eq_ignore_ascii_case("charset") {
            rule.characters = characters(&item.value)?;
        } else if item.name().eq_ignore_ascii_case("min-chars") {
            rule.at_least = integer("min-chars", item)?;
        }
    }
    Ok(rule)
}

fn characters(value: &Value) -> Result<Vec<char>, String> {
    match &value.kind {
        ValueKind::String(text) => Ok(text.chars().collect()),
        ValueKind::List(items) if items.is_empty() => Ok(Vec::new()),
        ValueKind::List(items) => {
            let problems = items.iter().enumerate().map(|(index, item)| {
                let kind = go_type(&item.kind);
                format!("'charset[{index}]' expected type 'int32', got unconvertible type '{kind}'")
            });
            Err(undecodable(&problems.collect::<Vec<_>>().join("\n")))
        }
        other => {
            let kind = go_type(other);
            Err(undecodable(&format!(
                "'charset' source data must be an array or slice, got {kind}"
            )))
        }
    }
}

/// A number; of one with a fraction, the whole part.
fn integer(name: &str, item: &Item) -> Result<i64, String> {
    let number = match &item.value.kind {
        ValueKind::Number(_) => item.value.as_integer(),
        ValueKind::Float(text) => text.parse::<f64>().ok().map(|number| number as i64),
        _ => None,
    };
    let kind = go_type(&item.value.kind);
    number.ok_or_else(|| {
        undecodable(&format!("'{name}' expected type 'int', got unconvertible type '{kind}'"))
    })
}

fn undecodable(problem: &str) -> String {
    format!("decoding failed due to the following error(s):\n\n{problem}")
}

fn go_type(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::String(_) => "string",
        ValueKind::Number(_) => "int",
        ValueKind::Float(_) => "float64",
        ValueKind::Bool(_) => "bool",
        ValueKind::List(_) => "[]interface {}",
        ValueKind::Object(_) => "[]map[string]interface {}",
    }
}

/// Whether it is a letter, a mark, a number, a sign or the blank: what shows on paper.
fn is_printable(character: char) -> bool {
    // The standard library escapes what is none of these; a letter before it lets it keep marks
    // that join what they follow.
    let escaped = format!("a{character}").escape_debug().to_string();
    !character.is_control() && !escaped.starts_with("a\\u")
}

#[cfg(test)]
mod tests;
