//! Semantic versions.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::error::Fault;
use crate::functions::Function;
use crate::functions::Parameter::Text;
use crate::value::{Kind, Type};
use crate::{Object, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("sprig_semver", &[Text], |_, arguments| {
        let text = arguments[0].lossy();
        let version = Version::parse(&text).ok_or_else(|| Fault::new(INVALID))?;
        let unsigned = |value: u64| Value::from(Kind::Uint(value, Type::Uint64));
        let shown = version.show();
        let object = Object::new(
            "semver.Version",
            vec![
                ("Major", unsigned(version.numbers[0])),
                ("Minor", unsigned(version.numbers[1])),
                ("Patch", unsigned(version.numbers[2])),
                ("Prerelease", Value::text(version.prerelease)),
                ("Metadata", Value::text(version.metadata)),
                ("Original", Value::text(text)),
                ("String", Value::text(shown)),
            ],
        );
        Ok(Kind::Object(Arc::new(object)).into())
    }),
    Function::derives("sprig_semverCompare", &[Text, Text], |_, arguments| {
        let version = Version::parse(&arguments[1].lossy()).ok_or_else(|| Fault::new(INVALID))?;
        satisfies(&arguments[0].lossy(), &version)
            .map(Value::bool)
            .ok_or_else(|| Fault::new("improper constraint"))
    }),
];

const INVALID: &str = "invalid semantic version";

struct Version {
    numbers: [u64; 3],
    prerelease: String,
    metadata: String,
}

impl Version {
    /// `1`, `1.2`, `v1.2.3-beta.1+build`
    fn parse(text: &str) -> Option<Self> {
        let wild = |part: &str| matches!(part, "x" | "X" | "*");
        if text.split(['.', '-', '+']).take(3).any(wild) {
            return None;
        }
        parse_parts(text).map(|(version, _)| version)
    }

    fn show(&self) -> String {
        let [major, minor, patch] = self.numbers;
        let mark = |sign: &str, text: &str| {
            if text.is_empty() { String::new() } else { format!("{sign}{text}") }
        };
        let (prerelease, metadata) = (mark("-", &self.prerelease), mark("+", &self.metadata));
        format!("{major}.{minor}.{patch}{prerelease}{metadata}")
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| {
            match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => compare_prerelease(&self.prerelease, &other.prerelease),
            }
        })
    }
}

fn compare_prerelease(left: &str, right: &str) -> Ordering {
    let mut others = right.split('.');
    for part in left.split('.') {
        let Some(other) = others.next() else { return Ordering::Greater };
        let order = match (part.parse::<u64>(), other.parse::<u64>()) {
            (Ok(part), Ok(other)) => part.cmp(&other),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => part.cmp(other),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    if others.next().is_some() { Ordering::Less } else { Ordering::Equal }
}

/// A version, and which of its numbers were written.
fn parse_parts(text: &str) -> Option<(Version, [Option<u64>; 3])> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, metadata) = text.split_once('+').unwrap_or((text, ""));
    let (text, prerelease) = text.split_once('-').unwrap_or((text, ""));
    let mut written = [None; 3];
    for (index, part) in text.split('.').enumerate() {
        let wild = matches!(part, "x" | "X" | "*");
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if index > 2 || !(wild || digits) {
            return None;
        }
        written[index] = if wild { None } else { Some(part.parse().ok()?) };
    }
    let numbers = written.map(Option::unwrap_or_default);
    let version =
        Version { numbers, prerelease: prerelease.to_owned(), metadata: metadata.to_owned() };
    Some((version, written))
}

/// Whether a version fits `>=1.2 <2 || ^3.1`; `None` if the constraint is none.
fn satisfies(constraint: &str, version: &Version) -> Option<bool> {
    let mut any = false;
    for alternative in constraint.split("||") {
        any |= all_hold(alternative, version)?;
    }
    Some(any)
}

fn all_hold(text: &str, version: &Version) -> Option<bool> {
    if let Some((from, to)) = text.split_once(" - ") {
        let lower = holds(">=", from.trim(), version)?;
        return Some(lower && holds("<=", to.trim(), version)?);
    }
    let mut all = true;
    let mut any = false;
    let mut rest = text.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let sign = rest.find(|byte: char| !"=!<>~^".contains(byte))?;
        let (operator, behind) = rest.split_at(sign);
        let behind = behind.trim_start();
        let end = behind.find([' ', ',']).unwrap_or(behind.len());
        all &= holds(operator, &behind[..end], version)?;
        any = true;
        rest = behind[end..].trim_start_matches([' ', ',']);
    }
    any.then_some(all)
}

fn holds(operator: &str, text: &str, version: &Version) -> Option<bool> {
    let (wanted, written) = parse_parts(text)?;
    // A version before a release fits only where the constraint speaks of such.
    if !version.prerelease.is_empty() && wanted.prerelease.is_empty() {
        return Some(operator == "!=");
    }
    let order = version.compare(&wanted);
    let same = |count: usize| version.numbers[..count] == wanted.numbers[..count];
    let given = written.iter().take_while(|part| part.is_some()).count();
    let partial = given < 3;
    Some(match operator {
        "" | "=" | "==" if partial => given == 0 || same(given),
        "" | "=" | "==" => order == Ordering::Equal,
        "!=" if partial => given != 0 && !same(given),
        "!=" => order != Ordering::Equal,
        ">" if partial => order == Ordering::Greater && !same(given),
        ">" => order == Ordering::Greater,
        "<" => order == Ordering::Less,
        ">=" | "=>" => order != Ordering::Less,
        "<=" | "=<" if partial => order != Ordering::Greater || same(given),
        "<=" | "=<" => order != Ordering::Greater,
        "~" | "~>" => order != Ordering::Less && same(given.min(2)),
        "^" => {
            let fixed = match wanted.numbers {
                _ if given == 0 => 0,
                [0, 0, _] if given == 3 => 3,
                [0, _, _] if given >= 2 => 2,
                _ => 1,
            };
            order != Ordering::Less && same(fixed)
        }
        _ => return None,
    })
}
