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
use crate::client::{Ask, Client, Events, LogLine, block_on};
use crate::commands::find::find;
use crate::commands::with_query;
use crate::exit::{self, Exit, told};
use crate::output::{self, data, say, tell};
use crate::process::StopSignals;
use crate::screen::paint::Paint;

/// Lines asked for at once.
const PAGE: usize = 1_000;
/// Lines that may wait to be printed.
const LINES_MAX: usize = 256;
/// The pause before a connection that was cut is made again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a server may be away, as in a restart.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// What following a log brings.
pub(crate) enum News {
    Line(LogLine),
    /// So many lines are not kept any more.
    Gap(u64),
    /// The task has ended, and that was all.
    End,
    /// There is no more to come, for this reason.
    Lacking(anyhow::Error),
}

/// Prints the log.
pub(crate) fn logs(args: &LogsArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let mut printer = Printer::new(args);
    block_on(async {
        let id = find(&client, args.id).await?;
        if !args.follow {
            return print_so_far(&client, id, args.after, &mut printer).await;
        }
        let mut stop = StopSignals::listen()?;
        let (sender, mut news) = mpsc::channel(LINES_MAX);
        tokio::spawn(follow(client, id, args.after, sender));
        loop {
            let said = tokio::select! {
                biased;
                () = stop.next() => return Ok(Exit::Interrupted),
                said = news.recv() => said,
            };
            match said {
                Some(News::Line(line)) => printer.print(&line)?,
                Some(News::Gap(missed)) => tell!("{}", gap(missed)),
                Some(News::End) | None => return Ok(Exit::Done),
                Some(News::Lacking(error)) => return Err(error),
            }
        }
    })
}

async fn print_so_far(
    client: &Client,
    id: TaskId,
    mut after: Option<u64>,
    printer: &mut Printer,
) -> Result<Exit> {
    loop {
        let mut parameters = vec![("limit", PAGE.to_string())];
        parameters.extend(after.map(|after| ("after", after.to_string())));
        let answer = client.get(&with_query(&format!("/task/{id}/logs"), &parameters)).await?;
        if answer.status == StatusCode::NOT_FOUND && answer.code() == "unknown-route" {
            return print_tail(client, id).await;
        }
        let lines: Vec<LogLine> = answer.good()?.read()?;
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
    let answer = client.get(&format!("/task/{id}")).await?.good()?;
    tell!("wasmill: {client} keeps no lines of log; this is the end of what the newest ended attempt wrote");
    let Tail { log } = answer.read()?;
    output::text(&log.unwrap_or_default());
    Ok(Exit::Done)
}

/// Follows the log of a task until the end, or until nobody listens any more.
pub(crate) async fn follow(client: Client, id: TaskId, after: Option<u64>, news: mpsc::Sender<News>) {
    let mut reader = Reader { client, id, after, news };
    let mut away_since: Option<Instant> = None;
    loop {
        let last = match reader.read().await {
            Ok(Read::Cut) => {
                away_since = None;
                sleep(PAUSE).await;
                continue;
            }
            Ok(Read::Unheard) => return,
            Ok(Read::Ended) => News::End,
            Err(error) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if exit::of(&error) == Exit::Unreachable && since.elapsed() < AWAY_MAX {
                    sleep(PAUSE).await;
                    continue;
                }
                News::Lacking(error)
            }
        };
        // Nobody to tell is fine.
        let _ = reader.news.send(last).await;
        return;
    }
}

/// How reading one connection ended.
enum Read {
    /// The task has ended and all was read.
    Ended,
    /// The connection was cut.
    Cut,
    /// Nobody listens any more.
    Unheard,
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
    news: mpsc::Sender<News>,
}

impl Reader {
    /// Reads from one connection as long as it holds.
    async fn read(&mut self) -> Result<Read> {
        let parameters: Vec<_> = self.after.map(|after| ("after", after.to_string())).into_iter().collect();
        let path = with_query(&format!("/task/{}/logs", self.id), &parameters);
        let headers = vec![("Accept", "text/event-stream".to_owned())];
        let response = self.client.open(Ask { headers, ..Ask::new(Method::GET, &path) }).await?;
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let is_stream = content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
        if !response.status().is_success() || !is_stream {
            return Err(self.lacking(response.status()).await);
        }
        let mut events = Events::new(response.into_body());
        loop {
            let Ok(Some(event)) = events.next().await else { return Ok(Read::Cut) };
            match event.name.as_str() {
                "log" => {
                    let line: LogLine = serde_json::from_str(&event.data)?;
                    // Whatever was sent twice is shown once.
                    if self.after.is_some_and(|after| line.seq <= after) {
                        continue;
                    }
                    self.after = Some(line.seq);
                    if self.news.send(News::Line(line)).await.is_err() {
                        return Ok(Read::Unheard);
                    }
                }
                "gap" => {
                    let Gap { missed } = serde_json::from_str(&event.data)?;
                    if self.news.send(News::Gap(missed)).await.is_err() {
                        return Ok(Read::Unheard);
                    }
                }
                "end" => return Ok(Read::Ended),
                // Something of a later version.
                _ => {}
            }
        }
    }

    /// Words why there is no stream of lines.
    async fn lacking(&self, status: StatusCode) -> anyhow::Error {
        // A plain request for the same has the server's words for what is wrong.
        let plain = with_query(&format!("/task/{}/logs", self.id), &[("limit", "1".to_owned())]);
        match self.client.get(&plain).await {
            Ok(answer) if answer.code() == "unknown-route" => {
                let id = self.id;
                let message = format!(
                    "{} does not stream logs, it may be an older wasmill; `wasmill logs {id}` has what it keeps",
                    self.client
                );
                told(Exit::NotFound, message)
            }
            Ok(answer) if !answer.status.is_success() => answer.refusal(),
            Ok(_) => {
                told(Exit::Unreachable, format!("{} does not stream logs: it answered {status}", self.client))
            }
            Err(error) => error,
        }
    }
}

struct Printer {
    json: bool,
    timestamps: bool,
    is_terminal: bool,
    paint: Paint,
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
            paint: Paint::stdout(),
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
        let goes_on = open.as_ref() == Some(stream);
        if open.is_some() && !goes_on {
            // The other stream comes in between.
            say!("");
        }
        if self.is_terminal && self.attempt > 0 && *attempt != self.attempt {
            say!("{}", self.paint.dim(format!("-- attempt {attempt} --")));
        }
        self.attempt = *attempt;
        let text = if stream == "stderr" { self.paint.yellow(text) } else { text.clone() };
        let time = if self.timestamps && !goes_on { self.paint.dim(time) + " " } else { String::new() };
        if *cut {
            self.open = Some(stream.clone());
            output::part(&format!("{time}{text}"));
        } else {
            data!("{time}{text}");
        }
        Ok(())
    }
}
