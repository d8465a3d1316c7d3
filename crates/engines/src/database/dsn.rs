//! Connection strings, as URLs and as `key=value` pairs.
//!
//! tokio-postgres has a parser, but it knows neither `verify-full` nor the files that go with it,
//! and the user and password of a config are put in by template.

use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, SslMode, TargetSessionAttrs};
use zeroize::Zeroizing;

/// What a connection string says.
pub(crate) struct Dsn {
    /// For tokio-postgres; `ssl_mode` is set to match `security`.
    pub(crate) config: tokio_postgres::Config,
    /// How the wire is protected.
    pub(crate) security: Security,
    /// `sslrootcert`, `sslcert`, `sslkey`: files.
    pub(crate) root_file: Option<String>,
    pub(crate) certificate_file: Option<String>,
    pub(crate) key_file: Option<String>,
}

/// `sslmode`, as libpq defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    /// Clear text. Also what a Unix socket has.
    Disable,
    /// Encrypted, to whoever answers; to the holder of a certificate from the root, where one is
    /// given.
    Require,
    /// The certificate comes from the root.
    VerifyCa,
    /// And it is the named host's.
    VerifyFull,
}

/// What is wrong with a connection string. Holds no part of it that can be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DsnError {
    #[error("connection_url cannot be empty")]
    Empty,
    #[error("cannot parse connection url: {0}")]
    Malformed(&'static str),
    #[error("cannot parse connection url: {0} is invalid")]
    Value(&'static str),
    #[error("cannot parse connection url: unknown parameter {0:?}")]
    Unknown(String),
    #[error(
        "cannot parse connection url: sslmode={0} falls back to clear text: name disable, require, \
         verify-ca or verify-full"
    )]
    Fallback(String),
}

/// Who connects: put in place of `{{username}}` and `{{password}}`.
#[derive(Default, Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
    /// The values are part of a URL already, with their own escapes: `disable_escaping`.
    pub(crate) escaped: bool,
}

impl Dsn {
    /// Reads a connection string.
    ///
    /// The placeholders are replaced after it is taken apart, so that no character of a password
    /// can mean anything; with `disable_escaping` a URL has them replaced before.
    pub(crate) fn parse(text: &str, login: Login<'_>) -> Result<Self, DsnError> {
        if text.trim().is_empty() {
            return Err(DsnError::Empty);
        }
        let pairs = match scheme_cut(text) {
            Some(rest) if login.escaped => url_pairs(&Zeroizing::new(login.put_into(rest)))?,
            Some(rest) => url_pairs(rest)?,
            None => keyword_pairs(text)?,
        };
        let mut builder = Builder::default();
        for (key, value) in &pairs {
            let value = Zeroizing::new(login.put_into(value));
            builder.set(key, &value)?;
        }
        builder.build()
    }
}

impl Login<'_> {
    fn put_into(&self, text: &str) -> String {
        text.replace("{{username}}", self.username).replace("{{password}}", self.password)
    }
}

/// `text` with its password, if it has one that is no placeholder, as `xxxxx`. None if it has not.
pub(crate) fn masked(text: &str) -> Option<String> {
    let secret = |value: &str| !value.is_empty() && !value.contains("{{password}}");
    let Some(rest) = scheme_cut(text) else {
        let pairs = keyword_pairs(text).ok()?;
        if !pairs.iter().any(|(key, value)| is_secret(key) && secret(value)) {
            return None;
        }
        let shown = pairs.iter().map(|(key, value)| {
            let value = if is_secret(key) && secret(value) { "xxxxx" } else { value };
            format!("{key}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
        });
        return Some(shown.collect::<Vec<_>>().join(" "));
    };
    let scheme = &text[..text.len() - rest.len()];
    let (address, query) = rest.split_once('?').map_or((rest, None), |(a, q)| (a, Some(q)));
    let mut found = false;
    let address = match address.rsplit_once('@') {
        Some((userinfo, host)) => match userinfo.split_once(':') {
            Some((user, password)) if secret(password) => {
                found = true;
                format!("{user}:xxxxx@{host}")
            }
            _ => address.to_owned(),
        },
        None => address.to_owned(),
    };
    let query = query.map(|query| {
        let shown = query.split('&').map(|pair| match pair.split_once('=') {
            Some((key, value)) if is_secret(key) && secret(value) => {
                found = true;
                format!("{key}=xxxxx")
            }
            _ => pair.to_owned(),
        });
        format!("?{}", shown.collect::<Vec<_>>().join("&"))
    });
    found.then(|| format!("{scheme}{address}{}", query.unwrap_or_default()))
}

fn is_secret(key: &str) -> bool {
    matches!(key, "password" | "sslpassword")
}

/// What follows the scheme of a URL.
fn scheme_cut(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

type Pairs = Vec<(String, Zeroizing<String>)>;

/// `user:password@host:port,host:port/database?key=value&...`
fn url_pairs(rest: &str) -> Result<Pairs, DsnError> {
    let mut pairs = Pairs::new();
    let mut push = |key: &str, value: &str| -> Result<(), DsnError> {
        pairs.push((unescape(key)?.to_string(), unescape(value)?));
        Ok(())
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    // An unescaped `/` in the password would otherwise end the address; the last `@` cannot.
    let (userinfo, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (addresses, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    for (key, value) in [("user", user), ("password", password), ("dbname", database)] {
        if !value.is_empty() {
            push(key, value)?;
        }
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for address in addresses.split(',').filter(|address| !address.is_empty()) {
        let (host, port) = match address.strip_prefix('[') {
            Some(bracketed) => {
                let (host, port) = bracketed
                    .split_once(']')
                    .ok_or(DsnError::Malformed("missing ']' in address"))?;
                (host, port.strip_prefix(':'))
            }
            None => match address.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        hosts.push(host);
        ports.push(port.unwrap_or("5432"));
    }
    if !hosts.is_empty() {
        push("host", &hosts.join(","))?;
        push("port", &ports.join(","))?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) =
            pair.split_once('=').ok_or(DsnError::Malformed("a parameter has no value"))?;
        push(key, value)?;
    }
    Ok(pairs)
}

fn unescape(text: &str) -> Result<Zeroizing<String>, DsnError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |index: usize| after.get(index).and_then(|b| char::from(*b).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(DsnError::Malformed("invalid percent-escape"));
        };
        bytes.push((high * 16 + low) as u8);
        rest = &after[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| DsnError::Malformed("not UTF-8"))?;
    Ok(Zeroizing::new(text))
}

/// `key = value key='a value with \' and \\'`
fn keyword_pairs(text: &str) -> Result<Pairs, DsnError> {
    let mut pairs = Pairs::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) =
            rest.split_once('=').ok_or(DsnError::Malformed("missing '=' after a parameter"))?;
        let key = key.trim_end();
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(DsnError::Malformed("missing '=' after a parameter"));
        }
        let mut value = Zeroizing::new(String::new());
        let mut characters = after.trim_start().chars();
        let quoted = characters.as_str().starts_with('\'');
        if quoted {
            characters.next();
        }
        loop {
            match characters.next() {
                None if quoted => return Err(DsnError::Malformed("unterminated quote")),
                Some('\\') => {
                    let escaped = characters.next();
                    value.push(escaped.ok_or(DsnError::Malformed("ends in a backslash"))?);
                }
                Some('\'') if quoted => break,
                Some(blank) if !quoted && blank.is_whitespace() => break,
                None => break,
                Some(character) => value.push(character),
            }
        }
        pairs.push((key.to_owned(), value));
        rest = characters.as_str().trim_start();
    }
    Ok(pairs)
}

#[derive(Default)]
struct Builder {
    config: tokio_postgres::Config,
    hosts: Vec<String>,
    has_address: bool,
    sslmode: Option<Security>,
    root_file: Option<String>,
    certificate_file: Option<String>,
    key_file: Option<String>,
}

impl Builder {
    fn set(&mut self, key: &str, value: &str) -> Result<(), DsnError> {
        let seconds = |key: &'static str| -> Result<Duration, DsnError> {
            value.parse().map(Duration::from_secs).map_err(|_| DsnError::Value(key))
        };
        let file = || Some(value.to_owned());
        match key {
            "user" => drop(self.config.user(value)),
            "password" => drop(self.config.password(value)),
            "dbname" => drop(self.config.dbname(value)),
            "host" => self.hosts = value.split(',').map(str::to_owned).collect(),
            "hostaddr" => {
                for address in value.split(',') {
                    let address = address.parse().map_err(|_| DsnError::Value("hostaddr"))?;
                    self.config.hostaddr(address);
                    self.has_address = true;
                }
            }
            "port" => {
                for port in value.split(',') {
                    let port = if port.is_empty() { "5432" } else { port };
                    self.config.port(port.parse().map_err(|_| DsnError::Value("port"))?);
                }
            }
            "sslmode" => {
                self.sslmode = Some(match value {
                    "disable" => Security::Disable,
                    "require" => Security::Require,
                    "verify-ca" => Security::VerifyCa,
                    "verify-full" => Security::VerifyFull,
                    "allow" | "prefer" => return Err(DsnError::Fallback(value.to_owned())),
                    _ => return Err(DsnError::Value("sslmode")),
                });
            }
            "sslrootcert" => self.root_file = file(),
            "sslcert" => self.certificate_file = file(),
            "sslkey" => self.key_file = file(),
            "application_name" => drop(self.config.application_name(value)),
            "options" => drop(self.config.options(value)),
            "connect_timeout" => drop(self.config.connect_timeout(seconds("connect_timeout")?)),
            "keepalives_idle" => drop(self.config.keepalives_idle(seconds("keepalives_idle")?)),
            "keepalives" => drop(self.config.keepalives(value != "0")),
            "target_session_attrs" => {
                let wanted = match value {
                    "any" => TargetSessionAttrs::Any,
                    "read-write" => TargetSessionAttrs::ReadWrite,
                    _ => return Err(DsnError::Value("target_session_attrs")),
                };
                self.config.target_session_attrs(wanted);
            }
            "channel_binding" => {
                let binding = match value {
                    "disable" => ChannelBinding::Disable,
                    "prefer" => ChannelBinding::Prefer,
                    "require" => ChannelBinding::Require,
                    _ => return Err(DsnError::Value("channel_binding")),
                };
                self.config.channel_binding(binding);
            }
            _ => return Err(DsnError::Unknown(key.to_owned())),
        }
        Ok(())
    }

    fn build(mut self) -> Result<Dsn, DsnError> {
        if self.hosts.is_empty() && !self.has_address {
            return Err(DsnError::Malformed("it names no host"));
        }
        let on_socket = self.hosts.iter().all(|host| host.starts_with('/')) && !self.has_address;
        for host in &self.hosts {
            self.config.host(host);
        }
        let security = match self.sslmode {
            // PostgreSQL has no TLS on Unix sockets.
            _ if on_socket => Security::Disable,
            Some(mode) => mode,
            // Not libpq's "prefer", which anybody on the way can turn into clear text.
            None if self.root_file.is_some() => Security::VerifyFull,
            None => Security::Require,
        };
        self.config.ssl_mode(match security {
            Security::Disable => SslMode::Disable,
            _ => SslMode::Require,
        });
        if self.config.get_application_name().is_none() {
            self.config.application_name("holdfast");
        }
        Ok(Dsn {
            config: self.config,
            security,
            root_file: self.root_file,
            certificate_file: self.certificate_file,
            key_file: self.key_file,
        })
    }
}

#[cfg(test)]
mod tests;
