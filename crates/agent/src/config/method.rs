//! `auto_auth { method { ... } }`: how the agent logs in.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_hcl::{Block, Problems, Settings};

use super::{MAX_BACKOFF, MIN_BACKOFF, value};

/// Where a pod finds the token of its service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// How often a JWT is looked for that is removed once it was read, and one that is not.
const READ_PERIOD_REMOVED: Duration = Duration::from_millis(500);
const READ_PERIOD: Duration = Duration::from_secs(60);
/// The stock agents' methods that log in with what a cloud or a realm gives a machine.
const FOREIGN: [&str; 8] = ["alicloud", "aws", "azure", "cf", "gcp", "kerberos", "ldap", "oci"];

/// How the agent logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodConfig {
    /// With what.
    pub method: Method,
    /// Where the method is mounted, such as `auth/approle`: without a slash at its end.
    pub mount_path: String,
    /// The namespace of the login, where it is another than the server's.
    pub namespace: Option<String>,
    /// The token comes wrapped for that long, and is passed on as it comes: the agent itself has
    /// none then.
    pub wrap_ttl: Option<Duration>,
    /// The shortest wait after a failed login. Default: 1 s.
    pub min_backoff: Duration,
    /// The longest. Default: 5 min.
    pub max_backoff: Duration,
    /// Ends the agent at the first failed login.
    pub exit_on_err: bool,
}

/// What the agent logs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// A role id and a secret id.
    AppRole(AppRole),
    /// A JWT.
    Jwt(Jwt),
    /// A client certificate.
    Cert(Cert),
    /// A pod's service account.
    Kubernetes(Kubernetes),
    /// A token that somebody else made.
    TokenFile(TokenFile),
}

/// `approle`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRole {
    /// Where the role id stands.
    pub role_id_file: PathBuf,
    /// Where the secret id stands; none for a role that needs none.
    pub secret_id_file: Option<PathBuf>,
    /// Default: yes.
    pub remove_secret_id_file: bool,
    /// The file holds a wrapping token, which was made at this path, such as
    /// `auth/approle/role/app/secret-id`.
    pub wrapping_path: Option<String>,
}

/// `jwt`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// Where it stands.
    pub path: PathBuf,
    /// The role to log in as.
    pub role: String,
    /// Default: yes.
    pub remove_after_reading: bool,
    /// Removes the file that a symbolic link leads to, and not the link.
    pub remove_follows_symlinks: bool,
    /// How often another one is looked for. Default: 0.5 s, or 1 min if it is not removed.
    pub read_period: Duration,
}

/// `cert`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cert {
    /// The role to log in as; none for whichever fits.
    pub name: Option<String>,
    /// PEM file of the authorities to trust, where it is another than the server's.
    pub ca_cert: Option<PathBuf>,
    /// PEM files of certificate and key, where they are others than the server's.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Reads them again for each login.
    pub reload: bool,
}

/// `kubernetes`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// The role to log in as.
    pub role: String,
    /// The service account's token.
    pub token_path: PathBuf,
}

/// `token_file`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFile {
    /// Where the token stands.
    pub path: PathBuf,
}

impl MethodConfig {
    /// None where something is wrong that was reported.
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Option<Self> {
        let mut settings = block.settings(problems);
        let kind = value::kind(block, &mut settings)?;
        let config = settings.blocks("config");
        let method = Method::read(&kind, block, config.last(), settings.problems());
        let mount = settings.string("mount_path").filter(|path| !path.is_empty());
        let mount = mount.unwrap_or_else(|| format!("auth/{kind}"));
        let namespace = settings.string("namespace");
        let namespace = namespace.map(|path| path.trim_matches('/').to_owned());
        let min_backoff = settings.duration("min_backoff").filter(|wait| !wait.is_zero());
        let max_backoff = settings.duration("max_backoff").filter(|wait| !wait.is_zero());
        let this = method.map(|method| Self {
            method,
            mount_path: mount.trim_matches('/').to_owned(),
            namespace: namespace.filter(|path| !path.is_empty()),
            wrap_ttl: settings.duration("wrap_ttl").filter(|ttl| !ttl.is_zero()),
            min_backoff: min_backoff.unwrap_or(MIN_BACKOFF),
            max_backoff: max_backoff.unwrap_or(MAX_BACKOFF),
            exit_on_err: settings.bool("exit_on_err").unwrap_or(false),
        });
        for known in ["wrap_ttl", "exit_on_err"] {
            settings.ignore(known);
        }
        if this.as_ref().is_some_and(|method| method.min_backoff >= method.max_backoff) {
            settings.refuse("min_backoff", "is not shorter than max_backoff");
        }
        settings.finish();
        this
    }
}

impl Method {
    fn read(
        kind: &str,
        block: &Block<'_>,
        config: Option<&Block<'_>>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let read: fn(&mut Settings<'_, '_>) -> Option<Self> = match kind {
            "approle" => |settings| AppRole::read(settings).map(Self::AppRole),
            "jwt" => |settings| Jwt::read(settings).map(Self::Jwt),
            "cert" => |settings| Cert::read(settings).map(Self::Cert),
            "kubernetes" => |settings| Kubernetes::read(settings).map(Self::Kubernetes),
            "token_file" => |settings| TokenFile::read(settings).map(Self::TokenFile),
            _ => {
                let text = match FOREIGN.contains(&kind) {
                    true => format!("the method {kind:?} is not supported"),
                    false => format!("there is no method {kind:?}"),
                };
                let known = "expected approle, jwt, cert, kubernetes or token_file";
                let key = "auto_auth.method.type";
                problems.add(block.position, key, format!("{text}; {known}"));
                return None;
            }
        };
        let Some(config) = config else {
            if kind == "cert" {
                return Some(Self::Cert(Cert::of_the_server()));
            }
            problems.add(block.position, "auto_auth.method.config", "is missing");
            return None;
        };
        let mut settings = config.settings(problems);
        let method = read(&mut settings);
        settings.finish();
        method
    }
}

impl AppRole {
    fn read(settings: &mut Settings<'_, '_>) -> Option<Self> {
        let role_id_file =
            value::required_path(settings, "role_id_file_path", "the file that holds the role id");
        let secret_id_file = value::path(settings, "secret_id_file_path");
        let remove = settings.bool("remove_secret_id_file_after_reading");
        let wrapping_path = settings.string("secret_id_response_wrapping_path");
        if secret_id_file.is_some() && wrapping_path.as_deref() == Some("") {
            settings.refuse("secret_id_response_wrapping_path", "is empty");
        }
        for inline in ["role_id", "secret_id"] {
            if settings.string(inline).is_some() {
                let text = "is read from a file: write its path to {}_file_path";
                settings.refuse(inline, text.replace("{}", inline));
            }
        }
        Some(Self {
            role_id_file: role_id_file?,
            secret_id_file,
            remove_secret_id_file: remove.unwrap_or(true),
            wrapping_path: wrapping_path.filter(|path| !path.is_empty()),
        })
    }
}

impl Jwt {
    fn read(settings: &mut Settings<'_, '_>) -> Option<Self> {
        let path = value::required_path(settings, "path", "the file that holds the JWT");
        let role = required(settings, "role", "the role to log in as");
        let remove = settings.bool("remove_jwt_after_reading").unwrap_or(true);
        let usual = if remove { READ_PERIOD_REMOVED } else { READ_PERIOD };
        let read_period = settings.duration("jwt_read_period").filter(|period| !period.is_zero());
        let remove_follows_symlinks = settings.bool("remove_jwt_follows_symlinks").unwrap_or(false);
        // Of Azure's workloads in Vault's agent: a JWT's file that is not there yet is waited for
        // here in any case.
        settings.ignore("skip_verify_jwt_path");
        Some(Self {
            path: path?,
            role: role?,
            remove_after_reading: remove,
            remove_follows_symlinks,
            read_period: read_period.unwrap_or(usual),
        })
    }
}

impl Cert {
    /// The certificate of `vault { ... }`, and whichever role fits.
    fn of_the_server() -> Self {
        Self { name: None, ca_cert: None, client_certificate: None, reload: false }
    }

    fn read(settings: &mut Settings<'_, '_>) -> Option<Self> {
        let name = settings.string("name").filter(|name| !name.is_empty());
        let ca_cert = value::path(settings, "ca_cert");
        let certificate = value::path(settings, "client_cert");
        let key = value::path(settings, "client_key");
        let reload = settings.bool("reload").unwrap_or(false);
        let client_certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                settings.refuse("client_cert", "needs client_key");
                None
            }
            (None, Some(_)) => {
                settings.refuse("client_key", "needs client_cert");
                None
            }
        };
        Some(Self { name, ca_cert, client_certificate, reload })
    }
}

impl Kubernetes {
    fn read(settings: &mut Settings<'_, '_>) -> Option<Self> {
        let role = required(settings, "role", "the role to log in as");
        let token_path = value::path(settings, "token_path");
        let token_path = token_path.unwrap_or_else(|| SERVICE_ACCOUNT_TOKEN.into());
        Some(Self { role: role?, token_path })
    }
}

impl TokenFile {
    fn read(settings: &mut Settings<'_, '_>) -> Option<Self> {
        let what = "the file that holds the token";
        Some(Self { path: value::required_path(settings, "token_file_path", what)? })
    }
}

fn required(settings: &mut Settings<'_, '_>, key: &'static str, what: &str) -> Option<String> {
    let text = settings.string(key).filter(|text| !text.is_empty());
    if text.is_none() {
        settings.refuse(key, format!("is missing: {what}"));
    }
    text
}
