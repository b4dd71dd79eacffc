//! `wasmill cancel`: cancels tasks and keeps their records; selected by id or by filter.

use anyhow::Result;
use hyper::Method;
use serde::Deserialize;
use wasmill_model::TaskId;

use crate::cli::server::CancelArgs;
use crate::client::{Client, ClientRequest, ClientResponse, block_on};
use crate::commands::find::for_each_task;
use crate::commands::query::{grace, timeout, with_query};
use crate::exit::{Exit, cli_error};
use crate::output::{data, out};

#[derive(Deserialize)]
struct Many {
    cancelled: u64,
    dry_run: bool,
}

/// Cancels the tasks; a task has stopped when its line is printed.
pub(crate) fn cancel(args: &CancelArgs) -> Result<Exit> {
    check(args)?;
    let client = Client::new(&args.server)?;
    block_on(async {
        if args.ids.is_empty() {
            cancel_many(&client, args).await?;
            return Ok(Exit::Done);
        }
        let one = async |id| {
            let response = cancel_one(&client, id, args).await?;
            Ok(if args.json { response.text() } else { format!("{id} cancelled") })
        };
        Ok(for_each_task(&client, &args.ids, one).await)
    })
}

fn check(args: &CancelArgs) -> Result<()> {
    let conditions = args.filter.parameters();
    if !args.ids.is_empty() && (args.all || !conditions.is_empty()) {
        return Err(cli_error(Exit::Usage, "select tasks either by id or by options, not both"));
    }
    if args.ids.is_empty() && !args.all && conditions.is_empty() {
        let ways = "by id, by options such as --state, --plugin or --tag, or --all";
        return Err(cli_error(Exit::Usage, format!("select the tasks to cancel: {ways}")));
    }
    Ok(())
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
    let mut parameters = args.filter.parameters();
    parameters.extend(args.all.then(|| ("all", "true".to_owned())));
    parameters.extend(args.dry_run.then(|| ("dry_run", "true".to_owned())));
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
    let tasks = if cancelled == 1 { "task" } else { "tasks" };
    out!("{cancelled} {tasks} {}", if dry_run { "would be cancelled" } else { "cancelled" });
    Ok(())
}
