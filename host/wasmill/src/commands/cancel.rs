//! `wasmill cancel`: stops tasks and keeps their records; those named by id, or all that fit a filter.

use std::time::Duration;

use anyhow::Result;
use hyper::Method;
use serde::Deserialize;
use wasmill_model::TaskId;

use crate::cli::server::CancelArgs;
use crate::client::{Answer, Ask, Client, PATIENCE, block_on};
use crate::commands::{grace, with_query};
use crate::exit::{self, Exit, told};
use crate::output::{say, tell};

#[derive(Deserialize)]
struct Many {
    cancelled: u64,
    dry_run: bool,
}

/// Stops them; each is over when its line is printed.
pub(crate) fn cancel(args: &CancelArgs) -> Result<Exit> {
    check(args)?;
    let client = Client::new(&args.server)?;
    block_on(async {
        if args.ids.is_empty() {
            cancel_many(&client, args).await?;
            return Ok(Exit::Done);
        }
        let mut end = Exit::Done;
        for &id in &args.ids {
            match cancel_one(&client, id, args).await {
                Ok(answer) if args.json => say!("{}", answer.text()),
                Ok(_) => say!("{id} cancelled"),
                // The others are cancelled all the same.
                Err(error) => {
                    tell!("wasmill: {error:#}");
                    end = exit::of(&error);
                }
            }
        }
        Ok(end)
    })
}

fn check(args: &CancelArgs) -> Result<()> {
    let conditions = args.filter.parameters();
    if !args.ids.is_empty() && (args.all || !conditions.is_empty()) {
        return Err(told(Exit::Usage, "name the tasks either by id or by what they are, not both"));
    }
    if args.ids.is_empty() && !args.all && conditions.is_empty() {
        let ways = "by id, by --state, --plugin, --tag, --created-after or --created-before, or --all";
        return Err(told(Exit::Usage, format!("say which tasks to cancel: {ways}")));
    }
    Ok(())
}

async fn cancel_one(client: &Client, id: TaskId, args: &CancelArgs) -> Result<Answer> {
    let parameters: Vec<_> = grace(args.grace).into_iter().collect();
    let path = with_query(&format!("/task/{id}/cancel"), &parameters);
    client.send(Ask { patience: patience(args), ..Ask::new(Method::POST, &path) }).await?.good()
}

async fn cancel_many(client: &Client, args: &CancelArgs) -> Result<()> {
    let mut parameters = args.filter.parameters();
    parameters.extend(args.all.then(|| ("all", "true".to_owned())));
    parameters.extend(args.dry_run.then(|| ("dry_run", "true".to_owned())));
    parameters.extend(grace(args.grace));
    let path = with_query("/task/cancel", &parameters);
    let answer =
        client.send(Ask { patience: patience(args), ..Ask::new(Method::POST, &path) }).await?.good()?;
    if args.json {
        say!("{}", answer.text());
        return Ok(());
    }
    let Many { cancelled, dry_run } = answer.read()?;
    let tasks = if cancelled == 1 { "task" } else { "tasks" };
    say!("{cancelled} {tasks} {}", if dry_run { "would be cancelled" } else { "cancelled" });
    Ok(())
}

/// Returns how long the answer may take: it comes when the guests are gone.
fn patience(args: &CancelArgs) -> Duration {
    PATIENCE.saturating_add(args.grace.map_or(Duration::ZERO, |grace| grace.0))
}
