//! Fills a database with finished tasks, through the store as the server does, but without HTTP and runs.

use std::path::Path;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use wasmill_model::{Clock, NewTask, PluginName, SystemClock, TaskId, Transition};
use wasmill_store::{Filter, Store};
use wasmill_store_sqlite::{Database, SqliteConfig};

/// Tasks per batch.
const BATCH: u64 = 10_000;

/// One in this many ids is kept, to be read later.
const KEPT: usize = 1_000;

/// Adds tasks like the newest one and completes them until this many have finished; returns some of their ids.
pub(super) async fn fill(data: &Path, ended: u64) -> Result<Vec<TaskId>> {
    let config = SqliteConfig { waiting_max: u64::MAX >> 1, ..SqliteConfig::new(data) };
    let (store, _) = Database::open(config)?.start(SystemClock.now())?;
    let before: u64 = store.plugin_counts().iter().map(|(_, tally)| tally.completed).sum();
    let (newest, _) = store.find(Filter::default(), None, 1).await?;
    let newest = *newest.first().context("a task to make others like it")?;
    let again = store.clone_for_retry(newest, TaskId::new(), SystemClock.now()).await?;
    let (_, pattern) = again.context("the newest task is there")?;
    let mut ids = Vec::new();
    let missing = ended.saturating_sub(before);
    for from in (0..missing).step_by(usize::try_from(BATCH)?) {
        let batch: Vec<_> = (from..missing.min(from + BATCH)).map(|_| like(&pattern)).collect();
        ids.extend(batch.iter().step_by(KEPT).map(|task| task.id));
        let size = batch.len();
        store.submit(batch, None).await?;
        complete(&store, &pattern.plugin, size).await?;
    }
    store.close().await;
    Ok(ids)
}

fn like(pattern: &NewTask) -> NewTask {
    NewTask { id: TaskId::new(), created_at: SystemClock.now(), retry_of: None, ..pattern.clone() }
}

/// Claims and finishes all waiting tasks together, so that there are few commits.
async fn complete(store: &Store, plugin: &PluginName, max: usize) -> Result<()> {
    let mut left = max;
    while left > 0 {
        let claims = store.claim(vec![plugin.clone().into()], left, u64::MAX, SystemClock.now()).await?;
        left -= claims.claimed.len();
        let mut ends = JoinSet::new();
        for claimed in claims.claimed {
            let store = store.clone();
            ends.spawn(async move {
                store
                    .finish(&claimed.claim, Transition::Completed("ok".into()), None, SystemClock.now())
                    .await
            });
        }
        while let Some(end) = ends.join_next().await {
            end??;
        }
    }
    Ok(())
}
