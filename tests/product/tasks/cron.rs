//! Impossible and rare cron expressions: refused with a reason, and cheap.

use hyper::StatusCode;
use serde_json::json;
use wasmill_tests::Server;

#[tokio::test]
async fn impossible_cron_expressions_are_refused_quickly_and_by_field() {
    let server = Server::start(&[]);
    let client = server.client();
    for (cron, named) in [
        (", * * * * *", "invalid second ','"),
        (", * * * *", "invalid minute ','"),
        ("0 0 , * *", "invalid day of the month ','"),
        ("0 0 * * L", "'L' must follow a day of the week"),
        ("0 0 * * +", "'+' must be followed by a day of the week"),
        ("0 0 30 2 *", "never due"),
    ] {
        let refused = client.put_schedule("bad", &json!({"cron": cron, "task": {"plugin": "noop"}})).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{cron}: {}", refused.text);
        assert_eq!(refused.json["errors"][0]["pointer"], "/cron", "{}", refused.text);
        assert!(refused.str("detail").contains(named), "{cron}: {}", refused.text);
    }
    // The first of these used to take nine seconds of CPU time each, and eight of them blocked the server.
    let many = (0..64).map(|at| {
        let client = client.clone();
        let cron = if at % 2 == 0 { ", * * * * *" } else { "0 * 29 2 +MON#5" };
        tokio::spawn(
            async move { client.put_schedule(&format!("x{at}"), &json!({"cron": cron})).await.status },
        )
    });
    let many: Vec<_> = many.collect();
    assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
    for (at, put) in many.into_iter().enumerate() {
        let expected = if at % 2 == 0 { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::CREATED };
        assert_eq!(put.await.expect("no panic"), expected);
    }
}

#[tokio::test]
async fn time_zones_are_case_insensitive_and_shown_canonically() {
    let server = Server::start(&[]);
    let client = server.client();
    for (written, name) in [("utc", "UTC"), ("europe/berlin", "Europe/Berlin")] {
        let made = client.put_schedule("zone", &json!({"cron": "@daily", "timezone": written})).await;
        assert!(made.status.is_success(), "{}", made.text);
        assert_eq!(made.str("timezone"), name);
    }
}

#[tokio::test]
async fn a_stored_schedule_with_an_invalid_cron_expression_reports_its_error() {
    let mut server = Server::start(&[]);
    let made =
        server.client().put_schedule("old", &json!({"cron": "0 0 1 1 *", "task": {"plugin": "noop"}})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert!(server.terminate().success());
    // As an older version accepted it.
    let changed = server.query("UPDATE schedule SET cron = ', * * * * *', next_at = 1 RETURNING name");
    assert_eq!(changed, ["old"]);
    let server = server.start_beside().expect("a server");
    let client = server.client();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let schedule = client.get("/schedules/old").await;
        assert_eq!(schedule.json["next_runs"], json!([]), "{}", schedule.text);
        if schedule.json["last_error"].as_str().is_some_and(|why| why.contains("a part of the list is empty"))
        {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{}", schedule.text);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(client.get("/schedules").await.status, StatusCode::OK);
    let mended = client.put_schedule("old", &json!({"cron": "@yearly", "task": {"plugin": "noop"}})).await;
    assert_eq!(mended.status, StatusCode::OK, "{}", mended.text);
}
