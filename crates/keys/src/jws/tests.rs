//! Tokens that are none, and why. The first rows are in OpenBao's words.

use super::*;

fn token(header: &str, payload: &str) -> String {
    format!("{}.{}.c2ln", BASE64.encode(header), BASE64.encode(payload))
}

#[test]
fn malformed_tokens_are_refused() {
    use TokenError::*;
    for (text, want) in [
        ("".to_owned(), Parts),
        ("abc".to_owned(), Parts),
        ("a.b.c.d".to_owned(), Parts),
        ("a.b.c.d.e".to_owned(), Parts),
        ("a.b.c".to_owned(), Base64 { at: 0 }),
        ("!!.e30.AAAA".to_owned(), Base64 { at: 0 }),
        ("e30=.e30.AAAA".to_owned(), Base64 { at: 4 }),
        (token("x", "{}"), Header),
        (token("[]", "{}"), Header),
        (token(r#"{"alg":"ES256","alg":"none"}"#, "{}"), Header),
        (token(r#"{"alg":"ES256","kid":5}"#, "{}"), Header),
        (token("{}", "{}"), Unsigned),
        (token(r#"{"alg":"none"}"#, "{}"), Unsigned),
        (token(r#"{"alg":"nOnE"}"#, "{}"), Unsigned),
        (token(r#"{"alg":"HS256"}"#, "{}"), Algorithm),
        (token(r#"{"alg":"es256"}"#, "{}"), Algorithm),
        (token(r#"{"alg":5}"#, "{}"), Algorithm),
        (token(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, "{}"), Critical),
        ("e".repeat(MAX_LENGTH + 1), TooLong),
    ] {
        assert_eq!(SignedToken::parse(&text).unwrap_err(), want, "{text:.80}");
    }
}

#[test]
fn claims_are_an_object_in_which_nothing_stands_twice() {
    let header = r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#;
    for (payload, want) in [
        (r#"{"sub":"a"}"#, Some(1)),
        ("{}", Some(0)),
        ("[1]", None),
        (r#"{"sub":"a","sub":"b"}"#, None),
        (r#"{"sub":"a"} x"#, None),
        ("", None),
    ] {
        let text = token(header, payload);
        let parsed = SignedToken::parse(&text).unwrap();
        assert_eq!(parsed.key_id.as_deref(), Some("k1"));
        assert_eq!(parsed.claims().ok().map(|claims| claims.len()), want, "{payload}");
        assert!(!format!("{parsed:?}").contains("c2ln"));
    }
}
