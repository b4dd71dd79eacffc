//! What a task costs while many that have ended are stored.

use std::time::{Duration, Instant};

use anyhow::Result;
use wasmill_model::TaskId;
use wasmill_tests::Server;

use super::{Cost, decades, fill, latency, ms, quiet, tell, thousands};

/// How often a read is measured.
const READS: usize = 300;

/// One point of the curves.
pub(super) struct Point {
    /// How many tasks have ended before.
    pub(super) stored: u64,
    /// What a no-op costs beside them.
    pub(super) cost: Cost,
    /// To read one of them.
    pub(super) get: Duration,
    /// To read a page of the newest hundred.
    pub(super) list: Duration,
    /// From the start of the process until it serves.
    pub(super) start: Duration,
    /// The size of the database for each.
    pub(super) bytes: f64,
}

/// Measures an empty database, and each power of ten from 1,000 on; it is one database that grows.
pub(super) async fn measure(most: u64) -> Result<Vec<Point>> {
    let folder = Server::folder_with_guests();
    let data = folder.path().join("data");
    let mut points = Vec::new();
    let mut ids: Vec<TaskId> = Vec::new();
    for stored in std::iter::once(0).chain(decades(1_000, most)) {
        let began = Instant::now();
        if stored > 0 {
            ids.extend(fill::fill(&data, stored).await?);
        }
        let took = began.elapsed();
        let bytes = std::fs::metadata(data.join("wasmill.db")).map_or(0, |file| file.len());
        let start = Instant::now();
        let mut server = Server::start_in(folder.clone(), &["--keep-for", "forever", "--keep-max", "0"])?;
        let start = start.elapsed();
        // A large database is checked behind the start.
        quiet(&server).await?;
        let read = |id: &TaskId| format!("/task/{id}");
        let get = match &ids[..] {
            [] => None,
            ids => Some(latency(&server, ids.iter().step_by(ids.len().div_ceil(READS)).map(read)).await?),
        };
        let list = latency(&server, (0..READS / 10).map(|_| "/task?limit=100".to_owned())).await?;
        let cost = Cost::of_noops(&server).await?;
        server.terminate();
        let bytes = if stored == 0 { 0.0 } else { bytes as f64 / stored as f64 };
        let get = get.unwrap_or(list);
        let told = format!(
            "GET {:.2} ms, list {:.2} ms, start {:.0} ms, {bytes:.0} bytes each, filled in {:.0} s",
            ms(get),
            ms(list),
            ms(start),
            took.as_secs_f64()
        );
        tell(&format!("{} stored", thousands(stored)), cost, &told);
        points.push(Point { stored, cost, get, list, start, bytes });
    }
    Ok(points)
}
