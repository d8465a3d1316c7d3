//! Subject alternative names.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName as Parsed;
use x509_parser::prelude::{FromDer, SubjectAlternativeName};

use super::der::{Reader, Writer, tag};
use super::{Oid, X509Error};

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeneralName {
    /// A name of another kind, given as text.
    Other(Oid, String),
    /// A mail address.
    Email(String),
    /// A DNS name.
    Dns(String),
    /// A URI.
    Uri(String),
    /// An address.
    Ip(IpAddr),
}

impl GeneralName {
    pub(super) fn write(&self, der: &mut Writer) {
        match self {
            Self::Other(oid, text) => der.nested(tag::constructed(0), |der| {
                der.oid(oid);
                der.nested(tag::constructed(0), |der| der.value(tag::UTF8_STRING, text.as_bytes()));
            }),
            Self::Email(text) => der.value(tag::primitive(1), text.as_bytes()),
            Self::Dns(text) => der.value(tag::primitive(2), text.as_bytes()),
            Self::Uri(text) => der.value(tag::primitive(6), text.as_bytes()),
            Self::Ip(IpAddr::V4(address)) => der.value(tag::primitive(7), &address.octets()),
            Self::Ip(IpAddr::V6(address)) => der.value(tag::primitive(7), &address.octets()),
        }
    }

    /// Reads the contents of a subject alternative name extension. Kinds that are not among these
    /// are passed over.
    ///
    /// # Errors
    /// It does not parse, or a name of another kind is not UTF-8 text.
    pub fn read_all(extension: &[u8]) -> Result<Vec<Self>, X509Error> {
        let (rest, names) =
            SubjectAlternativeName::from_der(extension).map_err(X509Error::malformed)?;
        if !rest.is_empty() {
            return Err(X509Error::malformed("bytes follow the subject alternative names"));
        }
        let mut found = Vec::new();
        for name in names.general_names {
            found.push(match name {
                Parsed::OtherName(oid, value) => {
                    let text = other_text(value).ok_or_else(|| {
                        X509Error::malformed("no UTF-8 string found in OtherName")
                    })?;
                    Self::Other(Oid::from_der(oid.as_bytes())?, text)
                }
                Parsed::RFC822Name(text) => Self::Email(text.to_owned()),
                Parsed::DNSName(text) => Self::Dns(text.to_owned()),
                Parsed::URI(text) => Self::Uri(text.to_owned()),
                Parsed::IPAddress(bytes) => {
                    let wrong = || X509Error::malformed("an address of the wrong length");
                    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
                    Self::Ip(v4.or_else(|_| v6()).map_err(|_| wrong())?)
                }
                _ => continue,
            });
        }
        Ok(found)
    }
}

/// The text in the `[0]` of an `OtherName`, which the parser gives with or without that tag.
fn other_text(value: &[u8]) -> Option<String> {
    let mut reader = Reader::new(value);
    if let Some(inner) = reader.optional(tag::constructed(0)).ok()? {
        reader = Reader::new(inner);
    }
    String::from_utf8(reader.value(tag::UTF8_STRING).ok()?.to_vec()).ok()
}
