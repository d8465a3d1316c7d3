//! Certificate authorities, certificates, and the public keys that check signed tokens.

pub mod ca;
pub mod certificate;
pub mod jwks;
pub mod jws;
pub mod signing;
pub mod x509;

pub use ca::{CaError, CaRequest, CertificateAuthority, Issued, LeafRequest, Usage};
pub use certificate::{CertificateError, CertificateInfo, Name};
pub use jwks::{Algorithm, Jwks, KeyError, PublicKey};
pub use jws::{SignedToken, TokenError};
pub use signing::{SigningError, SigningKey, ready_randomness};
