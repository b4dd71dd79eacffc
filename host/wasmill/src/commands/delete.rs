//! `wasmill delete`: deletes tasks, after stopping those that have not finished; selected by id or by filter.

use anyhow::Result;
use hyper::Method;

use crate::cli::server::DeleteArgs;
use crate::client::{Client, ClientRequest, block_on};
use crate::commands::find::for_each_task;
use crate::commands::query::{grace, timeout, with_query};
use crate::exit::Exit;

/// Deletes the tasks; a task has stopped when its line is printed.
pub(crate) fn delete(args: &DeleteArgs) -> Result<Exit> {
    let DeleteArgs { selection, json, .. } = args;
    selection.check("delete")?;
    let client = Client::new(&args.server)?;
    let parameters: Vec<_> = grace(args.grace).into_iter().collect();
    let timeout = timeout(args.grace);
    block_on(async {
        if selection.ids.is_empty() {
            selection.run_in_parts(&client, "/task/delete", "deleted", *json).await?;
            return Ok(Exit::Done);
        }
        let one = async |id| {
            let path = with_query(&format!("/task/{id}"), &parameters);
            client
                .send(ClientRequest { timeout, ..ClientRequest::new(Method::DELETE, &path) })
                .await?
                .error_for_status()?;
            Ok(format!("{id} deleted"))
        };
        Ok(for_each_task(&client, &selection.ids, one).await)
    })
}
