//! Delays between attempts: never shorter than requested, spread by jitter, and shown.

use serde_json::json;
use wasmill_model::{TimeDelta, Timestamp};
use wasmill_tests::Server;

fn time(value: &serde_json::Value) -> Timestamp {
    value.as_str().expect("a time").parse().expect("a time")
}

#[tokio::test]
async fn no_attempt_starts_before_its_backoff() {
    let server = Server::start(&[]);
    let client = server.client();
    let fail = json!({"do": "fail", "kind": "io", "message": "no"});
    let backoffs = [
        json!({"first": "150ms", "factor": 1}),
        json!({"first": "150ms", "factor": 1, "jitter": 0}),
        json!({"first": "150ms", "factor": 1, "jitter": 1}),
    ];
    let mut ids = Vec::new();
    for at in 0..12 {
        let backoff = &backoffs[at % backoffs.len()];
        ids.push(
            client
                .submit(&json!({"plugin": "misbehave", "input": fail, "max_attempts": 3, "backoff": backoff}))
                .await,
        );
    }
    for id in ids {
        client.until(&id, "failed").await;
        let record = client.get(&format!("/task/{id}")).await;
        let attempts = record.json["attempts"].as_array().expect("a list");
        assert_eq!(attempts.len(), 3, "{}", record.text);
        for pair in attempts.windows(2) {
            let wait = time(&pair[1]["started_at"]) - time(&pair[0]["finished_at"]);
            assert!(wait >= TimeDelta::milliseconds(150), "{wait}: {}", record.text);
        }
    }
}

#[tokio::test]
async fn a_plugin_chooses_the_time_of_the_next_attempt() {
    let server = Server::start(&[]);
    let client = server.client();
    let submit = async |after_ms: u64, backoff| {
        let fail = json!({"do": "fail", "kind": "io", "message": "429", "retry_after_ms": after_ms});
        let task = json!({"plugin": "misbehave", "input": fail, "max_attempts": 2, "backoff": backoff});
        client.submit(&task).await
    };
    // Its time is longer, shorter and far longer than the backoff.
    let short = json!({"first": "1ms", "factor": 1, "max": "1ms"});
    let long = json!({"first": "1h", "factor": 1, "max": "1h"});
    let (longer, shorter, clamped) =
        (submit(700, &short).await, submit(300, &long).await, submit(u64::MAX / 1_000_000, &short).await);
    for (id, wait) in [(longer, 700), (shorter, 300)] {
        let record = client.until(&id, "failed").await;
        let attempts = record.json["attempts"].as_array().expect("a list");
        assert_eq!((attempts.len(), record.str("status")), (2, "failed by io bound"), "{}", record.text);
        let waited = time(&attempts[1]["started_at"]) - time(&attempts[0]["finished_at"]);
        assert!(waited >= TimeDelta::milliseconds(wait), "{waited}: {}", record.text);
    }
    let record = client.until_task(&clamped, "waits", |record| record["queue_state"] == "scheduled").await;
    let wait = time(&record.json["ready_at"]) - time(&record.json["attempts"][0]["finished_at"]);
    assert_eq!(wait, TimeDelta::days(7), "{}", record.text);
}

#[tokio::test]
async fn a_failure_that_a_plugin_calls_permanent_is_not_retried() {
    let server = Server::start(&[]);
    let client = server.client();
    let fail = json!({"do": "fail", "kind": "io", "message": "410", "permanent": true});
    let task = json!({"plugin": "misbehave", "input": fail, "max_attempts": 5, "backoff": {"first": "1ms"}});
    let record = client.until(&client.submit(&task).await, "failed").await;
    let ended = (record.str("status"), &record.json["attempt"], &record.json["error"]);
    let error = json!({"cause": "io", "message": "410"});
    assert_eq!(ended, ("failed by io bound", &json!(1), &error), "{}", record.text);
}

#[tokio::test]
async fn the_effective_backoff_is_shown_and_an_invalid_one_is_refused() {
    let server = Server::start(&[]);
    let client = server.client();
    let submit = async |backoff| {
        let id = client.submit(&json!({"plugin": "noop", "backoff": backoff})).await;
        client.get(&format!("/task/{id}")).await.json["backoff"].clone()
    };
    let usual = json!({"first_ms": 1_000, "factor": 2.0, "max_ms": 300_000, "jitter": 0.5});
    assert_eq!(submit(json!(null)).await, usual);
    let own = submit(json!({"first": "2s", "factor": 3, "max": "1m", "jitter": 0.25})).await;
    assert_eq!(own, json!({"first_ms": 2_000, "factor": 3.0, "max_ms": 60_000, "jitter": 0.25}));
    assert_eq!(submit(json!({"jitter": 0})).await["jitter"], 0.0);
    for (jitter, pointer) in
        [(json!(-0.1), "/backoff"), (json!(1.1), "/backoff"), (json!("none"), "/backoff/jitter")]
    {
        let refused = client.post("/task", &json!({"plugin": "noop", "backoff": {"jitter": jitter}})).await;
        assert_eq!(refused.status.as_u16(), 422, "{}", refused.text);
        assert_eq!(refused.json["errors"][0]["pointer"], pointer, "{}", refused.text);
    }
}
