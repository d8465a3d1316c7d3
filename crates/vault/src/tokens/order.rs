//! What `auth/token/create` is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_logical::{Error, Fields};
use serde_json::Value;

/// The body of `auth/token/create`, read.
pub(super) struct Order {
    pub(super) id: Option<String>,
    pub(super) policies: Vec<String>,
    pub(super) meta: BTreeMap<String, String>,
    pub(super) no_parent: bool,
    pub(super) no_default_policy: bool,
    pub(super) ttl: Duration,
    pub(super) explicit_max_ttl: Duration,
    pub(super) period: Duration,
    pub(super) display_name: String,
    pub(super) num_uses: u64,
    pub(super) renewable: bool,
    pub(super) kind: Option<String>,
    pub(super) entity_alias: Option<String>,
}

impl Order {
    pub(super) fn read(fields: Fields<'_>) -> Result<Self, Error> {
        fields.known(&["lease"]);
        let text = |name| -> Result<Option<String>, Error> {
            let text = fields.string(name).map_err(Error::field_validation)?;
            Ok(text.filter(|text| !text.is_empty()))
        };
        let flag = |name| fields.bool(name).map_err(Error::field_validation);
        // A single text is one name here, commas and all, unlike elsewhere.
        let policies = match fields.value("policies") {
            Some(Value::String(name)) => vec![name.clone()],
            _ => fields.strings("policies").map_err(Error::field_validation)?.unwrap_or_default(),
        };
        let mut ttl = duration(&fields, "ttl")?;
        if ttl.is_zero() {
            ttl = duration(&fields, "lease")?;
        }
        let num_uses = fields.integer("num_uses").map_err(Error::field_validation)?;
        let num_uses = u64::try_from(num_uses.unwrap_or(0))
            .map_err(|_| Error::invalid("number of uses cannot be negative"))?;
        Ok(Self {
            id: text("id")?,
            policies,
            meta: fields.string_map("meta").map_err(Error::field_validation)?.unwrap_or_default(),
            no_parent: flag("no_parent")?.unwrap_or(false),
            no_default_policy: flag("no_default_policy")?.unwrap_or(false),
            ttl,
            explicit_max_ttl: duration(&fields, "explicit_max_ttl")?,
            period: duration(&fields, "period")?,
            display_name: display_name(&text("display_name")?.unwrap_or_default()),
            num_uses,
            renewable: flag("renewable")?.unwrap_or(true),
            kind: text("type")?,
            entity_alias: text("entity_alias")?,
        })
    }

    /// The token that is asked for by name, if any, with its warning.
    pub(super) fn check_id(
        &self,
        sudo: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Option<&str>, Error> {
        let Some(id) = &self.id else { return Ok(None) };
        if !sudo {
            return Err(Error::invalid("root or sudo privileges required to specify token id"));
        }
        if id.starts_with("s.") {
            return Err(Error::invalid("custom token ID cannot have the 's.' prefix"));
        }
        if id.contains('.') {
            return Err(Error::invalid("custom token ID cannot have a '.' in the value"));
        }
        warnings.push(
            "A token of the caller's own choice is as strong as its choice: it is kept as a salted \
             hash, but may be guessed."
                .to_owned(),
        );
        Ok(Some(id))
    }
}

fn duration(fields: &Fields<'_>, name: &str) -> Result<Duration, Error> {
    let Some(value) = fields.value(name) else { return Ok(Duration::ZERO) };
    if value.as_str().is_some_and(|text| text.starts_with('-'))
        || value.as_f64().is_some_and(|number| number < 0.0)
    {
        return Err(Error::invalid(format!("{name} must be positive")));
    }
    match fields.duration(name) {
        Ok(duration) => Ok(duration.unwrap_or_default()),
        Err(_) => Err(Error::invalid(format!("time: invalid duration {value}"))),
    }
}

/// `token`, or `token-` and the name with all but letters, digits and `-` made into `-`.
fn display_name(name: &str) -> String {
    if name.is_empty() {
        return "token".to_owned();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let text: String = "token-".chars().chain(name.chars().map(plain)).collect();
    text.strip_suffix('-').map(str::to_owned).unwrap_or(text)
}
