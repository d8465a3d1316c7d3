//! Roles: whose tokens are taken, and what they give.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_logical::{Error, Fields, Request};
use holdfast_types::{Ttl, format_go_duration};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::go_text::go_text;
use super::policy_template::PolicyTemplate;
use crate::token_params::{OldName, RoleTokens};

const OLD_NAMES: &[OldName] = &[
    OldName::Policies,
    OldName::BoundCidrs,
    OldName::NumUses,
    OldName::Ttl,
    OldName::MaxTtl,
    OldName::Period,
];

/// A role. Lists and maps that were never set are printed as `null`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Role {
    /// Whether its logins go by redirects (`oidc`), and not by a token brought along (`jwt`).
    pub(super) is_oidc: bool,
    /// Life and policies of the tokens that it gives.
    pub(super) tokens: RoleTokens,
    /// Whether the names of its policies have places for claims.
    pub(super) token_policies_template_claims: bool,
    /// How many seconds a token is taken past its `exp`. 0 stands for 150, a negative number for
    /// none. Only where the token has no `exp`, and one is made up: see `claims`.
    pub(super) expiration_leeway: i64,
    /// The same for a missing `nbf`.
    pub(super) not_before_leeway: i64,
    /// How far clocks may differ, in seconds. 0 stands for 60, a negative number for none.
    pub(super) clock_skew_leeway: i64,
    /// One of these must be in `aud`.
    pub(super) bound_audiences: Option<Vec<String>>,
    /// What `sub` must be. Empty: anything.
    pub(super) bound_subject: String,
    /// Whether the strings of `bound_claims` are globs.
    pub(super) bound_claims_are_globs: bool,
    /// Claims, and the value or values of which one must be there.
    pub(super) bound_claims: Option<Map<String, Value>>,
    /// Claims, and the names under which they become metadata.
    pub(super) claim_mappings: Option<BTreeMap<String, String>>,
    /// The claim that says who it is.
    pub(super) user_claim: String,
    /// Whether `user_claim` is a JSON pointer.
    pub(super) user_claim_json_pointer: bool,
    /// The claim with the groups. Empty: none.
    pub(super) groups_claim: String,
    pub(super) max_age: Duration,
    pub(super) verbose_oidc_logging: bool,
    pub(super) oauth2_metadata: Option<Vec<String>>,
    pub(super) oidc_scopes: Option<Vec<String>>,
    pub(super) allowed_redirect_uris: Option<Vec<String>>,
    pub(super) callback_mode: String,
    pub(super) poll_interval: i64,
    pub(super) oidc_disable_confirmation: bool,
}

impl Role {
    /// Takes over the fields of a request; those that are missing stay, except that the types of
    /// role, bound claims and callback have their defaults again. Returns warnings.
    ///
    /// # Errors
    /// 400 in OpenBao's words, except for what is refused because it is not supported.
    pub(super) fn update(&mut self, request: &Request) -> Result<Vec<String>, Error> {
        let fields = request.fields();
        let role_type = fields.string("role_type")?.unwrap_or_default();
        self.is_oidc = match role_type.as_str() {
            "jwt" => false,
            "" | "oidc" => true,
            other => return Err(Error::invalid(format!("invalid 'role_type': {other}"))),
        };
        self.tokens.update(fields, OLD_NAMES)?;
        let period = self.tokens.params.token_period;
        if period > request.mount.max_ttl {
            let (period, max) =
                (format_go_duration(period), format_go_duration(request.mount.max_ttl));
            return Err(Error::invalid(format!(
                "'period' of '{period:?}' is greater than the backend's maximum lease TTL of \
                 '{max:?}'"
            )));
        }
        set(&mut self.expiration_leeway, signed_seconds(fields, "expiration_leeway")?);
        set(&mut self.not_before_leeway, signed_seconds(fields, "not_before_leeway")?);
        set(&mut self.clock_skew_leeway, signed_seconds(fields, "clock_skew_leeway")?);
        set_some(&mut self.bound_audiences, fields.strings("bound_audiences")?);
        set(&mut self.bound_subject, fields.string("bound_subject")?);
        set(&mut self.verbose_oidc_logging, fields.bool("verbose_oidc_logging")?);
        set(&mut self.max_age, fields.duration("max_age")?);
        set(
            &mut self.token_policies_template_claims,
            fields.bool("token_policies_template_claims")?,
        );
        self.templates()
            .map_err(|why| Error::invalid(format!("failed to parse template policy {why}")))?;
        self.update_claims(fields)?;
        self.update_oidc(fields)?;
        if self.is_oidc && self.allowed_redirect_uris.as_ref().is_none_or(Vec::is_empty) {
            return Err(Error::invalid(
                "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.",
            ));
        }
        if !self.is_oidc && !self.is_bound() {
            return Err(Error::invalid(
                "must have at least one bound constraint when creating/updating a role",
            ));
        }
        Ok(self.warnings(request))
    }

    /// What a read answers.
    pub(super) fn print(&self) -> Value {
        let mut data = Map::new();
        self.tokens.print(&mut data);
        let bound_claims_type = if self.bound_claims_are_globs { "glob" } else { "string" };
        for (name, value) in [
            ("allowed_redirect_uris", self.allowed_redirect_uris.clone().into()),
            ("bound_audiences", self.bound_audiences.clone().into()),
            ("bound_claims", self.bound_claims.clone().map(Value::Object).into()),
            ("bound_claims_type", bound_claims_type.into()),
            ("bound_subject", self.bound_subject.clone().into()),
            ("callback_mode", self.callback_mode.clone().into()),
            ("claim_mappings", self.claim_mappings.clone().map(print_map).into()),
            ("clock_skew_leeway", self.clock_skew_leeway.into()),
            ("expiration_leeway", self.expiration_leeway.into()),
            ("groups_claim", self.groups_claim.clone().into()),
            ("max_age", self.max_age.as_secs().into()),
            ("not_before_leeway", self.not_before_leeway.into()),
            ("oauth2_metadata", self.oauth2_metadata.clone().into()),
            ("oidc_disable_confirmation", self.oidc_disable_confirmation.into()),
            ("oidc_scopes", self.oidc_scopes.clone().into()),
            ("role_type", if self.is_oidc { "oidc" } else { "jwt" }.into()),
            ("token_policies_template_claims", self.token_policies_template_claims.into()),
            ("user_claim", self.user_claim.clone().into()),
            ("user_claim_json_pointer", self.user_claim_json_pointer.into()),
            ("verbose_oidc_logging", self.verbose_oidc_logging.into()),
        ] {
            data.insert(name.to_owned(), value);
        }
        if self.poll_interval > 0 {
            data.insert("poll_interval".to_owned(), self.poll_interval.into());
        }
        Value::Object(data)
    }

    /// Which claims are looked at, and for what.
    fn update_claims(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        let kind = fields.string("bound_claims_type")?;
        self.bound_claims_are_globs = match kind.as_deref() {
            None | Some("string") => false,
            Some("glob") => true,
            Some(other) => {
                return Err(Error::invalid(format!("invalid 'bound_claims_type': {other}")));
            }
        };
        if let Some(claims) = fields.object("bound_claims")? {
            if self.bound_claims_are_globs {
                claims.values().try_for_each(check_glob)?;
            }
            self.bound_claims = Some(claims.clone());
        }
        if let Some(mappings) = fields.string_map("claim_mappings")? {
            let mut targets = BTreeSet::new();
            for target in mappings.values() {
                if target == "role" {
                    return Err(Error::invalid(format!(
                        "metadata key {target:?} is reserved and may not be a mapping destination"
                    )));
                }
                if !targets.insert(target) {
                    return Err(Error::invalid(format!(
                        "multiple keys are mapped to metadata key {target:?}"
                    )));
                }
            }
            self.claim_mappings = Some(mappings);
        }
        if let Some(names) = fields.strings("oauth2_metadata")? {
            let known = ["id_token", "refresh_token", "access_token"];
            if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
                return Err(Error::invalid(format!("Unrecognized oauth2 metadata name {name}")));
            }
            self.oauth2_metadata = Some(names);
        }
        set(&mut self.user_claim, fields.string("user_claim")?);
        if self.user_claim.is_empty() {
            return Err(Error::invalid("a user claim must be defined on the role"));
        }
        set(&mut self.user_claim_json_pointer, fields.bool("user_claim_json_pointer")?);
        set(&mut self.groups_claim, fields.string("groups_claim")?);
        Ok(())
    }

    /// Where the issuer may send its user back to.
    pub(super) fn allowed_redirect_uris(&self) -> &[String] {
        match self.is_oidc {
            true => self.allowed_redirect_uris.as_deref().unwrap_or_default(),
            false => &[],
        }
    }

    /// The policies of a login with these claims.
    ///
    /// # Errors
    /// A claim is missing that a policy's name needs.
    pub(super) fn policies(&self, claims: &Map<String, Value>) -> Result<Vec<String>, String> {
        if !self.token_policies_template_claims {
            return Ok(self.tokens.params.token_policies.clone());
        }
        let templates = self.templates()?;
        let names = templates.iter().enumerate().map(|(index, template)| {
            template.apply(claims).map_err(|why| format!("[{index}]: {why}"))
        });
        names.collect()
    }

    fn templates(&self) -> Result<Vec<PolicyTemplate>, String> {
        if !self.token_policies_template_claims {
            return Ok(Vec::new());
        }
        let names = self.tokens.params.token_policies.iter().enumerate();
        let parse = |(index, name): (usize, &String)| {
            PolicyTemplate::parse(name).map_err(|why| format!("[{index}]: {why}"))
        };
        names.map(parse).collect()
    }

    /// What belongs to logins with redirects.
    fn update_oidc(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        set_some(&mut self.oidc_scopes, fields.strings("oidc_scopes")?);
        set_some(&mut self.allowed_redirect_uris, fields.strings("allowed_redirect_uris")?);
        set(&mut self.poll_interval, fields.integer("poll_interval")?);
        self.callback_mode = fields.string("callback_mode")?.unwrap_or("client".to_owned());
        if !matches!(self.callback_mode.as_str(), "client" | "direct" | "device") {
            let mode = &self.callback_mode;
            return Err(Error::invalid(format!("invalid 'callback_mode': {mode}")));
        }
        self.oidc_disable_confirmation =
            fields.bool("oidc_disable_confirmation")?.unwrap_or_default();
        Ok(())
    }

    /// Whether anything at all must be right with a token beside its signature.
    fn is_bound(&self) -> bool {
        self.bound_audiences.as_ref().is_some_and(|audiences| !audiences.is_empty())
            || !self.tokens.params.token_bound_cidrs.is_empty()
            || !self.bound_subject.is_empty()
            || self.bound_claims.as_ref().is_some_and(|claims| !claims.is_empty())
    }

    fn warnings(&self, request: &Request) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.tokens.params.token_max_ttl > request.mount.max_ttl {
            warnings.push(
                "token max ttl is greater than the system or backend mount's maximum TTL value; \
                 issued tokens' max TTL value will be truncated"
                    .to_owned(),
            );
        }
        if self.verbose_oidc_logging {
            warnings.push(
                "verbose_oidc_logging has been enabled for this role. This is not recommended in \
                 production since sensitive information may be present in OIDC responses."
                    .to_owned(),
            );
        }
        warnings
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn set_some<T>(target: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *target = value;
    }
}

fn print_map(map: BTreeMap<String, String>) -> Value {
    Value::Object(map.into_iter().map(|(key, value)| (key, value.into())).collect())
}

/// Globs are text, alone or in a list.
fn check_glob(value: &Value) -> Result<(), Error> {
    let text = |value: &Value| match value {
        Value::String(_) => Ok(()),
        other => Err(Error::invalid(format!("claim is not a string: {}", go_text(other)))),
    };
    match value {
        Value::Array(values) => values.iter().try_for_each(text),
        Value::Object(_) | Value::Null => {
            Err(Error::invalid(format!("claim is not a string or list: {}", go_text(value))))
        }
        other => text(other),
    }
}

/// A duration in whole seconds that may be negative.
fn signed_seconds(fields: Fields<'_>, name: &str) -> Result<Option<i64>, Error> {
    let negative = match fields.value(name) {
        Some(Value::Number(number)) => return Ok(number.as_i64()),
        Some(Value::String(text)) => text.trim().strip_prefix('-').map(str::to_owned),
        _ => None,
    };
    if let Some(Ok(Ttl(duration))) = negative.map(|text| Ttl::parse(&text)) {
        return Ok(i64::try_from(duration.as_secs()).ok().map(|seconds| -seconds));
    }
    let duration = fields.duration(name)?;
    Ok(duration.and_then(|duration| i64::try_from(duration.as_secs()).ok()))
}
