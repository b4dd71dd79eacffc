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
