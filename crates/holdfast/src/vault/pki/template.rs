//! A certificate as the parameters that make another one like it.

use std::net::IpAddr;
use std::time::Duration;

use holdfast_types::format_go_duration;
use serde_json::{Map, Value, json};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::public_key::PublicKey;

/// Fields of the subject that may come more than once, by their object identifiers.
const SUBJECT: [(&str, &str); 7] = [
    ("country", "2.5.4.6"),
    ("locality", "2.5.4.7"),
    ("province", "2.5.4.8"),
    ("street_address", "2.5.4.9"),
    ("organization", "2.5.4.10"),
    ("ou", "2.5.4.11"),
    ("postal_code", "2.5.4.17"),
];
const COMMON_NAME: &str = "2.5.4.3";
const SERIAL_NUMBER: &str = "2.5.4.5";
const RSA_PSS: &str = "1.2.840.113549.1.1.10";

/// The parameters for `generate/intermediate` and `sign-intermediate`, all but those of the key.
pub(super) fn parameters(certificate: &X509Certificate<'_>) -> Map<String, Value> {
    let mut parameters = Map::new();
    let mut set = |name: &str, value: Value| drop(parameters.insert(name.to_owned(), value));
    for (name, oid) in SUBJECT {
        set(name, subject(certificate, oid).into());
    }
    let first = |oid| subject(certificate, oid).into_iter().next().unwrap_or_default();
    let common_name = first(COMMON_NAME);
    set("serial_number", first(SERIAL_NUMBER).into());

    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let hosts = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => Some(*name),
        _ => None,
    });
    let hosts: Vec<_> = hosts.collect();
    let addresses = names.iter().filter_map(|name| match name {
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    let uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    set("ip_sans", addresses.collect::<Vec<_>>().join(",").into());
    set("uri_sans", uris.collect::<Vec<_>>().join(",").into());
    let is_left_out = !common_name.is_empty() && !hosts.contains(&common_name.as_str());
    set("exclude_cn_from_sans", is_left_out.into());
    set("alt_names", hosts.join(",").into());
    set("common_name", common_name.into());

    let constraints = certificate.name_constraints().ok().flatten();
    let permitted = constraints.and_then(|it| it.value.permitted_subtrees.as_ref());
    let permitted = permitted.into_iter().flatten().filter_map(|tree| match tree.base {
        GeneralName::DNSName(name) => Some(name),
        _ => None,
    });
    set("permitted_dns_domains", permitted.collect::<Vec<_>>().join(",").into());
    let basic = certificate.basic_constraints().ok().flatten();
    let depth = basic.and_then(|basic| basic.value.path_len_constraint);
    set("max_path_length", depth.map_or(json!(-1), Value::from));
    let validity = certificate.validity();
    let life = validity.not_after.timestamp().saturating_sub(validity.not_before.timestamp());
    let life = Duration::from_secs(u64::try_from(life).unwrap_or_default());
    set("ttl", format_go_duration(life).into());
    let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
    set("use_pss", (algorithm == RSA_PSS).into());
    if let Some(bits) = signature_bits(&algorithm) {
        set("signature_bits", bits.into());
    }
    parameters
}

/// The parameters for a new key of the same kind and size.
pub(super) fn new_key(certificate: &X509Certificate<'_>) -> Result<Map<String, Value>, String> {
    const ED25519: &str = "1.3.101.112";
    let key = certificate.public_key();
    let (kind, bits) = match key.parsed() {
        Ok(PublicKey::RSA(key)) => ("rsa", key.key_size()),
        // A point of P-521 is kept in whole bytes.
        Ok(PublicKey::EC(point)) => ("ec", point.key_size().min(521)),
        _ if key.algorithm.algorithm.to_id_string() == ED25519 => ("ed25519", 0),
        _ => return Err("the template's key is of a kind that cannot be made".to_owned()),
    };
    Ok(Map::from_iter([("key_type".to_owned(), kind.into()), ("key_bits".to_owned(), bits.into())]))
}

/// The parameters for the template's own key, whose id in the mount is `key`.
pub(super) fn same_key(certificate: &X509Certificate<'_>, key: &str) -> Map<String, Value> {
    let id = certificate.extensions().iter().find_map(|it| match it.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(hex::encode(id.0)),
        _ => None,
    });
    Map::from_iter([
        ("key_ref".to_owned(), key.into()),
        ("skid".to_owned(), id.unwrap_or_default().into()),
    ])
}

fn subject(certificate: &X509Certificate<'_>, oid: &str) -> Vec<String> {
    let all = certificate.subject().iter_attributes();
    let wanted = all.filter(|attribute| attribute.attr_type().to_id_string() == oid);
    wanted.filter_map(|attribute| attribute.as_str().ok().map(str::to_owned)).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(address.to_string())
}

/// The length of the hash that was signed, where the algorithm alone says it; 0 lets the server
/// choose.
fn signature_bits(algorithm: &str) -> Option<u32> {
    match algorithm {
        "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" => Some(256),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(384),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(512),
        _ => None,
    }
}
