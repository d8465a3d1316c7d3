//! Roles: which service accounts log in, and what they get.

use holdfast_logical::{Error, Request};
use holdfast_types::format_go_duration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::selector::Selector;
use crate::glob::glob_matches;
use crate::token_params::{OldName, RoleTokens};

const OLD_NAMES: &[OldName] = &[
    OldName::Policies,
    OldName::BoundCidrs,
    OldName::NumUses,
    OldName::Ttl,
    OldName::MaxTtl,
    OldName::Period,
];

const NAMES: &str = "bound_service_account_names";
const NAMESPACES: &str = "bound_service_account_namespaces";
const SELECTOR: &str = "bound_service_account_namespace_selector";

/// What names an entity's alias.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AliasSource {
    /// The service account's UID: another account of the same name is another entity.
    #[default]
    ServiceaccountUid,
    /// `<namespace>/<name>`
    ServiceaccountName,
}

impl AliasSource {
    fn as_str(self) -> &'static str {
        match self {
            Self::ServiceaccountUid => "serviceaccount_uid",
            Self::ServiceaccountName => "serviceaccount_name",
        }
    }
}

/// A role as it is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    /// Life and policies of the tokens that it gives.
    pub(super) tokens: RoleTokens,
    /// Globs; one must fit.
    names: Vec<String>,
    /// Globs; one must fit, unless the selector does.
    namespaces: Option<Vec<String>>,
    /// As it was written; empty for none.
    namespace_selector: String,
    /// What `aud` must hold. Empty: anything.
    pub(super) audience: String,
    pub(super) alias_source: AliasSource,
}

impl Role {
    /// Takes over the fields of a request; those that are missing stay, but the selector, which is
    /// gone then. Returns warnings.
    ///
    /// # Errors
    /// 400 in OpenBao's words.
    pub(super) fn update(&mut self, request: &Request) -> Result<Vec<String>, Error> {
        let fields = request.fields();
        self.tokens.update(fields, OLD_NAMES)?;
        let (params, max) = (&self.tokens.params, request.mount.max_ttl);
        if params.token_period > max {
            let (period, max) = (format_go_duration(params.token_period), format_go_duration(max));
            return Err(Error::invalid(format!(
                "token period of '{period:?}' is greater than the backend's maximum lease TTL of \
                 '{max:?}'"
            )));
        }
        if let Some(names) = fields.strings(NAMES)? {
            self.names = names;
        }
        if self.names.is_empty() {
            return Err(Error::invalid(format!("{NAMES:?} can not be empty")));
        }
        check_star(&self.names)?;
        if let Some(namespaces) = fields.strings(NAMESPACES)? {
            self.namespaces = Some(namespaces);
        }
        self.namespace_selector = fields.string(SELECTOR)?.unwrap_or_default();
        let namespaces = self.namespaces.as_deref().unwrap_or_default();
        if namespaces.is_empty() && self.namespace_selector.is_empty() {
            return Err(Error::invalid(format!(
                "{NAMESPACES:?} can not be empty if {SELECTOR:?} is not set"
            )));
        }
        if !self.namespace_selector.is_empty() && self.selector().is_none() {
            return Err(Error::invalid(format!("invalid {SELECTOR:?} configured")));
        }
        check_star(namespaces)?;
        if let Some(audience) = fields.string("audience")? {
            self.audience = audience;
        }
        match fields.string("alias_name_source")?.as_deref() {
            None | Some("") => {}
            Some("serviceaccount_uid") => self.alias_source = AliasSource::ServiceaccountUid,
            Some("serviceaccount_name") => self.alias_source = AliasSource::ServiceaccountName,
            Some(_) => {
                return Err(Error::invalid(
                    "invalid alias_name_source, must be one of: serviceaccount_uid, \
                     serviceaccount_name",
                ));
            }
        }
        let past_max = self.tokens.params.token_max_ttl > max;
        Ok(Vec::from_iter(past_max.then(|| {
            "max_ttl is greater than the system or backend mount's maximum TTL value; issued \
             tokens' max TTL value will be truncated"
                .to_owned()
        })))
    }

    /// What a read answers.
    pub(super) fn print(&self) -> Value {
        let mut data = Map::new();
        self.tokens.print(&mut data);
        for (name, value) in [
            ("alias_name_source", self.alias_source.as_str().into()),
            (NAMES, self.names.clone().into()),
            (NAMESPACES, self.namespaces.clone().into()),
            (SELECTOR, self.namespace_selector.clone().into()),
        ] {
            data.insert(name.to_owned(), value);
        }
        if !self.audience.is_empty() {
            data.insert("audience".to_owned(), self.audience.clone().into());
        }
        Value::Object(data)
    }

    /// Whether a service account of that name may log in.
    pub(super) fn takes_name(&self, name: &str) -> bool {
        self.names.iter().any(|glob| glob_matches(glob, name))
    }

    /// Whether one of that namespace may, by its name.
    pub(super) fn takes_namespace(&self, namespace: &str) -> bool {
        self.namespaces.iter().flatten().any(|glob| glob_matches(glob, namespace))
    }

    /// By which labels a namespace may, too.
    pub(super) fn selector(&self) -> Option<Selector> {
        Selector::parse(&self.namespace_selector)
    }
}

fn check_star(globs: &[String]) -> Result<(), Error> {
    match globs.len() > 1 && globs.iter().any(|glob| glob == "*") {
        true => Err(Error::invalid("can not mix \"*\" with values")),
        false => Ok(()),
    }
}
