//! The list of all routes, `routes.txt`, is what the tables say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use holdfast_barrier::{MemoryEntries, View};
use holdfast_logical::{Context, MountInfo, Route, SpecialPaths};
use holdfast_testkit::FakeClock;
use holdfast_types::SystemRandom;

use super::mountable;
use crate::mounts::{MountClass, is_among};
use crate::passwords::PasswordPolicies;

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/routes.txt");

/// All tables by the mount that they are shown under.
fn tables() -> Vec<(String, &'static [Route], SpecialPaths)> {
    let mut tables = vec![
        ("sys/".to_owned(), crate::sys::routes::ROUTES, crate::front::special_paths_of_sys()),
        ("auth/token/".to_owned(), crate::tokens::routes::ROUTES, crate::tokens::special_paths()),
        ("identity/".to_owned(), crate::identity::ROUTES, crate::identity::special_paths()),
    ];
    let registry = mountable();
    for class in [MountClass::Secret, MountClass::Auth] {
        for kind in registry.kinds(class) {
            let versions: &[&str] = if kind == "kv" { &["1", "2"] } else { &[""] };
            for version in versions {
                let path = match class {
                    MountClass::Auth => format!("auth/{kind}/"),
                    MountClass::Secret if version.is_empty() => format!("{kind}/"),
                    MountClass::Secret => format!("{kind}-v{version}/"),
                };
                let mut options = BTreeMap::new();
                options.insert("version".to_owned(), (*version).to_owned());
                let mount = MountInfo {
                    path: path.clone(),
                    kind: kind.to_owned(),
                    options,
                    max_ttl: Duration::from_secs(3600),
                    ..MountInfo::default()
                };
                let store = View::new(Arc::new(MemoryEntries::default()), "x/");
                let backend = registry.factory(class, kind).unwrap()(Context {
                    storage: store.clone(),
                    clock: Arc::new(FakeClock::at(0)),
                    random: Arc::new(SystemRandom),
                    passwords: Arc::new(PasswordPolicies::new(&store, Arc::new(SystemRandom))),
                    mount: Arc::new(mount),
                });
                tables.push((path, backend.routes(), backend.special_paths()));
            }
        }
    }
    tables
}

fn list() -> String {
    let mut text = String::from(
        "# Every route: path, operations, and what it takes besides a token that may (`sudo`, or\n\
         # `open` where none is needed). Made from the tables of routes by a test of this crate:\n\
         # HOLDFAST_UPDATE=1 cargo test -p holdfast-vault routes\n",
    );
    for (prefix, routes, special) in tables() {
        text.push('\n');
        for route in routes {
            let operations: Vec<_> = route.operations.iter().map(|o| o.as_str()).collect();
            let sample = route.sample();
            let access = match () {
                () if is_among(&special.unauthenticated, &sample) => "open",
                () if is_among(&special.sudo, &sample) => "sudo",
                () => "token",
            };
            let pattern = route.pattern;
            writeln!(text, "{prefix}{pattern} {} {access}", operations.join(",")).unwrap();
        }
    }
    text
}

#[test]
fn the_list_of_routes_is_what_the_tables_say() {
    let want = list();
    if std::env::var_os("HOLDFAST_UPDATE").is_some() {
        std::fs::write(LIST, &want).unwrap();
    }
    let found = std::fs::read_to_string(LIST).unwrap_or_default();
    assert!(
        found == want,
        "routes.txt is not what the tables say: HOLDFAST_UPDATE=1 writes it anew"
    );
}

#[test]
fn every_table_is_filled_and_no_route_hides_another() {
    for (prefix, routes, _) in tables() {
        assert!(!routes.is_empty(), "{prefix} names no routes");
        for (index, route) in routes.iter().enumerate() {
            assert!(!route.operations.is_empty(), "{prefix}{}", route.pattern);
            assert!(!route.help.is_empty(), "{prefix}{}", route.pattern);
            let first = routes.iter().position(|other| other.matches(&route.sample()));
            assert_eq!(first, Some(index), "{prefix}{} is never reached", route.pattern);
            for name in route.parameters() {
                assert!(!name.is_empty(), "{prefix}{}", route.pattern);
            }
        }
    }
}
