//! Values of secrets as templates see them, made of the server's answers.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::value::{Kind, Type};
use crate::{Object, Origin, Origins, Value};

/// The server's answer to a read or write, as consul-template's `*dependency.Secret`: `.Data`,
/// `.LeaseID`, `.LeaseDuration`, `.RequestID`, `.Renewable`, `.Warnings`, `.Auth`, `.WrapInfo`.
///
/// `path` is the path as it was asked; every leaf is given its origin: `path`, the version
/// (`data.metadata.version` of the key/value engine, or the lease's id) and the field.
pub fn secret(path: &str, response: &Json) -> Value {
    let text = |field: &str| response[field].as_str().unwrap_or_default().to_owned();
    let lease_id = text("lease_id");
    let version = match &response["data"]["metadata"]["version"] {
        Json::Number(version) => version.to_string(),
        _ => lease_id.clone(),
    };
    let marker = Marker { path: path.into(), version: version.into() };
    let leaf = |value: Value, field: &str| value.with_origins(marker.at(field));
    let warnings = strings(&response["warnings"]);
    let object = Object::new(
        SECRET,
        vec![
            ("RequestID", leaf(Value::text(text("request_id")), "request_id")),
            ("LeaseID", leaf(Value::text(lease_id), "lease_id")),
            ("LeaseDuration", leaf(integer(&response["lease_duration"]), "lease_duration")),
            ("Renewable", leaf(Value::bool(response["renewable"] == true), "renewable")),
            ("Data", marker.map(&response["data"], "data")),
            ("Warnings", Value::texts(warnings)),
            ("Auth", auth(&response["auth"], &marker)),
            ("WrapInfo", wrap_info(&response["wrap_info"], &marker)),
        ],
    );
    Kind::Object(Arc::new(object)).into()
}

/// A list of names, as `secrets` returns it.
pub fn names(path: &str, names: impl IntoIterator<Item = String>) -> Value {
    let marker = Marker { path: path.into(), version: "".into() };
    let names = names.into_iter().map(|name| Value::text(name).with_origins(marker.at("keys")));
    Value::list_of(Type::String, names.collect()).with_origins(marker.at("keys"))
}

/// A certificate as `pkiCert` returns it: `.Cert`, `.Key`, `.CA` and `.CAs`, in PEM, each block
/// with its newline. `serial` stands for its version.
pub fn certificate(path: &str, serial: &str, cert: &str, key: &str, chain: &[String]) -> Value {
    let marker = Marker { path: path.into(), version: serial.into() };
    let leaf = |text: &str, field: &str| Value::text(text).with_origins(marker.at(field));
    let authority = chain.first().map_or("", String::as_str);
    let chain = chain.iter().map(|block| leaf(block, "ca_chain")).collect();
    let object = Object::new(
        CERTIFICATE,
        vec![
            ("Cert", leaf(cert, "certificate")),
            ("Key", leaf(key, "private_key")),
            ("CA", leaf(authority, "issuing_ca")),
            ("CAs", Value::list_of(Type::String, chain)),
        ],
    );
    Kind::Object(Arc::new(object)).into()
}

const SECRET: &str = "dependency.Secret";
const AUTH: &str = "dependency.SecretAuth";
const WRAP_INFO: &str = "dependency.SecretWrapInfo";
const CERTIFICATE: &str = "dependency.PemEncoded";

/// The fields of each type, for pointers that are nil.
pub(crate) fn has_field(type_name: &str, field: &str) -> bool {
    let fields: &[&str] = match type_name {
        AUTH => &["ClientToken", "Accessor", "Policies", "Metadata", "LeaseDuration", "Renewable"],
        WRAP_INFO => &["Token", "TTL", "CreationTime", "WrappedAccessor"],
        _ => &[],
    };
    fields.contains(&field)
}

fn auth(auth: &Json, marker: &Marker) -> Value {
    if !auth.is_object() {
        return Kind::Null(Type::Pointer(AUTH)).into();
    }
    let leaf = |value: Value, field: &str| value.with_origins(marker.at(field));
    let text = |field: &str| Value::text(auth[field].as_str().unwrap_or_default());
    let policies = strings(&auth["policies"]).into_iter();
    let policies = policies.map(|name| leaf(Value::text(name), "auth.policies")).collect();
    Kind::Object(Arc::new(Object::new(
        AUTH,
        vec![
            ("ClientToken", leaf(text("client_token"), "auth.client_token")),
            ("Accessor", leaf(text("accessor"), "auth.accessor")),
            ("Policies", Value::list_of(Type::String, policies)),
            ("Metadata", marker.map(&auth["metadata"], "auth.metadata")),
            ("LeaseDuration", leaf(integer(&auth["lease_duration"]), "auth.lease_duration")),
            ("Renewable", leaf(Value::bool(auth["renewable"] == true), "auth.renewable")),
        ],
    )))
    .into()
}

fn wrap_info(info: &Json, marker: &Marker) -> Value {
    if !info.is_object() {
        return Kind::Null(Type::Pointer(WRAP_INFO)).into();
    }
    let leaf = |value: Value, field: &str| value.with_origins(marker.at(field));
    let text = |field: &str| info[field].as_str().unwrap_or_default();
    let created = text("creation_time").parse().unwrap_or(holdfast_types::Timestamp::UNIX_EPOCH);
    Kind::Object(Arc::new(Object::new(
        WRAP_INFO,
        vec![
            ("Token", leaf(Value::text(text("token")), "wrap_info.token")),
            ("TTL", leaf(integer(&info["ttl"]), "wrap_info.ttl")),
            ("CreationTime", leaf(Kind::Time(created).into(), "wrap_info.creation_time")),
            (
                "WrappedAccessor",
                leaf(Value::text(text("wrapped_accessor")), "wrap_info.wrapped_accessor"),
            ),
        ],
    )))
    .into()
}

fn integer(json: &Json) -> Value {
    Value::int(json.as_i64().unwrap_or_default())
}

fn strings(json: &Json) -> Vec<Vec<u8>> {
    let items = json.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str()).map(|text| text.as_bytes().to_vec()).collect()
}

/// Gives the leaves of one answer their origins.
struct Marker {
    path: Arc<str>,
    version: Arc<str>,
}

impl Marker {
    fn at(&self, field: &str) -> Origins {
        Origins::one(Origin {
            path: self.path.clone(),
            version: self.version.clone(),
            field: field.into(),
        })
    }

    fn map(&self, json: &Json, field: &str) -> Value {
        match json {
            Json::Object(_) => self.value(json, field),
            _ => Value::map([]).with_origins(self.at(field)),
        }
    }

    fn value(&self, json: &Json, field: &str) -> Value {
        let value = match json {
            Json::Array(items) => Value::list(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.value(item, &format!("{field}.{index}")))
                    .collect(),
            ),
            Json::Object(fields) => Value::map(fields.iter().map(|(key, value)| {
                (key.as_bytes().to_vec(), self.value(value, &format!("{field}.{key}")))
            })),
            leaf => Value::from_json(leaf.clone(), true),
        };
        value.with_origins(self.at(field))
    }
}
