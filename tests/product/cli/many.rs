//! `retry` and `delete` of all tasks that match.

use serde_json::json;
use wasmill_tests::{CommandOutput, Server, wasmill};

fn ask(server: &Server, args: &[&str]) -> CommandOutput {
    let url = format!("http://{}", server.address());
    wasmill(server.folder(), &[args, &["--server", &url]].concat())
}

#[tokio::test]
async fn tasks_are_retried_and_deleted_by_filter() {
    let server = Server::start(&[]);
    let client = server.client();
    let trap = json!({"plugin": "misbehave", "input": {"do": "trap"}, "tags": ["a"], "max_attempts": 1});
    let ids = client.submit_batch(&json!([trap, trap, {"plugin": "noop", "tags": ["a"]}])).await;
    for id in &ids {
        client.until_finished(id).await;
    }
    client.post("/pause", &json!({})).await;
    let out = |args: &[&str]| {
        let output = ask(&server, args);
        assert_eq!(output.code, 0, "{args:?}: {}", output.err);
        output.out
    };
    assert_eq!(out(&["retry", "--cause", "trap", "--dry-run"]), "2 tasks would be submitted again\n");
    assert_eq!(out(&["retry", "--cause", "trap", "--tag", "a"]), "2 tasks submitted again\n");
    let json: serde_json::Value =
        serde_json::from_str(&out(&["retry", "--all", "--dry-run", "--json"])).expect("JSON");
    assert_eq!((&json["retried"], &json["dry_run"]), (&json!(2), &json!(true)));
    let several = out(&["retry", &ids[0], &ids[1]]);
    assert_eq!(several.lines().count(), 2, "{several}");
    for id in several.lines() {
        assert_eq!(client.get(&format!("/task/{id}")).await.str("state"), "waiting");
    }
    assert_eq!(out(&["delete", "--state", "completed", "--dry-run"]), "1 task would be deleted\n");
    assert_eq!(out(&["delete", "--tag", "a"]), "3 tasks deleted\n");
    assert_eq!(client.get("/task").await.json.as_array().map(Vec::len), Some(4), "what waits stays");
    assert_eq!(out(&["delete", "--all"]), "0 tasks deleted\n");
    for (args, why) in [
        (&["retry"][..], "select the tasks to retry"),
        (&["delete"], "select the tasks to delete"),
        (&["delete", "--all", "--tag", "a"], "all=true"),
        (&["delete", "--state", "waiting"], "has not finished"),
        (&["retry", "--all", "--wait"], "give one id"),
        (&["retry", &ids[0], "--all"], "either by id or by options"),
        (&["retry", "--cause", "unheard-of"], "a cause of failure"),
    ] {
        let refused = ask(&server, args);
        assert!(refused.code == 2 && refused.err.contains(why), "{args:?}: {}", refused.err);
    }
}
