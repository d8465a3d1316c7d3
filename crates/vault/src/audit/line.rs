//! A record as one line of JSON, in the real server's shape, with its values hashed on the way.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_logical::{MountInfo, Operation};
use holdfast_types::{Timestamp, rfc3339};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{AuthRecord, RequestRecord, ResponseRecord, WrapRecord};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// How a device hides what it writes.
pub(super) struct Hasher {
    pub(super) key: hmac::Key,
    /// False leaves accessors in the clear, for finding the token that a line is about.
    pub(super) hash_accessors: bool,
    /// Hides nothing.
    pub(super) raw: bool,
    /// Writes how many names a list has instead of the names.
    pub(super) elide_lists: bool,
}

impl Hasher {
    /// `hmac-sha256:<hex>`.
    pub(super) fn hash(&self, value: &str) -> String {
        const PREFIX: &str = "hmac-sha256:";
        let tag = hmac::sign(&self.key, value.as_bytes());
        let mut text = String::with_capacity(PREFIX.len() + 2 * tag.as_ref().len());
        text.push_str(PREFIX);
        // Some ten of these stand in a line: a crate for it would take a third of their time.
        for byte in tag.as_ref() {
            text.extend(
                [byte >> 4, byte & 0xf].map(|digit| char::from(DIGITS[usize::from(digit)])),
            );
        }
        text
    }

    fn secret(&self, value: &str) -> String {
        if self.raw || value.is_empty() { value.to_owned() } else { self.hash(value) }
    }

    fn accessor(&self, value: &str) -> String {
        if self.hash_accessors { self.secret(value) } else { value.to_owned() }
    }
}

/// A request, or a request with its response.
pub(super) struct Line<'a> {
    pub(super) request: &'a RequestRecord,
    pub(super) response: Option<&'a ResponseRecord>,
    pub(super) time: Timestamp,
}

impl Line<'_> {
    /// The line with its newline.
    pub(super) fn to_bytes(&self, prefix: &str, hasher: &Hasher) -> io::Result<Vec<u8>> {
        let auth = &self.request.auth;
        let caller = TokenText::of(auth, hasher);
        let document = Document {
            time: rfc3339(self.time),
            kind: if self.response.is_some() { "response" } else { "request" },
            auth: AuthText::of(auth, &caller, true),
            request: RequestText::of(self.request, &caller, hasher),
            response: self
                .response
                .map(|response| ResponseText::of(response, self.request, hasher)),
            error: self.response.and_then(|response| response.error.as_deref()),
        };
        let mut bytes = Vec::with_capacity(2048);
        bytes.extend_from_slice(prefix.as_bytes());
        serde_json::to_writer(&mut bytes, &document)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

#[derive(Serialize)]
struct Document<'a> {
    time: String,
    #[serde(rename = "type")]
    kind: &'static str,
    auth: AuthText<'a>,
    request: RequestText<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// A token and its accessor, hashed once for the several places they stand in.
struct TokenText {
    token: String,
    accessor: String,
}

impl TokenText {
    fn of(auth: &AuthRecord, hasher: &Hasher) -> Self {
        let token = auth.client_token.as_ref().map_or("", |token| token.expose());
        Self { token: hasher.secret(token), accessor: hasher.accessor(&auth.accessor) }
    }
}

#[derive(Serialize)]
struct AuthText<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    client_token: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    accessor: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    display_name: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    policies: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    token_policies: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    identity_policies: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_results: Option<PolicyResults<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    entity_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    token_type: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    token_ttl: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_issue_time: Option<String>,
}

#[derive(Serialize)]
struct PolicyResults<'a> {
    allowed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    granting_policies: Vec<GrantingPolicy<'a>>,
}

#[derive(Serialize)]
struct GrantingPolicy<'a> {
    name: &'a str,
    namespace_id: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl<'a> AuthText<'a> {
    /// `identified`: whether the token is known to be good, so that its hash may stand here.
    fn of(auth: &'a AuthRecord, token: &'a TokenText, identified: bool) -> Self {
        let granting = auth.granting_policies.iter();
        let policy_results = auth.allowed.map(|allowed| PolicyResults {
            allowed,
            granting_policies: granting
                .map(|name| GrantingPolicy { name, namespace_id: "root", kind: "acl" })
                .collect(),
        });
        // A token that nobody knows is named as part of the request only.
        let known = identified && (!auth.policies.is_empty() || !auth.accessor.is_empty());
        Self {
            client_token: if known { &token.token } else { "" },
            accessor: &token.accessor,
            display_name: &auth.display_name,
            policies: &auth.policies,
            token_policies: &auth.token_policies,
            identity_policies: &auth.identity_policies,
            policy_results,
            metadata: &auth.metadata,
            entity_id: &auth.entity_id,
            token_type: if auth.token_type.is_empty() { "default" } else { &auth.token_type },
            token_ttl: auth.token_ttl,
            token_issue_time: auth.token_issue_time.map(seconds),
        }
    }
}

#[derive(Serialize)]
struct Namespace {
    id: &'static str,
}

#[derive(Serialize)]
struct RequestText<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_id: String,
    operation: &'static str,
    #[serde(flatten)]
    mount: Option<MountText<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    client_token: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    client_token_accessor: &'a str,
    namespace: Namespace,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<HashedMap<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_address: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "is_zero_port")]
    remote_port: u16,
    #[serde(skip_serializing_if = "is_zero")]
    wrap_ttl: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, Vec<Cow<'a, str>>>,
}

impl<'a> RequestText<'a> {
    fn of(request: &'a RequestRecord, token: &'a TokenText, hasher: &'a Hasher) -> Self {
        let keys = request.shown.as_ref().map_or(&[][..], |shown| &shown.request_keys);
        Self {
            id: &request.id,
            client_id: client_id(&request.auth),
            operation: request.operation.as_str(),
            mount: request.mount.as_deref().map(MountText::of),
            client_token: &token.token,
            client_token_accessor: &token.accessor,
            namespace: Namespace { id: "root" },
            path: &request.path,
            data: HashedMap::of(&request.data, hasher, keys),
            remote_address: request.connection.remote_address,
            remote_port: request.connection.remote_port,
            wrap_ttl: request.wrap_ttl,
            headers: headers(request, hasher),
        }
    }
}

/// The header fields that are to be recorded. Several values of one came joined by commas.
fn headers<'a>(
    request: &'a RequestRecord,
    hasher: &Hasher,
) -> BTreeMap<&'a str, Vec<Cow<'a, str>>> {
    let shown = request.shown.iter().flat_map(|shown| &shown.headers);
    let row = |(name, value, hmac): &'a (String, String, bool)| {
        let values = value.split(", ").map(|value| match *hmac && !hasher.raw {
            true => Cow::Owned(hasher.hash(value)),
            false => Cow::Borrowed(value),
        });
        (name.as_str(), values.collect())
    };
    shown.map(row).collect()
}

#[derive(Serialize)]
struct MountText<'a> {
    mount_point: &'a str,
    mount_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mount_accessor: &'a str,
    mount_class: &'static str,
}

impl<'a> MountText<'a> {
    fn of(mount: &'a MountInfo) -> Self {
        Self {
            mount_point: &mount.path,
            mount_type: &mount.kind,
            mount_accessor: &mount.accessor,
            mount_class: if mount.path.starts_with("auth/") { "auth" } else { "secret" },
        }
    }
}

#[derive(Serialize)]
struct ResponseText<'a> {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "issued")]
    auth: Option<(TokenText, &'a AuthRecord)>,
    #[serde(flatten)]
    mount: Option<MountText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<SecretText<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<ResponseData<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    wrap_info: Option<WrapText<'a>>,
}

#[derive(Serialize)]
struct SecretText<'a> {
    lease_id: &'a str,
}

#[derive(Serialize)]
struct WrapText<'a> {
    ttl: u64,
    token: String,
    accessor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_time: Option<String>,
    creation_path: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    wrapped_accessor: String,
}

impl<'a> ResponseText<'a> {
    fn of(response: &'a ResponseRecord, request: &'a RequestRecord, hasher: &'a Hasher) -> Self {
        let mount = request.mount.as_deref();
        let keys = request.shown.as_ref().map_or(&[][..], |shown| &shown.response_keys);
        let is_list = matches!(request.operation, Operation::List | Operation::Scan);
        let data = response.data.as_ref().and_then(|data| match is_list && hasher.elide_lists {
            true => Some(ResponseData::Elided(elided(data))),
            false => HashedMap::of(data, hasher, keys).map(ResponseData::Hashed),
        });
        let wrap = |wrap: &'a WrapRecord| WrapText {
            ttl: wrap.ttl,
            token: hasher.secret(wrap.token.expose()),
            accessor: hasher.accessor(&wrap.accessor),
            creation_time: wrap.creation_time.map(rfc3339),
            creation_path: &wrap.creation_path,
            wrapped_accessor: hasher.accessor(&wrap.wrapped_accessor),
        };
        Self {
            auth: response.auth.as_ref().map(|auth| (TokenText::of(auth, hasher), auth)),
            mount: mount.map(MountText::of),
            secret: response.lease_id.as_deref().map(|lease_id| SecretText { lease_id }),
            data,
            warnings: &response.warnings,
            wrap_info: response.wrap.as_ref().map(wrap),
        }
    }
}

/// The fields of an answer.
#[derive(Serialize)]
#[serde(untagged)]
enum ResponseData<'a> {
    Hashed(HashedMap<'a>),
    Elided(BTreeMap<&'a str, usize>),
}

/// A list by the number of its names.
fn elided(data: &Map<String, Value>) -> BTreeMap<&str, usize> {
    let counted = |(name, value): (&'_ String, &'_ Value)| match (name.as_str(), value) {
        ("keys", Value::Array(keys)) => Some(keys.len()),
        ("key_info", Value::Object(infos)) => Some(infos.len()),
        _ => None,
    };
    data.iter().filter_map(|row| Some((row.0.as_str(), counted(row)?))).collect()
}

/// The token that an answer hands out.
fn issued<S: Serializer>(
    auth: &Option<(TokenText, &AuthRecord)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match auth {
        Some((token, auth)) => AuthText::of(auth, token, true).serialize(serializer),
        None => serializer.serialize_none(),
    }
}

/// Names the caller for counting: its entity, else a digest of its policies.
fn client_id(auth: &AuthRecord) -> String {
    if !auth.entity_id.is_empty() || auth.policies.is_empty() {
        return auth.entity_id.clone();
    }
    let mut policies: Vec<&str> = auth.policies.iter().map(String::as_str).collect();
    policies.sort_unstable();
    let text = format!("{}\0root", policies.join("\x7f"));
    STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

/// A JSON value whose strings are hashed as they are written. Names of fields, numbers and
/// booleans stay readable.
struct Hashed<'a> {
    value: &'a Value,
    hasher: &'a Hasher,
    /// Names of fields that are not hashed.
    keys: &'a [String],
    /// Whether it is the value of such a field, or stands in its list.
    clear: bool,
}

struct HashedMap<'a> {
    fields: &'a Map<String, Value>,
    hasher: &'a Hasher,
    keys: &'a [String],
}

impl<'a> HashedMap<'a> {
    fn of(fields: &'a Map<String, Value>, hasher: &'a Hasher, keys: &'a [String]) -> Option<Self> {
        (!fields.is_empty()).then_some(Self { fields, hasher, keys })
    }
}

impl Serialize for HashedMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in self.fields {
            let clear = self.keys.contains(name);
            let hashed = Hashed { value, hasher: self.hasher, keys: self.keys, clear };
            map.serialize_entry(name, &hashed)?;
        }
        map.end()
    }
}

impl Serialize for Hashed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { hasher, keys, clear, .. } = *self;
        match self.value {
            Value::String(text) if hasher.raw || clear => serializer.serialize_str(text),
            Value::String(text) => serializer.serialize_str(&hasher.hash(text)),
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for value in items {
                    list.serialize_element(&Hashed { value, hasher, keys, clear })?;
                }
                list.end()
            }
            Value::Object(fields) => HashedMap { fields, hasher, keys }.serialize(serializer),
            plain => plain.serialize(serializer),
        }
    }
}

/// To the second, as the real server writes the time of issue.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).map_or_else(|_| rfc3339(time), rfc3339)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero_port(number: &u16) -> bool {
    *number == 0
}
