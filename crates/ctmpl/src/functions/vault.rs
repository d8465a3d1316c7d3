//! Functions that ask: secrets, certificates, the environment, files, the time. And those that
//! do: `writeToFile`, `scratch`, `executeTemplate`.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_types::SecretBytes;

use super::Function;
use super::Parameter::{Any, Text};
use crate::error::Fault;
use crate::output::WriteFile;
use crate::run::Run;
use crate::text::{number, quote, rune};
use crate::value::Kind;
use crate::{Answer, Need, Object, Origin, Origins, Value, format};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::passes("secret", &[], secret).rest(Text).boxed(),
    Function::passes("secrets", &[Text], secrets),
    Function::passes("pkiCert", &[], certificate).rest(Text).boxed(),
    Function::passes("env", &[Text], |run, arguments| {
        Ok(variable(run, &arguments[0])?.unwrap_or_else(|| Value::text("")))
    }),
    Function::passes("mustEnv", &[Text], |run, arguments| match variable(run, &arguments[0])? {
        Some(value) if !value.bytes().is_empty() => Ok(value),
        _ => {
            let name = arguments[0].lossy();
            Err(Fault::new(format!("required environment variable {name} is empty")))
        }
    }),
    Function::passes("envOrDefault", &[Text, Text], |run, arguments| {
        Ok(variable(run, &arguments[0])?.unwrap_or_else(|| arguments[1].clone()))
    }),
    Function::passes("file", &[Text], file),
    Function::derives("timestamp", &[], timestamp).rest(Text),
    Function::passes("writeToFile", &[Text, Text, Text, Text], write_to_file).rest(Text),
    Function::passes("executeTemplate", &[Text], execute_template).rest(Any),
    Function::passes("scratch", &[], |_, _| {
        Ok(Kind::Object(Arc::new(Object::new("template.Scratch", Vec::new()))).into())
    }),
];

fn secret(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let Some((path, rest)) = arguments.split_first() else { return Ok(Value::NIL) };
    let need = if rest.is_empty() {
        let path = path_of(path, "vault.read")?;
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        Need::Read { path: path.to_owned(), parameters: query_parameters(query) }
    } else {
        let parameters = parameters(rest)?;
        Need::Write { path: path_of(path, "vault.write")?, parameters }
    };
    ask(run, need, Value::NIL)
}

fn secrets(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let none = Value::texts(Vec::new());
    if arguments[0].bytes().is_empty() {
        return Ok(none);
    }
    let path = path_of(&arguments[0], "vault.list")?;
    ask(run, Need::List { path }, none)
}

fn certificate(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let Some((path, rest)) = arguments.split_first() else { return Ok(Value::NIL) };
    let parameters = parameters(rest)?;
    let path = path_of(path, "vault.read")?;
    ask(run, Need::PkiCert { path, parameters }, Value::NIL)
}

fn ask(run: &mut Run<'_>, need: Need, none: Value) -> Result<Value, Fault> {
    run.gathered.need(&need)?;
    match run.source.ask(&need) {
        Answer::Known(value) => Ok(value),
        Answer::Absent => Ok(none),
        Answer::Pending => {
            run.gathered.pending(need);
            Ok(none)
        }
        Answer::Failed(reason) => Err(Fault::Source(reason)),
    }
}

fn path_of(path: &Value, function: &str) -> Result<String, Fault> {
    let trimmed = rune::trim(rune::trim_space(path.bytes()), |character| character == '/');
    if trimmed.is_empty() {
        let quoted = quote::quote(trimmed);
        return Err(Fault::new(format!("{function}: invalid format: {quoted}")));
    }
    String::from_utf8(trimmed.to_vec())
        .map_err(|_| Fault::new(format!("{function}: the path is not UTF-8")))
}

/// `key=value` arguments; empty ones are left out.
fn parameters(arguments: &[Value]) -> Result<BTreeMap<String, String>, Fault> {
    let mut parameters = BTreeMap::new();
    for argument in arguments.iter().filter(|argument| !argument.bytes().is_empty()) {
        let text = argument.lossy();
        let Some((key, value)) = text.split_once('=') else {
            let quoted = quote::quote(argument.bytes());
            return Err(Fault::new(format!("not k=v pair {quoted}")));
        };
        parameters.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(parameters)
}

/// `version=3&x=y`, with `%XX` and `+`; of a key that stands twice the first counts.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        parameters.entry(decode(key)).or_insert_with(|| decode(value));
    }
    parameters
}

fn variable(run: &mut Run<'_>, name: &Value) -> Result<Option<Value>, Fault> {
    let name = name.lossy();
    run.gathered.variable(&name)?;
    Ok(run.source.env(&name).map(|value| Value::text(value).with_origins(outside("env", &name))))
}

fn file(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let path = rune::trim_space(arguments[0].bytes());
    if path.is_empty() {
        return Ok(Value::text(""));
    }
    let path = String::from_utf8_lossy(path).into_owned();
    run.gathered.file(&path)?;
    let contents = run.source.file(&path).map_err(Fault::Source)?;
    run.budget.allow(contents.len())?;
    Ok(Value::text(contents).with_origins(outside("file", &path)))
}

/// The origin of what comes from the machine.
fn outside(what: &str, name: &str) -> Origins {
    Origins::one(Origin {
        path: format!("{what}:{name}").into(),
        version: "".into(),
        field: "".into(),
    })
}

fn timestamp(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let now = run.source.now();
    match arguments {
        [] => Ok(Value::text(format::time::format(now, b"2006-01-02T15:04:05Z07:00"))),
        [layout] if layout.bytes() == b"unix" => Ok(Value::text(now.as_second().to_string())),
        [layout] => Ok(Value::text(format::time::format(now, layout.bytes()))),
        _ => Err(Fault::new(format!(
            "timestamp: wrong number of arguments, expected 0 or 1, but got {}",
            arguments.len()
        ))),
    }
}

fn write_to_file(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let [path, owner, group, permissions, rest @ ..] = arguments else {
        return Err(Fault::new("writeToFile: too few arguments"));
    };
    let (flags, content) = match rest {
        [content] => (String::new(), content),
        [flags, content] => (flags.lossy(), content),
        [.., content] => (String::new(), content),
        [] => return Err(Fault::new("runtime error: index out of range [-1]")),
    };
    let mode = number::parse_unsigned(permissions.bytes(), 8)
        .and_then(|mode| u32::try_from(mode).map_err(|_| number::Fault::Range))
        .map_err(|fault| {
            let quoted = quote::quote(permissions.bytes());
            Fault::new(format!("strconv.ParseUint: parsing {quoted}: {}", fault.words()))
        })?;
    let mut bytes = Vec::with_capacity(content.bytes().len() + 1);
    bytes.extend_from_slice(content.bytes());
    if flags.contains("newline") {
        bytes.push(b'\n');
    }
    run.budget.allow(bytes.len())?;
    run.gathered.effect(WriteFile {
        path: path.lossy(),
        owner: owner.lossy(),
        group: group.lossy(),
        permissions: mode,
        content: SecretBytes::new(bytes),
        origins: content.origins().clone(),
        append: flags.contains("append"),
    })?;
    Ok(Value::text(""))
}

fn execute_template(run: &mut Run<'_>, arguments: &[Value]) -> Result<Value, Fault> {
    let (name, data) = match arguments {
        [name] => (name, Value::NIL),
        [name, data] => (name, data.clone()),
        _ => {
            return Err(Fault::new(format!(
                "executeTemplate: wrong number of arguments, expected 1 or 2, but got {}",
                arguments.len()
            )));
        }
    };
    run.execute_apart(&name.lossy(), data)
}
