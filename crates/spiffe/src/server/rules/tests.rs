use super::*;

fn settings() -> RuleSettings {
    let trust_domain = TrustDomain::parse("demo.local").unwrap();
    RuleSettings {
        parent: crate::server::local_agent(&trust_domain).unwrap(),
        trust_domain,
        cluster: "demo".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
    }
}

const WORKLOADS: &str = "
- name: backend
  namespace: 99-apps
  labels: {app: backend, tier: api}
- name: frontend
  namespace: 99-apps
  serviceAccount: web
  labels:
    app: frontend
  selectors: ['unix:uid:1001', 'unix:user:web']
";

fn declared(rules: &str) -> Declared {
    Declared {
        rules: vec![("rules.yaml".to_owned(), rules.to_owned())],
        workloads: Some(("workloads.yaml".to_owned(), WORKLOADS.to_owned())),
    }
}

fn rule(name: &str, spec: &str) -> String {
    let spec = spec.replace('\n', "\n  ");
    format!(
        "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata:\n  name: {name}\n\
         spec:\n  {spec}\n---\n"
    )
}

const BY_ACCOUNT: &str = r#"spiffeIDTemplate: "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}""#;

fn problems(rules: &str) -> Vec<String> {
    let Err(Problems(problems)) = declared(rules).entries(&settings()) else { return Vec::new() };
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_rule_gives_each_workload_its_own_entry() {
    let spec = format!(
        "{BY_ACCOUNT}\ndnsNameTemplates: ['{{{{ .PodMeta.Name }}}}.demo.local']\nttl: 30m\n\
         jwtTtl: 60s\nhint: main\nfederatesWith: [other.test]\nclassName: x"
    );
    let entries = declared(&rule("accounts", &spec)).entries(&settings()).unwrap();
    let ids: Vec<_> = entries.iter().map(|entry| entry.spiffe_id.as_str()).collect();
    assert_eq!(
        ids,
        ["spiffe://demo.local/ns/99-apps/sa/backend", "spiffe://demo.local/ns/99-apps/sa/web"]
    );
    let selectors = |entry: &Entry| {
        entry.selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(selectors(&entries[0]), "holdfast:service:backend");
    assert_eq!(selectors(&entries[1]), "unix:uid:1001 unix:user:web");
    assert_eq!(entries[0].dns_names, ["backend.demo.local"]);
    assert_eq!(entries[0].x509_ttl.unwrap().as_secs(), 1800);
    assert_eq!(entries[0].jwt_ttl.unwrap().as_secs(), 60);
    assert_eq!(entries[0].origin, "ClusterSPIFFEID accounts (rules.yaml)");
    assert_eq!(entries[0].parent.path(), "/spire/agent/local");
    let again = declared(&rule("accounts", &spec)).entries(&settings()).unwrap();
    assert_eq!(entries, again, "ids are the same in every run");
}

#[test]
fn selectors_choose_workloads_and_a_fallback_takes_the_rest() {
    let id = |path: &str| format!("spiffeIDTemplate: spiffe://demo.local/{path}");
    for (spec, want) in [
        ("podSelector: {matchLabels: {app: backend}}", 1),
        ("podSelector: {matchLabels: {app: backend, tier: web}}", 0),
        ("podSelector: {matchExpressions: [{key: tier, operator: Exists}]}", 1),
        ("podSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}", 1),
        ("podSelector: {matchExpressions: [{key: app, operator: In, values: [a, frontend]}]}", 1),
        ("podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [a]}]}", 2),
        ("namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: 99-apps}}", 2),
        ("namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: other}}", 0),
    ] {
        let rules = rule("some", &format!("{}\n{spec}", id("x/{{ .PodMeta.Name }}")));
        let entries = declared(&rules).entries(&settings()).unwrap();
        assert_eq!(entries.len(), want, "{spec}");
    }
    let some = format!("{}\npodSelector: {{matchLabels: {{app: backend}}}}", id("a"));
    let rest = format!("{}\nfallback: true", id("rest/{{ .PodMeta.Name }}"));
    let rules = rule("some", &some) + &rule("rest", &rest);
    let entries = declared(&rules).entries(&settings()).unwrap();
    let ids: Vec<_> = entries.iter().map(|entry| entry.spiffe_id.path()).collect();
    assert_eq!(ids, ["/a", "/rest/frontend"]);
}

#[test]
fn a_static_entry_is_an_entry() {
    let text = "apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterStaticEntry
metadata: {name: db}
spec:
  spiffeID: spiffe://demo.local/db
  parentID: spiffe://demo.local/spire/agent/local
  selectors: [unix:user:postgres]
  x509SVIDTTL: 2h
  dnsNames: [db.demo.local]
  ipAddresses: [127.0.0.1, '::1']
";
    let entries = declared(text).entries(&settings()).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].dns_names, ["db.demo.local"]);
    let addresses: Vec<_> = entries[0].ip_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.0.0.1", "::1"]);
    assert_eq!(entries[0].selectors.len(), 1);
}

#[test]
fn what_is_wrong_is_named_at_its_line() {
    let fixed = |spec: &str| {
        format!(
            "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterStaticEntry\n\
             metadata: {{name: db}}\nspec: {spec}\n"
        )
    };
    let good = "spiffeID: 'spiffe://demo.local/db', parentID: 'spiffe://demo.local/p'";
    for (text, want) in [
        (
            rule("a", &format!("{BY_ACCOUNT}\npodSelektor: {{}}")),
            "rules.yaml:7: unknown key \"podSelektor\"; did you mean \"podSelector\"?",
        ),
        (
            fixed(&format!("{{{good}, selectors: [unix:uid:1], ipAddresses: [localhost]}}")),
            "rules.yaml:4: \"localhost\": invalid IP address syntax",
        ),
        (rule("a", "ttl: 1h"), "rules.yaml:6: \"spiffeIDTemplate\" is missing"),
        (
            rule("a", &format!("{BY_ACCOUNT}\nttl: soon")),
            "rules.yaml:7: \"soon\": invalid duration",
        ),
        (
            rule("a", &format!("{BY_ACCOUNT}\nadmin: true")),
            "rules.yaml:7: \"admin\" is not supported",
        ),
        (
            rule("a", &format!("{BY_ACCOUNT}\n{BY_ACCOUNT}")),
            "rules.yaml:7: key \"spiffeIDTemplate\" stands here twice",
        ),
        (
            rule("a", "spiffeIDTemplate: spiffe://demo.local/{{ .PodMeta.Nam }}"),
            "rules.yaml:6: for workload \"backend\": ",
        ),
        (
            rule("a", "spiffeIDTemplate: spiffe://demo.local/{{ env \"X\" }}"),
            "rules.yaml:6: for workload \"backend\": template: ",
        ),
        (
            rule("a", "spiffeIDTemplate: spiffe://demo.local/{{ .PodMeta.Labels.app }} x"),
            "the ID is \"spiffe://demo.local/backend x\": the character at byte 27",
        ),
        (
            rule("a", "spiffeIDTemplate: spiffe://demo.local/{{ secret \"a\" }}"),
            "rules.yaml:6: for workload \"backend\": ",
        ),
        (rule("a", "spiffeIDTemplate: spiffe://else/x"), "is not in trust domain \"demo.local\""),
        (rule("a", "spiffeIDTemplate: spiffe://demo.local/spire/server"), "reserved namespace"),
        (
            rule("a", BY_ACCOUNT) + &rule("b", BY_ACCOUNT),
            "ClusterSPIFFEID \"b\" gives spiffe://demo.local/ns/99-apps/sa/backend to the same workloads as ClusterSPIFFEID \"a\"",
        ),
        (
            rule("a", BY_ACCOUNT) + &rule("a", "spiffeIDTemplate: spiffe://demo.local/x"),
            "ClusterSPIFFEID \"a\" is declared in rules.yaml:1, too",
        ),
        (fixed(&format!("{{{good}}}")), "an entry needs at least one selector"),
        (
            fixed(&format!("{{{good}, selectors: [unix]}}")),
            "rules.yaml:4: \"unix\": selector \"unix\" is not of the form",
        ),
        (
            fixed("{spiffeID: 'spiffe://demo.local/A B'}"),
            "rules.yaml:4: \"spiffe://demo.local/A B\": the character at byte 21",
        ),
        (fixed(&format!("{{{good}, selectors: unix}}")), "a list is wanted here"),
        ("apiVersion: v1\nkind: Pod\n".to_owned(), "rules.yaml:1: apiVersion \"v1\" is not"),
        ("kind: [".to_owned(), "not YAML"),
        ("a: &x 1\nb: *x\n".to_owned(), "rules.yaml:2: aliases are not read here"),
        ("[".repeat(100_000), "nested deeper than"),
    ] {
        let found = problems(&text);
        assert!(found.iter().any(|one| one.contains(want)), "{want}\n{found:#?}");
    }
}

#[test]
fn what_is_written_for_clusters_is_read() {
    let text = rule("a", BY_ACCOUNT).replace("  name: a\n", "  name: a\n  labels: {x: y}\n");
    assert_eq!(problems(&text), Vec::<String>::new());
    let twice = Declared {
        workloads: Some(("w.yaml".to_owned(), "- name: a\n- name: a\n".to_owned())),
        ..Declared::default()
    };
    let Err(Problems(found)) = twice.entries(&settings()) else { panic!("they are the same") };
    assert_eq!(found[0].to_string(), "w.yaml:2: workload \"a\" stands at line 1, too");
}

/// What reading takes of a processor, in nanoseconds: other programs are not counted.
fn cost(declared: &Declared) -> u64 {
    let spent = || -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    let before = spent();
    let _ = declared.entries(&settings());
    spent() - before
}

#[test]
fn reading_takes_as_long_as_the_files_are() {
    let texts = |line: &str, count: usize| -> String {
        (0..count).map(|index| line.replace('N', &index.to_string())).collect()
    };
    let keys = |count| Declared {
        rules: vec![("rules.yaml".to_owned(), texts("kN: 1\n", count))],
        workloads: None,
    };
    let workloads = |count| Declared {
        rules: Vec::new(),
        workloads: Some(("workloads.yaml".to_owned(), texts("- name: wN\n", count))),
    };
    for make in [&keys as &dyn Fn(usize) -> Declared, &workloads] {
        let (few, many) = (make(4_000), make(40_000));
        let [few, many] = [few, many].map(|one| (0..3).map(|_| cost(&one)).min().unwrap());
        // Ten times as long, and not a hundred times.
        assert!(many < 30 * few, "{few} ns, {many} ns");
    }
}

#[test]
fn all_files_together_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let text = "#".repeat(LARGEST_FILE as usize);
    let count = LARGEST_IN_ALL / text.len();
    for index in 0..count {
        std::fs::write(directory.path().join(format!("{index:03}.yaml")), &text).unwrap();
    }
    assert_eq!(Declared::read(Some(directory.path()), None).unwrap().rules.len(), count);
    std::fs::write(directory.path().join("last.yaml"), "#").unwrap();
    let told = Declared::read(Some(directory.path()), None).unwrap_err().to_string();
    assert!(told.contains("last.yaml: all files are over 67108864 bytes"), "{told}");
}

#[test]
fn rules_times_workloads_are_bounded() {
    let rules: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            let id = "spiffe://demo.local/NAME/{{ .PodMeta.Name }}".replace("NAME", name);
            rule(name, &format!("spiffeIDTemplate: '{id}'"))
        })
        .into();
    let declared = declared(&rules.concat());
    assert_eq!(declared.entries_within(&settings(), 6).unwrap().len(), 6);
    let told = declared.entries_within(&settings(), 5).unwrap_err().to_string();
    assert!(told.contains("there are more than 5 entries"), "{told}");
}

#[test]
fn a_pipe_among_the_files_is_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().to_owned();
    nix::unistd::mkfifo(&rules.join("pipe.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (sender, told) = std::sync::mpsc::channel();
    // A thread that nobody waits for.
    std::thread::spawn(move || sender.send(Declared::read(Some(&rules), None)));
    let told = told.recv_timeout(std::time::Duration::from_secs(30));
    let told = told.expect("it waits for somebody who writes").unwrap_err().to_string();
    assert!(told.contains("pipe.yaml: it is no file"), "{told}");
}
