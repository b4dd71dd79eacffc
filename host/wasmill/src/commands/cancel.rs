//! `wasmill cancel`: cancels tasks and keeps their records; selected by id or by filter.

use anyhow::Result;
use hyper::Method;
use serde::Deserialize;
use wasmill_model::TaskId;

use crate::cli::server::CancelArgs;
use crate::client::{Client, ClientRequest, ClientResponse, block_on};
use crate::commands::find::for_each_task;
use crate::commands::query::{grace, timeout, with_query};
use crate::commands::select::tasks;
use crate::exit::Exit;
use crate::output::{data, out};

#[derive(Deserialize)]
struct Many {
    cancelled: u64,
    dry_run: bool,
}

/// Cancels the tasks; a task has stopped when its line is printed.
pub(crate) fn cancel(args: &CancelArgs) -> Result<Exit> {
    args.selection.check("cancel")?;
    let client = Client::new(&args.server)?;
    block_on(async {
        if args.selection.ids.is_empty() {
            cancel_many(&client, args).await?;
            return Ok(Exit::Done);
        }
        let one = async |id| {
            let response = cancel_one(&client, id, args).await?;
            Ok(if args.json { response.text() } else { format!("{id} cancelled") })
        };
        Ok(for_each_task(&client, &args.selection.ids, one).await)
    })
}

async fn cancel_one(client: &Client, id: TaskId, args: &CancelArgs) -> Result<ClientResponse> {
    let parameters: Vec<_> = grace(args.grace).into_iter().collect();
    let path = with_query(&format!("/task/{id}/cancel"), &parameters);
    client
        .send(ClientRequest { timeout: timeout(args.grace), ..ClientRequest::new(Method::POST, &path) })
        .await?
        .error_for_status()
}

async fn cancel_many(client: &Client, args: &CancelArgs) -> Result<()> {
    let mut parameters = args.selection.parameters();
    parameters.extend(grace(args.grace));
    let path = with_query("/task/cancel", &parameters);
    let response = client
        .send(ClientRequest { timeout: timeout(args.grace), ..ClientRequest::new(Method::POST, &path) })
        .await?
        .error_for_status()?;
    if args.json {
        data!("{}", response.text());
        return Ok(());
    }
    let Many { cancelled, dry_run } = response.read()?;
    out!("{} {}", tasks(cancelled), if dry_run { "would be cancelled" } else { "cancelled" });
    Ok(())
}
