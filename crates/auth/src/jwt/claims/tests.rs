//! Claims that are right and wrong. The real server's answers, but for rows that say otherwise.

use serde_json::json;

use super::*;

const NOW: i64 = 1_000_000;

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn check(claims: &Value, role: &Role) -> Result<(), ClaimError> {
    let mut all = map(&json!({ "sub": "s", "aud": ["a"], "iat": NOW, "exp": NOW + 300 }));
    for (claim, value) in map(claims) {
        match value {
            Value::Null => drop(all.remove(&claim)),
            value => drop(all.insert(claim, value)),
        }
    }
    check_registered(&all, "", role, Timestamp::from_second(NOW).unwrap())
}

#[test]
fn registered_claims_are_judged() {
    use ClaimError::*;
    let role = Role {
        bound_subject: "s".to_owned(),
        bound_audiences: Some(vec!["a".to_owned(), "b".to_owned()]),
        ..Role::default()
    };
    for (claims, want) in [
        (json!({}), Ok(())),
        (json!({"sub": "x"}), Err(Subject)),
        (json!({"sub": 5}), Err(NoText { claim: "sub", kind: "number" })),
        (json!({"aud": ["x"]}), Err(Audience)),
        (json!({"aud": "b"}), Ok(())),
        (json!({"aud": null}), Err(Audience)),
        (json!({"aud": 5}), Err(AudienceForm)),
        (json!({"aud": ["a", 5]}), Err(AudienceForm)),
        (json!({"exp": NOW - 300}), Err(Expired)),
        (json!({"exp": NOW - 30}), Ok(())),
        (json!({"exp": (NOW + 300).to_string()}), Err(DateForm)),
        (json!({"exp": NOW as f64 + 300.5}), Ok(())),
        (json!({"exp": -5}), Err(Expired)),
        // Not the real server's, which says that it has expired.
        (json!({"exp": 1e20}), Err(DateForm)),
        (json!({"nbf": NOW + 300}), Err(NotYet)),
        (json!({"iat": NOW + 300, "nbf": NOW}), Err(FromTheFuture)),
        (json!({"iat": null, "exp": null}), Err(NoDates)),
        (json!({"iat": NOW - 400, "exp": null}), Err(Expired)),
        (json!({"iat": NOW - 200, "exp": null}), Ok(())),
        (json!({"iat": null, "exp": NOW + 1000}), Err(NotYet)),
        (json!({"iat": null, "exp": NOW + 100}), Ok(())),
        (json!({"Sub": "x"}), Err(Ambiguous { key: "Sub".to_owned(), name: "sub" })),
        (json!({"iſs": "x"}), Err(Ambiguous { key: "iſs".to_owned(), name: "iss" })),
    ] {
        assert_eq!(check(&claims, &role), want, "{claims}");
    }
    let strict = Role {
        expiration_leeway: -1,
        not_before_leeway: -1,
        clock_skew_leeway: -1,
        ..Role::default()
    };
    assert_eq!(check(&json!({"exp": NOW - 1}), &strict), Err(Expired));
    assert_eq!(check(&json!({"nbf": NOW + 1}), &strict), Err(NotYet));
    assert_eq!(check(&json!({"exp": NOW}), &strict), Ok(()));
}

#[test]
fn the_issuer_is_bound_by_the_configuration() {
    let now = Timestamp::from_second(NOW).unwrap();
    for (issuer, want) in [
        (json!("https://i"), Ok(())),
        (json!("x"), Err(ClaimError::Issuer)),
        (json!(null), Err(ClaimError::Issuer)),
    ] {
        let claims = map(&json!({ "iss": issuer, "exp": NOW + 1, "iat": NOW }));
        let got = check_registered(&claims, "https://i", &Role::default(), now);
        assert_eq!(got, want, "{issuer}");
    }
}

#[test]
fn bound_claims_are_judged() {
    let missing = "claim \"n\" is missing";
    let differs = "claim \"n\" does not match any associated bound claim values";
    for (bound, actual, want) in [
        (json!(5), json!(5), Ok(())),
        (json!(5), json!("5"), Err(differs)),
        (json!(true), json!(true), Ok(())),
        (json!("x"), json!(["q", "x"]), Ok(())),
        (json!(["x", "y"]), json!("y"), Ok(())),
        (json!(["x", "y"]), json!(["q"]), Err(differs)),
        (json!("x"), json!(null), Err(missing)),
        (
            json!("x"),
            json!({"a": 1}),
            Err("received claim is not a string, bool, int or list: map[a:1]"),
        ),
        // Not the real server's: it cuts a number in a token to a whole one, and takes no number
        // in a list.
        (json!(5), json!(5.7), Err(differs)),
        (json!(5), json!([5]), Ok(())),
    ] {
        let got = check_bound(&map(&json!({ "n": actual })), &map(&json!({ "n": bound })), false);
        assert_eq!(got, want.map_err(str::to_owned), "{bound} {actual}");
    }
}

#[test]
fn claims_are_found_by_name_or_pointer() {
    let claims = map(&json!({
        "a/b": 1, "o": { "n": "x", "l": [0, "y"], "null": null }, "~": 2, "/": 3
    }));
    for (name, want) in [
        ("a/b", Some(json!(1))),
        ("/o/n", Some(json!("x"))),
        ("/o/l/1", Some(json!("y"))),
        ("/o/l/7", None),
        ("/o/null", None),
        ("/a~1b", Some(json!(1))),
        ("/~0", Some(json!(2))),
        ("/~1", Some(json!(3))),
        ("/", None),
        ("o", claims.get("o").cloned()),
        ("", None),
    ] {
        assert_eq!(find(&claims, name).cloned(), want, "{name}");
    }
}
