//! `sys/internal/specs/openapi`: this API as an `OpenAPI` 3 document, made from the tables of routes.
//!
//! It holds the mounts that the caller can reach, as `sys/internal/ui/mounts` does.

use holdfast_logical::{Field, FieldKind, Operation, Route, SpecialPaths};
use serde_json::{Map, Value, json};

use crate::front::VERSION;
use crate::mounts::is_among;

/// A mount as the document shows it.
pub(crate) struct Described<'a> {
    /// Where it is, such as `kv/`; empty for the help of a path, which is relative.
    pub prefix: &'a str,
    /// `system`, `secrets` or `auth`.
    pub tag: &'a str,
    pub routes: &'a [Route],
    pub special: &'a SpecialPaths,
    /// Whether a parameter stands for the mount's own name.
    pub generic: bool,
}

/// The document of these mounts.
pub(crate) fn document<'a>(mounts: impl Iterator<Item = Described<'a>>) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for mount in mounts {
        for route in mount.routes {
            let item = path_item(&mount, route, &mut schemas);
            paths.insert(mount.path(route), Value::Object(item));
        }
    }
    json!({
        "openapi": "3.0.2",
        "info": {
            "title": "Holdfast secrets server API",
            "description": "All routes begin with `/v1/`.",
            "version": VERSION,
        },
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

impl Described<'_> {
    fn path(&self, route: &Route) -> String {
        let prefix = match self.generic_name() {
            Some((before, name)) => format!("{before}{{{name}}}/"),
            None => self.prefix.to_owned(),
        };
        format!("/{prefix}{}", route.pattern.replace("*}", "}"))
    }

    /// What stands before the mount's own name, and the parameter in its place.
    fn generic_name(&self) -> Option<(&str, String)> {
        if !self.generic {
            return None;
        }
        let (before, name) = match self.prefix.strip_prefix("auth/") {
            Some(name) => ("auth/", name),
            None => ("", self.prefix),
        };
        Some((before, format!("{}_mount_path", name.trim_end_matches('/').replace('/', "_"))))
    }

    /// Names an operation: unique, made of letters, digits and hyphens.
    fn operation_id(&self, route: &Route, verb: &str) -> String {
        let text = format!("{}{verb}/{}", self.prefix, route.pattern);
        let is_word = |c: char| c.is_ascii_alphanumeric();
        let words = text.split(|c| !is_word(c)).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-").to_lowercase()
    }
}

fn path_item(
    mount: &Described<'_>,
    route: &Route,
    schemas: &mut Map<String, Value>,
) -> Map<String, Value> {
    let mut item = Map::new();
    item.insert("description".to_owned(), json!(route.help));
    let mut parameters: Vec<Value> = route.parameters().map(|name| in_path(route, name)).collect();
    if let Some((_, name)) = mount.generic_name() {
        let own = mount.prefix.trim_start_matches("auth/").trim_end_matches('/');
        parameters.push(json!({
            "name": name,
            "description": "Where it is mounted.",
            "in": "path",
            "schema": { "type": "string", "default": own },
            "required": true,
        }));
    }
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    let sample = route.sample();
    for (flag, is_set) in [
        ("x-vault-sudo", is_among(&mount.special.sudo, &sample)),
        ("x-vault-unauthenticated", is_among(&mount.special.unauthenticated, &sample)),
        ("x-vault-createSupported", route.operations.contains(&Operation::Create)),
    ] {
        if is_set {
            item.insert(flag.to_owned(), true.into());
        }
    }
    let has = |operation| route.operations.contains(&operation);
    if has(Operation::Read) || has(Operation::List) || has(Operation::Scan) {
        item.insert("get".to_owned(), get(mount, route));
    }
    if has(Operation::Update) || has(Operation::Create) {
        item.insert("post".to_owned(), with_body(mount, route, "write", schemas));
    }
    if has(Operation::Patch) {
        item.insert("patch".to_owned(), with_body(mount, route, "patch", schemas));
    }
    if has(Operation::Delete) {
        let mut delete = operation(mount, route, "delete");
        delete["responses"] = json!({ "204": { "description": "empty body" } });
        item.insert("delete".to_owned(), delete);
    }
    item
}

fn operation(mount: &Described<'_>, route: &Route, verb: &str) -> Value {
    json!({
        "summary": route.help,
        "operationId": mount.operation_id(route, verb),
        "tags": [mount.tag],
        "responses": { "200": { "description": "OK" } },
    })
}

/// `GET` reads, and lists with `?list=true`.
fn get(mount: &Described<'_>, route: &Route) -> Value {
    let reads = route.operations.contains(&Operation::Read);
    let mut get = operation(mount, route, if reads { "read" } else { "list" });
    let mut query: Vec<Value> = Vec::new();
    for (name, listing) in [("list", Operation::List), ("scan", Operation::Scan)] {
        if !route.operations.contains(&listing) {
            continue;
        }
        // The one thing that can be asked for has to be asked for.
        query.push(if !reads && name == "list" {
            json!({
                "name": name,
                "description": "Must be `true`",
                "in": "query",
                "schema": { "type": "string", "enum": ["true"] },
                "required": true,
            })
        } else {
            json!({
                "name": name,
                "description": format!("Whether to {name}"),
                "in": "query",
                "schema": { "type": "string" },
            })
        });
    }
    // Where nothing is written, the fields are the query's.
    let writes = [Operation::Update, Operation::Create, Operation::Patch];
    if !writes.iter().any(|operation| route.operations.contains(operation)) {
        let own: Vec<_> = route.parameters().collect();
        let rest = route.fields.iter().filter(|field| !own.contains(&field.name));
        query.extend(rest.map(|field| {
            json!({
                "name": field.name,
                "description": field.help,
                "in": "query",
                "schema": schema(field.kind),
            })
        }));
    }
    if !query.is_empty() {
        get["parameters"] = query.into();
    }
    get
}

fn with_body(
    mount: &Described<'_>,
    route: &Route,
    verb: &str,
    schemas: &mut Map<String, Value>,
) -> Value {
    let mut write = operation(mount, route, verb);
    let own: Vec<_> = route.parameters().collect();
    let fields: Vec<&Field> =
        route.fields.iter().filter(|field| !own.contains(&field.name)).collect();
    if fields.is_empty() {
        return write;
    }
    let mut properties = Map::new();
    for field in &fields {
        let mut property = schema(field.kind);
        property["description"] = field.help.into();
        properties.insert(field.name.to_owned(), property);
    }
    let mut body = json!({ "type": "object", "properties": properties });
    let required: Vec<_> =
        fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    if !required.is_empty() && verb == "write" {
        body["required"] = required.into();
    }
    let name = format!("{}Request", camel_case(&mount.operation_id(route, verb)));
    write["requestBody"] = json!({
        "required": true,
        "content": {
            "application/json": {
                "schema": { "$ref": format!("#/components/schemas/{name}") },
            },
        },
    });
    schemas.insert(name, body);
    write
}

fn in_path(route: &Route, name: &str) -> Value {
    let help = route.fields.iter().find(|field| field.name == name).map_or("", |field| field.help);
    json!({
        "name": name,
        "description": help,
        "in": "path",
        "schema": { "type": "string" },
        "required": true,
    })
}

fn schema(kind: FieldKind) -> Value {
    match kind {
        FieldKind::String => json!({ "type": "string" }),
        FieldKind::Bool => json!({ "type": "boolean" }),
        FieldKind::Integer => json!({ "type": "integer" }),
        FieldKind::Duration => json!({ "type": "integer", "format": "seconds" }),
        FieldKind::Strings => json!({ "type": "array", "items": { "type": "string" } }),
        FieldKind::StringMap => json!({ "type": "object", "format": "kvpairs" }),
        FieldKind::Object => json!({ "type": "object", "format": "map" }),
    }
}

fn camel_case(words: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    words.split('-').filter_map(capital).collect()
}
