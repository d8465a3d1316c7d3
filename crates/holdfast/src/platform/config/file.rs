//! `holdfast.toml` as the operator wrote it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use holdfast_types::SpiffeId;
use serde::Deserialize;

use super::problems::ConfigError;
use super::service::{ServiceFile, check_order};
use super::{
    Database, Deliveries, Engine, HbaRule, Platform, Postgres, Problems, Spiffe, Tier, Vault,
};

/// `holdfast.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PlatformFile {
    /// What the platform is called. Default: the name of its directory.
    name: Option<String>,
    /// The SPIFFE trust domain, such as `demo.local`. Required.
    trust_domain: Option<String>,
    /// Under which services are reached. Default: `localhost`.
    domain: Option<String>,
    /// `laptop`, `server` or `cluster`. Default: `laptop`.
    tier: Option<Tier>,
    vault: VaultFile,
    spiffe: SpiffeFile,
    /// Absent when the platform has no PostgreSQL of its own.
    postgres: Option<PostgresFile>,
    services: BTreeMap<String, ServiceFile>,
}

/// `[spiffe]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SpiffeFile {
    /// The namespace that services are in: a part of their SPIFFE IDs. Default: `default`.
    namespace: Option<String>,
    /// Where others read the trust domain's bundle and the keys of its tokens. Port 0 takes a free one
    /// and keeps it. Default: `127.0.0.1:0`.
    listen: Option<SocketAddr>,
    /// Where services find the Workload API, such as `/run/spire/sockets/agent.sock`. Default: a
    /// path of this platform's own, which services are told.
    socket: Option<PathBuf>,
    /// The SPIFFE IDs of the services that may ask the agent for other services' identities.
    authorized_delegates: Vec<String>,
}

/// `[vault]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct VaultFile {
    /// `embedded`, `managed` or `external`. Default: `embedded`.
    engine: EngineWord,
    /// Where a supervised server listens. Port 0 takes a free one. Default: `127.0.0.1:8200`.
    listen: Option<SocketAddr>,
    /// Names beside localhost for its certificate.
    names: Vec<String>,
    /// Managed: the `bao` to run. Default: the one on `PATH`.
    binary: Option<PathBuf>,
    /// External: its URL.
    address: Option<String>,
    /// External: the certificates to trust instead of the system's.
    ca_file: Option<PathBuf>,
    /// External: holds the token to apply with.
    token_file: Option<PathBuf>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EngineWord {
    #[default]
    Embedded,
    Managed,
    External,
}

/// `[postgres]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PostgresFile {
    /// Port 0 takes a free one. Default: `127.0.0.1:5432`.
    listen: Option<SocketAddr>,
    /// Names beside localhost for its certificate.
    names: Vec<String>,
    databases: BTreeMap<String, DatabaseFile>,
    /// Who else may connect; the members of a database's group always may, from this machine.
    rules: Vec<HbaRule>,
    /// Settings of `postgresql.conf`.
    settings: BTreeMap<String, String>,
}

/// `[postgres.databases.<name>]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DatabaseFile {
    /// Owns its objects. Default: `<name>_owner`.
    owner: Option<String>,
    /// Short-lived users are its members. Default: `<name>_app`.
    group: Option<String>,
}

impl PlatformFile {
    /// Parses `text`, which stood in the file at `path`.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::from_toml(path, text, &error))
    }

    /// What the services are given, each with the policies of its login, and what is wrong with that.
    pub(super) fn deliveries(
        &self,
        directory: &Path,
        path: &Path,
        text: &str,
    ) -> (Deliveries, Result<(), ConfigError>) {
        let mut problems = Problems::default();
        let services = self.services.iter().map(|(name, file)| {
            let key = format!("services.{name}");
            let policies = file.policies(name, directory, &key, &mut problems);
            let delivery = file.delivery(directory, &key, &mut problems);
            (policies.unwrap_or_default(), delivery)
        });
        let services = services.collect();
        (services, problems.into_result(path, text))
    }

    /// Completes and checks what was written.
    ///
    /// # Errors
    /// Every problem of the file together.
    pub(super) fn resolve(
        self,
        directory: &Path,
        path: &Path,
        text: &str,
    ) -> Result<Platform, ConfigError> {
        let mut problems = Problems::default();
        let directory_name = || Some(directory.file_name()?.to_str()?.to_owned());
        let name = self.name.or_else(directory_name).unwrap_or_default();
        if !is_name(&name, '-') {
            problems.add("name", "must be 1 to 32 of a-z 0-9 -, starting with a letter");
        }
        let trust_domain = self.trust_domain.unwrap_or_default();
        if !is_trust_domain(&trust_domain) {
            problems.add("trust_domain", "must be 1 to 255 of a-z 0-9 . - _, such as demo.local");
        }
        let domain = self.domain.unwrap_or_else(|| "localhost".to_owned());
        check_names("domain", std::slice::from_ref(&domain), &mut problems);

        let vault = self.vault.resolve(directory, &mut problems);
        let spiffe = self.spiffe.resolve(&trust_domain, &mut problems);
        let postgres = self.postgres.map(|file| file.resolve(&mut problems));
        let mut parts = vec!["vault".to_owned()];
        parts.extend(postgres.is_some().then(|| "postgres".to_owned()));
        parts.extend(self.services.keys().cloned());
        let services = self.services.into_iter().map(|(name, file)| {
            let service = file.resolve(&name, directory, &parts, &mut problems);
            (name, service)
        });
        let services = services.collect();
        check_order(&services, &mut problems);
        problems.into_result(path, text)?;
        let directory = directory.to_owned();
        let tier = self.tier.unwrap_or(Tier::Laptop);
        Ok(Platform {
            directory,
            name,
            trust_domain,
            domain,
            tier,
            vault,
            spiffe,
            postgres,
            services,
        })
    }
}

impl SpiffeFile {
    fn resolve(self, trust_domain: &str, problems: &mut Problems) -> Spiffe {
        let namespace = self.namespace.unwrap_or_else(|| "default".to_owned());
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_ended = |c: Option<char>| c.is_some_and(|c| c != '-' && plain(c));
        let ends = is_ended(namespace.chars().next()) && is_ended(namespace.chars().next_back());
        if !ends || namespace.len() > 63 || !namespace.chars().all(plain) {
            let problem = "must be 1 to 63 of a-z 0-9 -, with no hyphen at either end";
            problems.add("spiffe.namespace", problem);
        }
        // What the kernel can name, with the zero at its end.
        let is_fit = |path: &PathBuf| path.is_absolute() && path.as_os_str().len() < 108;
        if self.socket.as_ref().is_some_and(|path| !is_fit(path)) {
            problems.add("spiffe.socket", "must be an absolute path of at most 107 bytes");
        }
        let listen = self.listen.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        // The issuer of its tokens is on localhost.
        let is_local = match listen.ip() {
            IpAddr::V4(ip) => [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED].contains(&ip),
            IpAddr::V6(ip) => [Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED].contains(&ip),
        };
        if !is_local {
            problems.add("spiffe.listen", "must be 127.0.0.1 or, for all addresses, 0.0.0.0");
        }
        let mut authorized_delegates = Vec::new();
        for (index, text) in self.authorized_delegates.iter().enumerate() {
            match SpiffeId::parse(text) {
                Ok(id) if id.trust_domain() == trust_domain => authorized_delegates.push(id),
                _ => problems.add(
                    format!("spiffe.authorized_delegates.{index}"),
                    format!("must be a SPIFFE ID of {trust_domain}"),
                ),
            }
        }
        Spiffe { namespace, listen, socket: self.socket, authorized_delegates }
    }
}

impl VaultFile {
    fn resolve(self, directory: &Path, problems: &mut Problems) -> Vault {
        check_names("vault.names", &self.names, problems);
        let external = self.engine == EngineWord::External;
        for (key, set, belongs) in [
            ("listen", self.listen.is_some(), !external),
            ("binary", self.binary.is_some(), self.engine == EngineWord::Managed),
            ("address", self.address.is_some(), external),
            ("ca_file", self.ca_file.is_some(), external),
            ("token_file", self.token_file.is_some(), external),
        ] {
            if set && !belongs {
                let needed = match key {
                    "listen" => "is for an engine that is supervised: embedded or managed",
                    "binary" => "needs engine = \"managed\"",
                    _ => "needs engine = \"external\"",
                };
                problems.add(format!("vault.{key}"), needed);
            }
        }
        let listen = self.listen.unwrap_or((Ipv4Addr::LOCALHOST, 8200).into());
        let engine = match self.engine {
            EngineWord::Embedded => Engine::Embedded { listen },
            EngineWord::Managed => {
                Engine::Managed { listen, binary: self.binary.map(|binary| directory.join(binary)) }
            }
            EngineWord::External => Engine::External {
                address: check_address(self.address, problems),
                ca_file: self.ca_file.map(|file| directory.join(file)),
                token_file: self.token_file.map(|file| directory.join(file)),
            },
        };
        Vault { engine, names: self.names }
    }
}

impl PostgresFile {
    fn resolve(self, problems: &mut Problems) -> Postgres {
        check_names("postgres.names", &self.names, problems);
        let mut databases = Vec::new();
        for (name, file) in self.databases {
            let key = format!("postgres.databases.{name}");
            let owner = file.owner.unwrap_or_else(|| format!("{name}_owner"));
            let group = file.group.unwrap_or_else(|| format!("{name}_app"));
            for (key, value) in [
                (key.clone(), &name),
                (format!("{key}.owner"), &owner),
                (format!("{key}.group"), &group),
            ] {
                if !is_name(value, '_') {
                    problems.add(key, "must be 1 to 32 of a-z 0-9 _, starting with a letter");
                } else if ["postgres", "template0", "template1"].contains(&value.as_str())
                    || value.starts_with("pg_")
                {
                    problems.add(key, "is a name that PostgreSQL keeps for itself");
                }
            }
            databases.push(Database { name, owner, group });
        }
        for (index, rule) in self.rules.iter().enumerate() {
            // pg_hba.conf gives blanks, quotes and words such as `all` a meaning of their own.
            for (field, value, extra) in [
                ("database", &rule.database, ""),
                ("user", &rule.user, "+"),
                ("address", &rule.address, "./:"),
            ] {
                let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
                if value.is_empty() || !value.chars().all(|c| plain(c) || extra.contains(c)) {
                    let key = format!("postgres.rules.{index}.{field}");
                    problems.add(key, format!("cannot be {value:?}"));
                }
            }
        }
        for name in self.settings.keys() {
            if OWN_SETTINGS.contains(&name.as_str()) {
                problems.add(format!("postgres.settings.{name}"), "is set by holdfast");
            } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c)) {
                problems.add(format!("postgres.settings.{name}"), "is no name of a setting");
            }
        }
        Postgres {
            listen: self.listen.unwrap_or((Ipv4Addr::LOCALHOST, 5432).into()),
            names: self.names,
            databases,
            rules: self.rules,
            settings: self.settings,
        }
    }
}

/// What holdfast writes into `postgresql.conf` itself.
const OWN_SETTINGS: &[&str] = &[
    "listen_addresses",
    "port",
    "unix_socket_directories",
    "unix_socket_permissions",
    "ssl",
    "ssl_cert_file",
    "ssl_key_file",
    "ssl_min_protocol_version",
    "password_encryption",
    "hba_file",
    "ident_file",
    "data_directory",
    "external_pid_file",
    "logging_collector",
    "log_destination",
];

fn check_address(address: Option<String>, problems: &mut Problems) -> String {
    let address = address.unwrap_or_default();
    let host = address.strip_prefix("https://").or_else(|| {
        // Without TLS only where nobody listens in between.
        let host = address.strip_prefix("http://")?;
        ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| host.starts_with(own)).then_some(host)
    });
    if host.is_none_or(|host| host.is_empty() || host.contains(['/', '@', ' '])) {
        problems.add("vault.address", "must be such as https://vault.example.org:8200");
    }
    address
}

fn check_names(key: &str, names: &[String], problems: &mut Problems) {
    for name in names {
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        };
        let address = name.parse::<IpAddr>().is_ok();
        if !address && (name.len() > 253 || !name.split('.').all(label)) {
            problems.add(key, format!("names no host: {name:?}"));
        }
    }
}

pub(super) fn is_name(text: &str, separator: char) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == separator;
    text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(plain)
}

fn is_trust_domain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    (1..=255).contains(&text.len()) && text.chars().all(plain)
}
