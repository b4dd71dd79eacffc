//! `wasmill delete`: cancels tasks if they are unfinished, and deletes them.

use anyhow::Result;
use hyper::Method;

use crate::cli::server::DeleteArgs;
use crate::client::{Client, ClientRequest, block_on};
use crate::commands::find::for_each_task;
use crate::commands::query::{grace, timeout, with_query};
use crate::exit::Exit;

/// Deletes the tasks; a task has stopped when its line is printed.
pub(crate) fn delete(args: &DeleteArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let parameters: Vec<_> = grace(args.grace).into_iter().collect();
    let timeout = timeout(args.grace);
    block_on(async {
        let one = async |id| {
            let path = with_query(&format!("/task/{id}"), &parameters);
            client
                .send(ClientRequest { timeout, ..ClientRequest::new(Method::DELETE, &path) })
                .await?
                .error_for_status()?;
            Ok(format!("{id} deleted"))
        };
        Ok(for_each_task(&client, &args.ids, one).await)
    })
}
