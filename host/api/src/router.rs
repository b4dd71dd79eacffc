//! The route table, and the layers around it.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::catch_panic::CatchPanicLayer;

use crate::problem_layer;
use crate::routes::Routes;
use crate::state::Api;
use crate::undocumented::{DocumentedRequests, reject_undocumented};
use crate::{
    batch, cancel, cancel_many, docs, document_page, drain, events, health, index, input, list, logs,
    metrics, openapi, pause, plugins, result, retry, retry_many, schedules, stats, status, submit, task,
    trace, upload, webhook,
};

/// All routes, each with its specification and its handler.
fn routes() -> Routes {
    server(plugins_and_schedules(tasks(Routes::new())))
}

fn tasks(routes: Routes) -> Routes {
    routes
        .add(submit::spec(), submit::submit)
        .add(list::spec(), list::list)
        .add(batch::spec(), batch::batch)
        .add(retry_many::spec(), retry_many::retry_many)
        .add(cancel_many::spec(), cancel_many::cancel_many)
        .add(task::spec(), task::task)
        .add(cancel::remove_spec(), cancel::remove)
        .add(status::spec(), status::status)
        .add(result::spec(), result::result)
        .add(input::spec(), input::input)
        .add(logs::spec(), logs::logs)
        .add(events::task_events_spec(), events::task_events)
        .add(webhook::webhook_spec(), webhook::webhook)
        .add(webhook::redeliver_spec(), webhook::redeliver)
        .add(events::all_events_spec(), events::all_events)
        .add(retry::spec(), retry::retry)
        .add(cancel::cancel_spec(), cancel::cancel)
}

fn plugins_and_schedules(routes: Routes) -> Routes {
    routes
        .add(plugins::list_spec(), plugins::list)
        .add(plugins::plugin_spec(), plugins::plugin)
        .add(upload::put_spec(), upload::put)
        .add(upload::delete_spec(), upload::delete)
        .add(pause::pause_plugin_spec(), pause::pause_plugin)
        .add(pause::resume_plugin_spec(), pause::resume_plugin)
        .add(schedules::list_spec(), schedules::list)
        .add(schedules::schedule_spec(), schedules::schedule)
        .add(schedules::put::spec(), schedules::put::put)
        .add(schedules::delete_spec(), schedules::delete)
        .add(schedules::actions::pause_spec(), schedules::actions::pause)
        .add(schedules::actions::resume_spec(), schedules::actions::resume)
        .add(schedules::actions::run_spec(), schedules::actions::run)
}

fn server(routes: Routes) -> Routes {
    routes
        .add(index::spec(), index::index)
        .add(pause::pause_spec(), pause::pause)
        .add(pause::resume_spec(), pause::resume)
        .add(drain::spec(), drain::drain)
        .add(stats::spec(), stats::stats)
        .add(metrics::get::spec(), metrics::get::get)
        .add(health::healthz_spec(), health::healthz)
        .add(health::readyz_spec(), health::readyz)
        .add(document_page::spec(), || async { document_page::openapi(document()) })
        .add(docs::spec(), docs::page)
        .add(docs::viewer_spec(), docs::viewer)
}

/// Returns the OpenAPI document, which is built once per process.
fn document() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| openapi::document(routes().into_operations(), webhook::callback_spec).to_string())
}

/// Builds the router with all its layers.
pub fn router(api: Api) -> Router {
    let routes = routes();
    let documented =
        DocumentedRequests { specs: Arc::new(routes.request_specs()), body: api.config.body.clone() };
    // The header `Allow` cannot be read in the fallback: axum adds it later.
    let allowed_methods = Arc::new(routes.allowed_methods());
    let method_not_allowed = move |request: Request| async move {
        let path = request.extensions().get::<MatchedPath>();
        let allowed = path.and_then(|path| allowed_methods.get(path.as_str()));
        problem_layer::method_not_allowed(&request, allowed.map(String::as_str))
    };
    routes
        .into_router()
        .route_layer(from_fn_with_state(documented, reject_undocumented))
        .fallback(problem_layer::unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(api.tracer.clone(), trace::trace))
        .layer(CatchPanicLayer::custom(problem_layer::panicked))
        .layer(from_fn(problem_layer::finish))
        .layer(from_fn_with_state(api.metrics.clone(), metrics::layer::count))
        .with_state(api)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn operation_ids_and_schema_names_are_unique() {
        let document: Value = serde_json::from_str(document()).expect("JSON");
        let ids: BTreeSet<_> = document["paths"]
            .as_object()
            .expect("paths")
            .values()
            .flat_map(|methods| methods.as_object().expect("methods").values())
            .map(|operation| operation["operationId"].as_str().expect("an id"))
            .collect();
        assert_eq!(ids.len(), routes().into_operations().len());
        // schemars appends a number to the second type of a name.
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        let numbered: Vec<_> = schemas.keys().filter(|name| name.ends_with(char::is_numeric)).collect();
        assert!(numbered.is_empty(), "rename one of them: {numbered:?}");
    }

    #[test]
    fn every_traced_route_exists() {
        let specs = routes().request_specs();
        for route in trace::ROUTES {
            assert!(specs.get(route).is_some_and(|methods| methods.contains_key("post")), "{route}");
        }
    }
}
