//! What is served under `identity/`.

use holdfast_logical::Operation::{Delete, List, Read, Update};
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
];
