use tokio_postgres::config::Host;

use super::*;

const LOGIN: Login<'_> = Login { username: "ad/min", password: "p@ss:w/rd%20'\\", escaped: false };

/// What a string comes to, as `user|password|hosts|ports|database|security`.
fn shown(text: &str, login: Login<'_>) -> Result<String, String> {
    let dsn = Dsn::parse(text, login).map_err(|error| error.to_string())?;
    let hosts: Vec<_> = dsn
        .config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    let ports: Vec<_> = dsn.config.get_ports().iter().map(u16::to_string).collect();
    Ok(format!(
        "{}|{}|{}|{}|{}|{:?}",
        dsn.config.get_user().unwrap_or_default(),
        String::from_utf8_lossy(dsn.config.get_password().unwrap_or_default()),
        hosts.join(","),
        ports.join(","),
        dsn.config.get_dbname().unwrap_or_default(),
        dsn.security,
    ))
}

#[test]
fn both_forms_say_the_same() {
    for (text, want) in [
        (
            "postgresql://{{username}}:{{password}}@db.example:5433/app?sslmode=verify-full",
            "ad/min|p@ss:w/rd%20'\\|db.example|5433|app|VerifyFull",
        ),
        (
            "host=db.example port=5433 user={{username}} password={{password}} dbname=app sslmode=verify-full",
            "ad/min|p@ss:w/rd%20'\\|db.example|5433|app|VerifyFull",
        ),
        ("postgres://u:p%40%2F@h/d?sslmode=disable", "u|p@/|h|5432|d|Disable"),
        ("postgres://u:p@w/d@h/d?sslmode=disable", "u|p@w/d|h|5432|d|Disable"),
        ("postgres://[::1]:5/d", "||::1|5|d|Require"),
        ("postgres://a:1,b/d", "||a,b|1,5432|d|Require"),
        ("postgres://%2Frun%2Fpg/d", "||/run/pg|5432|d|Disable"),
        ("postgres:///d?host=/run/pg&port=6", "||/run/pg|6|d|Disable"),
        ("host=/run/pg dbname='a \\'b'", "||/run/pg||a 'b|Disable"),
        ("host = h  sslmode = verify-ca", "||h|||VerifyCa"),
        ("host=h sslrootcert=/ca.pem", "||h|||VerifyFull"),
        ("host=h hostaddr=127.0.0.1", "||h|||Require"),
    ] {
        assert_eq!(shown(text, LOGIN).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn escaped_values_are_read_as_part_of_the_url() {
    let login = Login { username: "u", password: "p%40", escaped: true };
    let text = "postgres://{{username}}:{{password}}@h/d?sslmode=disable";
    assert_eq!(shown(text, login).as_deref(), Ok("u|p@|h|5432|d|Disable"));
}

#[test]
fn nonsense_is_refused_without_quoting_it() {
    for (text, want) in [
        ("", "cannot be empty"),
        ("secret", "missing '='"),
        ("postgres://u:secret@h/d?sslmode", "a parameter has no value"),
        ("postgres://u:secret@h/d?sslmode=frob", "sslmode is invalid"),
        ("postgres://u:secret@h/d?sslmode=prefer", "falls back to clear text"),
        ("postgres://u:secret%4@h/d", "invalid percent-escape"),
        ("postgres://u:secret%ff@h/d", "not UTF-8"),
        ("postgres://u:secret@h:x/d", "port is invalid"),
        ("postgres://u:secret@[::1/d", "missing ']'"),
        ("postgres://u:secret@/d", "names no host"),
        ("host='secret", "unterminated quote"),
        ("host=h frob=secret", "unknown parameter \"frob\""),
    ] {
        let got = shown(text, LOGIN).unwrap_err();
        assert!(got.contains(want) && !got.contains("secret"), "{text}: {got}");
    }
}

#[test]
fn a_password_in_the_string_is_masked() {
    for (text, want) in [
        ("postgres://u:secret@h/d?sslmode=disable", Some("postgres://u:xxxxx@h/d?sslmode=disable")),
        ("postgres://h/d?password=secret&user=u", Some("postgres://h/d?password=xxxxx&user=u")),
        ("host=h password=secret", Some("host='h' password='xxxxx'")),
        ("postgres://{{username}}:{{password}}@h/d", None),
        ("host=h password={{password}}", None),
        ("postgres://h/d", None),
    ] {
        assert_eq!(masked(text).as_deref(), want, "{text}");
    }
}
