//! Where a server is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::Url;

/// Where a server listens: `http://host:port`, `https://host:port`, each with an optional path
/// before `/v1`, or `unix:///path/of/socket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    base: Url,
    socket: Option<PathBuf>,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither a URL nor the path of a socket.
    #[error("{0:?} is not an address: write http://host:port, https://host:port or unix:///path")]
    Invalid(String),
    /// A URL with a name or password in it, which would end up in logs.
    #[error("an address must not hold a user name or password")]
    Credentials,
    /// A path that a server would refuse, or take for another one.
    #[error("path {0:?} has a segment \".\" or \"..\", or a control character")]
    Path(String),
}

/// What a path segment cannot hold as it is. `/` stays: it separates the segments.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

impl Address {
    /// The socket, where this is one.
    pub fn socket(&self) -> Option<&PathBuf> {
        self.socket.as_ref()
    }

    /// The host that is dialled; `localhost` for a socket. IPv6 addresses stand without brackets.
    pub fn host(&self) -> &str {
        let host = self.base.host_str().unwrap_or_default();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// What stands before `/v1/` in every URL.
    pub(super) fn base_text(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The URL of `path` below `/v1/`. As in the official client, empty segments vanish: `a//b/`
    /// is `a/b`.
    ///
    /// # Errors
    /// A segment `.` or `..`, which a URL cannot carry unchanged, or a control character.
    pub(crate) fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, AddressError> {
        let mut full = self.base.path().trim_end_matches('/').to_owned();
        full.push_str("/v1");
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            if matches!(segment, "." | "..") || segment.chars().any(char::is_control) {
                return Err(AddressError::Path(path.to_owned()));
            }
            full.push('/');
            full.extend(utf8_percent_encode(segment, SEGMENT));
        }
        let mut url = self.base.clone();
        url.set_path(&full);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let invalid = || AddressError::Invalid(text.to_owned());
        let (url, socket) = match text.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => ("http://localhost", Some(PathBuf::from(path))),
            Some(_) => return Err(invalid()),
            None => (text, None),
        };
        let base = Url::parse(url).map_err(|_| invalid())?;
        if !matches!(base.scheme(), "http" | "https") || base.query().is_some() {
            return Err(invalid());
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(AddressError::Credentials);
        }
        Ok(Self { base, socket })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix://{}", path.display()),
            None => f.write_str(self.base.as_str().trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_a_socket() {
        for (text, want) in [
            ("http://127.0.0.1:8200", Some("http://127.0.0.1:8200")),
            ("https://vault.local/", Some("https://vault.local")),
            ("https://[::1]:8200/prefix/", Some("https://[::1]:8200/prefix")),
            ("unix:///run/holdfast/vault.sock", Some("unix:///run/holdfast/vault.sock")),
            ("unix://relative.sock", None),
            ("127.0.0.1:8200", None),
            ("ftp://vault.local", None),
            ("https://root@vault.local", None),
            ("https://vault.local/?x=1", None),
            ("", None),
        ] {
            let got = text.parse::<Address>().ok().map(|address| address.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn paths_are_escaped_and_cannot_climb() {
        let address: Address = "https://vault.local/pre/".parse().unwrap();
        for (path, want) in [
            ("kv/data/app", Some("/pre/v1/kv/data/app")),
            ("/kv//data/app/", Some("/pre/v1/kv/data/app")),
            ("kv/a b?c#d%2e", Some("/pre/v1/kv/a%20b%3Fc%23d%252e")),
            ("kv/\u{e4}", Some("/pre/v1/kv/%C3%A4")),
            ("auth/../sys", None),
            ("kv/.", None),
            ("kv/a\nb", None),
        ] {
            let got = address.url(path, &[]).ok().map(|url| url.path().to_owned());
            assert_eq!(got.as_deref(), want, "{path}");
        }
    }

    #[test]
    fn a_query_is_escaped() {
        let address: Address = "unix:///run/vault.sock".parse().unwrap();
        let url = address.url("kv/app", &[("list", "true"), ("prefix", "a&b")]).unwrap();
        assert_eq!(url.as_str(), "http://localhost/v1/kv/app?list=true&prefix=a%26b");
    }
}
