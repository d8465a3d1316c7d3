//! Whether a client's certificate is what a trusted entry allows.

use holdfast_keys::x509::der::Reader;
use holdfast_keys::x509::{Certificate, GeneralName, Oid};
use holdfast_types::SpiffeId;

use super::trusted::Allowed;
use crate::glob::glob_matches;

/// A client's certificate, with its names sorted by kind.
pub(super) struct Client {
    pub(super) certificate: Certificate,
    pub(super) common_name: String,
    dns: Vec<String>,
    emails: Vec<String>,
    pub(super) uris: Vec<String>,
    units: Vec<String>,
}

impl Client {
    pub(super) fn new(certificate: Certificate) -> Self {
        let (mut dns, mut emails, mut uris) = (Vec::new(), Vec::new(), Vec::new());
        for name in certificate.names() {
            match name {
                GeneralName::Dns(name) => dns.push(name),
                GeneralName::Email(name) => emails.push(name),
                GeneralName::Uri(name) => uris.push(name),
                GeneralName::Ip(_) | GeneralName::Other(..) => {}
            }
        }
        let common_name = certificate.subject.common_name().unwrap_or_default();
        let units = certificate.subject.organizational_units();
        Self { certificate, common_name, dns, emails, uris, units }
    }

    /// The only URI among its names.
    pub(super) fn only_uri(&self) -> Option<&str> {
        match self.uris.as_slice() {
            [uri] => Some(uri),
            _ => None,
        }
    }

    /// Who a SPIFFE server says that it is: an SVID has one URI, and that is a SPIFFE ID.
    pub(super) fn spiffe_id(&self) -> Option<SpiffeId> {
        SpiffeId::parse(self.only_uri()?).ok()
    }

    /// The text of an extension. Empty where its contents are no text.
    pub(super) fn extension_text(&self, oid: &str) -> Option<String> {
        let oid = Oid::parse(oid).ok()?;
        let contents = self.certificate.extension(&oid)?;
        Some(text_of(contents).unwrap_or_default())
    }

    /// The first of the lists that nothing of the certificate fits.
    pub(super) fn first_misfit(&self, allowed: &Allowed) -> Option<&'static str> {
        let common_name = std::slice::from_ref(&self.common_name);
        let names: [&[String]; 3] = [common_name, &self.dns, &self.emails];
        let lists: [List<'_>; 6] = [
            ("allowed_names", &allowed.names, &names),
            ("allowed_common_names", &allowed.common_names, &[common_name]),
            ("allowed_dns_sans", &allowed.dns_sans, &[&self.dns]),
            ("allowed_email_sans", &allowed.email_sans, &[&self.emails]),
            ("allowed_uri_sans", &allowed.uri_sans, &[&self.uris]),
            ("allowed_organizational_units", &allowed.organizational_units, &[&self.units]),
        ];
        for (name, globs, found) in lists {
            let globs = globs.as_deref().unwrap_or_default();
            let fits =
                |glob: &String| found.iter().copied().flatten().any(|n| glob_matches(glob, n));
            if !globs.is_empty() && !globs.iter().any(fits) {
                return Some(name);
            }
        }
        let mut required = allowed.required_extensions.iter().flatten();
        let fits = |entry: &String| {
            let (oid, glob) = entry.split_once(':').unwrap_or((entry, ""));
            self.extension_text(oid).is_some_and(|text| glob_matches(glob, &text))
        };
        (!required.all(fits)).then_some("required_extensions")
    }
}

/// The name of a list, its globs, and the names that one of them must fit.
type List<'a> = (&'static str, &'a Option<Vec<String>>, &'a [&'a [String]]);

/// The text in an extension of one ASN.1 string.
fn text_of(contents: &[u8]) -> Option<String> {
    const UTF8: u8 = 12;
    const NUMERIC: u8 = 18;
    const PRINTABLE: u8 = 19;
    const T61: u8 = 20;
    const IA5: u8 = 22;
    const GENERAL: u8 = 27;
    let (tag, value, _) = Reader::new(contents).any().ok()?;
    if !matches!(tag, UTF8 | NUMERIC | PRINTABLE | T61 | IA5 | GENERAL) {
        return None;
    }
    String::from_utf8(value.to_vec()).ok()
}
