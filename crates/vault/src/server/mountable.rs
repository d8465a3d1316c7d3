//! Which engines and login methods there are.

use std::sync::Arc;

use holdfast_auth::{approle, cert, jwt, kubernetes, spiffe, userpass};
use holdfast_engines::database::Database;
use holdfast_engines::pki::Pki;
use holdfast_engines::{cubbyhole, kv, transit};

use crate::mounts::Registry;

/// Everything that this server can mount.
pub fn mountable() -> Registry {
    Registry::default()
        .secret("kv", kv::backend)
        .secret("cubbyhole", cubbyhole::backend)
        .secret("database", |context| Database::new(context))
        .secret("transit", transit::backend)
        .secret("pki", |context| Arc::new(Pki::new(context)))
        .auth("approle", approle::backend)
        .auth("cert", cert::backend)
        .auth("jwt", jwt::backend)
        .auth("oidc", jwt::backend)
        .auth("kubernetes", kubernetes::backend)
        .auth("spiffe", spiffe::backend)
        .auth("userpass", userpass::backend)
}
