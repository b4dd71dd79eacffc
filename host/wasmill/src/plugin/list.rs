//! `wasmill plugin list`: lists the plugins of a running server.

use anyhow::Result;
use serde::Deserialize;
use unicode_width::UnicodeWidthStr;

use crate::cli::ListArgs;
use crate::client::{Client, block_on};
use crate::output::{data, out};
use crate::terminal::style::Style;
use crate::terminal::text::padded;

/// Minimum columns of a name.
const NAME_COLUMNS: usize = 20;

/// The shown parts of a plugin.
#[derive(Deserialize)]
struct Plugin {
    name: String,
    state: String,
    kind: Option<String>,
    reason: Option<String>,
    /// `None` for a built-in plugin.
    file: Option<String>,
    digest: Option<String>,
    in_service: Option<String>,
    size_bytes: u64,
    /// `None` for a key that reaches some of them only.
    tasks: Option<Tasks>,
}

#[derive(Deserialize)]
struct Tasks {
    waiting: u64,
    running: u64,
}

/// Prints one line per plugin, or the response unchanged.
pub(crate) fn list(args: &ListArgs) -> Result<()> {
    let client = Client::new(&args.server)?;
    let response = block_on(async { client.get("/plugins").await?.error_for_status() })?;
    if args.json {
        data!("{}", response.text());
        return Ok(());
    }
    let plugins: Vec<Plugin> = response.read_list()?;
    let style = Style::stdout();
    let head = format!(
        "{:<20}  {:<9}  {:<8}  {:<8}  {:<12}  {:>10}  {:>8}  {:>8}",
        "NAME", "STATE", "FROM", "KIND", "DIGEST", "BYTES", "WAITING", "RUNNING"
    );
    out!("{}", style.bold(head));
    for plugin in plugins {
        let digest: String = plugin.digest.unwrap_or_default().chars().take(12).collect();
        let kind = plugin.kind.unwrap_or_default();
        let [waiting, running] = match plugin.tasks {
            Some(Tasks { waiting, running }) => [waiting.to_string(), running.to_string()],
            None => ["-".to_owned(), "-".to_owned()],
        };
        let (name, size) = (padded(&plugin.name, plugin.name.width().max(NAME_COLUMNS)), plugin.size_bytes);
        let state = style.state(&plugin.state, padded(&plugin.state, 9));
        let from = if plugin.file.is_some() { "file" } else { "built-in" };
        out!("{name}  {state}  {from:<8}  {kind:<8}  {digest:<12}  {size:>10}  {waiting:>8}  {running:>8}");
        if let Some(reason) = plugin.reason {
            out!("  {}", style.red(reason));
            let in_service = match &plugin.in_service {
                Some(digest) => {
                    format!("version {} stays in service", digest.chars().take(12).collect::<String>())
                }
                None => "no version is in service: tasks are rejected, or wait".to_owned(),
            };
            out!("  {in_service}");
        }
    }
    Ok(())
}
