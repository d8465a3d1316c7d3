//! The resolved dependency graph, as `cargo metadata` prints it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

/// The whole graph.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

/// One crate.
#[derive(Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    /// Asks cargo, for the platforms we ship on.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--locked", "--all-features"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .output()
            .context("run cargo metadata")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("read what cargo metadata printed")
    }

    /// Our own crates, each with those of our own that it needs outside of tests.
    pub(crate) fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let names: BTreeMap<_, _> =
            self.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
        let own = |id: &String| self.workspace_members.contains(id);
        let nodes = self.resolve.nodes.iter().filter(|node| own(&node.id));
        nodes
            .map(|node| {
                let needs = node.deps.iter().filter(|dependency| {
                    let normal = dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
                    normal && own(&dependency.pkg)
                });
                (names[&node.id], needs.map(|dependency| names[&dependency.pkg]).collect())
            })
            .collect()
    }

    /// The crates from elsewhere that are built into ours. `cargo tree` is asked for them, because
    /// the graph of `cargo metadata` holds optional crates that no feature turns on.
    pub(crate) fn foreign(&self) -> anyhow::Result<Vec<&Package>> {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--workspace", "--locked", "--all-features", "--edges=all"])
            .args(["--prefix=none", "--format={p}"])
            .output()
            .context("run cargo tree")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).context("read what cargo tree printed")?;
        let used: BTreeSet<_> = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?, words.next()?.strip_prefix('v')?))
            })
            .collect();
        let packages = self.packages.iter().filter(|package| {
            used.contains(&(package.name.as_str(), package.version.as_str()))
                && !self.workspace_members.contains(&package.id)
        });
        Ok(packages.collect())
    }
}
