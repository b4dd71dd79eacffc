//! Dependencies: tasks that wait for other tasks and get their results.

use std::fs;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{PROGRAM, Server, sleep, tiny};

/// Copies stdin to stdout, as a core module.
const CAT: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (loop $more
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const 4096))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (if (i32.load (i32.const 8)) (then
                (i32.store (i32.const 4) (i32.load (i32.const 8)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
                (br $more))))))"#;

fn echo(text: &str) -> Value {
    json!({"plugin": "misbehave", "input": {"do": "echo", "text": text}})
}

fn fail() -> Value {
    json!({"plugin": "misbehave", "input": {"do": "fail", "kind": "io", "message": "no route"}})
}

/// The same task with dependencies.
fn after(task: Value, on: &[&str], more: &Value) -> Value {
    let mut task = task;
    task["depends_on"] = json!(on);
    for (key, value) in more.as_object().into_iter().flatten() {
        task[key] = value.clone();
    }
    task
}

#[tokio::test]
async fn a_task_starts_when_all_that_it_depends_on_have_completed() {
    let server = Server::start(&[]);
    let client = server.client();
    let first = client.submit(&sleep(300)).await;
    let other = client.submit(&sleep(60_000)).await;
    let last = client.submit(&after(echo("done"), &[&first, &other], &json!({}))).await;
    client.until(&first, "completed").await;
    let record = client.until_task(&last, "resolved", |record| record["pending_dependencies"] == 1).await;
    assert_eq!(
        record.json["depends_on"],
        json!([{"id": first, "outcome": "completed"}, {"id": other, "outcome": null}])
    );
    assert_eq!((record.str("on_failure"), &record.json["input_from"]), ("cancel", &json!(null)));
    assert_eq!((record.str("state"), record.str("status")), ("waiting", "created, but waiting to start"));
    assert_eq!(record.str("queue_state"), "blocked");
    let plain = client.get(&format!("/task/{other}")).await;
    assert_eq!((&plain.json["depends_on"], &plain.json["pending_dependencies"]), (&json!([]), &json!(0)));
    let listed = client.get("/task?state=waiting").await;
    assert_eq!(listed.json[0]["pending_dependencies"], 1);
    client.post(&format!("/task/{other}/cancel"), &json!({})).await;
    let record = client.until(&last, "cancelled").await;
    let message = format!("it depends on task {other}, which was cancelled");
    assert_eq!(record.json["error"], json!({"cause": "dependency", "message": message}));
    assert_eq!((record.str("status"), &record.json["pending_dependencies"]), ("cancelled", &json!(0)));
    let result = client.get(&format!("/task/{last}/result")).await;
    assert_eq!(
        (result.status, result.str("detail")),
        (StatusCode::CONFLICT, &*format!("cancelled: {message}"))
    );

    // Finished dependencies count at once.
    let late = client.submit(&after(echo("late"), &[&first], &json!({}))).await;
    let late = client.until(&late, "completed").await;
    assert!(late.str("ready_at") >= late.str("created_at"), "{}", late.text);
    let doomed = client.submit(&after(echo("never"), &[&first, &other], &json!({}))).await;
    client.until(&doomed, "cancelled").await;
    let retried = client.post(&format!("/task/{doomed}/retry"), &json!({})).await;
    assert_eq!(retried.status, StatusCode::CREATED, "{}", retried.text);
    client.until(retried.str("id"), "cancelled").await;
    assert_eq!(client.delete(&format!("/task/{other}")).await.status, StatusCode::NO_CONTENT);
    let gone = client.post(&format!("/task/{doomed}/retry"), &json!({})).await;
    assert_eq!((gone.status, gone.pointers()), (StatusCode::UNPROCESSABLE_ENTITY, vec![""]));
    let many = client.post("/task/retry?state=cancelled", &json!({})).await;
    // `other` is gone; `last`, `doomed` and its retry depended on it.
    assert_eq!((&many.json["retried"], &many.json["held"]), (&json!(0), &json!(3)), "{}", many.text);
}

#[tokio::test]
async fn a_failure_in_a_batch_cancels_the_dependents_in_order() {
    let server = Server::start(&[]);
    let client = server.client();
    let tasks = json!([
        echo("a"),
        after(
            fail(),
            &[],
            &json!({"depends_on": [{"item": 0}], "max_attempts": 2, "backoff": {"first": "300ms"}})
        ),
        after(echo("c"), &[], &json!({"depends_on": [{"item": 1}]})),
        after(echo("d"), &[], &json!({"depends_on": [{"item": 2}, {"item": 0}]})),
        after(echo("e"), &[], &json!({"depends_on": [{"item": 3}], "on_failure": "run"})),
    ]);
    let ids = client.submit_batch(&tasks).await;
    client
        .until_task(&ids[1], "between attempts", |record| {
            record["attempt"] == 1 && record["state"] == "waiting"
        })
        .await;
    assert_eq!(
        client.get(&format!("/task/{}/status", ids[2])).await.str("state"),
        "waiting",
        "it is tried again"
    );
    client.until(&ids[4], "completed").await;
    let states = async |id: &str| client.get(&format!("/task/{id}/status")).await.str("state").to_owned();
    let mut found = Vec::new();
    for id in &ids {
        found.push(states(id).await);
    }
    assert_eq!(found, ["completed", "failed", "cancelled", "cancelled", "completed"]);
    let record = client.get(&format!("/task/{}", ids[3])).await;
    assert!(record.json["error"]["message"].as_str().expect("text").contains(&ids[2]), "{}", record.text);
    assert_eq!(record.json["depends_on"][1], json!({"id": ids[0], "outcome": "completed"}));

    // A dependent of a task that was not stored because its key is taken depends on the holder of the key.
    let mut holder = sleep(60_000);
    holder["unique_key"] = json!("k");
    holder["on_conflict"] = json!("return");
    let held = client.submit(&holder).await;
    let ids = client
        .submit_batch(&json!([holder, after(echo("x"), &[], &json!({"depends_on": [{"item": 0}]}))]))
        .await;
    assert_eq!(ids[0], held);
    let record = client.get(&format!("/task/{}", ids[1])).await;
    assert_eq!(record.json["depends_on"], json!([{"id": held, "outcome": null}]));
    client.delete(&format!("/task/{held}")).await;
    client.until(&ids[1], "cancelled").await;
}

#[tokio::test]
async fn an_invalid_dependency_is_named_by_its_pointer() {
    let server = Server::start(&[]);
    let client = server.client();
    let there = client.submit(&echo("a")).await;
    let missing = "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061";
    let refused = async |body: &Value, expected: &[&str]| {
        let path = if body.is_array() { "/task/batch" } else { "/task" };
        let answer = client.post(path, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {}", answer.text);
        assert_eq!(answer.pointers(), expected, "{body}");
    };
    refused(&json!({"depends_on": [there, missing]}), &["/depends_on/1"]).await;
    refused(
        &json!({"depends_on": ["no id", {"item": 0}], "on_failure": 1}),
        &["/on_failure", "/depends_on/0", "/depends_on/1"],
    )
    .await;
    refused(&json!([{}, {"depends_on": [there, {"item": 0}, missing]}]), &["/1/depends_on/2"]).await;
    refused(
        &json!([{"depends_on": [{"item": 0}]}, {"depends_on": [{"item": 2}]}, {}]),
        &["/0/depends_on/0", "/1/depends_on/0"],
    )
    .await;
    let hundred: Vec<_> = (0..100).map(|_| json!({"item": 0})).collect();
    let crowd: Vec<_> = (0..=201)
        .map(|position| if position == 0 { json!({}) } else { json!({"depends_on": hundred}) })
        .collect();
    refused(&json!(crowd), &[""]).await;
    let listed = client.get("/task").await;
    assert_eq!(listed.json.as_array().map(Vec::len), Some(1), "nothing of all that was stored");
    // A replayed request gets the original response, whatever happened to the tasks.
    let body = json!([{"plugin": "noop"}, {"plugin": "noop", "depends_on": [{"item": 0}, there]}]);
    let send = async || {
        let body = ("application/json", body.to_string().into_bytes());
        client
            .send_with(Method::POST, "/task/batch", &[("idempotency-key", "k")], Some(body))
            .await
            .expect("an answer")
    };
    let first = send().await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    client.until(first.json[1]["id"].as_str().expect("an id"), "completed").await;
    client.delete(&format!("/task/{there}")).await;
    assert_eq!(send().await.text, first.text);
}

/// Of three kinds: a task asks for the results, programs read them after their stdin.
#[tokio::test]
async fn dependency_results_reach_plugins_of_every_kind() {
    let folder = Server::folder_with_guests();
    fs::write(folder.path().join("plugins/command.wasm"), PROGRAM).expect("a plugin");
    fs::write(folder.path().join("plugins/module.wasm"), tiny::parse(CAT)).expect("a plugin");
    let server = Server::start_in(folder, &["--slots", "4"]).expect("a server");
    let client = server.client();
    let tasks = json!([echo("one\n"), fail(), echo("two\n")]);
    let first = client.submit_batch(&tasks).await;
    let on: Vec<_> = [2, 1, 0].map(|position: usize| first[position].as_str()).to_vec();
    let pass_results = json!({"input_from": "dependencies", "on_failure": "run"});
    let own = json!({"plugin": "misbehave", "input": {"do": "dependencies"}});
    let plain = client.submit(&after(own.clone(), &on, &json!({"on_failure": "run"}))).await;
    let task = client.submit(&after(own.clone(), &on, &pass_results)).await;
    let command = json!({"plugin": "command", "input": {"args": ["cat"], "stdin": "zero\n"}});
    let command = client.submit(&after(command, &on, &pass_results)).await;
    let module = client.submit(&after(json!({"plugin": "module"}), &on, &pass_results)).await;

    let record = client.until(&task, "completed").await;
    assert_eq!(record.str("input_from"), "dependencies");
    let read: Value = serde_json::from_str(record.str("result")).expect("JSON");
    let expected = json!({"input": own["input"], "dependencies": [
        {"id": first[2], "outcome": "completed", "result": "two\n"},
        {"id": first[1], "outcome": "failed", "result": null},
        {"id": first[0], "outcome": "completed", "result": "one\n"},
    ]});
    assert_eq!(read, expected);
    // A task that did not ask for results in its request has none.
    let record = client.until(&plain, "completed").await;
    let read: Value = serde_json::from_str(record.str("result")).expect("JSON");
    assert_eq!(read, json!({"input": own["input"], "dependencies": []}));
    assert_eq!(client.until(&command, "completed").await.str("result"), "zero\ntwo\none\n");
    assert_eq!(client.until(&module, "completed").await.str("result"), "two\none\n");

    let retried = client.post(&format!("/task/{module}/retry"), &json!({})).await;
    assert_eq!(client.until(retried.str("id"), "completed").await.str("result"), "two\none\n");
    // Results of deleted tasks are not available.
    let open = client.submit(&sleep(60_000)).await;
    let late = client.submit(&after(json!({"plugin": "module"}), &[&first[0], &open], &pass_results)).await;
    client.delete(&format!("/task/{}", first[0])).await;
    client.post(&format!("/task/{open}/cancel"), &json!({})).await;
    let record = client.until(&late, "failed").await;
    assert_eq!(record.json["error"]["cause"], "invalid-input");
    assert!(record.json["error"]["message"].as_str().expect("text").contains(&first[0]), "{}", record.text);
}

#[tokio::test]
async fn dependency_results_that_are_too_large_fail_the_attempt() {
    let server = Server::start(&[]);
    let client = server.client();
    let large =
        client.submit(&json!({"plugin": "misbehave", "input": {"do": "result", "bytes": 1_000_000}})).await;
    let on: Vec<_> = [&*large; 5].to_vec();
    let pass_results = json!({"input_from": "dependencies", "max_attempts": 3});
    let asks = json!({"plugin": "misbehave", "input": {"do": "dependencies"}});
    let four = client.submit(&after(asks.clone(), &on[..4], &pass_results)).await;
    let five = client.submit(&after(asks, &on, &pass_results)).await;
    let record = client.until(&five, "failed").await;
    assert_eq!((record.str("status"), &record.json["attempt"]), ("failed by invalid input", &json!(1)));
    assert!(
        record.json["error"]["message"].as_str().expect("text").contains("5000000 bytes"),
        "{}",
        record.text
    );
    // The results fit; the plugin's own result may not exceed a megabyte.
    assert_eq!(client.until(&four, "failed").await.str("status"), "failed by result limit");
}

#[tokio::test]
async fn results_outlive_retention_until_their_dependents_finish() {
    let server = Server::start(&["--keep-for", "1s"]);
    let client = server.client();
    let first = client.submit(&echo("kept")).await;
    let forgotten = client.submit(&echo("forgotten")).await;
    let open = client.submit(&sleep(60_000)).await;
    let pass_results = json!({"input_from": "dependencies", "on_failure": "run"});
    let asks = json!({"plugin": "misbehave", "input": {"do": "dependencies"}});
    let last = client.submit(&after(asks, &[&first, &open], &pass_results)).await;
    let plain =
        client.submit(&after(echo("plain"), &[&forgotten, &open], &json!({"on_failure": "run"}))).await;
    let mut events = client.follow(&format!("/task/{last}/events"), None).await;
    let gone = async |id: &str| {
        while client.get(&format!("/task/{id}")).await.status == StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    gone(&forgotten).await;
    assert_eq!(client.get(&format!("/task/{first}")).await.str("result"), "kept");
    assert_eq!(client.get(&format!("/task/{plain}")).await.json["pending_dependencies"], 1);
    client.post(&format!("/task/{open}/cancel"), &json!({})).await;
    assert_eq!(events.rest().await.last().expect("its end").name, "completed");
    for id in [&first, &last, &plain] {
        gone(id).await;
    }
}

/// A chain completes across repeated crashes, each task once and in order.
#[tokio::test]
async fn a_pipeline_completes_wherever_the_host_crashes() {
    const LINKS: usize = 60;
    let mut server = Server::start(&[]);
    let link = |position: usize| match position {
        0 => sleep(50),
        _ => after(sleep(50), &[], &json!({"depends_on": [{"item": position - 1}]})),
    };
    let tasks: Vec<_> = (0..LINKS).map(link).collect();
    let ids = server.client().submit_batch(&json!(tasks)).await;
    let doomed = json!([sleep(60_000), after(echo("a"), &[], &json!({"depends_on": [{"item": 0}]}))]);
    let doomed = server.client().submit_batch(&doomed).await;
    for position in [9, 24, 40] {
        server.client().until(&ids[position], "completed").await;
        if position == 24 {
            server.client().post(&format!("/task/{}/cancel", doomed[0]), &json!({})).await;
        }
        server = server.kill_and_restart();
    }
    let client = server.client();
    client.until(&doomed[1], "cancelled").await;
    client.until(&ids[LINKS - 1], "completed").await;
    let mut before = String::new();
    for id in &ids {
        let record = client.get(&format!("/task/{id}")).await;
        assert_eq!(record.str("state"), "completed", "{}", record.text);
        assert!(record.str("started_at") >= before.as_str(), "it started before the one before it had ended");
        before = record.str("finished_at").to_owned();
    }
}
