//! Which secret each byte of an output came from, and what a rendering asks for.

use holdfast_ctmpl::{
    Answer, Call, ErrorKind, Limits, Need, Options, Output, Purpose, Source, Template, certificate,
    names, secret,
};
use holdfast_types::Timestamp;
use serde_json::json;

/// A server that knows some paths, is asked about others, and has not the rest.
struct Server;

impl Source for Server {
    fn ask(&self, need: &Need) -> Answer {
        match (need, need.path()) {
            (Need::Read { .. }, "secret/data/web") => {
                let response = json!({ "data": {
                    "data": { "user": "web", "password": "hunter2", "port": 5432, "tls": true,
                        "hosts": ["a", "b"], "blob": "/wBB" },
                    "metadata": { "version": 7 },
                }});
                Answer::Known(secret(need.path(), &response))
            }
            (Need::Read { .. }, "database/creds/app") => {
                let response = json!({ "lease_id": "database/creds/app/1", "lease_duration": 60,
                    "renewable": true, "data": { "username": "v-app" } });
                Answer::Known(secret(need.path(), &response))
            }
            (Need::List { path }, _) => {
                Answer::Known(names(path, ["a".to_owned(), "b".to_owned()]))
            }
            (Need::PkiCert { path, .. }, _) => {
                Answer::Known(certificate(path, "01:02", "CERT\n", "KEY\n", &["CA\n".to_owned()]))
            }
            (_, "none") => Answer::Absent,
            (_, "broken") => Answer::Failed("403: permission denied".to_owned()),
            _ => Answer::Pending,
        }
    }

    fn env(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        Ok(format!("contents of {path}").into_bytes())
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_790_000_000).unwrap()
    }
}

fn render(text: &str) -> Output {
    Template::parse("t", text.as_bytes(), &Options::default())
        .and_then(|template| template.render(&Server, &Limits::default()))
        .unwrap()
}

/// The output with the origins of its spans: `[text](path@version#field …)`.
fn marked(output: &Output) -> String {
    let bytes = output.bytes.expose();
    let (mut out, mut last) = (String::new(), 0);
    for span in &output.spans {
        out.push_str(&String::from_utf8_lossy(&bytes[last..span.range.start]));
        let origins: Vec<String> = span
            .origins
            .iter()
            .map(|origin| format!("{}@{}#{}", origin.path, origin.version, origin.field))
            .collect();
        let text = String::from_utf8_lossy(&bytes[span.range.clone()]);
        out.push_str(&format!("[{text}]({})", origins.join(" ")));
        last = span.range.end;
    }
    out.push_str(&String::from_utf8_lossy(&bytes[last..]));
    out
}

#[test]
fn each_byte_knows_where_it_came_from() {
    const WEB: &str = "secret/data/web@7#data.data";
    for (text, want) in [
        ("plain", "plain".to_owned()),
        (
            r#"p={{with secret "secret/data/web"}}{{.Data.data.password}}{{end}};"#,
            format!("p=[hunter2]({WEB}.password);"),
        ),
        (
            r#"{{with secret "secret/data/web"}}{{.Data.data.port}} {{.Data.data.tls}}{{end}}"#,
            format!("[5432]({WEB}.port) [true]({WEB}.tls)"),
        ),
        (
            r#"{{with secret "secret/data/web"}}{{printf "%s:%s" .Data.data.user "x" | toUpper}}{{end}}"#,
            format!("[WEB:X]({WEB}.user)"),
        ),
        (
            r#"{{with secret "secret/data/web"}}{{printf "%s:%s" .Data.data.user .Data.data.password}}{{end}}"#,
            format!("[web:hunter2]({WEB}.password {WEB}.user)"),
        ),
        (
            r#"{{with secret "secret/data/web"}}{{base64Decode .Data.data.blob | len}}{{end}}"#,
            format!("[3]({WEB}.blob)"),
        ),
        (
            r#"{{with secret "secret/data/web"}}{{range .Data.data.hosts}}{{.}},{{end}}{{end}}"#,
            format!("[a]({WEB}.hosts.0),[b]({WEB}.hosts.1),"),
        ),
        (
            r#"{{with secret "secret/data/web"}}{{.Data.data.hosts | toJSON}}{{end}}"#,
            format!("[[\"a\",\"b\"]]({WEB}.hosts {WEB}.hosts.0 {WEB}.hosts.1)"),
        ),
        (
            r#"{{with secret "secret/data/web"}}{{range split "t" .Data.data.password}}{{.}}-{{end}}{{end}}"#,
            format!("[hun]({WEB}.password)-[er2]({WEB}.password)-"),
        ),
        (
            r#"{{with secret "secret/data/web"}}{{scratch.Set "x" .Data.data.user}}{{end}}{{scratch.Get "x"}}"#,
            format!("[web]({WEB}.user)"),
        ),
        (
            r#"{{with secret "secret/data/web"}}{{$d := sprig_dict "k" .Data.data.user}}{{$d.k}}{{end}}"#,
            format!("[web]({WEB}.user)"),
        ),
        (
            r#"{{define "x"}}<{{.}}>{{end}}{{with secret "secret/data/web"}}{{executeTemplate "x" .Data.data.user}}{{end}}"#,
            format!("[<web>]({WEB}.user)"),
        ),
        (
            r#"{{with secret "database/creds/app"}}{{.Data.username}} {{.LeaseDuration}}{{end}}"#,
            "[v-app](database/creds/app@database/creds/app/1#data.username) \
             [60](database/creds/app@database/creds/app/1#lease_duration)"
                .to_owned(),
        ),
        (r#"{{range secrets "kv/"}}{{.}}{{end}}"#, "[ab](kv@#keys)".to_owned()),
        (
            r#"{{with pkiCert "pki/issue/web" "common_name=a"}}{{.Cert}}{{.Key}}{{end}}"#,
            "[CERT\n](pki/issue/web@01:02#certificate)[KEY\n](pki/issue/web@01:02#private_key)"
                .to_owned(),
        ),
        (r#"{{env "HOME"}}{{env "NONE"}}"#, "[/root](env:HOME@#)".to_owned()),
        (r#"{{file "/etc/motd"}}"#, "[contents of /etc/motd](file:/etc/motd@#)".to_owned()),
        (r#"{{timestamp "2006-01-02"}}"#, "2026-09-21".to_owned()),
    ] {
        assert_eq!(marked(&render(text)), want, "{text}");
    }
}

#[test]
fn needs_are_found_in_one_run_and_those_behind_them_in_the_next() {
    let output = render(
        r#"{{with secret "a"}}{{.Data.x}}{{end}}{{with secret "b?version=2"}}{{end}}
        {{with secret "pki/issue/x" "common_name=a" "ttl = 1h"}}{{end}}{{secret "a"}}
        {{with secret "secret/data/web"}}{{secret .Data.data.user}}{{end}}{{secret "none"}}"#,
    );
    assert!(!output.complete);
    let paths: Vec<&str> = output.needs.iter().map(Need::path).collect();
    assert_eq!(paths, ["a", "b", "pki/issue/x", "secret/data/web", "web", "none"]);
    let pending: Vec<&str> = output.pending.iter().map(Need::path).collect();
    assert_eq!(pending, ["a", "b", "pki/issue/x", "web"]);
    let Need::Read { parameters, .. } = &output.needs[1] else { panic!("a read") };
    assert_eq!(parameters["version"], "2");
    let Need::Write { parameters, .. } = &output.needs[2] else { panic!("a write") };
    assert_eq!((parameters["common_name"].as_str(), parameters["ttl"].as_str()), ("a", "1h"));
    assert!(render(r#"{{secret "none"}}"#).complete, "what there is not, is known");
}

#[test]
fn what_is_refused_says_why_and_shows_no_secret() {
    for (text, kind, says) in [
        (r#"{{key "a"}}"#, ErrorKind::Refused, "key needs Consul, which Holdfast does not speak"),
        (r#"{{nomadVar "a"}}"#, ErrorKind::Refused, "needs Nomad"),
        (r#"{{plugin "ls"}}"#, ErrorKind::Refused, "plugin would run a program"),
        (r#"{{sprig_genCA "a" 1}}"#, ErrorKind::Refused, "use pkiCert"),
        (r#"{{secret "broken"}}"#, ErrorKind::Source, "403: permission denied"),
        (
            r#"{{with secret "secret/data/web"}}{{parseInt .Data.data.password}}{{end}}"#,
            ErrorKind::Execution,
            r#"parsing "[redacted]": invalid syntax"#,
        ),
        (
            r#"{{with secret "secret/data/web"}}{{range .Data.data.password}}{{end}}{{end}}"#,
            ErrorKind::Execution,
            "range can't iterate over [redacted]",
        ),
        (
            r#"{{with secret "secret/data/web"}}{{sprig_fail .Data.data.password}}{{end}}"#,
            ErrorKind::Execution,
            "error calling sprig_fail: [redacted]",
        ),
        (
            r#"{{with secret "secret/data/web"}}{{eq .Data.data.hosts .Data.data.hosts}}{{end}}"#,
            ErrorKind::Execution,
            "non-comparable type [redacted]: []interface {}",
        ),
        ("{{shquote \"a\\x00b\"}}", ErrorKind::Execution, "cannot hold NUL"),
        (
            r#"{{with secret "secret/data/web"}}{{sprig_set .Data.data "a" 1}}{{end}}"#,
            ErrorKind::Execution,
            "a map that came from outside cannot be changed",
        ),
    ] {
        let template = Template::parse("t", text.as_bytes(), &Options::default()).unwrap();
        let error = template.render(&Server, &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), kind, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{text}: {error}");
    }
}

#[test]
fn writing_a_file_is_left_to_the_caller() {
    let output = render(
        r#"{{with pkiCert "pki/issue/web"}}{{.Key | writeToFile "/run/key" "app" "" "0600" "append,newline"}}{{end}}"#,
    );
    assert_eq!(output.bytes.expose(), b"");
    let [effect] = output.effects.as_slice() else { panic!("one effect") };
    assert_eq!((effect.path.as_str(), effect.owner.as_str()), ("/run/key", "app"));
    assert_eq!((effect.permissions, effect.append), (0o600, true));
    assert_eq!(effect.content.expose(), b"KEY\n\n");
    assert!(effect.origins.iter().all(|origin| &*origin.field == "private_key"));
}

#[test]
fn a_shell_gets_words_in_which_nothing_is_expanded() {
    for (text, want) in [
        (r#"{{shquote ""}}"#, "''"),
        (r#"{{shquote "a b"}}"#, "'a b'"),
        ("{{shquote `$HOME \"x\" \\`}}", r#"'$HOME "x" \'"#),
        (r#"{{shquote "it's"}}"#, r"'it'\''s'"),
        ("{{shquote \"`id`\\n\"}}", "'`id`\n'"),
    ] {
        assert_eq!(String::from_utf8_lossy(render(text).bytes.expose()), want, "{text}");
    }
}

#[test]
fn calls_are_seen_without_rendering() {
    for (text, want) in [
        (
            r#"{{with secret "a"}}{{.Data.x | printf "%q"}}{{end}}{{(secret "b").Data.y}}"#,
            &["secret: ?, Data.x>printf", "printf:", "secret: Data.y"][..],
        ),
        (
            r#"{{range secrets "c"}}{{.}}{{end}}{{env "X" | toUpper}}"#,
            &["secrets: ?, *", "env: >toUpper", "toUpper:"],
        ),
        (
            r#"{{$s := secret "a"}}{{$s.Data.x}}{{$t := $s.Data.y | toJSON}}{{$t | trimSpace}}"#,
            &["secret: Data.x, Data.y>toJSON>trimSpace", "toJSON:", "trimSpace:"],
        ),
        (
            r#"{{with secret "a"}}{{range $k, $v := .Data}}{{$k}}={{$v}}{{end}}{{.Data.z}}{{end}}"#,
            &["secret: ?, Data?, Data.*, Data.z"],
        ),
        (
            r#"{{with secret "a"}}{{if .Data.x}}{{.Data.x}}{{else}}{{.Data.x}}{{end}}{{end}}"#,
            &["secret: ?, Data.x?, Data.x!, Data.x"],
        ),
        (
            r#"{{with secret "a"}}{{with .Data.x}}{{.}}{{end}}{{index .Data "y-z"}}{{end}}"#,
            &["secret: ?, Data.x?, Data.x!, Data.y-z>index", "index:"],
        ),
        (
            r#"{{with pkiCert "a"}}{{.Key | writeToFile "/k"}}{{scratch.Set "c" .Cert}}{{end}}"#,
            &["pkiCert: ?", "writeToFile:", "scratch:"],
        ),
        (
            r#"{{with secret "a"}}{{printf "%s@%s" .Data.u (or .Data.h "x")}}{{end}}"#,
            &["secret: ?, Data.u>printf, Data.h>or>printf", "printf:", "or:"],
        ),
        (
            r#"{{$x := "a"}}{{with secret "a"}}{{$x = .Data.x}}{{end}}{{$x}}"#,
            &["secret: ?, Data.x"],
        ),
        (r#"{{secret (printf "kv/%s" (env "X"))}}"#, &["secret: ", "printf:", "env:"]),
    ] {
        let template = Template::parse("t", text.as_bytes(), &Options::default()).unwrap();
        let calls: Vec<String> = template.calls().iter().map(show).collect();
        assert_eq!(calls, want, "{text}");
    }
}

/// A call and its uses: `?` for a condition, `!` for what is guarded by one.
fn show(call: &Call) -> String {
    let uses = call.uses.iter().map(|one| {
        let mut text = one.path.clone();
        text.extend(one.through.iter().flat_map(|name| [">", name]));
        text.push_str(if one.purpose == Purpose::Condition { "?" } else { "" });
        text.push_str(if one.guarded { "!" } else { "" });
        text
    });
    let space = if call.uses.is_empty() { "" } else { " " };
    format!("{}:{space}{}", call.function, uses.collect::<Vec<_>>().join(", "))
}
