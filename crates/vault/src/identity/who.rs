//! Who a token acts for, and what that grants: the entity, its groups, the policies of both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_barrier::EntryError;
use holdfast_policy as policy;

use super::record::{EntityRecord, GroupRecord};
use super::{Identity, keys};
use crate::tokens::params::sanitize_policies;

/// An entity with what follows from its groups, as it was at one moment.
pub(crate) struct Who {
    /// Another number for each look at the store: what was computed from one `Who` holds for it.
    pub serial: u64,
    pub standing: Standing,
    /// What groups granted when this was computed: see [`Identity::who`].
    pub(super) epoch: u64,
    /// None where the token has no entity, or one that is gone.
    pub(super) entity: Option<EntityRecord>,
    /// The groups that it was put into, by id.
    pub(super) direct: BTreeMap<String, GroupRecord>,
    /// The groups that those are in, and so on; none that is in `direct`.
    pub(super) inherited: BTreeMap<String, GroupRecord>,
    /// The entity's policies, then those of its groups, as OpenBao lists them: one that both have
    /// stands twice.
    pub policies: Vec<String>,
}

/// Whether an entity's tokens are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They are; also those without an entity.
    Good,
    /// The entity is disabled.
    Disabled,
    /// It was removed, and with it whatever its tokens were for.
    Gone,
    /// It was merged into the entity of this id.
    Merged(String),
}

impl Who {
    /// Whether a token of this entity may be used.
    pub(crate) fn is_good(&self) -> bool {
        self.standing == Standing::Good
    }

    /// The identity's policies, sorted and each once: what logins and audit records say.
    pub(crate) fn sorted_policies(&self) -> Vec<String> {
        sanitize_policies(&self.policies, false)
    }

    /// All policies in force for a token that has `own`.
    pub(crate) fn with(&self, own: &[String]) -> Vec<String> {
        if self.policies.is_empty() {
            return own.to_vec();
        }
        let all: BTreeSet<_> = own.iter().chain(&self.policies).cloned().collect();
        all.into_iter().collect()
    }

    /// Its groups, those that it was put into first.
    pub(super) fn groups(&self) -> impl Iterator<Item = &GroupRecord> {
        self.direct.values().chain(self.inherited.values())
    }

    /// What templates of a policy are filled with.
    pub(crate) fn for_templates(&self) -> policy::Identity {
        let entity = self.entity.as_ref().map(|record| policy::Entity {
            id: record.id.clone(),
            name: record.name.clone(),
            metadata: record.metadata.clone(),
            aliases: record.aliases.iter().map(template_alias).collect(),
        });
        let groups = self.groups().map(|group| policy::Group {
            id: group.id.clone(),
            name: group.name.clone(),
            metadata: group.metadata.clone(),
        });
        policy::Identity { entity, groups: groups.collect() }
    }
}

fn template_alias(alias: &super::record::AliasRecord) -> policy::Alias {
    policy::Alias {
        mount_accessor: alias.mount_accessor.clone(),
        id: alias.id.clone(),
        name: alias.name.clone(),
        metadata: alias.metadata.clone(),
        custom_metadata: alias.custom_metadata.clone().unwrap_or_default(),
    }
}

impl Identity {
    /// Who a token with this entity acts for; the empty id is nobody.
    ///
    /// What is kept in memory is forgotten before a change is answered: an entity's own by its id,
    /// and all of them by the epoch where a group changed.
    pub(crate) async fn who(&self, id: &str) -> Result<Arc<Who>, EntryError> {
        if id.is_empty() {
            return Ok(self.nobody.clone());
        }
        let who = self.look_up(id).await?;
        match &who.standing {
            // Merging hands on what was merged before, so that one step always leads to the end.
            Standing::Merged(into) => self.look_up(into).await,
            _ => Ok(who),
        }
    }

    async fn look_up(&self, id: &str) -> Result<Arc<Who>, EntryError> {
        let is_fresh = |who: &Arc<Who>| who.epoch == self.epoch.load(Ordering::SeqCst);
        if let Some(who) = self.known.get(id).filter(is_fresh) {
            return Ok(who);
        }
        // Under the lock, no change comes between the reading and the keeping.
        let _steady = self.lock.read().await;
        if let Some(who) = self.known.get(id).filter(is_fresh) {
            return Ok(who);
        }
        let who = Arc::new(self.compute(id).await?);
        self.known.insert(id.to_owned(), who.clone());
        Ok(who)
    }

    async fn compute(&self, id: &str) -> Result<Who, EntryError> {
        let mut who = Who {
            serial: self.serial.fetch_add(1, Ordering::SeqCst),
            standing: Standing::Gone,
            epoch: self.epoch.load(Ordering::SeqCst),
            entity: None,
            direct: BTreeMap::new(),
            inherited: BTreeMap::new(),
            policies: Vec::new(),
        };
        let Some(entity) = self.store.get_json::<EntityRecord>(&keys::entity(id)).await? else {
            if let Some(into) = self.store.get_json::<String>(&keys::merged(id)).await? {
                who.standing = Standing::Merged(into);
            }
            return Ok(who);
        };
        who.standing = if entity.disabled { Standing::Disabled } else { Standing::Good };
        for group in self.store.list(&keys::groups_of(id)).await? {
            if let Some(record) = self.store.get_json(&keys::group(&group)).await? {
                who.direct.insert(group, record);
            }
        }
        let mut ahead: Vec<String> =
            who.direct.values().flat_map(|group| group.parents().to_vec()).collect();
        while let Some(group) = ahead.pop() {
            if who.direct.contains_key(&group) || who.inherited.contains_key(&group) {
                continue;
            }
            let record = self.store.get_json::<GroupRecord>(&keys::group(&group)).await?;
            let Some(record) = record else { continue };
            ahead.extend(record.parents().iter().cloned());
            who.inherited.insert(group, record);
        }
        let of_groups: BTreeSet<_> = who.groups().flat_map(GroupRecord::policies).collect();
        who.policies = entity.policies.iter().chain(of_groups).cloned().collect();
        who.entity = Some(entity);
        Ok(who)
    }
}

/// Whom a token without an entity acts for.
pub(super) fn nobody() -> Arc<Who> {
    Arc::new(Who {
        serial: 0,
        standing: Standing::Good,
        epoch: 0,
        entity: None,
        direct: BTreeMap::new(),
        inherited: BTreeMap::new(),
        policies: Vec::new(),
    })
}
