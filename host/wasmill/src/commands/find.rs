//! Which task is meant by the beginning or the end of its id. Used by the commands that take ids.

use anyhow::{Context, Result};
use serde::Deserialize;
use wasmill_model::{IdPrefix, TaskId};

use crate::client::Client;
use crate::commands::list::next;
use crate::commands::with_query;
use crate::exit::{Exit, cli_error};

/// Tasks that are named if more than one is meant, and then some.
const MATCHES_SHOWN_MAX: usize = 5;

#[derive(Deserialize)]
struct TaskMatch {
    id: String,
    state: String,
    plugin: String,
}

/// Returns the one task whose id begins so, or, if there is none, ends so; asks nobody if the id is whole.
pub(crate) async fn find(client: &Client, part: IdPrefix) -> Result<TaskId> {
    if let Some(id) = part.whole() {
        return Ok(id);
    }
    for parameter in ["q", "id_end"] {
        let found = matching_tasks(client, parameter, &part).await?;
        match found.as_slice() {
            [] => {}
            [one] => {
                return one.id.parse().with_context(|| format!("{client} names a task by what is no id"));
            }
            several => return Err(cli_error(Exit::Usage, ambiguous(part, parameter, several))),
        }
    }
    Err(cli_error(Exit::NotFound, format!("there is no task whose id begins or ends with {part}")))
}

/// Asks for the tasks that are meant, a few more than are named.
async fn matching_tasks(client: &Client, parameter: &'static str, part: &IdPrefix) -> Result<Vec<TaskMatch>> {
    let (mut found, mut cursor): (Vec<TaskMatch>, _) = (Vec::new(), None);
    // A page may be empty though more are to come.
    while found.len() <= MATCHES_SHOWN_MAX {
        let mut parameters =
            vec![(parameter, part.to_string()), ("limit", (MATCHES_SHOWN_MAX + 1).to_string())];
        parameters.extend(cursor.map(|cursor| ("cursor", cursor)));
        let response = client.get(&with_query("/task", &parameters)).await?.error_for_status()?;
        found.extend(response.read::<Vec<TaskMatch>>()?);
        cursor = next(&response);
        if cursor.is_none() {
            break;
        }
    }
    Ok(found)
}

fn ambiguous(part: IdPrefix, parameter: &str, several: &[TaskMatch]) -> String {
    let do_so = if parameter == "q" { "begin" } else { "end" };
    let mut text = format!("the ids of several tasks {do_so} with {part}:");
    for TaskMatch { id, state, plugin } in several.iter().take(MATCHES_SHOWN_MAX) {
        text.push_str(&format!("\n  {id}  {state}  {plugin}"));
    }
    if several.len() > MATCHES_SHOWN_MAX {
        text.push_str("\n  and more");
    }
    text
}
