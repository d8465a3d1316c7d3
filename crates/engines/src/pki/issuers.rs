//! Reading and changing issuers.

use std::sync::Arc;

use holdfast_keys::x509::SignatureAlgorithm;
use holdfast_logical::{Error, Fields, Reply, Request, Response};
use holdfast_types::rfc3339;
use serde_json::{Map, Value, json};

use super::Engine;
use super::error::fault;
use super::issuer::{Issuer, LeafNotAfter, Usage};
use super::output::{DER, PEM, raw};
use super::role::Role;
use super::route::{Form, is_name, reference};
use super::store::{Authorities, Change, DEFAULT, ReferenceError};
use super::urls::{Urls, may_fail};

/// How many roles are looked at before it is said that a name is used by some of them.
const ROLES_LOOKED_AT: usize = 100;
/// How many are counted.
const ROLES_COUNTED: usize = 10;

/// The keys of a list that the request asks for: those after `after`, at most `limit`.
pub(super) fn page<'a>(
    keys: impl Iterator<Item = &'a String>,
    request: &Request,
) -> Result<Vec<String>, Error> {
    let (after, limit) = after_and_limit(request)?;
    let keys = keys.filter(|key| after.as_ref().is_none_or(|after| *key > after)).cloned();
    Ok(keys.take(limit.unwrap_or(usize::MAX)).collect())
}

/// Where a list begins and how long it is at most.
pub(super) fn after_and_limit(request: &Request) -> Result<(Option<String>, Option<usize>), Error> {
    let fields = request.fields();
    let after = fields.string("after")?.filter(|after| !after.is_empty());
    let limit = fields.integer("limit")?.and_then(|limit| usize::try_from(limit).ok());
    Ok((after, limit.filter(|limit| *limit > 0)))
}

/// The answer to a list that says something of each key.
pub(super) fn list_with_info(keys: Vec<String>, info: Map<String, Value>) -> Option<Response> {
    let mut response = Response::list(keys)?;
    if let Some(data) = &mut response.data {
        data.insert("key_info".to_owned(), Value::Object(info));
    }
    Some(response)
}

/// The name that a request gives to an issuer, or why it cannot: with the name, where it is only
/// that another has it.
enum NameError {
    InUse(String),
    Other(&'static str),
}

fn given_name(authorities: &Authorities, name: &str) -> Result<String, NameError> {
    let name = name.trim();
    if name.is_empty() {
        return Err(NameError::Other("expected non-empty issuer name"));
    }
    if name.eq_ignore_ascii_case(DEFAULT) {
        return Err(NameError::Other("reserved keyword 'default' can not be used as issuer name"));
    }
    if !is_name(name) {
        return Err(NameError::Other("issuer name contained invalid characters"));
    }
    if authorities.issuer(name).is_ok() {
        return Err(NameError::InUse(name.to_owned()));
    }
    Ok(name.to_owned())
}

const NAME_IN_USE: &str = "issuer name already in use";

/// The name for an issuer that is about to be made; empty where the request gives none.
pub(super) fn issuer_name(authorities: &Authorities, fields: Fields<'_>) -> Result<String, Error> {
    let Some(name) = fields.string("issuer_name")? else { return Ok(String::new()) };
    given_name(authorities, &name).map_err(|error| match error {
        NameError::InUse(_) => Error::invalid(NAME_IN_USE),
        NameError::Other(problem) => Error::invalid(problem),
    })
}

impl Engine {
    pub(super) async fn list_issuers(&self, request: &Request) -> Reply {
        let authorities = self.store.authorities().await?;
        let ids = page(authorities.issuers.keys(), request)?;
        let mut info = Map::new();
        for id in &ids {
            let Some(issuer) = authorities.issuers.get(id) else { continue };
            let about = json!({
                "issuer_name": issuer.entry.name,
                "is_default": authorities.config.default == *id,
                "serial_number": issuer.serial(),
                "key_id": issuer.entry.key_id,
            });
            info.insert(id.clone(), about);
        }
        Ok(list_with_info(ids, info))
    }

    pub(super) async fn read_issuer(&self, issuer: &str) -> Reply {
        let authorities = self.store.authorities().await?;
        let issuer = authorities.issuer(reference(issuer)).map_err(fault)?;
        Ok(Some(issuer_response(&authorities, issuer)))
    }

    pub(super) async fn public_issuer(&self, issuer: &str, form: Form) -> Reply {
        let authorities = self.store.authorities().await?;
        let issuer = authorities.issuer(reference(issuer));
        // No token is needed here, so refusals stand bare.
        let issuer = issuer.map_err(|error| Error::invalid(error.to_string()))?;
        let pem = format!("{}\n", issuer.entry.certificate);
        Ok(Some(match form {
            Form::Der => raw(DER, issuer.certificate.der.clone()),
            Form::Pem => raw(PEM, pem.into_bytes()),
            Form::Json | Form::Full => Response::data(json!({
                "certificate": pem,
                "ca_chain": chain_pem(&authorities, issuer),
                "issuer_id": issuer.entry.id,
                "issuer_name": issuer.entry.name,
            })),
        }))
    }

    /// Everything that is not given goes back to what it is for a new issuer.
    pub(super) async fn write_issuer(&self, issuer: &str, request: &Request) -> Reply {
        let change = self.store.change().await?;
        let old = change.authorities.issuer(reference(issuer)).map_err(fault)?.clone();
        let mut new = Issuer::clone(&old);
        let fields = request.fields();
        let name = fields.string("issuer_name")?;
        new.entry.name = name
            .map_or(Ok(String::new()), |name| new_name(&change.authorities, &old, &name, false))?;
        let behavior = fields.string("leaf_not_after_behavior")?;
        new.entry.leaf_not_after = leaf_not_after(behavior.as_deref().unwrap_or("err"))?;
        let usage = fields.strings("usage")?.map_or(Ok(Usage::ALL), |names| Usage::parse(&names));
        let usage = usage.map_err(Error::invalid)?;
        set_usage(&mut new, usage)?;
        let algorithm = fields.string("revocation_signature_algorithm")?.unwrap_or_default();
        set_algorithm(&mut new, &algorithm)?;
        let mut urls = Urls {
            enable_templating: fields.bool("enable_aia_url_templating")?.unwrap_or_default(),
            ..Urls::default()
        };
        urls.update(fields)?;
        urls.check()?;
        new.entry.urls = (!urls.is_empty()).then_some(urls);
        new.entry.manual_chain = manual_chain(
            &change.authorities,
            &old,
            &fields.strings("manual_chain")?.unwrap_or_default(),
        )?;
        self.put_changed_issuer(change, &old, new).await
    }

    pub(super) async fn patch_issuer(&self, issuer: &str, request: &Request) -> Reply {
        let change = self.store.change().await?;
        let old = change.authorities.issuer(reference(issuer)).map_err(fault)?.clone();
        let mut new = Issuer::clone(&old);
        let fields = request.fields();
        if let Some(name) = fields.string("issuer_name")? {
            new.entry.name = new_name(&change.authorities, &old, &name, true)?;
        }
        if let Some(behavior) = fields.string("leaf_not_after_behavior")? {
            new.entry.leaf_not_after = leaf_not_after(&behavior)?;
        }
        if let Some(names) = fields.strings("usage")? {
            set_usage(&mut new, Usage::parse(&names).map_err(Error::invalid)?)?;
        }
        if let Some(algorithm) = fields.string("revocation_signature_algorithm")? {
            set_algorithm(&mut new, &algorithm)?;
        }
        let mut urls = new.entry.urls.take().unwrap_or_default();
        if let Some(flag) = fields.bool("enable_aia_url_templating")? {
            urls.enable_templating = flag;
        }
        urls.update(fields)?;
        urls.check()?;
        new.entry.urls = (!urls.is_empty()).then_some(urls);
        if let Some(chain) = fields.strings("manual_chain")? {
            new.entry.manual_chain = manual_chain(&change.authorities, &old, &chain)?;
        }
        self.put_changed_issuer(change, &old, new).await
    }

    async fn put_changed_issuer(&self, mut change: Change<'_>, old: &Issuer, new: Issuer) -> Reply {
        let new = change.put_issuer(new)?;
        let authorities = change.commit().await?;
        let mut response = issuer_response(&authorities, &new);
        if new.entry.name != old.entry.name {
            response = self.warn_of_roles(&old.entry.name, response).await?;
        }
        if let Some(urls) = new.entry.urls.as_ref().filter(|urls| urls.enable_templating)
            && let Err(problem) = urls.resolve(&self.cluster().await?, &new.entry.id)
        {
            response = response.warn(may_fail(&problem));
        }
        Ok(Some(response))
    }

    pub(super) async fn delete_issuer(&self, name: &str) -> Reply {
        let mut change = self.store.change().await?;
        let issuer = match change.authorities.issuer(reference(name)) {
            Ok(issuer) => issuer.clone(),
            Err(ReferenceError::NoDefault(_) | ReferenceError::NotFound { .. }) => {
                return Ok(Some(Response::default().status(200)));
            }
            Err(error) => return Err(fault(error)),
        };
        let id = &issuer.entry.id;
        let was_default = change.remove_issuer(id)?;
        change.commit().await?;
        let mut response = Response::default().status(200);
        if !issuer.entry.name.is_empty() {
            response = self.warn_of_roles(&issuer.entry.name, response).await?;
        }
        response = self.warn_of_roles(id, response).await?;
        if was_default {
            response = response.warn(format!(
                "Deleted issuer {id} (via issuer_ref {name}); this was configured as the default \
                 issuer. Operations without an explicit issuer will not work until a new default \
                 is configured."
            ));
            response = self.warn_of_roles(DEFAULT, response).await?;
        }
        self.rebuild_lists(true).await?;
        Ok(Some(response))
    }

    /// Adds how many roles name an issuer by what is no longer its name. Looks at a bounded number
    /// of them.
    async fn warn_of_roles(&self, name: &str, response: Response) -> Result<Response, Error> {
        let storage = &self.context.storage;
        let roles = storage.list_page("role/", None, Some(ROLES_LOOKED_AT)).await?;
        let all_looked_at = roles.len() < ROLES_LOOKED_AT;
        let mut users = 0;
        for role in roles {
            let role = storage.get_json::<Role>(&format!("role/{role}")).await?;
            users += usize::from(role.is_some_and(|role| role.issuer_ref == name));
            if users == ROLES_COUNTED {
                break;
            }
        }
        let all_counted = all_looked_at && users < ROLES_COUNTED;
        Ok(match (users, all_counted) {
            (0, true) => response,
            (0, false) => response
                .warn(format!("Unable to check if any roles referenced this issuer by {name}")),
            (users, true) => response.warn(format!("{users} roles reference {name}")),
            (users, false) => {
                response.warn(format!("The name {name} was in use by at least {users} roles"))
            }
        })
    }

    pub(super) async fn read_issuers_config(&self) -> Reply {
        let authorities = self.store.authorities().await?;
        Ok(Some(Response::data(json!(authorities.config))))
    }

    /// `otherwise`: the issuer that is meant where none is named.
    pub(super) async fn write_issuers_config(
        &self,
        request: &Request,
        otherwise: Option<&str>,
    ) -> Reply {
        let fields = request.fields();
        let wanted = fields.string("default")?;
        let wanted = wanted.as_deref().or(otherwise).unwrap_or_default();
        if wanted.is_empty() || wanted == DEFAULT {
            return Err(Error::invalid(
                "Invalid issuer specification; must be non-empty and can't be 'default'.",
            ));
        }
        let mut change = self.store.change().await?;
        let issuer = change.authorities.issuer(wanted).map_err(|error| {
            Error::invalid(format!("Error resolving issuer reference: {error}"))
        })?;
        let issuer = issuer.clone();
        let mut config = change.authorities.config.clone();
        config.default.clone_from(&issuer.entry.id);
        if otherwise.is_none()
            && let Some(flag) = fields.bool("default_follows_latest_issuer")?
        {
            config.default_follows_latest_issuer = flag;
        }
        let response = Response::data(json!(config));
        change.set_issuers_config(config)?;
        change.commit().await?;
        if !issuer.entry.key_id.is_empty() {
            return Ok(Some(response));
        }
        Ok(Some(response.warn(
            "This selected default issuer has no key associated with it. Some operations like \
             issuing certificates and signing CRLs will be unavailable with the requested default \
             issuer until a key is imported or the default issuer is changed.",
        )))
    }

    pub(super) async fn delete_root(&self) -> Reply {
        let mut change = self.store.change().await?;
        let issuers: Vec<_> = change.authorities.issuers.keys().cloned().collect();
        let keys: Vec<_> = change.authorities.keys.keys().cloned().collect();
        for id in issuers {
            change.remove_issuer(&id)?;
        }
        for id in keys {
            change.remove_key(&id)?;
        }
        change.commit().await?;
        Ok(Some(Response::default().warn(
            "DELETE /root deletes all keys and issuers; prefer the new DELETE /key/:key_ref and \
             DELETE /issuer/:issuer_ref for finer granularity, unless removal of all keys and \
             issuers is desired.",
        )))
    }
}

/// The certificates of an issuer's chain.
pub(super) fn chain_pem(authorities: &Authorities, issuer: &Issuer) -> Vec<String> {
    let chain = authorities.chain(issuer);
    chain.iter().map(|issuer| format!("{}\n", issuer.entry.certificate)).collect()
}

/// All that there is to say of an issuer.
pub(super) fn issuer_response(authorities: &Authorities, issuer: &Arc<Issuer>) -> Response {
    let entry = &issuer.entry;
    let algorithm = issuer.revocation_algorithm();
    let manual_chain =
        if entry.manual_chain.is_empty() { Value::Null } else { json!(entry.manual_chain) };
    let mut data = json!({
        "issuer_id": entry.id,
        "issuer_name": entry.name,
        "key_id": entry.key_id,
        "certificate": format!("{}\n", entry.certificate),
        "manual_chain": manual_chain,
        "ca_chain": chain_pem(authorities, issuer),
        "leaf_not_after_behavior": entry.leaf_not_after.as_str(),
        "usage": entry.usage.names(),
        "revocation_signature_algorithm": algorithm.map_or("", SignatureAlgorithm::as_str),
        "revoked": entry.revoked_at.is_some(),
        "issuing_certificates": [],
        "crl_distribution_points": [],
        "delta_crl_distribution_points": [],
        "ocsp_servers": [],
    });
    if let Some(at) = entry.revoked_at {
        data["revocation_time"] = json!(at.as_second());
        data["revocation_time_rfc3339"] = json!(rfc3339(at));
    }
    if let Some(urls) = &entry.urls {
        let mut urls = urls.clone();
        data["enable_aia_url_templating"] = json!(urls.enable_templating);
        for (name, list) in urls.lists_mut() {
            data[name] = if list.is_empty() { Value::Null } else { json!(list) };
        }
    }
    let response = Response::data(data);
    if !matches!(algorithm, Some(SignatureAlgorithm::RsaPss(_))) {
        return response;
    }
    response.warn(
        "Issuer uses a PSS Revocation Signature Algorithm. This algorithm will be downgraded to \
         PKCS#1v1.5 signature scheme on OCSP responses, due to limitations in the OCSP library.",
    )
}

/// Checks a name that replaces another. An issuer may be given the name that it has, and with a
/// patch none.
fn new_name(
    authorities: &Authorities,
    old: &Issuer,
    name: &str,
    may_be_empty: bool,
) -> Result<String, Error> {
    match given_name(authorities, name) {
        Ok(name) => Ok(name),
        Err(NameError::InUse(name)) if name == old.entry.name => Ok(name),
        Err(NameError::InUse(_)) => Err(Error::invalid(NAME_IN_USE)),
        Err(NameError::Other(_)) if may_be_empty && name.trim().is_empty() => Ok(String::new()),
        Err(NameError::Other(problem)) => Err(Error::invalid(problem)),
    }
}

fn leaf_not_after(text: &str) -> Result<LeafNotAfter, Error> {
    LeafNotAfter::parse(text).ok_or_else(|| {
        Error::invalid(
            "Unknown value for field `leaf_not_after_behavior`. Possible values are `err`, \
             `truncate`, and `permit`.",
        )
    })
}

fn set_usage(issuer: &mut Issuer, usage: Usage) -> Result<(), Error> {
    if usage == issuer.entry.usage {
        return Ok(());
    }
    if issuer.entry.revoked_at.is_some() && usage.issuing_certificates {
        return Err(Error::invalid(
            "This issuer was revoked; unable to modify its usage to include certificate signing \
             again. Reissue this certificate (preferably with a new key) and modify that entry \
             instead.",
        ));
    }
    if usage.crl_signing && !issuer.may_sign_lists() {
        return Err(Error::invalid(
            "This issuer's underlying certificate lacks the CRLSign KeyUsage value; unable to set \
             CRLSigningUsage on this issuer as a result.",
        ));
    }
    issuer.entry.usage = usage;
    Ok(())
}

fn set_algorithm(issuer: &mut Issuer, name: &str) -> Result<(), Error> {
    if name.is_empty() {
        issuer.entry.revocation_algorithm = None;
        return Ok(());
    }
    let algorithm = SignatureAlgorithm::parse(name).ok_or_else(|| {
        let known = SignatureAlgorithm::ALL.map(|known| known.as_str().to_lowercase());
        Error::invalid(format!(
            "Unknown signature algorithm value: {name} - valid values are {}",
            known.join(", ")
        ))
    })?;
    issuer.check_algorithm(algorithm).map_err(fault)?;
    issuer.entry.revocation_algorithm = Some(algorithm.as_str().to_owned());
    Ok(())
}

/// The chain that a request sets, as ids. Its first must be the issuer itself.
fn manual_chain(
    authorities: &Authorities,
    issuer: &Issuer,
    references: &[String],
) -> Result<Vec<String>, Error> {
    let mut chain = Vec::new();
    for (index, text) in references.iter().enumerate() {
        let text = if index == 0 && text == "self" { &issuer.entry.id } else { text };
        let id = &authorities.issuer(text).map_err(fault)?.entry.id;
        if index == 0 && *id != issuer.entry.id {
            return Err(Error::invalid(format!(
                "expected first cert in chain to be a self-reference, but was: {text}/{id}"
            )));
        }
        chain.push(id.clone());
    }
    Ok(chain)
}
