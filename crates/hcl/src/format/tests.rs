use super::format;

/// What HCL1's own printer makes of these.
#[test]
fn the_layout_is_the_original_one() {
    for (text, want) in [
        ("", "\n"),
        ("path \"a\" {}\n", "path \"a\" {}\n"),
        ("a=1\nlonger = [ \"x\",\"y\" ]\n", "a = 1\n\nlonger = [\"x\", \"y\"]\n"),
        (
            "path \"a\" {\ncapabilities=[\"read\"]\nb   = 1 # one\n}\n",
            "path \"a\" {\n  capabilities = [\"read\"]\n  b            = 1        # one\n}\n",
        ),
        (
            "# top\n\n# lead\npath \"a\" { # here\n}\n# last",
            "# top\n\n# lead\npath \"a\" {} # here\n\n# last\n\n",
        ),
        (
            "a {\n  b = <<EOF\n  kept\nEOF\n  c = 1\n}",
            "a {\n  b = <<EOF\n  kept\nEOF\n\n  c = 1\n}\n",
        ),
    ] {
        assert_eq!(format(text).unwrap(), want, "{text}");
    }
}

#[test]
fn what_is_no_hcl_is_refused() {
    for text in ["path \"a\" {", "a = ", "a = \"\u{E123}\"", "{\"a\": 1}", "a = 1\na = 2"] {
        assert!(format(text).is_err(), "{text}");
    }
}
