//! `wasmill logs`: the log of a task, so far or as it is written.
//!
//! Following survives lost connections and restarts of the server: lines are numbered, and each request continues
//! after the last line seen.

use std::time::Duration;

use anyhow::Result;
use hyper::{Method, StatusCode, header};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use wasmill_model::TaskId;

use crate::cli::server::LogsArgs;
use crate::client::{Client, ClientRequest, Events, LogLine, block_on};
use crate::commands::find::find;
use crate::commands::query::with_query;
use crate::exit::{self, Exit, cli_error};
use crate::output::{self, data, note, out};
use crate::process::StopSignals;
use crate::terminal::style::Style;

/// Lines per request.
const PAGE_SIZE: usize = 1_000;
/// Maximum log events waiting to be printed.
const LINES_MAX: usize = 256;
/// The pause before reconnecting.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How long the server may be unreachable, such as during a restart.
const OUTAGE_MAX: Duration = Duration::from_secs(60);

/// An event while following a log.
pub(crate) enum LogEvent {
    Line(LogLine),
    /// This many lines are no longer stored.
    Gap(u64),
    /// The task has finished and all lines were read.
    End,
    /// The log cannot be followed, for this reason.
    Failed(anyhow::Error),
}

/// Prints the log.
pub(crate) fn logs(args: &LogsArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let mut printer = Printer::new(args);
    block_on(async {
        let id = find(&client, args.id).await?;
        if !args.follow {
            return print_stored(&client, id, args.after, &mut printer).await;
        }
        let mut stop = StopSignals::listen()?;
        let (sender, mut log_events) = mpsc::channel(LINES_MAX);
        tokio::spawn(follow(client, id, args.after, sender));
        loop {
            let event = tokio::select! {
                biased;
                () = stop.next() => return Ok(Exit::Interrupted),
                event = log_events.recv() => event,
            };
            match event {
                Some(LogEvent::Line(line)) => printer.print(&line)?,
                Some(LogEvent::Gap(missed)) => note!("{}", gap(missed)),
                Some(LogEvent::End) | None => return Ok(Exit::Done),
                Some(LogEvent::Failed(error)) => return Err(error),
            }
        }
    })
}

async fn print_stored(
    client: &Client,
    id: TaskId,
    mut after: Option<u64>,
    printer: &mut Printer,
) -> Result<Exit> {
    loop {
        let mut parameters = vec![("limit", PAGE_SIZE.to_string())];
        parameters.extend(after.map(|after| ("after", after.to_string())));
        let path = with_query(&format!("/task/{id}/logs"), &parameters);
        let lines: Vec<LogLine> = client.get(&path).await?.error_for_status()?.read_list()?;
        for line in &lines {
            printer.print(line)?;
            after = Some(line.seq);
        }
        if lines.is_empty() {
            return Ok(Exit::Done);
        }
    }
}

/// Follows the log of a task until it ends or the receiver is dropped.
pub(crate) async fn follow(
    client: Client,
    id: TaskId,
    after: Option<u64>,
    log_events: mpsc::Sender<LogEvent>,
) {
    let mut reader = Reader { client, id, after, log_events };
    let mut unreachable_since: Option<Instant> = None;
    loop {
        let last = match reader.read().await {
            Ok(ConnectionEnd::Lost) => {
                unreachable_since = None;
                sleep(RECONNECT_PAUSE).await;
                continue;
            }
            Ok(ConnectionEnd::NoReceiver) => return,
            Ok(ConnectionEnd::Finished) => LogEvent::End,
            Err(error) => {
                let since = *unreachable_since.get_or_insert_with(Instant::now);
                if exit::code_of(&error) == Exit::Unreachable && since.elapsed() < OUTAGE_MAX {
                    sleep(RECONNECT_PAUSE).await;
                    continue;
                }
                LogEvent::Failed(error)
            }
        };
        // A dropped receiver is fine.
        let _ = reader.log_events.send(last).await;
        return;
    }
}

/// How reading one connection ended.
enum ConnectionEnd {
    /// The task has finished and everything was read.
    Finished,
    /// The connection was lost.
    Lost,
    /// The receiver was dropped.
    NoReceiver,
}

#[derive(Deserialize)]
struct Gap {
    missed: u64,
}

/// Returns the line that marks missing lines.
pub(crate) fn gap(missed: u64) -> String {
    format!("-- {missed} lines are no longer stored --")
}

struct Reader {
    client: Client,
    id: TaskId,
    /// The number of the last line seen.
    after: Option<u64>,
    log_events: mpsc::Sender<LogEvent>,
}

impl Reader {
    /// Reads one connection until it ends.
    async fn read(&mut self) -> Result<ConnectionEnd> {
        let parameters: Vec<_> = self.after.map(|after| ("after", after.to_string())).into_iter().collect();
        let path = with_query(&format!("/task/{}/logs", self.id), &parameters);
        let headers = vec![("Accept", "text/event-stream".to_owned())];
        let response =
            self.client.open(ClientRequest { headers, ..ClientRequest::new(Method::GET, &path) }).await?;
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let is_stream = content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
        if !response.status().is_success() || !is_stream {
            return Err(self.stream_error(response.status()).await);
        }
        let mut events = Events::new(response.into_body());
        loop {
            let Ok(Some(event)) = events.next().await else { return Ok(ConnectionEnd::Lost) };
            match event.name.as_str() {
                "log" => {
                    let line: LogLine = serde_json::from_str(&event.data)?;
                    // A line sent twice is shown once.
                    if self.after.is_some_and(|after| line.seq <= after) {
                        continue;
                    }
                    self.after = Some(line.seq);
                    if self.log_events.send(LogEvent::Line(line)).await.is_err() {
                        return Ok(ConnectionEnd::NoReceiver);
                    }
                }
                "gap" => {
                    let Gap { missed } = serde_json::from_str(&event.data)?;
                    if self.log_events.send(LogEvent::Gap(missed)).await.is_err() {
                        return Ok(ConnectionEnd::NoReceiver);
                    }
                }
                "end" => return Ok(ConnectionEnd::Finished),
                // An event of a later version.
                _ => {}
            }
        }
    }

    /// Returns the reason why there is no stream.
    async fn stream_error(&self, status: StatusCode) -> anyhow::Error {
        // The same request without streaming returns the server's own error.
        let plain = with_query(&format!("/task/{}/logs", self.id), &[("limit", "1".to_owned())]);
        match self.client.get(&plain).await {
            Ok(response) if !response.status.is_success() => response.to_error(),
            Ok(_) => cli_error(
                Exit::Unreachable,
                format!("{} does not stream logs: it answered {status}", self.client),
            ),
            Err(error) => error,
        }
    }
}

struct Printer {
    json: bool,
    timestamps: bool,
    is_terminal: bool,
    style: Style,
    attempt: u32,
    /// The stream of a line that was printed in part and continues.
    open: Option<String>,
}

impl Printer {
    fn new(args: &LogsArgs) -> Self {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        Self {
            json: args.json,
            timestamps: args.timestamps,
            is_terminal,
            style: Style::stdout(),
            attempt: 0,
            open: None,
        }
    }

    fn print(&mut self, line: &LogLine) -> Result<()> {
        if self.json {
            data!("{}", serde_json::to_string(line)?);
            return Ok(());
        }
        let LogLine { time, attempt, stream, text, cut, .. } = line;
        let open = self.open.take();
        let continues = open.as_ref() == Some(stream);
        if open.is_some() && !continues {
            // A line of the other stream comes in between.
            out!("");
        }
        if self.is_terminal && self.attempt > 0 && *attempt != self.attempt {
            out!("{}", self.style.dim(format!("-- attempt {attempt} --")));
        }
        self.attempt = *attempt;
        let text = if stream == "stderr" { self.style.yellow(text) } else { text.clone() };
        let time = if self.timestamps && !continues { self.style.dim(time) + " " } else { String::new() };
        if *cut {
            self.open = Some(stream.clone());
            output::part(&format!("{time}{text}"));
        } else {
            data!("{time}{text}");
        }
        Ok(())
    }
}
