//! Methods of values: of `scratch`, of JSON's numbers, of times and durations.

use super::Body;
use super::Parameter::{self, Any, Text};
use crate::error::Fault;
use crate::run::Run;
use crate::text::{number, quote};
use crate::value::{Entries, Key, Kind, Map, Type};
use crate::{Value, format};

/// A method: a function that is given its receiver before its arguments.
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) parameters: &'static [Parameter],
    /// Whether its result is an `interface {}` to Go.
    pub(crate) boxed: bool,
    pub(crate) run: Body,
}

impl Method {
    const fn new(name: &'static str, parameters: &'static [Parameter], run: Body) -> Self {
        Self { name, parameters, boxed: false, run }
    }
}

/// The method of a value by its name.
pub(crate) fn find(value: &Value, name: &str) -> Option<&'static Method> {
    let methods = match &value.kind {
        Kind::Object(object) if object.name() == "template.Scratch" => SCRATCH,
        Kind::Text(_, Type::Number) => NUMBER,
        Kind::Int(_, Type::Duration) => DURATION,
        Kind::Time(_) => TIME,
        _ => return None,
    };
    methods.iter().find(|method| method.name == name)
}

const SCRATCH: &[Method] = &[
    Method::new("Key", &[Text], |run, arguments| {
        Ok(Value::bool(of_scratch(run, &arguments[1]).is_some()))
    }),
    Method {
        boxed: true,
        ..Method::new("Get", &[Text], |run, arguments| {
            Ok(of_scratch(run, &arguments[1]).unwrap_or(Value::NIL))
        })
    },
    Method::new("Set", &[Text, Any], |run, arguments| set(run, &arguments[1], &arguments[2], true)),
    Method::new("SetX", &[Text, Any], |run, arguments| {
        set(run, &arguments[1], &arguments[2], false)
    }),
    Method::new("MapSet", &[Text, Text, Any], |run, arguments| map_set(run, arguments, true)),
    Method::new("MapSetX", &[Text, Text, Any], |run, arguments| map_set(run, arguments, false)),
    Method::new("MapValues", &[Text], |run, arguments| {
        let Some(Value { kind: Kind::Map(map), .. }) = of_scratch(run, &arguments[1]) else {
            return Ok(Value::list(Vec::new()));
        };
        let values: Vec<_> = map.entries().values().cloned().collect();
        run.budget.charge(values.len() as u64)?;
        Ok(Value::list(values))
    }),
];

fn scratch<'r>(run: &'r Run<'_>) -> Result<&'r Map, Fault> {
    match &run.scratch.kind {
        Kind::Map(map) => Ok(map),
        _ => Err(Fault::new("scratch is gone")),
    }
}

fn of_scratch(run: &Run<'_>, key: &Value) -> Option<Value> {
    scratch(run).ok()?.get(key.bytes())
}

fn set(run: &mut Run<'_>, key: &Value, value: &Value, replace: bool) -> Result<Value, Fault> {
    let key = Key::text(key.bytes());
    scratch(run)?.change(|entries| insert(entries, key, value, replace));
    Ok(Value::text(""))
}

fn insert(entries: &mut Entries, key: Key, value: &Value, replace: bool) {
    if replace {
        entries.insert(key, value.clone());
    } else {
        entries.entry(key).or_insert_with(|| value.clone());
    }
}

fn map_set(run: &mut Run<'_>, arguments: &[Value], replace: bool) -> Result<Value, Fault> {
    let [_, name, key, value] = arguments else {
        return Err(Fault::new("wrong number of arguments"));
    };
    let Some(known) = of_scratch(run, name) else {
        let entries = Entries::from([(Key::text(key.bytes()), value.clone())]);
        return set(run, name, &Value::dictionary(entries), true);
    };
    let map = match &known.kind {
        Kind::Map(map) if *map.value_type() == Type::Any => map,
        _ => return Err(Fault::new(format!("{} is not a map", quote::quote(name.bytes())))),
    };
    super::collection::check_insertion(run, &known, value)?;
    map.change(|entries| insert(entries, Key::text(key.bytes()), value, replace))
        .ok_or_else(super::collection::fixed)?;
    Ok(Value::text(""))
}

const NUMBER: &[Method] = &[
    Method::new("String", &[], |_, arguments| {
        Ok(Value::text(arguments[0].bytes()).with_origins(arguments[0].origins.clone()))
    }),
    Method::new("Int64", &[], |_, arguments| {
        let text = arguments[0].bytes();
        let value = number::parse_signed(text, 10).map_err(|fault| {
            let quoted = quote::quote(text);
            Fault::new(format!("strconv.ParseInt: parsing {quoted}: {}", fault.words()))
        })?;
        Ok(Value::from(Kind::Int(value, Type::Int64)).with_origins(arguments[0].origins.clone()))
    }),
    Method::new("Float64", &[], |_, arguments| {
        let text = arguments[0].bytes();
        let value = number::parse_float(text).map_err(|fault| {
            let quoted = quote::quote(text);
            Fault::new(format!("strconv.ParseFloat: parsing {quoted}: {}", fault.words()))
        })?;
        Ok(Value::float(value).with_origins(arguments[0].origins.clone()))
    }),
];

#[expect(clippy::cast_precision_loss, reason = "Go's durations in floats")]
const DURATION: &[Method] = &[
    Method::new("String", &[], |_, arguments| Ok(Value::text(format::time::string(&arguments[0])))),
    Method::new("Seconds", &[], |_, arguments| {
        Ok(Value::float(arguments[0].integer() as f64 / 1e9))
    }),
    Method::new("Minutes", &[], |_, arguments| {
        Ok(Value::float(arguments[0].integer() as f64 / 60e9))
    }),
    Method::new("Hours", &[], |_, arguments| {
        Ok(Value::float(arguments[0].integer() as f64 / 3600e9))
    }),
];

const TIME: &[Method] = &[
    Method::new("String", &[], |_, arguments| Ok(Value::text(format::time::string(&arguments[0])))),
    Method::new("Format", &[Text], |_, arguments| match arguments[0].kind {
        Kind::Time(time) => Ok(Value::text(format::time::format(time, arguments[1].bytes()))),
        _ => Ok(Value::NIL),
    }),
    Method::new("Unix", &[], |_, arguments| match arguments[0].kind {
        Kind::Time(time) => Ok(Kind::Int(time.as_second(), Type::Int64).into()),
        _ => Ok(Value::NIL),
    }),
];
