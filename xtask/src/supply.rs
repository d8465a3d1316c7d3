//! Bans and licences of `deny.toml`, checked with cargo alone.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::metadata::Metadata;

/// The tables of `deny.toml` that are checked here.
#[derive(Deserialize)]
struct Deny {
    bans: Bans,
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

/// What is wrong with the crates that we use, one sentence each.
pub(crate) fn problems(root: &Path, metadata: &Metadata) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("deny.toml")).context("read deny.toml")?;
    let deny: Deny = toml::from_str(&text).context("parse deny.toml")?;
    let mut problems = Vec::new();
    for package in metadata.foreign()? {
        let name = format!("{} {}", package.name, package.version);
        if let Some(ban) = deny.bans.deny.iter().find(|ban| ban.name == package.name) {
            problems.push(format!("{name} is banned: {}", ban.reason));
        }
        match &package.license {
            None => problems.push(format!("{name} names no licence")),
            Some(license) if !allowed(license, &deny.licenses.allow) => {
                problems.push(format!("{name}: licence {license:?} is not on the list"));
            }
            Some(_) => {}
        }
    }
    Ok(problems)
}

/// Whether an SPDX expression can be met with licences of the list. `AND` binds more tightly than
/// `OR`; the old `MIT/Apache-2.0` means `OR`.
fn allowed(expression: &str, list: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any_of(&tokens, &mut at, list);
    met && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize, list: &[String]) -> bool {
    let mut met = all_of(tokens, at, list);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all_of(tokens, at, list);
    }
    met
}

fn all_of(tokens: &[&str], at: &mut usize, list: &[String]) -> bool {
    let mut met = one(tokens, at, list);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(tokens, at, list);
    }
    met
}

fn one(tokens: &[&str], at: &mut usize, list: &[String]) -> bool {
    let Some(first) = tokens.get(*at) else { return false };
    *at += 1;
    if *first == "(" {
        let met = any_of(tokens, at, list);
        *at += 1;
        return met;
    }
    let mut license = (*first).to_owned();
    if tokens.get(*at) == Some(&"WITH") {
        license = format!("{license} WITH {}", tokens.get(*at + 1).copied().unwrap_or_default());
        *at += 2;
    }
    list.contains(&license)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_does() {
        let list = ["MIT".to_owned(), "Apache-2.0".to_owned(), "A WITH b".to_owned()];
        for (expression, want) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT/GPL-3.0", true),
            ("MIT OR GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR GPL-3.0) AND Apache-2.0", true),
            ("(MIT AND GPL-3.0) OR Zlib", false),
            ("A WITH b", true),
            ("A", false),
            ("MIT GPL", false),
        ] {
            assert_eq!(allowed(expression, &list), want, "{expression}");
        }
    }

    #[test]
    fn what_we_use_is_allowed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let metadata = Metadata::read().unwrap();
        assert_eq!(problems(root, &metadata).unwrap(), Vec::<String>::new());
    }
}
