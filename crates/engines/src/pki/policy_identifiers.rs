//! The policies that a role's certificates are issued under.

use holdfast_keys::x509::{Oid, PolicyInformation};
use holdfast_logical::{Error, Fields};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A policy with what a reader is told, as JSON.
#[derive(Serialize, Deserialize)]
struct Qualified {
    #[serde(default)]
    oid: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    cps: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    notice: String,
}

/// `policy_identifiers` of a request: dotted identifiers, or a text that is a JSON list of
/// [`Qualified`], which are then kept as JSON one by one.
pub(super) fn given(fields: Fields<'_>) -> Result<Option<Vec<String>>, Error> {
    if let Some(Value::String(text)) = fields.value("policy_identifiers")
        && let Ok(policies) = serde_json::from_str::<Vec<Qualified>>(text)
    {
        let texts = policies.iter().map(serde_json::to_string).collect::<Result<_, _>>();
        return texts.map(Some).map_err(|error| Error::internal("keep a policy", error));
    }
    fields.strings("policy_identifiers")
}

/// The policies of a role.
///
/// # Errors
/// One that is neither an identifier nor such JSON.
pub(super) fn parse(texts: &[String]) -> Result<Vec<PolicyInformation>, String> {
    let filled = |text: String| (!text.is_empty()).then_some(text);
    let policies = texts.iter().filter(|text| !text.is_empty()).map(|text| {
        if let Ok(oid) = Oid::parse(text) {
            return Ok(PolicyInformation { oid, cps: None, notice: None });
        }
        let wrong = || neither(text);
        let qualified: Qualified = serde_json::from_str(text).map_err(|_| wrong())?;
        let oid = Oid::parse(&qualified.oid).map_err(|_| wrong())?;
        Ok(PolicyInformation { oid, cps: filled(qualified.cps), notice: filled(qualified.notice) })
    });
    policies.collect()
}

/// What Go says of a text that is neither.
fn neither(text: &str) -> String {
    let arc = text.split('.').find(|arc| arc.parse::<u32>().is_err()).unwrap_or_default();
    let first = text.chars().next().unwrap_or_default();
    format!(
        "policy identifier {text:?} is neither a valid OID: strconv.Atoi: parsing {arc:?}: invalid \
         syntax, Nor JSON Policy Identifier: invalid character '{first}' looking for beginning of \
         value"
    )
}
