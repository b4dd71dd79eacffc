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
use crate::openapi::{Bounds, Needs};
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

/// All routes, each with what its key needs, how it keeps a key within its reach, its specification and its handler.
fn routes() -> Routes {
    server(plugins_and_schedules(tasks(Routes::new())))
}

fn tasks(routes: Routes) -> Routes {
    routes
        .add(SUBMIT, Bounds::Handler, task::submit::spec(), task::submit::submit)
        .add(WATCH, Bounds::Handler, task::list::spec(), task::list::list)
        .add(SUBMIT, Bounds::Handler, task::batch::spec(), task::batch::batch)
        .add(Needs::Copies, Bounds::Handler, task::many::retry::spec(), task::many::retry::retry_many)
        .add(CANCEL, Bounds::Handler, task::many::cancel::spec(), task::many::cancel::cancel_many)
        .add(CANCEL, Bounds::Handler, task::many::delete::spec(), task::many::delete::delete_many)
        .add(READ_TASK, Bounds::Task, task::get::spec(), task::get::task)
        .add(CANCEL, Bounds::Task, task::cancel::remove_spec(), task::cancel::remove)
        .add(WATCH_TASK, Bounds::Task, task::status::spec(), task::status::status)
        .add(READ_TASK, Bounds::Task, task::result::spec(), task::result::result)
        .add(READ_TASK, Bounds::Task, task::input::spec(), task::input::input)
        .add(READ_TASK, Bounds::Task, task::checkpoint::spec(), task::checkpoint::checkpoint)
        .add(READ_TASK, Bounds::Task, task::files::list::spec(), task::files::list::list)
        .add(READ_TASK, Bounds::Task, task::files::get::spec(), task::files::get::get)
        .add(WATCH_TASK, Bounds::Task, task::why::spec(), task::why::why)
        .add(READ_TASK, Bounds::Task, task::activity::spec(), task::activity::activity)
        .add(WATCH, Bounds::Task, task::dependents::spec(), task::dependents::dependents)
        .add(READ_TASK, Bounds::Task, task::logs::spec(), task::logs::logs)
        .add(WATCH_TASK, Bounds::Task, event::stream::task_events_spec(), event::stream::task_events)
        .add(READ_TASK, Bounds::Task, webhook::get::webhook_spec(), webhook::get::webhook)
        .add(Needs::Copy, Bounds::Task, webhook::get::redeliver_spec(), webhook::get::redeliver)
        .add(WATCH, Bounds::Handler, event::stream::all_events_spec(), event::stream::all_events)
        .add(Needs::Copy, Bounds::Task, task::retry::spec(), task::retry::retry)
        .add(CANCEL, Bounds::Task, task::cancel::cancel_spec(), task::cancel::cancel)
        .add(SUBMIT, Bounds::Task, task::post_event::spec(), task::post_event::post_event)
}

fn plugins_and_schedules(routes: Routes) -> Routes {
    routes
        .add(WATCH, Bounds::Handler, plugin::list::list_spec(), plugin::list::list)
        .add(WATCH, Bounds::Plugin, plugin::list::plugin_spec(), plugin::list::plugin)
        .add(WATCH, Bounds::Plugin, plugin::schema::spec(), plugin::schema::schema)
        .add(PLUGINS, Bounds::Plugin, plugin::upload::put_spec(), plugin::upload::put)
        .add(PLUGINS, Bounds::Plugin, plugin::upload::delete_spec(), plugin::upload::delete)
        .add(PLUGINS, Bounds::Plugin, queue::pause::pause_plugin_spec(), queue::pause::pause_plugin)
        .add(PLUGINS, Bounds::Plugin, queue::pause::resume_plugin_spec(), queue::pause::resume_plugin)
        .add(WATCH, Bounds::Handler, schedule::list::list_spec(), schedule::list::list)
        .add(READ, Bounds::Handler, schedule::list::schedule_spec(), schedule::list::schedule)
        .add(SCHEDULE, Bounds::Handler, schedule::put::spec(), schedule::put::put)
        .add(SCHEDULE, Bounds::Handler, schedule::list::delete_spec(), schedule::list::delete)
        .add(SCHEDULE, Bounds::Handler, schedule::actions::pause_spec(), schedule::actions::pause)
        .add(SCHEDULE, Bounds::Handler, schedule::actions::resume_spec(), schedule::actions::resume)
        .add(SCHEDULE, Bounds::Handler, schedule::actions::run_spec(), schedule::actions::run)
}

fn server(routes: Routes) -> Routes {
    let routes = service::docs::FILES.iter().fold(routes, |routes, file| {
        routes.add(Needs::Nothing, Bounds::Nothing, file.spec(), || async { file.serve() })
    });
    routes
        .add(Needs::Nothing, Bounds::Nothing, service::index::spec(), service::index::index)
        .add(Needs::Nothing, Bounds::Nothing, service::sign_in::spec(), service::sign_in::sign_in)
        .add(Needs::Nothing, Bounds::Nothing, service::sign_out::spec(), service::sign_out::sign_out)
        .add(ADMIN, Bounds::Refused, queue::pause::pause_spec(), queue::pause::pause)
        .add(ADMIN, Bounds::Refused, queue::pause::resume_spec(), queue::pause::resume)
        .add(ADMIN, Bounds::Refused, queue::drain::spec(), queue::drain::drain)
        .add(WATCH, Bounds::Handler, queue::stats::spec(), queue::stats::stats)
        .add(WATCH, Bounds::Refused, queue::attention::spec(), queue::attention::attention)
        .add(WATCH, Bounds::Refused, queue::history::get::spec(), queue::history::get::history)
        .add(WATCH, Bounds::Refused, queue::hosts::spec(), queue::hosts::hosts)
        .add(ADMIN, Bounds::Refused, service::doctor::spec(), service::doctor::doctor)
        .add(ADMIN, Bounds::Refused, service::keys::spec(), service::keys::keys)
        .add(Needs::Key, Bounds::Handler, service::own_key::spec(), service::own_key::own_key)
        .add(METRICS, Bounds::Refused, metrics::get::spec(), metrics::get::get)
        .add(Needs::Nothing, Bounds::Nothing, service::health::healthz_spec(), service::health::healthz)
        .add(Needs::Nothing, Bounds::Nothing, service::health::readyz_spec(), service::health::readyz)
        .add(Needs::Nothing, Bounds::Nothing, service::openapi::spec(), || async {
            service::openapi::openapi(document())
        })
        .add(Needs::Nothing, Bounds::Nothing, service::docs::spec(), service::docs::page)
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
    fn every_route_keeps_a_key_within_its_reach() {
        let specs = ui::routes(routes()).request_specs();
        let mut within = BTreeSet::new();
        for (path, methods) in &specs {
            for (method, spec) in methods {
                let bounds = spec.bounds;
                let what = format!("{method} {path} is bounded by {bounds:?}");
                if path.starts_with("/ui") {
                    let is_open = spec.needs == Needs::Nothing;
                    assert_eq!(bounds, if is_open { Bounds::Nothing } else { Bounds::Page }, "{what}");
                    continue;
                }
                assert_eq!(bounds == Bounds::Nothing, spec.needs == Needs::Nothing, "{what}");
                // What names a task or a plugin cannot leave it to a handler.
                assert_eq!(bounds == Bounds::Task, path.starts_with("/task/{id}"), "{what}");
                assert_eq!(bounds == Bounds::Plugin, path.starts_with("/plugins/{name}"), "{what}");
                assert_ne!(bounds, Bounds::Page, "{what}");
                if bounds == Bounds::Handler {
                    within.insert(spec.id);
                }
            }
        }
        // A change that adds one has to filter it, and to test that: see tests/product/access/tenants.rs.
        let expected = [
            "submitTask",
            "submitTasks",
            "listTasks",
            "retryTasks",
            "cancelTasks",
            "deleteTasks",
            "listPlugins",
            "followAll",
            "listSchedules",
            "getSchedule",
            "putSchedule",
            "deleteSchedule",
            "pauseSchedule",
            "resumeSchedule",
            "runSchedule",
            "getStats",
            "getOwnKey",
        ];
        assert_eq!(within, BTreeSet::from(expected));
    }

    #[test]
    fn every_traced_route_exists() {
        let specs = routes().request_specs();
        for route in trace::ROUTES {
            assert!(specs.get(route).is_some_and(|methods| methods.contains_key("post")), "{route}");
        }
    }
}
