//! The seal key: the one secret that everything else of a platform is locked with.
//!
//! It is 32 random bytes, kept outside the state directory and outside the platform directory, so
//! that a copy of either opens nothing. Three ways to keep it, in the order of preference: bound to
//! this machine's TPM by `systemd-creds`, under a passphrase, or in a file that only its owner can
//! read. The last opens everything to whoever reads it, and `status` says so.

use std::io::Write;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use holdfast_types::{Random, Secret, SecretBytes, SecretString, SystemRandom};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::files;
use super::state::State;

const FORMAT: u32 = 1;
const KEY_BYTES: usize = 32;

/// How the seal key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SealKind {
    /// Sealed by this machine's TPM.
    Tpm,
    /// Under a passphrase, which every start asks for.
    Passphrase,
    /// As it is, in a file with mode 0600.
    File,
}

/// The key itself.
#[derive(Debug, Clone)]
pub(crate) struct SealKey(SecretBytes);

/// The file that keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    #[serde(flatten)]
    how: How,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum How {
    /// What `systemd-creds encrypt` printed.
    Tpm { sealed: String },
    /// AES-256-GCM under PBKDF2-HMAC-SHA256 of the passphrase; base64.
    Passphrase { salt: String, iterations: NonZeroU32, sealed: String },
    /// Base64.
    File { key: SecretString },
}

/// OWASP's figure for PBKDF2-HMAC-SHA256 is 600,000; a start happens rarely enough for more.
const ITERATIONS: u32 = 1_000_000;
/// More would let a damaged file keep a start busy for hours.
const MOST_ITERATIONS: u32 = 100_000_000;

impl SealKind {
    /// For `status`: what it is, and what it means.
    pub(crate) fn describe(self, path: &Path) -> String {
        let path = path.display();
        match self {
            Self::Tpm => format!("sealed by this machine's TPM, in {path}"),
            Self::Passphrase => format!("under a passphrase, in {path}"),
            Self::File => format!("in the file {path}, which opens everything to whoever reads it"),
        }
    }
}

/// Where the key of a platform is kept unless the operator says otherwise.
pub(crate) fn default_path(name: &str, state: &State) -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from) {
        _ if Uid::effective().is_root() => "/etc".into(),
        Some(base) if base.is_absolute() => base,
        _ => files::home()?.join(".config"),
    };
    Ok(base.join("holdfast").join(format!("{}.seal", state.unique_name(name))))
}

/// How the key at `path` is kept, or nothing when there is none.
pub(crate) fn kind(path: &Path) -> anyhow::Result<Option<SealKind>> {
    Ok(read(path)?.map(|kept| match kept.how {
        How::Tpm { .. } => SealKind::Tpm,
        How::Passphrase { .. } => SealKind::Passphrase,
        How::File { .. } => SealKind::File,
    }))
}

/// What a new key is kept by when nobody says.
pub(crate) fn best_kind(passphrase: bool) -> SealKind {
    let tpm = || {
        let mut probe = Command::new("systemd-creds");
        probe.args(["has-tpm2", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::null());
        probe.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if passphrase {
        SealKind::Passphrase
    } else if Uid::effective().is_root() && tpm() {
        SealKind::Tpm
    } else {
        SealKind::File
    }
}

/// Opens the key at `path`.
///
/// # Errors
/// It cannot be read, others can read it, the passphrase is missing or wrong, or the TPM refuses.
pub(crate) fn open(path: &Path, passphrase: Option<&SecretString>) -> anyhow::Result<SealKey> {
    files::check_private(path)?;
    let kept = read(path)?.with_context(|| {
        format!("the seal key {} is gone; restore it from where you keep copies", path.display())
    })?;
    let key = match kept.how {
        How::File { key } => BASE64.decode(key.expose()).ok().map(SecretBytes::new),
        How::Tpm { sealed } => {
            Some(systemd_creds(&["decrypt", "--name=holdfast"], sealed.as_bytes())?)
        }
        How::Passphrase { salt, iterations, sealed } => {
            let passphrase = passphrase
                .context("the seal key is under a passphrase; give it with --passphrase-file")?;
            ensure!(iterations.get() <= MOST_ITERATIONS, "{} is damaged", path.display());
            let decode = |text: &str| BASE64.decode(text).with_context(|| damaged(path));
            let key = from_passphrase(passphrase, &decode(&salt)?, iterations);
            let opened = key.open("seal-key", &decode(&sealed)?);
            Some(opened.context("the passphrase is not the one that the seal key was put under")?)
        }
    };
    match key {
        Some(key) if key.expose().len() == KEY_BYTES => Ok(SealKey(key)),
        _ => bail!(damaged(path)),
    }
}

/// Makes a new key and keeps it at `path`, where nothing may be yet.
///
/// # Errors
/// It cannot be written, or the TPM refuses.
pub(crate) fn create(
    path: &Path,
    kind: SealKind,
    passphrase: Option<&SecretString>,
) -> anyhow::Result<SealKey> {
    ensure!(!path.exists(), "{} exists", path.display());
    let key = SealKey(Secret::new(SystemRandom.bytes::<KEY_BYTES>().to_vec()));
    let how = match kind {
        SealKind::File => How::File { key: BASE64.encode(key.0.expose()).into() },
        SealKind::Tpm => {
            let arguments = ["encrypt", "--name=holdfast", "--with-key=tpm2"];
            let sealed = systemd_creds(&arguments, key.0.expose())?;
            How::Tpm { sealed: String::from_utf8(sealed.expose().clone())? }
        }
        SealKind::Passphrase => {
            let passphrase = passphrase.context("a passphrase is needed: --passphrase-file")?;
            ensure!(
                passphrase.expose().chars().count() >= 8,
                "a passphrase has 8 characters or more"
            );
            let salt: [u8; 16] = SystemRandom.bytes();
            let iterations = NonZeroU32::new(ITERATIONS).context("not zero")?;
            let sealed =
                from_passphrase(passphrase, &salt, iterations).seal("seal-key", key.0.expose())?;
            How::Passphrase { salt: BASE64.encode(salt), iterations, sealed: BASE64.encode(sealed) }
        }
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("make {}", directory.display()))?;
    }
    let bytes = Zeroizing::new(serde_json::to_vec_pretty(&Kept { format: FORMAT, how })?);
    files::write(path, &bytes, 0o600, None).with_context(|| format!("write {}", path.display()))?;
    Ok(key)
}

impl SealKey {
    /// The key as the secrets server's static seal takes it: 32 bytes of its own, derived, so that
    /// the server never holds what opens the supervisor's secrets.
    pub(crate) fn for_vault(&self) -> anyhow::Result<SecretBytes> {
        Ok(Secret::new(self.derive("holdfast vault static seal")?.to_vec()))
    }

    /// The key of the SPIFFE server's store: 32 bytes of its own, likewise.
    pub(crate) fn for_spiffe(&self) -> anyhow::Result<SecretBytes> {
        Ok(Secret::new(self.derive("holdfast spiffe store")?.to_vec()))
    }

    /// Locks `plain` so that it opens again only as `name`.
    pub(crate) fn seal(&self, name: &str, plain: &[u8]) -> anyhow::Result<Vec<u8>> {
        let nonce_and_more = self.cipher()?;
        let mut sealed = plain.to_vec();
        let aad = Aad::from(name.as_bytes());
        let nonce = nonce_and_more
            .seal_in_place_append_tag(aad, &mut sealed)
            .map_err(|_| anyhow::anyhow!("seal {name}"))?;
        let mut whole = nonce.as_ref().to_vec();
        whole.append(&mut sealed);
        Ok(whole)
    }

    /// Opens what [`SealKey::seal`] locked as `name`.
    pub(crate) fn open(&self, name: &str, sealed: &[u8]) -> anyhow::Result<SecretBytes> {
        let (nonce, body) = sealed.split_first_chunk::<12>().context("too short")?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = self
            .cipher()?
            .open_in_place(Nonce::from(nonce), Aad::from(name.as_bytes()), &mut body)
            .map_err(|_| anyhow::anyhow!("{name} does not open with this seal key"))?;
        Ok(Secret::new(plain.to_vec()))
    }

    fn cipher(&self) -> anyhow::Result<RandomizedNonceKey> {
        let key = self.derive("holdfast supervisor")?;
        RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| anyhow::anyhow!("AES key"))
    }

    /// HKDF-SHA256 without salt: the key is uniform already, `purpose` tells the uses apart.
    fn derive(&self, purpose: &str) -> anyhow::Result<Zeroizing<[u8; KEY_BYTES]>> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(self.0.expose());
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        secret
            .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|material| material.fill(derived.as_mut_slice()))
            .map_err(|_| anyhow::anyhow!("derive a key"))?;
        Ok(derived)
    }
}

fn from_passphrase(passphrase: &SecretString, salt: &[u8], iterations: NonZeroU32) -> SealKey {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, salt, passphrase.expose().as_bytes(), key.as_mut_slice());
    SealKey(Secret::new(key.to_vec()))
}

/// Runs `systemd-creds` with `input`, and gives what it prints. Neither is in its arguments.
fn systemd_creds(arguments: &[&str], input: &[u8]) -> anyhow::Result<SecretBytes> {
    let mut command = Command::new("systemd-creds");
    command.args(arguments).args(["-", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("run systemd-creds, which keeps the seal key")?;
    child.stdin.take().context("a pipe")?.write_all(input)?;
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "systemd-creds {}: {}", arguments[0], complaint.trim());
    Ok(Secret::new(output.stdout))
}

fn read(path: &Path) -> anyhow::Result<Option<Kept>> {
    let Some(bytes) = files::read(path)?.map(Zeroizing::new) else { return Ok(None) };
    // Not the parser's error, which may quote the key.
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|_| anyhow::anyhow!(damaged(path)))?;
    ensure!(kept.format <= FORMAT, "{} was written by a newer holdfast", path.display());
    Ok(Some(kept))
}

fn damaged(path: &Path) -> String {
    format!("the seal key {} is damaged; restore it from where you keep copies", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_each_kind_of_file() {
        let directory = tempfile::tempdir().unwrap();
        let passphrase = SecretString::from("correct horse");
        for kind in [SealKind::File, SealKind::Passphrase] {
            let path = directory.path().join(format!("{kind:?}"));
            let made = create(&path, kind, Some(&passphrase)).unwrap();
            assert_eq!(super::kind(&path).unwrap(), Some(kind));
            let opened = open(&path, Some(&passphrase)).unwrap();
            assert_eq!(opened.0, made.0);
            assert!(create(&path, kind, Some(&passphrase)).is_err(), "never overwritten");
        }
        let path = directory.path().join("Passphrase");
        let wrong = open(&path, Some(&"wrong horse".into())).unwrap_err().to_string();
        assert!(wrong.contains("passphrase is not the one"), "{wrong}");
        let missing = open(&path, None).unwrap_err().to_string();
        assert!(missing.contains("--passphrase-file"), "{missing}");
    }

    #[test]
    fn what_is_sealed_opens_under_its_name_alone() {
        let directory = tempfile::tempdir().unwrap();
        let key = create(&directory.path().join("k"), SealKind::File, None).unwrap();
        let sealed = key.seal("root", b"plain").unwrap();
        assert_eq!(key.open("root", &sealed).unwrap().expose(), b"plain");
        assert!(key.open("supervisor", &sealed).is_err());
        let mut flipped = sealed.clone();
        flipped[14] ^= 1;
        assert!(key.open("root", &flipped).is_err());
        assert!(key.open("root", &sealed[..5]).is_err());
    }

    #[test]
    fn a_damaged_key_file_is_not_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("k");
        files::write(&path, br#"{"format":1,"kind":"file","key":"c2VjcmV0"#, 0o600, None).unwrap();
        let error = format!("{:#}", open(&path, None).unwrap_err());
        assert!(error.contains("is damaged") && !error.contains("c2VjcmV0"), "{error}");
    }
}
