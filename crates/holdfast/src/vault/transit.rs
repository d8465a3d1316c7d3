//! `transit import` and `transit import-version`: keys are encrypted here, before they are sent.
//!
//! What is sent is PKCS #11's `CKM_RSA_AES_KEY_WRAP`: an AES key of this moment, encrypted with the
//! mount's RSA key by OAEP with SHA-256, then the imported key, encrypted with it by AES-KWP.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded as _};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use holdfast_client::vault::VaultClient;
use holdfast_types::{Random as _, SystemRandom};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use zeroize::Zeroizing;

use super::connection::Connection;
use super::output::print_line;
use super::path::sanitize;
use super::secret::Secret;
use super::{Failure, Outcome, data};

/// Bring keys to a transit mount.
#[derive(Debug, Subcommand)]
pub(super) enum Transit {
    Import(Import),
    ImportVersion(ImportVersion),
}

/// Import a key, encrypted on its way, as a new key of a transit mount.
///
/// The key is base64: of its bytes for symmetric and HMAC keys, of PKCS #8 in DER for the
/// others. As `@file` it is read from a file: arguments are visible to other processes of the
/// machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault transit import transit/keys/orders @key.b64 type=aes256-gcm96
  vault transit import transit/keys/signer @key.b64 type=ecdsa-p256 allow_rotation=true")]
pub(super) struct Import {
    #[command(flatten)]
    target: Target,
}

/// Import a key, encrypted on its way, as a new version of a key that was imported.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  vault transit import-version transit/keys/orders @key.b64")]
pub(super) struct ImportVersion {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Target {
    /// The key to make: the mount, `/keys/` and its name
    path: String,
    /// The key's bytes in base64, or `@file`
    key: String,
    /// What else to say of it, as `write` takes it: `type=rsa-2048`
    data: Vec<String>,
    #[command(flatten)]
    connection: Connection,
}

impl Transit {
    pub(super) async fn run(&self) -> Outcome {
        match self {
            Self::Import(command) => command.target.run("import").await,
            Self::ImportVersion(command) => command.target.run("import_version").await,
        }
    }
}

impl Target {
    async fn run(&self, operation: &str) -> Outcome {
        let path = sanitize(&self.path);
        let Some((mount, name)) = split(path) else {
            return Err(Failure::Usage(
                "expected transit path and key name in the form :path:/keys/:name:".into(),
            ));
        };
        let plain = read_key(&self.key)?;
        let mut body = data::parse(&self.data, !self.connection.non_interactive)?;
        let client = self.connection.client()?;
        print_line("Retrieving wrapping key.")?;
        let wrapping_key = fetch_wrapping_key(&client, mount).await?;
        print_line("Wrapping source key with ephemeral key.")?;
        print_line("Encrypting ephemeral key with wrapping key.")?;
        let wrapped = wrap(&wrapping_key, &plain)
            .ok_or_else(|| Failure::Request("failure wrapping source key".into()))?;
        body.insert("ciphertext".to_owned(), STANDARD.encode(wrapped).into());
        print_line("Submitting wrapped key.")?;
        let path = format!("{mount}/keys/{name}/{operation}");
        Secret::write(&client, &path, &Value::from(body))
            .await
            .map_err(|error| told(&format!("failed to call import:{}", super::explain(&error))))?;
        print_line("Success!")
    }
}

/// The mount and the name in `mount/keys/name`.
fn split(path: &str) -> Option<(&str, &str)> {
    let (rest, name) = path.rsplit_once('/')?;
    let mount = rest.strip_suffix("/keys")?;
    Some((mount, name))
}

/// The server did not do its part: exit code 3, as of the official client.
fn told(text: &str) -> Failure {
    anstream::eprintln!("{text}");
    Failure::Told(3)
}

fn read_key(text: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let read;
    let text = match text.strip_prefix('@') {
        Some(file) => {
            read = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| {
                Failure::Usage(format!("error reading key material file: {error}"))
            })?;
            &read
        }
        None => text,
    };
    let text: Zeroizing<String> = text.split_whitespace().collect::<String>().into();
    // What the decoder says of a mistake would quote the key.
    let key = STANDARD.decode(text.as_bytes()).map_err(|_| {
        Failure::Usage("error base64 decoding source key material: it is no base64".into())
    })?;
    Ok(key.into())
}

async fn fetch_wrapping_key(
    client: &VaultClient,
    mount: &str,
) -> Result<SubjectPublicKeyInfoDer<'static>, Failure> {
    let failed = |why: &str| told(&format!("failed to fetch wrapping key: {why}"));
    let answer = Secret::read(client, &format!("{mount}/wrapping_key"), &[]).await;
    let answer = answer.map_err(|error| {
        failed(&format!("error fetching wrapping key: {}", super::explain(&error)))
    })?;
    let data = answer.and_then(|answer| answer.data);
    let data = data.ok_or_else(|| failed(&format!("no mount found at {mount}")))?;
    let text = data.get("public_key").and_then(Value::as_str);
    let text = text.ok_or_else(|| failed("could not find wrapping key"))?;
    SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
        .map_err(|_| failed("error parsing wrapping key"))
}

/// None: the library refuses the wrapping key.
fn wrap(wrapping_key: &SubjectPublicKeyInfoDer<'_>, plain: &[u8]) -> Option<Vec<u8>> {
    let key = PublicEncryptingKey::from_der(wrapping_key).ok()?;
    let key = OaepPublicEncryptingKey::new(key).ok()?;
    let ephemeral = Zeroizing::new(SystemRandom.bytes::<32>());
    let mut out = vec![0; key.ciphertext_size()];
    let length = key.encrypt(&OAEP_SHA256_MGF1SHA256, &*ephemeral, &mut out, None).ok()?.len();
    out.truncate(length);
    let ephemeral = AesKek::new(&AES_256, &*ephemeral).ok()?;
    // Padded to eights, and eight more.
    let mut wrapped = vec![0; plain.len().div_ceil(8) * 8 + 8];
    out.extend_from_slice(ephemeral.wrap_with_padding(plain, &mut wrapped).ok()?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_a_mount_and_a_name() {
        for (path, want) in [
            ("transit/keys/a", Some(("transit", "a"))),
            ("team/transit/keys/a", Some(("team/transit", "a"))),
            ("transit/a", None),
            ("keys/a", None),
            ("a", None),
        ] {
            assert_eq!(split(path), want, "{path}");
        }
    }

    #[test]
    fn keys_are_base64_on_any_number_of_lines() {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"YWJj\nZGVm\n").unwrap();
        let from_file = read_key(&format!("@{}", file.path().display())).unwrap();
        assert_eq!(**from_file, *b"abcdef");
        for wrong in ["@/nonexistent", "secret!"] {
            let Err(Failure::Usage(text)) = read_key(wrong) else { panic!("{wrong}") };
            assert!(!text.contains("secret"));
        }
    }
}
