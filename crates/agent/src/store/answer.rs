//! What the server answered, as templates see it.

use std::fmt;
use std::ops::Range;

use holdfast_types::{SecretBytes, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// An answer: the text that came, which takes a fraction of the room that it takes as a tree.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    body: SecretBytes,
    /// Where the member `data` is in the text; empty where it is not.
    data: Range<usize>,
    /// The same of `auth`.
    auth: Range<usize>,
    /// The version, in KV version 2.
    pub version: Option<u64>,
    /// When the engine had last rotated it, in the server's words; of static roles alone.
    pub rotated: Option<String>,
    /// Its lease, where it has one.
    pub lease: Option<Lease>,
    /// `lease_duration`, in seconds.
    pub lease_duration: u64,
    /// What of it says how long it holds.
    pub life: Life,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: String,
    /// How long it lasts from when it was given, in seconds; 0 for ever.
    pub seconds: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// What an answer without a lease says about how long it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Nothing: until it is changed.
    Unknown,
    /// It is good for that many seconds.
    Seconds(u64),
    /// A certificate, until that time, in seconds since 1970.
    Certificate(i64),
    /// The server changes it by itself after that many seconds.
    Rotates(u64),
}

/// The envelope as it comes.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    auth: Option<&'a RawValue>,
    #[serde(default)]
    lease_id: Option<String>,
    #[serde(default)]
    lease_duration: Option<u64>,
    #[serde(default)]
    renewable: Option<bool>,
}

/// The fields of `data` that say how long it holds; everything else is skipped over.
#[derive(Default, Deserialize)]
struct Signs {
    #[serde(default)]
    metadata: Option<Metadata>,
    /// Only whether they are there, and not null.
    #[serde(default)]
    data: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    certificate: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    expiration: Option<Value>,
    #[serde(default)]
    secret_id: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    secret_id_ttl: Option<Value>,
    #[serde(default)]
    last_vault_rotation: Option<Value>,
    #[serde(default)]
    rotation_period: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    rotation_schedule: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    ttl: Option<Value>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    version: Option<Value>,
    #[serde(default)]
    deletion_time: Option<Value>,
    #[serde(default)]
    destroyed: Option<Value>,
}

impl Answer {
    /// Reads the body of an answer. None where it says that nothing is there: a version that was
    /// deleted or destroyed.
    ///
    /// # Errors
    /// What it is instead of an answer, without its text.
    pub fn parse(body: &[u8]) -> Result<Option<Self>, String> {
        let broken = |error: serde_json::Error| {
            format!("{:?} error at line {}", error.classify(), error.line())
        };
        let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(broken)?;
        let data = envelope.data.map_or("null", RawValue::get);
        // A user's data may hold any of these as anything: then it says nothing.
        let signs: Signs = serde_json::from_str(data).unwrap_or_default();
        let version =
            signs.metadata.as_ref().and_then(|metadata| number(metadata.version.as_ref()));
        if let Some(metadata) = &signs.metadata
            && version.is_some()
            && signs.data.is_none()
            && metadata.is_gone()
        {
            return Ok(None);
        }
        if data == "null" && envelope.auth.is_none() {
            return Ok(None);
        }
        // A piece of the text knows where it is by its address.
        let place = |piece: Option<&RawValue>| match piece {
            None => 0..0,
            Some(piece) => {
                let start = piece.get().as_ptr().addr() - body.as_ptr().addr();
                start..start + piece.get().len()
            }
        };
        let lease_duration = envelope.lease_duration.unwrap_or(0);
        let lease = envelope.lease_id.filter(|id| !id.is_empty()).map(|id| Lease {
            id,
            seconds: lease_duration,
            renewable: envelope.renewable.unwrap_or(false),
        });
        Ok(Some(Self {
            data: place(envelope.data),
            auth: place(envelope.auth),
            version,
            rotated: signs.rotated(),
            lease,
            lease_duration,
            life: signs.life(envelope.auth),
            body: SecretBytes::new(body.to_vec()),
        }))
    }

    /// The whole answer as JSON.
    pub fn to_json(&self) -> Value {
        serde_json::from_slice(self.body.expose()).unwrap_or_default()
    }

    /// Whether it brought a token.
    pub fn is_login(&self) -> bool {
        !self.auth.is_empty()
    }

    /// Whether templates would see the same.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let id = |answer: &Self| answer.lease.as_ref().map(|lease| lease.id.clone());
        let same = |mine: &Range<usize>, theirs: &Range<usize>| {
            let (mine, theirs) =
                (self.body.expose().get(mine.clone()), other.body.expose().get(theirs.clone()));
            mine == theirs
        };
        same(&self.data, &other.data) && same(&self.auth, &other.auth) && id(self) == id(other)
    }
}

impl Signs {
    fn rotated(&self) -> Option<String> {
        let rotated = self.last_vault_rotation.as_ref()?.as_str()?;
        // A user's data may hold anything under that name.
        rotated.parse::<Timestamp>().is_ok().then(|| rotated.to_owned())
    }

    fn life(&self, auth: Option<&RawValue>) -> Life {
        #[derive(Deserialize)]
        struct Auth {
            lease_duration: u64,
        }
        let auth = auth.and_then(|auth| serde_json::from_str::<Auth>(auth.get()).ok());
        if let Some(auth) = auth.filter(|auth| auth.lease_duration > 0) {
            return Life::Seconds(auth.lease_duration);
        }
        let expiration = number(self.expiration.as_ref()).and_then(|time| i64::try_from(time).ok());
        if let (Some(_), Some(until)) = (&self.certificate, expiration) {
            return Life::Certificate(until);
        }
        let positive = |value| number(value).filter(|seconds| *seconds > 0);
        if let (Some(_), Some(seconds)) = (&self.secret_id, positive(self.secret_id_ttl.as_ref())) {
            return Life::Seconds(seconds);
        }
        if (self.rotation_period.is_some() || self.rotation_schedule.is_some())
            && let Some(seconds) = number(self.ttl.as_ref())
        {
            return Life::Rotates(seconds);
        }
        Life::Unknown
    }
}

impl Metadata {
    fn is_gone(&self) -> bool {
        let deleted = self.deletion_time.as_ref().and_then(Value::as_str);
        deleted.is_some_and(|time| !time.is_empty())
            || self.destroyed.as_ref().and_then(Value::as_bool) == Some(true)
    }
}

fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("version", &self.version)
            .field("lease", &self.lease)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_how_long_they_hold() {
        let lease = |seconds, renewable| Some(Lease { id: "db/1".into(), seconds, renewable });
        for (body, version, held, life) in [
            (r#"{"data":{"data":{"a":1},"metadata":{"version":7}}}"#, Some(7), None, Life::Unknown),
            (
                r#"{"lease_id":"db/1","lease_duration":60,"renewable":true,"data":{"password":"x"}}"#,
                None,
                lease(60, true),
                Life::Unknown,
            ),
            (
                r#"{"data":{"certificate":"x","expiration":1800000000}}"#,
                None,
                None,
                Life::Certificate(1_800_000_000),
            ),
            (r#"{"data":{"secret_id":"x","secret_id_ttl":90}}"#, None, None, Life::Seconds(90)),
            (r#"{"data":{"rotation_period":60,"ttl":12}}"#, None, None, Life::Rotates(12)),
            (r#"{"data":null,"auth":{"lease_duration":30}}"#, None, None, Life::Seconds(30)),
            // What a user stores may be called the same.
            (r#"{"data":{"metadata":"mine","ttl":[]}}"#, None, None, Life::Unknown),
        ] {
            let answer = Answer::parse(body.as_bytes()).unwrap().expect(body);
            assert_eq!(
                (answer.version, answer.lease, answer.life),
                (version, held, life),
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_gone_is_not_there() {
        for body in [
            r#"{"data":{"data":null,"metadata":{"version":2,"deletion_time":"2026-01-01T00:00:00Z"}}}"#,
            r#"{"data":{"data":null,"metadata":{"version":2,"deletion_time":"","destroyed":true}}}"#,
            r#"{"data":null}"#,
            "{}",
        ] {
            assert_eq!(Answer::parse(body.as_bytes()), Ok(None), "{body}");
        }
        let error = Answer::parse(b"{\"data\": canary").unwrap_err();
        assert!(!error.contains("canary"), "{error}");
    }
}
