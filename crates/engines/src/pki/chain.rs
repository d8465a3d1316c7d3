//! Which certificates lead from an issuer to a root.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::issuer::Issuer;

type Issuers = BTreeMap<String, Arc<Issuer>>;

/// The chain of every issuer, as ids, each beginning with the issuer itself.
///
/// After it come the chains of those that signed it, roots before intermediates, nothing twice. An
/// issuer with a chain of its own (`manual_chain`) has that, and so have those below it. Issuers
/// that signed each other are in each other's chains.
pub(super) fn chains(issuers: &Issuers) -> HashMap<String, Vec<String>> {
    let parents: HashMap<&str, Vec<&str>> =
        issuers.iter().map(|(id, child)| (id.as_str(), parents_of(id, child, issuers))).collect();
    let mut walk = Walk { issuers, parents, under_way: BTreeSet::new() };
    issuers.keys().map(|id| (id.clone(), walk.chain(id))).collect()
}

/// Those that signed `child`, roots first, otherwise with the greater id first.
fn parents_of<'a>(id: &str, child: &Issuer, issuers: &'a Issuers) -> Vec<&'a str> {
    let signed = |(other, parent): &(&'a String, &Arc<Issuer>)| {
        other.as_str() != id
            && parent.certificate.subject == child.certificate.issuer
            && child.certificate.check_signed_by(&parent.certificate).is_ok()
    };
    let mut found: Vec<_> = issuers.iter().rev().filter(signed).collect();
    found.sort_by_key(|(_, parent)| parent.certificate.subject != parent.certificate.issuer);
    found.into_iter().map(|(other, _)| other.as_str()).collect()
}

struct Walk<'a> {
    issuers: &'a Issuers,
    parents: HashMap<&'a str, Vec<&'a str>>,
    /// Those whose chains wait for the one that is being worked out: where they signed each other.
    under_way: BTreeSet<String>,
}

impl Walk<'_> {
    fn chain(&mut self, id: &str) -> Vec<String> {
        if let Some(issuer) = self.issuers.get(id).filter(|i| !i.entry.manual_chain.is_empty()) {
            let manual = issuer.entry.manual_chain.iter();
            return manual.filter(|id| self.issuers.contains_key(*id)).cloned().collect();
        }
        let mut chain = vec![id.to_owned()];
        self.under_way.insert(id.to_owned());
        for parent in self.parents.get(id).cloned().unwrap_or_default() {
            if self.under_way.contains(parent) {
                continue;
            }
            for certificate in self.chain(parent) {
                if !chain.contains(&certificate) {
                    chain.push(certificate);
                }
            }
        }
        self.under_way.remove(id);
        chain
    }
}
