//! Templates as Vault Agent's users write them: Go's `text/template`, with consul-template's functions.
//!
//! Pure: what a template asks for (a secret, a file, the time) comes from its caller, through
//! [`Source`]. Text is bytes, and each byte of the output knows the secret it came from.
//!
//! ```
//! use holdfast_ctmpl::{Answer, Limits, Need, Options, Source, Template};
//! use holdfast_types::Timestamp;
//!
//! struct Secrets;
//!
//! impl Source for Secrets {
//!     fn ask(&self, need: &Need) -> Answer {
//!         let response = serde_json::json!({ "data": {
//!             "data": { "password": "hunter2" }, "metadata": { "version": 3 },
//!         }});
//!         Answer::Known(holdfast_ctmpl::secret(need.path(), &response))
//!     }
//!     fn env(&self, _: &str) -> Option<String> {
//!         None
//!     }
//!     fn file(&self, path: &str) -> Result<Vec<u8>, String> {
//!         Err(format!("open {path}: no such file or directory"))
//!     }
//!     fn now(&self) -> Timestamp {
//!         Timestamp::UNIX_EPOCH
//!     }
//! }
//!
//! let text = br#"password={{ with secret "secret/data/web" }}{{ .Data.data.password }}{{ end }}"#;
//! let template = Template::parse("web.ctmpl", text, &Options::default())?;
//! let output = template.render(&Secrets, &Limits::default())?;
//!
//! assert!(output.complete);
//! assert_eq!(output.bytes.expose(), b"password=hunter2");
//! let span = &output.spans[0];
//! let origin = span.origins.iter().next().expect("a span has an origin");
//! assert_eq!(span.range, 9..16);
//! assert_eq!((&*origin.path, &*origin.version), ("secret/data/web", "3"));
//! assert_eq!(&*origin.field, "data.data.password");
//! # Ok::<(), holdfast_ctmpl::Error>(())
//! ```
//!
//! A template runs several times. What its source does not know yet is nil, the output says so
//! ([`Output::pending`], [`Output::complete`]), and the caller renders again when it knows.

mod calls;
mod error;
mod format;
mod functions;
mod json;
mod language;
mod options;
mod origin;
mod output;
mod redact;
mod run;
mod secret;
mod source;
mod template;
mod text;
mod toml;
mod value;
mod yaml;

pub use calls::{Argument, Call, Purpose, Use};
pub use error::{Error, ErrorKind, Exceeded};
pub use options::{Limits, MissingKey, Options};
pub use origin::{Origin, Origins};
pub use output::{Output, Span, WriteFile};
pub use secret::{certificate, names, secret};
pub use source::{Answer, Need, Source};
pub use template::{Template, function_names};
pub use value::{List, Map, Object, Type, Value};
