//! The rows of `denials.toml`.

use std::collections::BTreeMap;

use holdfast_policy::Policy;
use serde::Deserialize;
use serde_json::Value;

/// A request that is refused, and why.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    #[serde(rename = "row")]
    pub(super) name: String,
    #[serde(default = "token")]
    pub(super) caller: String,
    /// `METHOD path {body}`
    request: String,
    pub(super) wrap: Option<String>,
    #[serde(default = "forbidden")]
    pub(super) status: u16,
    pub(super) cause: String,
    #[serde(default)]
    pub(super) names: Vec<String>,
    pub(super) fix: Option<String>,
    #[serde(default)]
    pub(super) advice: Vec<String>,
    #[serde(default)]
    pub(super) policies: BTreeMap<String, String>,
}

fn token() -> String {
    "token".to_owned()
}

fn forbidden() -> u16 {
    403
}

#[derive(Deserialize)]
struct File {
    denial: Vec<Row>,
}

/// All rows, with ROW replaced by each one's name.
pub(super) fn rows() -> Vec<Row> {
    let file: File = toml::from_str(include_str!("denials.toml")).expect("the rows parse");
    let jwt = include_str!("issuer.jwt").trim();
    let own = |row: Row| {
        let named = |text: &String| text.replace("ROW", &row.name).replace("JWT", jwt);
        Row {
            request: named(&row.request),
            names: row.names.iter().map(named).collect(),
            fix: row.fix.as_ref().map(named),
            advice: row.advice.iter().map(named).collect(),
            policies: row
                .policies
                .iter()
                .map(|(name, text)| (format!("{}-{name}", row.name), named(text)))
                .collect(),
            ..row.clone()
        }
    };
    file.denial.into_iter().map(own).collect()
}

impl Row {
    /// Whether both ask for the same, whoever asks.
    pub(super) fn is_same_request(&self, other: &Self) -> bool {
        (&self.request, &self.wrap) == (&other.request, &other.wrap)
    }

    /// The method, the path and the body.
    pub(super) fn parts(&self) -> (&str, &str, Option<Value>) {
        let (method, rest) = self.request.split_once(' ').expect("a method and a path");
        match rest.split_once(' ') {
            Some((path, body)) => {
                (method, path, Some(serde_json::from_str(body).expect("a JSON body")))
            }
            None => (method, rest, None),
        }
    }
}

/// Whether two texts are rules that decide alike.
pub(super) fn same_rule(one: &str, other: &str) -> bool {
    let parse = |text: &str| {
        let policy = Policy::parse("p", text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let [rule] = policy.rules() else { panic!("{text} is not one rule") };
        (rule.path.clone(), rule.capabilities, rule.conditions.clone())
    };
    parse(one) == parse(other)
}
