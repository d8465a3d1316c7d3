use holdfast_types::SystemRandom;

use super::*;

fn apply(text: &str) -> Result<String, TemplateError> {
    let now = Timestamp::from_second(1_795_346_236).unwrap();
    let data =
        Data { display_name: "token-backend-one", role_name: "Reader", now, random: &SystemRandom };
    Template::parse(text)?.apply(&data)
}

#[test]
fn templates_evaluate_as_in_go() {
    for (text, want) in [
        ("fixed", "fixed"),
        ("{{.DisplayName}}", "token-backend-one"),
        ("v-{{ .RoleName | lowercase }}-x", "v-reader-x"),
        ("a {{- .RoleName -}} b", "aReaderb"),
        ("{{.RoleName | truncate 3 | uppercase}}", "REA"),
        ("{{truncate 3 .RoleName}}", "Rea"),
        ("{{.RoleName | truncate_sha256 12}}", "Reader"),
        ("{{.DisplayName | truncate_sha256 12}}", "toke72896ea0"),
        ("{{replace \"e\" \"3\" .RoleName}}", "R3ad3r"),
        ("{{.RoleName | replace `e` \"\"}}", "Radr"),
        (
            "{{printf \"v-%s-%.3s-%d-%v%%\" .RoleName .DisplayName 7 unix_time}}",
            "v-Reader-tok-7-1795346236%",
        ),
        ("{{printf \"%s\" (printf \"%s\" (.RoleName | truncate 1))}}", "R"),
        ("{{unix_time_millis}}", "1795346236000"),
        ("{{timestamp \"2006-01-02T15:04:05Z\"}}", "2026-11-22T11:17:16Z"),
        ("{{\"a\\\"b\"}}", "a\"b"),
        ("{{.RoleName | base64}}", "UmVhZGVy"),
        ("{{5}}", "5"),
    ] {
        assert_eq!(apply(text).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (text, want) in [
        ("{{", "unclosed action"),
        ("{{.RoleName", "unclosed action"),
        ("{{frob}}", "function \"frob\" not defined"),
        ("{{.Nope}}", "can't evaluate field Nope"),
        ("{{}}", "missing value for command"),
        ("{{.RoleName | }}", "missing value for command"),
        ("{{.RoleName 5}}", "can't give argument to non-function"),
        ("{{(.RoleName}}", "unclosed left paren"),
        ("{{\"a}}", "unterminated quoted string"),
        ("{{random}}", "error calling random: wrong number or type of args"),
        ("{{random -1}}", "error calling random: length must not be negative"),
        ("{{random 99999}}", "error calling random: length must not be over 4096"),
        ("{{truncate 0 .RoleName}}", "max length must be > 0"),
        ("{{timestamp \"Monday\"}}", "is not supported"),
        ("{{printf \"%x\" 5}}", "%x does not fit its argument"),
        ("{{printf \"%s\"}}", "more verbs than arguments"),
        ("{{if true}}x{{end}}", "function \"if\" not defined"),
        ("{{random 4000}}{{random 4000}}", "longer than 4096 bytes"),
    ] {
        let got = apply(text).unwrap_err().to_string();
        assert!(got.contains(want), "{text}: {got}");
    }
    let deep = format!("{{{{{}5{}}}}}", "(".repeat(500), ")".repeat(500));
    assert!(apply(&deep).unwrap_err().to_string().contains("deep"));
}

#[test]
fn random_and_uuid_differ_each_time() {
    let (first, second) = (apply("{{random 20}}").unwrap(), apply("{{random 20}}").unwrap());
    assert_eq!((first.len(), second.len()), (20, 20));
    assert_ne!(first, second);
    assert_eq!(apply("{{uuid}}").unwrap().len(), 36);
}
