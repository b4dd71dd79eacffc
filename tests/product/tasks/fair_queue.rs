//! Fair queueing over plugins and groups, queue limits of plugins, id filters and counts.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use wasmill_tests::{Client, CommandOutput, Server, wasmill};

fn noop(group: &str) -> Value {
    json!({"plugin": "misbehave", "input": {"do": "noop"}, "group": group})
}

/// Waits until the guests are compiled; batches are refused before.
async fn ready(client: &Client) {
    for name in ["misbehave", "noop"] {
        while client.get(&format!("/plugins/{name}")).await.json["state"] != "ready" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn ask(server: &Server, args: &[&str]) -> CommandOutput {
    let url = format!("http://{}", server.address());
    wasmill(server.folder(), &[args, &["--server", &url]].concat())
}

#[tokio::test]
async fn one_task_of_a_tenant_overtakes_thousands_of_another() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    ready(&client).await;
    client.post("/pause", &json!({})).await;
    let many = client.submit_batch(&json!(vec![noop("tenant A"); 3_000])).await;
    let one = client.submit(&noop("tenant B")).await;
    let other = client.submit(&json!({"plugin": "noop"})).await;
    assert_eq!(client.get(&format!("/task/{one}")).await.str("group"), "tenant B");
    // Fairness does not depend on which host accepted the tasks.
    let server = server.kill_and_restart();
    let client = server.client();
    client.post("/resume", &json!({})).await;
    let starts = async |id: &str| client.until_finished(id).await.str("started_at").to_owned();
    let (one, other, third) = (starts(&one).await, starts(&other).await, starts(&many[2]).await);
    assert!(one < third && other < third, "{one}, {other}, {third}");
}

#[tokio::test]
async fn a_tag_with_the_configured_prefix_sets_the_group() {
    let server = Server::start(&["--group-tag", "tenant:"]);
    let client = server.client();
    let tagged = json!({"plugin": "noop", "tags": ["eu", "tenant:42"]});
    let shown = client.get(&format!("/task/{}", client.submit(&tagged).await)).await;
    assert_eq!(shown.str("group"), "42", "{}", shown.text);
    let both = json!({"plugin": "noop", "tags": ["tenant:42"], "group": "other"});
    let shown = client.get(&format!("/task/{}", client.submit(&both).await)).await;
    assert_eq!(shown.str("group"), "other");
    assert_eq!(
        client.get(&format!("/task/{}", client.submit(&json!({})).await)).await.json["group"],
        json!(null)
    );
}

#[tokio::test]
async fn a_manifest_limits_the_queue_of_its_plugin() {
    let server = Server::start_with_manifest("limits.waiting = 3", &[]);
    let client = server.client();
    ready(&client).await;
    let shown = client.get("/plugins/misbehave").await;
    assert_eq!(shown.json["limits"]["waiting"], 3, "{}", shown.text);
    client.post("/pause", &json!({})).await;
    let task = json!({"plugin": "misbehave", "input": {"do": "noop"}});
    let other = json!({"plugin": "noop"});
    let ids = client.submit_batch(&json!([other, task, task, task])).await;
    let full = client.post("/task", &task).await;
    assert_eq!((full.status, full.str("code")), (StatusCode::TOO_MANY_REQUESTS, "plugin-queue-full"));
    assert!(full.headers.contains_key("retry-after"), "{:?}", full.headers);
    client.submit(&other).await;
    // No task of the batch is stored, and the error names the first that does not fit.
    let cancelled = client.post(&format!("/task/{}/cancel", ids[1]), &json!({})).await;
    assert_eq!(cancelled.status, StatusCode::OK);
    let full = client.post("/task/batch", &json!([other, task, other, task])).await;
    assert_eq!((full.status, full.str("code")), (StatusCode::TOO_MANY_REQUESTS, "plugin-queue-full"));
    assert_eq!(full.json["errors"][0]["pointer"], "/3", "{}", full.text);
    assert_eq!(client.get("/stats").await.json["waiting"], 4);
    // A retry needs space in the queue too, even after a restart.
    client.submit(&task).await;
    let server = server.kill_and_restart();
    let client = server.client();
    ready(&client).await;
    for path in [&format!("/task/{}/retry", ids[1]), "/task/retry?state=cancelled"] {
        let full = client.post(path, &json!({})).await;
        assert_eq!((full.status, full.str("code")), (StatusCode::TOO_MANY_REQUESTS, "plugin-queue-full"));
    }
}

#[tokio::test]
async fn tasks_are_listed_by_id_prefix() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    ready(&client).await;
    client.post("/pause", &json!({})).await;
    let ids = client.submit_batch(&json!(vec![json!({"plugin": "noop", "tags": ["t"]}); 3])).await;
    let other = client.submit(&json!({})).await;
    let listed = async |query: &str| {
        let answer = client.get(&format!("/task?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let tasks = answer.json.as_array().expect("a list").clone();
        tasks.iter().map(|task| task["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let plain = ids[1].replace('-', "");
    assert_eq!(listed(&format!("q={}", ids[1])).await, [ids[1].clone()]);
    assert_eq!(listed(&format!("q={plain}&tag=t")).await, [ids[1].clone()]);
    assert_eq!(listed(&format!("q={}&tag=u", &plain[..9])).await.len(), 0);
    assert_eq!(listed(&format!("q={}&plugin=noop", &ids[0][..9])).await.len(), 3);
    let page = client.get(&format!("/task?limit=1&q={}&plugin=noop", &plain[..8].to_uppercase())).await;
    let link = page.headers["link"].to_str().expect("text").to_owned();
    assert!(link.contains(&format!("q={}", &plain[..8])), "{link}");
    for bad in ["q=01a", "q=nothing", "q=", "q=01a2&q=01a2"] {
        assert_eq!(
            client.get(&format!("/task?{bad}")).await.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{bad}"
        );
    }
    let cancelled = client.post(&format!("/task/cancel?q={other}"), &json!({})).await;
    assert_eq!(cancelled.json["cancelled"], 1, "{}", cancelled.text);
    let retried = client.post(&format!("/task/retry?state=cancelled&q={other}"), &json!({})).await;
    assert_eq!(retried.json["retried"], 1, "{}", retried.text);
}

#[tokio::test]
async fn commands_accept_an_id_prefix() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    ready(&client).await;
    client.post("/pause", &json!({})).await;
    let ids = client.submit_batch(&json!([{"group": "tenant A"}, {"plugin": "noop"}])).await;
    // Two consecutive ids differ somewhere.
    let same = ids[0].bytes().zip(ids[1].bytes()).take_while(|(a, b)| a == b).count();
    let (first, both) = (&ids[0][..=same], &ids[0][..8]);
    let output = ask(&server, &["status", first]);
    assert!(
        output.code == 0 && output.out.contains(&ids[0]) && output.out.contains("tenant A"),
        "{output:?}"
    );
    let output = ask(&server, &["status", both]);
    assert!(output.code == 2 && ids.iter().all(|id| output.err.contains(id.as_str())), "{output:?}");
    assert_eq!(ask(&server, &["status", "ffffffff"]).code, 5);
    assert_eq!(ask(&server, &["result", first]).code, 6);
    assert_eq!(ask(&server, &["logs", first]).code, 0);
    assert_eq!(ask(&server, &["list", "--quiet", "--id", both]).out.lines().count(), 2);
    assert_eq!(ask(&server, &["cancel", both]).code, 2, "nothing is cancelled by half");
    assert_eq!(ask(&server, &["cancel", first]).out, format!("{} cancelled\n", ids[0]));
    let again = ask(&server, &["retry", first]);
    assert!(again.code == 0 && again.out.trim() != ids[0], "{again:?}");
    assert_eq!(ask(&server, &["delete", first]).out, format!("{} deleted\n", ids[0]));
    let output = ask(&server, &["submit", "noop", "--group", "tenant B", "--priority", "-3", "--tag", "t"]);
    let task = client.get(&format!("/task/{}", output.out.trim())).await;
    assert_eq!((task.str("group"), &task.json["priority"]), ("tenant B", &json!(-3)), "{}", task.text);
}

#[tokio::test]
async fn stored_and_finished_tasks_are_counted_by_state_and_plugin() {
    let server = Server::start(&["--keep-max", "2", "--keep-for", "forever"]);
    let client = server.client();
    for input in ["noop", "noop", "trap", "noop"] {
        let id = client.submit(&json!({"plugin": "misbehave", "input": {"do": input}})).await;
        client.until_finished(&id).await;
    }
    client.post("/pause", &json!({})).await;
    let id = client.submit(&json!({"plugin": "noop"})).await;
    let ended = json!({"completed": 3, "failed": 1, "cancelled": 0});
    // Retention runs periodically.
    let stats = loop {
        let stats = client.get("/stats").await.json;
        if stats["stored"]["completed"] == 1 {
            break stats;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let stored = json!({"waiting": 1, "blocked": 0, "scheduled": 0, "suspended": 0, "available": 1, "running": 0,
        "completed": 1, "failed": 1, "cancelled": 0});
    assert_eq!((&stats["stored"], &stats["finished"]), (&stored, &ended));
    assert_eq!(stats["plugins"]["misbehave"]["stored"]["failed"], 1);
    assert_eq!(stats["plugins"]["misbehave"]["finished"], ended);
    assert_eq!(stats["plugins"]["noop"]["stored"]["waiting"], 1);
    client.delete(&format!("/task/{id}")).await;
    let server = server.kill_and_restart();
    let stats = server.client().get("/stats").await.json;
    assert_eq!((&stats["stored"]["completed"], &stats["finished"]), (&json!(1), &ended));
    let shown = ask(&server, &["stats"]);
    assert!(shown.out.contains("2 (1 failed, 0 cancelled) stored, 4 (1 failed"), "{shown:?}");
}

#[tokio::test]
async fn the_bound_of_a_plugin_holds_however_many_come_at_once() {
    let server = Server::start_with_manifest("limits.waiting = 25", &[]);
    let client = server.client();
    ready(&client).await;
    client.post("/pause", &json!({})).await;
    let requests: Vec<_> = (0..1_000)
        .map(|number| {
            let client = client.clone();
            // One in ten brings two tasks, which are stored together or not at all.
            let task = json!({"plugin": "misbehave", "input": {"do": "noop"}});
            tokio::spawn(async move {
                match number % 10 {
                    0 => (2, client.post("/task/batch", &json!([task, task])).await),
                    _ => (1, client.post("/task", &task).await),
                }
            })
        })
        .collect();
    let mut stored = 0;
    for request in requests {
        let (tasks, answer) = request.await.expect("an answer");
        match answer.status {
            StatusCode::CREATED => stored += tasks,
            StatusCode::TOO_MANY_REQUESTS => assert_eq!(answer.str("code"), "plugin-queue-full"),
            _ => panic!("{}", answer.text),
        }
    }
    // A pair does not fit into the last place, and a single task does.
    assert_eq!((stored, server.query("SELECT count(*) FROM task")), (25, vec!["25".to_owned()]));
    client.submit(&json!({"plugin": "noop"})).await;
    // A place that is free again is taken once.
    let all = client.get("/task?plugin=misbehave&limit=1").await;
    let id = all.json[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(client.delete(&format!("/task/{id}")).await.status, StatusCode::NO_CONTENT);
    let again: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                client.post("/task", &json!({"plugin": "misbehave", "input": {"do": "noop"}})).await.status
            })
        })
        .collect();
    let mut created = 0;
    for request in again {
        created += usize::from(request.await.expect("an answer") == StatusCode::CREATED);
    }
    assert_eq!(created, 1);
}
