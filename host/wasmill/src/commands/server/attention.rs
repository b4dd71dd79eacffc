//! `wasmill attention`: shows what needs a person.

use anyhow::Result;
use serde::Deserialize;

use crate::cli::server::StatsArgs;
use crate::client::{Client, block_on};
use crate::exit::Exit;
use crate::output::{data, note, out};
use crate::terminal::style::Style;
use crate::terminal::text::sanitize;

/// The shown parts of the answer.
#[derive(Deserialize)]
struct Attention {
    items: Vec<Item>,
    left_out: u64,
}

#[derive(Deserialize)]
struct Item {
    level: String,
    detail: String,
    action: String,
}

/// Prints two lines for each item; succeeds whatever there is.
pub(crate) fn attention(args: &StatsArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let response = block_on(async { client.get("/attention").await?.error_for_status() })?;
    if args.json {
        data!("{}", response.text());
        return Ok(Exit::Done);
    }
    let Attention { items, left_out } = response.read()?;
    let style = Style::stdout();
    if items.is_empty() {
        note!("nothing needs you");
    }
    for Item { level, detail, action } in items {
        let level = if level == "error" { style.red("error  ") } else { style.yellow("warning") };
        out!("{level}  {}", sanitize(&detail));
        out!("         {}", sanitize(&action));
    }
    if left_out > 0 {
        note!("and {left_out} more");
    }
    Ok(Exit::Done)
}
