use std::time::Duration;

use super::*;

pub(crate) fn entry(id: &str, parent: &str, selectors: &[&str]) -> Entry {
    let domain = TrustDomain::parse("demo.local").unwrap();
    Entry {
        id: id.to_owned(),
        spiffe_id: domain.member(&format!("/{id}")).unwrap(),
        parent: domain.member(parent).unwrap(),
        selectors: selectors.iter().map(|text| Selector::parse(text).unwrap()).collect(),
        x509_ttl: None,
        jwt_ttl: None,
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        hint: String::new(),
        federates_with: BTreeSet::new(),
        created: Timestamp::from_second(1_800_000_000).unwrap(),
        revision: 0,
        origin: String::new(),
        expires: None,
    }
}

#[test]
fn an_agent_serves_what_is_below_it_and_its_aliases() {
    let domain = TrustDomain::parse("demo.local").unwrap();
    let mut registry = Registry::default();
    let mut young = entry("young", "/spire/agent/local", &["unix:uid:1"]);
    young.created += Duration::from_secs(1);
    for one in [
        young,
        entry("alias", SERVER_PATH, &["unix:local"]),
        entry("other-alias", SERVER_PATH, &["unix:local", "x509pop:subject:cn:a"]),
        entry("by-alias", "/alias", &["unix:uid:2"]),
        entry("nested", "/by-alias", &["unix:uid:3"]),
        entry("elsewhere", "/spire/agent/other", &["unix:uid:1"]),
        entry("below-other", "/other-alias", &["unix:uid:1"]),
        // Nobody is below anybody but in a circle.
        entry("round", "/about", &["unix:uid:1"]),
        entry("about", "/round", &["unix:uid:1"]),
    ] {
        check(&one, &domain).unwrap();
        registry.insert(Arc::new(one));
    }
    let node = NodeFacts::local(&domain).unwrap();
    let served = registry.served_by(&node);
    let ids: Vec<_> = served.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["by-alias", "nested", "young"], "the oldest first");
    for entry in registry.iter() {
        let is_served = registry.serves(&node, &entry.id).is_some();
        assert_eq!(is_served, ids.contains(&entry.id.as_str()), "{}", entry.id);
    }
    registry.remove("alias");
    let served = registry.served_by(&node);
    assert_eq!(served.len(), 1, "without the alias, nothing below it");
    assert!(registry.serves(&node, "nested").is_none());
}

#[test]
fn indexes_follow_every_change() {
    let mut registry = Registry::default();
    let first = entry("a", "/spire/agent/local", &["unix:uid:1"]);
    registry.insert(Arc::new(first.clone()));
    assert_eq!(registry.similar(&first).map(|entry| entry.id.as_str()), Some("a"));
    let mut moved = first.clone();
    moved.parent = SpiffeId::parse("spiffe://demo.local/elsewhere").unwrap();
    registry.insert(Arc::new(moved.clone()));
    assert_eq!(registry.len(), 1);
    assert!(registry.similar(&first).is_none(), "it is elsewhere now");
    assert!(registry.similar(&moved).is_some());
    assert!(registry.remove("a").is_some() && registry.remove("a").is_none());
    assert!(registry.by_parent.is_empty() && registry.by_spiffe_id.is_empty());
}

#[test]
fn a_list_is_paged_and_narrowed() {
    let mut registry = Registry::default();
    for index in 0..10 {
        let uid = format!("unix:uid:{index}");
        let selectors = ["unix:user:a", uid.as_str()];
        registry.insert(Arc::new(entry(&format!("e{index}"), "/spire/agent/local", &selectors)));
    }
    let mut filter = Filter::default();
    let ids = |list: Vec<Arc<Entry>>| list.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(registry.list(&filter, "", 2)), ["e0", "e1"]);
    assert_eq!(ids(registry.list(&filter, "e1", 2)), ["e2", "e3"]);
    assert_eq!(registry.list(&filter, "e9", 2).len(), 0);
    filter.selectors = BTreeSet::from([Selector::new("unix", "user:a")]);
    assert_eq!(registry.list(&filter, "", 100).len(), 10);
    filter.selectors.insert(Selector::new("unix", "uid:7"));
    assert_eq!(ids(registry.list(&filter, "", 100)), ["e7"]);
    filter.hint = Some("none".to_owned());
    assert_eq!(registry.list(&filter, "", 100).len(), 0);
}

#[test]
fn entries_that_cannot_be_are_refused() {
    let domain = TrustDomain::parse("demo.local").unwrap();
    let good = || entry("a", "/spire/agent/local", &["unix:uid:1"]);
    type Spoil = fn(&mut Entry);
    let id = |text: &str| SpiffeId::parse(text).unwrap();
    let cases: [(Spoil, &str); 9] = [
        (|e| e.spiffe_id = SpiffeId::parse("spiffe://else/a").unwrap(), "is not in trust domain"),
        (|e| e.parent = SpiffeId::parse("spiffe://else/a").unwrap(), "is not in trust domain"),
        (|e| e.spiffe_id = SpiffeId::parse("spiffe://demo.local").unwrap(), "must have a path"),
        (|e| e.spiffe_id = SpiffeId::parse("spiffe://demo.local/spire/x").unwrap(), "reserved"),
        (|e| e.selectors.clear(), "at least one selector"),
        (|e| e.dns_names = vec!["a..b".to_owned()], "is not a DNS name"),
        (|e| e.dns_names = vec!["a b".to_owned()], "is not a DNS name"),
        (
            |e| e.federates_with = BTreeSet::from([TrustDomain::parse("demo.local").unwrap()]),
            "its own trust domain",
        ),
        (|e| e.hint = "h".repeat(1025), "a hint of at most"),
    ];
    for (spoil, want) in cases {
        let mut entry = good();
        spoil(&mut entry);
        let error = check(&entry, &domain).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
    let mut fine = good();
    fine.dns_names = vec!["*.demo.local".to_owned(), "backend".to_owned()];
    fine.spiffe_id = id("spiffe://demo.local/spire-like");
    assert_eq!(check(&fine, &domain), Ok(()));
}
