//! `login`: get a token and keep it.

mod oidc;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Args;
use holdfast_client::vault::{VaultClient, VaultError};
use holdfast_types::SecretString;
use serde_json::{Map, Value, json};

use super::connection::{Connection, explain};
use super::output::{FieldFlags, Format, print_line, print_secret, print_secret_field, warn};
use super::path::sanitize;
use super::secret::{Auth, Secret};
use super::token_file::TokenFile;
use super::{Failure, Outcome, data, environment, prompt};

/// Log in and keep the token for the commands that follow.
///
/// The token goes to `~/.vault-token`, readable by you alone. What the login method wants is given
/// as `key=value`; arguments are visible to other processes of the machine, so a password or token
/// is best left out, and asked for, or given by file (`key=@file`) or standard input (`key=-`).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault login
  vault login -method=userpass username=ann
  vault login -method=approle role_id=web secret_id=@secret-id
  vault login -method=jwt role=web jwt=-
  vault login -method=oidc role=people
  vault login -token-only -no-store token=- < token")]
pub(super) struct Login {
    /// A token, or `key=value` pairs for the login method
    data: Vec<String>,
    /// `token`, `userpass`, `approle`, `cert`, `jwt`, `kubernetes`, `oidc` or `spiffe`
    #[arg(long, value_name = "METHOD", default_value = "token")]
    method: String,
    /// Where the method is mounted; by default under its name
    #[arg(long)]
    path: Option<String>,
    /// Do not keep the token
    #[arg(long)]
    no_store: bool,
    /// Print nothing
    #[arg(long)]
    no_print: bool,
    /// Print the token alone and do not keep it
    #[arg(long)]
    token_only: bool,
    #[command(flatten)]
    output: FieldFlags,
    #[command(flatten)]
    connection: Connection,
}

impl Login {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.output.resolve()?;
        let no_store = self.no_store || self.token_only;
        if no_store && self.no_print {
            let text = "-no-store and -no-print cannot be used together";
            return Err(Failure::Usage(text.into()));
        }
        let method = match sanitize(&self.method) {
            "" => "token",
            method => method,
        };
        let mount = match self.path.as_deref().map(sanitize) {
            None | Some("") => method.to_owned(),
            Some(path) => path.to_owned(),
        };
        let fields = self.fields(method)?;
        let client = self.connection.client_without_token()?;
        let secret = match method {
            "token" => self.with_token(&client, &fields).await?,
            "userpass" | "ldap" | "radius" => self.with_password(&client, &mount, fields).await?,
            "approle" => {
                let fields = self.with_secret(fields, "role_id", "secret_id", "Secret id")?;
                with_fields(&client, &mount, &fields).await?
            }
            "jwt" => {
                let fields = self.with_secret(fields, "role", "jwt", "JWT")?;
                with_fields(&client, &mount, &fields).await?
            }
            "kubernetes" | "cert" | "spiffe" => with_fields(&client, &mount, &fields).await?,
            "oidc" => oidc::log_in(&client, &mount, &fields).await?,
            other => {
                return Err(Failure::Usage(format!(
                    "Unknown auth method: {other}. Those known are token, userpass, ldap, radius, \
                     approle, jwt, oidc, kubernetes, cert and spiffe; others are reached by \
                     \"write auth/<path>/login\"."
                )));
            }
        };
        self.finish(format, no_store, &client, secret).await
    }

    fn fields(&self, method: &str) -> Result<Map<String, Value>, Failure> {
        let mut arguments = self.data.clone();
        if method == "token"
            && let Some(first) = arguments.first_mut()
            && !first.contains('=')
            && !first.starts_with('@')
        {
            *first = format!("token={first}");
        }
        data::parse(&arguments, !self.connection.non_interactive)
    }

    /// Looks a token up, which shows that it is good for something.
    async fn with_token(
        &self,
        client: &VaultClient,
        fields: &Map<String, Value>,
    ) -> Result<Secret, Failure> {
        let token = match fields.get("token").and_then(Value::as_str).map(str::trim) {
            Some(token) if !token.is_empty() => SecretString::from(token),
            _ => self.ask("Token (will be hidden): ", "a token")?,
        };
        let client = client.with_token(Some(token.clone()));
        if fields.get("lookup").and_then(Value::as_str) == Some("false") {
            let auth = Auth { client_token: token.expose().clone(), ..Auth::default() };
            return Ok(Secret { auth: Some(auth), ..Secret::default() });
        }
        let looked_up = Secret::read(&client, "auth/token/lookup-self", &[]).await;
        let mut secret = looked_up
            .map_err(|error| {
                let cause = explain(&error);
                Failure::Request(format!("Error authenticating: error looking up token: {cause}"))
            })?
            .unwrap_or_default();
        if secret.wrap_info.is_some() {
            return Ok(secret);
        }
        // From here on it is the answer to a login, which was no request.
        secret.request_id.clear();
        let data = secret.data.take().unwrap_or_default();
        let names = |key: &str| {
            let names = data.get(key)?.as_array()?.iter().filter_map(Value::as_str);
            Some(names.map(str::to_owned).collect::<Vec<_>>())
        };
        secret.auth = Some(Auth {
            client_token: token.expose().clone(),
            accessor: data.get("accessor").and_then(Value::as_str).unwrap_or_default().to_owned(),
            policies: Some(
                [names("policies"), names("identity_policies")]
                    .into_iter()
                    .flatten()
                    .flatten()
                    .collect(),
            ),
            token_policies: names("policies"),
            identity_policies: names("identity_policies"),
            metadata: data.get("meta").and_then(Value::as_object).cloned(),
            lease_duration: data.get("ttl").and_then(Value::as_i64).unwrap_or_default(),
            renewable: data.get("renewable").and_then(Value::as_bool).unwrap_or_default(),
            ..Auth::default()
        });
        Ok(secret)
    }

    async fn with_password(
        &self,
        client: &VaultClient,
        mount: &str,
        mut fields: Map<String, Value>,
    ) -> Result<Secret, Failure> {
        let name = match fields.remove("username").as_ref().and_then(Value::as_str) {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => environment::read("LOGIN_USERNAME")
                .or_else(|| std::env::var("LOGNAME").or_else(|_| std::env::var("USER")).ok())
                .ok_or_else(|| {
                    let text = "Error authenticating: 'username' must be specified";
                    Failure::Request(text.into())
                })?,
        };
        let password = match fields.get("password").and_then(Value::as_str) {
            Some(password) => SecretString::from(password),
            None => self.ask("Password (will be hidden): ", "a password")?,
        };
        let path = format!("auth/{mount}/login/{name}");
        send(client, &path, &json!({ "password": password.expose() })).await
    }

    /// Asks for the field `secret` where it is left out, and `public`, which goes with it, is given
    /// and somebody is there to be asked.
    fn with_secret(
        &self,
        mut fields: Map<String, Value>,
        public: &str,
        secret: &str,
        what: &str,
    ) -> Result<Map<String, Value>, Failure> {
        let may_ask = !self.connection.non_interactive && io::stdin().is_terminal();
        if may_ask && fields.contains_key(public) && !fields.contains_key(secret) {
            let answer = self.ask(&format!("{what} (will be hidden): "), what)?;
            if !answer.expose().is_empty() {
                fields.insert(secret.to_owned(), answer.expose().as_str().into());
            }
        }
        Ok(fields)
    }

    /// Asks for a secret at the terminal, without an echo.
    fn ask(&self, question: &str, what: &str) -> Result<SecretString, Failure> {
        if self.connection.non_interactive {
            let text = format!(
                "Error authenticating: {what} is needed, and -non-interactive forbids to ask"
            );
            return Err(Failure::Request(text));
        }
        prompt::hidden(question, what).map_err(|failure| match failure {
            Failure::Usage(text) => Failure::Request(format!("Error authenticating: {text}")),
            other => other,
        })
    }

    async fn finish(
        &self,
        format: Format,
        no_store: bool,
        client: &VaultClient,
        mut secret: Secret,
    ) -> Outcome {
        if let Some(wrap) = &secret.wrap_info {
            if no_store {
                let field = self.token_only.then_some("wrapping_token");
                return print_secret_field(format, field, &secret);
            }
            let wrapping = client.with_token(Some(wrap.token.as_str().into())).with_wrap_ttl(None);
            let inner = Secret::write(&wrapping, "sys/wrapping/unwrap", &json!({})).await;
            let inner = inner.map_err(Failure::doing("Error extracting token"))?;
            secret = inner.unwrap_or_default();
        }
        let Some(auth) = &secret.auth else {
            let text = "Error extracting token: no auth or wrapping info in response";
            return Err(Failure::Request(text.into()));
        };
        if auth.mfa_requirement.as_ref().is_some_and(|mfa| !mfa.is_null()) {
            warn("The login waits for a second factor: send it to sys/mfa/validate.\n");
            return print_secret(format, &secret);
        }
        if !no_store {
            TokenFile::find()?.store(&auth.client_token.as_str().into())?;
            if environment::read("TOKEN").is_some() {
                warn(
                    "WARNING! The BAO_TOKEN or VAULT_TOKEN environment variable is set, and goes \
                     before\nthe token that was stored now. Unset it to use this one.\n",
                );
            }
        } else if !self.token_only {
            warn("The token was not stored. Set BAO_TOKEN to use it.\n");
        }
        if self.no_print {
            return Ok(ExitCode::SUCCESS);
        }
        let field = if self.token_only { Some("token") } else { self.output.field.as_deref() };
        if field.is_none() && format == Format::Table {
            let stored =
                if no_store { "" } else { " The token below is stored, and used from now on." };
            print_line(&format!("Success! You are now authenticated.{stored}\n"))?;
        }
        print_secret_field(format, field, &secret)
    }
}

async fn with_fields(
    client: &VaultClient,
    mount: &str,
    fields: &Map<String, Value>,
) -> Result<Secret, Failure> {
    send(client, &format!("auth/{mount}/login"), &Value::Object(fields.clone())).await
}

async fn send(client: &VaultClient, path: &str, body: &Value) -> Result<Secret, Failure> {
    let answer: Result<_, VaultError> = Secret::write(client, path, body).await;
    let answer = answer.map_err(Failure::doing("Error authenticating"))?;
    answer.ok_or_else(|| {
        Failure::Request("Error extracting token: empty response from auth helper".into())
    })
}
