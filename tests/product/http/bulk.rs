//! What is done to all tasks that match: by cause, in parts, and exactly once; and checkpoints. In both databases.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, PostgresServer, Server};

const SLOTS: [&str; 2] = ["--slots", "4"];

/// Starts a server with the embedded database, and one with PostgreSQL if it is installed.
fn servers(name: &str) -> Vec<Server> {
    let mut servers = vec![Server::start(&SLOTS)];
    if let Some(postgres) = PostgresServer::shared() {
        let url = postgres.create(name);
        let database = ["--database", &url, "--database-migrate"];
        servers.push(Server::start(&[&SLOTS[..], &database].concat()));
    }
    servers
}

/// Runs these tasks to their ends; returns their ids.
async fn finished(client: &Client, tasks: &[Value]) -> Vec<String> {
    let answer = client.post("/task/batch", &json!(tasks)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let mut ids = Vec::new();
    for task in answer.json.as_array().expect("an array") {
        let id = task["id"].as_str().expect("an id");
        client.until_finished(id).await;
        ids.push(id.to_owned());
    }
    ids
}

fn deed(input: &Value, tag: &str) -> Value {
    json!({"plugin": "misbehave", "input": input, "tags": [tag], "max_attempts": 1})
}

fn trap(tag: &str) -> Value {
    deed(&json!({"do": "trap"}), tag)
}

fn io(tag: &str) -> Value {
    deed(&json!({"do": "fail", "kind": "io", "message": "503"}), tag)
}

async fn post(client: &Client, path: &str) -> Answer {
    client.send(Method::POST, path, None).await.expect("an answer")
}

async fn ids(client: &Client, query: &str) -> Vec<String> {
    let page = client.get(&format!("/task?{query}")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let tasks = page.json.as_array().expect("a list");
    tasks.iter().map(|task| task["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn the_cause_of_a_failure_selects_tasks() {
    for server in servers("causes") {
        let client = server.client();
        let all =
            finished(&client, &[io("a"), trap("a"), io("b"), json!({"plugin": "noop", "tags": ["a"]})]).await;
        assert_eq!(ids(&client, "cause=io").await, [&*all[2], &all[0]]);
        assert_eq!(ids(&client, "cause=io&tag=a").await, [&*all[0]]);
        assert_eq!(ids(&client, "cause=trap&state=failed").await, [&*all[1]]);
        assert_eq!(ids(&client, "cause=exit").await, Vec::<String>::new());
        assert_eq!(ids(&client, "cause=trap&state=completed").await, Vec::<String>::new());
        let record = client.get(&format!("/task/{}", all[1])).await;
        assert_eq!(record.json["error"]["cause"], "trap", "what is filtered is what is shown");
        let page = client.get("/task?cause=io&limit=1").await;
        let link = page.headers["link"].to_str().expect("text");
        assert!(link.contains("&cause=io>"), "the next page keeps the filter: {link}");
        for path in ["/task?cause=unheard-of", "/task?cause=", "/task?cause=exit-x"] {
            let refused = client.get(path).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
            assert!(refused.text.contains("a cause of failure such as io"), "{}", refused.text);
        }
        client.post("/pause", &json!({})).await;
        assert_eq!(post(&client, "/task/retry?cause=io").await.json["retried"], 2);
        // A new task has not failed yet.
        assert_eq!(ids(&client, "cause=io").await.len(), 2);
        assert_eq!(post(&client, "/task/cancel?cause=io&dry_run=true").await.json["cancelled"], 0);
    }
}

#[tokio::test]
async fn finished_tasks_are_deleted_by_filter_in_parts() {
    for server in servers("deletions") {
        let client = server.client();
        let gone: Vec<_> = (0..70).map(|_| trap("gone")).collect();
        finished(&client, &gone).await;
        let kept = finished(&client, &[trap("kept"), json!({"plugin": "noop"})]).await;
        let waiting = client.submit(&json!({"plugin": "noop", "tags": ["gone"], "delay": "1h"})).await;
        let dry = post(&client, "/task/delete?tag=gone&dry_run=true").await;
        assert_eq!(dry.json, json!({"deleted": 70, "dry_run": true, "next": null, "stopped_by": null}));
        let (mut deleted, mut cursor, mut requests) = (0, String::new(), 0);
        loop {
            let part = post(&client, &format!("/task/delete?tag=gone&limit=30{cursor}")).await;
            assert_eq!(part.status, StatusCode::OK, "{}", part.text);
            deleted += part.json["deleted"].as_u64().expect("a number");
            requests += 1;
            match part.json["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!((deleted, requests), (70, 3));
        assert_eq!(ids(&client, "tag=gone").await, [&*waiting], "what has not finished is never selected");
        assert_eq!(ids(&client, "").await, [&*waiting, &kept[1], &kept[0]]);
        assert_eq!(post(&client, "/task/delete?state=completed").await.json["deleted"], 1);
        assert_eq!(post(&client, "/task/delete?all=true").await.json["deleted"], 1);
        assert_eq!(ids(&client, "").await, [&*waiting]);
        for query in ["", "?state=waiting", "?all=true&tag=a", "?tag=a&limit=0", "?tag=a&cursor=x", "?tagg=a"]
        {
            let refused = post(&client, &format!("/task/delete{query}")).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {}", refused.text);
        }
        assert_eq!(client.get(&format!("/task/{waiting}")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_retry_of_many_goes_on_where_a_part_ended() {
    for server in servers("parts") {
        let client = server.client();
        let failed: Vec<_> = (0..130).map(|_| trap("a")).collect();
        finished(&client, &failed).await;
        client.post("/pause", &json!({})).await;
        let part = async |query: &str, key: &str| {
            let path = format!("/task/retry?tag=a{query}");
            client.send_with(Method::POST, &path, &[("idempotency-key", key)], None).await.expect("an answer")
        };
        let first = part("&limit=60", "1").await;
        assert_eq!((&first.json["retried"], &first.json["stopped_by"]), (&json!(60), &json!(null)));
        // The answer was lost: the same request says the same, and stores nothing.
        let again = part("&limit=60", "1").await;
        assert_eq!(again.json, first.json, "{}", again.text);
        assert!(again.headers.contains_key("idempotent-replayed"), "{:?}", again.headers);
        let next = first.str("next");
        let reused = part(&format!("&limit=60&cursor={next}"), "1").await;
        assert_eq!(reused.status, StatusCode::UNPROCESSABLE_ENTITY, "another part: {}", reused.text);
        let second = part(&format!("&limit=60&cursor={next}"), "2").await;
        let third = part(&format!("&limit=60&cursor={}", second.str("next")), "3").await;
        assert_eq!(
            (&third.json["retried"], &third.json["next"]),
            (&json!(10), &json!(null)),
            "{}",
            third.text
        );
        let listed = client.get("/task?state=waiting&limit=1000").await;
        let of: std::collections::BTreeSet<_> =
            listed.json.as_array().expect("a list").iter().map(|task| task["retry_of"].to_string()).collect();
        assert_eq!((of.len(), listed.json.as_array().map(Vec::len)), (130, Some(130)), "each once");
    }
}

#[tokio::test]
async fn a_checkpoint_is_read_until_its_task_ends() {
    for server in servers("saves") {
        let client = server.client();
        let fails = json!({"plugin": "misbehave", "input": {"do": "count-then-fail", "succeed_on": 9},
            "max_attempts": 2, "backoff": {"first": "1h"}});
        let id = client.submit(&fails).await;
        client.until_task(&id, "between its attempts", |task| task["queue_state"] == "scheduled").await;
        let path = format!("/task/{id}/checkpoint");
        let saved = client.get(&path).await;
        assert_eq!((saved.status, saved.text.as_str()), (StatusCode::OK, "1"));
        assert_eq!(saved.headers["content-type"], "application/octet-stream");
        let page = client.clone().undocumented().get(&format!("/ui/task/{id}/checkpoint")).await;
        assert!(page.status == StatusCode::OK && page.text.contains(">Download</a>"), "{}", page.text);
        let raw = client.clone().undocumented().get(&format!("/ui/raw/{id}/checkpoint")).await;
        let policy = raw.headers["content-security-policy"].to_str().expect("text");
        assert!(raw.text == "1" && policy.starts_with("sandbox"), "{policy}");
        assert_eq!(post(&client, &format!("/task/{id}/cancel")).await.status, StatusCode::OK);
        let gone = client.get(&path).await;
        assert_eq!((gone.status, gone.str("code")), (StatusCode::NOT_FOUND, "no-checkpoint"));
        let unknown = client.get("/task/0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061/checkpoint").await;
        assert_eq!(unknown.str("code"), "unknown-task");
    }
}
