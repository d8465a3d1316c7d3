//! What is refused, in whose words. Every message was read off OpenBao 2.7.2.

use super::*;
use crate::Capability::*;

#[test]
fn refusals_are_worded_as_the_servers() {
    for (text, want) in [
        (r#"path "a" {"#, "At 1:12: object expected closing RBRACE got: EOF"),
        ("foo = 1", "1 error occurred:\n\t* invalid key \"foo\" on line 1\n\n"),
        (
            "path \"a\" { x = 1\ny=2 }",
            "path \"a\": 2 errors occurred:\n\t* invalid key \"x\" on line 1\n\t* invalid key \"y\" on line 2\n\n",
        ),
        (
            r#"path "a" { capabilities = ["frob"] }"#,
            r#"path "a": path "a": invalid capability "frob""#,
        ),
        (
            r#"path "a+*" {}"#,
            r#"path "a+*": path "a+*": invalid use of wildcards ('+*' is forbidden)"#,
        ),
        (r#"path "a" {policy="x"}"#, r#"path "a": path "a": invalid policy "x""#),
        (
            r#"path "x{{" {}"#,
            r#"path "x{{": failed to validate policy templating: unbalanced templating characters"#,
        ),
        (
            r#"path "x" {capabilities="read"}"#,
            r#"path "x": path "x": At 1:24: unknown slice type: *ast.LiteralType"#,
        ),
        (
            r#"path "x" {expiration="foo"}"#,
            r#"path "x": path "x": invalid expiration time: could not parse string as date and time"#,
        ),
        (r#"path = "x""#, r#"path "path": cannot check HCL keys of type *ast.LiteralType"#),
        (
            r#"path "x" { min_wrapping_ttl = "abc" }"#,
            r#"path "x": error parsing min_wrapping_ttl: time: invalid duration "abc""#,
        ),
        (
            r#"path "x" { max_wrapping_ttl = "1" min_wrapping_ttl="2"}"#,
            r#"path "x": max_wrapping_ttl cannot be less than min_wrapping_ttl"#,
        ),
        (
            r#"path "x" { pagination_limit="abc"}"#,
            r#"path "x": path "x": strconv.ParseInt: parsing "abc": invalid syntax"#,
        ),
        (r#"path "x" { mfa_methods=["a"]}"#, r#"path "x": mfa_methods is not supported"#),
    ] {
        let error = parse("p", text).expect_err(text);
        assert_eq!(error.message, want, "{text}");
        assert_eq!(error.to_string(), format!("failed to parse policy: {want}"));
    }
}

#[test]
fn odd_but_valid_policies_are_taken() {
    for (text, want) in [
        ("", vec![]),
        ("name = \"x\"", vec![]),
        (r#"path "x" "y" {capabilities=["read"]}"#, vec![("x", vec![Read])]),
        (r#"path {capabilities=["read"]}"#, vec![("path", vec![Read])]),
        (r#"path "/a/*" {policy="read"}"#, vec![("/a/*", vec![List, Read])]),
        (
            r#"path "a" {policy="sudo" capabilities=["patch"]}"#,
            vec![("a", vec![Create, Delete, List, Patch, Read, Sudo, Update])],
        ),
        (r#"path "a" {capabilities=["read", "deny", "frob"]}"#, vec![("a", vec![Deny])]),
        (
            r#"path "a" {capabilities=["read"] capabilities=["scan"]}"#,
            vec![("a", vec![Read, Scan])],
        ),
        (
            r#"{"path": {"a": {"capabilities": ["list"]}, "b": {}}}"#,
            vec![("a", vec![List]), ("b", vec![])],
        ),
        (r#"path "a" { comment = 1 }"#, vec![("a", vec![])]),
    ] {
        let policy = parse("p", text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let got: Vec<_> = policy
            .rules
            .iter()
            .map(|rule| (rule.path.as_str(), rule.capabilities.iter().collect::<Vec<_>>()))
            .collect();
        assert_eq!(got, want, "{text}");
    }
}
