//! `auto_auth { sink { ... } }`: where the token is written to.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_hcl::{Block, Problems, Settings};

use super::value;

/// Who may read the token where nothing says so: the owner writes, the group reads.
const MODE: u32 = 0o640;

/// A file that holds the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkConfig {
    /// The file.
    pub path: PathBuf,
    /// Its permission bits. Default: 0640.
    pub mode: u32,
    /// Whose it is; none for the agent's user.
    pub uid: Option<u32>,
    /// Its group; none for the agent's.
    pub gid: Option<u32>,
    /// Writes a token that gives out the token once, for that long.
    pub wrap_ttl: Option<Duration>,
    /// Writes it encrypted.
    pub encryption: Option<SinkEncryption>,
}

/// `dh_type = "curve25519"`: encryption for one reader, who has put a public key into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkEncryption {
    /// The file of the reader's public key: `{"curve25519_public_key": "<base64>"}`.
    pub peer_key_file: PathBuf,
    /// Hashes the agreed secret with both public keys (HKDF) before it is used.
    pub derive_key: bool,
    /// What is authenticated with the token: the reader has to name the same.
    pub aad: String,
}

impl SinkConfig {
    pub(super) fn read(block: &Block<'_>, problems: &mut Problems) -> Option<Self> {
        let mut settings = block.settings(problems);
        let kind = value::kind(block, &mut settings);
        let wrap_ttl = settings.duration("wrap_ttl").filter(|ttl| !ttl.is_zero());
        let encryption = SinkEncryption::read(&mut settings);
        let config = settings.blocks("config");
        match kind.as_deref() {
            Some("file") => {}
            Some(kind) => {
                let text = format!("there is no sink {kind:?}; expected \"file\"");
                settings.problems().add(block.position, "auto_auth.sink.type", text);
                return None;
            }
            None => return None,
        }
        let this = config.last().and_then(|config| {
            let mut settings = config.settings(settings.problems());
            let path = value::required_path(&mut settings, "path", "the file to write");
            let mode = value::mode(&mut settings, "mode").unwrap_or(MODE);
            let uid = value::id(&mut settings, "uid");
            let gid = value::id(&mut settings, "gid");
            settings.finish();
            Some(Self { path: path?, mode, uid, gid, wrap_ttl, encryption })
        });
        if config.is_empty() {
            let text = "is missing: config { path = \"...\" }";
            settings.problems().add(block.position, "auto_auth.sink.config", text);
        }
        settings.finish();
        this
    }
}

impl SinkEncryption {
    fn read(settings: &mut Settings<'_, '_>) -> Option<Self> {
        let kind = settings.string("dh_type").filter(|kind| !kind.is_empty());
        let peer_key_file = value::path(settings, "dh_path");
        let derive_key = settings.bool("derive_key").unwrap_or(false);
        let mut aad = settings.string("aad").unwrap_or_default();
        if let Some(name) = settings.string("aad_env_var").filter(|name| !name.is_empty()) {
            aad = std::env::var(name).unwrap_or_default();
        }
        match (kind.as_deref(), peer_key_file) {
            (Some("curve25519"), Some(peer_key_file)) => {
                return Some(Self { peer_key_file, derive_key, aad });
            }
            (Some("curve25519"), None) => settings.refuse("dh_type", "needs dh_path"),
            (Some(_), _) => settings.refuse("dh_type", "expected \"curve25519\""),
            (None, Some(_)) => settings.refuse("dh_path", "needs dh_type"),
            (None, None) if derive_key => settings.refuse("derive_key", "needs dh_type"),
            (None, None) if !aad.is_empty() => settings.refuse("aad", "needs dh_type"),
            (None, None) => {}
        }
        None
    }
}
