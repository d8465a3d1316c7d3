use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;

fn rule(path: &str, mount: &str, role: &str, rate: f64) -> Rule {
    Rule {
        path: path.to_owned(),
        mount: mount.to_owned(),
        role: role.to_owned(),
        rate,
        interval: Duration::from_secs(1),
        block_interval: Duration::ZERO,
        inheritable: false,
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap()
}

fn address(number: u32) -> Option<IpAddr> {
    Some(IpAddr::V4(Ipv4Addr::from(number)))
}

#[test]
fn the_most_specific_rule_counts() {
    let mut table = Table::default();
    for (name, path, mount, role) in [
        ("all", "", "", ""),
        ("mount", "kv/", "kv/", ""),
        ("open", "kv/data/*", "kv/", ""),
        ("longer", "kv/data/team/*", "kv/", ""),
        ("exact", "kv/data/team/x", "kv/", ""),
        ("login", "auth/a/", "auth/a/", ""),
        ("role", "auth/a/", "auth/a/", "r"),
    ] {
        table.insert(Limit::new(name.to_owned(), rule(path, mount, role, 1.0)));
    }
    for (path, mount, role, want) in [
        ("sys/mounts", "sys/", None, "all"),
        ("kv/config", "kv/", None, "mount"),
        ("kv/data/x", "kv/", None, "open"),
        ("kv/data/team/y", "kv/", None, "longer"),
        ("kv/data/team/x", "kv/", None, "exact"),
        ("auth/a/login", "auth/a/", None, "login"),
        ("auth/a/login", "auth/a/", Some("r"), "role"),
        ("auth/a/login", "auth/a/", Some("other"), "login"),
    ] {
        let found = table.governing(path, mount, role).map(|limit| limit.name.as_str());
        assert_eq!(found, Some(want), "{path} {role:?}");
    }
    table.remove("all");
    assert!(table.governing("sys/mounts", "sys/", None).is_none());
}

#[test]
fn a_window_is_refilled_when_it_is_over() {
    let (windows, rule) = (Windows::default(), rule("", "", "", 1.5));
    let take = |millis| windows.take(address(1), &rule, at(millis));
    let granted = |requests| Taken::Granted(Left { requests, seconds: 0 });
    assert_eq!(take(0), Taken::Granted(Left { requests: 1, seconds: 1 }));
    assert_eq!(take(10), granted(0));
    assert!(matches!(take(999), Taken::Refused { left: Some(_), .. }));
    assert!(matches!(take(1000), Taken::Granted(_)));
    // Another client has a window of its own.
    assert!(matches!(windows.take(address(2), &rule, at(10)), Taken::Granted(_)));
    // A clock that is set back does not refuse until it has caught up.
    assert!(matches!(take(-3_600_000), Taken::Granted(_)));
}

#[test]
fn a_client_that_asks_too_often_is_blocked() {
    let windows = Windows::default();
    let rule = Rule { block_interval: Duration::from_secs(10), ..rule("", "", "", 1.0) };
    let take = |millis| windows.take(address(1), &rule, at(millis));
    assert!(matches!(take(0), Taken::Granted(_)));
    assert!(matches!(take(1), Taken::Refused { wait: 10, left: Some(_) }));
    // Asking on does not prolong it.
    assert_eq!(take(9_000), Taken::Refused { wait: 1, left: None });
    assert!(matches!(take(10_001), Taken::Granted(_)));
}

#[test]
fn many_clients_cost_bounded_memory_and_are_limited_together() {
    let (windows, rule) = (Windows::default(), rule("", "", "", 1.0));
    let granted = (0..200_000_u32)
        .filter(|number| matches!(windows.take(address(*number), &rule, at(0)), Taken::Granted(_)))
        .count();
    assert!(windows.count() <= 65_536 + 16, "{}", windows.count());
    assert!(granted <= 65_536 + 16, "{granted}");
    windows.tidy(&rule, at(1_000));
    assert_eq!(windows.count(), 0);
}
