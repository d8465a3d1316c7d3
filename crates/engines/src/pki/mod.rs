//! The PKI engine: certificate authorities that issue by role, revoke, and publish what they
//! revoked.
//!
//! Layout under the mount's corner of the store:
//!
//! | entry | holds |
//! |---|---|
//! | `config/...` | the mount's settings, one entry each |
//! | `key/<id>`, `issuer/<id>` | the authorities; read once and kept in memory |
//! | `role/<name>` | what may be issued |
//! | `certs/<serial>` | an issued certificate in DER |
//! | `revoked/<serial>` | when it was revoked, and by which issuer it was signed |
//! | `delta/<serial>` | revoked since the last complete list |
//! | `crls/state`, `crls/<id>`, `crls/<id>-delta` | the lists and their numbers |
//!
//! Issuing and revoking touch one certificate's entries and nothing that grows with their number.
//! Building a revocation list reads every revoked certificate; with `auto_rebuild` that happens on
//! a tick and not at each revocation.

mod ca_request;
mod chain;
mod crl;
mod crl_config;
mod error;
mod extensions;
mod fetch;
mod generate;
mod glob;
mod hostname;
mod import;
mod intermediate;
mod issue;
mod issuer;
mod issuers;
mod keys;
mod names;
mod ocsp;
mod output;
mod policy_identifiers;
mod profile;
mod revoke;
mod role;
mod roles;
mod root;
mod route;
mod routes;
mod serial;
mod sign_intermediate;
mod store;
#[cfg(test)]
mod tests;
mod tidy;
mod tidy_config;
mod urls;
mod validity;

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_logical::{Backend, Context, Error, Lease, Operation, Reply, Request, SpecialPaths};
use tokio::sync::Mutex;

use self::crl::Lists;
use self::generate::Generator;
use self::route::{Form, Route};
use self::store::Store;
use self::tidy::Tidy;

/// The engine.
pub struct Pki(Arc<Engine>);

struct Engine {
    context: Context,
    store: Store,
    lists: Lists,
    /// Held while a certificate is revoked, or what was revoked is tidied.
    revocations: Mutex<()>,
    generator: Generator,
    tidy: Tidy,
}

impl Pki {
    /// The engine over its corner of the store.
    pub fn new(context: Context) -> Self {
        Self(Arc::new(Engine {
            store: Store::new(&context),
            lists: Lists::default(),
            revocations: Mutex::default(),
            generator: Generator::default(),
            tidy: Tidy::new(&context),
            context,
        }))
    }
}

#[async_trait]
impl Backend for Pki {
    async fn handle(&self, request: &Request) -> Reply {
        self.0.handle(request).await.map_err(Error::field_validation)
    }

    fn routes(&self) -> &'static [holdfast_logical::Route] {
        routes::ROUTES
    }

    fn special_paths(&self) -> SpecialPaths {
        let own = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        SpecialPaths {
            unauthenticated: own(&[
                "cert/*",
                "ca/pem",
                "ca_chain",
                "ca",
                "crl/delta",
                "crl/delta/pem",
                "crl/pem",
                "crl",
                "issuer/+/crl/der",
                "issuer/+/crl/pem",
                "issuer/+/crl",
                "issuer/+/crl/delta/der",
                "issuer/+/crl/delta/pem",
                "issuer/+/crl/delta",
                "issuer/+/pem",
                "issuer/+/der",
                "issuer/+/json",
                "issuers/",
                "ocsp",
                "ocsp/*",
            ]),
            sudo: own(&["root", "root/sign-self-issued"]),
        }
    }

    /// Rebuilds lists that are due, and tidies when it is time to.
    async fn tick(&self) -> Result<(), Error> {
        let lists = self.0.rebuild_what_is_due().await;
        self.0.auto_tidy().await.and(lists)
    }

    async fn revoke(&self, lease: &Lease) -> Result<(), Error> {
        self.0.revoke_lease(lease).await
    }

    async fn stop(&self) {
        self.0.tidy.stop();
    }

    fn help(&self, path: &str) -> Option<String> {
        path.is_empty()
            .then(|| "Certificate authorities that issue by role, and revoke.".to_owned())
    }
}

impl Engine {
    async fn handle(self: &Arc<Self>, request: &Request) -> Reply {
        use Operation::{Create, Delete, List, Patch, Read, Update};
        match (Route::parse(&request.path)?, request.operation) {
            (Route::Roles, List) => self.list_roles(request).await,
            (Route::Role(name), Read) => self.read_role(name).await,
            (Route::Role(name), Create | Update) => self.write_role(name, request).await,
            (Route::Role(name), Patch) => self.patch_role(name, request).await,
            (Route::Role(name), Delete) => self.delete_role(name).await,

            (Route::Issue(issuer, role), Create | Update) => {
                self.issue(issuer, role, request).await
            }
            (Route::Sign(issuer, role), Create | Update) => self.sign(issuer, role, request).await,
            (Route::SignVerbatim(issuer, role), Create | Update) => {
                self.sign_verbatim(issuer, role, request).await
            }
            (Route::SignIntermediate(issuer), Create | Update) => {
                self.sign_intermediate(issuer, request).await
            }
            (Route::SignSelfIssued(issuer), Create | Update) => {
                self.sign_self_issued(issuer, request).await
            }

            (Route::GenerateRoot { exported, rotate }, Create | Update) => {
                self.generate_root(exported, rotate, request).await
            }
            (Route::GenerateIntermediate(exported), Create | Update) => {
                self.generate_intermediate(exported, request).await
            }
            (Route::Root, Delete) => self.delete_root().await,
            (Route::Import { field, keys_allowed }, Create | Update) => {
                self.import(field, keys_allowed, request).await
            }

            (Route::ConfigIssuers, Read) => self.read_issuers_config().await,
            (Route::ConfigIssuers, Create | Update) => {
                self.write_issuers_config(request, None).await
            }
            (Route::ReplaceRoot, Create | Update) => {
                self.write_issuers_config(request, Some("next")).await
            }
            (Route::Issuers, List) => self.list_issuers(request).await,
            (Route::Issuer(reference, Form::Full), Read) => self.read_issuer(reference).await,
            (Route::Issuer(reference, form), Read) => self.public_issuer(reference, form).await,
            (Route::Issuer(reference, Form::Full), Create | Update) => {
                self.write_issuer(reference, request).await
            }
            (Route::Issuer(reference, Form::Full), Patch) => {
                self.patch_issuer(reference, request).await
            }
            (Route::Issuer(reference, Form::Full), Delete) => self.delete_issuer(reference).await,
            (Route::RevokeIssuer(reference), Create | Update) => {
                self.revoke_issuer(reference).await
            }
            (Route::IssuerCrl { issuer, delta, form }, Read) => {
                self.issuer_crl(issuer, delta, form).await
            }

            (Route::ConfigKeys, Read) => self.read_keys_config().await,
            (Route::ConfigKeys, Create | Update) => self.write_keys_config(request).await,
            (Route::Keys, List) => self.list_keys(request).await,
            (Route::Key(reference), Read) => self.read_key(reference).await,
            (Route::Key(reference), Create | Update) => self.rename_key(reference, request).await,
            (Route::Key(reference), Delete) => self.delete_key(reference).await,
            (Route::GenerateKey(exported), Create | Update) => {
                self.generate_key(exported, request).await
            }
            (Route::ImportKey, Create | Update) => self.import_key(request).await,

            (Route::ConfigUrls, Read) => self.read_urls().await,
            (Route::ConfigUrls, Create | Update) => self.write_urls(request).await,
            (Route::ConfigCluster, Read) => self.read_cluster().await,
            (Route::ConfigCluster, Create | Update) => self.write_cluster(request).await,
            (Route::ConfigCrl, Read) => self.read_crl_config().await,
            (Route::ConfigCrl, Create | Update) => self.write_crl_config(request).await,

            (Route::Certs, List) => self.list_certificates("certs/", request).await,
            (Route::CertsDetailed, List) => self.list_detailed(request).await,
            (Route::CertsRevoked, List) => self.list_certificates("revoked/", request).await,
            (Route::Cert(serial, form), Read) => self.certificate(serial, form).await,
            (Route::Ca(form), Read) => self.ca(form).await,
            (Route::CaChain(form), Read) => self.ca_chain(form).await,
            (Route::Crl { delta, form }, Read) => self.default_crl(delta, form).await,
            (Route::Revoke, Create | Update) => self.revoke(request, false).await,
            (Route::RevokeWithKey, Create | Update) => self.revoke(request, true).await,
            (Route::RotateCrl, Read) => self.rotate_crl().await,
            (Route::RotateDeltaCrl, Read) => self.rotate_delta_crl().await,
            (Route::Ocsp(question), Read) => self.ocsp(question).await,
            (Route::OcspPost, Create | Update) => self.ocsp_post(request).await,

            (Route::Tidy, Create | Update) => self.start_tidy(request).await,
            (Route::TidyCancel, Create | Update) => self.cancel_tidy(),
            (Route::TidyStatus, Read) => self.tidy_status(),
            (Route::ConfigAutoTidy, Read) => self.read_auto_tidy().await,
            (Route::ConfigAutoTidy, Create | Update) => self.write_auto_tidy(request).await,
            _ => Err(Error::UnsupportedOperation),
        }
    }
}
