//! What a certificate or a request will say: worked out from what is asked, a role, and perhaps a
//! signing request.

use std::collections::HashSet;
use std::net::IpAddr;

use holdfast_keys::x509::{CertificateRequest, Extension, GeneralName, KeyUsage, Oid, Subject};
use holdfast_logical::{Error, Fields, Request};
use holdfast_types::Timestamp;

use super::error::fault;
use super::hostname::{is_hostname, to_ascii};
use super::issue::check_count;
use super::names::{Names, OtherNames, other_general_names, parse_other_names};
use super::role::Role;
use super::store::Signer;
use super::validity;

/// The outcome.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) subject: Subject,
    /// Names of other kinds come first, as in OpenBao.
    pub(super) names: Vec<GeneralName>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// The name of the key, where the request chooses it.
    pub(super) subject_key_id: Option<Vec<u8>>,
    pub(super) warnings: Vec<String>,
}

/// What a profile is made from.
pub(super) struct Asked<'a> {
    pub(super) role: &'a Role,
    pub(super) request: &'a Request,
    pub(super) csr: Option<&'a CertificateRequest>,
    pub(super) signer: Option<&'a Signer>,
    pub(super) now: Timestamp,
}

impl Asked<'_> {
    /// Works it out.
    ///
    /// # Errors
    /// What the role does not allow, or what makes no sense.
    pub(super) fn profile(&self) -> Result<Profile, Error> {
        let role = self.role;
        let fields = self.request.fields();
        let common_name = self.common_name()?;
        let serial_number = self.serial_number()?;
        let mut names = self.dns_and_mail(&common_name)?;
        self.check_names(&common_name, &serial_number, &names)?;
        let others = self.other_names()?;
        let mut all = other_general_names(&others).map_err(Error::invalid)?;
        names.mail.sort();
        names.mail.dedup();
        all.extend(unique(&names.dns).into_iter().map(GeneralName::Dns));
        all.extend(names.mail.into_iter().map(GeneralName::Email));
        all.extend(self.addresses()?.into_iter().map(GeneralName::Ip));
        all.extend(self.uris()?.into_iter().map(GeneralName::Uri));

        let not_before = validity::not_before(role, fields, self.now)?;
        let (not_after, warnings) =
            validity::not_after(role, fields, &self.request.mount, self.signer, self.now)?;
        if not_before >= not_after {
            let how = if not_before == not_after { "equal to" } else { "later than" };
            return Err(Error::invalid(format!(
                "The certificate's Not Before ({}) is {how} the certificate's Not After ({})",
                holdfast_types::rfc3339(not_before),
                holdfast_types::rfc3339(not_after)
            )));
        }
        Ok(Profile {
            subject: Subject {
                country: unique(&role.country),
                organization: unique(&role.organization),
                organizational_unit: unique(&role.ou),
                locality: unique(&role.locality),
                province: unique(&role.province),
                street_address: unique(&role.street_address),
                postal_code: unique(&role.postal_code),
                common_name,
                serial_number,
                user_ids: self.user_ids()?,
            },
            names: all,
            not_before,
            not_after,
            subject_key_id: subject_key_id(fields)?,
            warnings,
        })
    }

    /// The signing request, where the role takes names from it.
    fn csr_for_names(&self) -> Option<&CertificateRequest> {
        self.csr.filter(|_| self.role.use_csr_sans)
    }

    fn common_name(&self) -> Result<String, Error> {
        let from_csr = self.csr.filter(|_| self.role.use_csr_common_name);
        let from_csr = from_csr.and_then(|csr| csr.subject.common_name());
        if let Some(name) = from_csr.filter(|name| !name.is_empty()) {
            return Ok(name);
        }
        let name = self.request.fields().string("common_name")?.unwrap_or_default();
        if name.is_empty() && self.role.require_cn {
            return Err(Error::invalid(
                "the common_name field is required, or must be provided in a CSR with \
                 \"use_csr_common_name\" set to true, unless \"require_cn\" is set to false",
            ));
        }
        Ok(name)
    }

    fn serial_number(&self) -> Result<String, Error> {
        let number = self.request.fields().string("serial_number")?.unwrap_or_default();
        if !number.is_empty() {
            return Ok(number);
        }
        Ok(self.csr.and_then(|csr| csr.subject.serial_number()).unwrap_or_default())
    }

    fn dns_and_mail(&self, common_name: &str) -> Result<DnsAndMail, Error> {
        let fields = self.request.fields();
        let mut names = DnsAndMail::default();
        for name in self.csr_for_names().map(|csr| csr.names.as_slice()).unwrap_or_default() {
            match name {
                GeneralName::Dns(name) => names.dns.push(name.clone()),
                GeneralName::Email(name) => names.mail.push(name.clone()),
                _ => {}
            }
        }
        let is_left_out = fields.bool("exclude_cn_from_sans")?.unwrap_or_default();
        if !common_name.is_empty() && !is_left_out {
            names.add(common_name)?;
        }
        if self.csr_for_names().is_none() {
            let given = fields.string("alt_names")?.unwrap_or_default();
            // Before each of them is looked at.
            check_count(given.matches(',').count())?;
            let given: Vec<_> = given.trim().split(',').map(str::to_owned).collect();
            for name in unique(&given) {
                names.add(&name)?;
            }
        }
        Ok(names)
    }

    fn check_names(
        &self,
        common_name: &str,
        serial_number: &str,
        names: &DnsAndMail,
    ) -> Result<(), Error> {
        if let Some(name) = names.dns.iter().chain(&names.mail).find(|name| !name.is_ascii()) {
            let problem = format!("x509: {name:?} cannot be encoded as an IA5String");
            return Err(fault(format!("unable to create certificate: {problem}")));
        }
        let allowed = Names::new(self.role, self.request);
        let refuse = |what: &str, name: &str| {
            Err(Error::invalid(format!("{what} {name} not allowed by this role")))
        };
        if !common_name.is_empty() && !allowed.allows_common_name(common_name) {
            return refuse("common name", common_name);
        }
        if !serial_number.is_empty() && !allowed.allows_serial_number(serial_number) {
            return refuse("serial_number", serial_number);
        }
        if let Some(name) = names.dns.iter().find(|name| !allowed.allows(name)) {
            return refuse("subject alternate name", name);
        }
        if let Some(name) = names.mail.iter().find(|name| !allowed.allows(name)) {
            return refuse("email address", name);
        }
        Ok(())
    }

    fn other_names(&self) -> Result<OtherNames, Error> {
        let mut given = self.request.fields().strings("other_sans")?.unwrap_or_default();
        if let Some(csr) = self.csr_for_names() {
            given.extend(csr.names.iter().filter_map(|name| match name {
                GeneralName::Other(oid, text) => Some(format!("{oid};UTF-8:{text}")),
                _ => None,
            }));
        }
        let names = parse_other_names(&given).map_err(|problem| {
            Error::invalid(format!("could not parse requested other SAN: {problem}"))
        })?;
        Names::new(self.role, self.request).check_other_names(&names).map_err(Error::invalid)?;
        Ok(names)
    }

    fn addresses(&self) -> Result<Vec<IpAddr>, Error> {
        let (addresses, source) = match self.csr_for_names() {
            Some(csr) => {
                let addresses = csr.names.iter().filter_map(|name| match name {
                    GeneralName::Ip(address) => Some(*address),
                    _ => None,
                });
                (addresses.collect::<Vec<_>>(), "CSR")
            }
            None => {
                let given = self.request.fields().strings("ip_sans")?.unwrap_or_default();
                let parse = |text: &String| {
                    text.parse::<IpAddr>().map_err(|_| {
                        Error::invalid(format!("the value {text:?} is not a valid IP address"))
                    })
                };
                (given.iter().map(parse).collect::<Result<_, _>>()?, "the API")
            }
        };
        if !addresses.is_empty() && !self.role.allow_ip_sans {
            return Err(Error::invalid(format!(
                "IP Subject Alternative Names are not allowed in this role, but was provided via \
                 {source}"
            )));
        }
        let names = Names::new(self.role, self.request);
        if let Some(bad) = addresses.iter().find(|address| !names.allows_address(**address)) {
            return Err(Error::invalid(format!(
                "the IP address \"{bad}\" is not allowed in this role"
            )));
        }
        Ok(addresses)
    }

    fn uris(&self) -> Result<Vec<String>, Error> {
        let (uris, source) = match self.csr_for_names() {
            Some(csr) => {
                let uris = csr.names.iter().filter_map(|name| match name {
                    GeneralName::Uri(uri) => Some(uri.clone()),
                    _ => None,
                });
                (uris.collect::<Vec<_>>(), "CSR")
            }
            None => (self.request.fields().strings("uri_sans")?.unwrap_or_default(), "the API"),
        };
        if uris.is_empty() {
            return Ok(uris);
        }
        if self.role.allowed_uri_sans.is_empty() {
            return Err(Error::invalid(format!(
                "URI Subject Alternative Names are not allowed in this role, but were provided via \
                 {source}"
            )));
        }
        let names = Names::new(self.role, self.request);
        if !uris.iter().all(|uri| names.allows_uri(uri)) {
            return Err(Error::invalid(format!(
                "URI Subject Alternative Names were provided via {source} which are not valid for \
                 this role"
            )));
        }
        if let Some(bad) = uris.iter().find(|uri| !is_uri(uri)) {
            return Err(Error::invalid(format!(
                "the provided URI Subject Alternative Name {bad:?} is not a valid URI"
            )));
        }
        Ok(uris)
    }

    fn user_ids(&self) -> Result<Vec<String>, Error> {
        let mut ids = self.request.fields().strings("user_ids")?.unwrap_or_default();
        if ids.is_empty() {
            ids = self.csr.map(|csr| csr.subject.user_ids()).unwrap_or_default();
        }
        let names = Names::new(self.role, self.request);
        if let Some(bad) = ids.iter().find(|id| !names.allows_user_id(id)) {
            return Err(Error::invalid(format!("user_id {bad} is not allowed by this role")));
        }
        Ok(ids)
    }
}

#[derive(Default)]
struct DnsAndMail {
    dns: Vec<String>,
    mail: Vec<String>,
}

impl DnsAndMail {
    /// Adds a name where it belongs. What is neither is left out.
    fn add(&mut self, name: &str) -> Result<(), Error> {
        if name.contains('@') {
            self.mail.push(name.to_owned());
            return Ok(());
        }
        let name = to_ascii(name).map_err(Error::invalid)?;
        if is_hostname(&name) {
            self.dns.push(name);
        }
        Ok(())
    }
}

/// The texts without blanks around them, each once, none empty, in their order.
fn unique(texts: &[String]) -> Vec<String> {
    let mut known = HashSet::new();
    let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    texts.filter(|text| known.insert(*text)).map(str::to_owned).collect()
}

/// Text that can be a URI in a certificate: ASCII, no blanks or control letters, whole escapes.
fn is_uri(text: &str) -> bool {
    let is_escape =
        |rest: &str| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.split('%').skip(1).all(is_escape)
        && !text.starts_with(':')
}

/// `skid`, hexadecimal with or without separators.
fn subject_key_id(fields: Fields<'_>) -> Result<Option<Vec<u8>>, Error> {
    let Some(text) = fields.string("skid")? else { return Ok(None) };
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | ' ')).collect();
    let wrong = |why: String| {
        Error::invalid(format!("cannot parse requested SKID value as hex: encoding/hex: {why}"))
    };
    if let Some(bad) = digits.chars().find(|digit| !digit.is_ascii_hexdigit()) {
        return Err(wrong(format!("invalid byte: U+{:04X} {bad:?}", u32::from(bad))));
    }
    if digits.len() % 2 == 1 {
        return Err(wrong("odd length hex string".to_owned()));
    }
    let pairs = (0..digits.len()).step_by(2);
    let bytes = pairs.filter_map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok());
    Ok(Some(bytes.collect()).filter(|id: &Vec<u8>| !id.is_empty()))
}

/// What a role's keys may do, from names such as `DigitalSignature`; unknown ones say nothing.
pub(super) fn key_usage(names: &[String]) -> KeyUsage {
    const NAMES: [&str; 9] = [
        "digitalsignature",
        "contentcommitment",
        "keyencipherment",
        "dataencipherment",
        "keyagreement",
        "certsign",
        "crlsign",
        "encipheronly",
        "decipheronly",
    ];
    names.iter().fold(KeyUsage::default(), |usage, name| {
        let name = name.trim().to_ascii_lowercase();
        match NAMES.iter().position(|known| **known == name) {
            Some(bit) => usage.with(KeyUsage(1 << bit)),
            None => usage,
        }
    })
}

/// What a role's certificates are for, in the order in which OpenBao writes them.
pub(super) fn extended_key_usage(role: &Role) -> Vec<Oid> {
    let flags = [
        (role.server_flag, "serverauth"),
        (role.client_flag, "clientauth"),
        (role.code_signing_flag, "codesigning"),
        (role.email_protection_flag, "emailprotection"),
    ];
    let by_flag = flags.iter().filter(|(flag, _)| *flag).map(|(_, name)| (*name).to_owned());
    let by_name = role.ext_key_usage.iter().map(|name| name.trim().to_ascii_lowercase());
    purposes(&by_flag.chain(by_name).collect::<Vec<_>>(), &role.ext_key_usage_oids)
}

fn purposes(names: &[String], oids: &[String]) -> Vec<Oid> {
    const NAMES: [(&str, &str); 12] = [
        ("any", "2.5.29.37.0"),
        ("serverauth", "1.3.6.1.5.5.7.3.1"),
        ("clientauth", "1.3.6.1.5.5.7.3.2"),
        ("codesigning", "1.3.6.1.5.5.7.3.3"),
        ("emailprotection", "1.3.6.1.5.5.7.3.4"),
        ("ipsecendsystem", "1.3.6.1.5.5.7.3.5"),
        ("ipsectunnel", "1.3.6.1.5.5.7.3.6"),
        ("ipsecuser", "1.3.6.1.5.5.7.3.7"),
        ("timestamping", "1.3.6.1.5.5.7.3.8"),
        ("ocspsigning", "1.3.6.1.5.5.7.3.9"),
        ("microsoftservergatedcrypto", "1.3.6.1.4.1.311.10.3.3"),
        ("netscapeservergatedcrypto", "2.16.840.1.113730.4.1"),
    ];
    let known = NAMES.iter().filter(|(name, _)| names.iter().any(|given| given == name));
    let oids = oids.iter().map(String::as_str);
    known.map(|(_, oid)| *oid).chain(oids).filter_map(|oid| Oid::parse(oid).ok()).collect()
}

/// The extension that says so; none where there is nothing to say.
pub(super) fn extended_key_usage_extension(role: &Role) -> Option<Extension> {
    let purposes = extended_key_usage(role);
    (!purposes.is_empty()).then(|| Extension::extended_key_usage(&purposes))
}
