//! The same files as the real agent makes of the same configuration, to the byte.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::{Map, Value, json};

use super::world::{Program, World, read};

/// A file of sixty variables, as such files are written.
fn backend() -> String {
    let mut text = String::from("{{- with secret \"kv/data/clipper/backend\" -}}\n");
    for number in 0..56 {
        text.push_str(&format!("VARIABLE_{number}={{{{ .Data.data.variable_{number} }}}}\n"));
    }
    text.push_str(
        "QUOTED={{ .Data.data.odd | printf \"%q\" }}\n\
         UPPER={{ .Data.data.variable_0 | toUpper }}\n\
         NUMBER={{ .Data.data.number }}\n\
         {{ if .Data.data.debug }}DEBUG=1{{ else }}DEBUG=0{{ end }}\n\
         {{- end }}\n",
    );
    text
}

const JSON: &str = r#"{{ with secret "kv/data/clipper/backend" }}{
  "all": {{ .Data.data | toJSON }},
  "pretty": {{ .Data.data.nested | toJSONPretty }},
  "raw": {{ .Data.data.odd | toUnescapedJSON }},
  "list": [{{ range $index, $item := .Data.data.list }}{{ if $index }}, {{ end }}"{{ $item }}"{{ end }}],
  "encoded": "{{ .Data.data.odd | base64Encode }}",
  "version": {{ .Data.metadata.version }}
}{{ end }}
"#;

const INI: &str = r#"# {{ env "UNSET_IN_TESTS" }}
{{- range $name, $value := (secret "kv/data/clipper/ini").Data.data }}
[{{ $name }}]
value = {{ $value }}
{{- end }}
{{- with secret "one/plain" }}
[plain]
user = {{ .Data.user }}
{{- end }}
{{- range secrets "kv/metadata/clipper" }}
; {{ . }}
{{- end }}
"#;

const SHELL: &str = r#"#!/bin/sh
{{ define "export" }}export {{ . }}{{ end -}}
{{ with secret "kv/data/clipper/backend?version=1" -}}
{{ template "export" (printf "FIRST=%s" .Data.data.variable_1) }}
{{ scratch.Set "name" .Data.data.variable_2 }}export SECOND={{ scratch.Get "name" }}
export LENGTH={{ len .Data.data.odd }} SPLIT={{ "a,b" | split "," | join ":" }}
{{- end }}
"#;

fn secret() -> Value {
    let mut data = Map::new();
    for number in 0..56 {
        data.insert(format!("variable_{number}"), format!("value {number} = ok").into());
    }
    data.insert("odd".into(), "<a href=\"x\">$HOME `id` 'q' \\ ü & 1\n2</a>".into());
    data.insert("number".into(), json!(12_345_678));
    data.insert("debug".into(), json!(true));
    data.insert("list".into(), json!(["one", "two", "three"]));
    data.insert("nested".into(), json!({ "b": [1, 2.5, null], "a": { "c": false } }));
    Value::Object(data)
}

const FILES: [&str; 5] = ["backend.env", "config.json", "app.ini", "run.sh", "inline"];

fn config(name: &str) -> String {
    let mut config = String::from("exit_after_auth = true\n");
    for (file, perms) in FILES.iter().zip(["0640", "0600", "0644", "0750"]) {
        config.push_str(&format!(
            r#"
            template {{
              source      = "FOLDER/{file}.ctmpl"
              destination = "FOLDER/{name}/deep/{file}"
              perms       = "{perms}"
            }}
            "#
        ));
    }
    config.push_str(&format!(
        r#"
        template {{
          contents        = "[[ with secret \"kv/data/clipper/ini\" ]]A={{{{[[ .Data.data.alpha ]]}}}}[[ end ]]"
          left_delimiter  = "[["
          right_delimiter = "]]"
          destination     = "FOLDER/{name}/deep/inline"
        }}
        "#
    ));
    config
}

async fn compare(world: World) {
    world.put("clipper/backend", secret()).await;
    world.put("clipper/ini", json!({ "alpha": "1", "beta": "two words" })).await;
    world.root.write("one/plain", &json!({ "user": "app" })).await.unwrap();
    for (file, text) in FILES.iter().zip([&backend(), JSON, INI, SHELL]) {
        fs::write(world.path(&format!("{file}.ctmpl")), text).unwrap();
    }
    for (name, program) in [("theirs", Program::Bao), ("ours", Program::Ours)] {
        let mut agent = world.agent(program, name, &config(name));
        let code = agent.ended().await;
        assert_eq!(code, 0, "{name}: {}", agent.log());
    }
    for file in FILES {
        let at = |name: &str| world.path(&format!("{name}/deep/{file}"));
        let (ours, theirs) = (read(&at("ours")), read(&at("theirs")));
        assert!(!theirs.is_empty());
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(show(&ours), show(&theirs), "{file}");
        let mode = |name| fs::metadata(at(name)).unwrap().mode() & 0o7777;
        // The one difference: where no mode is written, nobody else may read it.
        let want = if file == "inline" { 0o600 } else { mode("theirs") };
        assert_eq!(mode("ours"), want, "{file}");
    }
    for name in ["ours", "theirs"] {
        assert!(!world.text(&format!("{name}/token")).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn files_are_the_real_agents_on_our_server() {
    compare(World::ours().await).await;
}

#[tokio::test]
async fn files_are_the_real_agents_on_the_real_server() {
    compare(World::bao().await).await;
}
