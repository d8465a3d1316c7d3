//! Certificate authorities and certificates.

pub mod ca;
pub mod certificate;

pub use ca::{CaError, CaRequest, CertificateAuthority, Issued, LeafRequest, Usage};
pub use certificate::{CertificateError, CertificateInfo, Name};
