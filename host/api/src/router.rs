//! The route table, and the layers around it.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;
use wasmill_access::Scope;

use crate::http::authorize::{Authorizer, authorize};
use crate::http::trace;
use crate::http::undocumented::{DocumentedRequests, reject_undocumented};
use crate::openapi::Needs;
use crate::problem::layer;
use crate::routes::Routes;
use crate::state::Api;
use crate::ui::{self, Dashboard};
use crate::{event, metrics, openapi, plugin, queue, schedule, service, task, webhook};

const WATCH: Needs = Needs::Scope(Scope::Watch);
const READ: Needs = Needs::Scope(Scope::Read);
const SUBMIT: Needs = Needs::Scope(Scope::Submit);
const CANCEL: Needs = Needs::Scope(Scope::Cancel);
const SCHEDULE: Needs = Needs::Scope(Scope::Schedule);
const PLUGINS: Needs = Needs::Scope(Scope::Plugins);
const METRICS: Needs = Needs::Scope(Scope::Metrics);
const ADMIN: Needs = Needs::Scope(Scope::Admin);
/// Or the task is the key's own.
const WATCH_TASK: Needs = Needs::Task(Scope::Watch);
const READ_TASK: Needs = Needs::Task(Scope::Read);

/// All routes, each with what its key needs, its specification and its handler.
fn routes() -> Routes {
    server(plugins_and_schedules(tasks(Routes::new())))
}

fn tasks(routes: Routes) -> Routes {
    routes
        .add(SUBMIT, task::submit::spec(), task::submit::submit)
        .add(WATCH, task::list::spec(), task::list::list)
        .add(SUBMIT, task::batch::spec(), task::batch::batch)
        .add(Needs::Copies, task::retry_many::spec(), task::retry_many::retry_many)
        .add(CANCEL, task::cancel_many::spec(), task::cancel_many::cancel_many)
        .add(READ_TASK, task::get::spec(), task::get::task)
        .add(CANCEL, task::cancel::remove_spec(), task::cancel::remove)
        .add(WATCH_TASK, task::status::spec(), task::status::status)
        .add(READ_TASK, task::result::spec(), task::result::result)
        .add(READ_TASK, task::input::spec(), task::input::input)
        .add(WATCH_TASK, task::why::spec(), task::why::why)
        .add(WATCH, task::dependents::spec(), task::dependents::dependents)
        .add(READ_TASK, task::logs::spec(), task::logs::logs)
        .add(WATCH_TASK, event::stream::task_events_spec(), event::stream::task_events)
        .add(READ_TASK, webhook::get::webhook_spec(), webhook::get::webhook)
        .add(Needs::Copy, webhook::get::redeliver_spec(), webhook::get::redeliver)
        .add(WATCH, event::stream::all_events_spec(), event::stream::all_events)
        .add(Needs::Copy, task::retry::spec(), task::retry::retry)
        .add(CANCEL, task::cancel::cancel_spec(), task::cancel::cancel)
}

fn plugins_and_schedules(routes: Routes) -> Routes {
    routes
        .add(WATCH, plugin::list::list_spec(), plugin::list::list)
        .add(WATCH, plugin::list::plugin_spec(), plugin::list::plugin)
        .add(WATCH, plugin::schema::spec(), plugin::schema::schema)
        .add(PLUGINS, plugin::upload::put_spec(), plugin::upload::put)
        .add(PLUGINS, plugin::upload::delete_spec(), plugin::upload::delete)
        .add(PLUGINS, queue::pause::pause_plugin_spec(), queue::pause::pause_plugin)
        .add(PLUGINS, queue::pause::resume_plugin_spec(), queue::pause::resume_plugin)
        .add(WATCH, schedule::list::list_spec(), schedule::list::list)
        .add(READ, schedule::list::schedule_spec(), schedule::list::schedule)
        .add(SCHEDULE, schedule::put::spec(), schedule::put::put)
        .add(SCHEDULE, schedule::list::delete_spec(), schedule::list::delete)
        .add(SCHEDULE, schedule::actions::pause_spec(), schedule::actions::pause)
        .add(SCHEDULE, schedule::actions::resume_spec(), schedule::actions::resume)
        .add(SCHEDULE, schedule::actions::run_spec(), schedule::actions::run)
}

fn server(routes: Routes) -> Routes {
    let routes = service::docs::FILES
        .iter()
        .fold(routes, |routes, file| routes.add(Needs::Nothing, file.spec(), || async { file.serve() }));
    routes
        .add(Needs::Nothing, service::index::spec(), service::index::index)
        .add(Needs::Nothing, service::sign_in::spec(), service::sign_in::sign_in)
        .add(Needs::Nothing, service::sign_out::spec(), service::sign_out::sign_out)
        .add(ADMIN, queue::pause::pause_spec(), queue::pause::pause)
        .add(ADMIN, queue::pause::resume_spec(), queue::pause::resume)
        .add(ADMIN, queue::drain::spec(), queue::drain::drain)
        .add(WATCH, queue::stats::spec(), queue::stats::stats)
        .add(WATCH, queue::attention::spec(), queue::attention::attention)
        .add(WATCH, queue::history::get::spec(), queue::history::get::history)
        .add(WATCH, queue::hosts::spec(), queue::hosts::hosts)
        .add(ADMIN, service::doctor::spec(), service::doctor::doctor)
        .add(METRICS, metrics::get::spec(), metrics::get::get)
        .add(Needs::Nothing, service::health::healthz_spec(), service::health::healthz)
        .add(Needs::Nothing, service::health::readyz_spec(), service::health::readyz)
        .add(Needs::Nothing, service::openapi::spec(), || async { service::openapi::openapi(document()) })
        .add(Needs::Nothing, service::docs::spec(), service::docs::page)
}

/// Returns the OpenAPI document, which is built once per process.
fn document() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| openapi::document(routes().into_operations(), webhook::callback_spec).to_string())
}

/// Builds the router with all its layers: the REST interface, and the pages that use it.
pub fn router(api: Api) -> Router {
    let rest = checked(routes(), &api).layer(from_fn_with_state(api.tracer.clone(), trace::trace));
    let dashboard = Dashboard::new(rest.with_state(api.clone()));
    let routes = ui::routes(routes());
    // The header `Allow` cannot be read in the fallback: axum adds it later.
    let allowed_methods = Arc::new(routes.allowed_methods());
    let method_not_allowed = move |request: Request| async move {
        let path = request.extensions().get::<MatchedPath>();
        let allowed = path.and_then(|path| allowed_methods.get(path.as_str()));
        layer::method_not_allowed(&request, allowed.map(String::as_str))
    };
    checked(routes, &api)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(Extension(dashboard))
        .layer(from_fn_with_state(api.tracer.clone(), trace::trace))
        .layer(CatchPanicLayer::custom(layer::panicked))
        .layer(from_fn(layer::finish))
        .layer(from_fn(ui::compress))
        .layer(from_fn_with_state(api.metrics.clone(), metrics::layer::count))
        .with_state(api)
}

/// Checks keys, parameters and bodies of requests before the handlers get them.
fn checked(routes: Routes, api: &Api) -> Router<Api> {
    let specs = Arc::new(routes.request_specs());
    let authorizer = Authorizer { api: api.clone(), specs: Arc::clone(&specs) };
    let documented = DocumentedRequests { specs, body: api.config.body.clone() };
    routes
        .into_router()
        .route_layer(from_fn_with_state(documented, reject_undocumented))
        .route_layer(from_fn_with_state(authorizer, authorize))
        .fallback(layer::unknown_route)
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
