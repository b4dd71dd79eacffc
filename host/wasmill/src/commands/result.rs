//! `wasmill result`: prints the result of a task on stdout.

use anyhow::Result;
use serde::Deserialize;

use crate::cli::server::ResultArgs;
use crate::client::{Client, Task, block_on};
use crate::commands::find::find;
use crate::commands::follow::{self, FollowOptions};

use crate::exit::{Exit, cli_error};
use crate::output::{self, data};

#[derive(Deserialize)]
struct Ready {
    result: Option<String>,
    #[serde(default)]
    result_encoding: Option<String>,
}

/// Prints the result or why there is none; with `--wait`, once the task has finished.
pub(crate) fn result(args: &ResultArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        let id = find(&client, args.id).await?;
        if args.wait {
            let follow = FollowOptions { with_log: false, is_quiet: false };
            if follow::wait_until_finished(&client, id, follow).await? == Exit::Interrupted {
                return Ok(Exit::Interrupted);
            }
        }
        if args.json {
            let response = client.get(&format!("/task/{id}")).await?.error_for_status()?;
            let task: Task = response.read()?;
            data!("{}", response.text());
            return Ok(exit_for(&task));
        }
        let response = client.get(&format!("/task/{id}/result")).await?;
        match response.status.as_u16() {
            200 => {
                let Ready { result, result_encoding } = response.read()?;
                output::result(&result.unwrap_or_default(), result_encoding.is_some());
                Ok(Exit::Done)
            }
            202 => {
                let message =
                    format!("task {id} has not finished; `wasmill result --wait {id}` waits for it");
                Err(cli_error(Exit::Conflict, message))
            }
            _ => Err(match response.code().as_str() {
                "task-failed" => cli_error(Exit::Failed, response.to_error().to_string()),
                "task-cancelled" => cli_error(Exit::Cancelled, response.to_error().to_string()),
                _ => response.to_error(),
            }),
        }
    })
}

/// Returns the exit code for the state of a task.
pub(crate) fn exit_for(task: &Task) -> Exit {
    match task.state.as_str() {
        "completed" => Exit::Done,
        "failed" => Exit::Failed,
        "cancelled" => Exit::Cancelled,
        _ => Exit::Conflict,
    }
}
