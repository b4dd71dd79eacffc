//! `wasmill watch`: a live table of tasks in the terminal, with keys.
//!
//! Asks the server now and then; knows nothing that `list` and `stats` could not show.

mod keys;
mod look;
mod table;
mod terminal;

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Result;
use hyper::Method;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use self::look::{Look, look};
use self::table::Table;
use self::terminal::Terminal;
use crate::cli::server::WatchArgs;
use crate::client::{Answer, Ask, Client, block_on};
use crate::exit::{Exit, told};
use crate::process::{self, StopSignals};

/// Looks, or answers to a cancel, that may wait to be shown.
const NEWS_MAX: usize = 16;
/// How often the table may be brought up to date.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(3_600);

/// What happened in the background.
enum News {
    Looked(Result<Look>),
    /// What came of a cancel, in words.
    Said(String),
}

/// Shows the table until a key or a signal ends it.
pub(crate) fn watch(args: &WatchArgs) -> Result<Exit> {
    if !INTERVALS.contains(&args.interval.0) {
        return Err(told(Exit::Usage, "--interval must be from 50ms to 1h"));
    }
    let client = Client::new(&args.server)?;
    block_on(async {
        let mut stop = StopSignals::listen()?;
        let mut resized = process::resizes()?;
        let mut terminal = Terminal::take()?;
        let mut keys = keys::listen();
        let (sender, mut news) = mpsc::channel(NEWS_MAX);
        let mut table = Table::new(client.to_string());
        let mut looks = interval(args.interval.0);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_looking = false;
        loop {
            terminal.draw(&table)?;
            tokio::select! {
                () = stop.next() => break,
                key = keys.recv() => match key {
                    None => break,
                    Some(key) => match table.press(key) {
                        Wish::Nothing => {}
                        Wish::Quit => break,
                        Wish::Cancel(id) => {
                            let (client, sender) = (client.clone(), sender.clone());
                            // Who left meanwhile need not be told.
                            tokio::spawn(async move { sender.send(News::Said(cancel(&client, &id).await)).await });
                        }
                    },
                },
                _ = resized.recv() => {}
                _ = looks.tick(), if !is_looking => {
                    is_looking = true;
                    let (client, filter, sender) = (client.clone(), args.filter.clone(), sender.clone());
                    let rows = terminal.rows();
                    tokio::spawn(async move { sender.send(News::Looked(look(&client, &filter, rows).await)).await });
                }
                Some(news) = news.recv() => match news {
                    News::Looked(look) => {
                        is_looking = false;
                        table.show(look);
                    }
                    News::Said(words) => {
                        table.say(words);
                        looks.reset_immediately();
                    }
                },
            }
        }
        Ok(Exit::Done)
    })
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Nothing,
    Quit,
    /// A task, by its id.
    Cancel(String),
}

async fn cancel(client: &Client, id: &str) -> String {
    let path = format!("/task/{id}/cancel");
    match client.send(Ask::new(Method::POST, &path)).await.and_then(Answer::good) {
        Ok(_) => format!("{id} cancelled"),
        Err(error) => format!("{error:#}"),
    }
}
