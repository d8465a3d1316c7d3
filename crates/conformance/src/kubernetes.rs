//! A fake of a cluster's API, for suites that log in with tokens of service accounts: it reviews
//! tokens and knows the labels of two namespaces.

use anyhow::{Result, bail};
use holdfast_testkit::FakeCluster;
use serde_json::{Value, json};

const UID: &str = "474b11b5-0f20-4f9d-8ca5-65715ab325e0";

/// None yet, or a fake of the suite's own, which ends with the suite.
#[derive(Default)]
pub(crate) struct Cluster(Option<FakeCluster>);

impl Cluster {
    /// What `kubernetes_host` and its like stand for.
    pub(crate) fn place(&mut self, name: &str) -> Result<String> {
        if self.0.is_none() {
            let fake = FakeCluster::start()?;
            fake.put("/api/v1/namespaces/apps", namespace("apps", "red"));
            fake.put("/api/v1/namespaces/other", namespace("other", "blue"));
            self.0 = Some(fake);
        }
        let Some(fake) = &self.0 else { bail!("the fake did not start") };
        Ok(match name {
            "kubernetes_host" => fake.url(),
            "kubernetes_ca" => fake.ca_pem().to_owned(),
            "kubernetes_jwt" => token("apps", "backend", true),
            "kubernetes_jwt_elsewhere" => token("other", "backend", true),
            "kubernetes_jwt_stranger" => token("apps", "stranger", true),
            "kubernetes_jwt_gone" => token("apps", "backend", false),
            _ => bail!("there is no ${{{name}}}"),
        })
    }

    /// `text` with the fake's address under its name.
    pub(crate) fn without_places(&self, text: &str) -> String {
        let Some(fake) = &self.0 else { return text.to_owned() };
        text.replace(fake.url().trim_start_matches("https://"), "${kubernetes}")
    }
}

fn token(namespace: &str, name: &str, is_good: bool) -> String {
    FakeCluster::token(&json!({
        "aud": ["vault"], "exp": 4_102_444_800_i64, "iat": 1_700_000_000, "good": is_good,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "kubernetes.io": {
            "namespace": namespace, "serviceaccount": { "name": name, "uid": UID },
        },
    }))
}

fn namespace(name: &str, team: &str) -> Value {
    json!({ "kind": "Namespace", "metadata": { "name": name, "labels": { "team": team } } })
}
