//! The running trust domain, as the supervisor sees it: on the SPIFFE server's own socket.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_keys::x509::{Certificate, encode_pem};
use holdfast_keys::{CertificateInfo, SignedToken};
use holdfast_spiffe::proto::node as wire;
use holdfast_spiffe::proto::node::admin_client::AdminClient;
use holdfast_spiffe::remote::{self, RemoteSource};
use holdfast_spiffe::source::key_and_request;
use holdfast_spiffe::{Entry, JwtSvid, Snapshot, Source};
use holdfast_types::SecretString;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::transport::Channel;

use super::super::certificate::ServerCertificate;
use super::declared::is_part;
use super::{Declarations, SERVER, Sockets};
use crate::apply::{Change, ChangeKind, Report};

/// What stands before the coordinates of a key on P-256.
///
/// Source: RFC 5480, section 2: the algorithm, the curve, and an uncompressed point.
const P256_KEY: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// How long the server may take to answer, or to take over what was declared.
const LIMIT: Duration = Duration::from_secs(10);

/// The trust domain, watched.
pub(crate) struct Domain {
    source: RemoteSource,
    admin: AdminClient<Channel>,
    /// What was declared last and is in force.
    declarations: Rc<RefCell<Rc<Declarations>>>,
}

impl Domain {
    /// The server that listens by now.
    pub(crate) fn new(sockets: &Sockets, declarations: Rc<RefCell<Rc<Declarations>>>) -> Self {
        let admin = remote::admin(&sockets.server);
        Self { source: RemoteSource::unix(&sockets.server), admin, declarations }
    }

    /// A JWT-SVID of a service, for `audience`.
    pub(crate) async fn service_token(
        &self,
        service: &str,
        audience: &str,
    ) -> anyhow::Result<JwtSvid> {
        let declarations = self.declarations.borrow().clone();
        let entry = declarations.service(service);
        self.token(entry.with_context(|| format!("{service} has no identity"))?, audience).await
    }

    /// A JWT-SVID of a part of the platform, for `audience`.
    pub(crate) async fn part_token(&self, part: &str, audience: &str) -> anyhow::Result<JwtSvid> {
        let declarations = self.declarations.borrow().clone();
        let entry = declarations.part(part);
        self.token(entry.with_context(|| format!("{part} has no identity"))?, audience).await
    }

    /// A JWT-SVID of an operator, by the name of their user, for `audience`.
    pub(crate) async fn operator_token(
        &self,
        trust_domain: &str,
        user: &str,
        audience: &str,
    ) -> anyhow::Result<SecretString> {
        let request = wire::MintJwtSvidRequest {
            spiffe_id: format!("{}{user}", operators(trust_domain)),
            audience: vec![audience.to_owned()],
            ttl: 0,
        };
        let mut admin = self.admin.clone();
        let answer = timeout(LIMIT, admin.mint_jwt_svid(request)).await;
        let answer = answer.context("the SPIFFE server does not answer")?;
        let minted = answer.with_context(|| format!("have a JWT-SVID of {user} signed"))?;
        Ok(SecretString::new(minted.into_inner().token))
    }

    /// An X.509-SVID of a part of the platform, once the server knows it as it is declared.
    pub(crate) async fn part_certificate(&self, part: &str) -> anyhow::Result<ServerCertificate> {
        let declarations = self.declarations.borrow().clone();
        let entry = declarations.part(part).with_context(|| format!("{part} has no identity"))?;
        let is_there = |seen: &Snapshot| declared(seen).any(|there| is_same(there, entry));
        self.wait(is_there).await.with_context(|| format!("have {} known", entry.spiffe_id))?;
        let (key, request) = key_and_request().context("make a key")?;
        let signed = self.source.mint_x509(&entry.id, &request).await;
        let signed =
            signed.with_context(|| format!("have an X.509-SVID of {} signed", entry.spiffe_id))?;
        let leaf = signed.chain.first().context("an X.509-SVID without a certificate")?;
        let pem = |der: &Vec<u8>| encode_pem("CERTIFICATE", der).to_string();
        Ok(ServerCertificate {
            info: CertificateInfo::from_der(leaf)?,
            chain_pem: signed.chain.iter().map(pem).collect(),
            key_pem: key.to_pem(),
        })
    }

    /// The id of the key that signs now, by a token of a part of the platform.
    pub(crate) async fn signing_key_id(&self, part: &str) -> anyhow::Result<String> {
        let token = self.part_token(part, "holdfast").await?.token;
        let token = SignedToken::parse(token.expose()).context("read a JWT-SVID")?;
        token.key_id.context("a JWT-SVID without the id of its key")
    }

    /// Tells the server that all who verify tokens have the keys of these ids.
    pub(crate) async fn acknowledge(&self, key_ids: &[String]) -> anyhow::Result<()> {
        let request = wire::AcknowledgeJwtKeysRequest { key_ids: key_ids.to_vec() };
        let mut admin = self.admin.clone();
        let answer = timeout(LIMIT, admin.acknowledge_jwt_keys(request)).await;
        let answer = answer.context("the SPIFFE server does not answer")?;
        answer.map(drop).context("tell the SPIFFE server that its keys were brought")
    }

    async fn token(&self, entry: &Entry, audience: &str) -> anyhow::Result<JwtSvid> {
        let signed = self.source.mint_jwt(&entry.id, &[audience.to_owned()]).await;
        signed.with_context(|| format!("have a JWT-SVID of {} signed", entry.spiffe_id))
    }

    /// What is known of it now.
    pub(crate) async fn snapshot(&self) -> anyhow::Result<Arc<Snapshot>> {
        self.wait(|_| true).await
    }

    /// What tells of changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.source.watch()
    }

    /// Whether a certificate is to be replaced, for what signed it is not to be relied on.
    pub(crate) fn taints(&self, certificate: &Certificate) -> bool {
        self.source.watch().borrow().as_ref().is_some_and(|known| known.bundle.taints(certificate))
    }

    /// What would change, and what would not, if `wanted` were in force.
    pub(crate) async fn compare(&self, wanted: &Declarations) -> anyhow::Result<Report> {
        let snapshot = self.snapshot().await?;
        let mut found: BTreeMap<_, _> = declared(&snapshot).map(|it| (&it.id, it)).collect();
        let mut report = Report::default();
        let mut note = |kind, entry: &Entry| {
            let file = entry.origin.rsplit_once('(').map(|(_, file)| file.trim_end_matches(')'));
            report.changes.push(Change {
                kind,
                path: format!("identity{}", entry.spiffe_id.path()),
                file: file.filter(|_| kind != ChangeKind::Remove).map(str::to_owned),
                fields: Vec::new(),
            });
        };
        let mut unchanged = 0;
        for entry in wanted.entries() {
            let is_shown = !is_part(&entry.spiffe_id);
            match found.remove(&entry.id) {
                Some(there) if is_same(there, entry) => unchanged += usize::from(is_shown),
                _ if !is_shown => {}
                Some(_) => note(ChangeKind::Change, entry),
                None => note(ChangeKind::Create, entry),
            }
        }
        for entry in found.into_values().filter(|entry| !is_part(&entry.spiffe_id)) {
            note(ChangeKind::Remove, entry);
        }
        report.unchanged = unchanged;
        Ok(report)
    }

    /// Returns once `wanted` is in force.
    pub(crate) async fn has(&self, wanted: &Rc<Declarations>) -> anyhow::Result<()> {
        let is_there = |snapshot: &Snapshot| {
            let found: BTreeMap<_, _> = declared(snapshot).map(|it| (&it.id, it)).collect();
            // An entry under another parent is not shown to the agent of this machine.
            let own = |entry: &&Entry| found.values().any(|it| it.parent == entry.parent);
            let wanted: Vec<_> = wanted.entries().iter().filter(own).collect();
            found.len() == wanted.len()
                && wanted
                    .iter()
                    .all(|entry| found.get(&entry.id).is_some_and(|there| is_same(there, entry)))
        };
        let there = self.wait(is_there).await;
        there.map(drop).with_context(|| {
            format!("have the identities of the platform directory in force; see `holdfast logs {SERVER}`")
        })
    }

    async fn wait(&self, is_it: impl Fn(&Snapshot) -> bool) -> anyhow::Result<Arc<Snapshot>> {
        let mut seen = self.source.watch();
        let found = seen.wait_for(|seen| seen.as_deref().is_some_and(&is_it));
        let found = timeout(LIMIT, found).await.context("the SPIFFE server does not answer")??;
        found.clone().context("a snapshot")
    }
}

/// What operators' SPIFFE IDs begin with; a user's name follows.
pub(crate) fn operators(trust_domain: &str) -> String {
    format!("spiffe://{trust_domain}/holdfast/operator/")
}

/// What files declare, and no operator made by hand.
fn declared(snapshot: &Snapshot) -> impl Iterator<Item = &Entry> {
    snapshot.entries.iter().map(Arc::as_ref).filter(|entry| !entry.origin.is_empty())
}

/// Whether they say the same; times and file names aside.
fn is_same(one: &Entry, other: &Entry) -> bool {
    let said = |entry: &Entry| Entry {
        created: other.created,
        revision: 0,
        origin: String::new(),
        ..entry.clone()
    };
    said(one) == said(other)
}

/// The ids of the keys of a trust domain that verify JWT-SVIDs.
pub(crate) fn jwt_key_ids(snapshot: &Snapshot) -> Vec<String> {
    let ids = snapshot.bundle.jwt_authorities.iter().map(|key| key.get("kid")?.as_str());
    ids.flatten().map(str::to_owned).collect()
}

/// The keys of a trust domain that verify JWT-SVIDs, those that are yet to sign among them, as PEM.
///
/// # Errors
/// A key of another kind than the server makes for a platform.
pub(crate) fn jwt_keys(snapshot: &Snapshot) -> anyhow::Result<Vec<String>> {
    let keys = snapshot.bundle.jwt_authorities.iter().map(|key| {
        let coordinate = |name: &str| {
            let text = key.get(name).and_then(Value::as_str).unwrap_or_default();
            URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == 32)
        };
        let is_p256 = key.get("crv").and_then(Value::as_str) == Some("P-256");
        let point = coordinate("x").zip(coordinate("y")).filter(|_| is_p256);
        let (x, y) = point.context("the JWT authority is no key on P-256")?;
        Ok(encode_pem("PUBLIC KEY", &[P256_KEY, &x, &y].concat()).trim_end().to_owned())
    });
    keys.collect()
}
