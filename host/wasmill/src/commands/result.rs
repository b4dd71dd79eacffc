//! `wasmill result`: the result of a task, on stdout.

use anyhow::Result;
use serde::Deserialize;

use crate::cli::server::ResultArgs;
use crate::client::{Client, Task, block_on};
use crate::commands::find::find;
use crate::commands::follow::{self, Follow};

use crate::exit::{Exit, told};
use crate::output::{self, data};

#[derive(Deserialize)]
struct Ready {
    result: Option<String>,
}

/// Prints it, or says why there is none; with `--wait` when the task has ended.
pub(crate) fn result(args: &ResultArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        let id = find(&client, args.id).await?;
        if args.wait {
            let follow = Follow { with_log: false, is_quiet: false };
            if follow::until_ended(&client, id, follow).await? == Exit::Interrupted {
                return Ok(Exit::Interrupted);
            }
        }
        if args.json {
            let answer = client.get(&format!("/task/{id}")).await?.good()?;
            let task: Task = answer.read()?;
            data!("{}", answer.text());
            return Ok(end_of(&task));
        }
        let answer = client.get(&format!("/task/{id}/result")).await?;
        match answer.status.as_u16() {
            200 => {
                let Ready { result } = answer.read()?;
                output::text(&result.unwrap_or_default());
                Ok(Exit::Done)
            }
            202 => {
                let message = format!("task {id} has not ended; `wasmill result --wait {id}` waits for it");
                Err(told(Exit::Conflict, message))
            }
            _ => Err(match answer.code().as_str() {
                "task-failed" => told(Exit::Failed, answer.refusal().to_string()),
                "task-cancelled" => told(Exit::Cancelled, answer.refusal().to_string()),
                _ => answer.refusal(),
            }),
        }
    })
}

/// Returns the exit code for the state that a task is in.
pub(crate) fn end_of(task: &Task) -> Exit {
    match task.state.as_str() {
        "completed" => Exit::Done,
        "failed" => Exit::Failed,
        "cancelled" => Exit::Cancelled,
        _ => Exit::Conflict,
    }
}
