//! `make bench ARGS=cluster`: hosts on one PostgreSQL of this machine that syncs every commit, and what bare batches of
//! the same rows reach in it in the same run.
//!
//! It writes docs/explanation/cluster-figures.md. `ARGS="cluster quick"` does a little of everything, to see that it works; its
//! figures say nothing and are only printed.

mod bare;
mod database;
mod elsewhere;
mod idle;
mod killed;
mod page;
mod snapshot;
mod throughput;

use std::time::Duration;

use anyhow::Result;

use self::bare::Floors;
use self::database::Postgres;
use crate::floors;
use crate::report::{per_second, row, take_tables, title};

/// How much of everything is done.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// How long clients submit in each round, and how long a floor is measured.
    load: Duration,
    /// How often each rate is measured.
    turns: usize,
    /// Tasks of a queue that is drained.
    drained: usize,
    /// The numbers of hosts that share the load.
    hosts: &'static [usize],
    /// How many tasks are started and deleted at another host.
    samples: usize,
    /// How often a host is killed.
    kills: usize,
    /// How many hosts are idle, and for how long.
    idle_hosts: usize,
    idle: Duration,
    /// How many tasks run beside a held snapshot, in rounds of 10,000.
    beside_snapshot: usize,
}

impl Sizes {
    /// What the figures of the book are made with.
    pub(crate) const FULL: Self = Self {
        load: Duration::from_secs(4),
        turns: 3,
        drained: 20_000,
        hosts: &[1, 2, 4],
        samples: 200,
        kills: 3,
        idle_hosts: 50,
        idle: Duration::from_secs(30),
        beside_snapshot: 60_000,
    };
    /// A little of everything.
    pub(crate) const QUICK: Self = Self {
        load: Duration::from_millis(500),
        turns: 1,
        drained: 1_000,
        hosts: &[1, 2],
        samples: 5,
        kills: 1,
        idle_hosts: 4,
        idle: Duration::from_secs(3),
        beside_snapshot: 20_000,
    };
}

/// Measures everything, and writes the page of the book.
pub(crate) async fn measure_and_write() -> Result<()> {
    measure(Sizes::FULL).await?;
    page::write(&take_tables())
}

pub(crate) async fn measure(sizes: Sizes) -> Result<()> {
    let postgres = Postgres::start()?;
    title(&format!("Floors of {}, every commit synced", postgres.version()));
    row("one fsync of 4 KiB", &floors::fsync()?.to_string());
    let floors = Floors::measure(&postgres, sizes.load).await?;
    row("one row, committed", &floors.commit.to_string());
    for (batch, rate) in floors.rates {
        row(&format!("bare tasks, batches of {batch}"), &per_second(rate, "tasks"));
    }
    throughput::measure(&postgres, &floors, sizes).await?;
    elsewhere::measure(&postgres, &floors, sizes).await?;
    killed::measure(&postgres, sizes).await?;
    idle::measure(&postgres, sizes).await?;
    snapshot::measure(&postgres, sizes).await
}
