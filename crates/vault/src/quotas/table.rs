//! All rules, found by what they hold for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Limit;

/// All rules.
#[derive(Clone, Default)]
pub(super) struct Table {
    by_name: BTreeMap<String, Arc<Limit>>,
    /// By mount and role.
    by_role: HashMap<(String, String), Arc<Limit>>,
    /// By mount, or by a path without `*`.
    exact: HashMap<String, Arc<Limit>>,
    /// By what stands before the `*`, of each mount the longest first.
    open: HashMap<String, Vec<(String, Arc<Limit>)>>,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Limit>> {
        self.by_name.values()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Limit>> {
        self.by_name.get(name)
    }

    /// The rule of another name for the same path and role.
    pub(super) fn twin(&self, name: &str, path: &str, role: &str) -> Option<&Arc<Limit>> {
        self.all().find(|l| l.name != name && l.rule.path == path && l.rule.role == role)
    }

    /// Adds a rule, or puts it in the place of the one with its name.
    pub(super) fn insert(&mut self, limit: Arc<Limit>) {
        self.remove(&limit.name);
        let rule = &limit.rule;
        if !rule.role.is_empty() {
            self.by_role.insert((rule.mount.clone(), rule.role.clone()), limit.clone());
        } else if let Some(prefix) = rule.path.strip_suffix('*') {
            let open = self.open.entry(rule.mount.clone()).or_default();
            open.push((prefix.to_owned(), limit.clone()));
            open.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        } else {
            self.exact.insert(rule.path.clone(), limit.clone());
        }
        self.by_name.insert(limit.name.clone(), limit);
    }

    pub(super) fn remove(&mut self, name: &str) {
        if self.by_name.remove(name).is_none() {
            return;
        }
        self.by_role.retain(|_, limit| limit.name != name);
        self.exact.retain(|_, limit| limit.name != name);
        self.open.retain(|_, open| {
            open.retain(|(_, limit)| limit.name != name);
            !open.is_empty()
        });
    }

    pub(super) fn knows_roles_of(&self, mount: &str) -> bool {
        self.by_role.keys().any(|(of, _)| of == mount)
    }

    /// The most specific rule for a request.
    pub(super) fn governing(
        &self,
        path: &str,
        mount: &str,
        role: Option<&str>,
    ) -> Option<&Arc<Limit>> {
        let of_role = || {
            let role = role.filter(|role| !role.is_empty() && !self.by_role.is_empty())?;
            self.by_role.get(&(mount.to_owned(), role.to_owned()))
        };
        let open = || {
            let open = self.open.get(mount)?;
            open.iter().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, limit)| limit)
        };
        let of_role = of_role();
        of_role
            .or_else(|| self.exact.get(path))
            .or_else(open)
            .or_else(|| self.exact.get(mount))
            .or_else(|| self.exact.get(""))
    }
}
