//! What is served under `identity/`.

use holdfast_logical::Operation::{Create, Delete, List, Read, Update};
use holdfast_logical::{Field, Route};

const METADATA: Field = Field::string_map("metadata", "Notes, for templates in policies.");
const POLICIES: Field = Field::strings("policies", "Policies that hold beside the tokens' own.");
const ACCESSOR: Field = Field::string("mount_accessor", "The login method's accessor.");

const ENTITY: &[Field] = &[
    Field::string("id", "The entity to change."),
    Field::string("name", "Its name."),
    METADATA,
    POLICIES,
    Field::bool("disabled", "Whether its tokens are refused."),
];

const GROUP: &[Field] = &[
    Field::string("id", "The group to change."),
    Field::string("name", "Its name."),
    Field::string("type", "`internal`, or `external`: set by logins."),
    METADATA,
    POLICIES,
    Field::strings("member_entity_ids", "The entities in it."),
    Field::strings("member_group_ids", "The groups in it."),
];

const ALIAS: &[Field] = &[
    Field::string("id", "The alias to change."),
    Field::string("name", "The name in the login method."),
    ACCESSOR,
    Field::string("canonical_id", "The entity that it is of."),
    Field::string("entity_id", "The same, by its older name."),
    Field::string_map("custom_metadata", "Notes, for templates in policies."),
];

const GROUP_ALIAS: &[Field] = &[
    Field::string("id", "The alias to change."),
    Field::string("name", "The group's name in the login method."),
    ACCESSOR,
    Field::string("canonical_id", "The group that it is of."),
];

const QUERY: &[Field] = &[
    Field::string("id", "By its id."),
    Field::string("name", "By its name."),
    Field::string("alias_id", "By the id of an alias."),
    Field::string("alias_name", "By an alias, with `alias_mount_accessor`."),
    Field::string("alias_mount_accessor", "The accessor of the alias's login method."),
];

/// All of them.
pub(crate) const ROUTES: &[Route] = &[
    Route::new("entity", &[Update], "Make an entity, or change one.").fields(ENTITY),
    Route::new("entity/id", &[List], "List the entities by their ids."),
    Route::new("entity/id/{id}", &[Read, Update, Delete], "An entity, by its id.").fields(ENTITY),
    Route::new("entity/name", &[List], "List the entities by their names."),
    Route::new("entity/name/{name*}", &[Read, Update, Delete], "An entity, by its name.")
        .fields(ENTITY),
    Route::new("entity/batch-delete", &[Update], "Remove several entities.")
        .fields(&[Field::strings("entity_ids", "Which.").required()]),
    Route::new("entity/merge", &[Update], "Make several entities one.").fields(&[
        Field::strings("from_entity_ids", "Those that go.").required(),
        Field::string("to_entity_id", "The one that stays.").required(),
        Field::strings("conflicting_alias_ids_to_keep", "Of two aliases at one mount, which stay."),
        Field::bool("force", "Taken for the sake of older clients."),
    ]),
    Route::new("entity-alias", &[Update], "Give an entity a name in a login method.").fields(ALIAS),
    Route::new("entity-alias/id", &[List], "List the aliases of entities."),
    Route::new("entity-alias/id/{id}", &[Read, Update, Delete], "An alias of an entity.")
        .fields(ALIAS),
    Route::new("group", &[Update], "Make a group, or change one.").fields(GROUP),
    Route::new("group/id", &[List], "List the groups by their ids."),
    Route::new("group/id/{id}", &[Read, Update, Delete], "A group, by its id.").fields(GROUP),
    Route::new("group/name", &[List], "List the groups by their names."),
    Route::new("group/name/{name*}", &[Read, Update, Delete], "A group, by its name.")
        .fields(GROUP),
    Route::new("group-alias", &[Update], "Give a group its name in a login method.")
        .fields(GROUP_ALIAS),
    Route::new("group-alias/id", &[List], "List the aliases of groups."),
    Route::new("group-alias/id/{id}", &[Read, Update, Delete], "An alias of a group.")
        .fields(GROUP_ALIAS),
    Route::new("lookup/entity", &[Update], "Find an entity.").fields(QUERY),
    Route::new("lookup/group", &[Update], "Find a group.").fields(QUERY),
    Route::new("oidc/config", &[Read, Update], "In whose name identity tokens are issued.")
        .fields(&[Field::string("issuer", "Scheme, host and port; empty: this server's.")]),
    Route::new("oidc/.well-known/openid-configuration", &[Read], "What verifiers need to know."),
    Route::new("oidc/.well-known/keys", &[Read], "The keys that verify identity tokens."),
    Route::new("oidc/key", &[List], "List the keys."),
    Route::new("oidc/key/{name}", &[Read, Create, Update, Delete], "A key that signs.").fields(&[
        Field::string("algorithm", "RS256, RS384, RS512, ES256, ES384, ES512 or EdDSA."),
        Field::duration("rotation_period", "How often it is made anew."),
        Field::duration("verification_ttl", "How long it verifies after it signed last."),
        Field::strings("allowed_client_ids", "The roles that may use it, or `*`."),
    ]),
    Route::new("oidc/key/{name}/rotate", &[Update], "Make a key anew.")
        .fields(&[Field::duration("verification_ttl", "How long the old one verifies.")]),
    Route::new("oidc/role", &[List], "List the roles of identity tokens."),
    Route::new("oidc/role/{name}", &[Read, Create, Update, Delete], "What tokens say.").fields(&[
        Field::string("key", "The key that signs.").required(),
        Field::string("template", "Claims: JSON with templates, or that in base64."),
        Field::duration("ttl", "How long a token lives."),
        Field::string("client_id", "The audience; made where it is not given."),
    ]),
    Route::new("oidc/token/{name}", &[Read], "A token of a role for whom the caller acts for."),
    Route::new("oidc/introspect", &[Update], "Whether a token is good.").fields(&[
        Field::string("token", "The token.").required(),
        Field::string("client_id", "The audience that it must have."),
    ]),
    Route::new("oidc/provider", &[List], "List the providers."),
    Route::new("oidc/provider/{name}", &[Read, Create, Update, Delete], "A provider.").fields(&[
        Field::string("issuer", "Scheme, host and port; empty: this server's."),
        Field::strings("allowed_client_ids", "The clients that may use it, or `*`."),
        Field::strings("scopes_supported", "The scopes that clients may ask for."),
    ]),
    Route::new(
        "oidc/provider/{name}/.well-known/openid-configuration",
        &[Read],
        "What clients need to know.",
    ),
    Route::new("oidc/provider/{name}/.well-known/keys", &[Read], "The keys of its clients."),
    Route::new("oidc/scope", &[List], "List the scopes."),
    Route::new("oidc/scope/{name}", &[Read, Create, Update, Delete], "A scope.").fields(&[
        Field::string("template", "Claims: JSON with templates, or that in base64."),
        Field::string("description", "For people."),
    ]),
    Route::new("oidc/assignment", &[List], "List the assignments."),
    Route::new("oidc/assignment/{name}", &[Read, Create, Update, Delete], "Who may log in.")
        .fields(&[
            Field::strings("entity_ids", "Entities, or `*`."),
            Field::strings("group_ids", "Groups, or `*`."),
        ]),
    Route::new("oidc/client", &[List], "List the clients."),
    Route::new("oidc/client/{name}", &[Read, Create, Update, Delete], "A client.").fields(&[
        Field::strings("redirect_uris", "Where logins may return to."),
        Field::strings("assignments", "Who may log in."),
        Field::string("key", "The key that signs its tokens."),
        Field::duration("id_token_ttl", "How long an identity token lives."),
        Field::duration("access_token_ttl", "How long an access token lives."),
        Field::string("client_type", "`confidential` or `public`."),
    ]),
];
