//! The OpenAPI 3.1 document as a whole.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use wasmill_access::Scope;

use super::operation::{Operation, Tag};
use super::schemas::Schemas;
use crate::problem::kind;

const DESCRIPTION: &str = "Wasmill runs each task as a fresh, sandboxed instance of a WebAssembly plugin. \
    Every error is `application/problem+json` (RFC 9457) with a stable `code`. \
    Undocumented query parameters, repeated parameters that are not lists, and undocumented bodies are refused with 422. Operations that create tasks support `Idempotency-Key`; the other operations are idempotent and ignore it. Responses may gain keys; existing keys keep their type and meaning.";

const KEY_DESCRIPTION: &str = "A key of `wasmill key create`, unless the server is open. An operation lists the \
    scopes that its key needs; with two lists, `submit` suffices for tasks that the same key submitted. `x-reach` says what an operation \
    does for a key with a reach: a `task` or a `plugin` outside is unknown, it stays `within`, or it is `refused`.";

/// Builds the document; `callbacks` documents the requests that the server sends.
pub(crate) fn document(operations: Vec<Operation>, callbacks: fn(&mut Schemas) -> Value) -> Value {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut schemas = Schemas {
        requests: SchemaGenerator::new(settings()),
        responses: SchemaGenerator::new(settings().for_serialize()),
    };
    let mut paths = Map::new();
    for operation in operations {
        // The rest of a path, in the words of the router.
        let (method, path) = (operation.method, operation.path.replace("{*", "{"));
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = operation.document(&mut schemas);
    }
    let webhooks = callbacks(&mut schemas);
    let mut components = schemas.requests.take_definitions(true);
    components.extend(schemas.responses.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wasmill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "tags": Tag::ALL.map(|(tag, description)| json!({"name": tag.as_str(), "description": description})),
        "paths": paths,
        "webhooks": webhooks,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": KEY_DESCRIPTION}},
        },
        "x-scopes": Scope::ALL.map(|scope| json!({"scope": scope.as_str(), "may": scope.meaning()})),
        "x-problems": kind::ALL.iter().map(|kind| json!({
            "status": kind.status.as_u16(),
            "code": kind.code,
            "when": kind.when,
            "retry_after": kind.retry_after_secs,
        })).collect::<Vec<_>>(),
    })
}
