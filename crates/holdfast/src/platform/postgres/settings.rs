//! PostgreSQL's own files, written from the platform.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use super::super::account::Account;
use super::super::config;
use super::{SUPERUSER, Server};

/// The role by which the database engine of a connection makes and drops users.
pub(super) const ENGINE_ROLE_PREFIX: &str = "holdfast_";
/// They are members of this group, which `pg_hba.conf` names.
pub(super) const ENGINE_GROUP: &str = "holdfast_engines";

const HEAD: &str =
    "# Written by holdfast at every start; edit [postgres] in holdfast.toml instead.\n";

/// `postgresql.conf`.
pub(super) fn main(server: &Server, config: &config::Postgres) -> String {
    let mut text = HEAD.to_owned();
    let runtime = &server.runtime;
    let own = [
        ("listen_addresses", server.address.ip().to_string()),
        ("port", server.address.port().to_string()),
        ("unix_socket_directories", path(runtime)),
        ("unix_socket_permissions", "0777".to_owned()),
        ("ssl", "on".to_owned()),
        ("ssl_cert_file", path(&runtime.join("cert.pem"))),
        ("ssl_key_file", path(&runtime.join("key.pem"))),
        ("ssl_min_protocol_version", "TLSv1.2".to_owned()),
        ("password_encryption", "scram-sha-256".to_owned()),
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("log_line_prefix", "[%p] %q%u@%d ".to_owned()),
        // A statement with a password in it must not reach the log, not even when it fails.
        ("log_min_error_statement", "panic".to_owned()),
        ("log_timezone", "UTC".to_owned()),
        ("timezone", "UTC".to_owned()),
        ("dynamic_shared_memory_type", "posix".to_owned()),
    ];
    let defaults = [("max_connections", "100"), ("shared_buffers", "64MB")];
    for (name, value) in own {
        setting(&mut text, name, &value);
    }
    for (name, value) in defaults {
        if !config.settings.contains_key(name) {
            setting(&mut text, name, value);
        }
    }
    for (name, value) in &config.settings {
        setting(&mut text, name, value);
    }
    text
}

/// `pg_hba.conf`: the first line that matches decides, and nothing matches the last ones but what
/// no line before allows.
pub(super) fn hba(config: &config::Postgres) -> String {
    let mut text = HEAD.to_owned();
    let mut line = |kind: &str, database: &str, user: &str, address: &str, method: &str| {
        let _ = writeln!(text, "{kind:<9} {database:<16} {user:<24} {address:<20} {method}");
    };
    line("# type", "database", "user", "address", "method");
    line("local", "all", SUPERUSER, "", "peer map=holdfast");
    line("local", "all", "all", "", "reject");
    for address in ["127.0.0.1/32", "::1/128"] {
        line("hostssl", "all", SUPERUSER, address, "reject");
        line("hostssl", "all", &format!("+{ENGINE_GROUP}"), address, "scram-sha-256");
        for database in &config.databases {
            let group = format!("+{}", database.group);
            line("hostssl", &database.name, &group, address, "scram-sha-256");
        }
    }
    for rule in &config.rules {
        line("hostssl", &rule.database, &rule.user, &rule.address, "scram-sha-256");
    }
    for address in ["0.0.0.0/0", "::/0"] {
        line("host", "all", "all", address, "reject");
    }
    text
}

/// `pg_ident.conf`: who may be the superuser over the Unix socket.
pub(super) fn ident(server: &Account, supervisor: &Account) -> String {
    let mut text = format!("{HEAD}# map system-user database-user\n");
    let _ = writeln!(text, "holdfast {} {SUPERUSER}", server.name);
    if supervisor.name != server.name {
        let _ = writeln!(text, "holdfast {} {SUPERUSER}", supervisor.name);
    }
    text
}

/// The address that this machine reaches the server by.
pub(super) fn dialled(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(address) if address.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

fn setting(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''"));
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::config::{Database, HbaRule, Postgres};

    #[test]
    fn whoever_no_line_allows_is_refused() {
        let config = Postgres {
            listen: "127.0.0.1:5432".parse().unwrap(),
            names: Vec::new(),
            databases: vec![Database {
                name: "appdb".to_owned(),
                owner: "appdb_owner".to_owned(),
                group: "app_backend".to_owned(),
            }],
            rules: vec![HbaRule {
                database: "appdb".to_owned(),
                user: "reporter".to_owned(),
                address: "10.0.0.0/8".to_owned(),
            }],
            settings: std::collections::BTreeMap::new(),
        };
        insta::assert_snapshot!(hba(&config));
    }

    #[test]
    fn a_quote_cannot_leave_its_setting() {
        let mut text = String::new();
        setting(&mut text, "search_path", r"a', \'b");
        assert_eq!(text, "search_path = 'a'', \\\\''b'\n");
    }
}
