//! A service's pool on credentials from the secrets server, with a real PostgreSQL: under load,
//! across rotations and kills.

mod logins;
mod prove;
mod svid;
pub(crate) mod world;
