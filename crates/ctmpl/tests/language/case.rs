//! Cases as the oracle writes them.

use std::collections::BTreeMap;

use holdfast_ctmpl::{
    Answer as Known, Limits, MissingKey, Need, Options, Source, Template, Type, Value,
};
use holdfast_types::Timestamp;
use serde_json::Value as Json;

/// A template, what it is given, and Go's answer.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) template: Vec<u8>,
    pub(crate) data: Value,
    pub(crate) options: Options,
    pub(crate) want: Answer,
}

/// What came of a template.
#[derive(Debug)]
pub(crate) enum Answer {
    Output(Vec<u8>),
    Error(String),
}

impl Answer {
    pub(crate) fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Output(left), Self::Output(right)) => left == right,
            (Self::Error(left), Self::Error(right)) => left == right,
            _ => false,
        }
    }

    /// The answer of a row.
    pub(crate) fn read(row: &Json) -> Self {
        if let Some(error) = row["error"].as_str() {
            return Self::Error(error.to_owned());
        }
        match row["output_hex"].as_str() {
            Some(digits) => Self::Output(hex::decode(digits).unwrap()),
            None => Self::Output(row["output"].as_str().unwrap_or_default().as_bytes().to_vec()),
        }
    }
}

/// The data of the rows that say `standard`.
pub(crate) fn standard() -> Json {
    serde_json::from_str(include_str!("../cases/standard.json")).unwrap()
}

impl Case {
    pub(crate) fn read(row: &str, standard: &Json) -> Self {
        let row: Json = serde_json::from_str(row).unwrap();
        let text = |field: &str| row[field].as_str().unwrap_or_default();
        let template = match row["template_hex"].as_str() {
            Some(digits) => hex::decode(digits).unwrap(),
            None => text("template").as_bytes().to_vec(),
        };
        let data = if row["standard"] == true { value(standard) } else { value(&row["data"]) };
        let options = Options {
            left_delimiter: text("left").to_owned(),
            right_delimiter: text("right").to_owned(),
            missing_key: match text("missing") {
                "zero" => MissingKey::Zero,
                "error" => MissingKey::Error,
                _ => MissingKey::Invalid,
            },
            ..Options::default()
        };
        Self { name: "t", template, data, options, want: Answer::read(&row) }
    }

    /// The same as consul-template executes it.
    pub(crate) fn of_consul_template(row: &str) -> Self {
        let mut case = Self::read(row, &Json::Null);
        case.name = "";
        case.options.missing_key = MissingKey::Zero;
        case
    }

    pub(crate) fn render(&self) -> Answer {
        let output =
            Template::parse(self.name, &self.template, &self.options).and_then(|template| {
                template.render_with(self.data.clone(), &Nothing, &Limits::default())
            });
        match output {
            Ok(output) => Answer::Output(output.bytes.expose().clone()),
            Err(error) => Answer::Error(error.to_string()),
        }
    }

    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.template).into_owned()
    }
}

/// A source that has nothing.
pub(crate) struct Nothing;

impl Source for Nothing {
    fn ask(&self, _: &Need) -> Known {
        Known::Absent
    }

    fn env(&self, name: &str) -> Option<String> {
        match name {
            "HOLDFAST_A" => Some("one".to_owned()),
            "HOLDFAST_EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        Err(format!("open {path}: no such file or directory"))
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// The oracle's data: see `oracle/value.go`.
pub(crate) fn value(json: &Json) -> Value {
    match json {
        Json::Number(number) => {
            let text = number.to_string();
            if text.contains(['.', 'e', 'E']) {
                Value::float(text.parse().unwrap())
            } else {
                Value::int(text.parse().unwrap())
            }
        }
        Json::Array(items) => Value::list(items.iter().map(value).collect()),
        Json::Object(fields) => {
            if let (1, Some((key, item))) = (fields.len(), fields.iter().next())
                && let Some(kind) = key.strip_prefix('$')
            {
                return typed(kind, item);
            }
            Value::map(fields.iter().map(|(key, item)| (key.clone().into_bytes(), value(item))))
        }
        other => Value::from_json(other.clone(), true),
    }
}

fn typed(kind: &str, json: &Json) -> Value {
    let items = || json.as_array().into_iter().flatten();
    let number = || json.to_string().parse::<i64>().unwrap();
    match kind {
        "number" => Value::number(json.as_str().unwrap()),
        "bytes" => Value::text(hex::decode(json.as_str().unwrap()).unwrap()),
        "texts" => Value::texts(items().map(|text| text.as_str().unwrap().into()).collect()),
        "ints" => Value::list_of(Type::Int, items().map(value).collect()),
        "map" => {
            let entries: BTreeMap<String, String> = serde_json::from_value(json.clone()).unwrap();
            Value::map_of(
                Type::String,
                entries.into_iter().map(|(key, text)| (key.into_bytes(), Value::text(text))),
            )
        }
        "uint" => Value::unsigned(number().cast_unsigned(), Type::Uint64),
        "int64" => Value::signed(number(), Type::Int64),
        "duration" => Value::signed(number(), Type::Duration),
        _ => panic!("no type ${kind}"),
    }
}
