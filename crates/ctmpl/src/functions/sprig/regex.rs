//! Regular expressions, in sprig's order of arguments.

use crate::Value;
use crate::error::Fault;
use crate::functions::Function;
use crate::functions::Parameter::{Int, Text};
use crate::functions::regex::{compile, replace_all};
use crate::run::Run;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("sprig_regexMatch", &[Text, Text], |run, arguments| {
        match matches(run, arguments) {
            Err(Fault::Message(_)) => Ok(Value::bool(false)),
            other => other,
        }
    }),
    Function::derives("sprig_mustRegexMatch", &[Text, Text], matches),
    Function::derives("sprig_regexFind", &[Text, Text], find),
    Function::derives("sprig_mustRegexFind", &[Text, Text], find),
    Function::derives("sprig_regexFindAll", &[Text, Text, Int], find_all),
    Function::derives("sprig_mustRegexFindAll", &[Text, Text, Int], find_all),
    Function::derives("sprig_regexReplaceAll", &[Text, Text, Text], |run, arguments| {
        replace(run, arguments, true)
    }),
    Function::derives("sprig_mustRegexReplaceAll", &[Text, Text, Text], |run, arguments| {
        replace(run, arguments, true)
    }),
    Function::derives("sprig_regexReplaceAllLiteral", &[Text, Text, Text], |run, arguments| {
        replace(run, arguments, false)
    }),
    Function::derives("sprig_mustRegexReplaceAllLiteral", &[Text, Text, Text], |run, arguments| {
        replace(run, arguments, false)
    }),
    Function::derives("sprig_regexSplit", &[Text, Text, Int], split),
    Function::derives("sprig_mustRegexSplit", &[Text, Text, Int], split),
    Function::derives("sprig_regexQuoteMeta", &[Text], |_, arguments| {
        let mut out = Vec::new();
        for &byte in arguments[0].bytes() {
            if b"\\.+*?()|[]{}^$".contains(&byte) {
                out.push(b'\\');
            }
            out.push(byte);
        }
        Ok(Value::text(out))
    }),
];

fn matches(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let text = arguments[1].bytes();
    run.budget.allow(text.len())?;
    Ok(Value::bool(compile(arguments[0].bytes())?.is_match(text)))
}

fn find(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let text = arguments[1].bytes();
    run.budget.allow(text.len())?;
    let found = compile(arguments[0].bytes())?.find(text).map(|found| found.as_bytes().to_vec());
    Ok(Value::text(found.unwrap_or_default()))
}

/// How many, where a negative number stands for all.
fn most(value: &Value) -> usize {
    usize::try_from(value.integer()).unwrap_or(usize::MAX)
}

fn find_all(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let text = arguments[1].bytes();
    let regex = compile(arguments[0].bytes())?;
    let mut found = Vec::new();
    for piece in regex.find_iter(text).take(most(&arguments[2])) {
        run.budget.pieces(1)?;
        found.push(piece.as_bytes().to_vec());
    }
    run.budget.allow(text.len())?;
    Ok(Value::texts(found))
}

fn replace(run: &mut Run<'_>, arguments: &[Value], expands: bool) -> Result<Value, Fault> {
    let [pattern, text, replacement] = [0, 1, 2].map(|index| arguments[index].bytes());
    Ok(Value::text(replace_all(run, pattern, text, replacement, expands)?))
}

fn split(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let (pattern, text, most) = (arguments[0].bytes(), arguments[1].bytes(), most(&arguments[2]));
    let regex = compile(pattern)?;
    run.budget.allow(text.len())?;
    if most == 0 {
        return Ok(Value::texts(Vec::new()));
    }
    if !pattern.is_empty() && text.is_empty() {
        return Ok(Value::texts(vec![Vec::new()]));
    }
    let (mut parts, mut start, mut end) = (Vec::new(), 0, 0);
    for found in regex.find_iter(text) {
        if parts.len() + 1 == most {
            break;
        }
        run.budget.pieces(1)?;
        end = found.start();
        // A match of nothing at the beginning separates nothing.
        if found.end() != 0 {
            parts.push(text[start..end].to_vec());
        }
        start = found.end();
    }
    if end != text.len() {
        parts.push(text[start..].to_vec());
    }
    Ok(Value::texts(parts))
}
