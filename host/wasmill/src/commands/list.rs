//! `wasmill list`: tasks, newest first, as a table, ids or JSON.

use std::io::{IsTerminal, stdout};

use anyhow::Result;
use hyper::header;
use serde_json::value::RawValue;

use crate::cli::server::{FilterArgs, ListTasksArgs};
use crate::client::{Answer, Client, Task, block_on};
use crate::commands::with_query;
use crate::exit::Exit;
use crate::output::{data, say, tell};
use crate::screen::paint::Paint;
use crate::screen::size;
use crate::screen::text::{clipped, padded, time};

/// The most tasks that a server puts on a page.
pub(crate) const PAGE: usize = 1_000;
/// Columns of what stands before the progress.
const FIXED_COLUMNS: usize = 36 + 2 + 9 + 2 + 16 + 2 + 8 + 2 + 7 + 2;
/// Columns of the progress where nothing bounds them.
const NOTE_COLUMNS: usize = 100;

/// Prints them, page by page.
pub(crate) fn list(args: &ListTasksArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        let mut printer = Printer::new(args);
        let mut left = if args.limit == 0 { usize::MAX } else { args.limit };
        let mut cursor = None;
        loop {
            let answer = page(&client, &args.filter, left.min(PAGE), cursor).await?;
            let records: Vec<Box<RawValue>> = answer.read()?;
            let shown = records.len().min(left);
            for record in &records[..shown] {
                printer.print(record)?;
            }
            left -= shown;
            cursor = next(&answer);
            if left == 0 || cursor.is_none() {
                break;
            }
        }
        printer.end(cursor.is_some());
        Ok(Exit::Done)
    })
}

/// Asks for a page of tasks: so many at most, behind an earlier one if there is a cursor.
pub(crate) async fn page(
    client: &Client,
    filter: &FilterArgs,
    limit: usize,
    cursor: Option<String>,
) -> Result<Answer> {
    let mut parameters = vec![("limit", limit.to_string())];
    parameters.extend(filter.parameters());
    parameters.extend(cursor.map(|cursor| ("cursor", cursor)));
    client.get(&with_query("/task", &parameters)).await?.good()
}

/// Reads the cursor of the next page from the `Link` header.
pub(crate) fn next(answer: &Answer) -> Option<String> {
    let link = answer.headers.get(header::LINK)?.to_str().ok()?;
    let url = link.split_once('<')?.1.split_once('>')?.0;
    let query = url.split_once('?')?.1;
    let cursor = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "cursor")?;
    Some(cursor.1.into_owned())
}

struct Printer {
    json: bool,
    quiet: bool,
    paint: Paint,
    /// Columns of the progress: what is left of a terminal, and some in files and pipes.
    room: usize,
    count: usize,
}

impl Printer {
    fn new(args: &ListTasksArgs) -> Self {
        let columns = if stdout().is_terminal() { size(stdout()).0 } else { FIXED_COLUMNS + NOTE_COLUMNS };
        let room = columns.saturating_sub(FIXED_COLUMNS);
        Self { json: args.json, quiet: args.quiet, paint: Paint::stdout(), room, count: 0 }
    }

    fn print(&mut self, record: &RawValue) -> Result<()> {
        self.count += 1;
        if self.json {
            data!("{}{}", if self.count == 1 { "[" } else { "," }, record.get());
            return Ok(());
        }
        let task: Task = serde_json::from_str(record.get())?;
        if self.quiet {
            say!("{}", task.id);
            return Ok(());
        }
        if self.count == 1 {
            say!("{}", self.paint.bold(head()));
        }
        say!("{}", row(&task, self.paint, self.room));
        Ok(())
    }

    fn end(&self, has_more: bool) {
        match (self.json, self.count) {
            (true, 0) => data!("[]"),
            (true, _) => data!("]"),
            (false, 0) if !self.quiet => tell!("there are no such tasks"),
            (false, count) if has_more && !self.quiet => {
                tell!("the newest {count}; there are more, --limit 0 shows all");
            }
            (false, _) => {}
        }
    }
}

fn head() -> String {
    format!("{:<36}  {:<9}  {:<16}  {:<8}  {:<7}  PROGRESS", "ID", "STATE", "PLUGIN", "AGE", "RAN")
}

/// Writes a task as a row of the table: what is needed to find it, and how it is doing.
fn row(task: &Task, paint: Paint, room: usize) -> String {
    let state = paint.state(&task.state, padded(&task.state, 9));
    let plugin = padded(&task.plugin, 16);
    let age = padded(&time(task.age()), 8);
    let ran = if task.started_at.is_some() { time(task.duration()) } else { "-".to_owned() };
    let ran = padded(&ran, 7);
    let what = match (&task.progress, task.state.as_str()) {
        (Some(progress), "running") => format!("{:>3} %  {}", progress.percent(), progress.note),
        (_, "failed") => task.status.clone(),
        _ => task.next_attempt().unwrap_or_default(),
    };
    let what = clipped(&what, room);
    format!("{}  {state}  {plugin}  {age}  {ran}  {what}", task.id).trim_end().to_owned()
}
