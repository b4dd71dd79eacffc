//! `wasmill watch`: a live table of tasks in the terminal, with keys.
//!
//! Polls the server; shows nothing that `list` and `stats` could not show.

mod alt_screen;
mod keys;
mod snapshot;
mod table;

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Result;
use hyper::Method;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use self::alt_screen::AltScreen;
use self::snapshot::{Snapshot, snapshot};
use self::table::{Action, Table};
use crate::cli::server::WatchArgs;
use crate::client::{Client, ClientRequest, ClientResponse, block_on};
use crate::exit::{Exit, cli_error};
use crate::process::{self, StopSignals};

/// Maximum background events waiting to be shown.
const EVENTS_MAX: usize = 16;
/// The allowed refresh intervals.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(3_600);

/// An event from the background.
enum WatchEvent {
    Polled(Result<Snapshot>),
    /// The outcome of a cancel.
    Message(String),
}

/// Shows the table until a key or a signal ends it.
pub(crate) fn watch(args: &WatchArgs) -> Result<Exit> {
    if !INTERVALS.contains(&args.interval) {
        return Err(cli_error(Exit::Usage, "invalid value for --interval: must be from 50ms to 1h"));
    }
    let client = Client::new(&args.server)?;
    block_on(async {
        let mut stop = StopSignals::listen()?;
        let mut resized = process::resizes()?;
        let mut alt_screen = AltScreen::take()?;
        let mut keys = keys::listen();
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let mut table = Table::new(client.to_string());
        let mut polls = interval(args.interval);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_polling = false;
        loop {
            alt_screen.draw(&table)?;
            tokio::select! {
                () = stop.next() => break,
                key = keys.recv() => match key {
                    None => break,
                    Some(key) => match table.press(key) {
                        Action::Nothing => {}
                        Action::Quit => break,
                        Action::Cancel(id) => {
                            let (client, sender) = (client.clone(), sender.clone());
                            // The receiver may be gone already.
                            tokio::spawn(async move { sender.send(WatchEvent::Message(cancel(&client, &id).await)).await });
                        }
                    },
                },
                _ = resized.recv() => {}
                _ = polls.tick(), if !is_polling => {
                    is_polling = true;
                    let (client, filter, sender) = (client.clone(), args.filter.clone(), sender.clone());
                    let rows = alt_screen.rows();
                    tokio::spawn(async move { sender.send(WatchEvent::Polled(snapshot(&client, &filter, rows).await)).await });
                }
                Some(events) = events.recv() => match events {
                    WatchEvent::Polled(snapshot) => {
                        is_polling = false;
                        table.show(snapshot);
                    }
                    WatchEvent::Message(words) => {
                        table.set_message(words);
                        polls.reset_immediately();
                    }
                },
            }
        }
        Ok(Exit::Done)
    })
}

async fn cancel(client: &Client, id: &str) -> String {
    let path = format!("/task/{id}/cancel");
    match client
        .send(ClientRequest::new(Method::POST, &path))
        .await
        .and_then(ClientResponse::error_for_status)
    {
        Ok(_) => format!("{id} cancelled"),
        Err(error) => format!("{error:#}"),
    }
}
