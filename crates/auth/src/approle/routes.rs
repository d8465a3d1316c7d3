//! What is served.

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::{Field, Operation, Route};

const ROLE: Field = Field::string("role_name", "Name of the role. Case does not matter.");
const SECRET_ID: &[Field] = &[ROLE, Field::string("secret_id", "The secret id.").required()];
const ACCESSOR: &[Field] =
    &[ROLE, Field::string("secret_id_accessor", "The secret id's accessor.").required()];
const SETTING: &[Operation] = &[Read, Update, Delete];

const fn setting(pattern: &'static str, fields: &'static [Field]) -> Route {
    Route::new(pattern, SETTING, "One setting of a role by itself.").fields(fields)
}

const BIND_SECRET_ID: Field = Field::bool("bind_secret_id", "Whether a login needs a secret id.");
const LOCAL_SECRET_IDS: Field =
    Field::bool("local_secret_ids", "Whether its secret ids stay in this cluster.");
const SECRET_ID_BOUND_CIDRS: Field =
    Field::strings("secret_id_bound_cidrs", "Networks that logins may come from.");
const SECRET_ID_NUM_USES: Field =
    Field::integer("secret_id_num_uses", "How often a secret id can be used; 0 without bound.");
const SECRET_ID_TTL: Field = Field::duration("secret_id_ttl", "How long a secret id lives.");
const TOKEN_BOUND_CIDRS: Field =
    Field::strings("token_bound_cidrs", "Networks that tokens can be used from.");
const TOKEN_MAX_TTL: Field =
    Field::duration("token_max_ttl", "How long tokens live with renewals.");
const TOKEN_NUM_USES: Field =
    Field::integer("token_num_uses", "How often a token can be used; 0 without bound.");
const TOKEN_PERIOD: Field = Field::duration("token_period", "Renewals give this, without end.");
const TOKEN_POLICIES: Field = Field::strings("token_policies", "Policies of the tokens.");
const TOKEN_TTL: Field = Field::duration("token_ttl", "How long tokens live at first.");

pub(super) const ROUTES: &[Route] = &[
    Route::new("login", &[Update], "A token for a role id and a secret id.").fields(&[
        Field::string("role_id", "The role's id.").required(),
        Field::string("secret_id", "The secret id, where the role asks for one."),
    ]),
    Route::new("role", &[List], "List the roles."),
    Route::new("role/{role_name}", &[Read, Create, Update, Delete], "Who logs in and what for.")
        .fields(&[
            ROLE,
            BIND_SECRET_ID,
            LOCAL_SECRET_IDS,
            Field::string("role_id", "The role's id; random where none is given."),
            SECRET_ID_BOUND_CIDRS,
            SECRET_ID_NUM_USES,
            SECRET_ID_TTL,
            TOKEN_BOUND_CIDRS,
            Field::duration("token_explicit_max_ttl", "An end that no renewal passes."),
            TOKEN_MAX_TTL,
            Field::bool("token_no_default_policy", "Whether tokens go without `default`."),
            TOKEN_NUM_USES,
            TOKEN_PERIOD,
            TOKEN_POLICIES,
            TOKEN_TTL,
            Field::string("token_type", "`service`, `batch` or `default`."),
        ]),
    Route::new("role/{role_name}/role-id", &[Read, Update], "The role's id.")
        .fields(&[ROLE, Field::string("role_id", "The new id.")]),
    Route::new("role/{role_name}/secret-id", &[List, Update], "Make a secret id; list accessors.")
        .fields(&[
            ROLE,
            Field::string("after", "Of a list: only what comes after this accessor."),
            Field::integer("limit", "Of a list: at most so many."),
            Field::string("metadata", "JSON that the tokens carry."),
            Field::strings("cidr_list", "Networks that it can be used from."),
            TOKEN_BOUND_CIDRS,
            Field::integer("num_uses", "How often it can be used."),
            Field::duration("ttl", "How long it lives."),
        ]),
    Route::new("role/{role_name}/custom-secret-id", &[Update], "A secret id of your own choice.")
        .fields(&[
            ROLE,
            Field::string("secret_id", "The secret id.").required(),
            Field::string("metadata", "JSON that the tokens carry."),
            Field::strings("cidr_list", "Networks that it can be used from."),
            TOKEN_BOUND_CIDRS,
            Field::integer("num_uses", "How often it can be used."),
            Field::duration("ttl", "How long it lives."),
        ]),
    Route::new("role/{role_name}/secret-id/lookup", &[Update], "What is known of a secret id.")
        .fields(SECRET_ID),
    Route::new(
        "role/{role_name}/secret-id/destroy",
        &[Update, Delete],
        "Make a secret id useless.",
    )
    .fields(SECRET_ID),
    Route::new(
        "role/{role_name}/secret-id-accessor/lookup",
        &[Update],
        "What is known of a secret id, by its accessor.",
    )
    .fields(ACCESSOR),
    Route::new(
        "role/{role_name}/secret-id-accessor/destroy",
        &[Update, Delete],
        "Make a secret id useless, by its accessor.",
    )
    .fields(ACCESSOR),
    setting("role/{role_name}/bind-secret-id", &[ROLE, BIND_SECRET_ID]),
    Route::new("role/{role_name}/local-secret-ids", &[Read], "One setting of a role by itself.")
        .fields(&[ROLE]),
    setting("role/{role_name}/period", &[ROLE, TOKEN_PERIOD]),
    setting("role/{role_name}/policies", &[ROLE, TOKEN_POLICIES]),
    setting("role/{role_name}/secret-id-bound-cidrs", &[ROLE, SECRET_ID_BOUND_CIDRS]),
    setting("role/{role_name}/secret-id-num-uses", &[ROLE, SECRET_ID_NUM_USES]),
    setting("role/{role_name}/secret-id-ttl", &[ROLE, SECRET_ID_TTL]),
    setting("role/{role_name}/token-bound-cidrs", &[ROLE, TOKEN_BOUND_CIDRS]),
    setting("role/{role_name}/token-max-ttl", &[ROLE, TOKEN_MAX_TTL]),
    setting("role/{role_name}/token-num-uses", &[ROLE, TOKEN_NUM_USES]),
    setting("role/{role_name}/token-ttl", &[ROLE, TOKEN_TTL]),
    Route::new("tidy/secret-id", &[Update], "Remove secret ids that have expired."),
];
