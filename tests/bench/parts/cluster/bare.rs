//! What the database can do at best: the rows of tasks are inserted, claimed and moved to those that have ended, in
//! batches, each one transaction that is sent as a whole and begins with a fence. No host, no HTTP, no run.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio_postgres::{Client, Statement};
use wasmill_model::TaskId;

use super::database::Postgres;
use crate::report::Spread;

/// The sizes of batches: one task; as many as the clients that submit one by one; as many as are drained at once.
pub(super) const BATCHES: [usize; 3] = [1, 64, 1_000];

/// Commits that are timed.
const COMMITS: usize = 200;

const TABLES: &str = "
    CREATE TABLE fence (n int PRIMARY KEY, batch bigint) WITH (fillfactor = 50);
    INSERT INTO fence VALUES (0, 0), (1, 0);
    CREATE TABLE open (id uuid PRIMARY KEY, plugin text, state text, created_at bigint, started_at bigint)
        WITH (fillfactor = 70);
    CREATE INDEX ON open (plugin, created_at) WHERE state = 'available';
    CREATE TABLE ended (id uuid PRIMARY KEY, plugin text, state text, created_at bigint, started_at bigint,
        finished_at bigint, result text);
    CREATE INDEX ON ended (finished_at)";
const FENCE: &str = "UPDATE fence SET batch = $1 WHERE n = 0";
const INSERT: &str = "
    INSERT INTO open SELECT id::uuid, 'noop', 'available', $2, NULL FROM unnest($1::text[]) AS id";
const CLAIM: &str = "UPDATE open SET state = 'running', started_at = $2 WHERE id = ANY ($1::text[]::uuid[])";
const FINISH: &str = "
    WITH gone AS (DELETE FROM open WHERE id = ANY ($1::text[]::uuid[]) RETURNING *)
    INSERT INTO ended SELECT id, plugin, 'completed', created_at, started_at, $2, 'null' FROM gone";

/// What bare batches reach.
pub(super) struct Floors {
    /// The time of one small commit.
    pub(super) commit: Spread,
    /// Tasks per second by the size of batches.
    pub(super) rates: [(usize, f64); BATCHES.len()],
}

impl Floors {
    pub(super) async fn measure(postgres: &Postgres, time: Duration) -> Result<Self> {
        let database = postgres.create();
        let client = database.connect().await?;
        client.batch_execute(TABLES).await?;
        let commit = commits(&client).await?;
        let bare = Bare::prepare(&client).await?;
        let mut rates = BATCHES.map(|batch| (batch, 0.0));
        for (batch, rate) in &mut rates {
            *rate = bare.rate(*batch, time).await?;
        }
        Ok(Self { commit, rates })
    }

    /// Returns how many tasks per second batches of this size reach.
    ///
    /// # Panics
    ///
    /// If it was not measured.
    pub(super) fn rate(&self, batch: usize) -> f64 {
        let found = self.rates.iter().find(|(size, _)| *size == batch);
        found.map(|(_, rate)| *rate).expect("one of those that are measured")
    }
}

async fn commits(client: &Client) -> Result<Spread> {
    let mut samples = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let start = Instant::now();
        client.batch_execute("UPDATE fence SET batch = batch + 1 WHERE n = 1").await?;
        samples.push(start.elapsed());
    }
    Ok(Spread::of(samples))
}

struct Bare<'a> {
    client: &'a Client,
    fence: Statement,
    insert: Statement,
    claim: Statement,
    finish: Statement,
}

impl<'a> Bare<'a> {
    async fn prepare(client: &'a Client) -> Result<Self> {
        Ok(Self {
            client,
            fence: client.prepare(FENCE).await?,
            insert: client.prepare(INSERT).await?,
            claim: client.prepare(CLAIM).await?,
            finish: client.prepare(FINISH).await?,
        })
    }

    /// Returns how many tasks per second go through. Each transaction inserts a batch, claims the one before it and
    /// finishes the one before that.
    async fn rate(&self, batch: usize, time: Duration) -> Result<f64> {
        let (mut claimed, mut inserted) = (Vec::new(), Vec::new());
        let (start, mut number, mut finished) = (Instant::now(), 0_i64, 0);
        while start.elapsed() < time {
            let new: Vec<_> = (0..batch).map(|_| TaskId::new().to_string()).collect();
            number += 1;
            // Sent together: each is polled once before an answer is awaited.
            let (.., ended, ()) = tokio::try_join!(
                self.client.batch_execute("BEGIN"),
                self.run(&self.fence, None, number),
                self.run(&self.insert, Some(&new), number),
                self.run(&self.claim, Some(&inserted), number),
                self.run(&self.finish, Some(&claimed), number),
                self.client.batch_execute("COMMIT"),
            )?;
            finished += ended;
            (claimed, inserted) = (inserted, new);
        }
        Ok(finished as f64 / start.elapsed().as_secs_f64())
    }

    /// Runs a statement with these tasks, if it has any, and the number of the transaction; returns how many rows it
    /// changed.
    async fn run(
        &self,
        statement: &Statement,
        tasks: Option<&Vec<String>>,
        number: i64,
    ) -> std::result::Result<u64, tokio_postgres::Error> {
        match tasks {
            Some(tasks) => self.client.execute(statement, &[tasks, &number]).await,
            None => self.client.execute(statement, &[&number]).await,
        }
    }
}
