//! Flags and variables that say where the server is, whom to trust and who is asking.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use holdfast_agent::config::Overrides;
use holdfast_client::vault::{
    Address, Rehearsal, Trust, Unreachable, VaultClient, VaultConfig, VaultError,
};
use holdfast_types::{SecretBytes, SecretString, format_go_duration};

use super::instead::{self, Curl};
use super::token_file::TokenFile;
use super::{Failure, environment, values};

/// Where a server is when nothing says so.
const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";

/// The flags of every command that talks to a server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The server: `http(s)://host:port` or `unix:///path` [env: `BAO_ADDR`, `VAULT_ADDR`]
    /// [default: `https://127.0.0.1:8200`]
    #[arg(long, value_name = "URL", hide_short_help = true)]
    address: Option<String>,
    /// An agent to ask in the server's place [env: `BAO_AGENT_ADDR`]
    #[arg(long, value_name = "URL", hide_short_help = true)]
    agent_address: Option<String>,
    /// PEM file of the authorities to trust, and no other [env: `BAO_CACERT`]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    ca_cert: Option<String>,
    /// Directory of such files [env: `BAO_CAPATH`]
    #[arg(long, value_name = "DIRECTORY", hide_short_help = true)]
    ca_path: Option<String>,
    /// PEM file of the client's certificate; `-client-key` belongs to it [env: `BAO_CLIENT_CERT`]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    client_cert: Option<String>,
    /// PEM file of the key of `-client-cert` [env: `BAO_CLIENT_KEY`]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    client_key: Option<String>,
    /// The name to expect in the server's certificate [env: `BAO_TLS_SERVER_NAME`]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    tls_server_name: Option<String>,
    /// Do not check the server's certificate: anyone in between can read and change everything
    /// [env: `BAO_SKIP_VERIFY`]
    #[arg(long, hide_short_help = true)]
    tls_skip_verify: bool,
    /// The namespace to work in [env: `BAO_NAMESPACE`]
    #[arg(long, alias = "ns", value_name = "PATH", hide_short_help = true)]
    namespace: Option<String>,
    /// Have the answer wrapped: print a token that gives it out once [env: `BAO_WRAP_TTL`]
    #[arg(long, value_name = "DURATION", value_parser = values::duration, hide_short_help = true)]
    wrap_ttl: Option<Duration>,
    /// A further header field, `name=value`; may be repeated
    #[arg(long, value_name = "FIELD", hide_short_help = true)]
    header: Vec<String>,
    /// A second factor, `method:passcode`; may be repeated [env: `BAO_MFA`]
    #[arg(long, value_name = "CREDENTIAL", hide_short_help = true)]
    mfa: Vec<String>,
    /// Override policies that may be overridden, where the server has such
    #[arg(long, hide_short_help = true)]
    policy_override: bool,
    /// The key of a locked namespace, for `namespace unlock`
    #[arg(long, value_name = "KEY", hide_short_help = true)]
    pub(super) unlock_key: Option<String>,
    /// Do not follow a standby's redirect to the active server [env: `BAO_DISABLE_REDIRECTS`]
    #[arg(long, hide_short_help = true)]
    disable_redirects: bool,
    /// Send nothing: print the same request as a command line of curl, without the token
    #[arg(long, hide_short_help = true)]
    output_curl_string: bool,
    /// Send nothing: print the policy that the request needs
    #[arg(long, hide_short_help = true)]
    output_policy: bool,
    /// Never ask at the terminal
    #[arg(long, hide_short_help = true)]
    pub(super) non_interactive: bool,
}

impl Connection {
    /// A client with the token of the environment, else the one that `login` stored.
    pub(super) fn client(&self) -> Result<VaultClient, Failure> {
        Ok(self.client_without_token()?.with_token(stored_token()?))
    }

    /// Whether a flag says where the server is.
    pub(crate) fn has_address(&self) -> bool {
        self.address.is_some()
    }

    /// Whether a flag or the environment says where the server is.
    pub(crate) fn names_a_server(&self) -> bool {
        let flags = self.agent_address.as_ref().or(self.address.as_ref()).is_some();
        flags || ["AGENT_ADDR", "ADDR"].into_iter().any(|name| environment::read(name).is_some())
    }

    /// A client with the stored token, for commands beside the official client's: of the server at
    /// `known`, with the PEM file of its authority, where nothing names another.
    pub(crate) fn connect(
        &self,
        known: Option<(&str, Option<&Path>)>,
    ) -> anyhow::Result<VaultClient> {
        anyhow::ensure!(
            self.rehearsal().is_none(),
            "-output-curl-string and -output-policy belong to the commands of `vault`"
        );
        let failed = |failure| match failure {
            Failure::Usage(text) | Failure::Request(text) => anyhow::anyhow!(text),
            Failure::Told(code) => anyhow::anyhow!("exit code {code}"),
        };
        let mut config = self.config().map_err(failed)?;
        if let Some((address, authority)) = known {
            config.address = address.parse()?;
            if let Some(authority) = authority {
                config.trust = Trust::File(authority.to_owned());
            }
        }
        let client = VaultClient::new(&config)?;
        Ok(client.with_token(stored_token().map_err(failed)?))
    }

    /// A client without a token.
    pub(super) fn client_without_token(&self) -> Result<VaultClient, Failure> {
        let client = VaultClient::new(&self.config()?);
        let client = client.map_err(|error| Failure::Request(chain(&error)))?;
        Ok(client.with_rehearsal(self.rehearsal()))
    }

    /// What looks at requests in the server's place, where a flag asks for that.
    fn rehearsal(&self) -> Option<Rehearsal> {
        if self.output_curl_string {
            let flag = |name: &str, value: &Option<String>| {
                value.as_ref().map(|value| (name.to_owned(), value.clone()))
            };
            let files = [
                flag("cacert", &self.ca_cert),
                flag("capath", &self.ca_path),
                flag("cert", &self.client_cert),
                flag("key", &self.client_key),
            ];
            let files = files.into_iter().flatten().collect();
            return Some(Curl { insecure: self.tls_skip_verify, files }.rehearsal());
        }
        self.output_policy.then(instead::policy)
    }

    pub(super) fn config(&self) -> Result<VaultConfig, Failure> {
        let address = self
            .agent_address
            .clone()
            .or_else(|| environment::read("AGENT_ADDR"))
            .or_else(|| self.address.clone())
            .or_else(|| environment::read("ADDR"))
            .unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
        let address: Address =
            address.parse().map_err(|error| Failure::Request(format!("{error}")))?;
        let mut config = VaultConfig::new(address);
        config.trust = self.trust()?;
        config.identity = self.identity()?;
        config.server_name =
            self.tls_server_name.clone().or_else(|| environment::read("TLS_SERVER_NAME"));
        if let Some(timeout) = environment::read_duration("CLIENT_TIMEOUT")? {
            config.timeout = timeout;
        }
        // Whoever sits at a terminal wants to hear of a failure at once.
        config.max_retries = match environment::read("MAX_RETRIES") {
            None => 0,
            Some(text) => text.parse().map_err(|error| {
                Failure::Request(format!("could not parse BAO_MAX_RETRIES: {error}"))
            })?,
        };
        config.namespace = self
            .namespace
            .clone()
            .or_else(|| environment::read("NAMESPACE"))
            .map(|path| format!("{}/", path.trim_matches('/')))
            .filter(|path| path != "/");
        config.wrap_ttl = self
            .wrap_ttl
            .or(environment::read_duration("WRAP_TTL")?)
            .filter(|ttl| *ttl > Duration::ZERO)
            .map(format_go_duration);
        config.headers = self.headers()?;
        let mfa = match environment::read("MFA") {
            Some(credential) if self.mfa.is_empty() => vec![credential],
            _ => self.mfa.clone(),
        };
        config.headers.extend(mfa.into_iter().map(|value| ("X-Vault-MFA".to_owned(), value)));
        if self.policy_override {
            config.headers.push(("X-Vault-Policy-Override".into(), "true".into()));
        }
        config.follow_redirects =
            !(self.disable_redirects || environment::read_bool("DISABLE_REDIRECTS")?);
        Ok(config)
    }

    /// What flags and the environment say against the files of an agent. An agent asks the server
    /// itself, never another agent.
    pub(super) fn overrides(&self) -> Result<Overrides, Failure> {
        let text = |flag: &Option<String>, name| flag.clone().or_else(|| environment::read(name));
        let retries = environment::read("MAX_RETRIES").map(|text| text.parse()).transpose();
        let max_retries = retries
            .map_err(|error| Failure::Usage(format!("could not parse BAO_MAX_RETRIES: {error}")))?;
        let anyone = self.tls_skip_verify || environment::read_bool("SKIP_VERIFY")?;
        Ok(Overrides {
            address: text(&self.address, "ADDR"),
            ca_cert: text(&self.ca_cert, "CACERT"),
            ca_path: text(&self.ca_path, "CAPATH"),
            client_cert: text(&self.client_cert, "CLIENT_CERT"),
            client_key: text(&self.client_key, "CLIENT_KEY"),
            tls_skip_verify: anyone.then_some(true),
            tls_server_name: text(&self.tls_server_name, "TLS_SERVER_NAME"),
            namespace: text(&self.namespace, "NAMESPACE"),
            max_retries,
            ..Overrides::default()
        })
    }

    fn trust(&self) -> Result<Trust, Failure> {
        if self.tls_skip_verify || environment::read_bool("SKIP_VERIFY")? {
            return Ok(Trust::Anyone);
        }
        if let Some(file) = &self.ca_cert {
            return Ok(Trust::File(file.into()));
        }
        if let Some(directory) = &self.ca_path {
            return Ok(Trust::Directory(directory.into()));
        }
        Ok(if let Some(pem) = environment::read("CACERT_BYTES") {
            Trust::Pem(pem.into_bytes())
        } else if let Some(file) = environment::read("CACERT") {
            Trust::File(file.into())
        } else if let Some(directory) = environment::read("CAPATH") {
            Trust::Directory(directory.into())
        } else {
            Trust::System
        })
    }

    fn identity(&self) -> Result<Option<SecretBytes>, Failure> {
        let bytes =
            environment::read("CLIENT_CERT_BYTES").zip(environment::read("CLIENT_KEY_BYTES"));
        if let Some((certificate, key)) = bytes {
            return Ok(Some(SecretBytes::new(format!("{certificate}\n{key}").into_bytes())));
        }
        let certificate = self.client_cert.clone().or_else(|| environment::read("CLIENT_CERT"));
        let key = self.client_key.clone().or_else(|| environment::read("CLIENT_KEY"));
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => {
                let mut config = VaultConfig::new(
                    DEFAULT_ADDRESS
                        .parse()
                        .map_err(|error| Failure::Request(format!("{error}")))?,
                );
                config
                    .read_identity(Path::new(&certificate), Path::new(&key))
                    .map_err(|error| Failure::Request(chain(&error)))?;
                Ok(config.identity)
            }
            _ => Err(Failure::Request("both client cert and client key must be provided".into())),
        }
    }

    fn headers(&self) -> Result<Vec<(String, String)>, Failure> {
        self.header
            .iter()
            .map(|field| match field.split_once('=') {
                Some((name, _)) if name.to_ascii_lowercase().starts_with("x-vault-") => {
                    Err(Failure::Request(format!(
                        "failed to setup Headers[{name}]: Header starting by 'X-Vault-' are for \
                         internal usage only"
                    )))
                }
                Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                None => Err(Failure::Request(format!("missing = in KV pair: {field:?}"))),
            })
            .collect()
    }
}

/// The token of the environment, else the one that `login` stored.
pub(super) fn stored_token() -> Result<Option<SecretString>, Failure> {
    match environment::read("TOKEN") {
        Some(token) => Ok(Some(SecretString::new(token))),
        None => TokenFile::find()?.read(),
    }
}

/// What went wrong, in the official client's layout where the server said it, with the cause and
/// a way out where nothing answered.
pub(super) fn explain(error: &VaultError) -> String {
    if let Some(failure) = error.failure() {
        let kind = if failure.raw { "Raw Message" } else { "Errors" };
        let list: String = match &failure.errors[..] {
            [text] if failure.raw => text.clone(),
            errors => errors.iter().map(|error| format!("* {error}")).collect(),
        };
        return format!(
            "Error making API request.\n\nURL: {} {}\nCode: {}. {kind}:\n\n{list}",
            failure.method, failure.url, failure.status
        );
    }
    match error {
        VaultError::Unreachable { request, cause, .. } => {
            let mut text = format!("{request}: {cause}");
            if let Some(fix) = way_out(cause) {
                text.push_str("\n\n");
                text.push_str(fix);
            }
            text
        }
        other => chain(other),
    }
}

/// What helps against a failed connection.
fn way_out(cause: &Unreachable) -> Option<&'static str> {
    Some(match cause {
        Unreachable::Refused | Unreachable::NoSuchHost => {
            "Is the server running, and -address or BAO_ADDR right?"
        }
        Unreachable::NoSuchSocket => "Is the server running, and the path of its socket right?",
        Unreachable::SocketDenied => "Ask whoever runs the server to let your user in.",
        Unreachable::UnknownIssuer => {
            "Name the PEM file of the server's authority by -ca-cert or BAO_CACERT."
        }
        Unreachable::WrongName { .. } => {
            "Dial one of those names by -address or BAO_ADDR, or expect it by -tls-server-name."
        }
        Unreachable::Expired | Unreachable::NotYetValid => {
            "The server needs a new certificate, or this machine or the server's has a wrong clock."
        }
        Unreachable::ClientCertificate(_) => {
            "Show a client certificate by -client-cert and -client-key."
        }
        Unreachable::Tls(_) => {
            "Does the server speak TLS? If not, its address begins with http://."
        }
        _ => return None,
    })
}

/// An error with all its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
