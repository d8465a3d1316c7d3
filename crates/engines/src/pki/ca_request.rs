//! What is asked where an authority is made: a role that allows anything, from the request itself.

use std::time::Duration;

use holdfast_keys::x509::KeyAlgorithm;
use holdfast_logical::{Error, Fields};

use super::error::fault;
use super::generate::{checked_bits, checked_signature_bits};
use super::keys::KeySource;
use super::output::{Format, UNKNOWN_FORMAT};
use super::role::Role;
use super::route::reference;
use super::store::{Authorities, DEFAULT, Key};

/// The request for a root or an intermediate.
pub(super) struct CaRequest {
    pub(super) exported: KeySource,
    pub(super) format: Format,
    pub(super) role: Role,
    /// The key to use, where it is not to be made.
    pub(super) existing: Option<std::sync::Arc<Key>>,
}

impl CaRequest {
    pub(super) fn parse(
        exported: &str,
        fields: Fields<'_>,
        authorities: &Authorities,
    ) -> Result<Self, Error> {
        let exported = KeySource::parse(exported, fields)?;
        let format = Format::parse(fields, UNKNOWN_FORMAT)?;
        let mut role = subject_role(fields)?;
        role.signature_bits = fields.integer("signature_bits")?.unwrap_or_default();
        role.use_pss = fields.bool("use_pss")?.unwrap_or_default();
        role.allowed_user_ids = vec!["*".to_owned()];
        role.require_cn = false;
        let mut existing = None;
        if exported == KeySource::Existing {
            if fields.has("key_type") || fields.has("key_bits") {
                return Err(Error::invalid(
                    "invalid parameter for the kms/existing path parameter, key_type nor key_bits \
                     arguments can be set in this mode",
                ));
            }
            let named = fields.string("key_ref")?.unwrap_or_else(|| DEFAULT.to_owned());
            let named = reference(&named);
            let missing = |problem: &dyn std::fmt::Display| {
                Error::invalid(format!("failed to lookup public key from existing key: {problem}"))
            };
            if named.is_empty() {
                return Err(missing(&"missing argument key_ref for existing type"));
            }
            let key = authorities.key(named).map_err(|error| missing(&error))?;
            let algorithm = key.pair.algorithm();
            role.key_type = algorithm.as_str().to_owned();
            role.key_bits = match algorithm {
                KeyAlgorithm::Rsa(bits) => bits.into(),
                _ => 0,
            };
            existing = Some(key.clone());
        } else {
            role.key_type = fields.string("key_type")?.unwrap_or_else(|| "rsa".to_owned());
            role.key_bits = fields.integer("key_bits")?.unwrap_or_default();
        }
        role.key_bits = checked_bits(&role.key_type, role.key_bits).map_err(Error::invalid)?;
        role.signature_bits =
            checked_signature_bits(&role.key_type, role.signature_bits).map_err(Error::invalid)?;
        Ok(Self { exported, format, role, existing })
    }
}

/// A role that allows anything and gives the subject, the life and the usages that the request
/// asks for.
pub(super) fn subject_role(fields: Fields<'_>) -> Result<Role, Error> {
    let mut role = Role::permissive();
    for (name, list) in [
        ("ou", &mut role.ou),
        ("organization", &mut role.organization),
        ("country", &mut role.country),
        ("locality", &mut role.locality),
        ("province", &mut role.province),
        ("street_address", &mut role.street_address),
        ("postal_code", &mut role.postal_code),
        ("key_usage", &mut role.key_usage),
        ("ext_key_usage", &mut role.ext_key_usage),
        ("ext_key_usage_oids", &mut role.ext_key_usage_oids),
    ] {
        *list = fields.strings(name)?.unwrap_or_default();
    }
    let whole = |duration: Duration| Duration::from_secs(duration.as_secs());
    role.ttl = fields.duration("ttl")?.map(whole).unwrap_or_default();
    role.not_before_duration =
        fields.duration("not_before_duration")?.map_or(role.not_before_duration, whole);
    role.max_path_length = fields.integer("max_path_length")?;
    Ok(role)
}

/// How many authorities may follow; negative numbers mean any.
pub(super) fn path_length(length: i64) -> Result<Option<u64>, Error> {
    match u64::try_from(length) {
        Ok(length) if length > u64::from(u8::MAX) => {
            Err(fault(format!("a max_path_length of {length} is more than any chain has")))
        }
        length => Ok(length.ok()),
    }
}
