//! Resolves the start or end of an id to a task. Used by commands that take ids.

use anyhow::{Context, Result};
use serde::Deserialize;
use wasmill_model::{IdPrefix, TaskId};

use crate::client::Client;
use crate::commands::list::next;
use crate::commands::query::with_query;
use crate::exit::{self, Exit, cli_error};
use crate::output::{note, out};

/// Maximum number of tasks listed if an id is ambiguous.
const MATCHES_SHOWN_MAX: usize = 5;

#[derive(Deserialize)]
struct TaskMatch {
    id: String,
    state: String,
    plugin: String,
}

/// Returns the one task whose id starts, or else ends, with this part. A complete id needs no request.
pub(crate) async fn find(client: &Client, part: IdPrefix) -> Result<TaskId> {
    if let Some(id) = part.whole() {
        return Ok(id);
    }
    for parameter in ["q", "id_end"] {
        let found = matching_tasks(client, parameter, &part).await?;
        match found.as_slice() {
            [] => {}
            [one] => {
                return one.id.parse().with_context(|| format!("{client} returned an invalid task id"));
            }
            several => return Err(cli_error(Exit::Usage, ambiguous(part, parameter, several))),
        }
    }
    Err(cli_error(Exit::NotFound, format!("no task has an id that starts or ends with {part}")))
}

/// Resolves each part to one task, see [`find`].
pub(crate) async fn find_all(client: &Client, parts: &[IdPrefix]) -> Result<Vec<TaskId>> {
    let mut ids = Vec::with_capacity(parts.len());
    for part in parts {
        ids.push(find(client, *part).await?);
    }
    Ok(ids)
}

/// Runs an operation for each task and prints its outcome; an error does not keep it from the other tasks. Returns the
/// exit code.
pub(super) async fn for_each_task(
    client: &Client,
    ids: &[IdPrefix],
    one: impl AsyncFn(TaskId) -> Result<String>,
) -> Exit {
    let mut end = Exit::Done;
    for &id in ids {
        let done = async { one(find(client, id).await?).await };
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

/// Requests the matching tasks, one more than are listed.
async fn matching_tasks(client: &Client, parameter: &'static str, part: &IdPrefix) -> Result<Vec<TaskMatch>> {
    let (mut found, mut cursor): (Vec<TaskMatch>, _) = (Vec::new(), None);
    // A page may be empty even though more follow.
    while found.len() <= MATCHES_SHOWN_MAX {
        let mut parameters =
            vec![(parameter, part.to_string()), ("limit", (MATCHES_SHOWN_MAX + 1).to_string())];
        parameters.extend(cursor.map(|cursor| ("cursor", cursor)));
        let response = client.get(&with_query("/task", &parameters)).await?.error_for_status()?;
        found.extend(response.read_list::<TaskMatch>()?);
        cursor = next(&response);
        if cursor.is_none() {
            break;
        }
    }
    Ok(found)
}

fn ambiguous(part: IdPrefix, parameter: &str, several: &[TaskMatch]) -> String {
    let do_so = if parameter == "q" { "start" } else { "end" };
    let mut text = format!("the ids of several tasks {do_so} with {part}:");
    for TaskMatch { id, state, plugin } in several.iter().take(MATCHES_SHOWN_MAX) {
        text.push_str(&format!("\n  {id}  {state}  {plugin}"));
    }
    if several.len() > MATCHES_SHOWN_MAX {
        text.push_str("\n  and more");
    }
    text
}
