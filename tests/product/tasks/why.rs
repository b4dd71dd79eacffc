//! Why a task waits, and what waits for it.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_tests::{Answer, Client, NOOP, Server, sleep};

/// Asks why a task waits, and returns the codes of the reasons as well.
async fn why(client: &Client, id: &str) -> (Vec<String>, Answer) {
    let answer = client.get(&format!("/task/{id}/why")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let reasons = answer.json["reasons"].as_array().expect("an array").iter();
    (reasons.map(|reason| reason["code"].as_str().expect("a code").to_owned()).collect(), answer)
}

fn noop() -> Value {
    json!({"plugin": "noop"})
}

#[tokio::test]
async fn a_task_says_what_it_waits_for() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let running = client.submit(&sleep(60_000)).await;
    client.until(&running, "running").await;
    let (codes, runs) = why(&client, &running).await;
    assert_eq!((codes, runs.str("summary")), (vec![], "it does not wait: it is running"));

    let first = client.submit(&sleep(1)).await;
    let second = client.submit(&sleep(1)).await;
    let (codes, waits) = why(&client, &first).await;
    assert_eq!(
        (codes, &waits.json["ahead"], &waits.json["hosts"]),
        (vec!["slots".into()], &json!(0), &json!(1))
    );
    assert_eq!((waits.str("summary"), waits.str("queue_state")), ("1 of 1 slots are used", "available"));
    let (codes, waits) = why(&client, &second).await;
    assert_eq!((codes, &waits.json["ahead"]), (vec!["slots".into(), "queue".into()], &json!(1)));

    let blocked = client.submit(&json!({"plugin": "noop", "depends_on": [first, second]})).await;
    let (codes, waits) = why(&client, &blocked).await;
    assert_eq!(codes, ["dependencies"]);
    assert_eq!(waits.json["reasons"][0]["tasks"], json!([first, second]));
    assert_eq!(
        (waits.str("summary"), &waits.json["ahead"]),
        ("it depends on 2 tasks that have not finished", &json!(null))
    );

    let later = client.submit(&json!({"plugin": "noop", "delay": "1h"})).await;
    let (codes, waits) = why(&client, &later).await;
    assert_eq!(codes, ["delay"]);
    let ready_at = client.get(&format!("/task/{later}")).await.json["ready_at"].clone();
    assert_eq!(waits.json["reasons"][0]["until"], ready_at);

    assert_eq!(client.post("/pause", &json!({})).await.status, StatusCode::OK);
    assert_eq!(why(&client, &first).await.0, ["paused", "slots"]);
    assert_eq!(client.post("/resume", &json!({})).await.status, StatusCode::OK);
    assert_eq!(client.post("/plugins/noop/pause", &json!({})).await.status, StatusCode::OK);
    assert_eq!(why(&client, &later).await.0, ["delay", "plugin-paused"]);

    client.delete(&format!("/task/{running}")).await;
    client.until(&first, "completed").await;
    let (codes, done) = why(&client, &first).await;
    assert_eq!((codes, done.str("summary")), (vec![], "it does not wait: it is completed"));
    assert_eq!(client.get(&format!("/task/{running}/why")).await.str("code"), "unknown-task");
    assert_eq!(client.get("/task/nothing/why").await.str("code"), "invalid-id");
}

#[tokio::test]
async fn a_task_says_which_limit_of_its_plugin_holds_it() {
    let server = Server::start_with_manifest("[limits]\nconcurrency = 1\nrate = \"2/h\"\n", &[]);
    let client = server.client();
    let running = client.submit(&sleep(60_000)).await;
    client.until(&running, "running").await;
    let waits = client.submit(&sleep(1)).await;
    let (codes, answer) = why(&client, &waits).await;
    assert_eq!(codes, ["concurrency"]);
    assert!(answer.str("summary").contains("runs 1 of at most 1 tasks at once"), "{}", answer.text);
    client.delete(&format!("/task/{running}")).await;
    client.until(&waits, "completed").await;
    let third = client.submit(&sleep(1)).await;
    let (codes, answer) = why(&client, &third).await;
    assert_eq!(codes, ["rate"]);
    assert!(answer.json["reasons"][0]["until"].is_string(), "{}", answer.text);
}

#[tokio::test]
async fn a_retried_task_says_when_and_one_without_a_plugin_says_so() {
    let server = Server::start(&["--allow-upload"]);
    let client = server.client();
    let fail = json!({"do": "fail", "kind": "io", "message": "no route"});
    let task = json!({"plugin": "misbehave", "input": fail, "max_attempts": 2, "backoff": {"first": "1h", "max": "1h"}});
    let id = client.submit(&task).await;
    client.until_task(&id, "waits again", |record| record["queue_state"] == "scheduled").await;
    let (codes, waits) = why(&client, &id).await;
    assert_eq!(codes, ["backoff"]);
    assert!(waits.str("summary").starts_with("attempt 1 of 2 failed"), "{}", waits.text);

    assert_eq!(client.put_plugin("gone", NOOP).await.status, StatusCode::CREATED);
    let later = client.submit(&json!({"plugin": "gone", "delay": "1h"})).await;
    assert_eq!(client.delete("/plugins/gone").await.status, StatusCode::NO_CONTENT);
    let (codes, waits) = why(&client, &later).await;
    assert_eq!(codes, ["delay", "plugin-unknown"]);
    assert_eq!(waits.json["reasons"][1]["on"], "this-host");
}

#[tokio::test]
async fn dependents_are_listed_in_pages() {
    let server = Server::start(&[]);
    let client = server.client();
    let on = client.submit(&sleep(60_000)).await;
    let after = json!({"plugin": "noop", "depends_on": [on]});
    let mut dependents = client.submit_batch(&json!(vec![after; 5])).await;
    dependents.reverse();
    let lone = client.submit(&noop()).await;
    let (mut listed, mut path) = (Vec::new(), format!("/task/{on}/dependents?limit=2"));
    for size in [2, 2, 1] {
        let page = client.get(&path).await;
        let ids =
            page.json.as_array().expect("an array").iter().map(|task| task["id"].as_str().expect("an id"));
        listed.extend(ids.map(str::to_owned));
        assert_eq!(page.json.as_array().map(Vec::len), Some(size), "{}", page.text);
        match page.headers.get("link") {
            Some(link) => {
                let link = link.to_str().expect("text");
                path = link.trim_start_matches('<').split_once('>').expect("a link").0.to_owned();
            }
            None => assert_eq!(size, 1, "the last page"),
        }
    }
    assert_eq!(listed, dependents);
    assert_eq!(client.get(&format!("/task/{lone}/dependents")).await.json, json!([]));
    client.post(&format!("/task/{on}/cancel"), &json!({})).await;
    client.until_finished(&dependents[0]).await;
    let all = client.get(&format!("/task/{on}/dependents")).await;
    assert_eq!(all.json.as_array().map(Vec::len), Some(5), "also those that have finished: {}", all.text);
    for (query, pointer) in [("limit=0", "limit"), ("cursor=-", "cursor"), ("limit=1001", "limit")] {
        let refused = client.get(&format!("/task/{on}/dependents?{query}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
        assert_eq!(refused.json["errors"][0]["parameter"], pointer, "{}", refused.text);
    }
    client.send(Method::DELETE, &format!("/task/{on}"), None).await.expect("an answer");
    assert_eq!(client.get(&format!("/task/{on}/dependents")).await.str("code"), "unknown-task");
}

#[tokio::test]
async fn a_running_task_says_what_it_does() {
    let server = Server::start(&[]);
    let client = server.client();
    let asleep = client.submit(&sleep(600_000)).await;
    let spins = client.submit(&json!({"plugin": "misbehave", "input": {"do": "spin"}})).await;
    let activity = async |id: &str| client.get(&format!("/task/{id}/activity")).await;
    let until = async |id: &str, is_so: &dyn Fn(&Value) -> bool| {
        for _ in 0..500 {
            let answer = activity(id).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
            if is_so(&answer.json) {
                return answer.json;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{}", activity(id).await.text)
    };
    let shown = until(&asleep, &|shown| shown["run"]["state"] == "waiting").await;
    assert!(shown["summary"].as_str().expect("words").starts_with("sleeping until 20"), "{shown}");
    assert_eq!((&shown["run"]["call"]["name"], &shown["functions"]), (&json!("wasi:io/poll"), &Value::Null));
    assert_eq!((&shown["state"], &shown["run"]["attempt"]), (&json!("running"), &json!(1)));

    let shown = until(&spins, &|shown| shown["functions"].is_array()).await;
    assert_eq!(
        (&shown["run"]["state"], &shown["functions"][0]),
        (&json!("computing"), &json!("misbehave::spin"))
    );
    let page = client.clone().undocumented().get(&format!("/ui/task/{spins}")).await;
    assert!(page.text.contains("What it does now"), "{}", page.text);
    let page = client.clone().undocumented().get(&format!("/ui/task/{asleep}/record")).await;
    assert!(
        page.text.contains("sleeping until <time") && page.text.contains("wasi:io/poll"),
        "{}",
        page.text
    );

    for id in [&asleep, &spins] {
        assert_eq!(client.delete(&format!("/task/{id}")).await.status, StatusCode::NO_CONTENT);
        assert_eq!(activity(id).await.str("code"), "unknown-task");
    }
    let done = client.submit(&noop()).await;
    client.until_finished(&done).await;
    let shown = activity(&done).await;
    assert_eq!((shown.str("summary"), &shown.json["run"]), ("it has finished", &Value::Null));
    let later = client.submit(&json!({"plugin": "noop", "delay": "1h"})).await;
    let shown = activity(&later).await;
    assert!(shown.str("summary").starts_with("it waits") && shown.json["run"].is_null(), "{}", shown.text);
}
