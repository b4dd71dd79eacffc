//! What hosts cost that do nothing.

use std::time::Duration;

use anyhow::Result;

use super::Sizes;
use super::database::Postgres;
use crate::parts::computing::computed;
use crate::report::{row, title};

/// Little of everything, so that many fit on one machine.
const ARGS: [&str; 4] = ["--slots", "2", "--memory-total", "256MiB"];

/// How long hosts run after the last one has started, before they are measured.
const SETTLED: Duration = Duration::from_secs(5);

pub(super) async fn measure(postgres: &Postgres, sizes: Sizes) -> Result<()> {
    title(&format!("{} idle hosts (goal: 5 % of one core of PostgreSQL)", sizes.idle_hosts));
    let database = postgres.create();
    let hosts = database.hosts(sizes.idle_hosts, &ARGS)?;
    tokio::time::sleep(SETTLED).await;
    let of_hosts = || hosts.iter().map(computed).sum::<Result<Duration>>();
    let (before, before_hosts) = (postgres.computed()?, of_hosts()?);
    tokio::time::sleep(sizes.idle).await;
    let share = |time: Duration| 100.0 * time.as_secs_f64() / sizes.idle.as_secs_f64();
    row("PostgreSQL", &format!("{:.1} % of a core", share(postgres.computed()? - before)));
    let each = share(of_hosts()? - before_hosts) / sizes.idle_hosts as f64;
    row("each host", &format!("{each:.2} % of a core, {} MiB", hosts[0].memory("VmRSS") >> 20));
    Ok(())
}
