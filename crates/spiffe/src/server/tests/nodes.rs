//! Agents of other machines: how they join, and how they stay.

use super::*;

pub(super) fn joining(
    running: &Running,
    name: &str,
    token: Option<&str>,
) -> crate::join::JoinSettings {
    crate::join::JoinSettings {
        server: running.nodes.unwrap().to_string(),
        trust_domain: TrustDomain::parse("demo.local").unwrap(),
        bundle: vec![Certificate::from_pem(&running.root.0).unwrap().der],
        proof: token.map(|token| crate::join::Proof::Token(token.into())),
        state: running.directory.path().join(name),
    }
}

#[tokio::test]
async fn another_machines_agent_joins_once_and_goes_on_through_restarts() {
    let mut running = Running::start().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut operator = admin(&running.socket());
    let request =
        wire::GenerateTokenRequest { ttl: 60, spiffe_id: "spiffe://demo.local/node/db".to_owned() };
    let token = operator.generate_token(request).await.unwrap().into_inner().token;
    let refused = crate::join::join(joining(&running, "a", None), clock.clone()).await;
    assert!(matches!(refused, Err(crate::join::JoinError::NoProof)));
    let refused = crate::join::join(joining(&running, "a", Some("guess")), clock.clone()).await;
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("does not exist or has already been used"), "{refused}");

    let joined = crate::join::join(joining(&running, "a", Some(&token)), clock.clone()).await;
    let joined = joined.unwrap();
    assert!(joined.spiffe_id.starts_with("spiffe://demo.local/spire/agent/join_token/"));
    assert!(!joined.spiffe_id.contains(&token), "the token stands in no certificate");
    let again = crate::join::join(joining(&running, "b", Some(&token)), clock.clone()).await;
    assert!(again.is_err(), "a token is for one agent");

    // An entry under the alias that the token gave is this agent's, and not the local one's.
    let mut entry = wanted("postgres", 26);
    entry.parent_id = "spiffe://demo.local/node/db".to_owned();
    let entry = operator.create_entry(entry).await.unwrap().into_inner();
    until(&joined.source, |now| now.entries.iter().any(|one| one.id == entry.id)).await;
    let (_, csr) = csr();
    joined.source.mint_x509(&entry.id, &csr).await.unwrap();
    let local = RemoteSource::unix(&running.socket());
    assert!(matches!(local.mint_x509(&entry.id, &csr).await, Err(MintError::NoEntry(_))));

    let id = joined.spiffe_id.clone();
    drop(joined);
    running.restart().await;
    let joined = crate::join::join(joining(&running, "a", None), clock.clone()).await.unwrap();
    assert_eq!(joined.spiffe_id, id, "the same agent, without a token");
    until(&joined.source, |now| now.entries.iter().any(|one| one.id == entry.id)).await;
    joined.source.mint_jwt(&entry.id, &["a".to_owned()]).await.unwrap();

    let mut operator = admin(&running.socket());
    let agents =
        operator.list_agents(wire::ListAgentsRequest::default()).await.unwrap().into_inner();
    assert_eq!(agents.agents.len(), 1);
    operator.ban_agent(wire::BanAgentRequest { spiffe_id: id }).await.unwrap();
    let banned = joined.source.mint_jwt(&entry.id, &["a".to_owned()]).await;
    assert!(banned.is_err(), "from now on nothing");
    let audited = running.audited();
    assert!(!audited.contains(&token), "no token is audited");
    assert!(audited.contains("agent attest"));
    running.stop().await;
}

#[tokio::test]
async fn a_machine_joins_by_its_certificate_and_its_key() {
    let running = Running::start().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let db = running.nodes_ca.client("db1");
    let other = running.nodes_ca.client("db2");
    let stranger = holdfast_testkit::Ca::new("elsewhere").client("db1");
    let by = |name: &str, certificate: &holdfast_testkit::Leaf, key: &holdfast_testkit::Leaf| {
        let mut settings = joining(&running, name, None);
        let key = key.key_pem.as_str().into();
        let chain = vec![certificate.certificate_der.clone()];
        settings.proof = Some(crate::join::Proof::Certificate(chain, key));
        crate::join::join(settings, clock.clone())
    };
    let refused = by("a", &stranger, &stranger).await.err().unwrap().to_string();
    assert!(refused.contains("is not verified"), "{refused}");
    let refused = by("a", &db, &other).await.err().unwrap().to_string();
    assert!(refused.contains("the answer to the challenge is wrong"), "{refused}");

    let joined = by("a", &db, &db).await.unwrap();
    assert!(joined.spiffe_id.starts_with("spiffe://demo.local/spire/agent/x509pop/"));
    let mut operator = admin(&running.socket());
    let alias = wire::Entry {
        spiffe_id: "spiffe://demo.local/databases".to_owned(),
        parent_id: "spiffe://demo.local/spire/server".to_owned(),
        selectors: vec![wire::Selector {
            r#type: "x509pop".to_owned(),
            value: "subject:cn:db1".to_owned(),
        }],
        ..wire::Entry::default()
    };
    operator.create_entry(alias).await.unwrap();
    let mut entry = wanted("postgres", 26);
    entry.parent_id = "spiffe://demo.local/databases".to_owned();
    operator.create_entry(entry).await.unwrap();
    until(&joined.source, |now| now.entries.len() == 1).await;
    let elsewhere = by("b", &other, &other).await.unwrap();
    until(&elsewhere.source, |now| now.entries.is_empty()).await;

    // Evicted, it gets nothing until it joins again; banned, it never does, until that is taken back.
    let id = joined.spiffe_id.clone();
    let entry = operator.list_entries(wire::ListEntriesRequest::default()).await.unwrap();
    let entry = entry.into_inner().entries.into_iter().find(|one| one.hint.is_empty()).unwrap().id;
    let evict = wire::EvictAgentRequest { spiffe_id: id.clone() };
    operator.evict_agent(evict.clone()).await.unwrap();
    let refused = joined.source.mint_jwt(&entry, &["a".to_owned()]).await.unwrap_err();
    assert!(holdfast_types::Chain(&refused).to_string().contains("not attested"), "{refused:?}");
    assert!(operator.evict_agent(evict.clone()).await.is_err(), "there is no such agent");
    assert_eq!(by("c", &db, &db).await.unwrap().spiffe_id, id);
    operator.ban_agent(wire::BanAgentRequest { spiffe_id: id.clone() }).await.unwrap();
    let refused = by("d", &db, &db).await.err().unwrap().to_string();
    assert!(refused.contains("banned"), "{refused}");
    operator.evict_agent(evict).await.unwrap();
    assert_eq!(by("e", &db, &db).await.unwrap().spiffe_id, id);
}

#[tokio::test]
async fn an_evicted_agent_that_runs_joins_again_when_it_renews() {
    let running = Running::start().await;
    let machine = running.nodes_ca.client("db1");
    // Half of the SVID's life is two seconds away.
    let clock = Arc::new(holdfast_testkit::FakeClock::at(SystemClock.now().as_second() + 3596));
    let mut settings = joining(&running, "a", None);
    let key = machine.key_pem.as_str().into();
    settings.proof = Some(crate::join::Proof::Certificate(vec![machine.certificate_der], key));
    let joined = crate::join::join(settings, clock.clone()).await.unwrap();
    let mut operator = admin(&running.socket());
    let spiffe_id = joined.spiffe_id.clone();
    operator.evict_agent(wire::EvictAgentRequest { spiffe_id: spiffe_id.clone() }).await.unwrap();
    clock.advance(Duration::from_secs(3));
    let mut entry = wanted("postgres", 26);
    entry.parent_id = spiffe_id;
    operator.create_entry(entry).await.unwrap();
    until(&joined.source, |now| now.entries.len() == 1).await;
}

#[tokio::test]
async fn an_agent_whose_svid_ended_while_it_slept_joins_again_by_its_certificate() {
    let running = Running::start().await;
    let machine = running.nodes_ca.client("db1");
    // Half of the SVID's life is two seconds away.
    let clock = Arc::new(holdfast_testkit::FakeClock::at(SystemClock.now().as_second() + 3596));
    let mut settings = joining(&running, "a", None);
    let key = machine.key_pem.as_str().into();
    settings.proof = Some(crate::join::Proof::Certificate(vec![machine.certificate_der], key));
    let joined = crate::join::join(settings, clock.clone()).await.unwrap();
    let attestations = || running.audited().matches("\"agent attest\"").count();
    assert_eq!(attestations(), 1, "{}", running.audited());
    clock.advance(Duration::from_secs(12 * 3600));
    let again = async {
        while attestations() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again).await.expect("it joins again");
    // It goes on as the same agent, and nobody renewed what had ended.
    let mut operator = admin(&running.socket());
    let agents =
        operator.list_agents(wire::ListAgentsRequest::default()).await.unwrap().into_inner();
    let ids: Vec<_> = agents.agents.iter().map(|agent| agent.spiffe_id.as_str()).collect();
    assert_eq!(ids, [joined.spiffe_id.as_str()]);
    assert!(!running.audited().contains("agent SVID renew"), "{}", running.audited());
    let mut entry = wanted("postgres", 26);
    entry.parent_id = joined.spiffe_id.clone();
    operator.create_entry(entry).await.unwrap();
    until(&joined.source, |now| now.entries.len() == 1).await;
}

#[tokio::test]
async fn an_agent_goes_on_through_renewals_by_the_svid_that_it_has_now() {
    let running = Running::start().await;
    let mut operator = admin(&running.socket());
    let request = wire::GenerateTokenRequest { ttl: 60, ..Default::default() };
    let token = operator.generate_token(request).await.unwrap().into_inner().token;
    // Half of the SVID's life is two seconds away.
    let clock = Arc::new(holdfast_testkit::FakeClock::at(SystemClock.now().as_second() + 3596));
    let joined = crate::join::join(joining(&running, "a", Some(&token)), clock.clone()).await;
    let joined = joined.unwrap();
    let mut entry = wanted("postgres", 26);
    entry.parent_id = joined.spiffe_id.clone();
    let entry = operator.create_entry(entry).await.unwrap().into_inner();
    until(&joined.source, |now| now.entries.len() == 1).await;
    // By the third renewal the server has forgotten the key that the agent joined with.
    let renewed = async {
        while running.audited().matches("agent SVID renew").count() < 3 {
            clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), renewed).await.expect("it renews");
    joined.source.mint_jwt(&entry.id, &["a".to_owned()]).await.unwrap();
    joined.source.mint_x509(&entry.id, &csr().1).await.unwrap();
    operator.delete_entry(wire::DeleteEntryRequest { entry_id: entry.id }).await.unwrap();
    until(&joined.source, |now| now.entries.is_empty()).await;
}
