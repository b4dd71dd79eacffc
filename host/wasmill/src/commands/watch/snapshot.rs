//! A snapshot of a server: its statistics, and the tasks that fill a screen.

use std::collections::HashSet;

use anyhow::Result;

use crate::cli::server::FilterArgs;
use crate::client::{Client, Stats, Task};
use crate::commands::list::{PAGE_SIZE, next, page};

/// Maximum pages requested for one screen: a page of a filter may have few tasks or none.
const PAGES_MAX: usize = 10;

/// The state of a server at one time.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) stats: Stats,
    /// Running tasks first, then the newest others.
    pub(super) tasks: Vec<Task>,
}

/// Requests a snapshot with at most this many tasks.
pub(super) async fn snapshot(client: &Client, filter: &FilterArgs, tasks_max: usize) -> Result<Snapshot> {
    let stats = client.get("/stats").await?.error_for_status()?.read::<Stats>()?;
    let mut tasks = Vec::new();
    let wants_running = filter.state.is_empty() || filter.state.iter().any(|state| state == "running");
    if wants_running {
        let running = FilterArgs { state: vec!["running".to_owned()], ..filter.clone() };
        tasks = read(client, &running, tasks_max).await?;
    }
    if tasks.len() < tasks_max {
        let seen: HashSet<String> = tasks.iter().map(|task| task.id.clone()).collect();
        let newest = read(client, filter, tasks_max).await?;
        tasks.extend(newest.into_iter().filter(|task| !seen.contains(&task.id)));
        tasks.truncate(tasks_max);
    }
    Ok(Snapshot { stats, tasks })
}

async fn read(client: &Client, filter: &FilterArgs, tasks_max: usize) -> Result<Vec<Task>> {
    let mut tasks: Vec<Task> = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let response = page(client, filter, (tasks_max - tasks.len()).clamp(1, PAGE_SIZE), cursor).await?;
        tasks.extend(response.read_list::<Task>()?);
        cursor = next(&response);
        if cursor.is_none() || tasks.len() >= tasks_max {
            break;
        }
    }
    Ok(tasks)
}
