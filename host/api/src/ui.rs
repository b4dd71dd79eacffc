//! The dashboard: pages under `/ui`.
//!
//! Each page is a client of the REST interface within this process (`rest`): it sends the requests that a browser could
//! send, with the key of the reader, and hands the records to `wasmill-ui`, which makes HTML of them. So a page shows
//! and does nothing that the interface would refuse, and knows neither the store nor the scheduler.

mod act;
mod assets;
mod cache;
mod compression;
mod doctor;
mod doing;
mod form;
mod live;
mod multipart;
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
pub(crate) use page::Rendered;
pub(crate) use problem::{is_page, problem_page};
pub(crate) use rest::Dashboard;

use crate::openapi::{Needs, Operation};
use crate::routes::Routes;

/// Adds the pages. What a page needs is checked by the operations that it calls.
pub(crate) fn routes(routes: Routes) -> Routes {
    routes
        .add(Needs::Nothing, Operation::page("/ui"), page::to_overview)
        .add(Needs::Nothing, assets::spec(), assets::asset)
        .add(Needs::Key, page::spec("/ui/").parameter("span"), overview::overview)
        .add(Needs::Key, tasks::spec(), tasks::tasks)
        .add(Needs::Key, page::spec("/ui/task/{id}"), task::log)
        .add(Needs::Key, page::spec("/ui/task/{id}/result").parameter("as"), task::result)
        .add(Needs::Key, page::spec("/ui/task/{id}/input"), task::input)
        .add(Needs::Key, page::spec("/ui/task/{id}/depends"), task::depends)
        .add(Needs::Key, page::spec("/ui/task/{id}/webhook"), task::webhook)
        .add(Needs::Key, page::spec("/ui/task/{id}/record"), task::record)
        .add(Needs::Key, raw::spec("/ui/raw/{id}/result"), raw::result)
        .add(Needs::Key, raw::spec("/ui/raw/{id}/input"), raw::input)
        .add(Needs::Key, page::spec("/ui/plugins"), plugins::plugins)
        .add(Needs::Key, Operation::form("/ui/upload"), plugins::upload)
        .add(Needs::Key, schedules::spec(), schedules::schedules)
        .add(Needs::Key, Operation::form("/ui/schedule"), schedules::put)
        .add(Needs::Key, submit::spec(), submit::show)
        .add(Needs::Key, Operation::form("/ui/submit"), submit::post)
        .add(Needs::Key, live::spec(), live::events)
        .add(Needs::Key, page::spec("/ui/hosts"), live::hosts)
        .add(Needs::Nothing, page::login_spec(), page::login)
        .add(Needs::Key, doctor::spec(), doctor::doctor)
        .add(Needs::Key, act::spec(), act::ask)
        .add(Needs::Key, Operation::form("/ui/do"), doing::act)
}
