//! `auth help`: what a login method wants.

use clap::Args;

use super::connection::Connection;
use super::mounts::login_methods;
use super::output::print_line;
use super::path::mount;
use super::{Failure, Outcome};

/// Show how to log in by a method.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault auth help approle")]
pub(super) struct Help {
    /// The method, or where one is mounted
    method: String,
    #[command(flatten)]
    connection: Connection,
}

impl Help {
    pub(super) async fn run(&self) -> Outcome {
        let name = self.method.trim();
        if let Some(text) = text(name) {
            return print_line(text);
        }
        let client = self.connection.client()?;
        let methods = login_methods(&client).await;
        let methods = methods.map_err(Failure::doing("Error listing auth methods"))?;
        let path = mount(name);
        let Some(method) = methods.get(&path) else {
            let problem = format!("No auth method available on the server at {path:?}");
            return Err(Failure::Usage(problem));
        };
        match text(&method.kind) {
            Some(text) => print_line(text),
            None => Err(Failure::Request(format!(
                "Nothing is known about {:?} here; log in by \"write auth/{path}login\"",
                method.kind
            ))),
        }
    }
}

fn text(method: &str) -> Option<&'static str> {
    Some(match method {
        "token" => {
            "Log in with a token that you have already. It is asked for, or given as token=-.\n\n  \
             vault login\n  vault login token=@file"
        }
        "userpass" | "ldap" | "radius" => {
            "Log in with a name and a password. The password is asked for.\n\n  \
             vault login -method=userpass username=ann\n\n\
             username   the name; by default yours on this machine\n\
             password   better asked for, or given as password=-"
        }
        "approle" => {
            "Log in as a service, with the role's id and a secret id.\n\n  \
             vault login -method=approle role_id=web secret_id=@secret-id\n\n\
             role_id     the role's id\n\
             secret_id   better asked for, or given as secret_id=@file"
        }
        "jwt" | "kubernetes" => {
            "Log in with a signed token of an issuer that the server trusts.\n\n  \
             vault login -method=jwt role=web jwt=@token\n\n\
             role   the role; by default the method's\n\
             jwt    better asked for, or given as jwt=@file"
        }
        "oidc" => {
            "Log in with a browser, at an issuer that the server trusts.\n\n  \
             vault login -method=oidc role=people\n\n\
             role   the role; by default the method's\n\
             port   where the browser comes back to on this machine; by default 8250: the role\n       \
             allows http://localhost:8250/oidc/callback"
        }
        "spiffe" => {
            "Log in as a workload, with the X.509-SVID of the connection or a JWT-SVID.\n\n  \
             vault login -method=spiffe -client-cert=svid.pem -client-key=svid.key role=apps\n  \
             vault login -method=spiffe role=apps jwt=@svid.jwt"
        }
        "cert" => {
            "Log in with a TLS client certificate.\n\n  \
             vault login -method=cert -client-cert=web.pem -client-key=web.key name=web"
        }
        _ => return None,
    })
}
