//! What a task costs while many finished ones are stored.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;
use wasmill_model::TaskId;
use wasmill_tests::Server;

use super::{Cost, decades, fill, latency, ms, report, thousands};
use crate::parts::computing::quiet;

/// How often a read is measured.
const READS: usize = 300;

/// One point of the curves.
pub(super) struct Point {
    /// Number of finished tasks.
    pub(super) stored: u64,
    /// The cost of a no-op beside them.
    pub(super) cost: Cost,
    /// The time to read one of them.
    pub(super) get: Duration,
    /// The time to read a page of the newest hundred.
    pub(super) list: Duration,
    /// From the start of the process until it serves.
    pub(super) start: Duration,
    /// The database size per task.
    pub(super) bytes: f64,
}

/// Measures an empty database, then each power of ten from 1,000 in a folder of its own, because the measured no-ops
/// are stored too.
pub(super) async fn measure(max: u64) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for stored in std::iter::once(0).chain(decades(1_000, max)) {
        points.push(measure_one(stored).await?);
    }
    Ok(points)
}

async fn measure_one(stored: u64) -> Result<Point> {
    let folder = Server::folder_with_guests();
    let data = folder.path().join("data");
    let args = ["--keep-for", "forever", "--keep-max", "0"];
    let mut server = Server::start_in(folder.clone(), &args)?;
    // One warm-up run: plugins are compiled, and there is a task to copy.
    let client = server.client();
    let first: TaskId = client.submit(&json!({"plugin": "noop"})).await.parse()?;
    client.until_finished(&first.to_string()).await;
    server.terminate();
    let began = Instant::now();
    let mut ids = vec![first];
    ids.extend(fill::fill(&data, stored).await?);
    let filled = began.elapsed();
    let bytes = std::fs::metadata(data.join("wasmill.db"))?.len() as f64 / stored.max(1) as f64;

    let start = Instant::now();
    let server = Server::start_in(folder, &args)?;
    let start = start.elapsed();
    // A large database is checked in the background after the start.
    quiet(&server).await?;
    let paths = (0..READS).map(|read| format!("/task/{}", ids[read * (ids.len() - 1) / READS]));
    let get = latency(&server, paths).await?;
    let list = latency(&server, (0..READS / 10).map(|_| "/task?limit=100".to_owned())).await?;
    let cost = Cost::of_noops(&server).await?;
    let details = format!(
        "GET {:.2} ms, list {:.2} ms, start {:.0} ms, {bytes:.0} bytes each, filled in {:.0} s",
        ms(get),
        ms(list),
        ms(start),
        filled.as_secs_f64()
    );
    report(&format!("{} stored", thousands(stored)), cost, &details);
    Ok(Point { stored, cost, get, list, start, bytes })
}
