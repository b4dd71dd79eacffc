//! Commands that talk to a server about tasks, one file each.

mod cancel;
mod delete;
mod find;
mod follow;
mod list;
mod logs;
mod result;
mod retry;
mod schedule;
mod show;
mod stats;
mod status;
mod submit;
mod trace_context;
mod watch;

pub(crate) use self::cancel::cancel;
pub(crate) use self::delete::delete;
pub(crate) use self::list::list;
pub(crate) use self::logs::logs;
pub(crate) use self::result::result;
pub(crate) use self::retry::retry;
pub(crate) use self::schedule::schedule;
pub(crate) use self::stats::stats;
pub(crate) use self::status::status;
pub(crate) use self::submit::submit;
pub(crate) use self::watch::watch;

use std::time::Duration;

use anyhow::Result;
use wasmill_model::{IdPrefix, TaskId};

use crate::client::{Client, REQUEST_TIMEOUT};
use crate::exit::{self, Exit};
use crate::output::{note, out};
use crate::settings::HumanDuration;

/// Appends these query parameters to a path.
fn with_query(path: &str, parameters: &[(&str, String)]) -> String {
    if parameters.is_empty() {
        return path.to_owned();
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    format!("{path}?{}", query.finish())
}

/// Returns the time limit of a request that stops tasks: the response waits until their guests are gone.
fn timeout(grace: Option<HumanDuration>) -> Duration {
    REQUEST_TIMEOUT.saturating_add(grace.map_or(Duration::ZERO, |grace| grace.0))
}

/// Runs an operation for each task and prints its outcome; an error does not keep it from the other tasks. Returns the
/// exit code.
async fn for_each_task(
    client: &Client,
    ids: &[IdPrefix],
    one: impl AsyncFn(TaskId) -> Result<String>,
) -> Exit {
    let mut end = Exit::Done;
    for &id in ids {
        let done = async { one(find::find(client, id).await?).await };
        match done.await {
            Ok(words) => out!("{words}"),
            Err(error) => {
                note!("wasmill: {error:#}");
                end = exit::code_of(&error);
            }
        }
    }
    end
}

/// Returns the grace query parameter, if a grace period was given.
fn grace(grace: Option<HumanDuration>) -> Option<(&'static str, String)> {
    grace.map(|grace| ("grace", humantime::format_duration(grace.0).to_string()))
}
