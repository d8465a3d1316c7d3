//! The direction of dependencies between our crates, held by a test.

use std::collections::{BTreeMap, BTreeSet};

/// From the top down. A crate needs only crates of lower layers, so no server links another and
/// the pure crates at the bottom stay pure.
const LAYERS: &[&[&str]] = &[
    &["xtask"],
    &["holdfast"],
    &["holdfast-conformance"],
    &["holdfast-vault", "holdfast-agent", "holdfast-spiffe"],
    &["holdfast-auth", "holdfast-engines"],
    &["holdfast-logical"],
    &["holdfast-barrier", "holdfast-keys"],
    &["holdfast-client"],
    &["holdfast-testkit"],
    &["holdfast-policy", "holdfast-ctmpl", "holdfast-listen"],
    &["holdfast-hcl"],
    &["holdfast-types"],
];

/// What is wrong with the arrows, one sentence each.
pub(crate) fn problems(arrows: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let mut problems = Vec::new();
    for (name, needs) in arrows {
        let Some(own) = layer(name) else {
            problems.push(format!("{name} stands in no layer of xtask/src/layers.rs"));
            continue;
        };
        for need in needs {
            if layer(need).is_some_and(|below| below <= own) {
                problems.push(format!("{name} depends on {need}, which is not below it"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Metadata;

    #[test]
    fn dependencies_point_down() {
        let metadata = Metadata::read().unwrap();
        let arrows = metadata.arrows();
        assert!(arrows.len() >= LAYERS.len(), "the graph was read: {arrows:?}");
        assert_eq!(problems(&arrows), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_that_points_up_is_named() {
        let arrows = BTreeMap::from([
            ("holdfast-types", BTreeSet::from(["holdfast-vault"])),
            ("holdfast-auth", BTreeSet::from(["holdfast-engines"])),
            ("stranger", BTreeSet::new()),
        ]);
        assert_eq!(problems(&arrows).len(), 3);
    }
}
