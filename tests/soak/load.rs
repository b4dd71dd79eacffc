//! The load: as many tasks as the server takes, and beside them guests that report progress, subscribers, schedules,
//! webhooks, cancels and plugin changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wasmill_tests::{Client, Server, tiny};

use crate::misbehave;

/// Clients that submit batches, tasks per batch, and the number of waiting tasks at which they pause.
const SUBMITTERS: usize = 4;
const BATCH: usize = 200;
const WAITING_MAX: u64 = 4_000;

/// Subscribers of all tasks; subscribers of one task after another; schedules with a one-second interval.
const FOLLOWERS: usize = 4;
const FOLLOWERS_OF_ONE: usize = 4;
const SCHEDULES: usize = 5;

/// Names of the counters.
const COUNTED: [&str; 7] = [
    "tasks submitted",
    "progress guests",
    "webhooks requested",
    "cancels",
    "events followed",
    "tasks followed",
    "plugin swaps",
];

/// The running load.
pub(crate) struct Load {
    shared: Arc<Shared>,
    work: JoinSet<Result<()>>,
}

struct Shared {
    client: Client,
    receiver: String,
    swapped: PathBuf,
    stopped: AtomicBool,
    counts: [AtomicU64; COUNTED.len()],
}

impl Load {
    pub(crate) async fn start(server: &Server, receiver: &str) -> Result<Self> {
        let shared = Arc::new(Shared {
            client: server.client(),
            receiver: receiver.to_owned(),
            swapped: server.folder().join("plugins/swapped.wasm"),
            stopped: AtomicBool::new(false),
            counts: Default::default(),
        });
        while shared.client.get("/plugins").await.text.contains(r#""state":"compiling""#) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for number in 0..SCHEDULES {
            let schedule = json!({"cron": "* * * * * *", "task": {"plugin": "noop"}});
            shared.expect(Method::PUT, &format!("/schedules/soak-{number}"), Some(&schedule)).await?;
        }
        let mut work = JoinSet::new();
        for _ in 0..SUBMITTERS {
            work.spawn(Arc::clone(&shared).submit());
        }
        for _ in 0..FOLLOWERS {
            work.spawn(Arc::clone(&shared).follow());
        }
        for _ in 0..FOLLOWERS_OF_ONE {
            work.spawn(Arc::clone(&shared).follow_one());
        }
        work.spawn(Arc::clone(&shared).cancel());
        work.spawn(Arc::clone(&shared).swap());
        Ok(Self { shared, work })
    }

    /// Fails if a part of the load has failed.
    pub(crate) fn check(&mut self) -> Result<()> {
        while let Some(ended) = self.work.try_join_next() {
            ended??;
        }
        Ok(())
    }

    /// Ends the load and returns its counters.
    pub(crate) async fn stop(mut self) -> Result<Vec<(&'static str, u64)>> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        while let Some(ended) = self.work.join_next().await {
            ended??;
        }
        for number in 0..SCHEDULES {
            self.shared.expect(Method::DELETE, &format!("/schedules/soak-{number}"), None).await?;
        }
        let counts = self.shared.counts.iter().map(|count| count.load(Ordering::Relaxed));
        Ok(COUNTED.into_iter().zip(counts).collect())
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    fn count(&self, what: usize, number: usize) {
        self.counts[what].fetch_add(number as u64, Ordering::Relaxed);
    }

    /// Sends a request that must succeed.
    async fn expect(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        let answer = self.client.send(method.clone(), path, body).await?;
        ensure!(answer.status.is_success(), "{method} {path} was answered {} {}", answer.status, answer.text);
        Ok(answer.json)
    }

    async fn submit(self: Arc<Self>) -> Result<()> {
        let progress = misbehave(&json!({"do": "progress", "fraction": 0.5, "note": "half of it", "ms": 0}));
        let batch: Vec<_> = (0..BATCH)
            .map(|place| match place % 20 {
                0 => json!({"plugin": "noop", "webhook": self.receiver}),
                1..8 => progress.clone(),
                8 => json!({"plugin": "swapped"}),
                9 => json!({"plugin": "noop", "group": format!("g{place}"), "priority": 3}),
                _ => json!({"plugin": "noop"}),
            })
            .collect();
        let batch = json!(batch);
        while self.goes_on() {
            let stats = self.client.get("/stats").await.json;
            if stats["waiting"].as_u64().is_some_and(|waiting| waiting > WAITING_MAX) {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            self.expect(Method::POST, "/task/batch", Some(&batch)).await?;
            for (what, number) in [(0, BATCH), (1, BATCH * 7 / 20), (2, BATCH / 20)] {
                self.count(what, number);
            }
        }
        Ok(())
    }

    async fn follow(self: Arc<Self>) -> Result<()> {
        while self.goes_on() {
            let mut stream = self.client.follow("/events", None).await;
            for _ in 0..20_000 {
                if !self.goes_on() || stream.next().await.is_none() {
                    break;
                }
                self.count(4, 1);
            }
        }
        Ok(())
    }

    /// Follows a task until it has finished, then the next one.
    async fn follow_one(self: Arc<Self>) -> Result<()> {
        while self.goes_on() {
            let task = misbehave(&json!({"do": "progress", "fraction": 0.5, "note": "followed", "ms": 30}));
            let id = self.client.submit(&task).await;
            let mut stream = self.client.follow(&format!("/task/{id}/events"), None).await;
            while stream.next().await.is_some() {}
            self.count(5, 1);
        }
        Ok(())
    }

    async fn cancel(self: Arc<Self>) -> Result<()> {
        while self.goes_on() {
            let id = self.client.submit(&misbehave(&json!({"do": "spin"}))).await;
            let answer = self.client.send(Method::POST, &format!("/task/{id}/cancel"), None).await?;
            ensure!(
                answer.status == StatusCode::OK,
                "a cancel was answered {} {}",
                answer.status,
                answer.text
            );
            self.count(3, 1);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn swap(self: Arc<Self>) -> Result<()> {
        let beside = self.swapped.with_extension("new");
        for answer in ["AAAA", "BBBB"].into_iter().cycle() {
            if !self.goes_on() {
                break;
            }
            // By rename, so that no partial file is ever visible.
            std::fs::write(&beside, tiny::plugin(answer))?;
            std::fs::rename(&beside, &self.swapped)?;
            self.count(6, 1);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        Ok(())
    }
}
