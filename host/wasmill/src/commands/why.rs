//! `wasmill why`: explains why a task waits.

use anyhow::Result;
use serde::Deserialize;

use crate::cli::server::TaskArgs;
use crate::client::{Client, block_on};
use crate::commands::find::find;
use crate::exit::Exit;
use crate::output::{data, out};
use crate::terminal::text::sanitize;

/// The shown parts of the answer.
#[derive(Deserialize)]
struct Why {
    summary: String,
    reasons: Vec<Reason>,
    hosts: u64,
}

#[derive(Deserialize)]
struct Reason {
    detail: String,
    on: String,
    tasks: Vec<String>,
}

/// Prints one line for each reason, or why there is none.
pub(crate) fn why(args: &TaskArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let response = block_on(async {
        let id = find(&client, args.id).await?;
        client.get(&format!("/task/{id}/why")).await?.error_for_status()
    })?;
    if args.json {
        data!("{}", response.text());
        return Ok(Exit::Done);
    }
    let Why { summary, reasons, hosts } = response.read()?;
    if reasons.is_empty() {
        out!("{}", sanitize(&summary));
    }
    for Reason { detail, on, tasks } in reasons {
        let note = if on == "this-host" && hosts > 1 { " (of the host that answered)" } else { "" };
        out!("{}{note}", sanitize(&detail));
        for task in tasks {
            out!("  {}", sanitize(&task));
        }
    }
    Ok(Exit::Done)
}
