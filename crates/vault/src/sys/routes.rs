//! What is served under `sys/`, by whichever part of the server.

use holdfast_logical::Operation::{Delete, List, Read, Update};
use holdfast_logical::{Field, Operation, Route};

const CHANGE: &[Operation] = &[Read, Update, Delete];
const MOUNT: Field = Field::string("path", "Where it is mounted.");
const LEASE: Field = Field::string("lease_id", "The lease.");
const PREFIX: Field = Field::string("prefix", "The path that the leases begin with.");
const POLICY: &[Field] = &[
    Field::string("name", "Name of the policy. Case does not matter."),
    Field::string("policy", "Its rules, in HCL or JSON."),
    Field::integer("cas", "The version that this one follows."),
    Field::bool("cas_required", "Whether every write names the version it follows."),
    Field::string("expiration", "When it ceases to hold."),
    Field::duration("ttl", "How long it holds."),
];
const PASSWORD_POLICY: Field = Field::string("name", "Name of the policy.");
const TUNING: &[Field] = &[
    MOUNT,
    Field::duration("default_lease_ttl", "How long leases and tokens live at first."),
    Field::duration("max_lease_ttl", "How long with renewals."),
    Field::string("description", "For people."),
    Field::string("listing_visibility", "`unauth` shows it to everybody, `hidden` to nobody."),
    Field::strings("passthrough_request_headers", "Header fields that the backend sees."),
    Field::strings("allowed_response_headers", "Header fields that the backend may set."),
    Field::strings("audit_non_hmac_request_keys", "Fields of requests that audit does not hash."),
    Field::strings("audit_non_hmac_response_keys", "Fields of answers that audit does not hash."),
    Field::string_map("options", "The backend's own settings, such as `version`."),
    Field::string("token_type", "The kind of a login method's tokens."),
    Field::object("user_lockout_config", "When a login method locks a user out."),
];
const ENABLE: &[Field] = &[
    MOUNT,
    Field::string("type", "What is mounted, such as `kv`.").required(),
    Field::string("description", "For people."),
    Field::object("config", "As for `tune`."),
    Field::string_map("options", "The backend's own settings, such as `version`."),
    Field::bool("local", "Whether it stays in this cluster."),
    Field::bool("seal_wrap", "Whether its entries are sealed twice."),
];
const CAPABILITIES: Field = Field::strings("paths", "The paths that are asked about.").required();
const DEVICE: Field = Field::string("path", "Name of the device.");
const HEADER: Field = Field::string("header", "Name of the header field.");
const SHARES: &[Field] = &[
    Field::integer("secret_shares", "How many shares are made."),
    Field::integer("secret_threshold", "How many of them are needed."),
    Field::strings("pgp_keys", "Not supported."),
    Field::bool("backup", "Not supported."),
    Field::bool("require_verification", "Whether the new shares are shown to work first."),
];
const SHARE: &[Field] = &[
    Field::string("key", "One share, in hexadecimal or base64.").required(),
    Field::string("nonce", "Names the attempt.").required(),
];
const KEYRING: &[Field] = &[
    Field::bool("enabled", "Whether the key rotates by itself."),
    Field::duration("interval", "How old it may grow; 0 for any age."),
    Field::integer("max_operations", "How much it may encrypt."),
];
const TOKEN: Field = Field::string("token", "The wrapping token; the request's own by default.");
const LEVEL: Field = Field::string("level", "`trace`, `debug`, `info`, `warn` or `error`.");
const FORMAT: Field = Field::string("format", "`hex` or `base64`.");

/// All of them.
pub(crate) const ROUTES: &[Route] = &[
    Route::new("audit", &[Read], "List the audit devices."),
    Route::new("audit/{path*}", &[Update, Delete], "Enable or disable an audit device.").fields(&[
        DEVICE,
        Field::string("type", "`file`, `syslog` or `socket`.").required(),
        Field::string("description", "For people."),
        Field::string_map("options", "The device's own settings, such as `file_path`."),
    ]),
    Route::new("audit-hash/{path*}", &[Update], "The hash that a device writes for a value.")
        .fields(&[DEVICE, Field::string("input", "The value.").required()]),
    Route::new("auth", &[Read], "List the login methods."),
    Route::new("auth/{path*}/tune", &[Read, Update], "A login method's settings.").fields(TUNING),
    Route::new("auth/{path*}", CHANGE, "Enable, show or disable a login method.").fields(ENABLE),
    Route::new("capabilities", &[Update], "What a token may do.")
        .fields(&[CAPABILITIES, Field::string("token", "The token.").required()]),
    Route::new("capabilities-accessor", &[Update], "What a token may do, by its accessor.")
        .fields(&[CAPABILITIES, Field::string("accessor", "The accessor.").required()]),
    Route::new("capabilities-self", &[Update], "What the token that asks may do.")
        .fields(&[CAPABILITIES]),
    Route::new("config/auditing/request-headers", &[Read], "Header fields that audit records."),
    Route::new(
        "config/auditing/request-headers/{header}",
        CHANGE,
        "Whether audit records a header field, and how.",
    )
    .fields(&[HEADER, Field::bool("hmac", "Whether it is hashed.")]),
    Route::new("config/cors", CHANGE, "Which web pages may ask this server.").fields(&[
        Field::strings("allowed_origins", "Their origins, or `*`.").required(),
        Field::strings("allowed_headers", "Header fields that they may send besides the usual."),
        Field::bool("allow_credentials", "Whether browsers may send their credentials."),
    ]),
    Route::new("config/state/sanitized", &[Read], "The configuration in use, without secrets."),
    Route::new("config/ui/headers", &[List], "List the header fields of every answer."),
    Route::new("config/ui/headers/{header}", CHANGE, "A header field of every answer.").fields(&[
        HEADER,
        Field::strings("values", "What it holds.").required(),
        Field::bool("multivalue", "Whether to show all its values."),
    ]),
    Route::new("decode-token", &[Update], "A root token from what `generate-root` gave.").fields(
        &[
            Field::string("encoded_token", "The token under its one-time pad.").required(),
            Field::string("otp", "The pad.").required(),
        ],
    ),
    Route::new("events/subscribe/{kinds*}", &[Read], "Be told of changes, over a WebSocket.")
        .fields(&[Field::string("kinds", "Kinds of events; `*` stands for anything.")]),
    Route::new("generate-root-token/attempt", CHANGE, "The attempt to make a root token.")
        .fields(&[Field::string("otp", "The one-time pad; made where none is given.")]),
    Route::new("generate-root-token/update", &[Update], "Hand in a share for a root token.")
        .fields(SHARE),
    Route::new("ha-status", &[Read], "The servers of this cluster."),
    Route::new("health", &[Read], "Whether the server serves, as a status code.").fields(&[
        Field::integer("activecode", "The status where it serves."),
        Field::integer("sealedcode", "The status where it is sealed."),
        Field::integer("uninitcode", "The status where it is not initialised."),
    ]),
    Route::new("host-info", &[Read], "The machine that the server runs on."),
    Route::new("in-flight-req", &[Read], "The requests under way."),
    Route::new("init", &[Read, Update], "Initialise an empty server.").fields(&[
        Field::integer("secret_shares", "How many shares are made."),
        Field::integer("secret_threshold", "How many of them unseal."),
        Field::integer("recovery_shares", "How many recovery shares are made."),
        Field::integer("recovery_threshold", "How many of them are needed."),
    ]),
    Route::new("internal/counters/entities", &[Read], "How many entities there are."),
    Route::new("internal/counters/requests", &[Read], "Nothing any more."),
    Route::new("internal/counters/tokens", &[Read], "How many service tokens there are."),
    Route::new("internal/explain", &[List], "The requests that were refused lately, newest first."),
    Route::new("internal/explain/{id}", &[Read], "Why a request was refused.")
        .fields(&[Field::string("id", "What the header field X-Holdfast-Explain said.")]),
    Route::new("internal/specs/openapi", &[Read, Update], "This API as an OpenAPI document.")
        .fields(&[
            Field::string("context", "Taken and not used."),
            Field::bool("generic_mount_paths", "Whether mounts stand as parameters."),
        ]),
    Route::new("internal/ui/mounts", &[Read], "The mounts that the caller can use."),
    Route::new("internal/ui/mounts/{path*}", &[Read], "The mount that a path belongs to.")
        .fields(&[Field::string("path", "The path.")]),
    Route::new("internal/ui/namespaces", &[Read], "The namespaces that the caller can use."),
    Route::new("internal/ui/resultant-acl", &[Read], "All rules that hold for the caller."),
    Route::new("key-status", &[Read], "The encryption key in use."),
    Route::new("leader", &[Read], "Which server leads."),
    Route::new("leases", &[Read], "Leases that cannot be revoked.").fields(&[
        Field::string("type", "`irrevocable`.").required(),
        Field::string("limit", "The most leases to return, or `none`."),
    ]),
    Route::new("leases/count", &[Read], "How many leases cannot be revoked.")
        .fields(&[Field::string("type", "`irrevocable`.").required()]),
    Route::new("leases/lookup", &[Update, List], "What is known of a lease; list the first level.")
        .fields(&[LEASE]),
    Route::new("leases/lookup/{prefix*}", &[List], "List the leases of a path.").fields(&[PREFIX]),
    Route::new("leases/renew", &[Update], "Prolong a lease.")
        .fields(&[LEASE, Field::duration("increment", "How long it is to live from now.")]),
    Route::new("leases/renew/{url_lease_id*}", &[Update], "Prolong the lease in the path.")
        .fields(&[Field::duration("increment", "How long it is to live from now.")]),
    Route::new("leases/revoke", &[Update], "End a lease.")
        .fields(&[LEASE, Field::bool("sync", "Whether to wait for it.")]),
    Route::new("leases/revoke-force/{prefix*}", &[Update], "Forget all leases of a path.")
        .fields(&[PREFIX]),
    Route::new("leases/revoke-prefix/{prefix*}", &[Update], "End all leases of a path.")
        .fields(&[PREFIX, Field::bool("sync", "Whether to wait for it.")]),
    Route::new("leases/revoke/{url_lease_id*}", &[Update], "End the lease in the path.")
        .fields(&[Field::bool("sync", "Whether to wait for it.")]),
    Route::new("leases/tidy", &[Update], "Try again to revoke what could not be revoked."),
    Route::new("locked-users", &[Read], "Who failed to log in too often.")
        .fields(&[Field::string("mount_accessor", "Those of one login method alone.")]),
    Route::new(
        "locked-users/{mount_accessor}/unlock/{alias_identifier}",
        &[Update],
        "Let somebody try again.",
    )
    .fields(&[
        Field::string("mount_accessor", "Accessor of the login method."),
        Field::string("alias_identifier", "The name there."),
    ]),
    Route::new("loggers", CHANGE, "How much the server logs, by its parts, until the next start.")
        .fields(&[LEVEL]),
    Route::new("loggers/{name}", CHANGE, "How much one part of the server logs.")
        .fields(&[Field::string("name", "The part."), LEVEL]),
    Route::new("metrics", &[Read], "Numbers for monitoring.")
        .fields(&[Field::string("format", "`prometheus`, or JSON where it is empty.")]),
    Route::new("monitor", &[Read], "The server's log from now on, as text that comes as it comes.")
        .fields(&[
            Field::string("log_level", "`trace`, `debug`, `info`, `warn` or `error`."),
            Field::string("log_format", "`standard` or `json`."),
        ]),
    Route::new("mounts", &[Read], "List the engines."),
    Route::new("mounts/{path*}/tune", &[Read, Update], "An engine's settings.").fields(TUNING),
    Route::new("mounts/{path*}", CHANGE, "Enable, show or disable an engine.").fields(ENABLE),
    Route::new("namespaces", &[List], "List the namespaces: there are none."),
    Route::new("namespaces/{path*}", CHANGE, "A namespace. None can be made."),
    Route::new("plugins/catalog", &[Read], "All that can be mounted."),
    Route::new("plugins/catalog/{type}", &[List], "What can be mounted of one type."),
    Route::new("plugins/catalog/{type}/{name}", CHANGE, "Something that can be mounted."),
    Route::new("plugins/reload/backend", &[Update], "Start mounts anew.").fields(&[
        Field::string("plugin", "All mounts of this type."),
        Field::strings("mounts", "These mounts."),
        Field::string("scope", "`global`, or empty."),
    ]),
    Route::new("policies/acl", &[List], "List the policies."),
    Route::new("policies/acl/{name*}", CHANGE, "A policy.").fields(POLICY),
    Route::new("policies/password", &[List], "List the password policies."),
    Route::new("policies/password/{name}/generate", &[Read], "A password by a policy.")
        .fields(&[PASSWORD_POLICY]),
    Route::new("policies/password/{name*}", CHANGE, "How passwords are made.").fields(&[
        PASSWORD_POLICY,
        Field::string("policy", "Their length and characters, in HCL or JSON."),
    ]),
    Route::new("policies/detailed/acl", &[List], "List the policies with their rules."),
    Route::new("policies/detailed/acl/{name*}", &[List], "List policies with their rules."),
    Route::new("policy", &[Read, List], "List the policies. The older name."),
    Route::new("policy/{name*}", CHANGE, "A policy. The older name.").fields(POLICY),
    Route::new("quotas/config", &[Read, Update], "What holds for all quotas.").fields(&[
        Field::strings("rate_limit_exempt_paths", "Paths that are not limited."),
        Field::bool("enable_rate_limit_audit_logging", "Whether audit records refusals."),
        Field::bool("enable_rate_limit_response_headers", "Whether answers say what is left."),
    ]),
    Route::new("quotas/rate-limit", &[List], "List the rate limits."),
    Route::new("quotas/rate-limit/{name}", CHANGE, "How many requests a client may make.").fields(
        &[
            Field::string("name", "Name of the limit."),
            Field::string("path", "What it holds for: a mount or a path; all where it is empty."),
            Field::string("role", "Only logins by this role."),
            Field::integer("rate", "How many requests in an interval.").required(),
            Field::duration("interval", "The interval; a second by default."),
            Field::duration("block_interval", "How long a client who asks too often must wait."),
            Field::bool("inheritable", "Taken and shown: there are no namespaces to inherit it."),
        ],
    ),
    Route::new("remount", &[Update], "Move a mount.").fields(&[
        Field::string("from", "Where it is.").required(),
        Field::string("to", "Where it is to be.").required(),
    ]),
    Route::new("remount/status/{migration_id}", &[Read], "How far a move has come."),
    Route::new("renew", &[Update], "Prolong a lease. The older name.").fields(&[LEASE]),
    Route::new("renew/{url_lease_id*}", &[Update], "Prolong a lease. The older name."),
    Route::new("revoke", &[Update], "End a lease. The older name.").fields(&[LEASE]),
    Route::new("revoke/{url_lease_id*}", &[Update], "End a lease. The older name."),
    Route::new("revoke-force/{prefix*}", &[Update], "Forget leases. The older name."),
    Route::new("revoke-prefix/{prefix*}", &[Update], "End leases. The older name."),
    Route::new("rekey/backup", &[Read, Delete], "Copies of shares: none are kept."),
    Route::new("rekey/recovery-key-backup", &[Read, Delete], "Copies of shares: none are kept."),
    Route::new("rotate", &[Update], "Make a new encryption key."),
    Route::new("rotate/config", &[Read, Update], "When the encryption key rotates by itself.")
        .fields(KEYRING),
    Route::new("rotate/keyring", &[Update], "Make a new encryption key."),
    Route::new("rotate/keyring/config", &[Read, Update], "When the key rotates by itself.")
        .fields(KEYRING),
    Route::new("rotate/recovery/backup", &[Read, Delete], "Copies of shares: none are kept."),
    Route::new("rotate/recovery/init", CHANGE, "New recovery shares for the old.").fields(SHARES),
    Route::new("rotate/recovery/verify", CHANGE, "Show that the new shares work.").fields(SHARE),
    Route::new("rotate/recovery/update", &[Update], "Hand in a share for new ones.").fields(SHARE),
    Route::new("rotate/root", &[Update], "A new root key, where the seal has its key at hand."),
    Route::new("rotate/root/backup", &[Read, Delete], "Copies of shares: none are kept."),
    Route::new("rotate/root/init", CHANGE, "New unseal shares for the old.").fields(SHARES),
    Route::new("rotate/root/verify", CHANGE, "Show that the new shares work.").fields(SHARE),
    Route::new("rotate/root/update", &[Update], "Hand in a share for new ones.").fields(SHARE),
    Route::new("seal", &[Update], "Stop serving until the server is unsealed."),
    Route::new("seal-status", &[Read], "Where unsealing stands."),
    Route::new("step-down", &[Update], "Let another server lead: there is none."),
    Route::new("tools/hash", &[Update], "The hash of an input.")
        .fields(&[Field::string("input", "In base64.").required(), FORMAT]),
    Route::new("tools/hash/{urlalgorithm}", &[Update], "The hash of an input.")
        .fields(&[Field::string("input", "In base64.").required(), FORMAT]),
    Route::new("tools/random", &[Update], "Random bytes.")
        .fields(&[Field::integer("bytes", "How many."), FORMAT]),
    Route::new("tools/random/{source}", &[Update], "Random bytes.")
        .fields(&[Field::integer("bytes", "How many."), FORMAT]),
    Route::new("tools/random/{source}/{urlbytes}", &[Update], "Random bytes.").fields(&[FORMAT]),
    Route::new("unseal", &[Update], "Hand in a share of the unseal key.").fields(&[
        Field::string("key", "One share, in hexadecimal or base64."),
        Field::bool("reset", "Whether to forget the shares so far."),
    ]),
    Route::new("version-history", &[List], "The versions that ran on this store."),
    Route::new("wrapping/lookup", &[Read, Update], "What is known of a wrapping token.")
        .fields(&[TOKEN]),
    Route::new("wrapping/rewrap", &[Update], "Wrap anew what is wrapped.").fields(&[TOKEN]),
    Route::new("wrapping/unwrap", &[Update], "What is wrapped, once.").fields(&[TOKEN]),
    Route::new("wrapping/wrap", &[Update], "Wrap the body of the request."),
];

/// Whether `path`, below `sys/`, is served and holds nothing: then there is nothing at `path/`.
/// `host-info` and `plugins/catalog` have both names in OpenBao.
pub(super) fn is_no_folder(path: &str) -> bool {
    !matches!(path, "host-info" | "plugins/catalog")
        && ROUTES.iter().any(|route| route.pattern == path && !route.operations.contains(&List))
}
