//! Settings from the environment: `BAO_ADDR`, else `VAULT_ADDR`, and so on.

use std::env;
use std::time::Duration;

use holdfast_types::Ttl;

use super::Failure;
use super::values::boolean;

/// `BAO_<name>`, else `VAULT_<name>`. Empty counts as absent.
pub(super) fn read(name: &str) -> Option<String> {
    ["BAO_", "VAULT_"]
        .into_iter()
        .filter_map(|prefix| env::var(format!("{prefix}{name}")).ok())
        .find(|value| !value.is_empty())
}

/// The same as a boolean.
pub(super) fn read_bool(name: &str) -> Result<bool, Failure> {
    match read(name) {
        None => Ok(false),
        Some(value) => boolean(&value)
            .map_err(|_| Failure::Request(format!("could not parse BAO_{name}: {value:?}"))),
    }
}

/// The same as a duration.
pub(super) fn read_duration(name: &str) -> Result<Option<Duration>, Failure> {
    read(name)
        .map(|value| Ttl::parse(&value).map(|ttl| ttl.0))
        .transpose()
        .map_err(|error| Failure::Request(format!("could not parse BAO_{name}: {error}")))
}
