//! `GET /openapi.json`: the OpenAPI 3.1 document, built from the specification of each endpoint.
//!
//! schemars derives the schemas from the request and response types. A test compares the document with the
//! route table, and the product tests validate every response against it.

use std::collections::HashMap;
use std::sync::OnceLock;

use axum::http::header;
use axum::response::IntoResponse;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::{
    batch, cancel, cancel_many, docs, drain, events, health, index, input, list, logs, metrics, pause,
    plugins, result, retry, retry_many, schedules, stats, status, submit, task, upload, webhook,
};

pub(crate) mod answer;
pub(crate) mod operation;

pub(crate) use answer::ResponseSpec;
pub(crate) use operation::{Operation, RequestSpec};
use operation::{Schemas, Tag};

const DESCRIPTION: &str = "Wasmill runs each task as a fresh, sandboxed instance of a WebAssembly plugin. \
    Every error is `application/problem+json` (RFC 9457) with a stable `code`. \
    Undocumented query parameters, repeated parameters that are not lists, and undocumented bodies are refused with 422. Operations that create tasks support `Idempotency-Key`; the other operations are idempotent and ignore it. Responses may gain keys; existing keys keep their type and meaning.";

/// The specification of every operation in the route table of `app.rs`.
fn operations() -> Vec<Operation> {
    let mut operations = vec![
        submit::spec(),
        batch::spec(),
        retry::spec(),
        retry_many::spec(),
        list::spec(),
        cancel_many::spec(),
        task::spec(),
        cancel::remove_spec(),
        status::spec(),
        input::spec(),
        result::spec(),
        logs::spec(),
        events::task_events_spec(),
        events::all_events_spec(),
        cancel::cancel_spec(),
        webhook::webhook_spec(),
        webhook::redeliver_spec(),
        plugins::list_spec(),
        plugins::plugin_spec(),
        upload::put_spec(),
        upload::delete_spec(),
        drain::spec(),
        index::spec(),
        stats::spec(),
        metrics::spec(),
        health::healthz_spec(),
        health::readyz_spec(),
        spec(),
        docs::spec(),
        docs::viewer_spec(),
    ];
    operations.extend(pause::spec());
    operations.extend(schedules::spec());
    operations
}

pub(crate) fn spec() -> Operation {
    Operation::get("/openapi.json", "getApiDocument", "Get this document")
        .responds(200, ResponseSpec::any_json("The OpenAPI 3.1 document."))
}

/// Serves the document, which is built once per process.
pub(crate) async fn openapi() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str())
}

/// What each operation accepts, by path and method.
pub(crate) type RequestSpecs = HashMap<&'static str, HashMap<&'static str, RequestSpec>>;

/// Returns what each operation accepts.
pub(crate) fn request_specs() -> RequestSpecs {
    let mut all = RequestSpecs::new();
    for operation in operations() {
        all.entry(operation.path).or_default().insert(operation.method, operation.request_spec());
    }
    all
}

/// Builds the document.
fn document() -> Value {
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
    for operation in operations() {
        let (method, path) = (operation.method, operation.path);
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = operation.document(&mut schemas);
    }
    let webhooks = webhook::callback_spec(&mut schemas);
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
        "components": {"schemas": components},
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::app;

    #[test]
    fn the_document_covers_exactly_the_routes() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let documented: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, methods)| {
                methods
                    .as_object()
                    .expect("methods")
                    .keys()
                    .map(move |method| (method.as_str(), path.as_str()))
            })
            .collect();
        let routes = app::routes();
        let served: BTreeSet<_> = routes.known().iter().copied().collect();
        let undocumented: Vec<_> = served.difference(&documented).collect();
        assert!(undocumented.is_empty(), "missing in operations() of openapi.rs: {undocumented:?}");
        let unserved: Vec<_> = documented.difference(&served).collect();
        assert!(unserved.is_empty(), "in operations() of openapi.rs, but no route: {unserved:?}");
        assert_eq!(documented.len(), operations().len(), "each operation is documented once");
    }

    #[test]
    fn operation_ids_and_schema_names_are_unique() {
        let document = document();
        let ids: BTreeSet<_> = document["paths"]
            .as_object()
            .expect("paths")
            .values()
            .flat_map(|methods| methods.as_object().expect("methods").values())
            .map(|operation| operation["operationId"].as_str().expect("an id"))
            .collect();
        assert_eq!(ids.len(), operations().len());
        // schemars appends a number to the second type of a name.
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        let numbered: Vec<_> = schemas.keys().filter(|name| name.ends_with(char::is_numeric)).collect();
        assert!(numbered.is_empty(), "rename one of them: {numbered:?}");
    }
}
