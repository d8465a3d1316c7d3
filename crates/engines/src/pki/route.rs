//! The engine's paths.

use holdfast_logical::Error;

use super::keys::KeySource;
use super::store::DEFAULT;

/// The form in which something public is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In JSON with all there is.
    Full,
    /// In JSON, public parts only.
    Json,
    /// The bytes.
    Der,
    /// The bytes as text.
    Pem,
}

/// A path. Where an issuer is none, the role's (or the mount's default) is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Roles,
    Role(&'a str),
    Issue(Option<&'a str>, &'a str),
    Sign(Option<&'a str>, &'a str),
    SignVerbatim(Option<&'a str>, Option<&'a str>),
    SignIntermediate(Option<&'a str>),
    SignSelfIssued(Option<&'a str>),
    GenerateRoot {
        exported: &'a str,
        rotate: bool,
    },
    /// None: a request for the cross-signature of a key that is there.
    GenerateIntermediate(Option<&'a str>),
    Root,
    ReplaceRoot,
    Import {
        field: &'static str,
        keys_allowed: bool,
    },
    ConfigIssuers,
    Issuers,
    Issuer(&'a str, Form),
    RevokeIssuer(&'a str),
    IssuerCrl {
        issuer: &'a str,
        delta: bool,
        form: Form,
    },
    ConfigKeys,
    Keys,
    Key(&'a str),
    GenerateKey(KeySource),
    ImportKey,
    ConfigUrls,
    ConfigCluster,
    ConfigCrl,
    ConfigAutoTidy,
    Certs,
    CertsDetailed,
    CertsRevoked,
    Cert(&'a str, Form),
    Ca(Form),
    CaChain(Form),
    Crl {
        delta: bool,
        form: Form,
    },
    Revoke,
    RevokeWithKey,
    RotateCrl,
    RotateDeltaCrl,
    Ocsp(&'a str),
    OcspPost,
    Tidy,
    TidyCancel,
    TidyStatus,
}

impl<'a> Route<'a> {
    pub(super) fn parse(path: &'a str) -> Result<Self, Error> {
        // A question in base64 has slashes of its own.
        if let Some(question) = path.strip_prefix("ocsp/") {
            return Ok(Self::Ocsp(question));
        }
        let folder = path.strip_suffix('/');
        let segments: Vec<_> = folder.unwrap_or(path).split('/').collect();
        let route = match segments.as_slice() {
            ["roles"] => Self::Roles,
            ["roles", name] if is_name(name) => Self::Role(name),
            ["issue", role] if is_name(role) => Self::Issue(None, role),
            ["sign", role] if is_name(role) => Self::Sign(None, role),
            ["sign-verbatim"] => Self::SignVerbatim(None, None),
            ["sign-verbatim", role] => Self::SignVerbatim(None, Some(role)),

            ["root"] => Self::Root,
            ["root", "replace"] => Self::ReplaceRoot,
            ["root", "sign-intermediate"] => Self::SignIntermediate(None),
            ["root", "sign-self-issued"] => Self::SignSelfIssued(None),
            ["root", "generate", exported] | ["issuers", "generate", "root", exported]
                if is_name(exported) =>
            {
                Self::GenerateRoot { exported, rotate: false }
            }
            ["root", "rotate", exported] if is_name(exported) => {
                Self::GenerateRoot { exported, rotate: true }
            }
            ["intermediate", "generate", exported]
            | ["issuers", "generate", "intermediate", exported]
                if is_name(exported) =>
            {
                Self::GenerateIntermediate(Some(exported))
            }
            ["intermediate", "cross-sign"] => Self::GenerateIntermediate(None),
            ["intermediate", "set-signed"] => {
                Self::Import { field: "certificate", keys_allowed: false }
            }
            ["issuers", "import", "cert"] => {
                Self::Import { field: "pem_bundle", keys_allowed: false }
            }
            ["config", "ca"] | ["issuers", "import", "bundle"] => {
                Self::Import { field: "pem_bundle", keys_allowed: true }
            }

            ["config", "issuers"] => Self::ConfigIssuers,
            ["config", "keys"] => Self::ConfigKeys,
            ["config", "urls"] => Self::ConfigUrls,
            ["config", "cluster"] => Self::ConfigCluster,
            ["config", "crl"] => Self::ConfigCrl,
            ["config", "auto-tidy"] => Self::ConfigAutoTidy,

            ["issuers"] => Self::Issuers,
            ["issuer", reference, rest @ ..] if is_name(reference) => {
                Self::of_issuer(reference, rest)?
            }
            ["keys"] => Self::Keys,
            ["keys", "generate", "internal"] => Self::GenerateKey(KeySource::Internal),
            ["keys", "generate", "exported"] => Self::GenerateKey(KeySource::Exported),
            ["keys", "generate", "kms"] => Self::GenerateKey(KeySource::Kms),
            ["keys", "import"] => Self::ImportKey,
            ["key", reference] if is_name(reference) => Self::Key(reference),

            ["certs"] => Self::Certs,
            ["certs", "detailed"] => Self::CertsDetailed,
            ["certs", "revoked"] => Self::CertsRevoked,
            ["ca"] => Self::Ca(Form::Der),
            ["ca", "pem"] => Self::Ca(Form::Pem),
            ["ca_chain"] => Self::CaChain(Form::Pem),
            ["cert", "ca_chain"] => Self::CaChain(Form::Json),
            ["cert", "crl"] => Self::Crl { delta: false, form: Form::Json },
            ["cert", "delta-crl"] => Self::Crl { delta: true, form: Form::Json },
            ["crl"] => Self::Crl { delta: false, form: Form::Der },
            ["crl", "pem"] => Self::Crl { delta: false, form: Form::Pem },
            ["crl", "delta"] => Self::Crl { delta: true, form: Form::Der },
            ["crl", "delta", "pem"] => Self::Crl { delta: true, form: Form::Pem },
            ["crl", "rotate"] => Self::RotateCrl,
            ["crl", "rotate-delta"] => Self::RotateDeltaCrl,
            // Hexadecimal, so that `ca` is a serial number to the parser, but not to anyone else.
            ["cert", serial, rest @ ..] if is_serial(serial) => {
                let form = match rest {
                    [] => Form::Json,
                    ["raw"] => Form::Der,
                    ["raw", "pem"] => Form::Pem,
                    _ => return Err(Error::UnsupportedPath),
                };
                if *serial == "ca" { Self::Ca(form) } else { Self::Cert(serial, form) }
            }
            ["revoke"] => Self::Revoke,
            ["revoke-with-key"] => Self::RevokeWithKey,
            ["ocsp"] => Self::OcspPost,
            ["tidy"] => Self::Tidy,
            ["tidy-cancel"] => Self::TidyCancel,
            ["tidy-status"] => Self::TidyStatus,
            _ => return Err(Error::UnsupportedPath),
        };
        // Only a list ends in a slash: `root/` is not the path that needs sudo, nor `roles/web/` the
        // one that policies know.
        if folder.is_some() && !route.is_list() {
            return Err(Error::UnsupportedPath);
        }
        Ok(route)
    }

    fn is_list(&self) -> bool {
        matches!(
            self,
            Self::Roles
                | Self::Issuers
                | Self::Keys
                | Self::Certs
                | Self::CertsDetailed
                | Self::CertsRevoked
        )
    }

    fn of_issuer(reference: &'a str, rest: &[&'a str]) -> Result<Self, Error> {
        let crl = |delta, form| Self::IssuerCrl { issuer: reference, delta, form };
        Ok(match rest {
            [] => Self::Issuer(reference, Form::Full),
            ["json"] => Self::Issuer(reference, Form::Json),
            ["der"] => Self::Issuer(reference, Form::Der),
            ["pem"] => Self::Issuer(reference, Form::Pem),
            ["revoke"] => Self::RevokeIssuer(reference),
            ["issue", role] if is_name(role) => Self::Issue(Some(reference), role),
            ["sign", role] if is_name(role) => Self::Sign(Some(reference), role),
            ["sign-verbatim"] => Self::SignVerbatim(Some(reference), None),
            ["sign-verbatim", role] => Self::SignVerbatim(Some(reference), Some(role)),
            ["sign-intermediate"] => Self::SignIntermediate(Some(reference)),
            ["sign-self-issued"] => Self::SignSelfIssued(Some(reference)),
            ["crl"] => crl(false, Form::Json),
            ["crl", "der"] => crl(false, Form::Der),
            ["crl", "pem"] => crl(false, Form::Pem),
            ["crl", "delta"] => crl(true, Form::Json),
            ["crl", "delta", "der"] => crl(true, Form::Der),
            ["crl", "delta", "pem"] => crl(true, Form::Pem),
            _ => return Err(Error::UnsupportedPath),
        })
    }
}

/// Letters, digits, `_`, and between those `-` and `.`, as OpenBao takes names.
pub(super) fn is_name(name: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = name.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && bytes.iter().all(|byte| is_word(byte) || matches!(byte, b'-' | b'.'))
}

fn is_serial(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'-'))
}

/// A reference as it is written in a field: cut, and the word for the default in small letters.
pub(super) fn reference(text: &str) -> &str {
    let text = text.trim();
    if text.eq_ignore_ascii_case(DEFAULT) { DEFAULT } else { text }
}
