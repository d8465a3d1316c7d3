//! The death of a token, with all that hangs on it.
//!
//! First every token of the tree is marked as doomed, from the root down, each mark in one commit
//! with a note under `doomed/`. From then on none of them is valid. Then each is cleared away from
//! the leaves up: its leases become due, its cubbyhole and indexes go, and last the note. A crash
//! anywhere leaves notes behind, from which [`finish_revocations`] goes on.

use std::collections::BTreeSet;

use holdfast_barrier::{Batch, EntryError};
use holdfast_logical::Error;
use tracing::warn;

use super::hash::TokenHash;
use super::{STRIPES, Tokens};
use crate::core::vault::Vault;

/// Tokens marked in one commit.
const CHUNK: usize = 64;

/// What dies: noted with the mark, so that a restart goes on with the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The token and all below it.
    Tree,
    /// The token alone; those that it made become orphans.
    Alone,
}

impl Extent {
    fn note(self) -> &'static [u8] {
        match self {
            Self::Tree => b"tree",
            Self::Alone => b"alone",
        }
    }
}

/// Revokes the token with that hash and all tokens made by it, or by those. One that is not there
/// is no error. When this returns, none of them is valid and all their leases are due.
pub(crate) async fn revoke_tree(vault: &Vault, hash: TokenHash) -> Result<(), Error> {
    let tokens = &vault.tokens;
    let mut doomed = tokens.doom(&[hash], Extent::Tree).await?;
    let mut next = 0;
    while next < doomed.len() {
        let children = tokens.children(doomed[next]).await?;
        for chunk in children.chunks(CHUNK) {
            doomed.extend(tokens.doom(chunk, Extent::Tree).await?);
        }
        next += 1;
    }
    for hash in doomed.into_iter().rev() {
        clear_away(vault, hash).await?;
    }
    Ok(())
}

/// Revokes the token alone; those that it made become orphans.
pub(super) async fn revoke_orphaning(vault: &Vault, hash: TokenHash) -> Result<(), Error> {
    let tokens = &vault.tokens;
    tokens.doom(&[hash], Extent::Alone).await?;
    for child in tokens.children(hash).await? {
        let _lock = tokens.lock(child).await;
        let mut batch = Batch::new();
        if let Some(mut entry) = tokens.read(child).await? {
            entry.parent = None;
            tokens.store.batch_json(&mut batch, &format!("id/{child}"), &entry)?;
        }
        batch.delete(format!("parent/{hash}/{child}"));
        tokens.store.commit(batch).await?;
        tokens.cache.forget(child);
    }
    clear_away(vault, hash).await
}

/// Goes on with the revocations that a crash broke off.
pub(crate) async fn finish_revocations(vault: &Vault) -> Result<(), EntryError> {
    for name in vault.tokens.store.list("doomed/").await? {
        let Some(hash) = TokenHash::parse(&name) else { continue };
        let note = vault.tokens.store.get(&format!("doomed/{name}")).await?;
        let alone = note.is_some_and(|note| *note == Extent::Alone.note());
        let done = match alone {
            true => revoke_orphaning(vault, hash).await,
            false => revoke_tree(vault, hash).await,
        };
        if let Err(error) = done {
            // It stays marked: the token is not valid, and the next start goes on.
            warn!(error = %crate::core::answer::Chain(&error), "finish the revocation of a token");
        }
    }
    Ok(())
}

impl Tokens {
    /// Marks those of `hashes` that are there, in one commit. Gives back those.
    async fn doom(
        &self,
        hashes: &[TokenHash],
        extent: Extent,
    ) -> Result<Vec<TokenHash>, EntryError> {
        // Taken in ascending order, so that two of these cannot wait for each other; all others
        // hold one lock at a time.
        let stripes: BTreeSet<_> = hashes.iter().map(|hash| hash.stripe(STRIPES)).collect();
        let mut guards = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            guards.push(self.locks[stripe].write().await);
        }
        let mut batch = Batch::new();
        let mut doomed = Vec::new();
        for &hash in hashes {
            let Some(mut entry) = self.read(hash).await? else { continue };
            doomed.push(hash);
            if !entry.doomed {
                entry.doomed = true;
                self.store.batch_json(&mut batch, &format!("id/{hash}"), &entry)?;
                batch.put(format!("doomed/{hash}"), extent.note().to_vec());
            }
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        for &hash in &doomed {
            self.cache.forget(hash);
        }
        Ok(doomed)
    }

    async fn children(&self, hash: TokenHash) -> Result<Vec<TokenHash>, EntryError> {
        let names = self.store.list(&format!("parent/{hash}/")).await?;
        Ok(names.iter().filter_map(|name| TokenHash::parse(name)).collect())
    }
}

/// Removes all that is stored of a doomed token that has no children any more.
async fn clear_away(vault: &Vault, hash: TokenHash) -> Result<(), Error> {
    let tokens = &vault.tokens;
    vault.leases.expire_owned(hash).await?;
    let mut batch = Batch::new();
    if let Some(entry) = tokens.read(hash).await? {
        batch.delete(format!("id/{hash}"));
        batch.delete(format!("accessor/{}", tokens.hasher.accessor(&entry.accessor)));
        if let Some(parent) = entry.parent {
            batch.delete(format!("parent/{parent}/{hash}"));
        }
        batch.delete(format!("doomed/{hash}"));
        let mut batch = tokens.store.absolute(batch);
        if let Some(expires_at) = entry.expires_at {
            vault.leases.remove_token(&mut batch, &entry.lease_id(hash), expires_at);
        }
        vault.wrapped.remove(&mut batch, hash);
        if let Some(cubbyhole) = vault.mounts.cubbyhole() {
            let folder = cubbyhole.sub(&format!("{hash}/"));
            let mut inside = Batch::new();
            for key in folder.scan("").await? {
                inside.delete(key);
            }
            batch.append(folder.absolute(inside));
        }
        vault.leases.commit(batch).await?;
        vault.denials.ended.note(hash, &entry, vault.clock.now());
    } else {
        batch.delete(format!("doomed/{hash}"));
        tokens.store.commit(batch).await?;
    }
    tokens.cache.forget(hash);
    Ok(())
}
