//! Commands that talk to a server, one file each.

mod cancel;
mod delete;
mod dependents;
mod event;
mod files;
mod find;
mod follow;
mod list;
mod logs;
mod query;
mod result;
mod retry;
mod schedule;
mod select;
mod server;
mod show;
mod status;
mod submit;
mod watch;
mod why;

pub(crate) use self::cancel::cancel;
pub(crate) use self::delete::delete;
pub(crate) use self::dependents::dependents;
pub(crate) use self::event::event;
pub(crate) use self::files::files;
pub(crate) use self::list::list;
pub(crate) use self::logs::logs;
pub(crate) use self::result::result;
pub(crate) use self::retry::retry;
pub(crate) use self::schedule::schedule;
pub(crate) use self::server::{attention, health, hosts, login, logout, stats};
pub(crate) use self::status::status;
pub(crate) use self::submit::submit;
pub(crate) use self::watch::watch;
pub(crate) use self::why::why;
