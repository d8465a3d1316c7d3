//! What the core and its mounts say to each other.
//!
//! A request reaches the core by HTTP, is authenticated and authorised there, and is then handed
//! to the [`Backend`] mounted at the longest matching prefix, with that prefix cut off. Engines,
//! login methods and the server's own `sys/` all implement the same trait. What follows an answer
//! (a lease, a token, wrapping, audit) is again the core's work: a backend only asks for it.

mod backend;
mod error;
mod event;
mod fields;
mod looked_at;
mod request;
mod response;
mod routes;
#[cfg(feature = "testing")]
pub mod testing;

pub use backend::{Backend, Context, Passwords, SpecialPaths};
pub use error::Error;
pub use event::Event;
pub use fields::Fields;
pub use looked_at::LookedAt;
pub use request::{Caller, Connection, MountInfo, Operation, Request};
pub use response::{
    Auth, BatchCell, EntityAlias, Lease, LeaseSpec, RawBody, Response, TokenKind, TokenParams,
};
pub use routes::{Field, FieldKind, Route};

/// What a backend answers: nothing is an empty success (204), or for a read "not found" (404).
pub type Reply = Result<Option<Response>, Error>;
