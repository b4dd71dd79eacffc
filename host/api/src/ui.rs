//! The dashboard: pages under `/ui`.
//!
//! Each page is a client of the REST interface within this process (`rest`): it sends the requests that a browser could
//! send, with the key of the reader, and hands the records to `wasmill-ui`, which makes HTML of them. So a page shows
//! and does nothing that the interface would refuse, and knows neither the store nor the scheduler.

mod act;
mod admin;
mod assets;
mod cache;
mod compression;
mod doing;
mod find;
mod form;
mod live;
mod overview;
mod page;
mod plugins;
mod problem;
mod raw;
mod rest;
mod schedules;
mod submit;
mod task;
mod tasks;

pub(crate) use compression::compress;
pub(crate) use page::{Rendered, empty_site, html};
pub(crate) use problem::{is_page, problem_page};
pub(crate) use rest::Dashboard;

use crate::openapi::{Bounds, Needs, Operation};
use crate::routes::Routes;
use crate::service::sign_in_elsewhere;

/// Adds the pages. What a page needs is checked by the operations that it calls.
pub(crate) fn routes(routes: Routes) -> Routes {
    routes
        .add(Needs::Nothing, Bounds::Nothing, Operation::page("/ui"), page::to_overview)
        .add(Needs::Nothing, Bounds::Nothing, assets::spec(), assets::asset)
        .add(Needs::Key, Bounds::Page, page::spec("/ui/").parameter("span"), overview::overview)
        .add(Needs::Key, Bounds::Page, tasks::spec(), tasks::tasks)
        .add(Needs::Key, Bounds::Page, find::spec(), find::find)
        .add(Needs::Key, Bounds::Page, task::log::spec(), task::show_log)
        .add(Needs::Key, Bounds::Page, task::value_spec("/ui/task/{id}/result"), task::result)
        .add(Needs::Key, Bounds::Page, task::value_spec("/ui/task/{id}/input"), task::input)
        .add(Needs::Key, Bounds::Page, task::value_spec("/ui/task/{id}/checkpoint"), task::checkpoint)
        .add(Needs::Key, Bounds::Page, page::spec("/ui/task/{id}/depends"), task::depends)
        .add(Needs::Key, Bounds::Page, page::spec("/ui/task/{id}/webhook"), task::webhook)
        .add(Needs::Key, Bounds::Page, page::spec("/ui/task/{id}/record"), task::record)
        .add(Needs::Key, Bounds::Page, raw::spec("/ui/raw/{id}/result"), raw::result)
        .add(Needs::Key, Bounds::Page, raw::spec("/ui/raw/{id}/input"), raw::input)
        .add(Needs::Key, Bounds::Page, raw::spec("/ui/raw/{id}/checkpoint"), raw::checkpoint)
        .add(Needs::Key, Bounds::Page, page::spec("/ui/plugins"), plugins::plugins)
        .add(Needs::Key, Bounds::Page, plugins::one_spec(), plugins::plugin)
        .add(Needs::Key, Bounds::Page, Operation::form("/ui/upload"), plugins::upload)
        .add(Needs::Key, Bounds::Page, schedules::spec(), schedules::schedules)
        .add(Needs::Key, Bounds::Page, schedules::form::spec(), schedules::form::show)
        .add(Needs::Key, Bounds::Page, Operation::form("/ui/schedule"), schedules::form::put)
        .add(Needs::Key, Bounds::Page, submit::spec(), submit::show)
        .add(Needs::Key, Bounds::Page, Operation::form("/ui/submit"), submit::post)
        .add(Needs::Key, Bounds::Page, live::spec(), live::events)
        .add(Needs::Key, Bounds::Page, page::spec("/ui/hosts"), live::hosts)
        .add(Needs::Nothing, Bounds::Nothing, page::login_spec(), page::login)
        .add(Needs::Nothing, Bounds::Nothing, sign_in_elsewhere::begin_spec(), sign_in_elsewhere::begin)
        .add(Needs::Nothing, Bounds::Nothing, sign_in_elsewhere::callback_spec(), sign_in_elsewhere::callback)
        .add(Needs::Key, Bounds::Page, admin::doctor_spec(), admin::doctor)
        .add(Needs::Key, Bounds::Page, page::spec("/ui/keys"), admin::keys)
        .add(Needs::Key, Bounds::Page, act::spec(), act::ask)
        .add(Needs::Key, Bounds::Page, Operation::form("/ui/do"), doing::act)
}
