//! Logs: line by line, during and after a run, across attempts and hosts, within limits.

use std::fs;

use hyper::StatusCode;
use serde_json::{Value, json};
use wasmill_tests::{Client, Event, PROGRAM, Server};

fn misbehave(input: &Value) -> Value {
    json!({"plugin": "misbehave", "input": input})
}

async fn lines(client: &Client, id: &str, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("/task/{id}/logs{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json.as_array().expect("an array").clone()
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["text"].as_str().expect("a text")).collect()
}

fn seq(line: &Value) -> u64 {
    line["seq"].as_u64().expect("a number")
}

#[tokio::test]
async fn each_line_has_a_number_time_attempt_and_stream() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&misbehave(&json!({"do": "log", "out": "to stdout", "err": "to stderr"}))).await;
    let task = client.until(&id, "completed").await;
    let lines = lines(&client, &id, "").await;
    let time = |line: &Value| line["time"].as_str().expect("a time").to_owned();
    let line = |seq, stream, text, of: &Value| json!({"seq": seq, "time": time(of), "attempt": 1, "stream": stream, "text": text});
    assert_eq!(lines[0], line(1, "stdout", "to stdout", &lines[0]));
    assert_eq!(lines[1], line(2, "stderr", "to stderr", &lines[1]));
    assert!(task.str("started_at") <= &*time(&lines[0]) && &*time(&lines[1]) <= task.str("finished_at"));
    assert_eq!(task.str("log"), "to stdout\nto stderr\n");
}

#[tokio::test]
async fn the_log_of_a_program_is_its_stderr() {
    let folder = Server::folder_with_guests();
    fs::write(folder.path().join("plugins/program.wasm"), PROGRAM).expect("a plugin");
    let server = Server::start_in(folder, &[]).expect("a server");
    let client = server.client();
    let id = client.submit(&json!({"plugin": "program", "input": {"args": ["exit", "0"]}})).await;
    assert_eq!(client.until(&id, "completed").await.str("result"), "before\n");
    let lines = lines(&client, &id, "").await;
    assert_eq!(texts(&lines), ["first line", "last line"]);
    assert!(lines.iter().all(|line| line["stream"] == "stderr"));
}

#[tokio::test]
async fn lines_are_read_a_page_at_a_time_while_the_task_runs() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&misbehave(&json!({"do": "lines", "count": 5, "ms": 0}))).await;
    client.until(&id, "completed").await;
    let mut path = format!("/task/{id}/logs?limit=2");
    let mut read = Vec::new();
    loop {
        let page = client.get(&path).await;
        read.extend(page.json.as_array().expect("an array").clone());
        let Some(link) = page.headers.get("link") else { break };
        let link = link.to_str().expect("text");
        path = link[1..link.find('>').expect("a link")].to_owned();
    }
    assert_eq!(texts(&read), ["line 1", "line 2", "line 3", "line 4", "line 5"]);

    let id = client.submit(&misbehave(&json!({"do": "lines", "count": 1_000_000, "ms": 5}))).await;
    let mut after = 0;
    while after < 20 {
        for line in lines(&client, &id, &format!("?after={after}")).await {
            assert_eq!((seq(&line), &line["text"]), (after + 1, &json!(format!("line {}", after + 1))));
            after += 1;
        }
    }
    assert_eq!(client.get(&format!("/task/{id}")).await.str("state"), "running");
    assert!(client.get(&format!("/task/{id}")).await.str("log").starts_with("line 1\n"));
    // The lines written so far survive a cancel.
    client.post(&format!("/task/{id}/cancel"), &json!({})).await;
    assert!(lines(&client, &id, "").await.len() >= 20);
}

#[tokio::test]
async fn an_invalid_log_request_names_its_error() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&json!({"plugin": "noop"})).await;
    for query in ["?after=x", "?limit=0", "?limit=10001", "?aftr=1"] {
        let answer = client.get(&format!("/task/{id}/logs{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    let unknown = "/task/01a2074c-e503-703b-819d-4717c026346b";
    for path in ["logs", "events"] {
        assert_eq!(client.get(&format!("{unknown}/{path}")).await.str("code"), "unknown-task");
        let stream = client.follow(&format!("{unknown}/{path}"), None).await;
        assert_eq!(stream.status, StatusCode::NOT_FOUND);
        assert_eq!(stream.headers["content-type"], "application/problem+json");
    }
}

#[tokio::test]
async fn invalid_utf_8_and_endless_lines_are_kept() {
    let server = Server::start(&["--log-tail", "1MiB"]);
    let client = server.client();
    let run = async |bytes: &[u8], times: u32| {
        let id = client.submit(&misbehave(&json!({"do": "write", "bytes": bytes, "times": times}))).await;
        client.until(&id, "completed").await;
        lines(&client, &id, "").await
    };
    assert_eq!(texts(&run(&[b'a', 0xff, 0xc3, b'b', b'\n'], 1).await), ["a\u{fffd}\u{fffd}b"]);
    assert_eq!(texts(&run(b"no line break", 2).await), ["no line breakno line break"]);
    let endless = run("ä€😀".as_bytes(), 30_000).await;
    let joined: String = texts(&endless).concat();
    assert!(joined == "ä€😀".repeat(30_000), "{} bytes", joined.len());
    let (last, cut) = endless.split_last().expect("lines");
    assert!(
        cut.len() > 10
            && cut
                .iter()
                .all(|line| line["cut"] == true && texts(std::slice::from_ref(line))[0].len() <= 8 << 10)
    );
    assert!(last.get("cut").is_none());
}

#[tokio::test]
async fn an_interrupted_log_stream_resumes_without_gap_or_repetition() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&misbehave(&json!({"do": "lines", "count": 300, "ms": 2}))).await;
    let path = format!("/task/{id}/logs");
    let (mut read, mut last) = (Vec::<Event>::new(), None::<String>);
    let end = 'cut: loop {
        let mut stream = client.follow(&path, last.as_deref()).await;
        for _ in 0..1 + read.len() % 23 {
            let event = stream.next().await.expect("the stream continues to its end");
            if event.name == "end" {
                break 'cut event;
            }
            last = event.id.clone();
            read.push(event);
        }
    };
    assert_eq!(end.data, json!({"state": "completed", "status": "completed"}));
    assert_eq!(read.len(), 300);
    for (seq, event) in (1_u64..).zip(&read) {
        assert_eq!((event.name.as_str(), &event.data["seq"]), ("log", &json!(seq)));
        assert_eq!(event.data["text"], format!("line {seq}"));
    }
    // The task has finished: each request gets the end again.
    let again = client.follow(&path, last.as_deref()).await.rest().await;
    assert_eq!(again, [end]);
}

#[tokio::test]
async fn logs_survive_attempts_crashes_and_restarts() {
    let server = Server::start(&[]);
    let client = server.client();
    // The first attempt fails, the host crashes in the second, and the third is interrupted by a stop and
    // runs again.
    let task = json!({"plugin": "misbehave", "input": {"do": "log-attempt", "fails": 1, "sleeps": 2},
        "max_attempts": 5, "backoff": {"first": "1ms", "factor": 1, "max": "1ms"}});
    let id = client.submit(&task).await;
    let mut stream = client.follow(&format!("/task/{id}/logs"), None).await;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(stream.next().await.expect("the stream continues").data);
    }
    assert_eq!(
        texts(&seen),
        ["attempt 1 begins", "attempt 1 complains", "attempt 2 begins", "attempt 2 complains"]
    );
    assert_eq!(seen.iter().map(|line| line["attempt"].clone()).collect::<Vec<_>>(), [1, 1, 2, 2]);
    let server = server.kill_and_restart();
    let client = server.client();
    // A client that saw the lines lost in the crash gets everything after them.
    let mut stream = client.follow(&format!("/task/{id}/logs"), Some(&seq(&seen[3]).to_string())).await;
    let after = stream.rest().await;
    let after: Vec<_> =
        after.iter().filter(|event| event.name == "log").map(|event| event.data.clone()).collect();
    assert_eq!(texts(&after), ["attempt 3 begins", "attempt 3 complains"]);
    let task = client.until(&id, "completed").await;
    assert_eq!(task.str("log"), "attempt 3 begins\nattempt 3 complains\n");
    let server = server.stop_and_restart();
    let kept = lines(&server.client(), &id, "").await;
    let all: Vec<_> = seen[..2].iter().chain(&after).cloned().collect();
    assert_eq!(kept, all);
    assert!(kept.windows(2).all(|pair| seq(&pair[0]) < seq(&pair[1])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_of_log_uses_bounded_memory_with_and_without_streams() {
    let server = Server::start(&["--timeout", "10m"]);
    let client = server.client();
    // Allocate everything that is allocated once.
    let small = client.submit(&misbehave(&json!({"do": "flood", "bytes": 1_000_000}))).await;
    client.until(&small, "completed").await;
    let before = server.memory("VmRSS");
    let id = client.submit(&misbehave(&json!({"do": "flood", "bytes": 1_u64 << 30}))).await;
    client.until(&id, "running").await;
    let path = format!("/task/{id}/logs");
    let mut deaf = Vec::new();
    let mut followers = Vec::new();
    for _ in 0..20 {
        deaf.push(client.follow(&path, None).await);
        let mut stream = client.follow(&path, None).await;
        followers.push(tokio::spawn(async move { stream.rest().await }));
    }
    let task = client.until(&id, "completed").await;
    let grown = server.memory("VmHWM").saturating_sub(before);
    assert!(grown < 48 << 20, "{} MiB", grown >> 20);
    assert!(task.str("log").len() < 17 << 10);
    assert_eq!(seq(lines(&client, &id, "").await.last().expect("lines")), (1 << 30) / 4_096);
    for follower in followers {
        let events = follower.await.expect("no panic");
        assert_eq!(events.last().expect("an end").data["state"], "completed");
        // Each line was received or counted as missing.
        let count = |event: &Event| event.data["missed"].as_u64().unwrap_or(u64::from(event.name == "log"));
        assert_eq!(events.iter().map(count).sum::<u64>(), (1 << 30) / 4_096);
    }
    drop(deaf);
}
