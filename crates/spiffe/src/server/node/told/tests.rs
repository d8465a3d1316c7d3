use std::collections::BTreeSet;

use holdfast_types::{SpiffeId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::replica::{Replica, UpdateError};
use crate::{Selector, Snapshot};

fn domain() -> TrustDomain {
    TrustDomain::parse("demo.local").unwrap()
}

fn bundle(name: &str, sequence: u64) -> Arc<Bundle> {
    Arc::new(Bundle { sequence, ..Bundle::empty(TrustDomain::parse(name).unwrap()) })
}

/// What happens, in any order.
#[derive(Debug, Clone)]
enum Step {
    /// The entry of this number is made, or changed: under which parent, as which identity, and
    /// with whom it federates.
    Put(u8, u8, u8, Option<u8>),
    Remove(u8),
    /// Another bundle, of the trust domain itself or of another one.
    Bundle(u8, u64),
    /// The agent hears what there is to hear.
    Hear,
    /// An update is lost on the way.
    Lose,
    /// The connection ends, in the middle of an update or between two.
    Reconnect(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let federates = proptest::option::weighted(0.2, 0_u8..3);
    prop_oneof![
        8 => (0_u8..12, 0_u8..7, 0_u8..6, federates)
            .prop_map(|(id, parent, name, with)| Step::Put(id, parent, name, with)),
        4 => (0_u8..12).prop_map(Step::Remove),
        1 => (0_u8..4, 1_u64..5).prop_map(|(of, sequence)| Step::Bundle(of, sequence)),
        4 => Just(Step::Hear),
        1 => Just(Step::Lose),
        1 => any::<bool>().prop_map(Step::Reconnect),
    ]
}

/// A parent: the agent, another agent, the server (which makes an alias), or an identity that entries
/// give.
fn parent(number: u8) -> SpiffeId {
    let path = match number {
        0 => "/spire/agent/local".to_owned(),
        1 => "/spire/agent/other".to_owned(),
        2 => "/spire/server".to_owned(),
        other => format!("/name/{}", other - 3),
    };
    domain().member(&path).unwrap()
}

struct World {
    registry: Registry,
    node: NodeFacts,
    bundle: Arc<Bundle>,
    federated: BTreeMap<TrustDomain, Arc<Bundle>>,
    told: Told,
    replica: Replica,
    known: Option<Snapshot>,
    changes: u64,
    lost: bool,
}

impl World {
    fn new() -> Self {
        Self {
            registry: Registry::default(),
            node: NodeFacts::local(&domain()).unwrap(),
            bundle: bundle("demo.local", 0),
            federated: BTreeMap::new(),
            told: Told::default(),
            replica: Replica::new(None),
            known: None,
            changes: 0,
            lost: false,
        }
    }

    fn put(&mut self, id: u8, under: u8, name: u8, with: Option<u8>) {
        self.changes += 1;
        let (kind, value) = if under == 2 { ("unix", "local") } else { ("unix", "uid:1") };
        let with = with.map(|number| TrustDomain::parse(&format!("other{number}")).unwrap());
        self.registry.insert(Arc::new(Entry {
            id: format!("entry{id}"),
            spiffe_id: domain().member(&format!("/name/{name}")).unwrap(),
            parent: parent(under),
            selectors: BTreeSet::from([Selector::new(kind, value)]),
            x509_ttl: None,
            jwt_ttl: None,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            hint: String::new(),
            federates_with: with.into_iter().collect(),
            created: Timestamp::from_nanosecond(i128::from(id) * 1_000_001).unwrap(),
            revision: self.changes,
            origin: String::new(),
            expires: None,
        }));
    }

    fn untold(&mut self) -> Option<Untold> {
        self.told.catch_up(&self.registry, &self.node, &self.bundle, &self.federated)
    }

    fn reconnect(&mut self) {
        self.told = Told::default();
        self.replica = Replica::new(self.known.as_ref());
    }

    /// Everything is told and heard, over a new stream where the agent misses something. Then it
    /// knows what the server knows, no less and no more.
    fn hear(&mut self) {
        if std::mem::take(&mut self.lost) {
            // What was lost is missed when the next one comes.
            self.changes += 1;
            self.bundle = bundle("demo.local", 100 + self.changes);
        }
        // The second time from the beginning, if something was missed.
        for _ in 0..2 {
            let mut untold = self.untold().unwrap_or_default();
            while let Some(update) = self.told.page(&mut untold) {
                match self.replica.take(update) {
                    Ok(None) => {}
                    Ok(Some(snapshot)) => self.known = Some(snapshot),
                    Err(UpdateError::Gap { .. }) => {
                        self.reconnect();
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let known = self.known.as_ref().unwrap();
        let served = self.registry.served_by(&self.node);
        assert_eq!(known.entries.by_age(), served);
        assert_eq!(known.entries.len(), served.len());
        assert_eq!(known.bundle, self.bundle);
        let wanted: BTreeSet<_> = served.iter().flat_map(|entry| &entry.federates_with).collect();
        let mut federated = self.federated.clone();
        federated.retain(|name, _| wanted.contains(name));
        assert_eq!(known.federated, federated);
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Put(id, under, name, with) => self.put(id, under, name, with),
            Step::Remove(id) => _ = self.registry.remove(&format!("entry{id}")),
            Step::Bundle(3, sequence) => self.bundle = bundle("demo.local", sequence),
            Step::Bundle(of, sequence) => {
                let bundle = bundle(&format!("other{of}"), sequence);
                self.federated.insert(bundle.trust_domain.clone(), bundle);
            }
            Step::Hear => self.hear(),
            Step::Lose => {
                let mut untold = self.untold().unwrap_or_default();
                while self.told.page(&mut untold).is_some() {
                    self.lost = true;
                }
            }
            Step::Reconnect(is_within) => {
                let mut untold = self.untold().unwrap_or_default();
                if let Some(update) = self.told.page(&mut untold).filter(|_| is_within) {
                    let _ = self.replica.take(wire::Update { continues: true, ..update });
                }
                self.reconnect();
            }
        }
    }
}

proptest! {
    #[test]
    fn an_agent_knows_what_the_server_knows(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.hear();
    }
}

#[test]
fn a_change_costs_what_changed_and_much_goes_in_pages() {
    let mut world = World::new();
    for number in 0..5_000_u32 {
        world.put(0, 0, 0, None);
        let mut entry = Entry::clone(world.registry.get("entry0").unwrap());
        entry.id = format!("many{number}");
        entry.spiffe_id = domain().member(&format!("/many/{number}")).unwrap();
        world.registry.insert(Arc::new(entry));
    }
    let mut pages = 0;
    let mut untold = world.untold().unwrap();
    while let Some(update) = world.told.page(&mut untold) {
        assert!(update.encoded_len() < 2 * PAGE);
        pages += 1;
        world.known = world.replica.take(update).unwrap();
        assert_eq!(world.known.is_some(), untold.is_empty(), "in force with the last one");
    }
    assert!(pages > 1);
    assert_eq!(world.known.as_ref().unwrap().entries.len(), 5_001);

    world.put(1, 0, 1, None);
    world.registry.remove("many7");
    let mut untold = world.untold().unwrap();
    let update = world.told.page(&mut untold).unwrap();
    assert_eq!(update.entries.len(), 1);
    assert_eq!(update.removed, ["many7"]);
    assert!(update.bundle.is_none() && update.federated.is_none() && !update.continues);
    assert!(world.untold().is_none(), "nothing changed since");
    world.registry.remove("never");
    world.put(9, 1, 9, None);
    assert!(world.untold().is_none(), "another agent's entries are not told");
}
