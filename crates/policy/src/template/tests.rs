//! What templates become, and what is not let in by them.

use std::sync::Arc;

use super::*;
use crate::Policy;

fn identity() -> Identity {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    Identity {
        entity: Some(Entity {
            id: "e-1".to_owned(),
            name: "bob".to_owned(),
            metadata: map(&[
                ("team", "a"),
                ("none", ""),
                ("path", "a/b"),
                ("star", "*"),
                ("plus", "a+"),
            ]),
            aliases: vec![Alias {
                mount_accessor: "auth_jwt_1".to_owned(),
                id: "a-1".to_owned(),
                name: "spiffe://demo.local/bob".to_owned(),
                metadata: map(&[("role", "dev")]),
                custom_metadata: map(&[("desk", "7")]),
            }],
        }),
        groups: vec![Group {
            id: "g-1".to_owned(),
            name: "ops".to_owned(),
            metadata: map(&[("site", "north")]),
        }],
    }
}

#[test]
fn templates_become_values() {
    let refused = |found| Err(Some(found));
    for (template, want) in [
        ("{{identity.entity.id}}", Ok("e-1")),
        ("{{ identity.entity.name }}/x", Ok("bob/x")),
        ("a{{identity.entity.metadata.team}}b{{identity.entity.id}}", Ok("aabe-1")),
        ("{{identity.entity.metadata.none}}", Ok("")),
        ("{{identity.entity.metadata.missing}}", Err(None)),
        ("{{identity.entity.metadata.path}}", refused('/')),
        ("{{identity.entity.metadata.star}}", refused('*')),
        ("{{identity.entity.metadata.plus}}", refused('+')),
        ("{{identity.entity.aliases.auth_jwt_1.id}}", Ok("a-1")),
        ("{{identity.entity.aliases.auth_jwt_1.name}}", refused('/')),
        ("{{identity.entity.aliases.auth_jwt_1.metadata.role}}", Ok("dev")),
        ("{{identity.entity.aliases.auth_jwt_1.custom_metadata.desk}}", Ok("7")),
        ("{{identity.entity.aliases.other.id}}", Err(None)),
        ("{{identity.groups.ids.g-1.name}}", Ok("ops")),
        ("{{identity.groups.names.ops.id}}", Ok("g-1")),
        ("{{identity.groups.names.ops.metadata.site}}", Ok("north")),
        ("{{identity.groups.names.none.id}}", Err(None)),
        ("{{frob}}", Err(None)),
    ] {
        let text = format!("path \"s/{template}\" {{ policy = \"read\" }}");
        let policy = Arc::new(Policy::parse("p", &text).unwrap());
        assert!(policy.is_templated());
        let got = match policy.render(&identity()) {
            Ok(rendered) => match rendered.rules().first() {
                Some(rule) => Ok(rule.pattern.as_ref().unwrap().to_string()),
                None => Err(None),
            },
            Err(error) => Err(Some(error.found)),
        };
        assert_eq!(got, want.map(|text: &str| format!("s/{text}")), "{template}");
    }
}

#[test]
fn a_policy_may_let_wildcards_and_slashes_in() {
    let text = r#"path "s/{{identity.entity.metadata.star}}" { policy = "read" }
                  path "t/{{identity.entity.metadata.path}}" { policy = "read" }"#;
    let options = TemplateOptions { allow_wildcards: true, allow_slashes: true };
    let policy = Arc::new(Policy::parse("p", text).unwrap().with_template_options(options));
    let rendered = policy.render(&identity()).unwrap();
    let patterns = rendered.rules().iter().map(|rule| rule.pattern.as_ref().unwrap().to_string());
    assert_eq!(patterns.collect::<Vec<_>>(), ["s/*", "t/a/b"]);
}

#[test]
fn without_an_identity_templated_rules_are_left_out_and_others_kept() {
    let text =
        r#"path "s/{{identity.entity.id}}" { policy = "read" } path "t" { policy = "read" }"#;
    let policy = Arc::new(Policy::parse("p", text).unwrap());
    let rendered = policy.render(&Identity::default()).unwrap();
    assert_eq!(rendered.rules().len(), 1);
    let plain = Arc::new(Policy::parse("p", r#"path "t" { policy = "read" }"#).unwrap());
    assert!(Arc::ptr_eq(&plain, &plain.render(&identity()).unwrap()));
}
