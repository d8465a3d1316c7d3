//! What holds for any text, held against some thousands of random ones. `fuzz/` holds the same
//! against many more.

#[path = "../../../fuzz/invariants/hcl.rs"]
mod invariants;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_text_is_read_or_refused(text in any_text()) {
        invariants::check(&text);
    }
}

/// Anything at all, and what is nearly HCL or JSON.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b.c",
        "\"q\"",
        "=",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\n",
        " ",
        "1",
        "-0x1F",
        "0644",
        "1.5e3",
        ".5",
        "1e",
        "true",
        "\"${f(\"x\")}\"",
        "\"\\n\\x41\"",
        "\\",
        "\"",
        "#",
        "/*",
        "*/",
        "//",
        "<<E\nx\nE\n",
        "<<-E\n  x\n  E\n",
        "<<",
        "${",
        ":",
        "null",
        "é",
        "\u{e123}",
        "\0",
        "\r\n",
    ]);
    let pieces = prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat());
    prop_oneof![
        1 => any::<String>(),
        4 => pieces.clone(),
        2 => pieces.prop_map(|text| format!("{{\"a\":{text}}}")),
    ]
}
