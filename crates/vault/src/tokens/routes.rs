//! What is served under `auth/token/`.

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::{Field, Route};

const TOKEN: &[Field] = &[Field::string("token", "The token.").required()];
const ACCESSOR: &[Field] = &[Field::string("accessor", "The token's accessor.").required()];
const INCREMENT: Field = Field::duration("increment", "How much longer it is to live.");
const ROLE: Field = Field::string("role_name", "Name of the role.");
const CREATE: &[Field] = &[
    Field::string("id", "The token itself; only root may choose it."),
    Field::string("display_name", "A name for logs and for what the token makes."),
    Field::string("entity_alias", "The alias of the entity that it acts for."),
    Field::strings("policies", "Its policies; the caller's where none are named."),
    Field::string_map("meta", "Notes that go into the audit log."),
    Field::bool("no_parent", "Whether it outlives its creator."),
    Field::bool("no_default_policy", "Whether it goes without `default`."),
    Field::bool("renewable", "Whether it can be renewed."),
    Field::duration("ttl", "How long it lives at first."),
    Field::duration("explicit_max_ttl", "An end that no renewal passes."),
    Field::duration("period", "Renewals give this, without end."),
    Field::integer("num_uses", "How often it can be used; 0 without bound."),
    Field::string("type", "`service` or `batch`."),
];

/// All of them.
pub(crate) const ROUTES: &[Route] = &[
    Route::new("accessors", &[List], "List the accessors of all tokens."),
    Route::new("create", &[Update], "Make a token.").fields(CREATE),
    Route::new("create-orphan", &[Update], "Make a token that outlives its creator.")
        .fields(CREATE),
    Route::new("create/{role_name}", &[Update], "Make a token as a role says.").fields(CREATE),
    Route::new("lookup", &[Read, Update], "What is known of a token.").fields(TOKEN),
    Route::new("lookup-accessor", &[Update], "What is known of a token, by its accessor.")
        .fields(ACCESSOR),
    Route::new("lookup-self", &[Read, Update], "What is known of the token that asks."),
    Route::new("renew", &[Update], "Prolong a token.")
        .fields(&[Field::string("token", "The token.").required(), INCREMENT]),
    Route::new("renew-accessor", &[Update], "Prolong a token, by its accessor.")
        .fields(&[Field::string("accessor", "The token's accessor.").required(), INCREMENT]),
    Route::new("renew-self", &[Update], "Prolong the token that asks.").fields(&[INCREMENT]),
    Route::new("revoke", &[Update], "End a token and all that it made.").fields(TOKEN),
    Route::new("revoke-accessor", &[Update], "End a token, by its accessor.").fields(ACCESSOR),
    Route::new("revoke-orphan", &[Update], "End a token, but not the tokens that it made.")
        .fields(TOKEN),
    Route::new("revoke-self", &[Update], "End the token that asks."),
    Route::new("roles", &[List], "List the roles."),
    Route::new("roles/{role_name}", &[Read, Create, Update, Delete], "What a role's tokens are.")
        .fields(&[
            ROLE,
            Field::strings("allowed_policies", "Policies that its tokens may have."),
            Field::strings("allowed_policies_glob", "The same, where `*` stands for any text."),
            Field::strings("disallowed_policies", "Policies that they may not have."),
            Field::strings("disallowed_policies_glob", "The same, where `*` stands for any text."),
            Field::strings("allowed_entity_aliases", "Aliases that they may act for."),
            Field::bool("orphan", "Whether they outlive their creator."),
            Field::bool("renewable", "Whether they can be renewed."),
            Field::string("path_suffix", "Put behind `create/` in the leases' paths."),
            Field::strings("token_bound_cidrs", "Networks that they can be used from."),
            Field::duration("token_explicit_max_ttl", "An end that no renewal passes."),
            Field::bool("token_no_default_policy", "Whether they go without `default`."),
            Field::integer("token_num_uses", "How often one can be used."),
            Field::duration("token_period", "Renewals give this, without end."),
            Field::string("token_type", "`service`, `batch` or a default."),
        ]),
    Route::new("tidy", &[Update], "Remove what no token needs any more."),
];
