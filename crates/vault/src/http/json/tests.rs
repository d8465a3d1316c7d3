use serde_json::json;

use super::*;

/// Each of these was sent to OpenBao 2.7.2; the words are its answer.
#[test]
fn errors_are_those_of_the_real_server() {
    for (body, want) in [
        ("{", "unexpected EOF"),
        ("{\"a", "unexpected EOF"),
        ("{\"a\"", "unexpected EOF"),
        ("{\"a\"}", "invalid character '}' after object key"),
        ("{\"a\" 1}", "invalid character '1' after object key"),
        ("{\"a\":1 \"b\":2}", "invalid character '\"' after object key:value pair"),
        ("{\"a\":tru}", "invalid character '}' in literal true (expecting 'e')"),
        ("{\"a\":nul", "unexpected EOF"),
        ("{\"a\":01}", "invalid character '1' after object key:value pair"),
        ("{\"a\":-}", "invalid character '}' in numeric literal"),
        ("{\"a\":1.}", "invalid character '}' in numeric literal"),
        ("{\"a\":[1,]}", "invalid character ',' looking for beginning of value"),
        ("{\"a\":[1 2]}", "invalid character '2' after array element"),
        ("{\"a\":1,}", "invalid character ',' looking for beginning of value"),
        ("{a:1}", "invalid character 'a' looking for beginning of value"),
        ("{'a':1}", "invalid character '\\'' looking for beginning of value"),
        ("}", "invalid character '}' looking for beginning of value"),
        ("{\"a\":\"\\x\"}", "invalid escape sequence `\\x` in string"),
        ("{\"a\":\"\\u12g4\"}", "invalid escape sequence `\\u12g4` in string"),
        ("{\"a\":\"\u{1}\"}", "invalid character '\\x01' in string"),
        ("{\"a\":+1}", "invalid character '+' looking for beginning of value"),
        ("{\"a\":1}}", "invalid character '}' looking for beginning of value"),
        ("{\"a\":1}x", "invalid character 'x' looking for beginning of value"),
        ("\"abc", "unexpected EOF"),
        ("{\"a\"::1}", "invalid character ':' looking for beginning of value"),
        ("é", "invalid character 'é' looking for beginning of value"),
        ("{\"a\":1e5x}", "invalid character 'x' after object key:value pair"),
        ("\"abc\"", "json: cannot unmarshal string into Go value of type map[string]interface {}"),
        ("5", "json: cannot unmarshal number into Go value of type map[string]interface {}"),
        ("true", "json: cannot unmarshal bool into Go value of type map[string]interface {}"),
        ("[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ] {
        let got = parse(body.as_bytes()).unwrap_err().to_string();
        assert_eq!(got, format!("failed to decode JSON input: {want}"), "{body}");
    }
}

#[test]
fn nothing_blanks_and_null_are_an_empty_object() {
    for body in ["", "  \n", "null", " null ", "{}"] {
        assert_eq!(parse(body.as_bytes()), Ok(Map::new()), "{body:?}");
    }
}

#[test]
fn a_second_value_is_ignored() {
    assert_eq!(Value::Object(parse(b"{\"a\":1} {\"b\":2}").unwrap()), json!({"a": 1}));
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    let got = parse(b"{\"a\":\"\xff\"}").unwrap();
    assert_eq!(Value::Object(got), json!({"a": "\u{fffd}"}));
}

#[test]
fn half_a_surrogate_pair_is_replaced() {
    for (body, want) in [
        (r#"{"a":"\ud800x"}"#, "\u{fffd}x"),
        (r#"{"a":"\udc00"}"#, "\u{fffd}"),
        (r#"{"a":"\ud83d\ude00\ud800"}"#, "\u{1f600}\u{fffd}"),
        (r#"{"a":"\\ud800\ud800"}"#, "\\ud800\u{fffd}"),
    ] {
        assert_eq!(parse(body.as_bytes()).unwrap()["a"], want, "{body}");
    }
}

#[test]
fn nesting_and_the_number_of_values_are_bounded() {
    let nested = |depth: usize| {
        format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes()
    };
    assert!(parse(&nested(MAX_DEPTH - 1)).is_ok());
    assert_eq!(parse(&nested(MAX_DEPTH)), Err(JsonError::TooDeep));
    assert_eq!(parse(&nested(1_000_000)), Err(JsonError::TooDeep));
    let brackets_in_text = format!("{{\"a\":\"{}\\\"[\"}}", "[".repeat(1000));
    assert!(parse(brackets_in_text.as_bytes()).is_ok());
    let many = format!("{{\"a\":[{}1]}}", "1,".repeat(MAX_VALUES));
    assert_eq!(parse(many.as_bytes()), Err(JsonError::TooMany));
}
