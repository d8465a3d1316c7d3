//! Which endpoint a path names.

use holdfast_logical::Error;

/// What can be asked of a transit mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    ListKeys,
    Key,
    Rotate,
    Config,
    Trim,
    SoftDelete,
    SoftDeleteRestore,
    Import,
    ImportVersion,
    Csr,
    SetCertificate,
    Encrypt,
    Decrypt,
    Rewrap,
    Datakey,
    Sign,
    Verify,
    Hmac,
    Hash,
    Random,
    Export,
    ByokExport,
    Backup,
    Restore,
    WrappingKey,
    DeriveKey,
    CacheConfig,
    ConfigKeys,
}

/// A path, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route<'a> {
    pub(super) endpoint: Endpoint,
    /// The key's name, where the path has one.
    pub(super) name: &'a str,
    /// What stands before the name: the kind of an export or of a data key, the key that a key is
    /// exported for, the source of random bytes. Else empty.
    pub(super) before: &'a str,
    /// What may follow: a hash algorithm, a version, a number of bytes. Else empty.
    pub(super) after: &'a str,
}

impl<'a> Route<'a> {
    /// Takes `path` apart. None: there is no such path.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        use Endpoint::*;
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let plain = |endpoint| Route { endpoint, name: "", before: "", after: "" };
        let whole = |endpoint| (path == first).then(|| plain(endpoint));
        // A name, and nothing after it.
        let named = |endpoint| is_name(rest).then(|| Route { name: rest, ..plain(endpoint) });
        // A name, and perhaps something after it.
        let more = |endpoint, text: &'a str| {
            let (name, after) = text.split_once('/').unwrap_or((text, ""));
            let is_open = text.len() > name.len() && after.is_empty();
            (is_name(name) && !is_open).then(|| Route { name, after, ..plain(endpoint) })
        };
        // Two names, and perhaps something after them.
        let pair = |endpoint| {
            let (before, rest) = rest.split_once('/')?;
            let route = more(endpoint, rest)?;
            is_name(before).then_some(Route { before, ..route })
        };
        match first {
            "keys" if rest.is_empty() => Some(plain(ListKeys)),
            "keys" => {
                let Some((name, verb)) = rest.split_once('/') else { return named(Key) };
                let endpoint = match verb {
                    "rotate" => Rotate,
                    "config" => Config,
                    "trim" => Trim,
                    "soft-delete" => SoftDelete,
                    "soft-delete-restore" => SoftDeleteRestore,
                    "import" => Import,
                    "import_version" => ImportVersion,
                    "csr" => Csr,
                    "set-certificate" => SetCertificate,
                    _ => return None,
                };
                is_name(name).then(|| Route { name, ..plain(endpoint) })
            }
            "encrypt" => named(Encrypt),
            "decrypt" => named(Decrypt),
            "rewrap" => named(Rewrap),
            "backup" => named(Backup),
            "derive-key" => named(DeriveKey),
            "sign" => more(Sign, rest),
            "verify" => more(Verify, rest),
            "hmac" => more(Hmac, rest),
            "datakey" => pair(Datakey).filter(|route| route.after.is_empty()),
            "export" => pair(Export),
            "byok-export" => pair(ByokExport),
            "hash" => Some(Route { after: rest, ..plain(Hash) }),
            "restore" => Some(Route { name: rest, ..plain(Restore) }),
            "random" if rest.is_empty() => Some(plain(Random)),
            "random" => {
                let (source, after) = rest.split_once('/').unwrap_or((rest, ""));
                // What is no word is not looked at, as in OpenBao.
                let before = if is_name(source) { source } else { "" };
                Some(Route { before, after, ..plain(Random) })
            }
            "wrapping_key" => whole(WrappingKey),
            "cache-config" => whole(CacheConfig),
            "config" if rest == "keys" => Some(plain(ConfigKeys)),
            _ => None,
        }
    }
}

impl Endpoint {
    /// Whether a wrong field is refused with the words that OpenBao has for writes that may create.
    pub(super) fn may_create(self) -> bool {
        self == Self::Encrypt
    }
}

/// Whether this can be a key's name: letters, digits and `_`, between them `-` and `.` as well.
pub(super) fn is_name(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    word(*first)
        && word(*last)
        && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'-' | b'.'))
}

/// The same refusal with what OpenBao puts before a field of the wrong kind at most endpoints.
pub(super) fn field_error(endpoint: Endpoint, error: Error) -> Error {
    if endpoint.may_create() { error } else { error.field_validation() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let got = |path| {
            Route::parse(path).map(|route| (route.endpoint, route.before, route.name, route.after))
        };
        for (path, want) in [
            ("keys/", Some((Endpoint::ListKeys, "", "", ""))),
            ("keys/a", Some((Endpoint::Key, "", "a", ""))),
            ("keys/a.b-c_d", Some((Endpoint::Key, "", "a.b-c_d", ""))),
            ("keys/-a", None),
            ("keys/a-", None),
            ("keys/a b", None),
            ("keys/a/b", None),
            ("keys/a/rotate", Some((Endpoint::Rotate, "", "a", ""))),
            ("keys/a/import_version", Some((Endpoint::ImportVersion, "", "a", ""))),
            ("encrypt/a", Some((Endpoint::Encrypt, "", "a", ""))),
            ("encrypt/a/b", None),
            ("encrypt/", None),
            ("sign/a", Some((Endpoint::Sign, "", "a", ""))),
            ("sign/a/sha2-512", Some((Endpoint::Sign, "", "a", "sha2-512"))),
            ("sign/a/b/c", Some((Endpoint::Sign, "", "a", "b/c"))),
            ("datakey/wrapped/a", Some((Endpoint::Datakey, "wrapped", "a", ""))),
            ("datakey/wrapped", None),
            ("export/signing-key/a/2", Some((Endpoint::Export, "signing-key", "a", "2"))),
            ("byok-export/d/s", Some((Endpoint::ByokExport, "d", "s", ""))),
            ("hash", Some((Endpoint::Hash, "", "", ""))),
            ("hash/sha2-256", Some((Endpoint::Hash, "", "", "sha2-256"))),
            ("random", Some((Endpoint::Random, "", "", ""))),
            ("random/16", Some((Endpoint::Random, "16", "", ""))),
            ("random/seal/16", Some((Endpoint::Random, "seal", "", "16"))),
            ("random/-1", Some((Endpoint::Random, "", "", ""))),
            ("restore/a/b", Some((Endpoint::Restore, "", "a/b", ""))),
            ("config/keys", Some((Endpoint::ConfigKeys, "", "", ""))),
            ("config/other", None),
            ("wrapping_key", Some((Endpoint::WrappingKey, "", "", ""))),
            ("wrapping_key/a", None),
            ("wrapping_key/", None),
            ("cache-config", Some((Endpoint::CacheConfig, "", "", ""))),
            ("cache-config/", None),
            ("other", None),
            ("", None),
        ] {
            assert_eq!(got(path), want, "{path}");
        }
    }
}
