//! `wasmill list`: tasks, newest first, as a table, ids or JSON.

use std::io::{IsTerminal, stdout};

use anyhow::Result;
use hyper::header;
use serde_json::value::RawValue;

use crate::cli::server::{FilterArgs, ListTasksArgs};
use crate::client::{Client, ClientResponse, Task, block_on};
use crate::commands::query::with_query;
use crate::exit::Exit;
use crate::output::{data, note, out};
use crate::terminal::size;
use crate::terminal::style::Style;
use crate::terminal::text::{format_duration, padded, truncated};

/// Maximum number of tasks per page on a server.
pub(crate) const PAGE_SIZE: usize = 1_000;
/// Columns of the table in front of the progress.
const FIXED_COLUMNS: usize = 36 + 2 + 9 + 2 + 16 + 2 + 8 + 2 + 7 + 2;
/// Columns of the progress outside a terminal.
const NOTE_COLUMNS: usize = 100;

/// Prints the tasks, page by page.
pub(crate) fn list(args: &ListTasksArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        let mut printer = Printer::new(args.json, args.quiet);
        let mut left = if args.limit == 0 { usize::MAX } else { args.limit };
        let mut cursor = None;
        loop {
            let response = page(&client, &args.filter, left.min(PAGE_SIZE), cursor).await?;
            let records: Vec<Box<RawValue>> = response.read_list()?;
            let shown = records.len().min(left);
            for record in &records[..shown] {
                printer.print(record)?;
            }
            left -= shown;
            cursor = next(&response);
            if left == 0 || cursor.is_none() {
                break;
            }
        }
        printer.end(cursor.is_some());
        Ok(Exit::Done)
    })
}

/// Requests a page of at most `limit` tasks, after the one that returned the cursor.
pub(crate) async fn page(
    client: &Client,
    filter: &FilterArgs,
    limit: usize,
    cursor: Option<String>,
) -> Result<ClientResponse> {
    let mut parameters = vec![("limit", limit.to_string())];
    parameters.extend(filter.parameters());
    parameters.extend(cursor.map(|cursor| ("cursor", cursor)));
    client.get(&with_query("/task", &parameters)).await?.error_for_status()
}

/// Returns the cursor of the next page from the `Link` header.
pub(crate) fn next(response: &ClientResponse) -> Option<String> {
    let link = response.headers.get(header::LINK)?.to_str().ok()?;
    let url = link.split_once('<')?.1.split_once('>')?.0;
    let query = url.split_once('?')?.1;
    let cursor = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "cursor")?;
    Some(cursor.1.into_owned())
}

/// Prints tasks as rows, ids or one JSON array.
pub(super) struct Printer {
    json: bool,
    quiet: bool,
    style: Style,
    /// Columns for the progress: the rest of the terminal, or a default in files and pipes.
    columns_left: usize,
    count: usize,
}

impl Printer {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        let columns = if stdout().is_terminal() { size(stdout()).0 } else { FIXED_COLUMNS + NOTE_COLUMNS };
        let columns_left = columns.saturating_sub(FIXED_COLUMNS);
        Self { json, quiet, style: Style::stdout(), columns_left, count: 0 }
    }

    pub(super) fn print(&mut self, record: &RawValue) -> Result<()> {
        self.count += 1;
        if self.json {
            data!("{}{}", if self.count == 1 { "[" } else { "," }, record.get());
            return Ok(());
        }
        let task: Task = serde_json::from_str(record.get())?;
        if self.quiet {
            out!("{}", task.id);
            return Ok(());
        }
        if self.count == 1 {
            out!("{}", self.style.bold(header()));
        }
        out!("{}", row(&task, self.style, self.columns_left));
        Ok(())
    }

    pub(super) fn end(&self, has_more: bool) {
        match (self.json, self.count) {
            (true, 0) => data!("[]"),
            (true, _) => data!("]"),
            (false, 0) if !self.quiet => note!("no matching tasks"),
            (false, count) if has_more && !self.quiet => {
                note!("showing the newest {count}; --limit 0 shows all");
            }
            (false, _) => {}
        }
    }
}

fn header() -> String {
    format!("{:<36}  {:<9}  {:<16}  {:<8}  {:<7}  PROGRESS", "ID", "STATE", "PLUGIN", "AGE", "RAN")
}

/// Formats a task as a row of the table.
fn row(task: &Task, style: Style, columns_left: usize) -> String {
    let state = style.state(&task.state, padded(task.full_state(), 9));
    let plugin = padded(&task.plugin, 16);
    let age = padded(&format_duration(task.age()), 8);
    let ran = if task.started_at.is_some() { format_duration(task.duration()) } else { "-".to_owned() };
    let ran = padded(&ran, 7);
    let what = match (&task.progress, task.state.as_str()) {
        (Some(progress), "running") => format!("{:>3} %  {}", progress.percent(), progress.note),
        (_, "failed") => task.status.clone(),
        _ => task.waiting_for().unwrap_or_default(),
    };
    let what = truncated(&what, columns_left);
    format!("{}  {state}  {plugin}  {age}  {ran}  {what}", task.id).trim_end().to_owned()
}
