//! Vault's access control: policies parsed, merged and decided.
//!
//! A [`Policy`] is a list of rules, each a path pattern with capabilities and conditions. The
//! policies of a token are compiled into an [`Acl`], once, and every request is decided by it:
//!
//! ```
//! use std::sync::Arc;
//! use holdfast_policy::{AccessRequest, Acl, Operation, Policy};
//!
//! let policy = Policy::parse("app", r#"
//!     path "kv/data/app/*" { capabilities = ["read"] }
//!     path "kv/data/app/private" { capabilities = ["deny"] }
//! "#)?;
//! let acl = Acl::new([Arc::new(policy)], "2026-11-22T00:00:00Z".parse()?);
//! let decision = acl.check(&AccessRequest::new(Operation::Read, "kv/data/app/db"));
//! assert!(decision.allowed);
//! assert_eq!(acl.capabilities("kv/data/app/private"), ["deny"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Of the patterns that match a path, one alone decides, the most specific: see [`Acl`]. Nothing
//! here does I/O or knows HTTP; time comes in as an argument.

mod acl;
mod capability;
mod check;
mod explain;
mod format;
mod index;
mod lint;
mod merge;
mod parameters;
mod parse;
mod pattern;
mod policy;
mod protected;
mod render;
mod template;
#[cfg(feature = "testing")]
pub mod testing;

pub use acl::{Acl, Match};
pub use capability::{Capabilities, Capability, Operation};
pub use check::{AccessRequest, Decision, Verdict};
pub use explain::{
    Cause, Explanation, Facts, Fix, MountFacts, NearRule, Question, Target, explain,
};
pub use format::{FormatError, format};
pub use lint::{Finding, SeenMount, lint, position_of};
pub use parse::PolicyError;
pub use pattern::Pattern;
pub use policy::{Conditions, Policy, Rule, Unresolved};
pub use protected::is_root_protected;
pub use template::{Alias, Entity, Group, Identity, TemplateError, TemplateOptions};
