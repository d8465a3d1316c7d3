//! `-output-curl-string` and `-output-policy`: what is printed in place of an answer.

use std::sync::OnceLock;

use holdfast_client::vault::{Method, Rehearsal, Rehearsed};
use holdfast_types::{Secret, SecretString};

use super::Outcome;
use super::output::print_line;

/// What the command's first request looks like. A process runs one command, so there is but one,
/// and every command's way of telling failures leads past it.
static SHOWN: OnceLock<SecretString> = OnceLock::new();

/// The outcome of a command, or, where its request was only shown, what it looks like.
pub(super) fn of(outcome: Outcome) -> Outcome {
    match SHOWN.get() {
        Some(text) => print_line(text.expose()),
        None => outcome,
    }
}

/// What curl has to be told beside the request.
pub(super) struct Curl {
    /// Whether to trust any certificate.
    pub(super) insecure: bool,
    /// Options that name files, without their dashes, and the files.
    pub(super) files: Vec<(String, String)>,
}

impl Curl {
    /// Shows requests as command lines of curl.
    pub(super) fn rehearsal(self) -> Rehearsal {
        Rehearsal::new(move |request| {
            let _ = SHOWN.set(Secret::new(self.command(request)));
        })
    }

    fn command(&self, request: &Rehearsed) -> String {
        let mut words = vec!["curl".to_owned()];
        if self.insecure {
            words.push("--insecure".into());
        }
        if request.method != Method::GET {
            words.push(format!("-X {}", request.method));
        }
        let files = self.files.iter();
        words.extend(files.map(|(option, file)| format!("--{option} {}", single_quoted(file))));
        let headers = request.headers.iter();
        words.extend(headers.map(|(name, value)| {
            format!("-H {}", double_quoted(&format!("{}: {value}", canonical(name))))
        }));
        if request.has_token {
            // The shell asks for it when the line runs: what is printed may be passed on.
            words.push("-H \"X-Vault-Token: $(bao print token)\"".into());
        }
        if let Some(body) = &request.body {
            words.push(format!("-d {}", single_quoted(body.expose())));
        }
        words.push(double_quoted(&request.url));
        words.join(" ")
    }
}

/// Shows requests as the policies that allow them.
pub(super) fn policy() -> Rehearsal {
    Rehearsal::new(|request| {
        let mut capabilities = match request.method {
            Method::GET if request.lists => vec!["list"],
            Method::GET => vec!["read"],
            Method::DELETE => vec!["delete"],
            Method::PATCH => vec!["patch"],
            _ => vec!["create", "update"],
        };
        if needs_sudo(&request.path) {
            capabilities.push("sudo");
        }
        let path = &request.path;
        let _ =
            SHOWN.set(format!("path {path:?} {{\n  capabilities = {capabilities:?}\n}}").into());
    })
}

/// Whether a server guards `path` by `sudo`: the list that the official client goes by.
fn needs_sudo(path: &str) -> bool {
    const PATHS: [&str; 13] = [
        "auth/token/accessors",
        "pki/root",
        "pki/root/sign-self-issued",
        "sys/audit",
        "sys/config/auditing/request-headers",
        "sys/config/cors",
        "sys/config/ui/headers",
        "sys/leases",
        "sys/leases/lookup",
        "sys/raw",
        "sys/remount",
        "sys/rotate",
        "sys/rotate/keyring",
    ];
    const BELOW: [&str; 10] = [
        "sys/audit/",
        "sys/auth/",
        "sys/config/auditing/request-headers/",
        "sys/config/ui/headers/",
        "sys/internal/inspect/router/",
        "sys/leases/lookup/",
        "sys/leases/revoke-force/",
        "sys/leases/revoke-prefix/",
        "sys/raw/",
        "sys/revoke-",
    ];
    let is_plugin = path
        .strip_prefix("sys/plugins/catalog/")
        .is_some_and(|plugin| (1..=2).contains(&plugin.split('/').count()));
    is_plugin || PATHS.contains(&path) || BELOW.iter().any(|prefix| path.starts_with(prefix))
}

/// A header's name as Go writes it: `X-Vault-Mfa`.
fn canonical(name: &str) -> String {
    let parts = name.split('-').map(|part| match part.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + &rest.to_ascii_lowercase(),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("-")
}

/// `text` as one word of a shell.
fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

/// The same in the other quotes.
fn double_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        if matches!(letter, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for text in ["plain", "it's", "a \"b\" $(id) `id` \\ $HOME", "'", ""] {
            for quoted in [single_quoted(text), double_quoted(text)] {
                let script = format!("printf %s {quoted}");
                let output = std::process::Command::new("sh").args(["-c", &script]).output();
                assert_eq!(String::from_utf8_lossy(&output.unwrap().stdout), text, "{quoted}");
            }
        }
    }

    #[test]
    fn headers_are_written_as_go_writes_them() {
        assert_eq!(canonical("x-vault-MFA"), "X-Vault-Mfa");
        assert_eq!(canonical("a--b"), "A--B");
    }
}
