//! The commands that talk to a server about tasks: one file each below this one.

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

/// Writes a path with these parameters as its query.
fn with_query(path: &str, parameters: &[(&str, String)]) -> String {
    if parameters.is_empty() {
        return path.to_owned();
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    format!("{path}?{}", query.finish())
}

/// Returns how long the answer may take to a request that stops tasks: it comes when their guests are gone.
fn timeout(grace: Option<HumanDuration>) -> Duration {
    REQUEST_TIMEOUT.saturating_add(grace.map_or(Duration::ZERO, |grace| grace.0))
}

/// Does something to each of these tasks and says so; one that it cannot be done to does not keep it from the
/// others. Returns how the command ends.
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

/// Returns the parameter that asks guests to stop and gives them so long, if it was asked for.
fn grace(grace: Option<HumanDuration>) -> Option<(&'static str, String)> {
    grace.map(|grace| ("grace", humantime::format_duration(grace.0).to_string()))
}
