//! What is served.

use holdfast_logical::Operation::{Create, Delete, List, Patch, Read, Scan, Update};
use holdfast_logical::{Field, Route};

const PATH: Field = Field::string("path", "The key.");
const VERSIONS: &[Field] =
    &[PATH, Field::strings("versions", "Numbers of the versions.").required()];
const PAGE: &[Field] = &[
    PATH,
    Field::string("after", "Begin behind this name."),
    Field::integer("limit", "The most names to return."),
];

pub(super) const ROUTES: &[Route] = &[
    Route::new("config", &[Read, Update], "Settings that hold for all keys.").fields(&[
        Field::integer("max_versions", "How many versions of a key are kept."),
        Field::bool("cas_required", "Whether every write names the version it follows."),
        Field::duration("delete_version_after", "When a version hides itself."),
    ]),
    Route::new(
        "data/{path*}",
        &[Read, Create, Update, Patch, Delete],
        "Read, write or patch a value; hide its newest version.",
    )
    .fields(&[
        PATH,
        Field::integer("version", "The version to read; the newest where none is named."),
        Field::object("data", "The value."),
        Field::object("options", "How to write: `cas` names the version that this one follows."),
    ]),
    Route::new("delete/{path*}", &[Update], "Hide versions.").fields(VERSIONS),
    Route::new("undelete/{path*}", &[Update], "Show hidden versions again.").fields(VERSIONS),
    Route::new("destroy/{path*}", &[Update], "Remove the data of versions for good.")
        .fields(VERSIONS),
    Route::new("subkeys/{path*}", &[Read], "The shape of a value without what it holds.").fields(
        &[
            PATH,
            Field::integer("version", "The version to read."),
            Field::integer("depth", "How many levels are shown; 0 for all."),
        ],
    ),
    Route::new(
        "metadata/{path*}",
        &[Read, Create, Update, Patch, Delete, List, Scan],
        "The versions and settings of a key; list keys; remove one whole.",
    )
    .fields(&[
        PATH,
        Field::integer("max_versions", "How many versions are kept."),
        Field::bool("cas_required", "Whether every write names the version it follows."),
        Field::duration("delete_version_after", "When a version hides itself."),
        Field::string_map("custom_metadata", "Notes of the writer's own."),
    ]),
    Route::new("detailed-metadata/{path*}", &[List, Scan], "List keys with the metadata of each.")
        .fields(PAGE),
];
