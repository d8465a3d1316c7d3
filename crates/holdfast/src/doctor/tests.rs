//! Each rule, with files that it is about and files that it leaves alone.

use std::fs;

use miette::{GraphicalReportHandler, GraphicalTheme};
use tempfile::TempDir;

use super::*;

/// An agent that is fine, but for what a case puts into its template.
const AGENT: &str = r#"auto_auth {
  method "approle" {
    config = { role_id_file_path = "/run/app/role", secret_id_file_path = "/run/app/secret" }
  }
}
"#;

/// A platform around an agent: `backend` may read what is below `kv/data/app/`.
const PLATFORM: &str = r#"
--- holdfast.toml
--- vault/sys/mounts/kv.json
{ "type": "kv", "options": { "version": "2" } }
--- vault/sys/mounts/database.json
{ "type": "database" }
--- policies/backend.hcl
path "kv/data/app/*" { capabilities = ["read"] }
--- vault/auth/approle/role/backend.json
{ "token_policies": ["backend"], "token_period": "1h" }
"#;

fn agent(block: &str) -> String {
    format!(
        "--- agents/backend.hcl\n{AGENT}template {{\n  error_on_missing_key = true\n{block}\n}}\n"
    )
}

fn contents(template: &str) -> String {
    agent(&format!("  destination = \"/run/app/file\"\n  contents = <<END\n{template}\nEND"))
}

/// Runs over files of a fresh folder, written `--- path` and what is in it.
fn run(files: &str, arguments: impl FnOnce(&TempDir) -> Doctor) -> anyhow::Result<Diagnosis> {
    let folder = tempfile::tempdir().unwrap();
    for file in files.split("--- ").skip(1) {
        let (name, text) = file.split_once('\n').unwrap();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut diagnosis = arguments(&folder).look()?;
    let prefix = format!("{}/", folder.path().display());
    for finding in &mut diagnosis.findings {
        let path = finding.file.path.strip_prefix(folder.path()).unwrap().to_owned();
        finding.file.path = path;
        finding.message = finding.message.replace(&prefix, "");
        finding.fix = finding.fix.replace(&prefix, "");
    }
    for left in &mut diagnosis.left_out {
        *left = left.replace(&prefix, "");
    }
    Ok(diagnosis)
}

fn doctor(folder: &TempDir) -> Doctor {
    Doctor {
        paths: vec![folder.path().to_owned()],
        policy: Vec::new(),
        role: None,
        allow: Vec::new(),
        output: Output::Table,
    }
}

/// What people see, without colours.
fn shown(diagnosis: &Diagnosis) -> String {
    let theme = GraphicalTheme::unicode_nocolor();
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
    let mut text = String::new();
    for finding in &diagnosis.findings {
        handler.render_report(&mut text, finding.report().as_ref()).unwrap();
        text.push('\n');
    }
    text.push_str(&diagnosis.summary());
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A rule, what trips it, and what does not.
struct Row {
    rule: &'static str,
    bad: String,
    good: String,
}

fn rows() -> Vec<Row> {
    let row = |rule, bad: &str, good: &str| Row {
        rule,
        bad: format!("{PLATFORM}{bad}"),
        good: format!("{PLATFORM}{good}"),
    };
    let fine = contents("{{ with secret \"kv/app/db\" }}{{ .Data.data.password }}{{ end }}");
    let perms = |mode: &str, text: &str| {
        agent(&format!(
            "  destination = \"/run/app/file\"\n  perms = {mode}\n  contents = \"{text}\""
        ))
    };
    let reads = r#"{{ with secret \"kv/app/db\" }}{{ .Data.data.password }}{{ end }}"#;
    let shell = |value: &str| {
        agent(&format!(
            "  destination = \"/run/app/backend.env\"\n  contents = <<END\n\
             {{{{ with secret \"kv/app/db\" }}}}# {{{{ .Data.metadata.version }}}}\n\
             USER={{{{ .Data.data.user | shquote }}}}\nPASSWORD={value}\n{{{{ end }}}}\nEND"
        ))
    };
    let role = |fields: &str| {
        format!(
            "--- vault/auth/approle/role/backend.json\n{{\n  \"token_policies\": [\"backend\"],\n  \
             {fields}\n}}\n{fine}"
        )
    };
    let lax = |text: &str| {
        format!(
            "--- agents/backend.hcl\n{AGENT}template {{\n  destination = \"/run/app/file\"\n  \
             source = \"file.ctmpl\"\n}}\n--- agents/file.ctmpl\n{text}\n"
        )
    };
    let rotated = |custom: &str, template: &str| {
        format!(
            "--- vault/kv/metadata/app/db.json\n{{\n  \"custom_metadata\": {{\n    {custom}\n  }}\n}}\n{}",
            contents(template)
        )
    };
    let both = "{{ with secret \"kv/app/db\" }}{{ .Data.data.username }}:{{ .Data.data.password }}{{ end }}";
    vec![
        row(
            rules::CONFIG,
            &agent("  destnation = \"/run/app/file\"\n  contents = \"x\""),
            &agent("  destination = \"/run/app/file\"\n  contents = \"x\""),
        ),
        row(rules::TEMPLATE, &contents("first\n  {{ if }}"), &contents("{{ if true }}{{ end }}")),
        row(
            rules::DENIED,
            &contents(
                "{{ with secret \"kv/billing/db\" }}{{ .Data.data.password }}{{ end }}\n\
                 {{ range secrets \"kv/data/app\" }}{{ . }}{{ end }}\n\
                 {{ with secret \"database/creds/app\" }}{{ .Data.password }}{{ end }}",
            ),
            &contents(
                "{{ with secret \"kv/app/db\" }}{{ .Data.data.password }}{{ end }}\n\
                 {{ with secret \"kv/data/app/db?version=2\" }}{{ .Data.data.password }}{{ end }}\n\
                 {{ with secret (printf \"kv/%s\" (env \"X\")) }}{{ .Data.data.password }}{{ end }}",
            ),
        ),
        row(
            rules::SECRET_ID,
            &role(r#""token_max_ttl": "4h", "secret_id_ttl": "10m""#),
            &role(r#""token_max_ttl": "4h", "secret_id_ttl": "4h""#),
        ),
        row(
            rules::SHELL,
            &shell("{{ .Data.data.password }}\nURL=pg://{{ .Data.data.url }}/x"),
            &shell("{{ .Data.data.password | shquote }} {{ .Data.data.x | sha256Hex }}"),
        ),
        row(
            rules::MISSING_KEY,
            &lax(
                "{{ with secret \"kv/app/db\" }}{{ .Data.data.user }} {{ .Data.data.pass }}{{ end }}",
            ),
            &lax(
                "{{ with secret \"kv/app/db\" }}{{ if .Data.data.user }}{{ .Data.data.user }}{{ end }}\
                 {{ or .Data.data.x \"-\" }}{{ .Data.metadata.version }}{{ end }}",
            ),
        ),
        row(rules::WIDE_PERMS, &perms("0644", reads), &perms("0640", reads)),
        row(
            rules::ON_DISK,
            &agent(&format!("  destination = \"/etc/app/file\"\n  contents = \"{reads}\"")),
            &agent(&format!("  destination = \"/dev/shm/app/file\"\n  contents = \"{reads}\"")),
        ),
        row(
            rules::ROTATION,
            &rotated(r#""rotate": "value""#, both),
            &rotated(
                r#""rotate": "postgres", "rotate_connection": "postgresql:///app",
    "rotate_single_role": "true""#,
                both,
            ),
        ),
        row(
            rules::UNKNOWN,
            &perms("0644 # holdfast doctor: allow wide-perm", reads),
            &perms("0644 # holdfast doctor: allow wide-perms its group is nobody", reads),
        ),
    ]
}

#[test]
fn each_rule_finds_what_it_is_about_and_nothing_else() {
    for Row { rule, bad, good } in rows() {
        let found = run(&bad, doctor).unwrap();
        assert!(found.findings.iter().any(|finding| finding.rule == rule), "{rule}: nothing found");
        let placed = found.findings.iter().all(|finding| finding.at.is_some());
        assert!(placed, "{rule}: a finding has no place");
        insta::assert_snapshot!(rule, shown(&found));
        let clean = run(&good, doctor).unwrap();
        assert!(clean.findings.is_empty(), "{rule}: {}", shown(&clean));
    }
}

#[test]
fn each_rule_is_silenced_by_a_comment_or_by_name() {
    for Row { rule, bad, .. } in rows() {
        let by_name = run(&bad, |folder| Doctor { allow: vec![rule.to_owned()], ..doctor(folder) });
        let left = by_name.unwrap().findings;
        assert!(!left.iter().any(|finding| finding.rule == rule), "{rule}");
        // Where JSON is wrong no comment can stand.
        if [rules::SECRET_ID, rules::ROTATION, rules::UNKNOWN].contains(&rule) {
            continue;
        }
        let comment = format!("# holdfast doctor: allow-file {rule}\n");
        let mut silenced =
            bad.replace("agents/backend.hcl\n", &format!("agents/backend.hcl\n{comment}"));
        silenced = silenced.replace("file.ctmpl\n{{", &format!("file.ctmpl\n{comment}{{{{"));
        let left = run(&silenced, doctor).unwrap().findings;
        assert!(!left.iter().any(|finding| finding.rule == rule), "{rule}");
    }
}

#[test]
fn every_rule_is_on_the_page() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/doctor.md");
    let page = fs::read_to_string(page).unwrap();
    for rule in rules::ALL {
        assert!(page.contains(&format!("`{rule}`")), "{rule}");
    }
}

#[test]
fn a_database_role_without_its_database_is_found() {
    let files = format!(
        "{PLATFORM}--- vault/database/static-roles/app.json\n{{ \"db_name\": \"appdb\", \"username\": \"app\" }}\n"
    );
    let found = run(&files, doctor).unwrap();
    insta::assert_snapshot!("static-role", shown(&found));
    let with =
        format!("{files}--- vault/database/config/appdb.json\n{{ \"plugin_name\": \"x\" }}\n");
    assert!(run(&with, doctor).unwrap().findings.is_empty());
}

#[test]
fn quoting_that_a_shell_undoes_is_named() {
    let file = "--- deploy/backend.env.ctmpl\nA={{ with secret \"kv/app\" }}{{ printf \"%q\" .Data.data.a }}{{ end }}\n";
    insta::assert_snapshot!("shell-quoting-q", shown(&run(file, doctor).unwrap()));
}

#[test]
fn policies_can_be_given_and_roles_be_named() {
    let files = format!(
        "--- web.hcl\npath \"kv/data/web/{{{{identity.entity.name}}}}/*\" {{ capabilities = [\"read\"] }}\n{}",
        contents(
            "{{ secret \"kv/web/a/b\" }}{{ secret \"kv/web/c\" }}{{ pkiCert \"pki/issue/web\" \"ttl=1h\" }}"
        )
    );
    let unknown = run(&files, doctor).unwrap();
    assert_eq!(unknown.findings.len(), 0, "{}", shown(&unknown));
    assert_eq!(unknown.left_out.len(), 1);
    let given = run(&files, |folder| Doctor {
        policy: vec![folder.path().join("web.hcl")],
        ..doctor(folder)
    });
    insta::assert_snapshot!("given-policy", shown(&given.unwrap()));
    let two = format!(
        "{PLATFORM}--- vault/auth/approle/role/other.json\n{{ \"token_policies\": [\"backend\"], \"token_period\": \"1h\" }}\n{}",
        contents("{{ with secret \"kv/billing\" }}{{ end }}").replace("backend.hcl", "own.hcl")
    );
    assert_eq!(run(&two, doctor).unwrap().left_out.len(), 1);
    let named =
        run(&two, |folder| Doctor { role: Some("other".into()), ..doctor(folder) }).unwrap();
    assert_eq!((named.findings.len(), named.left_out.len()), (1, 0));
    let commented = two.replace("auto_auth {", "# holdfast doctor: role other\nauto_auth {");
    assert_eq!(run(&commented, doctor).unwrap().findings.len(), 1);
}

#[test]
fn services_of_a_platform_are_held_to_the_policies_of_each() {
    let files = |template: &str, variable: &str| {
        format!(
            "--- holdfast.toml\n[services.web]\ncommand = [\"web\"]\n\
             templates = [\"templates/web.json.ctmpl\"]\npolicies = [\"web\", \"shared\"]\n\
             [services.worker]\ncommand = [\"worker\"]\n\
             secret_environment.KEY = \"templates/key.ctmpl\"\n\
             --- vault/sys/mounts/kv.json\n{{ \"type\": \"kv\", \"options\": {{ \"version\": \"2\" }} }}\n\
             --- policies/web.hcl\npath \"kv/data/web/*\" {{ capabilities = [\"read\"] }}\n\
             --- policies/shared.hcl\npath \"kv/data/shared\" {{ capabilities = [\"read\"] }}\n\
             --- policies/worker.hcl\npath \"kv/data/worker\" {{ capabilities = [\"read\"] }}\n\
             --- templates/web.json.ctmpl\n{template}\n\
             --- templates/key.ctmpl\n{variable}\n"
        )
    };
    let reads =
        |path: &str| format!("{{{{ with secret \"{path}\" }}}}{{{{ .Data.data.a }}}}{{{{ end }}}}");
    let fine =
        files(&format!("{}{}", reads("kv/web/db"), reads("kv/data/shared")), &reads("kv/worker"));
    let clean = run(&fine, doctor).unwrap();
    assert!(clean.findings.is_empty() && clean.left_out.is_empty(), "{}", shown(&clean));
    assert!(shown(&clean).contains("2 services, 2 templates, 3 policies"), "{}", shown(&clean));

    // What another service may, this one may not; and what is no template is said to be none.
    let bad = files(&format!("{}{}", reads("kv/web/db"), reads("kv/worker")), "{{ if }}");
    let found = run(&bad, doctor).unwrap();
    let told: Vec<_> = found
        .findings
        .iter()
        .map(|one| (one.rule, one.file.path.display().to_string(), one.message.clone()))
        .collect();
    let [broken, denied] = &told[..] else { panic!("{told:?}") };
    assert_eq!((denied.0, &*denied.1), (rules::DENIED, "templates/web.json.ctmpl"));
    assert!(denied.2.contains("may not read kv/data/worker: no rule covers it"), "{denied:?}");
    let fix = &found.findings[1].fix;
    assert!(fix.contains("path \"kv/data/worker\"") && fix.contains("\"read\""), "{fix}");
    assert_eq!((broken.0, &*broken.1), (rules::TEMPLATE, "templates/key.ctmpl"));

    // What is wrong with the service itself.
    let missing = fine.replace("--- policies/worker.hcl", "--- policies/unused.hcl");
    let found = run(&missing, doctor).unwrap();
    let config: Vec<_> = found.findings.iter().filter(|one| one.rule == rules::CONFIG).collect();
    let [config] = &config[..] else { panic!("{}", shown(&found)) };
    assert!(config.message.contains("there is no policies/worker.hcl"), "{}", config.message);
}

#[test]
fn where_there_is_nothing_to_look_at_it_says_so() {
    for (files, want) in [
        ("--- readme.txt\nx", "there is no agent's configuration"),
        ("--- holdfast.toml\n--- vault/x.json\nno json", "no JSON"),
    ] {
        let error = run(files, doctor).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(error.contains(want), "{error}");
    }
    let wrong =
        run("--- a.ctmpl\nx", |folder| Doctor { allow: vec!["on-disc".into()], ..doctor(folder) });
    let error = wrong.err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("there is no rule \"on-disc\"; did you mean on-disk?"));
}
