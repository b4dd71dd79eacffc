//! Children: fan out, fan in, undo, and what becomes of them when their parent ends or the server is killed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, Server, wasmill};

const MAP_REDUCE: &[u8] = include_bytes!(env!("GUEST_MAP_REDUCE"));
const SAGA: &[u8] = include_bytes!(env!("GUEST_SAGA"));

fn start(args: &[&str]) -> Server {
    let folder = Server::folder_with_guests();
    std::fs::write(folder.path().join("plugins/map-reduce.wasm"), MAP_REDUCE).expect("a plugin");
    std::fs::write(folder.path().join("plugins/saga.wasm"), SAGA).expect("a plugin");
    Server::start_in(Arc::clone(&folder), args).expect("a server")
}

fn echo(text: &str) -> Value {
    json!({"do": "echo", "text": text})
}

fn map(plugin: &str, items: &[Value]) -> Value {
    json!({"plugin": "map-reduce", "input": {"map": plugin, "items": items}})
}

async fn children(client: &Client, parent: &str) -> Vec<Value> {
    let listed = client.get(&format!("/task?parent={parent}&limit=500")).await;
    assert_eq!(listed.status, StatusCode::OK, "{}", listed.text);
    listed.json.as_array().expect("a list").clone()
}

async fn until_has_children(client: &Client, id: &str, count: u64) -> Answer {
    client.until_task(id, "has children", |record| record["children"].as_u64() >= Some(count)).await
}

fn message(record: &Answer) -> &str {
    record.json["error"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_list_is_mapped_and_reduced() {
    let server = start(&["--slots", "3"]);
    let client = server.client();
    let items: Vec<_> = (0..20).map(|number| echo(&number.to_string())).collect();
    let mut task = map("misbehave", &items);
    task["group"] = json!("tenant 7");
    task["tags"] = json!(["nightly"]);
    let id = client.submit(&task).await;
    let record = client.until(&id, "completed").await;
    let result: Value = serde_json::from_str(record.str("result")).expect("JSON");
    assert_eq!(result, (0..20).collect::<Value>(), "in the order of the items");
    let counts = (&record.json["children"], &record.json["children_ended"], &record.json["suspensions"]);
    assert_eq!(counts, (&json!(20), &json!(20), &json!(1)));
    let children = children(&client, &id).await;
    assert_eq!(children.len(), 20);
    for child in &children {
        assert_eq!((&child["parent"], &child["group"]), (&json!(id), &json!("tenant 7")));
        assert_eq!((&child["tags"], &child["state"]), (&json!(["nightly"]), &json!("completed")));
    }
    assert_eq!(children[0]["child_name"], "19", "the newest first");
    let summed = json!({"map": "misbehave", "items": items, "reduce": "sum"});
    let id = client.submit(&json!({"plugin": "map-reduce", "input": summed})).await;
    assert_eq!(client.until(&id, "completed").await.str("result"), "190");
    let none = client.submit(&map("misbehave", &[])).await;
    assert_eq!(client.until(&none, "completed").await.str("result"), "[]");
    let url = format!("http://{}", server.address());
    let listed = wasmill(server.folder(), &["list", "--parent", &id, "--server", &url, "--json"]);
    let listed: Value = serde_json::from_str(&listed.out).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(20));
}

#[tokio::test]
async fn a_task_that_waits_for_children_holds_nothing_and_says_so() {
    let server = start(&["--slots", "1"]);
    let client = server.client();
    let slow = json!({"do": "sleep", "ms": 60_000});
    let id = client.submit(&map("misbehave", &[slow.clone(), slow])).await;
    let waits = |record: &Value| record["wake_on"] == json!(["all_children"]);
    client.until_task(&id, "waits for its children", waits).await;
    let first = &children(&client, &id).await[1];
    let first = first["id"].as_str().expect("an id");
    client.until(first, "running").await;
    let why = client.get(&format!("/task/{id}/why")).await;
    assert!(why.text.contains("waits for all of its 2 children, of which 0 have ended"), "{}", why.text);
    let page = client.send_for_bytes(&format!("/ui/task/{id}")).await.1;
    let page = String::from_utf8_lossy(&page);
    assert!(page.contains("or when the last child has ended") && page.contains("0 ended"), "{page}");
    let page = client.send_for_bytes(&format!("/ui/task/{first}")).await.1;
    assert!(String::from_utf8_lossy(&page).contains(&format!("ui/task/{id}")), "it links its parent");
    client.delete(&format!("/task/{id}")).await;
}

#[tokio::test]
async fn a_failed_child_fails_the_map_and_the_rest_is_cancelled() {
    let server = start(&["--slots", "4"]);
    let client = server.client();
    let id = client
        .submit(&map("misbehave", &[json!({"do": "fail", "kind": "other", "message": "no page 0"})]))
        .await;
    let record = client.until(&id, "failed").await;
    assert!(message(&record).starts_with("item 0 failed: "), "{}", record.text);
    let wrong = client.submit(&map("no-such-plugin", &[json!(1)])).await;
    let record = client.until(&wrong, "failed").await;
    assert!(
        message(&record).contains("child '0'") && message(&record).contains("no-such-plugin"),
        "{}",
        record.text
    );
    assert_eq!(children(&client, &wrong).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_cancel_reaches_children_and_theirs() {
    let server = start(&["--slots", "5"]);
    let client = server.client();
    for action in ["cancel", "delete"] {
        let slow = json!({"do": "sleep", "ms": 600_000});
        let nested = json!({"map": "misbehave", "items": vec![slow; 3]});
        let id = client.submit(&map("map-reduce", &[nested.clone(), nested])).await;
        until_has_children(&client, &id, 2).await;
        let mut below = Vec::new();
        for child in children(&client, &id).await {
            let child = child["id"].as_str().expect("an id").to_owned();
            until_has_children(&client, &child, 3).await;
            below.extend(children(&client, &child).await);
            below.push(json!({"id": child}));
        }
        assert_eq!(below.len(), 8);
        if action == "cancel" {
            let cancelled = client.send(Method::POST, &format!("/task/{id}/cancel"), None).await;
            assert_eq!(cancelled.expect("an answer").status, StatusCode::OK);
        } else {
            assert_eq!(client.delete(&format!("/task/{id}")).await.status, StatusCode::NO_CONTENT);
        }
        for task in below {
            let record = client.until(task["id"].as_str().expect("an id"), "cancelled").await;
            assert_eq!(record.json["error"]["cause"], "parent", "{}", record.text);
        }
    }
    while client.slots_used().await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_saga_undoes_what_it_did() {
    let server = start(&[]);
    let client = server.client();
    let step = |name: &str, does: Value| {
        json!({"name": name, "plugin": "misbehave", "input": does,
            "undo": {"plugin": "misbehave", "input": echo(&format!("no {name}"))}})
    };
    let steps = [step("flight", echo("1")), step("car", echo("\"red\"")), step("insurance", echo("ok"))];
    let id = client.submit(&json!({"plugin": "saga", "input": {"steps": steps}})).await;
    let record = client.until(&id, "completed").await;
    let result: Value = serde_json::from_str(record.str("result")).expect("JSON");
    assert_eq!(result, json!({"flight": 1, "car": "red", "insurance": "ok"}));

    let mut steps = steps.to_vec();
    steps.insert(2, step("hotel", json!({"do": "fail", "kind": "other", "message": "full"})));
    let id = client.submit(&json!({"plugin": "saga", "input": {"steps": steps}, "max_attempts": 3})).await;
    let record = client.until(&id, "failed").await;
    assert!(message(&record).starts_with("step hotel failed"), "{}", record.text);
    assert!(message(&record).ends_with("; undone: car, flight"), "{}", record.text);
    assert_eq!(record.json["attempt"], 1, "another attempt would find the same children");
    let children = children(&client, &id).await;
    let names: Vec<_> = children.iter().rev().map(|child| child["child_name"].as_str()).collect();
    let expected = ["do flight", "do car", "do hotel", "undo car", "undo flight"].map(Some);
    assert_eq!(names, expected);
}

#[tokio::test]
async fn children_are_bounded() {
    let server = start(&["--children-max", "3", "--children-depth", "1"]);
    let client = server.client();
    let items = |count| vec![echo("1"); count];
    let many = client.submit(&map("misbehave", &items(4))).await;
    let record = client.until(&many, "failed").await;
    assert!(
        message(&record).contains("would have 4 children, 3 are the most (--children-max)"),
        "{}",
        record.text
    );
    let deep = json!({"map": "misbehave", "items": items(1)});
    let deep = client.submit(&map("map-reduce", &[deep])).await;
    let record = client.until(&deep, "failed").await;
    assert!(message(&record).contains("(--children-depth)"), "{}", record.text);
    let fits = client.submit(&map("misbehave", &items(3))).await;
    client.until(&fits, "completed").await;
}

/// Kills the server while it fans out and in: every item has one child, and the result has each of them once.
#[tokio::test]
async fn no_child_is_lost_or_submitted_twice_though_the_server_is_killed() {
    const KILLS: u64 = 2;
    const ITEMS: usize = 150;
    let mut server = start(&["--slots", "8"]);
    let mut tasks: Vec<String> = Vec::new();
    for kill in 0..KILLS {
        let client = server.client();
        for _ in 0..3 {
            let items: Vec<_> = (0..ITEMS).map(|number| echo(&number.to_string())).collect();
            let mut task = map("misbehave", &items);
            // A crash is no failure of a task, but it has three at most.
            task["input"]["max_attempts"] = json!(5);
            tasks.push(client.submit(&task).await);
        }
        tokio::time::sleep(Duration::from_millis(15 + 40 * kill)).await;
        server = server.kill_and_restart();
    }
    let client = server.client();
    for id in tasks {
        let record = client.until(&id, "completed").await;
        let result: Value = serde_json::from_str(record.str("result")).expect("JSON");
        assert_eq!(result, (0..ITEMS).collect::<Value>());
        let children = children(&client, &id).await;
        let names: BTreeSet<_> = children.iter().map(|child| child["child_name"].to_string()).collect();
        assert_eq!((children.len(), names.len()), (ITEMS, ITEMS));
    }
}

#[tokio::test]
async fn children_have_the_rights_of_their_task() {
    let server = start(&[]);
    let admin = server.client().with_key(&server.create_key("ops", &["--scope", "admin"]));
    let reach =
        ["--scope", "submit,read", "--plugin", "map-reduce,misbehave", "--group", "t1", "--tag", "eu"];
    let tenant =
        server.client().with_key(&server.create_key("one", &[&reach[..], &["--waiting", "10"]].concat()));
    let id = tenant.submit(&map("misbehave", &[echo("1")])).await;
    tenant.until(&id, "completed").await;
    let child = &children(&admin, &id).await[0];
    let parent = admin.get(&format!("/task/{id}")).await;
    assert_eq!((&child["group"], &child["tags"]), (&json!("t1"), &json!(["eu"])));
    assert_eq!(child["submitted_by"], parent.json["submitted_by"]);
    let outside = tenant.submit(&map("noop", &[json!(1)])).await;
    let record = tenant.until(&outside, "failed").await;
    assert!(message(&record).contains("noop"), "a plugin outside is unknown: {}", record.text);
    let many = tenant.submit(&map("misbehave", &vec![echo("1"); 11])).await;
    let record = tenant.until(&many, "failed").await;
    assert!(message(&record).contains("10 are the most"), "its limit counts them: {}", record.text);
    let mut later = map("misbehave", &[echo("1")]);
    later["delay"] = json!("1s");
    let later = tenant.submit(&later).await;
    let revoked = wasmill(server.folder(), &["key", "revoke", "one"]);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let record = admin.until(&later, "failed").await;
    assert!(message(&record).contains("is not in force any more"), "{}", record.text);
}
