//! `GET /openapi.json`: the API document, OpenAPI 3.1, made of what the endpoints tell of themselves.
//!
//! The schemas come from the types that are read and written, by schemars. A test holds the document
//! against the table of routes; the tests of the product hold every answer against the document.

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
pub(crate) mod values;

pub(crate) use answer::Answer;
pub(crate) use operation::{Operation, Takes};
use operation::{Schemas, Tag};

const ABOUT: &str = "Wasmill runs each task as a fresh, sandboxed instance of a WebAssembly plugin. \
    Every error is `application/problem+json` (RFC 9457) with a stable `code`. \
    A query parameter that is not documented, one that is given twice without being a list, and a body where none \
    is documented are refused with 422. `Idempotency-Key` is heeded where tasks are made, and has no effect \
    elsewhere: what the other operations do is the same when it is done twice. \
    Answers may gain keys; what is there keeps its type and meaning.";

/// Tells of every method of every route in the table of `app.rs`.
fn operations() -> Vec<Operation> {
    let mut operations = vec![
        submit::about(),
        batch::about(),
        retry::about(),
        retry_many::about(),
        list::about(),
        cancel_many::about(),
        task::about(),
        cancel::about_remove(),
        status::about(),
        input::about(),
        result::about(),
        logs::about(),
        events::about_of_task(),
        events::about_of_all(),
        cancel::about_cancel(),
        webhook::about_webhook(),
        webhook::about_redeliver(),
        plugins::about_list(),
        plugins::about_plugin(),
        upload::about_put(),
        upload::about_delete(),
        drain::about(),
        index::about(),
        stats::about(),
        metrics::about(),
        health::about_healthz(),
        health::about_readyz(),
        about(),
        docs::about(),
        docs::about_viewer(),
    ];
    operations.extend(pause::about());
    operations.extend(schedules::about());
    operations
}

pub(crate) fn about() -> Operation {
    Operation::get("/openapi.json", "getApiDocument", "This document")
        .answers(200, Answer::any_json("OpenAPI 3.1."))
}

/// Answers with the document, which is the same as long as the process lives.
pub(crate) async fn openapi() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str())
}

/// What a request may bring to each operation, by path and method.
pub(crate) type TakesByPath = HashMap<&'static str, HashMap<&'static str, Takes>>;

/// Returns what a request may bring to each operation.
pub(crate) fn takes() -> TakesByPath {
    let mut all = TakesByPath::new();
    for operation in operations() {
        all.entry(operation.path).or_default().insert(operation.method, operation.takes());
    }
    all
}

/// Makes the document.
fn document() -> Value {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut schemas = Schemas {
        requests: SchemaGenerator::new(settings()),
        answers: SchemaGenerator::new(settings().for_serialize()),
    };
    let mut paths = Map::new();
    for operation in operations() {
        let (method, path) = (operation.method, operation.path);
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = operation.document(&mut schemas);
    }
    let webhooks = webhook::about_told(&mut schemas);
    let mut components = schemas.requests.take_definitions(true);
    components.extend(schemas.answers.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wasmill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "tags": Tag::ALL.map(|(tag, about)| json!({"name": tag.as_str(), "description": about})),
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
    fn the_document_tells_of_every_route_and_of_no_other() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let told: BTreeSet<_> = paths
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
        let untold: Vec<_> = served.difference(&told).collect();
        assert!(untold.is_empty(), "add to operations() in openapi.rs: {untold:?}");
        let unserved: Vec<_> = told.difference(&served).collect();
        assert!(unserved.is_empty(), "in operations() of openapi.rs, but no route: {unserved:?}");
        assert_eq!(told.len(), operations().len(), "no operation is told of twice");
    }

    #[test]
    fn the_ids_of_operations_and_the_names_of_schemas_are_unique() {
        let document = document();
        let ids: BTreeSet<_> = document["paths"]
            .as_object()
            .expect("paths")
            .values()
            .flat_map(|methods| methods.as_object().expect("methods").values())
            .map(|operation| operation["operationId"].as_str().expect("an id"))
            .collect();
        assert_eq!(ids.len(), operations().len());
        // schemars numbers a second type of the same name.
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        let numbered: Vec<_> = schemas.keys().filter(|name| name.ends_with(char::is_numeric)).collect();
        assert!(numbered.is_empty(), "rename one of them: {numbered:?}");
    }
}
