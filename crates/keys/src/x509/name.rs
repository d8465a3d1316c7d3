//! Distinguished names.

use x509_parser::prelude::{FromDer, X509Name};

use super::der::{Reader, Writer, tag};
use super::{Oid, X509Error};

/// A subject to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// C
    pub country: Vec<String>,
    /// O
    pub organization: Vec<String>,
    /// OU
    pub organizational_unit: Vec<String>,
    /// L
    pub locality: Vec<String>,
    /// ST
    pub province: Vec<String>,
    /// STREET
    pub street_address: Vec<String>,
    /// The postal code
    pub postal_code: Vec<String>,
    /// CN
    pub common_name: String,
    /// The subject's serial number, which is not the certificate's
    pub serial_number: String,
    /// UID, one for each
    pub user_ids: Vec<String>,
}

const COMMON_NAME: Oid = Oid::known(&[0x55, 4, 3]);
const SERIAL_NUMBER: Oid = Oid::known(&[0x55, 4, 5]);
const COUNTRY: Oid = Oid::known(&[0x55, 4, 6]);
const LOCALITY: Oid = Oid::known(&[0x55, 4, 7]);
const PROVINCE: Oid = Oid::known(&[0x55, 4, 8]);
const STREET_ADDRESS: Oid = Oid::known(&[0x55, 4, 9]);
const ORGANIZATION: Oid = Oid::known(&[0x55, 4, 10]);
const ORGANIZATIONAL_UNIT: Oid = Oid::known(&[0x55, 4, 11]);
const POSTAL_CODE: Oid = Oid::known(&[0x55, 4, 17]);
const USER_ID: Oid = Oid::known(&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]);

impl Subject {
    /// The name in DER, its attributes in the order in which OpenBao writes them.
    pub fn to_name(&self) -> DistinguishedName {
        let one = |text: &String| Vec::from_iter((!text.is_empty()).then(|| text.clone()));
        let mut sets = vec![
            (COUNTRY, self.country.clone()),
            (PROVINCE, self.province.clone()),
            (LOCALITY, self.locality.clone()),
            (STREET_ADDRESS, self.street_address.clone()),
            (POSTAL_CODE, self.postal_code.clone()),
            (ORGANIZATION, self.organization.clone()),
            (ORGANIZATIONAL_UNIT, self.organizational_unit.clone()),
            (COMMON_NAME, one(&self.common_name)),
            (SERIAL_NUMBER, one(&self.serial_number)),
        ];
        sets.extend(self.user_ids.iter().map(|id| (USER_ID, vec![id.clone()])));
        let der = Writer::build_sequence(|der| {
            for (oid, values) in sets.iter().filter(|(_, values)| !values.is_empty()) {
                let attribute = |value: &String| {
                    Writer::build_sequence(|der| {
                        der.oid(oid);
                        der.directory_string(value);
                    })
                };
                der.set_of(values.iter().map(attribute).collect());
            }
        });
        DistinguishedName(der)
    }
}

/// A distinguished name in DER, byte for byte as it stands in a certificate or a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DistinguishedName(Vec<u8>);

impl DistinguishedName {
    pub(super) fn from_der(der: &[u8]) -> Self {
        Self(der.to_vec())
    }

    /// In DER.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.len() <= 2
    }

    /// The last common name, if there is one.
    pub fn common_name(&self) -> Option<String> {
        self.last(&COMMON_NAME)
    }

    /// All organizational units.
    pub fn organizational_units(&self) -> Vec<String> {
        self.values(&ORGANIZATIONAL_UNIT).unwrap_or_default()
    }

    /// The last serial number of the subject, if there is one.
    pub fn serial_number(&self) -> Option<String> {
        self.last(&SERIAL_NUMBER)
    }

    /// All user ids.
    pub fn user_ids(&self) -> Vec<String> {
        self.values(&USER_ID).unwrap_or_default()
    }

    fn last(&self, oid: &Oid) -> Option<String> {
        self.values(oid).ok()?.pop()
    }

    fn values(&self, wanted: &Oid) -> Result<Vec<String>, X509Error> {
        let mut found = Vec::new();
        let mut sets = Reader::new(&self.0).inside(tag::SEQUENCE)?;
        while !sets.is_empty() {
            let mut set = sets.inside(tag::SET)?;
            while !set.is_empty() {
                let mut attribute = set.inside(tag::SEQUENCE)?;
                let oid = attribute.oid()?;
                let (_, value, _) = attribute.any()?;
                if oid == *wanted {
                    found.push(String::from_utf8_lossy(value).into_owned());
                }
            }
        }
        Ok(found)
    }
}

impl std::fmt::Display for DistinguishedName {
    /// As RFC 2253 writes it, last attribute first.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ok((_, name)) = X509Name::from_der(&self.0) else { return Ok(()) };
        let sets: Vec<_> = name.iter_rdn().collect();
        for (index, set) in sets.iter().rev().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            for (index, attribute) in set.iter().enumerate() {
                if index > 0 {
                    f.write_str("+")?;
                }
                let value = String::from_utf8_lossy(attribute.attr_value().data).into_owned();
                let kind = match Oid::from_der(attribute.attr_type().as_bytes()) {
                    Ok(oid) => short_name(&oid).map_or_else(|| oid.to_string(), str::to_owned),
                    Err(_) => "?".to_owned(),
                };
                write!(f, "{kind}={}", escaped(&value))?;
            }
        }
        Ok(())
    }
}

fn short_name(oid: &Oid) -> Option<&'static str> {
    let names = [
        (COUNTRY, "C"),
        (ORGANIZATION, "O"),
        (ORGANIZATIONAL_UNIT, "OU"),
        (COMMON_NAME, "CN"),
        (SERIAL_NUMBER, "SERIALNUMBER"),
        (LOCALITY, "L"),
        (PROVINCE, "ST"),
        (STREET_ADDRESS, "STREET"),
        (POSTAL_CODE, "POSTALCODE"),
    ];
    names.into_iter().find(|(known, _)| known == oid).map(|(_, name)| name)
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::new();
    for (index, letter) in value.chars().enumerate() {
        let is_special = matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (letter == ' ' && (index == 0 || index == last))
            || (letter == '#' && index == 0);
        if is_special {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}
