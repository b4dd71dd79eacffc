//! `wasmill status`: where one task stands.

use anyhow::Result;

use crate::cli::server::TaskArgs;
use crate::client::{Client, Task, block_on};
use crate::commands::find::find;
use crate::commands::show;
use crate::exit::Exit;
use crate::output::data;

/// Prints the status; whatever it is, the command is done.
pub(crate) fn status(args: &TaskArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let (id, answer) = block_on(async {
        let id = find(&client, args.id).await?;
        Ok((id, client.get(&format!("/task/{id}/status")).await?.good()?))
    })?;
    if args.json {
        data!("{}", answer.text());
    } else {
        let task = Task { id: id.to_string(), ..answer.read()? };
        show::status(&task);
    }
    Ok(Exit::Done)
}
