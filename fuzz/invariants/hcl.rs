//! What holds for any text that is read as HCL.

use std::fmt::Write as _;

use holdfast_hcl::{Body, Item, Value, ValueKind, parse};

/// Reading `text` does not panic, an error points into it, and what was read says the same when it
/// is written out and read again.
pub(crate) fn check(text: &str) {
    match parse(text) {
        Ok(body) => {
            let mut written = String::new();
            if write(&body, &mut written).is_none() {
                return;
            }
            match parse(&written) {
                Ok(again) => assert!(same(&body, &again), "{text:?} became {written:?}"),
                Err(_) if written.len() > holdfast_hcl::MAX_SIZE => {}
                Err(error) => panic!("{text:?} became {written:?}: {error}"),
            }
        }
        Err(error) => {
            let Some(position) = error.position else { return };
            let lines = text.matches('\n').count() as u32 + 1;
            assert!((1..=lines).contains(&position.line), "{text:?}: {error}");
            assert!(position.column >= 1, "{text:?}: {error}");
        }
    }
}

/// Writes `body` as HCL with all keys quoted. None if it holds a number that is none, which HCL1
/// takes as long as nobody asks for its value.
fn write(body: &Body, text: &mut String) -> Option<()> {
    for Item { keys, value, .. } in &body.items {
        assert!(!keys.is_empty());
        for key in keys {
            quote(&key.text, text);
        }
        if !matches!(value.kind, ValueKind::Object(_)) {
            text.push_str("= ");
        }
        write_value(value, text)?;
        text.push('\n');
    }
    Some(())
}

fn write_value(value: &Value, text: &mut String) -> Option<()> {
    match &value.kind {
        ValueKind::String(string) => quote(string, text),
        ValueKind::Number(number) => {
            value.as_integer()?;
            text.push_str(number);
        }
        ValueKind::Float(number) => {
            number.parse::<f64>().ok()?;
            text.push_str(number);
        }
        ValueKind::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        ValueKind::List(elements) => {
            text.push_str("[\n");
            for element in elements {
                write_value(element, text)?;
                text.push_str(",\n");
            }
            text.push(']');
        }
        ValueKind::Object(body) => {
            text.push_str("{\n");
            write(body, text)?;
            text.push('}');
        }
    }
    Some(())
}

/// Everything but letters and digits as escapes, so that no `${` comes to life.
fn quote(string: &str, text: &mut String) {
    text.push('"');
    for c in string.chars() {
        if c.is_ascii_alphanumeric() {
            text.push(c);
        } else {
            // A String takes any text.
            let _ = write!(text, "\\U{:08x}", u32::from(c));
        }
    }
    text.push_str("\" ");
}

/// Whether two bodies say the same, wherever it stands.
fn same(one: &Body, other: &Body) -> bool {
    let same_item = |(one, other): (&Item, &Item)| {
        let texts = |item: &Item| item.keys.iter().map(|key| key.text.clone()).collect::<Vec<_>>();
        texts(one) == texts(other) && same_value(&one.value, &other.value)
    };
    one.items.len() == other.items.len() && one.items.iter().zip(&other.items).all(same_item)
}

fn same_value(one: &Value, other: &Value) -> bool {
    match (&one.kind, &other.kind) {
        (ValueKind::Object(one), ValueKind::Object(other)) => same(one, other),
        (ValueKind::List(one), ValueKind::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same_value(a, b))
        }
        (one, other) => one == other,
    }
}
