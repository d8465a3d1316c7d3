//! What is served.

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::{Field, Route};

const NAME: Field = Field::string("name", "Name of the connection.");
const ROLE: Field = Field::string("name", "Name of the role.");

const PAGE: &[Field] = &[
    Field::string("after", "Only names after this one."),
    Field::integer("limit", "At most so many."),
];

pub(super) const ROUTES: &[Route] = &[
    Route::new("config", &[List], "List the connections."),
    Route::new(
        "config/{name}",
        &[Read, Create, Update, Delete],
        "A connection to a database server.",
    )
    .fields(&[
        NAME,
        Field::string("plugin_name", "The kind of database: `postgresql-database-plugin`."),
        Field::string(
            "connection_url",
            "Where it is; may refer to `{{username}}`, `{{password}}`.",
        ),
        Field::strings("allowed_roles", "Roles that may use it; `*` for all."),
        Field::bool("verify_connection", "Whether to connect before it is stored."),
        Field::strings("root_rotation_statements", "Statements that change its own password."),
        Field::string("password_policy", "The policy that its passwords follow."),
        Field::string("username_template", "How users are named."),
    ]),
    Route::new("roles", &[List], "List the roles.").fields(PAGE),
    Route::new("roles/{name}", &[Read, Create, Update, Delete], "What users of a role may do.")
        .fields(&[
            ROLE,
            Field::string("db_name", "The connection that it uses."),
            Field::strings("creation_statements", "Statements that make a user."),
            Field::strings("revocation_statements", "Statements that remove one."),
            Field::strings("rollback_statements", "Statements for a user that was half made."),
            Field::strings("renew_statements", "Statements that prolong one."),
            Field::duration("default_ttl", "How long a user lives at first."),
            Field::duration("max_ttl", "How long with renewals."),
            Field::string("credential_type", "Only `password`."),
            Field::string_map("credential_config", "The `password_policy` of its users."),
        ]),
    Route::new("static-roles", &[List], "List the static roles.").fields(PAGE),
    Route::new(
        "static-roles/{name}",
        &[Read, Create, Update, Delete],
        "A user that is there already, whose password rotates.",
    )
    .fields(&[
        ROLE,
        Field::string("db_name", "The connection that it uses."),
        Field::string("username", "The user."),
        Field::duration("rotation_period", "How long a password lives."),
        Field::string("rotation_schedule", "When it rotates: five fields of cron, in UTC."),
        Field::duration("rotation_window", "How long a rotation that fails is tried."),
        Field::strings("rotation_statements", "Statements that change the password."),
        Field::string("credential_type", "Only `password`."),
        Field::string_map("credential_config", "Its `password_policy`."),
    ]),
    Route::new("static-creds/{name}", &[Read], "The password of a static role.").fields(&[ROLE]),
    Route::new("rotate-role/{name}", &[Update], "Change a static role's password now.")
        .fields(&[ROLE]),
    Route::new("creds/{name}", &[Read], "Make a user, with a lease.").fields(&[ROLE]),
    Route::new("reset/{name}", &[Update], "Close the sessions of a connection.").fields(&[NAME]),
    Route::new("rotate-root/{name}", &[Update], "Change the connection's own password.")
        .fields(&[NAME]),
];
