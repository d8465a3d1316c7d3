//! Which keys a store has few of, whatever it is used for.
//!
//! A store grows by tokens, leases, people, and what mounts keep in folders. All else, such as
//! mounts, policies, audit devices and each mount's own settings, is its core. A start reads the
//! core; so its keys have a sum of their own, which is quickly compared however large the store is.
//!
//! The sum is stored: other folders here need another format of the store.

/// Mounts' storage is below `<class>/<uuid>/`: it grows in the folders there.
const MOUNTS: [&str; 2] = ["auth/", "logical/"];

/// But not in these: what is to be finished or begun by a mount when it starts.
const QUEUES: [&str; 3] = ["rotation/", "static-due/", "wal/"];

/// Everything else that grows.
const FOLDERS: [&str; 16] = [
    "sys/identity/children/",
    "sys/identity/entity/",
    "sys/identity/entity-alias/",
    "sys/identity/entity-alias-id/",
    "sys/identity/entity-name/",
    "sys/identity/group/",
    "sys/identity/group-alias/",
    "sys/identity/group-alias-id/",
    "sys/identity/group-name/",
    "sys/identity/groups-of/",
    "sys/identity/members/",
    "sys/identity/merged/",
    "sys/lease/",
    "sys/token/accessor/",
    "sys/token/id/",
    "sys/token/parent/",
];

/// The growing folder that `key` lies in, with its `/`. None: it belongs to the core.
pub(crate) fn growing_folder(key: &str) -> Option<&str> {
    if MOUNTS.iter().any(|class| key.starts_with(class)) {
        let mut slashes = key.match_indices('/').skip(1);
        let (start, end) = (slashes.next()?.0 + 1, slashes.next()?.0);
        let is_queue = QUEUES.contains(&&key[start..=end]);
        return (!is_queue).then(|| &key[..=end]);
    }
    let folder = FOLDERS.iter().find(|folder| key.starts_with(**folder))?;
    Some(&key[..folder.len()])
}

/// Whether keys that begin with `prefix` may lie in a growing folder.
pub(crate) fn may_grow_below(prefix: &str) -> bool {
    let is_of_mounts = |class: &&str| class.starts_with(prefix) || prefix.starts_with(*class);
    let is_queue = || growing_folder(prefix).is_none() && prefix.matches('/').count() > 2;
    growing_folder(prefix).is_some()
        || (MOUNTS.iter().any(is_of_mounts) && !is_queue())
        || FOLDERS.iter().any(|folder| folder.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_mounts_and_of_records_grow_and_the_core_does_not() {
        for (key, folder) in [
            ("core/keyring", None),
            ("sys/policy/a/b/c", None),
            ("sys/token/salt", None),
            ("sys/token/doomed/x", None),
            ("sys/token/id/x", Some("sys/token/id/")),
            ("sys/lease/due/1-x", Some("sys/lease/")),
            ("sys/identity/entity-alias/a/b", Some("sys/identity/entity-alias/")),
            ("logical/1/config", None),
            ("logical/1/key/a/b", Some("logical/1/key/")),
            ("logical/1/static-due/1-x", None),
            ("auth/1/role/a", Some("auth/1/role/")),
        ] {
            assert_eq!(growing_folder(key), folder, "{key}");
            let prefixes = (0..=key.len()).map(|end| may_grow_below(&key[..end]));
            assert!(folder.is_none() || prefixes.clone().all(|may| may), "{key}");
        }
        for prefix in [
            "core/",
            "core/audit/",
            "sys/policy/",
            "sys/token/doomed/",
            "sys/quotas/",
            "logical/1/wal/",
        ] {
            assert!(!may_grow_below(prefix), "{prefix}");
        }
    }
}
