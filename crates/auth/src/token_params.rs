//! The `token_*` fields, which every login method's roles have in common.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_logical::{Auth, Error, Fields, TokenKind, TokenParams};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) const TTL_PAST_MAX: &str = "'token_ttl' cannot be greater than 'token_max_ttl'";

/// A name from before the `token_*` fields. Methods that old still take it, and print the value
/// under both names when it was written under the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OldName {
    /// `policies`, now `token_policies`
    Policies,
    /// `ttl`, now `token_ttl`
    Ttl,
    /// `max_ttl`, now `token_max_ttl`
    MaxTtl,
    /// `period`, now `token_period`
    Period,
    /// `bound_cidrs`, now `token_bound_cidrs`
    BoundCidrs,
    /// `num_uses`, now `token_num_uses`
    NumUses,
}

impl OldName {
    /// The old and the new name.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Policies => ("policies", "token_policies"),
            Self::Ttl => ("ttl", "token_ttl"),
            Self::MaxTtl => ("max_ttl", "token_max_ttl"),
            Self::Period => ("period", "token_period"),
            Self::BoundCidrs => ("bound_cidrs", "token_bound_cidrs"),
            Self::NumUses => ("num_uses", "token_num_uses"),
        }
    }
}

/// What a role says of its tokens, as it is stored and edited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleTokens {
    /// What holds for a login.
    pub params: TokenParams,
    /// The fields last written under their old names.
    written_by_old_name: BTreeSet<OldName>,
}

impl RoleTokens {
    /// Takes over the `token_*` fields of a request, and of the old names those in `known`; a
    /// field that is missing stays as it was. On an error `self` may be half changed.
    ///
    /// # Errors
    /// 400 in OpenBao's words: a field that does not parse, or settings that contradict each other.
    pub fn update(&mut self, fields: Fields<'_>, known: &[OldName]) -> Result<(), Error> {
        self.update_by(fields, known, parse_token_type)
    }

    /// As [`RoleTokens::update`], with words of the method's own for `token_type`.
    pub(crate) fn update_by(
        &mut self,
        fields: Fields<'_>,
        known: &[OldName],
        parse_token_type: fn(&str) -> Result<TokenKind, Error>,
    ) -> Result<(), Error> {
        let params = &mut self.params;
        if let Some(cidrs) = fields.cidrs("token_bound_cidrs")? {
            params.token_bound_cidrs = cidrs;
        }
        set_duration(&mut params.token_explicit_max_ttl, fields, "token_explicit_max_ttl")?;
        set_duration(&mut params.token_max_ttl, fields, "token_max_ttl")?;
        set_duration(&mut params.token_period, fields, "token_period")?;
        set_duration(&mut params.token_ttl, fields, "token_ttl")?;
        if let Some(flag) = fields.bool("token_no_default_policy")? {
            params.token_no_default_policy = flag;
        }
        if let Some(policies) = fields.strings("token_policies")? {
            params.token_policies = policies;
        }
        if let Some(kind) = fields.string("token_type")? {
            params.token_type = parse_token_type(&kind)?;
        }
        if let Some(flag) = fields.bool("token_strictly_bind_ip")? {
            params.token_strictly_bind_ip = flag;
        }
        if let Some(uses) = fields.integer("token_num_uses")? {
            params.token_num_uses = parse_num_uses(uses, "token_num_uses")?;
        }
        if params.token_strictly_bind_ip && !params.token_bound_cidrs.is_empty() {
            return Err(Error::invalid(
                "'token_strictly_bind_ip' conflicts with 'token_bound_cidrs'; set only one",
            ));
        }
        if params.token_ttl > params.token_max_ttl && params.token_max_ttl > Duration::ZERO {
            return Err(Error::invalid(TTL_PAST_MAX));
        }
        for old in known {
            self.update_by_old_name(fields, *old)?;
        }
        let params = &self.params;
        if params.token_ttl > params.token_max_ttl && params.token_max_ttl > Duration::ZERO {
            return Err(Error::invalid("ttl should not be greater than max ttl"));
        }
        self.check_batch()
    }

    /// Adds the fields to a role's `data`, under the old names too where they were written so.
    pub fn print(&self, data: &mut Map<String, Value>) {
        let params = &self.params;
        for (name, value) in [
            ("token_bound_cidrs", print_cidrs(&params.token_bound_cidrs).into()),
            ("token_explicit_max_ttl", params.token_explicit_max_ttl.as_secs().into()),
            ("token_max_ttl", params.token_max_ttl.as_secs().into()),
            ("token_no_default_policy", params.token_no_default_policy.into()),
            ("token_num_uses", params.token_num_uses.into()),
            ("token_period", params.token_period.as_secs().into()),
            ("token_policies", params.token_policies.clone().into()),
            ("token_strictly_bind_ip", params.token_strictly_bind_ip.into()),
            ("token_ttl", params.token_ttl.as_secs().into()),
            ("token_type", params.token_type.as_str().into()),
        ] {
            data.insert(name.to_owned(), value);
        }
        for old in &self.written_by_old_name {
            let (old, new) = old.names();
            if let Some(value) = data.get(new).filter(|value| !is_unset(value)).cloned() {
                data.insert(old.to_owned(), value);
            }
        }
    }

    /// Takes over the policies alone, which are tidied under either name here.
    ///
    /// # Errors
    /// 400: they are no list.
    pub fn update_policies(&mut self, fields: Fields<'_>) -> Result<(), Error> {
        let (old, new) = (fields.strings("policies")?, fields.strings("token_policies")?);
        match old.is_some() {
            true => self.written_by_old_name.insert(OldName::Policies),
            false => new.is_some() && self.written_by_old_name.remove(&OldName::Policies),
        };
        if let Some(policies) = new.or(old) {
            self.params.token_policies = tidy_policies(&policies);
        }
        Ok(())
    }

    /// Takes over the life in seconds that `name` gives, which is even older than `ttl` and gives
    /// way to it.
    ///
    /// # Errors
    /// 400: it is no number.
    pub(crate) fn update_lease(&mut self, fields: Fields<'_>, name: &str) -> Result<(), Error> {
        let Some(seconds) = fields.integer(name)? else { return Ok(()) };
        if !fields.has("ttl") && !fields.has("token_ttl") {
            let seconds = u64::try_from(seconds)
                .map_err(|_| Error::invalid(format!("'{name}' cannot be negative")))?;
            self.params.token_ttl = Duration::from_secs(seconds);
            self.written_by_old_name.insert(OldName::Ttl);
        }
        Ok(())
    }

    /// Prints the field under its new name alone from now on.
    pub fn forget_old_name(&mut self, name: OldName) {
        self.written_by_old_name.remove(&name);
    }

    /// A new name given beside the old one wins; given alone it ends the old one's use.
    fn update_by_old_name(&mut self, fields: Fields<'_>, old: OldName) -> Result<(), Error> {
        let (name, new) = old.names();
        if !fields.has(name) {
            if fields.has(new) {
                self.written_by_old_name.remove(&old);
            }
            return Ok(());
        }
        self.written_by_old_name.insert(old);
        if fields.has(new) {
            return Ok(());
        }
        let params = &mut self.params;
        match old {
            OldName::Policies => {
                let policies = fields.strings(name)?.unwrap_or_default();
                params.token_policies = tidy_policies(&policies);
            }
            OldName::Ttl => set_duration(&mut params.token_ttl, fields, name)?,
            OldName::MaxTtl => set_duration(&mut params.token_max_ttl, fields, name)?,
            OldName::Period => set_duration(&mut params.token_period, fields, name)?,
            OldName::BoundCidrs => {
                params.token_bound_cidrs = fields.cidrs(name)?.unwrap_or_default();
            }
            OldName::NumUses => {
                let uses = fields.integer(name)?.unwrap_or_default();
                params.token_num_uses = parse_num_uses(uses, name)?;
            }
        }
        Ok(())
    }

    /// A batch token is not stored, so nothing can count its uses or prolong it.
    fn check_batch(&self) -> Result<(), Error> {
        if !matches!(self.params.token_type, TokenKind::Batch | TokenKind::DefaultBatch) {
            return Ok(());
        }
        let what = if self.params.token_period > Duration::ZERO {
            "periodic tokens"
        } else if self.params.token_num_uses > 0 {
            "tokens with limited use count"
        } else {
            return Ok(());
        };
        Err(Error::invalid(format!(
            "'token_type' cannot be 'batch' or 'default_batch' when set to generate {what}"
        )))
    }
}

/// Whether two give the same policies; `default` does not count.
pub(crate) fn same_policies(one: &TokenParams, other: &TokenParams) -> bool {
    let names = |params: &TokenParams| -> BTreeSet<String> {
        let names = params.token_policies.iter().filter(|name| *name != "default");
        names.cloned().collect()
    };
    names(one) == names(other)
}

/// A token lives on under the life that its role gives now.
pub(crate) fn renew(auth: &mut Auth, now: &TokenParams) {
    auth.params.token_ttl = now.token_ttl;
    auth.params.token_max_ttl = now.token_max_ttl;
    auth.params.token_period = now.token_period;
}

/// Networks as the API prints them: one address without its `/32` or `/128`.
pub fn print_cidrs(cidrs: &[IpNet]) -> Vec<String> {
    let print = |net: &IpNet| match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    };
    cidrs.iter().map(print).collect()
}

pub(crate) fn parse_token_type(text: &str) -> Result<TokenKind, Error> {
    match text {
        "" | "default" => Ok(TokenKind::Default),
        "service" => Ok(TokenKind::Service),
        "batch" => Ok(TokenKind::Batch),
        _ => Err(Error::invalid(format!("invalid 'token_type' value {text:?}"))),
    }
}

fn parse_num_uses(uses: i64, name: &str) -> Result<u64, Error> {
    u64::try_from(uses).map_err(|_| Error::invalid(format!("'{name}' cannot be negative")))
}

fn set_duration(target: &mut Duration, fields: Fields<'_>, name: &str) -> Result<(), Error> {
    if let Some(duration) = fields.duration(name)? {
        // The API counts in seconds; a fraction would live on unseen.
        *target = Duration::from_secs(duration.as_secs());
    }
    Ok(())
}

/// The old `policies` field is sorted, in lower case and without doubles; beside `root` all others
/// mean nothing.
fn tidy_policies(policies: &[String]) -> Vec<String> {
    let tidy: BTreeSet<String> = policies.iter().map(|policy| policy.to_lowercase()).collect();
    if tidy.contains("root") {
        return vec!["root".to_owned()];
    }
    tidy.into_iter().collect()
}

fn is_unset(value: &Value) -> bool {
    value.as_u64() == Some(0) || value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: &[OldName] = &[
        OldName::Policies,
        OldName::Ttl,
        OldName::MaxTtl,
        OldName::Period,
        OldName::BoundCidrs,
        OldName::NumUses,
    ];

    fn update(tokens: &mut RoleTokens, data: &Value) -> Result<(), String> {
        let fields = Fields::new(data.as_object().unwrap());
        tokens.update(fields, ALL).map_err(|error| error.to_string())
    }

    fn print(tokens: &RoleTokens) -> Value {
        let mut data = Map::new();
        tokens.print(&mut data);
        Value::Object(data)
    }

    #[test]
    fn an_untouched_role_prints_every_field() {
        let want = json!({
            "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0,
            "token_no_default_policy": false, "token_num_uses": 0, "token_period": 0,
            "token_policies": [], "token_strictly_bind_ip": false, "token_ttl": 0,
            "token_type": "default",
        });
        assert_eq!(print(&RoleTokens::default()), want);
    }

    #[test]
    fn what_is_written_is_printed() {
        let mut tokens = RoleTokens::default();
        update(
            &mut tokens,
            &json!({
                "token_ttl": "1h", "token_max_ttl": 7200, "token_policies": "b, C",
                "token_num_uses": "5", "token_type": "service",
                "token_bound_cidrs": "10.1.2.3/8,127.0.0.1,::1/128",
            }),
        )
        .unwrap();
        let printed = print(&tokens);
        assert_eq!(printed["token_ttl"], 3600);
        assert_eq!(printed["token_max_ttl"], 7200);
        assert_eq!(printed["token_policies"], json!(["b", "C"]));
        assert_eq!(printed["token_num_uses"], 5);
        assert_eq!(printed["token_type"], "service");
        assert_eq!(printed["token_bound_cidrs"], json!(["10.1.2.3/8", "127.0.0.1", "::1"]));
        assert_eq!(printed.get("policies"), None);
    }

    #[test]
    fn old_names_are_taken_printed_and_given_up() {
        let mut tokens = RoleTokens::default();
        update(&mut tokens, &json!({ "policies": "B,a,b", "ttl": "1h", "period": 0 })).unwrap();
        let printed = print(&tokens);
        assert_eq!(printed["policies"], json!(["a", "b"]));
        assert_eq!(printed["token_policies"], json!(["a", "b"]));
        assert_eq!(printed["ttl"], 3600);
        assert_eq!(printed.get("period"), None, "an old field without a value is not printed");

        update(&mut tokens, &json!({ "policies": "y", "token_policies": "z" })).unwrap();
        assert_eq!(print(&tokens)["policies"], json!(["z"]), "the new name wins");

        update(&mut tokens, &json!({ "token_ttl": "2h" })).unwrap();
        let printed = print(&tokens);
        assert_eq!((&printed["token_ttl"], printed.get("ttl")), (&json!(7200), None));

        update(&mut tokens, &json!({ "policies": "x,root" })).unwrap();
        assert_eq!(print(&tokens)["token_policies"], json!(["root"]));
    }

    #[test]
    fn contradictions_are_refused_in_openbaos_words() {
        for (data, want) in [
            (
                json!({ "token_ttl": "1h", "token_max_ttl": "30m" }),
                "'token_ttl' cannot be greater than 'token_max_ttl'",
            ),
            (json!({ "ttl": "1h", "max_ttl": "30m" }), "ttl should not be greater than max ttl"),
            (json!({ "token_num_uses": -1 }), "'token_num_uses' cannot be negative"),
            (
                json!({ "token_ttl": "-1s" }),
                "error converting input for field \"token_ttl\": cannot provide negative value '-1'",
            ),
            (json!({ "token_type": "frob" }), "invalid 'token_type' value \"frob\""),
            (
                json!({ "token_strictly_bind_ip": true, "token_bound_cidrs": "::1" }),
                "'token_strictly_bind_ip' conflicts with 'token_bound_cidrs'; set only one",
            ),
            (
                json!({ "token_type": "batch", "token_period": "1h" }),
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic \
                 tokens",
            ),
            (
                json!({ "token_type": "batch", "token_num_uses": 5 }),
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens \
                 with limited use count",
            ),
            (
                json!({ "token_bound_cidrs": "frob" }),
                "error parsing address \"frob\": Unable to convert \"frob\" to an IPv4 or IPv6 \
                 address, or a UNIX Socket",
            ),
        ] {
            let got = update(&mut RoleTokens::default(), &data);
            assert_eq!(got, Err(want.to_owned()), "{data}");
        }
    }
}
