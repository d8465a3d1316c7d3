//! Finding the patterns that match a path without looking at all of them.

use std::collections::HashMap;

/// Prefixes, of which the longest that a path starts with is found by one binary search.
///
/// Everything between a path's longest prefix and the path itself, in order, starts with that
/// prefix. So the search ends at it or below it, and `parent` links lead up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prefixes {
    sorted: Vec<Prefix>,
}

#[derive(Debug, Clone)]
struct Prefix {
    text: String,
    /// The longest other prefix that this one starts with.
    parent: Option<usize>,
    value: usize,
}

impl Prefixes {
    /// Builds the index of `(prefix, value)` pairs, each prefix once.
    pub(crate) fn new(mut pairs: Vec<(String, usize)>) -> Self {
        pairs.sort();
        let mut sorted: Vec<Prefix> = Vec::with_capacity(pairs.len());
        for (text, value) in pairs {
            let mut parent = sorted.len().checked_sub(1);
            while let Some(index) = parent.filter(|index| !text.starts_with(&sorted[*index].text)) {
                parent = sorted[index].parent;
            }
            sorted.push(Prefix { text, parent, value });
        }
        Self { sorted }
    }

    /// The value of the longest prefix of `path`.
    pub(crate) fn longest(&self, path: &str) -> Option<usize> {
        let after = self.sorted.partition_point(|prefix| prefix.text.as_str() <= path);
        let mut candidate = after.checked_sub(1);
        while let Some(index) = candidate {
            let prefix = &self.sorted[index];
            if path.starts_with(&prefix.text) {
                return Some(prefix.value);
            }
            candidate = prefix.parent;
        }
        None
    }
}

/// Patterns with `+` segments, in a tree of segments. A path walks down two branches at most per
/// segment, and only where patterns lead.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    /// The first is the root. An arena, so that no pattern is too deep to build or drop.
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    literal: HashMap<String, usize>,
    any: Option<usize>,
    /// The value of the pattern that ends with this segment.
    exact: Option<usize>,
    /// Patterns that end here in the beginning of a segment and `*`.
    prefixes: Vec<(String, usize)>,
}

impl Default for Segments {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Segments {
    /// Adds a pattern given without its trailing `*`.
    pub(crate) fn insert(&mut self, pattern: &str, is_prefix: bool, value: usize) {
        let mut at = 0;
        let mut segments = pattern.split('/').peekable();
        while let Some(segment) = segments.next() {
            if is_prefix && segments.peek().is_none() {
                self.nodes[at].prefixes.push((segment.to_owned(), value));
                return;
            }
            let fresh = self.nodes.len();
            let node = &mut self.nodes[at];
            let next = if segment == "+" {
                *node.any.get_or_insert(fresh)
            } else {
                *node.literal.entry(segment.to_owned()).or_insert(fresh)
            };
            if next == fresh {
                self.nodes.push(Node::default());
            }
            at = next;
        }
        self.nodes[at].exact = Some(value);
    }

    /// Whether no pattern is in it.
    pub(crate) fn is_empty(&self) -> bool {
        let root = &self.nodes[0];
        root.literal.is_empty() && root.any.is_none() && root.prefixes.is_empty()
    }

    /// Calls `found` with the value of every pattern that matches `path`.
    pub(crate) fn matches(&self, path: &str, mut found: impl FnMut(usize)) {
        // (node, what is left of the path; none when it is used up)
        let mut walks = vec![(0, Some(path))];
        while let Some((at, rest)) = walks.pop() {
            let node = &self.nodes[at];
            let Some(rest) = rest else {
                if let Some(value) = node.exact {
                    found(value);
                }
                continue;
            };
            let (segment, rest) = match rest.split_once('/') {
                Some((segment, rest)) => (segment, Some(rest)),
                None => (rest, None),
            };
            for (prefix, value) in &node.prefixes {
                if segment.starts_with(prefix.as_str()) {
                    found(*value);
                }
            }
            walks.extend(node.any.map(|next| (next, rest)));
            walks.extend(node.literal.get(segment).map(|next| (*next, rest)));
        }
    }
}
