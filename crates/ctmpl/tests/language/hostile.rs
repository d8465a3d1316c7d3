//! Templates that mean harm, or ask for too much: each ends soon, with an error that says why.

use std::time::{Duration, Instant};

use holdfast_ctmpl::{ErrorKind, Exceeded, Limits, Options, Template};
use proptest::prelude::*;

use crate::case::Nothing;

/// What a template's rendering ends with.
fn ends(text: &str) -> Result<usize, ErrorKind> {
    let template = Template::parse("t", text.as_bytes(), &Options::default());
    let output = template.and_then(|template| template.render(&Nothing, &Limits::default()));
    output.map(|output| output.bytes.expose().len()).map_err(|error| error.kind())
}

#[test]
fn what_is_too_much_is_named() {
    use Exceeded::{Depth, Output, Steps};
    for (text, limit) in [
        ("{{range 1000000000}}{{end}}", Steps),
        ("{{range loop 1000000000}}{{end}}", Steps),
        ("{{range 1000000000}}0123456789012345{{end}}", Output),
        (r#"{{define "x"}}{{template "x"}}{{end}}{{template "x"}}"#, Depth),
        (r#"{{define "x"}}{{executeTemplate "x"}}{{end}}{{template "x"}}"#, Depth),
        (r#"{{define "x"}}{{template "x" .}}{{template "x" .}}{{end}}{{template "x" 1}}"#, Depth),
        (r#"{{sprig_repeat 1000000000 "x"}}"#, Output),
        (r#"{{sprig_repeat 9223372036854775807 "xy"}}"#, Output),
        ("{{sprig_until 1000000000}}", Steps),
        (r#"{{indent 1000000000 "x"}}"#, Output),
        (r#"{{sprig_indent 1000000000 "x"}}"#, Output),
        (r#"{{$x := "a"}}{{range 64}}{{$x = print $x $x}}{{end}}"#, Output),
        (r#"{{$x := "a"}}{{range 64}}{{$x = replaceAll "a" "aa" $x}}{{end}}"#, Output),
        (
            r#"{{$x := sprig_list 1}}{{range 64}}{{$x = sprig_list $x $x}}{{end}}{{print $x}}"#,
            Output,
        ),
        (r#"{{$x := sprig_list}}{{range 100000}}{{$x = sprig_list $x}}{{end}}{{print $x}}"#, Depth),
        (
            r#"{{$x := sprig_list}}{{range 100000}}{{$x = sprig_list $x}}{{end}}{{toJSON $x}}"#,
            Depth,
        ),
        (
            r#"{{$x := sprig_list}}{{range 100000}}{{$x = sprig_list $x}}{{end}}{{toYAML $x}}"#,
            Depth,
        ),
        (r#"{{range 50000000}}{{$x := sprig_dict "a" 1}}{{end}}"#, Steps),
        // Copies of lists, few steps each.
        (
            r#"{{$x := sprig_until 100000}}{{$z := $x}}{{range 60}}{{$z = sprig_append $z (sprig_rest $x)}}{{end}}"#,
            Steps,
        ),
        (r#"{{$x := sprig_until 300000}}{{range 60}}{{$y := sprig_reverse $x}}{{end}}"#, Steps),
        (r#"{{$x := sprig_until 300000}}{{range 60}}{{$y := sprig_slice $x 1}}{{end}}"#, Steps),
        (r#"{{$x := sprig_until 300000}}{{range 60}}{{$y := sprig_chunk 1 $x}}{{end}}"#, Steps),
        (r#"{{$x := sprig_until 1000000}}"#, Output),
        (r#"{{$x := sprig_until 200000}}{{$y := sprig_concat $x $x $x $x}}"#, Output),
        (r#"{{$x := sprig_splitList "" (sprig_repeat 2000000 "x")}}"#, Steps),
        (r#"{{$x := parseJSON (printf "[%s0]" (sprig_repeat 2000000 "0,"))}}"#, Steps),
        (r#"{{$x := sprig_fromJson (printf "[%s0]" (sprig_repeat 2000000 "0,"))}}"#, Steps),
    ] {
        let started = Instant::now();
        assert_eq!(ends(text), Err(ErrorKind::Limit(limit)), "{text}");
        // Far more than any of them takes, debugging build and busy machine included.
        assert!(started.elapsed() < Duration::from_secs(120), "{text}");
    }
}

#[test]
fn what_can_be_done_is_done() {
    for (text, want) in [
        ("{{printf `%1000000d` 1}}", Ok(1_000_000)),
        ("{{printf `%1000000000d` 1}}", Ok(25)),
        ("{{printf `%.1000000f` 1.5}}", Ok(1_000_002)),
        ("{{printf `%*d` 1000000000 1}}", Ok(13)),
        ("{{range 100}}0123456789{{end}}", Ok(1000)),
        // What is only looked at is not paid for.
        (
            "{{$x := sprig_until 10000}}{{range $x}}{{index (index (sprig_list $x) 0) 0}}{{end}}",
            Ok(10_000),
        ),
    ] {
        assert_eq!(ends(text), want, "{text}");
    }
}

#[test]
fn nesting_is_bounded_where_it_is_parsed() {
    for text in [
        format!("{{{{{}1{}}}}}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{}{}", "{{if 1}}".repeat(100_000), "{{end}}".repeat(100_000)),
        format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(100_000)),
        format!("{{{{parseYAML `{}`}}}}", "[".repeat(100_000)),
        format!("{{{{parseYAML `{}`}}}}", "- ".repeat(100_000)),
        format!("{{{{parseJSON `{}`}}}}", "[".repeat(100_000)),
        format!("{{{{regexMatch `{}` `a`}}}}", "(".repeat(100_000)),
        "{{regexMatch `(a{1000}){1000}` `a`}}".to_owned(),
    ] {
        assert!(ends(&text).is_err(), "{}", &text[..60.min(text.len())]);
    }
}

#[test]
fn a_map_cannot_be_put_into_itself() {
    for text in [
        r#"{{$d := sprig_dict}}{{$x := sprig_set $d "d" $d}}"#,
        r#"{{$d := sprig_dict}}{{$x := sprig_set $d "d" (sprig_list $d)}}"#,
        r#"{{$d := sprig_dict}}{{$e := sprig_dict "d" $d}}{{$x := sprig_set $d "e" $e}}"#,
    ] {
        assert_eq!(ends(text), Err(ErrorKind::Execution), "{text}");
    }
}

/// Bytes that look like a template more often than chance has it.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<Vec<u8>>(),
        prop::sample::select(vec![
            "{{", "}}", "{{-", "-}}", "/*", "*/", "\"", "`", "(", ")", "|", "$", "$x", ":=", "=",
            ".", ".a", "if", "else", "end", "range", "with", "define", "template", "block",
            "break", "nil", "printf", "index", "1", "0x", "1i", "'a'", " ", "\n", "%", "%[1]*d",
            "\\", "secret", "toYAML",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(text in text()) {
        if let Ok(template) = Template::parse("t", &text, &Options::default()) {
            let limits = Limits { steps: 100_000, output: 1 << 16, ..Limits::default() };
            let _ = template.render(&Nothing, &limits);
            let _ = template.calls();
        }
    }

    #[test]
    fn no_argument_makes_a_function_panic(
        function in prop::sample::select(holdfast_ctmpl::function_names()),
        arguments in prop::collection::vec(prop::sample::select(vec![
            "nil", "1", "-1", "9223372036854775807", "-9223372036854775808", "1.5", "1e308", "true", "``",
            "`a,b=c`", "\"\\xff\"", "`[1,2]`", "`{\"a\":{\"b\":1}}`", "`(a+)+$`", "(sprig_list 1 `a` nil)",
            "(sprig_dict `a` 1)", "(parseJSON `[1,[2],{\"x\":null}]`)", "(loop 3)", "(scratch)",
            "`1.2.3`", "`>=1 <2 || ^3`", "`http://u:p@h:1/p?q#f`", "`%v %d %s`", "`a/../b//c`", "1i",
        ]), 0..5),
    ) {
        let text = format!("{{{{{function} {}}}}}", arguments.join(" "));
        if let Ok(template) = Template::parse("t", text.as_bytes(), &Options::default()) {
            let limits = Limits { steps: 200_000, output: 1 << 18, ..Limits::default() };
            let _ = template.render(&Nothing, &limits);
        }
    }
}
