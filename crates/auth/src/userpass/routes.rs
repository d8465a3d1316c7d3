//! What is served.

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::{Field, Route};

const NAME: Field = Field::string("username", "Name of the user.");
const PASSWORD: Field = Field::string("password", "The user's password.");
const PASSWORD_HASH: Field =
    Field::string("password_hash", "The bcrypt hash of the password, in place of the password.");
const POLICIES: Field = Field::strings("policies", "Older name of token_policies.");
const TOKEN_POLICIES: Field = Field::strings("token_policies", "Policies of the tokens.");

pub(super) const ROUTES: &[Route] = &[
    Route::new("login/{username}", &[Update], "Log in with a name and a password.")
        .fields(&[NAME, PASSWORD]),
    Route::new("users", &[List], "List the users.").fields(&[
        Field::string("after", "Only names after this one."),
        Field::integer("limit", "At most so many names."),
    ]),
    Route::new(
        "users/{username}",
        &[Read, Create, Update, Delete],
        "Read, write or remove a user.",
    )
    .fields(&[
        NAME,
        PASSWORD,
        PASSWORD_HASH,
        POLICIES,
        Field::duration("ttl", "Older name of token_ttl."),
        Field::duration("max_ttl", "Older name of token_max_ttl."),
        Field::strings("bound_cidrs", "Older name of token_bound_cidrs."),
        Field::strings("token_bound_cidrs", "Where logins may come from, and tokens be used."),
        Field::duration("token_explicit_max_ttl", "The longest life, for periodic tokens too."),
        Field::duration("token_max_ttl", "The longest life with renewals."),
        Field::bool("token_no_default_policy", "Leaves the policy default out."),
        Field::integer("token_num_uses", "How often a token can be used; 0 for any number."),
        Field::duration("token_period", "Each renewal gives this much again, without end."),
        TOKEN_POLICIES,
        Field::bool("token_strictly_bind_ip", "Binds a token to the address that logged in."),
        Field::duration("token_ttl", "Life at first."),
        Field::string("token_type", "service or batch."),
    ]),
    Route::new("users/{username}/password", &[Update], "Set a user's password.").fields(&[
        NAME,
        PASSWORD,
        PASSWORD_HASH,
    ]),
    Route::new("users/{username}/policies", &[Update], "Set a user's policies.").fields(&[
        NAME,
        POLICIES,
        TOKEN_POLICIES,
    ]),
];
