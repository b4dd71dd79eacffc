//! `wasmill status`: shows the status of a task.

use anyhow::Result;

use crate::cli::server::StatusArgs;
use crate::client::{Client, Task, block_on};
use crate::commands::find::find;
use crate::commands::show;
use crate::exit::Exit;
use crate::output::{self, data};

/// Prints the status or the input; succeeds whatever the state is.
pub(crate) fn status(args: &StatusArgs) -> Result<Exit> {
    let StatusArgs { task: args, input } = args;
    let client = Client::new(&args.server)?;
    if *input {
        let response = block_on(async {
            let id = find(&client, args.id).await?;
            client.get(&format!("/task/{id}/input")).await?.error_for_status()
        })?;
        output::text(&response.text());
        return Ok(Exit::Done);
    }
    let (id, response) = block_on(async {
        let id = find(&client, args.id).await?;
        Ok((id, client.get(&format!("/task/{id}/status")).await?.error_for_status()?))
    })?;
    if args.json {
        data!("{}", response.text());
    } else {
        let task = Task { id: id.to_string(), ..response.read()? };
        show::status(&task);
    }
    Ok(Exit::Done)
}
