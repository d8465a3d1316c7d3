//! What exists while the server is unsealed.

use std::sync::Arc;

use holdfast_logical::Backend;
use holdfast_types::{Clock, Random};

use super::acl::Acls;
use super::versions::Versions;
use super::wrapping::Wrapped;
use crate::audit::Audit;
use crate::denials::Denials;
use crate::events::Events;
use crate::identity::Identity;
use crate::leases::Leases;
use crate::lockout::Lockouts;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::mounts::Mounts;
use crate::passwords::PasswordPolicies;
use crate::policies::Policies;
use crate::quotas::Quotas;
use crate::settings::Settings;
use crate::tokens::Tokens;

/// All parts that answer requests. Dropped at sealing, with everything that they hold in memory.
pub(crate) struct Vault {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub audit: Arc<Audit>,
    pub mounts: Mounts,
    pub policies: Policies,
    pub passwords: Arc<PasswordPolicies>,
    pub identity: Identity,
    pub tokens: Tokens,
    pub acls: Acls,
    pub leases: Leases,
    pub wrapped: Wrapped,
    pub events: Events,
    pub lockouts: Lockouts,
    pub settings: Settings,
    pub metrics: Arc<Metrics>,
    pub logs: Arc<Logs>,
    pub quotas: Quotas,
    pub versions: Versions,
    /// Why requests were refused.
    pub denials: Denials,
    /// Paths of `sys/` that others serve.
    pub system: Option<Arc<dyn Backend>>,
}
