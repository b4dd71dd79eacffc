//! Schedules, created by the API or a manifest: each run starts exactly once, whatever happens to the host.

use std::fs;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use wasmill_model::Timestamp;
use wasmill_tests::{Answer, Client, NOOP, Server, command};

async fn made(client: &Client, name: &str, schedule: &Value) -> Answer {
    let answer = client.put_schedule(name, schedule).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    answer
}

/// Polls until the schedule fulfils this condition.
async fn until(client: &Client, name: &str, what: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = client.get(&format!("/schedules/{name}")).await;
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "'{name}' is not {what}: {}", answer.text);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the tasks of a schedule.
async fn tasks(client: &Client, name: &str) -> Vec<Value> {
    let mut tasks = client.get("/task").await.json.as_array().expect("a list").clone();
    tasks.retain(|task| task["schedule"] == name);
    tasks
}

fn noop_every_second() -> Value {
    json!({"cron": "* * * * * *", "task": {"plugin": "noop"}})
}

#[tokio::test]
async fn a_schedule_is_created_shown_replaced_and_deleted() {
    let server = Server::start(&[]);
    let client = server.client();
    let body = json!({
        "cron": "30 2 * * *", "timezone": "Europe/Berlin", "missed": "all", "overlap": false,
        "task": {"plugin": "noop", "input": {"n": 1}, "priority": 7, "tags": ["night"]},
    });
    let new = made(&client, "nightly", &body).await;
    for key in ["cron", "timezone", "missed", "overlap", "task"] {
        assert_eq!(new.json[key], body[key], "{key}");
    }
    assert_eq!((new.str("from"), new.str("plugin"), &new.json["paused"]), ("rest", "noop", &json!(false)));
    assert_eq!((&new.json["last_run"], &new.json["runs"]), (&Value::Null, &json!(0)));
    let next = new.json["next_runs"].as_array().expect("the next runs");
    assert_eq!(next.len(), 5);
    for run in next {
        let run = run.as_str().expect("a time");
        assert!(run.contains("T02:30:00+0") || run.contains("T03:00:00+02"), "{run}");
    }
    made(&client, "a-default", &json!({"cron": "@hourly"})).await;
    let listed = client.get("/schedules").await;
    let names: Vec<_> = listed.json.as_array().expect("a list").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["a-default", "nightly"]);
    assert_eq!(listed.json[0]["plugin"], "io-stub");
    assert!(listed.json[0].get("task").is_none(), "{}", listed.text);
    let replaced =
        client.put_schedule("nightly", &json!({"cron": "0 3 * * *", "task": {"plugin": "noop"}})).await;
    assert_eq!((replaced.status, replaced.str("timezone")), (StatusCode::OK, "UTC"), "{}", replaced.text);
    assert_eq!(replaced.str("created_at"), new.str("created_at"));
    let server = server.kill_and_restart();
    let client = server.client();
    assert_eq!(client.get("/schedules/nightly").await.str("cron"), "0 3 * * *");
    assert_eq!(client.delete("/schedules/nightly").await.status, StatusCode::NO_CONTENT);
    for path in ["/schedules/nightly", "/schedules/No%20Name"] {
        assert_eq!(client.get(path).await.str("code"), "unknown-schedule");
        assert_eq!(client.delete(path).await.str("code"), "unknown-schedule");
        for what in ["pause", "resume", "run"] {
            let answer = client.post(&format!("{path}/{what}"), &json!({})).await;
            assert_eq!(answer.str("code"), "unknown-schedule", "{what}");
        }
    }
}

#[tokio::test]
async fn an_invalid_schedule_is_refused_with_all_its_errors() {
    let server = Server::start(&[]);
    let client = server.client();
    let task = json!({"plugin": "noop"});
    for (body, expected) in [
        (json!({}), vec!["/cron"]),
        (json!([]), vec![""]),
        (json!({"cron": "soon"}), vec!["/cron"]),
        (json!({"cron": "0 0 30 2 *"}), vec!["/cron"]),
        (json!({"cron": "* * * * *", "timezone": "Berlin"}), vec!["/timezone"]),
        (json!({"cron": "* * * * *", "missed": "some", "overlap": 1}), vec!["/missed", "/overlap"]),
        (json!({"cron": "* * * * *", "task": {"plugin": "nobody"}}), vec!["/task/plugin"]),
        (json!({"cron": "* * * * *", "task": {"plugin": "noop", "priority": 9999}}), vec!["/task/priority"]),
        (json!({"cron": "* * * * *", "task": "noop"}), vec!["/task"]),
        (json!({"cron": "* * * * *", "task": {"run_at": "2027-01-01T00:00:00Z"}}), vec!["/task/run_at"]),
        (json!({"cron": "* * * * *", "task": {"input": "x".repeat(70_000)}}), vec!["/task"]),
        (json!({"cron": 5, "tsak": task}), vec!["/cron", "/tsak"]),
    ] {
        let refused = client.put_schedule("a", &body).await;
        assert_eq!(
            (refused.status, refused.str("code")),
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid-request")
        );
        assert_eq!(refused.pointers(), expected, "{}", refused.text);
    }
    let refused = client.put_schedule("No%20Name", &json!({"cron": "* * * * *"})).await;
    assert_eq!(refused.str("code"), "invalid-schedule-name");
    assert_eq!(client.get("/schedules").await.json, json!([]));
}

#[tokio::test]
async fn runs_start_when_due_and_show_their_schedule() {
    let server = Server::start(&[]);
    let client = server.client();
    made(&client, "tick", &noop_every_second()).await;
    let ran = until(&client, "tick", "run three times", |tick| tick.json["runs"].as_u64() >= Some(3)).await;
    let task = ran.json["last_run"]["task"].as_str().expect("a task");
    let record = client.until(task, "completed").await;
    assert_eq!((record.str("schedule"), record.str("plugin")), ("tick", "noop"));
    let late = {
        let time = |key: &str| ran.json["last_run"][key].as_str().expect("a time").parse::<Timestamp>();
        time("time").expect("a time") - time("due").expect("a time")
    };
    assert!((0..30_000).contains(&late.num_milliseconds()), "{late}");
    let paused = client.post("/schedules/tick/pause", &json!({})).await;
    assert_eq!((&paused.json["paused"], &paused.json["next_runs"]), (&json!(true), &json!([])));
    let runs = paused.json["runs"].as_u64().expect("a number");
    assert_eq!(tasks(&client, "tick").await.len() as u64, runs, "each run has one task");
    let by_hand = client.post("/schedules/tick/run", &json!({})).await;
    assert_eq!(by_hand.status, StatusCode::CREATED, "{}", by_hand.text);
    let tick = client.get("/schedules/tick").await;
    assert_eq!((tick.json["runs"].as_u64(), &tick.json["last_run"]["due"]), (Some(runs + 1), &Value::Null));
    assert_eq!(tick.json["last_run"]["task"], by_hand.json["id"]);
    let metrics = client.get("/metrics").await.text;
    assert!(metrics.contains(&format!("wasmill_schedule_runs_total {}", runs + 1)), "{metrics}");
    assert!(metrics.contains(&format!("wasmill_schedule_late_seconds_count {runs}")), "{metrics}");
    let resumed = client.post("/schedules/tick/resume", &json!({})).await;
    assert_eq!(resumed.json["paused"], false);
    until(&client, "tick", "running on", |tick| tick.json["runs"].as_u64() > Some(runs + 1)).await;
    client.delete("/schedules/tick").await;
    assert!(!tasks(&client, "tick").await.is_empty(), "tasks outlive their schedule");
}

#[tokio::test]
async fn no_run_is_lost_or_repeated_across_crashes() {
    let mut server = Server::start(&[]);
    let mut schedule = noop_every_second();
    schedule["missed"] = json!("all");
    let new = made(&server.client(), "tick", &schedule).await;
    let first: Timestamp =
        new.json["next_runs"][0].as_str().and_then(|run| run.parse().ok()).expect("a time");
    for round in 1..=4 {
        let ran = move |tick: &Answer| tick.json["runs"].as_u64() >= Some(2 * round);
        until(&server.client(), "tick", "running", ran).await;
        // Also right around the time of a run.
        let nanos = wasmill_model::Clock::now(&wasmill_model::SystemClock).timestamp_subsec_millis();
        let wait = (1_000 - u64::from(nanos) + round - 2) % 1_000;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        server = server.kill_and_restart();
    }
    let client = server.client();
    let paused = client.post("/schedules/tick/pause", &json!({})).await;
    let last = paused.json["last_run"]["due"].as_str().expect("a time");
    let last: Timestamp = last.parse().expect("a time");
    let due = (last - first).num_seconds() + 1;
    assert_eq!(paused.json["runs"], due, "one run for each second: {}", paused.text);
    assert_eq!((tasks(&client, "tick").await.len() as i64, &paused.json["skipped"]), (due, &json!(0)));
}

#[tokio::test]
async fn a_run_is_skipped_while_an_earlier_one_is_active() {
    let server = Server::start(&[]);
    let client = server.client();
    let body = json!({
        "cron": "* * * * * *", "overlap": false,
        "task": {"plugin": "misbehave", "input": {"do": "sleep", "ms": 600_000}},
    });
    made(&client, "alone", &body).await;
    until(&client, "alone", "leaving runs out", |alone| alone.json["skipped"].as_u64() >= Some(2)).await;
    let all = tasks(&client, "alone").await;
    assert_eq!(all.len(), 1);
    let busy = client.post("/schedules/alone/run", &json!({})).await;
    assert_eq!((busy.status, busy.str("code")), (StatusCode::CONFLICT, "schedule-busy"), "{}", busy.text);
    assert_eq!(busy.json["holder"], all[0]["id"]);
    client.delete(&format!("/task/{}", all[0]["id"].as_str().expect("an id"))).await;
    until(&client, "alone", "running again", |alone| alone.json["runs"] == 2).await;
}

#[tokio::test]
async fn a_run_without_queue_space_or_plugin_waits_and_reports_why() {
    let server = Server::start(&["--slots", "1", "--waiting-max", "1", "--allow-upload"]);
    let client = server.client();
    client.post("/pause", &json!({})).await;
    let waiting = client.submit(&json!({"plugin": "noop"})).await;
    made(&client, "full", &noop_every_second()).await;
    let why = |answer: &Answer| answer.json["last_error"].as_str().unwrap_or_default().to_owned();
    let full = until(&client, "full", "held up", |full| why(full).contains("1 tasks are waiting")).await;
    assert_eq!(full.json["runs"], 0);
    let by_hand = client.post("/schedules/full/run", &json!({})).await;
    assert_eq!(by_hand.str("code"), "queue-full");
    client.delete(&format!("/task/{waiting}")).await;
    until(&client, "full", "running", |full| full.json["runs"] == 1).await;
    client.delete("/schedules/full").await;
    client.post("/resume", &json!({})).await;

    let body = Some(("application/wasm", NOOP.to_vec()));
    client.send(Method::PUT, "/plugins/fresh", body.clone()).await.expect("an answer");
    made(&client, "lost", &json!({"cron": "* * * * * *", "task": {"plugin": "fresh"}})).await;
    client.delete("/plugins/fresh").await;
    let lost = until(&client, "lost", "held up", |lost| why(lost).contains("no plugin 'fresh'")).await;
    let refused = client.post("/schedules/lost/run", &json!({})).await;
    assert_eq!(refused.pointers(), ["/task/plugin"], "{}", refused.text);
    client.send(Method::PUT, "/plugins/fresh", body).await.expect("an answer");
    let runs = lost.json["runs"].as_u64();
    let again = until(&client, "lost", "running again", |lost| lost.json["runs"].as_u64() > runs).await;
    assert_eq!(again.json["last_error"], Value::Null);
}

#[tokio::test]
async fn a_manifest_schedule_changes_and_is_removed_with_its_manifest() {
    let folder = Server::folder_with_guests();
    let plugins = folder.path().join("plugins");
    let manifest = "[schedule]\ncron = \"* * * * * *\"\ninput = { do = \"noop\" }\n";
    fs::write(plugins.join("misbehave.toml"), manifest).expect("written");
    let server = Server::start_in(folder, &["--watch-poll", "100ms"]).expect("a server");
    let client = server.client();
    let ran = until(&client, "misbehave", "running", |one| one.json["runs"].as_u64() >= Some(2)).await;
    assert_eq!((ran.str("from"), ran.str("plugin")), ("manifest", "misbehave"));
    assert_eq!(ran.json["task"], json!({"plugin": "misbehave", "input": {"do": "noop"}}));
    let task = ran.json["last_run"]["task"].as_str().expect("a task");
    client.until(task, "completed").await;
    for refused in [
        client.put_schedule("misbehave", &noop_every_second()).await,
        client.delete("/schedules/misbehave").await,
    ] {
        assert_eq!(
            (refused.status, refused.str("code")),
            (StatusCode::CONFLICT, "schedule-managed-by-plugin")
        );
        assert!(refused.str("detail").contains("misbehave.toml"), "{}", refused.text);
    }
    let changed = "[schedule]\ncron = \"@daily\"\ntimezone = \"America/New_York\"\n";
    fs::write(plugins.join("misbehave.toml"), changed).expect("written");
    let daily = until(&client, "misbehave", "daily", |one| one.json["cron"] == "@daily").await;
    assert!(
        daily.json["runs"].as_u64() >= ran.json["runs"].as_u64(),
        "what it counted stays: {}",
        daily.text
    );
    // A broken manifest leaves the last good one in service, even after a restart.
    fs::write(plugins.join("misbehave.toml"), "[schedule]\ncron = \"never\"").expect("written");
    let server = server.kill_and_restart();
    let client = server.client();
    let rejected = client.get("/plugins/misbehave").await;
    assert!(rejected.str("reason").contains("schedule.cron"), "{}", rejected.text);
    assert_eq!(client.get("/schedules/misbehave").await.str("cron"), "@daily");
    fs::write(plugins.join("misbehave.toml"), "").expect("written");
    until(&client, "misbehave", "gone", |one| one.status == StatusCode::NOT_FOUND).await;
    fs::write(plugins.join("misbehave.toml"), changed).expect("written");
    until(&client, "misbehave", "back", |one| one.status == StatusCode::OK).await;
    fs::remove_file(plugins.join("misbehave.wasm")).expect("removed");
    until(&client, "misbehave", "gone", |one| one.status == StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn a_clients_schedule_takes_precedence_over_a_manifests_until_deleted() {
    let server = Server::start(&["--watch-poll", "100ms"]);
    let client = server.client();
    made(&client, "noop", &json!({"cron": "@yearly", "task": {"plugin": "noop"}})).await;
    let manifest = "[schedule]\ncron = \"@monthly\"\n";
    fs::write(server.folder().join("plugins/noop.toml"), manifest).expect("written");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !server.log().contains("is ignored until that one is deleted") {
        assert!(Instant::now() < deadline, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.get("/schedules/noop").await.str("cron"), "@yearly");
    assert_eq!(client.delete("/schedules/noop").await.status, StatusCode::NO_CONTENT);
    let noop = client.get("/schedules/noop").await;
    assert_eq!((noop.str("from"), noop.str("cron")), ("manifest", "@monthly"));
}

#[tokio::test]
async fn the_number_of_schedules_is_limited() {
    let server = Server::start(&[]);
    let client = server.client();
    let body = json!({"cron": "@yearly", "task": {"plugin": "noop"}});
    let mut puts = tokio::task::JoinSet::new();
    for lot in 0..20 {
        let (client, body) = (client.clone(), body.clone());
        puts.spawn(async move {
            for one in 0..50 {
                made(&client, &format!("s-{lot}-{one}"), &body).await;
            }
        });
    }
    puts.join_all().await;
    let refused = client.put_schedule("one-more", &body).await;
    assert_eq!((refused.status, refused.str("code")), (StatusCode::CONFLICT, "too-many-schedules"));
    assert_eq!(client.put_schedule("s-0-0", &body).await.status, StatusCode::OK);
    assert_eq!(client.get("/schedules").await.json.as_array().map(Vec::len), Some(1_000));
}

#[tokio::test]
async fn the_cli_sets_lists_pauses_and_runs_schedules() {
    let server = Server::start(&[]);
    let url = format!("http://{}", server.address());
    let ask = |args: &[&str]| {
        let mut command = command(server.folder(), &[&["schedule"], args].concat());
        let output = command.env("WASMILL_SERVER", &url).output().expect("a run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().expect("a code"), text(&output.stdout), text(&output.stderr))
    };
    let echo = r#"{"do": "echo", "text": "grüße"}"#;
    let set = [
        "set",
        "greet",
        "0 9 * * 1-5",
        "misbehave",
        "--input",
        echo,
        "--timezone",
        "Europe/Berlin",
        "--no-overlap",
    ];
    let (code, out, err) = ask(&set);
    assert!(code == 0 && out.starts_with("greet created, next at ") && err.is_empty(), "{out}{err}");
    assert!(out.contains("T09:00:00+0") && out.ends_with("(Europe/Berlin)\n"), "{out}");
    assert_eq!(ask(&set).1.split(',').next(), Some("greet replaced"));
    let (code, out, _) = ask(&["list"]);
    assert!(
        code == 0 && out.contains("greet") && out.contains("0 9 * * 1-5") && out.contains("rest"),
        "{out}"
    );
    let (_, out, _) = ask(&["show", "greet", "--json"]);
    let shown: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&shown["overlap"], &shown["task"]["input"]["text"]), (&json!(false), &json!("grüße")));
    let (code, out, err) = ask(&["run", "greet", "--wait", "--quiet"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "grüße\n", ""));
    assert_eq!(ask(&["pause", "greet"]).1, "greet paused\n");
    assert!(ask(&["list"]).1.contains("paused"));
    assert_eq!(ask(&["resume", "greet"]).1, "greet resumed\n");
    let (code, _, err) = ask(&["set", "greet", "soon"]);
    assert!(code == 2 && err.contains("cron"), "{err}");
    let (code, _, err) = ask(&["set", "greet", "@daily", "--idempotency-key", "k"]);
    assert!(code == 2 && err.contains("single task"), "{err}");
    assert_eq!(ask(&["delete", "greet"]).1, "greet deleted\n");
    assert_eq!(ask(&["run", "greet"]).0, 5);
}
