//! Where a login may come from.

use std::net::IpAddr;

use holdfast_logical::{Error, Request, TokenParams};
use ipnet::IpNet;

/// Whether `address` lies in one of `networks`, where there are any. Whoever has no address (on a
/// Unix socket) lies in none.
pub(crate) fn is_within(address: Option<IpAddr>, networks: &[IpNet]) -> bool {
    networks.is_empty()
        || address.is_some_and(|address| {
            let address = address.to_canonical();
            networks.iter().any(|network| network.contains(&address))
        })
}

/// Refuses a login from where its token could not be used.
///
/// # Errors
/// 403.
pub(crate) fn check(request: &Request, params: &TokenParams) -> Result<(), Error> {
    match is_within(request.connection.remote_address, &params.token_bound_cidrs) {
        true => Ok(()),
        false => Err(Error::Denied),
    }
}
