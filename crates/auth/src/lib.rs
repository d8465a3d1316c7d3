//! Login methods. Each is a [`Backend`](holdfast_logical::Backend) that turns proof of who
//! somebody is into the [`Auth`](holdfast_logical::Auth) of which the core makes a token.

pub mod approle;
pub mod cert;
mod glob;
#[cfg(test)]
mod issuer;
pub mod jwt;
pub mod kubernetes;
mod listing;
mod role_name;
mod source_address;
pub mod spiffe;
pub mod token_params;
pub mod userpass;
