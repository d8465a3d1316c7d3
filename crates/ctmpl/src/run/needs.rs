//! What a rendering gathers beside its text.

use std::collections::BTreeSet;

use holdfast_types::SecretBytes;

use crate::error::Exceeded;
use crate::output::{Span, WriteFile};
use crate::{Need, Output};

/// Needs and effects, each need once.
pub(crate) struct Gathered {
    needs: Vec<Need>,
    seen: BTreeSet<Need>,
    pending: Vec<Need>,
    files: Vec<String>,
    variables: Vec<String>,
    effects: Vec<WriteFile>,
    limit: usize,
}

impl Gathered {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            needs: Vec::new(),
            seen: BTreeSet::new(),
            pending: Vec::new(),
            files: Vec::new(),
            variables: Vec::new(),
            effects: Vec::new(),
            limit,
        }
    }

    /// Takes note of a need.
    pub(crate) fn need(&mut self, need: &Need) -> Result<(), Exceeded> {
        if !self.seen.contains(need) {
            if self.seen.len() >= self.limit {
                return Err(Exceeded::Needs);
            }
            self.seen.insert(need.clone());
            self.needs.push(need.clone());
        }
        Ok(())
    }

    /// Takes note that a need is not known yet.
    pub(crate) fn pending(&mut self, need: Need) {
        if !self.pending.contains(&need) {
            self.pending.push(need);
        }
    }

    pub(crate) fn file(&mut self, path: &str) -> Result<(), Exceeded> {
        note(&mut self.files, path, self.limit)
    }

    pub(crate) fn variable(&mut self, name: &str) -> Result<(), Exceeded> {
        note(&mut self.variables, name, self.limit)
    }

    pub(crate) fn effect(&mut self, effect: WriteFile) -> Result<(), Exceeded> {
        if self.effects.len() >= self.limit {
            return Err(Exceeded::Needs);
        }
        self.effects.push(effect);
        Ok(())
    }

    pub(super) fn output(self, bytes: SecretBytes, spans: Vec<Span>) -> Output {
        Output {
            bytes,
            spans,
            complete: self.pending.is_empty(),
            needs: self.needs,
            pending: self.pending,
            files: self.files,
            variables: self.variables,
            effects: self.effects,
        }
    }
}

fn note(names: &mut Vec<String>, name: &str, limit: usize) -> Result<(), Exceeded> {
    if !names.iter().any(|known| known == name) {
        if names.len() >= limit {
            return Err(Exceeded::Needs);
        }
        names.push(name.to_owned());
    }
    Ok(())
}
