//! Which task is meant by the beginning of its id. Used by the commands that take ids.

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

/// Returns the one task whose id begins so; asks nobody if the id is whole.
pub(crate) async fn find(client: &Client, prefix: IdPrefix) -> Result<TaskId> {
    if let Some(id) = prefix.whole() {
        return Ok(id);
    }
    let (mut found, mut cursor): (Vec<Named>, _) = (Vec::new(), None);
    // A page may be empty though more are to come.
    while found.len() <= NAMED_MAX {
        let mut parameters = vec![("q", prefix.to_string()), ("limit", (NAMED_MAX + 1).to_string())];
        parameters.extend(cursor.map(|cursor| ("cursor", cursor)));
        let answer = client.get(&with_query("/task", &parameters)).await?.good()?;
        found.extend(answer.read::<Vec<Named>>()?);
        cursor = next(&answer);
        if cursor.is_none() {
            break;
        }
    }
    match found.as_slice() {
        [] => Err(told(Exit::NotFound, format!("there is no task whose id begins with {prefix}"))),
        [one] => one.id.parse().with_context(|| format!("{client} names a task by what is no id")),
        several => Err(told(Exit::Usage, ambiguous(prefix, several))),
    }
}

fn ambiguous(prefix: IdPrefix, several: &[Named]) -> String {
    let mut text = format!("the ids of several tasks begin with {prefix}:");
    for Named { id, state, plugin } in several.iter().take(NAMED_MAX) {
        text.push_str(&format!("\n  {id}  {state}  {plugin}"));
    }
    if several.len() > NAMED_MAX {
        text.push_str("\n  and more");
    }
    text
}
