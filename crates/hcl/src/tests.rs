//! What is accepted, what is refused, and with which words.

use crate::{Body, Problems, Settings, ValueKind, parse};

/// A short form of a body, to compare with: `path:a{capabilities=["read"]}`.
fn show(body: &Body) -> String {
    fn value(kind: &ValueKind) -> String {
        match kind {
            ValueKind::String(text) => format!("{text:?}"),
            ValueKind::Number(text) | ValueKind::Float(text) => text.clone(),
            ValueKind::Bool(value) => value.to_string(),
            ValueKind::List(list) => {
                let list: Vec<_> = list.iter().map(|element| value(&element.kind)).collect();
                format!("[{}]", list.join(","))
            }
            ValueKind::Object(body) => format!("{{{}}}", show(body)),
        }
    }
    let items = body.items.iter().map(|item| {
        let keys: Vec<_> = item.keys.iter().map(|key| key.text.as_str()).collect();
        format!("{}={}", keys.join(":"), value(&item.value.kind))
    });
    items.collect::<Vec<_>>().join(" ")
}

#[test]
fn parse_reads_odd_but_valid_forms() {
    for (text, want) in [
        ("", ""),
        ("a = 1 b = 2, c = 3", "a=1 b=2 c=3"),
        ("path \"a\" {} path \"b\" { x = [1, \"2\",] }", "path:a={} path:b={x=[1,\"2\"]}"),
        ("\"quoted\" = true\n'", "error"),
        ("path a b { }", "path:a:b={}"),
        ("a = { b = { c = -1.5e3 } }", "a={b={c=-1.5e3}}"),
        ("mode = 0644 hex = 0x1F", "mode=0644 hex=0x1F"),
        ("# one\n// two\n/* three\n */ a = 1 # four", "a=1"),
        ("a = \"${b(\"c\")} \\\" \\u00e9\"", "a=\"${b(\\\"c\\\")} \\\" é\""),
        ("a = <<EOF\nx\n  y\nEOF\n", "a=\"x\\n  y\\n\""),
        ("a = <<-EOF\n    x\n      y\n    EOF\n", "a=\"x\\n  y\\n\""),
        ("a = <<-EOF\n  x\n    EOF\n", "a=\"  x\\n\""),
        ("a = [<<X\n1\nX\n, 2]", "a=[\"1\\n\",2]"),
        ("a = [[1] [2]]", "a=[[1],[2]]"),
        ("a = 1\r\nb = 2\r\n", "a=1 b=2"),
        ("a-b.c_d = 1", "a-b.c_d=1"),
    ] {
        match parse(text) {
            Ok(body) => assert_eq!(show(&body), want, "{text:?}"),
            Err(error) => assert_eq!(want, "error", "{text:?}: {error}"),
        }
    }
}

#[test]
fn json_reads_nested_objects_as_blocks() {
    for (text, want) in [
        ("{}", ""),
        (r#" {"a": 1, "b": [true, null], }"#, r#"a=1 b=[true,""]"#),
        (r#"{"path": {"a": {"x": 1}, "b": {}}}"#, "path:a={x=1} path:b={}"),
        (r#"{"path": [{"a": {"x": 1}}, {"a": {"x": 2}}]}"#, "path:a={x=1} path:a={x=2}"),
        (r#"{"listener": [{"tcp": {"address": "h:1"}}]}"#, "listener:tcp={address=\"h:1\"}"),
        (r#"{"a": {"b": {"c": {}}, "d": 1}}"#, "a={b:c={} d=1}"),
        (r#"{"a": [1, -2.5, "\u00e9\/"]}"#, "a=[1,-2.5,\"é/\"]"),
    ] {
        let body = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(show(&body), want, "{text}");
    }
}

#[test]
fn errors_are_worded_and_placed_as_hcl1_does() {
    for (text, want) in [
        ("path \"a\" {", "At 1:12: object expected closing RBRACE got: EOF"),
        ("path a {", "At 1:10: object expected closing RBRACE got: EOF"),
        ("foo", "At 1:5: key 'foo' expected start of object ('{') or assignment ('=')"),
        ("a b = 1", "At 1:5: nested object expected: LBRACE got: ASSIGN"),
        ("= 1", "At 1:1: no object keys found!"),
        ("{", "At 1:2: expected: STRING got: EOF"),
        ("a = {{", "At 1:6: expected: IDENT | STRING got: LBRACE"),
        ("a = ]", "At 1:5: Unknown token: 1:5 RBRACK ]"),
        ("a = [1 2]", "At 1:8: error parsing list, expected comma or list end, got: NUMBER"),
        ("a = [1", "At 1:9: error parsing list, expected comma or list end, got: EOF"),
        ("a = ?", "At 1:5: illegal char"),
        ("a = \"x", "At 1:7: literal not terminated"),
        ("a = \"\\q\"", "At 1:7: illegal char escape"),
        ("a = \"\\xff\"", "At 1:5: invalid string"),
        ("a = <<EOF\nx", "At 2:2: heredoc not terminated"),
        ("/* x", "At 1:5: comment not terminated"),
        ("/ x", "At 1:1: expected '/' for comment"),
        ("a = 1\n}", "At 2:1: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACE"),
        ("a =", "At 1:4: expected a value after '=' got: EOF"),
        ("{\"a\": 1 \"b\": 2}", "At 1:9: object expected closing RBRACE got: '\"'"),
        ("{\"a\": 1} x", "At 1:10: unexpected text after the object"),
        ("{\"a\"", "At 1:5: expected: COLON got: EOF"),
        ("{\"a\": tru}", "At 1:7: Expected object value, got unknown token: 't'"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.to_string(), want, "{text:?}");
    }
}

#[test]
fn depth_and_size_are_bounded() {
    for open in ["a = [", "a {", "{\"a\":", "[", "{\"a\":["] {
        let text = format!("a = {}", open.repeat(100_000));
        assert!(parse(&text).is_err(), "{open}");
        assert!(parse(&open.repeat(100_000)).is_err(), "{open}");
    }
    let error = parse(&" ".repeat(crate::MAX_SIZE + 1)).unwrap_err();
    assert_eq!(error.to_string(), "text is longer than 1048576 bytes");
}

#[test]
fn numbers_keep_their_text_and_have_a_value() {
    let body = parse("a = 0644 b = 0x1F c = -7 d = 09 e = 99999999999999999999 f = \"1\"").unwrap();
    let values: Vec<_> = body.items.iter().map(|item| item.value.as_integer()).collect();
    assert_eq!(values, [Some(0o644), Some(31), Some(-7), None, None, None]);
    assert_eq!(body.items[0].value.as_text(), Some("0644"));
}

#[test]
fn settings_are_typed_and_problems_named_by_place() {
    let body = parse(
        r#"
        name = "x" ttl = "1h" wait = 30 port = "8200" on = "true" off = 0
        tags = ["a", 2] one = "b" options { version = "2" }
        wrong = [1] twice = 1 twice = 2
        listener "tcp" { address = "h:1" frob = 1 }
        listener = { socket = true }
        spelt = 1
        "#,
    )
    .unwrap();
    let mut problems = Problems::default();
    let mut file = Settings::new(&body, &mut problems);
    assert_eq!(file.string("name").as_deref(), Some("x"));
    assert_eq!(file.duration("ttl").unwrap().as_secs(), 3600);
    assert_eq!(file.duration("wait").unwrap().as_secs(), 30);
    assert_eq!(file.integer("port"), Some(8200));
    assert_eq!((file.bool("on"), file.bool("off")), (Some(true), Some(false)));
    assert_eq!(file.strings("tags").unwrap(), ["a", "2"]);
    assert_eq!(file.strings("one").unwrap(), ["b"]);
    assert_eq!(file.string_map("options").unwrap()["version"], "2");
    assert_eq!(file.string("missing"), None);
    assert_eq!(file.string("wrong"), None);
    assert_eq!(file.integer("twice"), Some(2));
    let blocks = file.blocks("listener");
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let mut settings = block.settings(file.problems());
        settings.string("address");
        settings.string("socket");
        settings.finish();
    }
    file.finish();
    let listed: Vec<_> = problems.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        listed,
        [
            "4:17: wrong: expected a string",
            "4:31: twice: set twice",
            "5:42: listener.tcp.frob: unknown setting",
            "6:31: listener.socket: expected a string",
            "7:9: spelt: unknown setting",
        ]
    );
}
