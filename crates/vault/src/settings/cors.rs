//! Cross-origin resource sharing: which web pages may ask this server from a browser.
//!
//! Source: <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::wire::{Outgoing, OutgoingBody};

/// Header fields that an allowed page may always send.
pub(crate) const STANDARD_HEADERS: [&str; 10] = [
    "Content-Type",
    "Authorization",
    "X-Vault-Token",
    "X-Vault-MFA",
    "X-Vault-No-Request-Forwarding",
    "X-Vault-Wrap-Format",
    "X-Vault-Wrap-TTL",
    "X-Requested-With",
    "X-Vault-AWS-IAM-Server-ID",
    "X-Vault-Policy-Override",
];
/// Methods that an allowed page may use.
const METHODS: [&str; 7] = ["DELETE", "GET", "OPTIONS", "POST", "PUT", "LIST", "SCAN"];
/// How long a browser may remember the answer to a preflight, in seconds.
const MAX_AGE: &str = "300";

/// The setting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Cors {
    pub enabled: bool,
    /// Or only `*`.
    pub origins: Vec<String>,
    /// Besides [`STANDARD_HEADERS`].
    pub headers: Vec<String>,
    pub credentials: bool,
}

/// What becomes of a request.
pub(crate) enum CorsVerdict {
    /// It goes on; the answer carries these header fields.
    Pass(Vec<(&'static str, String)>),
    /// It ends here.
    Answer(Outgoing),
}

impl Cors {
    /// Judges a request that is no preflight. `headers` are by lower-case name.
    pub(crate) fn judge(&self, headers: &BTreeMap<String, String>) -> CorsVerdict {
        let Some(origin) = self.asked_by(headers) else { return CorsVerdict::Pass(Vec::new()) };
        if self.allows(origin) {
            CorsVerdict::Pass(self.granted(origin))
        } else {
            CorsVerdict::Answer(Outgoing::errors(403, ["origin not allowed"]))
        }
    }

    /// The answer to `OPTIONS`; none where it has nothing to do with this.
    pub(crate) fn preflight(&self, headers: &BTreeMap<String, String>) -> Option<Outgoing> {
        let origin = self.asked_by(headers)?;
        if !self.allows(origin) {
            return Some(Outgoing::errors(403, ["origin not allowed"]));
        }
        let method = headers.get("access-control-request-method");
        if !method.is_some_and(|method| METHODS.contains(&method.as_str())) {
            return Some(Outgoing { status: 405, body: OutgoingBody::Empty, headers: Vec::new() });
        }
        let own = self.headers.iter().map(String::as_str);
        let allowed: Vec<_> = STANDARD_HEADERS.into_iter().chain(own).collect();
        let mut granted = self.granted(origin);
        granted.push(("access-control-allow-headers", allowed.join(",")));
        granted.push(("access-control-allow-methods", METHODS.join(",")));
        granted.push(("access-control-max-age", MAX_AGE.to_owned()));
        Some(Outgoing { status: 200, body: OutgoingBody::Empty, headers: granted })
    }

    /// The page that asks, where that matters.
    fn asked_by<'h>(&self, headers: &'h BTreeMap<String, String>) -> Option<&'h str> {
        let origin = headers.get("origin").map(String::as_str)?;
        (self.enabled && !origin.is_empty()).then_some(origin)
    }

    fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    }

    fn granted(&self, origin: &str) -> Vec<(&'static str, String)> {
        let mut granted = vec![
            ("access-control-allow-origin", origin.to_owned()),
            // Caches must not show one page what another was allowed.
            ("vary", "Origin".to_owned()),
        ];
        if self.credentials {
            granted.push(("access-control-allow-credentials", "true".to_owned()));
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn only_named_origins_pass() {
        let one = Cors { enabled: true, origins: vec!["http://a".to_owned()], ..Cors::default() };
        let any = Cors { origins: vec!["*".to_owned()], ..one.clone() };
        let off = Cors { enabled: false, ..any.clone() };
        for (cors, origin, want) in [
            (&one, Some("http://a"), Some(true)),
            (&one, Some("http://b"), None),
            (&one, Some("HTTP://A"), None),
            (&one, Some("http://a.evil"), None),
            (&one, None, Some(false)),
            (&any, Some("http://b"), Some(true)),
            (&off, Some("http://b"), Some(false)),
        ] {
            let asked: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
            let got = match cors.judge(&headers(&asked)) {
                CorsVerdict::Pass(granted) => Some(!granted.is_empty()),
                CorsVerdict::Answer(refused) => {
                    assert_eq!(refused.status, 403);
                    None
                }
            };
            assert_eq!(got, want, "{origin:?}");
        }
    }

    #[test]
    fn a_preflight_is_answered_for_known_methods() {
        let cors = Cors { enabled: true, origins: vec!["*".to_owned()], ..Cors::default() };
        for (method, want) in
            [(Some("LIST"), 200), (Some("PATCH"), 405), (Some("get"), 405), (None, 405)]
        {
            let mut asked = vec![("origin", "http://a")];
            asked.extend(method.map(|method| ("access-control-request-method", method)));
            let answer = cors.preflight(&headers(&asked)).unwrap();
            assert_eq!(answer.status, want, "{method:?}");
        }
        assert!(cors.preflight(&headers(&[])).is_none());
    }
}
