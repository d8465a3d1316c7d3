//! `?help=1`: what a path does and takes, made from the tables of routes.

use std::fmt::Write as _;

use holdfast_logical::Route;
use serde_json::{Value, json};

use super::openapi::{Described, document};
use crate::mounts::Mount;

/// The answer about `path`, which is below `mount`. None: there is no such path.
pub(crate) fn answer(mount: &Mount, path: &str) -> Option<Value> {
    let routes = mount.routes();
    let help = text(routes, path, mount.about(path).as_deref())?;
    // A document of what is asked for, with paths below the mount.
    let shown: Vec<Route> = match routes.iter().find(|route| route.matches(path)) {
        Some(route) if !path.is_empty() => vec![*route],
        _ => routes.to_vec(),
    };
    let tag = mount.tag();
    let described =
        Described { prefix: "", tag, routes: &shown, special: &mount.special, generic: false };
    let openapi = document(std::iter::once(described));
    Some(json!({ "help": help, "openapi": openapi, "see_also": null }))
}

/// The text about `path`, which is below the mount: about the whole backend where it is empty, with
/// `about` as its description. None: there is no such path.
fn text(routes: &[Route], path: &str, about: Option<&str>) -> Option<String> {
    if path.is_empty() {
        return Some(overview(routes, about));
    }
    match routes.iter().find(|route| route.matches(path)) {
        Some(route) => Some(of_route(route, path)),
        // Of backends that have no table.
        None => about.map(str::to_owned),
    }
}

fn overview(routes: &[Route], about: Option<&str>) -> String {
    let mut text = format!("## DESCRIPTION\n\n{}\n\n", about.unwrap_or("<no description>"));
    text.push_str("## PATHS\n\nWhat this backend serves. Each path has help of its own.\n");
    for route in routes {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n    {}\n        {}\n", expression(route), route.help);
    }
    text
}

fn of_route(route: &Route, path: &str) -> String {
    let mut text = format!(
        "Request:        {path}\nMatching Route: {}\n\n{}\n\n## PARAMETERS\n",
        expression(route),
        route.help
    );
    for field in route.fields {
        let _ = write!(text, "\n    {} ({})\n\n", field.name, field.kind.as_str());
        let _ = writeln!(text, "        {}", field.help);
    }
    let operations: Vec<_> = route.operations.iter().map(|operation| operation.as_str()).collect();
    let _ = write!(text, "\n## OPERATIONS\n\n    {}", operations.join(", "));
    text
}

/// The route as a regular expression, which is how clients know it.
fn expression(route: &Route) -> String {
    let segment = |segment: &str| match segment.strip_prefix('{') {
        Some(name) => {
            let (name, what) = match name.strip_suffix("*}") {
                Some(name) => (name, ".*"),
                None => (name.trim_end_matches('}'), "[^/]+"),
            };
            format!("(?P<{name}>{what})")
        }
        None => segment.to_owned(),
    };
    let segments: Vec<_> = route.pattern.split('/').map(segment).collect();
    format!("^{}$", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use holdfast_logical::{Field, Operation};

    use super::*;

    const ROUTES: &[Route] = &[
        Route::new("roles", &[Operation::List], "List."),
        Route::new("roles/{name}/{rest*}", &[Operation::Read, Operation::Update], "One role.")
            .fields(&[Field::duration("ttl", "How long.")]),
    ];

    #[test]
    fn a_path_has_its_fields_and_the_whole_its_paths() {
        assert_eq!(
            text(ROUTES, "roles/a/b", None).unwrap(),
            "Request:        roles/a/b\nMatching Route: ^roles/(?P<name>[^/]+)/(?P<rest>.*)$\n\n\
             One role.\n\n## PARAMETERS\n\n    ttl (duration (sec))\n\n        How long.\n\n\
             ## OPERATIONS\n\n    read, update"
        );
        let all = text(ROUTES, "", Some("Roles.")).unwrap();
        assert!(all.starts_with("## DESCRIPTION\n\nRoles.\n\n## PATHS\n"), "{all}");
        assert!(all.contains("\n    ^roles$\n        List.\n"), "{all}");
        assert_eq!(text(ROUTES, "nope", None), None);
    }
}
