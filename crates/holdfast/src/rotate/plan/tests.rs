use super::*;

fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const POSTGRES: [(&str, &str); 2] =
    [("rotate", "postgres"), ("rotate_connection", "postgresql://db:5432/app")];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    POSTGRES.iter().chain(more).copied().collect()
}

#[test]
fn metadata_says_what_kind_it_is() {
    let agreed = Wishes { single_role: true, ..Wishes::default() };
    for (pairs, wishes, want) in [
        (vec![("rotate", "value")], Wishes::default(), Kind::Value),
        (with(&[("rotate_single_role", "true")]), Wishes::default(), Kind::SingleRole),
        (with(&[]), agreed, Kind::SingleRole),
        (
            with(&[("rotate_roles", "a, b"), ("rotate_admin", "kv/admin")]),
            Wishes::default(),
            Kind::DualRole,
        ),
    ] {
        assert_eq!(Plan::of(&metadata(&pairs), &wishes).unwrap().kind, want, "{pairs:?}");
    }
}

#[test]
fn refusals_say_why() {
    for (pairs, want) in [
        (vec![], "does not say how"),
        (vec![("rotate", "never")], "rotate=never"),
        (vec![("rotate", "value"), ("at_rest_key", "true")], "at-rest key"),
        (vec![("rotate", "value"), ("rotate_rolls", "a,b")], "rotate_rolls, which is not known"),
        (vec![("rotate", "mysql")], "rotate=mysql is not known"),
        (vec![("rotate", "postgres")], "needs rotate_connection"),
        (with(&[]), "ends as soon as"),
        (with(&[("rotate_roles", "a,b")]), "rotate_admin"),
        (with(&[("rotate_roles", "a,a"), ("rotate_admin", "x/y")]), "two different"),
        (with(&[("rotate_roles", "a"), ("rotate_admin", "x/y")]), "expected two roles"),
        (vec![("rotate", "value"), ("rotate_drain", "soon")], "rotate_drain"),
    ] {
        let refused = Plan::of(&metadata(&pairs), &Wishes::default()).unwrap_err();
        assert!(format!("{refused:#}").contains(want), "{refused:#}");
    }
}

#[test]
fn roles_take_turns() {
    let pairs = with(&[("rotate_roles", "a,b"), ("rotate_admin", "kv/admin")]);
    let plan = Plan::of(&metadata(&pairs), &Wishes::default()).unwrap();
    assert_eq!(plan.next_role("a").unwrap(), "b");
    assert_eq!(plan.next_role("b").unwrap(), "a");
    assert!(plan.next_role("c").unwrap_err().to_string().contains("not in rotate_roles"));
}
