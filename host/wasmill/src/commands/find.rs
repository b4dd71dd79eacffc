//! Which task is meant by the beginning or the end of its id. Used by the commands that take ids.

use anyhow::{Context, Result};
use serde::Deserialize;
use wasmill_model::{IdPrefix, TaskId};

use crate::client::Client;
use crate::commands::list::next;
use crate::commands::with_query;
use crate::exit::{Exit, told};

/// Tasks that are named if more than one is meant, and then some.
const NAMED_MAX: usize = 5;

#[derive(Deserialize)]
struct Named {
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
        let found = named(client, parameter, &part).await?;
        match found.as_slice() {
            [] => {}
            [one] => {
                return one.id.parse().with_context(|| format!("{client} names a task by what is no id"));
            }
            several => return Err(told(Exit::Usage, ambiguous(part, parameter, several))),
        }
    }
    Err(told(Exit::NotFound, format!("there is no task whose id begins or ends with {part}")))
}

/// Finds each of several tasks, see [`find`].
pub(crate) async fn find_all(client: &Client, parts: &[IdPrefix]) -> Result<Vec<TaskId>> {
    let mut ids = Vec::with_capacity(parts.len());
    for part in parts {
        ids.push(find(client, *part).await?);
    }
    Ok(ids)
}

/// Asks for the tasks that are meant, a few more than are named.
async fn named(client: &Client, parameter: &'static str, part: &IdPrefix) -> Result<Vec<Named>> {
    let (mut found, mut cursor): (Vec<Named>, _) = (Vec::new(), None);
    // A page may be empty though more are to come.
    while found.len() <= NAMED_MAX {
        let mut parameters = vec![(parameter, part.to_string()), ("limit", (NAMED_MAX + 1).to_string())];
        parameters.extend(cursor.map(|cursor| ("cursor", cursor)));
        let answer = client.get(&with_query("/task", &parameters)).await?.good()?;
        found.extend(answer.read::<Vec<Named>>()?);
        cursor = next(&answer);
        if cursor.is_none() {
            break;
        }
    }
    Ok(found)
}

fn ambiguous(part: IdPrefix, parameter: &str, several: &[Named]) -> String {
    let do_so = if parameter == "q" { "begin" } else { "end" };
    let mut text = format!("the ids of several tasks {do_so} with {part}:");
    for Named { id, state, plugin } in several.iter().take(NAMED_MAX) {
        text.push_str(&format!("\n  {id}  {state}  {plugin}"));
    }
    if several.len() > NAMED_MAX {
        text.push_str("\n  and more");
    }
    text
}
