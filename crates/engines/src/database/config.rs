//! `config/<name>`: how a database is reached, and which roles may use it.

use std::time::Duration;

use holdfast_logical::{Context, Error, Fields, Request, Response};
use holdfast_types::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::dsn;
use super::error::{DatabaseError, chain};
use super::statements::misplaced_password;
use super::username::UsernameTemplate;

/// The one plugin there is.
const PLUGIN: &str = "postgresql-database-plugin";
/// OpenBao's.
const DEFAULT_OPEN_CONNECTIONS: i64 = 4;
/// More connections than this to administer users help nobody.
const MOST_OPEN_CONNECTIONS: i64 = 64;

/// The settings of a connection that are shown again as they were given.
const DETAILS: [&str; 10] = [
    "connection_url",
    "username",
    "username_template",
    "max_open_connections",
    "max_idle_connections",
    "max_connection_lifetime",
    "tls_ca",
    "tls_certificate",
    "disable_escaping",
    "password_authentication",
];

/// Fields that may go unread: not every plugin or write has a use for them.
const KNOWN: &[&str] = &[
    "plugin_name",
    "plugin_version",
    "allowed_roles",
    "root_rotation_statements",
    "password_policy",
    "verify_connection",
    "password",
    "private_key",
];

/// A config as it is stored. Read the settings by the methods: `details` was checked when it was
/// written.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Config {
    /// Another one at each write: connections of an older one are not used any more.
    pub(crate) revision: String,
    plugin_name: String,
    #[serde(default)]
    plugin_version: String,
    allowed_roles: Vec<String>,
    pub(crate) root_rotation_statements: Vec<String>,
    /// Empty: passwords are of 32 characters.
    #[serde(default)]
    pub(crate) password_policy: String,
    details: Map<String, Value>,
    pub(crate) password: Option<SecretString>,
    pub(crate) private_key: Option<SecretString>,
}

/// What a write asks for besides what is stored.
pub(crate) struct Written {
    pub(crate) config: Config,
    /// Whether to connect before anything is stored.
    pub(crate) verify: bool,
    pub(crate) warnings: Vec<String>,
}

impl Config {
    /// What `request` makes of the config that is there, if one is. Nothing is connected to yet.
    pub(crate) fn written(
        context: &Context,
        old: Option<Self>,
        request: &Request,
    ) -> Result<Written, Error> {
        let fields = request.fields();
        let mut config = old.unwrap_or_else(|| Self {
            revision: String::new(),
            plugin_name: String::new(),
            plugin_version: String::new(),
            allowed_roles: Vec::new(),
            root_rotation_statements: Vec::new(),
            password_policy: String::new(),
            details: Map::new(),
            password: None,
            private_key: None,
        });
        config.revision = context.random.uuid();
        if let Some(name) = fields.string("plugin_name")? {
            config.plugin_name = name;
        }
        if config.plugin_name.is_empty() {
            return Err(Error::invalid("empty plugin name"));
        }
        let version = match fields.string("plugin_version")?.unwrap_or_default().as_str() {
            "" => None,
            version => Some(canonical_version(version)?),
        };
        match (config.plugin_name.as_str(), version) {
            (PLUGIN, None) => {}
            (other, version) => return Err(no_plugin(other, version.as_deref())),
        }
        if let Some(roles) = fields.strings("allowed_roles")? {
            config.allowed_roles = roles;
        }
        if let Some(statements) = statement_list(fields, "root_rotation_statements")? {
            config.root_rotation_statements = statements;
        }
        if let Some(policy) = fields.string("password_policy")? {
            config.password_policy = policy;
        }
        if let Some(password) = fields.string("password")? {
            config.password = Some(SecretString::new(password));
        }
        if let Some(key) = fields.string("private_key")? {
            config.private_key =
                Some(SecretString::new(key)).filter(|key| !key.expose().is_empty());
        }
        for name in DETAILS {
            if let Some(value) = fields.value(name) {
                config.details.insert(name.to_owned(), value.clone());
            }
        }
        config.check()?;

        let mut warnings = Vec::new();
        if dsn::masked(config.connection_url()).is_some() {
            warnings.push(
                "Password found in connection_url, use a templated url to enable root rotation \
                 and prevent read access to password information."
                    .to_owned(),
            );
        }
        if config.details.get("password_authentication").is_some_and(|kind| kind == "password") {
            warnings.push(
                "password_authentication is scram-sha-256: no password is ever sent in clear text"
                    .to_owned(),
            );
        }
        fields.in_path(&["name"]).known(KNOWN);
        let verify = fields.bool("verify_connection")?.unwrap_or(true);
        Ok(Written { config, verify, warnings })
    }

    /// Checks each setting, so that the methods that read them cannot fail.
    fn check(&self) -> Result<(), Error> {
        let fields = Fields::new(&self.details);
        for name in ["connection_url", "username", "username_template", "tls_ca", "tls_certificate"]
        {
            fields.string(name).map_err(|error| refused(&error.to_string()))?;
        }
        for name in ["max_open_connections", "max_idle_connections"] {
            if fields.integer(name).is_err() {
                return Err(undecodable(name, "int", "ParseInt"));
            }
        }
        if fields.bool("disable_escaping").is_err() {
            return Err(undecodable("disable_escaping", "bool", "ParseBool"));
        }
        fields.duration("max_connection_lifetime").map_err(|error| {
            let problem = error.to_string();
            let problem = problem.rsplit("lifetime\": ").next().unwrap_or_default();
            refused(&format!("invalid max_connection_lifetime: {problem}"))
        })?;
        let kind = fields
            .string("password_authentication")
            .map_err(|error| refused(&error.to_string()))?;
        if let Some(kind) = kind
            && !matches!(kind.as_str(), "" | "password" | "scram-sha-256")
        {
            let problem = format!("'{kind}' is not a valid password authentication type");
            return Err(refused(&problem));
        }
        for statement in &self.root_rotation_statements {
            if let Some(problem) = misplaced_password(statement) {
                return Err(Error::invalid(format!("root_rotation_statements: {problem}")));
            }
        }
        Ok(())
    }

    /// The answer to a read: everything but the secrets.
    pub(crate) fn response(&self) -> Response {
        let mut details = self.details.clone();
        if let Some(masked) = dsn::masked(self.connection_url()) {
            details.insert("connection_url".to_owned(), masked.into());
        }
        Response::data(json!({
            "allowed_roles": self.allowed_roles,
            "connection_details": details,
            "password_policy": self.password_policy,
            "plugin_name": self.plugin_name,
            "plugin_version": self.plugin_version,
            "root_credentials_rotate_statements": self.root_rotation_statements,
        }))
    }

    /// Whether `role` may use it: it is named, or matches a pattern with `*`.
    pub(crate) fn allows(&self, role: &str) -> bool {
        self.allowed_roles.iter().any(|pattern| matches(pattern, role))
    }

    fn text(&self, name: &str) -> &str {
        self.details.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn connection_url(&self) -> &str {
        self.text("connection_url")
    }

    pub(crate) fn username(&self) -> &str {
        self.text("username")
    }

    pub(crate) fn tls_ca(&self) -> Option<&str> {
        Some(self.text("tls_ca"))
    }

    pub(crate) fn tls_certificate(&self) -> Option<&str> {
        Some(self.text("tls_certificate"))
    }

    pub(crate) fn username_template(&self) -> Result<UsernameTemplate, DatabaseError> {
        Ok(UsernameTemplate::parse(self.text("username_template"))?)
    }

    pub(crate) fn disable_escaping(&self) -> bool {
        let fields = Fields::new(&self.details);
        fields.bool("disable_escaping").ok().flatten().unwrap_or_default()
    }

    /// Between 1 and 64.
    pub(crate) fn max_open_connections(&self) -> usize {
        let fields = Fields::new(&self.details);
        let wanted = fields.integer("max_open_connections").ok().flatten();
        let wanted = wanted.filter(|wanted| *wanted > 0).unwrap_or(DEFAULT_OPEN_CONNECTIONS);
        wanted.min(MOST_OPEN_CONNECTIONS) as usize
    }

    /// None: as many as may be open.
    pub(crate) fn max_idle_connections(&self) -> Option<usize> {
        let wanted = Fields::new(&self.details).integer("max_idle_connections").ok().flatten();
        match wanted {
            None | Some(0) => None,
            // A negative number means that none is kept.
            Some(wanted) => Some(usize::try_from(wanted).unwrap_or(0)),
        }
    }

    /// None: without end.
    pub(crate) fn max_connection_lifetime(&self) -> Option<Duration> {
        let wanted = Fields::new(&self.details).duration("max_connection_lifetime").ok().flatten();
        wanted.filter(|wanted| !wanted.is_zero())
    }
}

/// A list of statements. Unlike other lists, text is one statement: commas are part of SQL.
pub(crate) fn statement_list(fields: Fields<'_>, name: &str) -> Result<Option<Vec<String>>, Error> {
    let statements = match fields.value(name) {
        Some(Value::String(statement)) => Some(vec![statement.clone()]),
        _ => fields.strings(name).map_err(|error| match error {
            Error::Invalid(message) => Error::Invalid(message.replace(
                "1 error(s) decoding:\n\n* ",
                "decoding failed due to the following error(s):\n\n",
            )),
            other => other,
        })?,
    };
    Ok(statements.map(|list| list.into_iter().filter(|text| !text.trim().is_empty()).collect()))
}

/// A version as the catalog writes it: `v1` is `v1.0.0`.
fn canonical_version(text: &str) -> Result<String, Error> {
    let digits = text.strip_prefix('v').unwrap_or(text);
    let end = digits.find(['-', '+']).unwrap_or(digits.len());
    let (numbers, rest) = digits.split_at(end);
    let mut numbers: Vec<&str> = numbers.split('.').collect();
    let is_number = |text: &&str| text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty();
    if numbers.len() > 3 || !numbers.iter().all(is_number) {
        return Err(Error::invalid(format!(
            "version {text:?} is not a valid semantic version: malformed version: {text}"
        )));
    }
    numbers.resize(3, "0");
    Ok(format!("v{}{rest}", numbers.join(".")))
}

/// There is one plugin, in one version, which needs no name.
fn no_plugin(name: &str, version: Option<&str>) -> Error {
    let version = version.map(|version| format!(", version={version}")).unwrap_or_default();
    let problem = format!("\t* plugin not found in the catalog: {name}{version}\n").repeat(2);
    refused(&format!("invalid database version: 2 errors occurred:\n{problem}\n"))
}

/// A 400 in OpenBao's words.
pub(crate) fn refused(problem: &str) -> Error {
    Error::invalid(format!("error creating database object: {problem}"))
}

/// The same for an error with all its causes.
pub(crate) fn refused_by(error: impl Into<DatabaseError>) -> Error {
    refused(&chain(&error.into()))
}

fn undecodable(name: &str, kind: &str, parser: &str) -> Error {
    refused(&format!(
        "decoding failed due to the following error(s):\n\n'{name}' cannot parse value as \
         '{kind}': strconv.{parser}: invalid syntax"
    ))
}

/// Whether `text` is `pattern`, where each `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, mut pattern)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    while let Some((middle, rest)) = pattern.split_once('*') {
        let Some(at) = text.find(middle) else { return false };
        text = &text[at + middle.len()..];
        pattern = rest;
    }
    text.ends_with(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_allowed_by_name_or_pattern() {
        for (pattern, role, want) in [
            ("app", "app", true),
            ("app", "apps", false),
            ("*", "anything", true),
            ("web-*", "web-1", true),
            ("web-*", "1-web-1", false),
            ("*-web", "my-web", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("", "app", false),
        ] {
            assert_eq!(matches(pattern, role), want, "{pattern} {role}");
        }
    }
}
