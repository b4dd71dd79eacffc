//! The strongest form of the promise: a key with a reach gets the same answers from a server that it shares with others as
//! from one where only the tasks within its reach exist.
//!
//! Two servers get the same random requests of a tenant. On one of them, others are busy in between, with the same unique
//! keys, idempotency keys, tags and plugins; where the tenant names a task of theirs, the other server is asked for one
//! that never existed. The answers must be equal but for ids and times.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, PostgresServer, Server};

use super::client;

/// Requests of a tenant on a pair of servers.
const REQUESTS: usize = 220;

const PLUGINS: [&str; 3] = ["noop", "misbehave", "io-stub"];
const GROUPS: [&str; 3] = ["t1", "t2", "t3"];
const TAGS: [&str; 3] = ["eu", "paid", "new"];
const KEYS: [&str; 2] = ["k1", "k2"];
const SCHEDULES: [&str; 2] = ["s1", "s2"];

/// What a key reaches, as the test understands it.
struct Reach {
    plugins: &'static [&'static str],
    groups: &'static [&'static str],
    tags: &'static [&'static str],
}

const REACHES: [Reach; 5] = [
    Reach { plugins: &[], groups: &["t1"], tags: &[] },
    Reach { plugins: &[], groups: &["t1", "t2"], tags: &["eu"] },
    Reach { plugins: &["noop"], groups: &[], tags: &[] },
    Reach { plugins: &[], groups: &[], tags: &["eu", "paid"] },
    Reach { plugins: &["noop", "misbehave"], groups: &["t1"], tags: &[] },
];

impl Reach {
    fn args(&self) -> Vec<&'static str> {
        let list = |option: &'static str, names: &'static [&'static str]| {
            names.iter().flat_map(move |name| [option, *name])
        };
        list("--plugin", self.plugins)
            .chain(list("--group", self.groups))
            .chain(list("--tag", self.tags))
            .collect()
    }

    fn covers(&self, task: &Value) -> bool {
        let is_one =
            |names: &[&str], value: &Value| names.is_empty() || names.iter().any(|name| value == *name);
        let tags = task["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        is_one(self.plugins, &task["plugin"])
            && is_one(self.groups, &task["group"])
            && self.tags.iter().all(|tag| tags.iter().any(|given| given == tag))
    }
}

/// Random choices that a seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut next = self.0;
        next = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        next = (next ^ (next >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((next ^ (next >> 31)) % limit as u64).expect("it fits")
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// A server as its tenant sees it.
struct Side {
    server: Server,
    admin: Client,
    /// Keys of one reach: one may do everything there, one reads only what it submitted itself.
    tenants: [Client; 2],
    /// The names that its ids have in this test, the same on both sides.
    names: HashMap<String, String>,
}

impl Side {
    async fn start(reach: &Reach, args: &[&str]) -> Self {
        let server = Server::start(args);
        let admin = client(&server, "ops", "admin", &[]);
        let all = client(&server, "all", "read,submit,cancel,schedule", &reach.args());
        let own = client(&server, "own", "watch,submit,schedule", &reach.args());
        admin.post("/pause", &json!({})).await;
        Self { server, admin, tenants: [all, own], names: HashMap::new() }
    }

    /// Returns the id that has this name.
    fn id(&self, name: &str) -> String {
        let id = self.names.iter().find(|(_, known)| *known == name).map(|(id, _)| id.clone());
        id.unwrap_or_else(|| panic!("no task is named {name}"))
    }

    /// Sends a request of a tenant, in which names stand for ids, and returns the answer with names for ids.
    async fn ask(&mut self, request: &Request) -> String {
        let (path, body) = (self.with_ids(&request.path), self.with_ids(&request.body));
        let key = request.idempotency_key.map(|key| ("idempotency-key", key));
        let body = (!body.is_empty()).then(|| ("application/json", body.into_bytes()));
        let tenant = self.tenants[request.tenant].clone();
        let headers: Vec<_> = key.into_iter().collect();
        let answer =
            tenant.send_with(request.method.clone(), &path, &headers, body).await.expect("an answer");
        self.normalized(&answer)
    }

    /// Replaces the names of a request.
    fn with_ids(&self, text: &str) -> String {
        let mut parts = text.split('<');
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('>').expect("a name");
            whole += &self.id(name);
            whole += rest;
        }
        whole
    }

    /// Returns what an answer tells, without times and with names for ids.
    fn normalized(&mut self, answer: &Answer) -> String {
        let headers = ["location", "idempotent-replayed", "content-type", "allow", "retry-after", "link"];
        let headers = headers.map(|name| answer.headers.get(name).map(|value| value.to_str().expect("text")));
        let headers: Vec<_> = headers.into_iter().flatten().map(|value| self.named(value)).collect();
        let mut body: Value = serde_json::from_str(&self.named(&answer.text)).unwrap_or_default();
        forget_times(&mut body);
        format!("{} {headers:?}\n{body:#}", answer.status)
    }

    /// Replaces ids by names, times by `TIME` and cursors by `CURSOR`.
    fn named(&mut self, text: &str) -> String {
        let (mut normalized, mut rest) = (String::new(), text);
        while let Some(first) = rest.chars().next() {
            if let Some(id) = rest.get(..36).filter(|id| is_id(id)) {
                let next =
                    format!("task-{}", self.names.values().filter(|name| name.starts_with("task-")).count());
                normalized += self.names.entry(id.to_owned()).or_insert(next);
                rest = &rest[36..];
            } else if rest.get(..11).is_some_and(is_time) {
                normalized += "TIME";
                rest = rest[11..].trim_start_matches(|c: char| c.is_ascii_digit() || ":.".contains(c));
            } else if let Some(behind) = rest.strip_prefix("io work result = ") {
                // It is random.
                normalized += "RESULT";
                rest = behind.trim_start_matches(|c: char| c.is_ascii_digit());
            } else if let Some(behind) = rest.strip_prefix("cursor=") {
                normalized += "CURSOR";
                rest = behind.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            } else {
                normalized.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        normalized
    }

    /// Lets everything run that can, and waits until it has.
    async fn run(&self) {
        self.admin.post("/resume", &json!({})).await;
        let deadline = Instant::now() + Duration::from_secs(60);
        // What ends may release others a moment later.
        let mut quiet = 0;
        while quiet < 3 {
            let stats = self.admin.get("/stats").await.json;
            let is_quiet =
                ["available", "running", "suspended"].iter().all(|state| stats["stored"][state] == 0);
            quiet = if is_quiet { quiet + 1 } else { 0 };
            assert!(Instant::now() < deadline, "{stats}: {}", self.server.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.admin.post("/pause", &json!({})).await;
    }
}

/// Returns the lines that differ.
fn difference(alone: &str, crowded: &str) -> String {
    let lines = alone.lines().zip(crowded.lines()).filter(|(alone, crowded)| alone != crowded);
    let lines: Vec<_> = lines.map(|(alone, crowded)| format!("alone: {alone}, crowded: {crowded}")).collect();
    format!("{} and {} lines\n{}", alone.lines().count(), crowded.lines().count(), lines.join("\n"))
}

fn is_id(text: &str) -> bool {
    text.bytes().enumerate().all(|(place, byte)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// Returns true for the beginning of a time, such as `2026-11-23T`.
fn is_time(text: &str) -> bool {
    text.bytes().enumerate().all(|(place, byte)| match place {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        _ => byte.is_ascii_digit(),
    })
}

/// Removes what two servers cannot have in common: durations, folders, and the ids of keys.
fn forget_times(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for name in ["duration", "duration_ms", "usage", "submitted_by", "compile_ms", "file", "log"] {
                entries.remove(name);
            }
            entries.values_mut().for_each(forget_times);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

/// A request of a tenant; `<name>` stands for an id.
#[derive(Debug)]
struct Request {
    tenant: usize,
    method: Method,
    path: String,
    body: String,
    idempotency_key: Option<&'static str>,
}

/// Two servers, and what the tenant knows of both.
struct Pair {
    reach: &'static Reach,
    random: Random,
    alone: Side,
    crowded: Side,
    /// Tasks of others.
    outside: Vec<String>,
}

impl Pair {
    /// Returns the name of some task: one that the tenant has seen, or one of others.
    fn any_task(&mut self) -> String {
        let seen = self.alone.names.values().filter(|name| name.starts_with("task-")).count();
        if seen > 0 && !self.random.one_in(3) {
            return format!("<task-{}>", self.random.below(seen));
        }
        let name = format!("outside-{}", self.alone.names.len());
        let unknown = format!("0192f3c4-5d6e-7f80-9a0b-{:012x}", self.random.below(1 << 40));
        let others = match self.outside.len() {
            0 => unknown.clone(),
            count => self.outside[self.random.below(count)].clone(),
        };
        // A task of others that was named before keeps that name, which then stands for an unknown one on the other side.
        if let Some(known) = self.crowded.names.get(&others) {
            return format!("<{known}>");
        }
        self.crowded.names.insert(others, name.clone());
        self.alone.names.insert(unknown, name.clone());
        format!("<{name}>")
    }

    /// Returns a task request, of others if they are asked for.
    fn task(&mut self, is_of_others: bool) -> Value {
        let mut task = json!({"plugin": self.random.of(&PLUGINS)});
        if !self.random.one_in(3) {
            task["group"] = json!(self.random.of(&GROUPS));
        }
        if !is_of_others && !self.random.one_in(4) {
            // Most of what a tenant submits is within its reach.
            let Reach { plugins, groups, .. } = self.reach;
            for (label, names) in [("plugin", plugins), ("group", groups)] {
                if !names.is_empty() {
                    task[label] = json!(self.random.of(names));
                }
            }
        }
        if task["plugin"] == "io-stub" {
            task["input"] = json!({"min_ms": 1, "max_ms": 2, "fail_rate": 0});
        }
        if task["plugin"] == "misbehave" {
            let ways = [
                json!({"do": "echo", "text": "said"}),
                json!({"do": "fail", "kind": "io", "message": "why"}),
            ];
            task["input"] = ways[self.random.below(2)].clone();
        }
        let tags: Vec<_> = TAGS.into_iter().filter(|_| self.random.one_in(2)).collect();
        task["tags"] = json!(tags);
        if self.random.one_in(2) {
            task["unique_key"] = json!(self.random.of(&KEYS));
            task["on_conflict"] = json!(self.random.of(&["refuse", "return"]));
        }
        if self.random.one_in(4) {
            task["delay"] = json!("1h");
        }
        if !is_of_others && self.random.one_in(3) {
            task["depends_on"] = json!([self.any_task()]);
            if self.random.one_in(2) {
                task["input_from"] = json!("dependencies");
            }
        }
        task
    }

    /// Returns a schedule that is never due by itself.
    fn schedule(&mut self, is_of_others: bool) -> Value {
        let mut task = self.task(is_of_others);
        task.as_object_mut().expect("an object").remove("depends_on");
        task.as_object_mut().expect("an object").remove("input_from");
        json!({"cron": "0 0 29 2 *", "overlap": self.random.one_in(2), "task": task})
    }

    fn filter(&mut self) -> String {
        let mut filter = Vec::new();
        for (name, choices) in [
            ("state", &["waiting", "completed", "failed", "cancelled"][..]),
            ("plugin", &PLUGINS),
            ("group", &GROUPS),
            ("tag", &TAGS),
            ("unique_key", &KEYS),
            ("schedule", &SCHEDULES),
        ] {
            if self.random.one_in(4) {
                filter.push(format!("{name}={}", self.random.of(choices)));
            }
        }
        filter.join("&")
    }

    /// Returns a request about a schedule.
    fn schedule_request(&mut self) -> (Method, String, String) {
        let path = format!("/schedules/{}", self.random.of(&SCHEDULES));
        match self.random.below(8) {
            0..3 => (Method::PUT, path, self.schedule(false).to_string()),
            3 => (Method::GET, path, String::new()),
            4 => (Method::DELETE, path, String::new()),
            other => {
                let action = ["run", "pause", "resume"][other - 5];
                (Method::POST, format!("{path}/{action}"), String::new())
            }
        }
    }

    fn request(&mut self) -> Request {
        let get = |path: String| (Method::GET, path, String::new());
        let (method, path, body) = match self.random.below(19) {
            0..5 => (Method::POST, "/task".to_owned(), self.task(false).to_string()),
            5 => {
                let tasks: Vec<_> = (0..=self.random.below(3)).map(|_| self.task(false)).collect();
                (Method::POST, "/task/batch".to_owned(), json!(tasks).to_string())
            }
            6..8 => {
                let part = self.random.of(&[
                    "",
                    "",
                    "/status",
                    "/result",
                    "/input",
                    "/why",
                    "/activity",
                    "/dependents",
                    "/webhook",
                ]);
                get(format!("/task/{}{part}", self.any_task()))
            }
            8..10 => get(format!("/task?limit={}&{}", 1 + self.random.below(9), self.filter())),
            10 => (Method::POST, format!("/task/{}/cancel", self.any_task()), String::new()),
            11 => (Method::DELETE, format!("/task/{}", self.any_task()), String::new()),
            12 => (Method::POST, format!("/task/{}/retry", self.any_task()), String::new()),
            13 => {
                let what = self.random.of(&["cancel", "retry", "delete"]);
                let dry_run = self.random.one_in(3);
                let filter = match self.filter() {
                    filter if filter.is_empty() => "all=true".to_owned(),
                    filter => filter,
                };
                (Method::POST, format!("/task/{what}?dry_run={dry_run}&{filter}"), String::new())
            }
            14 => (Method::POST, format!("/task/{}/webhook/retry", self.any_task()), String::new()),
            15..18 => self.schedule_request(),
            _ => {
                let paths = [
                    "/plugins",
                    "/plugins/noop",
                    "/plugins/io-stub",
                    "/stats",
                    "/hosts",
                    "/schedules",
                    "/attention",
                ];
                get(self.random.of(&paths).to_owned())
            }
        };
        let keys = [Some("once-1"), Some("once-2"), None, None, None, None];
        let is_read = method == Method::GET;
        let idempotency_key = keys[self.random.below(keys.len())].filter(|_| !is_read);
        Request { tenant: usize::from(self.random.one_in(4)), method, path, body, idempotency_key }
    }

    /// Others do something.
    async fn others_act(&mut self) {
        let admin = self.crowded.admin.clone();
        for _ in 0..=self.random.below(2) {
            let mut task = self.task(true);
            if self.reach.covers(&task) {
                continue;
            }
            // What is outside may wait for what is within, as an operator may link them.
            let seen = self.alone.names.values().filter(|name| name.starts_with("task-")).count();
            if seen > 0 && self.random.one_in(4) {
                let name = format!("<task-{}>", self.random.below(seen));
                task["depends_on"] = json!([self.crowded.with_ids(&name)]);
            }
            let key = self.random.of(&["once-1", "once-2"]);
            let headers = if self.random.one_in(3) { vec![("idempotency-key", key)] } else { Vec::new() };
            let body = ("application/json", task.to_string().into_bytes());
            let answer =
                admin.send_with(Method::POST, "/task", &headers, Some(body)).await.expect("an answer");
            if let Some(id) =
                answer.json["id"].as_str().filter(|id| !self.outside.iter().any(|known| known == id))
            {
                self.outside.push(id.to_owned());
            }
        }
        if self.random.one_in(3) {
            self.others_schedule(&admin).await;
        }
        if !self.outside.is_empty() && self.random.one_in(3) {
            let path = format!("/task/{}", self.outside[self.random.below(self.outside.len())]);
            match self.random.below(3) {
                0 => admin.post(&format!("{path}/cancel"), &json!({})).await,
                1 => admin.post(&format!("{path}/retry"), &json!({})).await,
                _ => admin.delete(&path).await,
            };
        }
    }

    /// Others do something with schedules of the same names; what these submit is outside.
    async fn others_schedule(&mut self, admin: &Client) {
        let path = format!("/schedules/{}", self.random.of(&SCHEDULES));
        let schedule = self.schedule(true);
        if !self.reach.covers(&schedule["task"]) {
            let body = ("application/json", schedule.to_string().into_bytes());
            admin.send(Method::PUT, &path, Some(body)).await.expect("an answer");
        }
        match self.random.below(3) {
            0 => admin.delete(&path).await,
            1 => admin.post(&format!("{path}/pause"), &json!({})).await,
            _ => admin.post(&format!("{path}/run"), &json!({})).await,
        };
    }

    /// Asks both servers, and follows the pages of a list.
    async fn ask_both(&mut self) {
        let mut request = self.request();
        for _ in 0..3 {
            let normalized = (self.alone.ask(&request).await, self.crowded.ask(&request).await);
            assert!(
                normalized.0 == normalized.1,
                "{request:?} of a key that reaches {:?}: {}",
                self.reach.args(),
                difference(&normalized.0, &normalized.1)
            );
            if request.method != Method::GET || !normalized.0.contains("CURSOR") {
                return;
            }
            // Without a cursor, a longer page shows what follows.
            request.path = request.path.replace("limit=", "limit=9");
        }
    }
}

async fn both_give_the_same_answers(number: usize, seed: u64, database: Option<&PostgresServer>) {
    let reach = &REACHES[number];
    let sides = ["alone", "crowded"].map(async |side| {
        let url = database.map(|postgres| postgres.create(&format!("tenants_{number}_{side}")));
        let args = url.iter().flat_map(|url| ["--database", url, "--database-migrate"]).collect::<Vec<_>>();
        Side::start(reach, &args).await
    });
    let [alone, crowded] = sides;
    let (alone, crowded) = tokio::join!(alone, crowded);
    let mut pair = Pair { reach, random: Random(seed), alone, crowded, outside: Vec::new() };
    for asked in 0..REQUESTS {
        if pair.random.one_in(2) {
            pair.others_act().await;
        }
        if asked % 20 == 19 {
            tokio::join!(pair.alone.run(), pair.crowded.run());
        }
        pair.ask_both().await;
    }
    // Both had something to tell.
    let seen = pair.alone.names.values().filter(|name| name.starts_with("task-")).count();
    assert!(seen > 10 && pair.outside.len() > 20, "{seen} {}", pair.outside.len());
    let all = pair.alone.admin.get("/task").await.json;
    let all = all.as_array().expect("an array");
    assert!(all.iter().all(|task| reach.covers(task)), "{all:?}");
}

#[tokio::test]
async fn a_tenant_cannot_tell_that_another_exists() {
    for number in 0..REACHES.len() {
        both_give_the_same_answers(number, 7 + number as u64, None).await;
    }
}

#[tokio::test]
async fn a_tenant_cannot_tell_that_another_exists_in_postgresql() {
    let Some(postgres) = PostgresServer::shared() else { return };
    for number in 0..REACHES.len() {
        both_give_the_same_answers(number, 70 + number as u64, Some(postgres)).await;
    }
}
