//! The load: clients that submit, read, cancel and delete tasks, and record every response in the ledger.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use wasmill_tests::{Answer, Client, Server};

use crate::check;
use crate::ledger::{Fault, Ledger, end_of};
use crate::odd;
use crate::rng::Rng;

/// A running set of clients.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Requests go to them in turn.
    servers: Mutex<Vec<(Client, SocketAddr)>>,
    requests: AtomicUsize,
    stopped: AtomicBool,
    ledger: Arc<Ledger>,
    files: AtomicU64,
}

impl Clients {
    /// Starts this many well-behaved and this many odd clients.
    pub(crate) fn start(
        on: &Runtime,
        servers: &[Server],
        ledger: &Arc<Ledger>,
        (number, odd): (u64, u64),
        seed: u64,
    ) -> Self {
        let shared = Arc::new(Shared {
            servers: Mutex::new(servers.iter().map(|server| (server.client(), server.address())).collect()),
            requests: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            ledger: Arc::clone(ledger),
            files: AtomicU64::new(0),
        });
        let rng = |client| Rng::new(seed ^ (client + 1) << 32);
        let good = (0..number).map(|client| on.spawn(work(Arc::clone(&shared), rng(client))));
        let odd = (number..number + odd).map(|client| on.spawn(work_oddly(Arc::clone(&shared), rng(client))));
        let tasks = good.chain(odd).collect();
        Self { shared, tasks }
    }

    /// Tells the clients the current address of one of the servers.
    pub(crate) fn turn_to(&self, index: usize, server: &Server) {
        let mut servers = self.shared.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers[index] = (server.client(), server.address());
    }

    /// Lets every client finish its current request.
    pub(crate) async fn stop(self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for task in self.tasks {
            if let Err(error) = task.await {
                self.shared.ledger.report(Fault::Odd, format!("a client failed: {error}"));
            }
        }
    }
}

async fn work(shared: Arc<Shared>, mut rng: Rng) {
    while !shared.stopped.load(Ordering::Relaxed) {
        match rng.below(10) {
            0..4 => shared.submit(&mut rng).await,
            4..8 => shared.read_task(&mut rng).await,
            8 => shared.cancel(&mut rng).await,
            _ => shared.delete(&mut rng).await,
        }
        tokio::time::sleep(rng.millis(1, 40)).await;
    }
}

async fn work_oddly(shared: Arc<Shared>, mut rng: Rng) {
    while !shared.stopped.load(Ordering::Relaxed) {
        odd::run_odd_client(shared.next_server().1, &shared.ledger, &mut rng).await;
        tokio::time::sleep(rng.millis(1, 100)).await;
    }
}

impl Shared {
    fn next_server(&self) -> (Client, SocketAddr) {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers[self.requests.fetch_add(1, Ordering::Relaxed) % servers.len()].clone()
    }

    /// Sends a request; `None` without a response, when the outcome is unknown.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Option<Answer> {
        self.send_with(method, path, &[], body).await
    }

    async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Option<Answer> {
        let client = self.next_server().0;
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        let answer = client.send_with(method, path, headers, body).await.ok();
        if answer.is_none() {
            self.ledger.unanswered.fetch_add(1, Ordering::Relaxed);
            // The server is down; it comes back at another address.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        answer
    }

    async fn submit(&self, rng: &mut Rng) {
        let file = format!("file-{}", self.files.fetch_add(1, Ordering::Relaxed));
        let misbehave = |input: Value| json!({"plugin": "misbehave", "input": input});
        let (mut writes_to, mut once) = (None, None);
        // Most tasks are quick, so that sleeping and CPU-bound ones leave slots for the others.
        let mut task = match rng.below(37) {
            0..8 => json!({"plugin": "noop"}),
            8..14 => misbehave(json!({"do": "sleep", "ms": rng.below(400)})),
            14..18 => misbehave(json!({"do": "echo", "text": file})),
            18..21 => misbehave(json!({"do": "count-then-fail", "succeed_on": 2})),
            21 => misbehave(json!({"do": "spin"})),
            22 => misbehave(json!({"do": "save-then-spin", "state": "here"})),
            23 | 24 => json!({"input": {"min_ms": 50, "max_ms": 900, "fail_rate": 0.2}}),
            25..28 => json!({"plugin": "swapped"}),
            // Available again at once: claimed before its first run has released its slot.
            28..31 => misbehave(json!({"do": "fail-then-spin", "spins": 2})),
            31..35 => {
                let input =
                    json!({"do": "ledger", "file": format!("/in/{file}"), "lines": 1, "ms": rng.below(900)});
                once = Some(file);
                misbehave(input)
            }
            _ => {
                let args = ["append-for-ever".to_owned(), format!("/in/{file}")];
                writes_to = Some(file);
                json!({"plugin": "program", "input": {"args": args}})
            }
        };
        let (timeout, attempts_max) = match task["input"]["do"].as_str() {
            Some("spin" | "save-then-spin") => ("30ms", 3),
            Some("fail-then-spin") => ("1s", 2),
            _ if writes_to.is_some() => ("2s", 1),
            _ if once.is_some() => ("30s", 1),
            _ => ("30s", 3),
        };
        task["timeout"] = json!(timeout);
        task["max_attempts"] = json!(attempts_max);
        let is_at_once = task["input"]["do"] == "fail-then-spin";
        task["backoff"] = json!({"first": if is_at_once { "0s" } else { "100ms" }, "factor": 1});
        let Some(answer) = self.send_task(&mut task).await else { return };
        match answer.status {
            StatusCode::CREATED => self.ledger.accept(answer.str("id").to_owned(), writes_to, once),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                self.ledger.refused.fetch_add(1, Ordering::Relaxed);
            }
            // A host that restarted while the file was broken has no good version of it.
            StatusCode::UNPROCESSABLE_ENTITY if task["plugin"] == "swapped" => {
                self.ledger.refused.fetch_add(1, Ordering::Relaxed);
            }
            _ => self.odd("a submit", &answer),
        }
    }

    /// Sends a task. Every other one has an idempotency key, and is sent until it is known whether it is stored; its tag tells
    /// whether it was stored twice.
    async fn send_task(&self, task: &mut Value) -> Option<Answer> {
        let number = self.ledger.keys.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(2) {
            return self.send(Method::POST, "/task", Some(task)).await;
        }
        let key = format!("key-{number}");
        task["tags"] = json!([key]);
        loop {
            let answer =
                self.send_with(Method::POST, "/task", &[("idempotency-key", &key)], Some(task)).await;
            let is_known =
                answer.as_ref().is_some_and(|answer| answer.status != StatusCode::SERVICE_UNAVAILABLE);
            if is_known || self.stopped.load(Ordering::Relaxed) {
                return answer;
            }
            self.ledger.sent_again.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn read_task(&self, rng: &mut Rng) {
        let Some(id) = self.ledger.some(rng) else { return };
        let before = self.ledger.entry(&id);
        let Some(answer) = self.send(Method::GET, &format!("/task/{id}"), None).await else { return };
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            return;
        }
        self.ledger.looks.fetch_add(1, Ordering::Relaxed);
        check::answer(&self.ledger, &id, &before, &answer);
    }

    async fn cancel(&self, rng: &mut Rng) {
        let Some(id) = self.ledger.some(rng) else { return };
        let before = self.ledger.entry(&id);
        self.ledger.change(&id, |entry| entry.cancel_sent = true);
        let path = format!("/task/{id}/cancel{}", self.grace(rng));
        let Some(answer) = self.send(Method::POST, &path, None).await else { return };
        match answer.status {
            StatusCode::OK => {
                self.ledger.cancels.fetch_add(1, Ordering::Relaxed);
                let written = self.ledger.written(&before);
                let end = end_of(&answer.json);
                if end.is_none() {
                    self.odd("a cancel of an unfinished task", &answer);
                }
                self.ledger.change(&id, |entry| {
                    (entry.cancelled, entry.end) = (true, end);
                    entry.written = written;
                });
            }
            StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE => {}
            StatusCode::NOT_FOUND => self.expect_gone(&id, "a cancel"),
            _ => self.odd("a cancel", &answer),
        }
    }

    async fn delete(&self, rng: &mut Rng) {
        let Some(id) = self.ledger.some(rng) else { return };
        let before = self.ledger.entry(&id);
        let had_been_sent = before.delete_sent;
        self.ledger.change(&id, |entry| entry.delete_sent = true);
        let path = format!("/task/{id}{}", self.grace(rng));
        let Some(answer) = self.send(Method::DELETE, &path, None).await else { return };
        match answer.status {
            StatusCode::NO_CONTENT => {
                self.ledger.deletes.fetch_add(1, Ordering::Relaxed);
                let written = self.ledger.written(&before);
                self.ledger.change(&id, |entry| {
                    entry.deleted = true;
                    entry.written = entry.written.or(written);
                });
            }
            StatusCode::SERVICE_UNAVAILABLE => {}
            StatusCode::NOT_FOUND if had_been_sent => {}
            // Another client may have deleted it meanwhile.
            StatusCode::NOT_FOUND => self.expect_gone(&id, "a delete"),
            _ => self.odd("a delete", &answer),
        }
    }

    /// Returns a grace period for every other request to stop a task; some outlast the server.
    fn grace(&self, rng: &mut Rng) -> String {
        if rng.below(2) == 0 {
            return String::new();
        }
        self.ledger.graces.fetch_add(1, Ordering::Relaxed);
        format!("?grace={}ms", 10 + rng.below(1_500))
    }

    fn expect_gone(&self, id: &str, what: &str) {
        if !self.ledger.entry(id).delete_sent {
            self.ledger.report(Fault::Lost, format!("{id} was missing for {what}"));
        }
    }

    fn odd(&self, what: &str, answer: &Answer) {
        self.ledger.report(Fault::Odd, format!("{what} was answered {} {}", answer.status, answer.text));
    }
}
