//! Clients that ask random hosts of one database see one server, while its hosts are killed and stopped. Without
//! PostgreSQL the test is skipped.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, PostgresServer, Server, sleep};

const HOSTS: usize = 3;

/// Things that clients do, and in which order: the test says so if it fails.
const STEPS: u32 = 120;

/// A host that is killed costs its task a crash, of which the third ends it.
const KILLS_MAX: u32 = 2;

/// How a task has to end.
#[derive(Clone, Debug, PartialEq)]
enum End {
    Completed(String),
    Failed,
    Cancelled,
}

/// The hosts, what was promised, and the numbers that choose.
struct World {
    servers: Vec<Server>,
    promised: BTreeMap<String, End>,
    random: u64,
    kills: u32,
    step: u32,
}

fn echo(text: &str) -> Value {
    json!({"plugin": "misbehave", "input": {"do": "echo", "text": text}})
}

/// Returns a task without an end of its own, of a plugin that is never paused here.
fn endless(does: &str) -> Value {
    json!({"plugin": "misbehave", "input": {"do": does, "ms": 3_600_000}})
}

impl World {
    fn start(database: &str, seed: u64) -> Option<Self> {
        let url = PostgresServer::shared()?.create(database);
        let start = |_| {
            let args = ["--database", &url, "--database-migrate", "--slots", "4"];
            let server = Server::start_in(Server::folder_with_guests(), &args).expect("a server");
            server.wait_for_plugins();
            server
        };
        let servers = (0..HOSTS).map(start).collect();
        Some(Self { servers, promised: BTreeMap::new(), random: seed, kills: 0, step: 0 })
    }

    /// Returns a number below this one (xorshift).
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    /// Returns a client of a random host.
    fn any(&mut self) -> Client {
        let place = self.below(HOSTS as u64) as usize;
        self.servers[place].client()
    }

    async fn submit(&mut self, task: &Value, end: End) -> String {
        let id = self.any().submit(task).await;
        self.promised.insert(id.clone(), end);
        id
    }

    async fn do_something(&mut self) {
        self.step += 1;
        match self.below(10) {
            0 | 1 => self.repeat_a_request().await,
            2 => self.delete_a_running_task().await,
            3 => self.cancel_a_running_task().await,
            4 => self.submit_a_pipeline().await,
            5 => self.take_a_unique_key().await,
            6 => self.pause().await,
            7 => self.fail_twice().await,
            8 => self.wait_for_a_result().await,
            _ => self.disturb().await,
        }
    }

    /// A request that is sent again, to whichever host, gets the answer of the first one.
    async fn repeat_a_request(&mut self) {
        let (key, text) = (format!("request-{}", self.step), self.step.to_string());
        let mut first: Option<String> = None;
        for _ in 0..3 {
            let client = self.any();
            let body = Some(("application/json", echo(&text).to_string().into_bytes()));
            let headers = [("idempotency-key", key.as_str())];
            let answer = client.send_with(Method::POST, "/task", &headers, body).await.expect("an answer");
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
            assert_eq!(first.get_or_insert(answer.str("id").to_owned()), answer.str("id"));
        }
        self.promised.insert(first.expect("an id"), End::Completed(text));
    }

    async fn running(&mut self, does: &str) -> String {
        let id = self.any().submit(&endless(does)).await;
        self.any().until(&id, "running").await;
        id
    }

    async fn delete_a_running_task(&mut self) {
        let does = if self.below(2) == 0 { "spin" } else { "sleep" };
        let id = self.running(does).await;
        let path = format!("/task/{id}");
        assert_eq!(self.any().delete(&path).await.status, StatusCode::NO_CONTENT);
        for server in &self.servers {
            assert_eq!(server.client().get(&path).await.status, StatusCode::NOT_FOUND);
        }
    }

    async fn cancel_a_running_task(&mut self) {
        let id = self.running("sleep").await;
        let cancelled = self.any().post(&format!("/task/{id}/cancel"), &json!({})).await;
        assert_eq!(cancelled.status, StatusCode::OK, "{}", cancelled.text);
        for server in &self.servers {
            assert_eq!(server.client().get(&format!("/task/{id}")).await.str("state"), "cancelled");
        }
        self.promised.insert(id, End::Cancelled);
    }

    async fn submit_a_pipeline(&mut self) {
        let text = self.step.to_string();
        let mut second = echo(&text);
        second["depends_on"] = json!([{"item": 0}]);
        let mut third = second.clone();
        third["depends_on"] = json!([{"item": 1}]);
        let ids = self.any().submit_batch(&json!([sleep(20), second, third])).await;
        for id in &ids[1..] {
            self.promised.insert(id.clone(), End::Completed(text.clone()));
        }
    }

    async fn take_a_unique_key(&mut self) {
        let task = |key: u32| {
            let mut task = endless("sleep");
            task["unique_key"] = json!(format!("key-{key}"));
            task
        };
        for _ in 0..2 {
            let holder = self.submit(&task(self.step), End::Cancelled).await;
            let taken = self.any().post("/task", &task(self.step)).await;
            assert_eq!((taken.status, taken.str("holder")), (StatusCode::CONFLICT, holder.as_str()));
            let cancelled = self.any().post(&format!("/task/{holder}/cancel"), &json!({})).await;
            assert_eq!(cancelled.status, StatusCode::OK, "{}", cancelled.text);
        }
    }

    /// Once a pause is answered, no host starts anything.
    async fn pause(&mut self) {
        assert_eq!(self.any().post("/pause", &json!({})).await.status, StatusCode::OK);
        let text = self.step.to_string();
        let id = self.submit(&echo(&text), End::Completed(text)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let client = self.any();
        assert_eq!(client.get(&format!("/task/{id}")).await.json["attempt"], 0);
        assert_eq!(self.any().post("/resume", &json!({})).await.status, StatusCode::OK);
    }

    async fn fail_twice(&mut self) {
        let mut task = endless("trap");
        task["max_attempts"] = json!(2);
        task["backoff"] = json!({"first": "10ms"});
        self.submit(&task, End::Failed).await;
    }

    async fn wait_for_a_result(&mut self) {
        let text = self.step.to_string();
        let id = self.submit(&echo(&text), End::Completed(text.clone())).await;
        let result = self.any().get(&format!("/task/{id}/result?wait=30s")).await;
        assert_eq!((result.status, result.str("result")), (StatusCode::OK, text.as_str()));
    }

    /// Kills a host and starts it again, or stops one for a moment.
    async fn disturb(&mut self) {
        let place = self.below(HOSTS as u64) as usize;
        if self.kills < KILLS_MAX && self.below(2) == 0 {
            self.kills += 1;
            let killed = self.servers.remove(place);
            let restarted =
                tokio::task::spawn_blocking(|| killed.kill_and_restart()).await.expect("it starts");
            restarted.wait_for_plugins();
            self.servers.insert(place, restarted);
            return;
        }
        self.servers[place].pause();
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.servers[place].resume();
    }

    /// Checks that all hosts show what was promised, and the same.
    async fn check(&mut self) {
        for (id, end) in std::mem::take(&mut self.promised) {
            self.any().until_finished(&id).await;
            let mut records = Vec::new();
            for server in &self.servers {
                records.push(server.client().get(&format!("/task/{id}")).await);
            }
            assert!(records.iter().all(|record| record.json == records[0].json), "hosts differ about {id}");
            check_end(&records[0], &end);
        }
        let mut lists = Vec::new();
        for server in &self.servers {
            let page = server.client().get("/task?limit=1000").await;
            let tasks = page.json.as_array().expect("a list").iter();
            lists.push(tasks.map(|task| task["id"].clone()).collect::<Vec<_>>());
        }
        assert!(lists.iter().all(|list| *list == lists[0]), "hosts list different tasks");
    }
}

fn check_end(record: &Answer, end: &End) {
    let (state, result) = match end {
        End::Completed(text) => ("completed", Some(text)),
        End::Failed => ("failed", None),
        End::Cancelled => ("cancelled", None),
    };
    assert_eq!(record.str("state"), state, "{}", record.text);
    if let Some(result) = result {
        assert_eq!(record.str("result"), result, "{}", record.text);
    }
    let crashes = record.json["host_crashes"].as_u64().expect("a number");
    assert!(crashes <= u64::from(KILLS_MAX), "{}", record.text);
    if *end == End::Failed {
        assert_eq!(record.json["attempt"].as_u64(), Some(2 + crashes), "{}", record.text);
    }
}

#[tokio::test]
async fn clients_of_random_hosts_see_one_server() {
    let seed = std::env::var("ASKERS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| 1 + u64::from(std::process::id()));
    let Some(mut world) = World::start("askers", seed) else { return };
    println!("ASKERS_SEED={seed}");
    for _ in 0..STEPS {
        world.do_something().await;
    }
    world.check().await;
}
