//! What a rendering may still cost.

use std::sync::Arc;

use crate::error::Exceeded;
use crate::value::Kind;
use crate::{Limits, Origins, Source, Value};

/// Values nested in each other deeper than this are not walked: the walk uses the stack.
pub(crate) const VALUE_DEPTH: usize = 200;

/// Steps for a small value with memory of its own: that of some 128 bytes.
const PIECE: u64 = 8;

/// Steps between two looks at the deadline.
const LOOK: u64 = 1024;

/// Steps and sizes that are left.
pub(crate) struct Budget<'a> {
    steps: u64,
    /// Steps left when the deadline is looked at next.
    look: u64,
    size: usize,
    source: &'a dyn Source,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(limits: &Limits, source: &'a dyn Source) -> Self {
        Self { steps: limits.steps, look: limits.steps, size: limits.output, source }
    }

    /// Takes steps off.
    pub(crate) fn charge(&mut self, steps: u64) -> Result<(), Exceeded> {
        self.steps = self.steps.checked_sub(steps).ok_or(Exceeded::Steps)?;
        if self.steps <= self.look {
            self.look = self.steps.saturating_sub(LOOK);
            if self.source.expired() {
                return Err(Exceeded::Time);
            }
        }
        Ok(())
    }

    /// How large a value may be, in bytes.
    pub(crate) fn size_limit(&self) -> usize {
        self.size
    }

    /// Asks before a value of `bytes` is made.
    pub(crate) fn allow(&mut self, bytes: usize) -> Result<(), Exceeded> {
        if bytes > self.size {
            return Err(Exceeded::Output);
        }
        self.charge(bytes as u64 / 16)
    }

    /// Asks before a list of `count` values is made, or a copy of one.
    pub(crate) fn items(&mut self, count: usize) -> Result<(), Exceeded> {
        self.allow(count.saturating_mul(size_of::<Value>()))
    }

    /// Asks before `count` small values are made, each with memory of its own.
    pub(crate) fn pieces(&mut self, count: usize) -> Result<(), Exceeded> {
        self.charge((count as u64).saturating_mul(PIECE))
    }

    /// Takes off what a function made: lists and maps that nobody else holds. What it only passed
    /// on cost nothing more. A function that makes more than its arguments hold asks before.
    pub(crate) fn made(&mut self, value: &Value, depth: usize) -> Result<(), Exceeded> {
        if depth >= VALUE_DEPTH {
            return Err(Exceeded::Depth);
        }
        match &value.kind {
            Kind::List(list) if Arc::strong_count(list) == 1 => {
                self.items(list.items().len())?;
                for item in list.items() {
                    self.made(item, depth + 1)?;
                }
            }
            Kind::Map(map) if Arc::strong_count(map) == 1 => {
                self.pieces(map.entries().len())?;
                for item in map.entries().values() {
                    self.made(item, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// All that a value and what is in it was made from.
    pub(crate) fn origins_of(&mut self, value: &Value) -> Result<Origins, Exceeded> {
        let mut origins = Origins::NONE;
        self.collect(value, &mut origins, 0)?;
        Ok(origins)
    }

    /// Adds the origins of `value` and of what is in it.
    pub(crate) fn collect(
        &mut self,
        value: &Value,
        origins: &mut Origins,
        depth: usize,
    ) -> Result<(), Exceeded> {
        origins.extend(&value.origins);
        if !matches!(value.kind, Kind::List(_) | Kind::Map(_) | Kind::Object(_)) {
            return Ok(());
        }
        if depth >= VALUE_DEPTH {
            return Err(Exceeded::Depth);
        }
        match &value.kind {
            Kind::List(list) => {
                for item in list.items() {
                    self.charge(1)?;
                    self.collect(item, origins, depth + 1)?;
                }
            }
            Kind::Map(map) => {
                for item in map.entries().values() {
                    self.charge(1)?;
                    self.collect(item, origins, depth + 1)?;
                }
            }
            Kind::Object(object) => {
                for (_, item) in object.fields() {
                    self.charge(1)?;
                    self.collect(item, origins, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}
