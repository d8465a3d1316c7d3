//! What is served under `identity/`.

use holdfast_logical::Operation::{List, Read};
use holdfast_logical::{Field, Route};

/// All of them.
pub(crate) const ROUTES: &[Route] = &[
    Route::new("entity/id", &[List], "List the entities by their ids."),
    Route::new("entity/id/{id}", &[Read], "An entity, by its id.")
        .fields(&[Field::string("id", "The id.")]),
    Route::new("entity/name/{name}", &[Read], "An entity, by its name.")
        .fields(&[Field::string("name", "The name.")]),
];
