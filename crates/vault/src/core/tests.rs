use serde_json::{Value, json};

use crate::testing::Server;
use crate::wire::Verb::{Delete, List, Read, Write};

#[tokio::test]
async fn answers_have_openbaos_shapes() {
    let server = Server::new().await;
    let root = server.root.clone();
    let none = json!({});
    for (verb, path, data, status, body) in [
        (
            Read,
            "nope/x",
            none.clone(),
            404,
            json!({
                "errors": ["no handler for route \"nope/x\". route entry not found."]
            }),
        ),
        (
            Read,
            "fake/nope",
            none.clone(),
            404,
            json!({
                "errors": ["1 error occurred:\n\t* unsupported path\n\n"]
            }),
        ),
        (
            Read,
            "fake/fail",
            none.clone(),
            500,
            json!({
                "errors": ["1 error occurred:\n\t* internal error\n\n"]
            }),
        ),
        (Read, "fake/store/a", none.clone(), 404, json!({ "errors": [] })),
        (List, "auth/token/roles", none.clone(), 404, json!({ "errors": [] })),
        (
            Write,
            "fake/store/",
            none.clone(),
            400,
            json!({
                "errors": ["cannot write to a path ending in '/'"]
            }),
        ),
        (
            Read,
            "fake/../x",
            none.clone(),
            400,
            json!({
                "errors": ["relative paths not supported"]
            }),
        ),
        (Write, "auth/token/roles/r", none.clone(), 204, Value::Null),
        (Delete, "auth/token/roles/r", none.clone(), 204, Value::Null),
        (
            Write,
            "fake/store/a",
            json!({ "x": 1 }),
            200,
            json!({
                "request_id": "request", "lease_id": "", "renewable": false, "lease_duration": 0,
                "data": { "operation": "create" }, "wrap_info": null, "warnings": null, "auth": null
            }),
        ),
        (
            Write,
            "sys/capabilities-self",
            json!({ "path": "a" }),
            200,
            json!({
                "a": ["root"], "capabilities": ["root"],
                "request_id": "request", "lease_id": "", "renewable": false, "lease_duration": 0,
                "data": { "a": ["root"], "capabilities": ["root"] },
                "wrap_info": null, "warnings": null, "auth": null
            }),
        ),
    ] {
        let got = server.call(&root, verb, path, data).await;
        assert_eq!(got, (status, body), "{path}");
    }
}
