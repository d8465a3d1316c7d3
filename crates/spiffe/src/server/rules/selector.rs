//! Kubernetes' label selectors.

use std::collections::{BTreeMap, BTreeSet};

/// Selects by labels; an empty one selects everything.
#[derive(Debug, Default)]
pub(super) struct LabelSelector {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) expressions: Vec<Expression>,
}

#[derive(Debug)]
pub(super) struct Expression {
    pub(super) key: String,
    pub(super) operator: Operator,
    pub(super) values: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Operator {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            _ => return None,
        })
    }

    /// Whether it compares with values.
    pub(super) fn has_values(self) -> bool {
        matches!(self, Self::In | Self::NotIn)
    }
}

impl LabelSelector {
    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|expression| {
                let found = labels.get(&expression.key);
                match expression.operator {
                    Operator::In => found.is_some_and(|value| expression.values.contains(value)),
                    Operator::NotIn => {
                        !found.is_some_and(|value| expression.values.contains(value))
                    }
                    Operator::Exists => found.is_some(),
                    Operator::DoesNotExist => found.is_none(),
                }
            })
    }
}
