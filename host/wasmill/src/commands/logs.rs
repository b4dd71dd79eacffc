//! `wasmill logs`: what a task wrote, so far or as it comes.
//!
//! Follows over cut connections and restarts of the server: each line has a number, and it asks for those
//! after the last it saw.

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
use crate::commands::with_query;
use crate::exit::{self, Exit, cli_error};
use crate::output::{self, data, note, out};
use crate::process::StopSignals;
use crate::terminal::style::Style;

/// Lines asked for at once.
const PAGE_SIZE: usize = 1_000;
/// Lines that may wait to be printed.
const LINES_MAX: usize = 256;
/// The pause before a connection that was cut is made again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
/// How long a server may be away, as in a restart.
const OUTAGE_MAX: Duration = Duration::from_secs(60);

/// What following a log brings.
pub(crate) enum LogEvent {
    Line(LogLine),
    /// So many lines are not kept any more.
    Gap(u64),
    /// The task has ended, and that was all.
    End,
    /// There is no more to come, for this reason.
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
        let response = client.get(&with_query(&format!("/task/{id}/logs"), &parameters)).await?;
        if response.status == StatusCode::NOT_FOUND && response.code() == "unknown-route" {
            return print_tail(client, id).await;
        }
        let lines: Vec<LogLine> = response.error_for_status()?.read()?;
        for line in &lines {
            printer.print(line)?;
            after = Some(line.seq);
        }
        if lines.is_empty() {
            return Ok(Exit::Done);
        }
    }
}

/// Prints what an older server keeps: the end of what the newest ended attempt wrote.
async fn print_tail(client: &Client, id: TaskId) -> Result<Exit> {
    #[derive(Deserialize)]
    struct Tail {
        log: Option<String>,
    }
    let response = client.get(&format!("/task/{id}")).await?.error_for_status()?;
    note!("wasmill: {client} keeps no lines of log; this is the end of what the newest ended attempt wrote");
    let Tail { log } = response.read()?;
    output::text(&log.unwrap_or_default());
    Ok(Exit::Done)
}

/// Follows the log of a task until the end, or until nobody listens any more.
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
        // Nobody to tell is fine.
        let _ = reader.log_events.send(last).await;
        return;
    }
}

/// How reading one connection ended.
enum ConnectionEnd {
    /// The task has ended and all was read.
    Finished,
    /// The connection was cut.
    Lost,
    /// Nobody listens any more.
    NoReceiver,
}

#[derive(Deserialize)]
struct Gap {
    missed: u64,
}

/// Words that lines are missing.
pub(crate) fn gap(missed: u64) -> String {
    format!("-- {missed} lines are not kept any more --")
}

struct Reader {
    client: Client,
    id: TaskId,
    /// The number of the last line that was seen.
    after: Option<u64>,
    log_events: mpsc::Sender<LogEvent>,
}

impl Reader {
    /// Reads from one connection as long as it holds.
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
                    // Whatever was sent twice is shown once.
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
                // Something of a later version.
                _ => {}
            }
        }
    }

    /// Words why there is no stream of lines.
    async fn stream_error(&self, status: StatusCode) -> anyhow::Error {
        // A plain request for the same has the server's words for what is wrong.
        let plain = with_query(&format!("/task/{}/logs", self.id), &[("limit", "1".to_owned())]);
        match self.client.get(&plain).await {
            Ok(response) if response.code() == "unknown-route" => {
                let id = self.id;
                let message = format!(
                    "{} does not stream logs, it may be an older wasmill; `wasmill logs {id}` has what it keeps",
                    self.client
                );
                cli_error(Exit::NotFound, message)
            }
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
    /// The stream of a line that was printed in part and goes on.
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
            // The other stream comes in between.
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
