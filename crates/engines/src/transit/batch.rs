//! `batch_input` and `batch_results`: many items in one request.
//!
//! OpenBao reads the items of `encrypt` and `decrypt` by hand, those of `rewrap` with one decoder
//! and all others with another: hence three readers, whose refusals have each their own words.

use holdfast_logical::{Error, Request, Response};
use serde_json::{Map, Value, json};

use super::refused::Refused;

/// The items of `request`. None: it is a request for one item.
///
/// # Errors
/// The list is empty.
pub(super) fn items<T>(
    request: &Request,
    read: impl FnOnce(&Value) -> Result<Vec<T>, String>,
) -> Result<Option<Vec<T>>, Error> {
    let Some(value) = request.fields().value("batch_input") else { return Ok(None) };
    let items =
        read(value).map_err(|why| Error::invalid(format!("failed to parse batch input: {why}")))?;
    if items.is_empty() {
        return Err(Error::invalid("missing batch input to process"));
    }
    Ok(Some(items))
}

/// An item of `encrypt`, `decrypt` or `rewrap`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CipherItem {
    /// The plaintext or the ciphertext.
    pub(super) input: String,
    pub(super) context: String,
    pub(super) key_version: i64,
    pub(super) associated_data: String,
    pub(super) reference: String,
}

/// The items of `encrypt` (`input` is `plaintext`) and `decrypt` (`ciphertext`).
pub(super) fn read_cipher_items(
    value: &Value,
    input: &'static str,
) -> Result<Vec<CipherItem>, String> {
    let items = value
        .as_array()
        .ok_or_else(|| format!("source data must be an array or slice, got {}", go_type(value)))?;
    let mut problems = Problems::default();
    let mut read = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let item = item
            .as_object()
            .ok_or_else(|| format!("[{index}] expected a map, got '{}'", go_type(item)))?;
        // In this order stand the problems in OpenBao's answer.
        let context = problems.strict_text(item, index, "context");
        let [ciphertext, plaintext] = ["ciphertext", "plaintext"].map(|name| {
            let verb = if name == "plaintext" { "encrypt" } else { "decrypt" };
            match item.get(name) {
                None if name == input => {
                    problems.0.push(format!("'[{index}].{name}' missing {name} to {verb}"));
                    String::new()
                }
                Some(null @ Value::Null) if name == "plaintext" => {
                    problems.unconvertible(&format!("[{index}].{name}"), "string", null);
                    String::new()
                }
                _ => problems.strict_text(item, index, name),
            }
        });
        let key_version = problems.version(item, index);
        let associated_data = problems.strict_text(item, index, "associated_data");
        let reference = problems.strict_text(item, index, "reference");
        let input = if input == "plaintext" { plaintext } else { ciphertext };
        read.push(CipherItem { input, context, key_version, associated_data, reference });
    }
    if problems.0.is_empty() { Ok(read) } else { Err(problems.0.join("\n")) }
}

/// The items of `rewrap`. Text may be written as a number.
pub(super) fn read_rewrap_items(value: &Value) -> Result<Vec<CipherItem>, String> {
    let mut problems = Problems::default();
    let mut read = Vec::new();
    for (index, item) in list(value)?.iter().enumerate() {
        let item =
            problems.map(item, index, |kind| format!("expected a map or struct, got {kind:?}"));
        let mut text = |name| problems.text(item.get(name), &format!("[{index}].{name}"));
        let (context, input) = (text("context"), text("ciphertext"));
        let key_version = problems.version(&item, index);
        let associated_data = String::new();
        let reference = problems.text(item.get("reference"), &format!("[{index}].reference"));
        read.push(CipherItem { input, context, key_version, associated_data, reference });
    }
    problems.finish(read)
}

/// An item of `sign`, `verify` or `hmac`: a map of texts, none of which must be there.
pub(super) type TextItem = Map<String, Value>;

/// The items of `sign`, `verify` and `hmac`. Text may be written as a number. `what` is that of the
/// three which OpenBao names in its refusal.
pub(super) fn read_text_items(value: &Value, what: &str) -> Result<Vec<TextItem>, String> {
    let mut problems = Problems::default();
    let mut read = Vec::new();
    for (index, item) in list(value)?.iter().enumerate() {
        let item = problems.map(item, index, |kind| {
            format!(
                "expected type 'transit.batchRequest{what}Item', got unconvertible type '{kind}'"
            )
        });
        let texts = item.iter().map(|(name, value)| {
            let text = problems.text(Some(value), &format!("[{index}][{name}]"));
            (name.clone(), text.into())
        });
        read.push(texts.collect());
    }
    problems.finish(read)
}

/// The text at `name` in an item.
pub(super) fn text<'a>(item: &'a TextItem, name: &str) -> Option<&'a str> {
    item.get(name).and_then(Value::as_str)
}

fn list(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(format!("'' source data must be an array or slice, got {}", go_kind(other))),
    }
}

/// What is wrong with the items of a batch.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn unconvertible(&mut self, place: &str, wanted: &str, value: &Value) {
        let kind = go_type(value);
        self.0.push(format!("'{place}' expected type '{wanted}', got unconvertible type '{kind}'"));
    }

    /// A text; missing and null are empty.
    fn strict_text(&mut self, item: &Map<String, Value>, index: usize, name: &str) -> String {
        match item.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => return text.clone(),
            Some(other) => self.unconvertible(&format!("[{index}].{name}"), "string", other),
        }
        String::new()
    }

    /// A text, or a number as it is written.
    fn text(&mut self, value: Option<&Value>, place: &str) -> String {
        match value {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => return text.clone(),
            Some(Value::Number(number)) => return number.to_string(),
            Some(other) => self.unconvertible(place, "string", other),
        }
        String::new()
    }

    fn version(&mut self, item: &Map<String, Value>, index: usize) -> i64 {
        match item.get("key_version") {
            None | Some(Value::Null) => {}
            Some(Value::Number(number)) => match number.as_i64() {
                Some(version) => return version,
                None => self.0.push(format!(
                    "error decoding json.Number into [{index}].key_version: strconv.ParseInt: \
                     parsing \"{number}\": invalid syntax"
                )),
            },
            Some(other) => self.unconvertible(&format!("[{index}].key_version"), "int", other),
        }
        0
    }

    fn map(
        &mut self,
        item: &Value,
        index: usize,
        why: impl Fn(&str) -> String,
    ) -> Map<String, Value> {
        match item {
            Value::Object(map) => return map.clone(),
            Value::Null => {}
            other => self.0.push(format!("'[{index}]' {}", why(go_kind(other)))),
        }
        Map::new()
    }

    fn finish<T>(self, read: Vec<T>) -> Result<Vec<T>, String> {
        if self.0.is_empty() { Ok(read) } else { Err(decoding(&self.0)) }
    }
}

fn decoding(problems: &[String]) -> String {
    let problems = problems.join("\n");
    format!("decoding failed due to the following error(s):\n\n{problems}\n\n")
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "json.Number",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// What Go's reflection calls a type's kind: a number is text to it.
fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        other => go_type(other),
    }
}

/// The results of a batch, in the order of its items: what each gave, and its `reference`.
/// `missing` are the members that a refused item has as well.
pub(super) fn results(
    outcomes: Vec<Result<Value, Refused>>,
    references: impl IntoIterator<Item = String>,
    missing: &Value,
) -> Response {
    let results = outcomes.into_iter().zip(references).map(|(outcome, reference)| {
        let mut result = match outcome {
            Ok(result) => result,
            Err(refused) => {
                let mut result = missing.clone();
                result["error"] = refused.to_string().into();
                result
            }
        };
        result["reference"] = reference.into();
        result
    });
    Response::data(json!({ "batch_results": results.collect::<Vec<_>>() }))
}

/// The same, 400 where an item was refused, or what `partial_failure_response_code` says where
/// another was not.
pub(super) fn with_status(
    response: Response,
    request: &Request,
    refused: usize,
    of: usize,
) -> Result<Response, Error> {
    if refused == 0 {
        return Ok(response);
    }
    let response = response.status(400);
    let asked = request.fields().integer("partial_failure_response_code")?;
    let Some(asked) = asked.filter(|_| refused < of) else { return Ok(response) };
    // Below 200, and 204 or 304, there is no body.
    Ok(match u16::try_from(asked) {
        Ok(code @ (200..=203 | 205..=303 | 305..=599)) => response.status(code),
        _ => response.warn(
            "invalid HTTP response code override from partial_failure_response_code, reverting \
             to 400",
        ),
    })
}
