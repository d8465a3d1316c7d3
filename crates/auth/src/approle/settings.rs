//! `role/<name>/<setting>`: the fields of a role one by one.

use std::time::Duration;

use holdfast_logical::{Error, Fields, Operation, Reply, Request, Response};
use serde_json::{Map, Value};

use super::AppRole;
use super::role::{OLD_NAMES, Role};
use crate::token_params::{OldName, TTL_PAST_MAX};

/// A field with a path of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    BindSecretId,
    LocalSecretIds,
    Period,
    Policies,
    SecretIdBoundCidrs,
    SecretIdNumUses,
    SecretIdTtl,
    TokenBoundCidrs,
    TokenMaxTtl,
    TokenNumUses,
    TokenTtl,
}

impl Setting {
    /// The setting with this last path segment.
    pub(super) fn named(segment: &str) -> Option<Self> {
        Some(match segment {
            "bind-secret-id" => Self::BindSecretId,
            "local-secret-ids" => Self::LocalSecretIds,
            "period" => Self::Period,
            "policies" => Self::Policies,
            "secret-id-bound-cidrs" => Self::SecretIdBoundCidrs,
            "secret-id-num-uses" => Self::SecretIdNumUses,
            "secret-id-ttl" => Self::SecretIdTtl,
            "token-bound-cidrs" => Self::TokenBoundCidrs,
            "token-max-ttl" => Self::TokenMaxTtl,
            "token-num-uses" => Self::TokenNumUses,
            "token-ttl" => Self::TokenTtl,
            _ => return None,
        })
    }

    /// The field's names, today's first.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::BindSecretId => &["bind_secret_id"],
            Self::LocalSecretIds => &["local_secret_ids"],
            Self::Period => &["token_period", "period"],
            Self::Policies => &["token_policies", "policies"],
            Self::SecretIdBoundCidrs => &["secret_id_bound_cidrs"],
            Self::SecretIdNumUses => &["secret_id_num_uses"],
            Self::SecretIdTtl => &["secret_id_ttl"],
            Self::TokenBoundCidrs => &["token_bound_cidrs"],
            Self::TokenMaxTtl => &["token_max_ttl"],
            Self::TokenNumUses => &["token_num_uses"],
            Self::TokenTtl => &["token_ttl"],
        }
    }

    /// The field that a write lacks, in the words of the refusal; none where it may lack it.
    fn required(self) -> Option<&'static str> {
        match self {
            Self::SecretIdBoundCidrs | Self::TokenBoundCidrs => None,
            Self::Period => Some("period"),
            other => other.fields().first().copied(),
        }
    }

    /// Puts the setting back to what it is in a new role.
    fn reset(self, role: &mut Role) {
        let params = &mut role.tokens.params;
        match self {
            Self::BindSecretId => role.bind_secret_id = true,
            Self::LocalSecretIds => {}
            Self::Period => {
                params.token_period = Duration::ZERO;
                role.tokens.forget_old_name(OldName::Period);
            }
            Self::Policies => {
                params.token_policies.clear();
                role.tokens.forget_old_name(OldName::Policies);
            }
            Self::SecretIdBoundCidrs => role.secret_id_bound_cidrs = None,
            Self::SecretIdNumUses => role.secret_id_num_uses = 0,
            Self::SecretIdTtl => role.secret_id_ttl = Duration::ZERO,
            Self::TokenBoundCidrs => params.token_bound_cidrs.clear(),
            Self::TokenMaxTtl => params.token_max_ttl = Duration::ZERO,
            Self::TokenNumUses => params.token_num_uses = 0,
            Self::TokenTtl => params.token_ttl = Duration::ZERO,
        }
    }
}

impl AppRole {
    /// `GET`, `PUT` and `DELETE role/<name>/<setting>`
    pub(super) async fn setting(&self, request: &Request, name: &str, setting: Setting) -> Reply {
        // Which secret ids are local is settled when the role is made.
        if setting == Setting::LocalSecretIds && request.operation != Operation::Read {
            return Err(Error::UnsupportedOperation);
        }
        match request.operation {
            Operation::Read => {
                let role = self.role(name).await?;
                Ok(role.map(|role| Response {
                    data: Some(print(&role, setting)),
                    ..Response::default()
                }))
            }
            Operation::Create | Operation::Update => {
                let _guard = self.role_changes.lock().await;
                let mut role = self.role(name).await?.ok_or(Error::UnsupportedPath)?;
                write(&mut role, request, setting).map_err(Error::field_validation)?;
                self.save_changed(name, &role).await
            }
            Operation::Delete => {
                let _guard = self.role_changes.lock().await;
                let Some(mut role) = self.role(name).await? else { return Ok(None) };
                setting.reset(&mut role);
                self.save_changed(name, &role).await
            }
            _ => Err(Error::UnsupportedOperation),
        }
    }

    async fn save_changed(&self, name: &str, role: &Role) -> Reply {
        role.check_constraints()?;
        self.save_role(name, role, Some(&role.role_id)).await?;
        Ok(None)
    }
}

fn print(role: &Role, setting: Setting) -> Map<String, Value> {
    let mut data = role.print();
    data.retain(|name, _| setting.fields().contains(&name.as_str()));
    // Alone it prints as null where the whole role prints an empty list.
    if setting == Setting::TokenBoundCidrs && role.tokens.params.token_bound_cidrs.is_empty() {
        data.insert("token_bound_cidrs".to_owned(), Value::Null);
    }
    data
}

fn write(role: &mut Role, request: &Request, setting: Setting) -> Result<(), Error> {
    let mut data = request.data.clone();
    data.retain(|name, value| setting.fields().contains(&name.as_str()) && !value.is_null());
    if let (true, Some(field)) = (data.is_empty(), setting.required()) {
        return Err(Error::invalid(format!("missing {field}")));
    }
    let fields = Fields::new(&data);
    role.update_secret_id_fields(fields)?;
    role.tokens.update(fields, OLD_NAMES).map_err(|error| reworded(error, setting))
}

/// These paths have words of their own for what the whole role refuses too.
fn reworded(error: Error, setting: Setting) -> Error {
    let Error::Invalid(message) = error else { return error };
    Error::Invalid(match setting {
        Setting::TokenTtl if message == TTL_PAST_MAX => {
            "token_ttl should not be greater than token_max_ttl".to_owned()
        }
        Setting::TokenMaxTtl if message == TTL_PAST_MAX => {
            "token_max_ttl should be greater than or equal to token_ttl".to_owned()
        }
        Setting::TokenBoundCidrs => format!("failed to parse token_bound_cidrs: {message}"),
        _ => message,
    })
}
