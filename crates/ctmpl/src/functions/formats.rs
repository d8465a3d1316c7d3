//! YAML and TOML.

use super::Function;
use super::Parameter::{Any, Text};
use crate::value::Entries;
use crate::{Value, toml, yaml};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::derives("toYAML", &[Any], |run, arguments| {
        yaml::write(&mut run.budget, &arguments[0]).map(Value::text)
    }),
    Function::derives("toTOML", &[Any], |run, arguments| {
        toml::write(&mut run.budget, &arguments[0]).map(Value::text)
    }),
    Function::derives("parseYAML", &[Text], |run, arguments| {
        let text = arguments[0].bytes();
        run.budget.allow(text.len())?;
        if text.is_empty() {
            return Ok(Value::dictionary(Entries::new()));
        }
        yaml::parse(&mut run.budget, text)
    })
    .boxed(),
];
