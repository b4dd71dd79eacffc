//! Responses that wait for a task: `?wait=30s` and `Prefer: wait=30`.

use hyper::{Method, StatusCode};
use serde_json::json;
use wasmill_tests::{Answer, Client, Server, sleep};

/// Requests the result in the background.
fn ask(client: &Client, id: &str, wait: &str) -> tokio::task::JoinHandle<Answer> {
    let (client, path) = (client.clone(), format!("/task/{id}/result?wait={wait}"));
    tokio::spawn(async move { client.get(&path).await })
}

#[tokio::test]
async fn a_result_can_be_waited_for() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&sleep(300)).await;
    let path = format!("/task/{id}/result");
    assert_eq!(client.get(&path).await.status, StatusCode::ACCEPTED);
    let answer = client.get(&format!("{path}?wait=60s")).await;
    assert_eq!((answer.status, answer.json), (StatusCode::OK, json!({"result": "ok"})));
    let failing = json!({"plugin": "misbehave", "input": {"do": "fail", "kind": "io", "message": "no"}});
    let id = client.submit(&failing).await;
    let answer = client.get(&format!("/task/{id}/result?wait=60s")).await;
    assert_eq!((answer.status, answer.str("code")), (StatusCode::CONFLICT, "task-failed"));
}

#[tokio::test]
async fn a_wait_that_times_out_gets_the_response_without_wait() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&sleep(3_600_000)).await;
    let plain = client.get(&format!("/task/{id}/result")).await;
    for wait in ["0s", "50ms"] {
        let answer = client.get(&format!("/task/{id}/result?wait={wait}")).await;
        assert_eq!((answer.status, &answer.json), (StatusCode::ACCEPTED, &plain.json));
    }
    for query in ["wait=61s", "wait=30", "wiat=30s"] {
        let answer = client.get(&format!("/task/{id}/result?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        let answer = client.post(&format!("/task?{query}"), &sleep(0)).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    assert_eq!(
        client.get("/task").await.json.as_array().map(Vec::len),
        Some(1),
        "what is refused is not stored"
    );
}

#[tokio::test]
async fn a_preference_is_applied_and_confirmed() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&sleep(300)).await;
    let path = format!("/task/{id}/result");
    let prefer = [("prefer", "wait=60")];
    let answer = client.send_with(Method::GET, &path, &prefer, None).await.expect("an answer");
    assert_eq!(
        (answer.status, &answer.headers["preference-applied"]),
        (StatusCode::OK, &"wait=60".parse().unwrap())
    );
    let body = Some(("application/json", sleep(100).to_string().into_bytes()));
    let answer = client.send_with(Method::POST, "/task", &prefer, body).await.expect("an answer");
    assert_eq!((answer.status, answer.str("state")), (StatusCode::CREATED, "completed"));
    assert!(answer.headers.contains_key("preference-applied"));
}

#[tokio::test]
async fn a_submit_that_waits_returns_the_task() {
    let server = Server::start(&[]);
    let client = server.client();
    let answer = client.post("/task?wait=60s", &sleep(100)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!((answer.str("state"), answer.str("result")), ("completed", "ok"));
    assert_eq!(answer.json["duration"], 0);
    let id = answer.str("id");
    assert_eq!(answer.headers["location"], format!("/task/{id}"));
    assert_eq!(client.get(&format!("/task/{id}")).await.json["finished_at"], answer.json["finished_at"]);
    let later = client.post("/task?wait=50ms", &sleep(3_600_000)).await;
    assert_eq!(later.status, StatusCode::CREATED);
    assert!(matches!(later.str("state"), "waiting" | "running"), "{}", later.text);
    // Without a wait the response is unchanged.
    let plain = client.post("/task", &sleep(0)).await;
    assert_eq!(plain.json.as_object().map(serde_json::Map::len), Some(3));
}

#[tokio::test]
async fn a_drain_and_a_deletion_end_a_wait() {
    let mut server = Server::start(&["--slots", "1", "--drain", "500ms"]);
    let client = server.client();
    let running = client.submit(&sleep(3_600_000)).await;
    client.until(&running, "running").await;
    let (waiting, deleted) = (client.submit(&sleep(0)).await, client.submit(&sleep(0)).await);
    let (of_running, of_waiting) = (ask(&client, &running, "60s"), ask(&client, &waiting, "60s"));
    let of_deleted = ask(&client, &deleted, "60s");
    client.delete(&format!("/task/{deleted}")).await;
    let answer = of_deleted.await.expect("no panic");
    assert_eq!(answer.str("code"), "unknown-task");
    assert!(!of_waiting.is_finished() && !of_running.is_finished());
    // The waiting task will not start here; the running one has until the end of the drain.
    client.post("/drain", &json!({})).await;
    for received in [of_waiting, of_running] {
        assert_eq!(received.await.expect("no panic").status, StatusCode::ACCEPTED);
    }
    assert_eq!(client.get(&format!("/task/{running}")).await.str("state"), "waiting");
    assert!(server.terminate().success(), "{}", server.log());
}
