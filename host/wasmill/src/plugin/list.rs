//! `wasmill plugin list`: asks a running server which plugins it has.

use anyhow::Result;
use serde::Deserialize;
use unicode_width::UnicodeWidthStr;

use crate::cli::ListArgs;
use crate::client::{Client, block_on};
use crate::output::{data, say};
use crate::screen::paint::Paint;
use crate::screen::text::padded;

/// Columns of a name; a longer one takes more.
const NAME_COLUMNS: usize = 20;

/// What is shown of a plugin.
#[derive(Deserialize)]
struct Plugin {
    name: String,
    state: String,
    kind: Option<String>,
    reason: Option<String>,
    digest: Option<String>,
    in_service: Option<String>,
    size_bytes: u64,
    tasks: Tasks,
}

#[derive(Deserialize)]
struct Tasks {
    waiting: u64,
    running: u64,
}

/// Prints one line for each plugin, or what the server answered as it is.
pub(crate) fn list(args: &ListArgs) -> Result<()> {
    let client = Client::new(&args.server)?;
    let answer = block_on(async { client.get("/plugins").await?.good() })?;
    if args.json {
        data!("{}", answer.text());
        return Ok(());
    }
    let plugins: Vec<Plugin> = answer.read()?;
    let paint = Paint::stdout();
    let head = format!(
        "{:<20}  {:<9}  {:<8}  {:<12}  {:>10}  {:>8}  {:>8}",
        "NAME", "STATE", "KIND", "DIGEST", "BYTES", "WAITING", "RUNNING"
    );
    say!("{}", paint.bold(head));
    for plugin in plugins {
        let digest: String = plugin.digest.unwrap_or_default().chars().take(12).collect();
        let kind = plugin.kind.unwrap_or_default();
        let Tasks { waiting, running } = plugin.tasks;
        let (name, size) = (padded(&plugin.name, plugin.name.width().max(NAME_COLUMNS)), plugin.size_bytes);
        let state = paint.state(&plugin.state, padded(&plugin.state, 9));
        say!("{name}  {state}  {kind:<8}  {digest:<12}  {size:>10}  {waiting:>8}  {running:>8}");
        if let Some(reason) = plugin.reason {
            say!("  {}", paint.red(reason));
            let serves = match &plugin.in_service {
                Some(digest) => {
                    format!("version {} serves meanwhile", digest.chars().take(12).collect::<String>())
                }
                None => "no version serves: its tasks are refused, or wait".to_owned(),
            };
            say!("  {serves}");
        }
    }
    Ok(())
}
