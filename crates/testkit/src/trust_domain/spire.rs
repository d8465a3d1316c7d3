//! The configuration files of SPIRE's server and agent.

use super::{TrustDomain, seconds};

impl TrustDomain {
    /// Otherwise than by default: an agent's signatures are not limited to 500 a second, and the
    /// log is as short as ours.
    pub(super) fn spire_server(&self) -> String {
        let folder = self.folder.path().display();
        let upstream = if self.settings.self_signed {
            String::new()
        } else {
            format!(
                r#"  UpstreamAuthority "disk" {{
    plugin_data {{ cert_file_path = "{folder}/upstream.pem" key_file_path = "{folder}/upstream.key" }}
  }}
"#
            )
        };
        format!(
            r#"server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = "{folder}/server.sock"
  trust_domain = "{name}"
  data_dir = "{folder}/store"
  log_level = "WARN"
  ca_ttl = "{ca}"
  default_x509_svid_ttl = "{x509}"
  default_jwt_svid_ttl = "{jwt}"
  ratelimit {{ signing = false }}
}}
plugins {{
  DataStore "sql" {{
    plugin_data {{ database_type = "sqlite3" connection_string = "{folder}/store.sqlite" }}
  }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ keys_path = "{folder}/keys.json" }} }}
{upstream}}}
"#,
            port = self.port,
            name = self.settings.name,
            ca = seconds(self.settings.ca_ttl),
            x509 = seconds(self.settings.x509_ttl),
            jwt = seconds(self.settings.jwt_ttl),
        )
    }

    pub(super) fn spire_agent(&self, token: &str) -> String {
        let folder = self.folder.path().display();
        format!(
            r#"agent {{
  data_dir = "{folder}/agent"
  log_level = "WARN"
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{folder}/agent.sock"
  trust_domain = "{name}"
  insecure_bootstrap = true
  join_token = "{token}"
  admin_socket_path = "{admin}"
  authorized_delegates = {delegates:?}
  experimental {{ sync_interval = "{sync}" }}
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ directory = "{folder}/agent" }} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"#,
            port = self.port,
            name = self.settings.name,
            admin = self.admin_socket().display(),
            delegates = self.settings.authorized_delegates,
            sync = seconds(self.settings.sync_interval),
        )
    }
}
