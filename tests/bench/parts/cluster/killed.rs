//! From the death of a host to the start of its task at another one, and at its own machine.

use std::time::{Duration, Instant};

use anyhow::Result;
use wasmill_tests::{Client, Server, sleep};

use super::Sizes;
use super::database::{Database, Postgres};
use crate::report::{Spread, row, title};

const SLOTS: [&str; 2] = ["--slots", "4"];

pub(super) async fn measure(postgres: &Postgres, sizes: Sizes) -> Result<()> {
    title("kill -9 of a host (goal: its tasks begin elsewhere within 15 s, on its machine within 0.3 s)");
    let database = postgres.create();
    let survivor = database.host(&SLOTS)?;
    let (mut elsewhere, mut restarted) = (Vec::new(), Vec::new());
    for _ in 0..sizes.kills {
        let (mut host, id) = host_with_task(&database).await?;
        let start = Instant::now();
        host.kill();
        again(&survivor.client(), &id).await;
        elsewhere.push(start.elapsed());
        survivor.client().delete(&format!("/task/{id}")).await;

        let (host, id) = host_with_task(&database).await?;
        let start = Instant::now();
        let host = host.kill_and_restart();
        again(&host.client(), &id).await;
        restarted.push(start.elapsed());
        survivor.client().delete(&format!("/task/{id}")).await;
    }
    row("kill to the next start elsewhere", &Spread::of(elsewhere).to_string());
    row("kill and restart to the next start", &Spread::of(restarted).to_string());
    row(
        "SIGSTOP: no line of its guests after the lease",
        "a test: a_stopped_host_runs_nothing_once_others_may",
    );
    Ok(())
}

/// Starts a host that runs a task; it claims what it accepts, unless it is slow.
async fn host_with_task(database: &Database<'_>) -> Result<(Server, String)> {
    let host = database.host(&SLOTS)?;
    let client = host.client();
    loop {
        let id = client.submit(&sleep(3_600_000)).await;
        client.until(&id, "running").await;
        if client.slots_used().await == 1 {
            return Ok((host, id));
        }
        client.delete(&format!("/task/{id}")).await;
    }
}

/// Waits until a task runs for the second time.
async fn again(client: &Client, id: &str) {
    let path = format!("/task/{id}");
    loop {
        let task = client.get(&path).await.json;
        if task["attempt"] == 2 && task["state"] == "running" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
