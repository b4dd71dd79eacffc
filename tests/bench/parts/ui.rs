//! The cost of the dashboard: no-op tasks with nobody looking and with ten viewers, alternating; each page beside a
//! million tasks; and what a browser loads at first. The goals are 98 %, 50 ms and 40 KB.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hyper::Method;
use hyper::header::{CONTENT_LENGTH, ETAG};
use serde_json::json;
use tokio::task::JoinHandle;
use wasmill_tests::{Client, Server};

use crate::parts::large::{ARGS, ROWS, Tasks, filled};
use crate::parts::throughput;
use crate::parts::watched::{LOAD, ROUNDS, Rounds, compare, read_on};
use crate::report::{Spread, row, thousands, title};

/// The pages of ten viewers, but for the one who follows a log: six lists, two of them the same, and others.
const VIEWED: [&str; 9] = [
    "/ui/tasks",
    "/ui/tasks",
    "/ui/tasks?state=running",
    "/ui/tasks?state=completed",
    "/ui/tasks?plugin=noop",
    "/ui/tasks?plugin=misbehave",
    "/ui/",
    "/ui/",
    "/ui/plugins",
];

/// How often each page is requested beside a million tasks.
const PAGES: usize = 200;

pub(crate) async fn measure(clients: usize) -> Result<()> {
    viewers(clients).await?;
    beside_a_million().await?;
    first_load().await
}

async fn viewers(clients: usize) -> Result<()> {
    title("The dashboard with ten viewers and with none, alternating (goal: 98 %)");
    let server = Server::start(&["--timeout", "2h"]);
    let client = server.client().undocumented();
    throughput::of_noops(&server, clients, LOAD).await?;
    let (mut alone, mut viewed) = (Rounds::default(), Rounds::default());
    for _ in 0..ROUNDS {
        alone.add(&server, clients).await?;
        let lines = json!({"plugin": "misbehave", "input": {"do": "lines", "count": 1_000_000, "ms": 10}});
        let busy = client.submit(&lines).await;
        let mut viewers: Vec<_> = VIEWED.iter().map(|path| view(&client, path)).collect();
        viewers.push(view(&client, &format!("/ui/task/{busy}")));
        viewers.push(read_on(&client, &format!("/task/{busy}/logs")).await);
        viewed.add(&server, clients).await?;
        for viewer in viewers {
            ensure!(!viewer.is_finished(), "a viewer has failed");
            viewer.abort();
        }
        client.delete(&format!("/task/{busy}")).await;
    }
    compare(&mut alone, "10 viewers, one of a log of 100 lines/s", &mut viewed);
    Ok(())
}

/// Polls a page as its script does.
fn view(client: &Client, path: &str) -> JoinHandle<()> {
    let (client, separator) = (client.clone(), if path.contains('?') { '&' } else { '?' });
    let path = format!("{path}{separator}fragment=1");
    tokio::spawn(async move {
        let mut known = String::new();
        loop {
            let headers = [("accept-encoding", "gzip"), ("if-none-match", &known)];
            let answer = client.send_with(Method::GET, &path, &headers, None).await.expect("a page");
            assert!(matches!(answer.status.as_u16(), 200 | 304), "{path}: {}", answer.status);
            let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
            let wait = header("poll-after").and_then(|millis| millis.parse().ok()).unwrap_or(1_000);
            known = header(ETAG.as_str()).unwrap_or_default().to_owned();
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    })
}

async fn beside_a_million() -> Result<()> {
    title(&format!("Pages beside {ROWS} finished tasks (goal: p99 of 50 ms)"));
    let server = filled(Tasks::Ended, &ARGS)?;
    let client = server.client().undocumented();
    let listed = client.get("/task?limit=1").await.json;
    let id = listed[0]["id"].as_str().context("a task")?;
    for (name, path) in [
        ("overview", "/ui/".to_owned()),
        ("tasks", "/ui/tasks".to_owned()),
        ("tasks, failed", "/ui/tasks?state=failed".to_owned()),
        ("tasks, by tag", "/ui/tasks?tag=t".to_owned()),
        ("tasks, none found", "/ui/tasks?tag=nothing".to_owned()),
        ("retry of all that failed, counted", "/ui/act?action=retry&select=all&state=failed".to_owned()),
        ("one task", format!("/ui/task/{id}")),
        ("its result", format!("/ui/task/{id}/result")),
        ("plugins", "/ui/plugins".to_owned()),
        ("schedules", "/ui/schedules".to_owned()),
        ("submit", "/ui/submit?plugin=noop".to_owned()),
    ] {
        let mut samples = Vec::new();
        for _ in 0..PAGES {
            let start = Instant::now();
            let answer = client.send_with(Method::GET, &path, &[("accept-encoding", "gzip")], None).await?;
            samples.push(start.elapsed());
            ensure!(answer.status == 200, "{path}: {}", answer.status);
        }
        row(name, &Spread::of(samples).to_string());
    }
    Ok(())
}

async fn first_load() -> Result<()> {
    title("What a browser loads at first, compressed (goal: 40 KB)");
    let server = Server::start(&[]);
    let client = server.client().undocumented();
    for _ in 0..100 {
        client.submit(&json!({"plugin": "noop", "tags": ["tenant:42", "nightly"]})).await;
    }
    for (name, path) in [("overview", "/ui/"), ("100 tasks", "/ui/tasks")] {
        let plain = client.get(path).await.text;
        let files = plain.split('"').filter_map(|text| text.split_once("assets/")).map(|(_, file)| file);
        let mut bytes = size(&client, path).await?;
        for file in files {
            bytes += size(&client, &format!("/ui/assets/{file}")).await?;
        }
        row(name, &format!("{} bytes", thousands(bytes)));
    }
    Ok(())
}

async fn size(client: &Client, path: &str) -> Result<u64> {
    let answer = client.send_with(Method::GET, path, &[("accept-encoding", "gzip")], None).await?;
    ensure!(answer.status == 200, "{path}: {}", answer.status);
    Ok(answer.headers.get(CONTENT_LENGTH).context("a length")?.to_str()?.parse()?)
}
