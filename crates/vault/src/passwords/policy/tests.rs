use std::collections::HashSet;

use holdfast_types::SystemRandom;

use super::*;

const KINDS: &str = r#"length = 20
    rule "charset" { charset = "abcdefghij" min-chars = 1 }
    rule "charset" { charset = "0123456789" min-chars = 2 }
    rule "charset" { charset = "-_" min-chars = 3 }"#;

fn generate(text: &str) -> String {
    PasswordPolicy::parse(text).unwrap().generate(&SystemRandom).expose().clone()
}

#[test]
fn passwords_hold_every_rule_and_differ() {
    let policy = PasswordPolicy::parse(KINDS).unwrap();
    let mut seen = HashSet::new();
    for _ in 0..2_000 {
        let password = policy.generate(&SystemRandom).expose().clone();
        let count = |of: &str| password.chars().filter(|c| of.contains(*c)).count();
        assert_eq!(password.chars().count(), 20);
        assert!(count("abcdefghij") >= 1 && count("0123456789") >= 2 && count("-_") >= 3);
        assert_eq!(count("abcdefghij0123456789-_"), 20, "{password}");
        seen.insert(password);
    }
    assert_eq!(seen.len(), 2_000);
}

/// A tenth of the alphabet takes three fifths of the password: drawing alone would never end.
#[test]
fn rules_that_hardly_any_draw_keeps_still_give_passwords() {
    let text = r#"length = 100
        rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz0123456789" }
        rule "charset" { charset = "A" min-chars = 60 }"#;
    let (one, other) = (generate(text), generate(text));
    for password in [&one, &other] {
        assert_eq!(password.len(), 100);
        assert!(password.matches('A').count() >= 60, "{password}");
        // Shuffled: not all the rule's characters in front.
        assert!(password[..60].contains(|c| c != 'A'), "{password}");
    }
    assert_ne!(one, other);
}

/// Chi-squared over each character's count: 0.1 per cent of honest runs of 35 degrees of freedom
/// are above 66.6; the bound is far beyond.
#[test]
fn no_character_is_favoured() {
    let alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
    let text = format!("length = 100\nrule \"charset\" {{ charset = \"{alphabet}\" }}");
    let policy = PasswordPolicy::parse(&text).unwrap();
    let mut counts = [0_f64; 36];
    for _ in 0..720 {
        for c in policy.generate(&SystemRandom).expose().chars() {
            counts[alphabet.find(c).unwrap()] += 1.0;
        }
    }
    let expected = 72_000.0 / 36.0;
    let chi_squared: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
    assert!(chi_squared < 110.0, "{chi_squared}: {counts:?}");
}

#[test]
fn a_charset_may_be_of_any_size_and_script() {
    let many: String = (0x4e00..0x4e00 + 3_000).filter_map(char::from_u32).collect();
    let password = generate(&format!("length=50 rule \"charset\" {{ charset = \"{many}\" }}"));
    assert_eq!(password.chars().count(), 50);
    assert_eq!(generate("length=4 rule \"charset\" { charset = \"é\" }"), "éééé");
}

#[test]
fn impossible_rules_are_refused_when_they_are_written() {
    for text in [
        // The negative number hides that the other rule asks for more than there is room for.
        "length=5 rule \"charset\" { charset=\"a\" min-chars=-9 } rule \"charset\" { charset=\"b\" min-chars=9 }",
        "length=5 rule \"charset\" { charset=\"\" min-chars=1 } rule \"charset\" { charset=\"b\" }",
    ] {
        let problem = PasswordPolicy::parse(text).unwrap_err();
        assert!(problem.contains("are the rules impossible?"), "{text}: {problem}");
    }
    let huge = "length=9 rule \"charset\" { charset=\"a\" min-chars=9223372036854775807 } \
                rule \"charset\" { charset=\"a\" min-chars=9223372036854775807 }";
    assert!(PasswordPolicy::parse(huge).is_err());
}

#[test]
fn characters_that_do_not_show_are_refused() {
    for (character, want) in [
        (' ', true),
        ('"', true),
        ('\\', true),
        ('ä', true),
        ('\u{301}', true),
        ('\n', false),
        ('\u{7f}', false),
        ('\u{a0}', false),
        ('\u{ad}', false),
        ('\u{200b}', false),
        ('\u{2028}', false),
        ('\u{e000}', false),
    ] {
        assert_eq!(is_printable(character), want, "{character:?}");
    }
}
