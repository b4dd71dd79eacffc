//! Progress and event streams, of one task and of all tasks.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use wasmill_tests::{Client, Event, Server, Stream};

fn misbehave(input: &Value) -> Value {
    json!({"plugin": "misbehave", "input": input})
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

async fn follow_task(client: &Client, id: &str, last: Option<&str>) -> Stream {
    client.follow(&format!("/task/{id}/events"), last).await
}

/// Reads events until one with this name arrives for this task.
async fn until(stream: &mut Stream, name: &str, id: &str) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let event = stream.next().await.expect("the stream continues");
        let is_it = event.name == name && event.data["task"] == id;
        events.push(event);
        if is_it {
            return events;
        }
    }
}

#[tokio::test]
async fn every_transition_of_a_task_is_an_event_in_order() {
    let server = Server::start(&[]);
    let client = server.client();
    let mut all = client.follow("/events", None).await;
    assert_eq!(all.headers["content-type"], "text/event-stream");
    let task = json!({"plugin": "misbehave", "input": {"do": "count-then-fail", "succeed_on": 2},
        "max_attempts": 2, "backoff": {"first": "1ms", "factor": 1, "max": "1ms"}});
    let id = client.submit(&task).await;
    let received = until(&mut all, "completed", &id).await;
    assert_eq!(names(&received), ["created", "started", "retrying", "started", "completed"]);
    let first = received[0].data["seq"].as_u64().expect("a number");
    for (seq, event) in (first..).zip(&received) {
        assert_eq!((&event.data["seq"], event.id.as_deref()), (&json!(seq), Some(&*seq.to_string())));
        assert_eq!((&event.data["task"], &event.data["plugin"]), (&json!(id), &json!("misbehave")));
        assert!(event.data["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{event:?}");
    }
    let states: Vec<_> =
        received.iter().map(|event| event.data["state"].as_str().expect("a state")).collect();
    assert_eq!(states, ["waiting", "running", "waiting", "running", "completed"]);
    let attempts: Vec<_> =
        received.iter().map(|event| event.data["attempt"].as_u64().expect("a number")).collect();
    assert_eq!(attempts, [0, 1, 1, 2, 2]);
    let record = client.get(&format!("/task/{id}")).await;
    assert_eq!(received[4].data["time"], record.json["finished_at"]);

    let failed = client.submit(&misbehave(&json!({"do": "fail", "kind": "io", "message": "no"}))).await;
    let received = until(&mut all, "failed", &failed).await;
    assert_eq!(received[2].data["cause"], "io");
    client.delete(&format!("/task/{failed}")).await;
    until(&mut all, "deleted", &failed).await;
}

#[tokio::test]
async fn a_sample_is_bounded_and_counts_what_it_leaves_out() {
    let server = Server::start(&[]);
    let client = server.client();
    let mut sampled = client.follow("/events?sample=4", None).await;
    assert_eq!(sampled.headers["content-type"], "text/event-stream");
    client.submit_batch(&json!(vec![json!({"plugin": "noop"}); 200])).await;
    // Each task is created, started and completed.
    let (mut shown, mut left_out, mut newest) = (0, 0, 0);
    while shown + left_out < 600 {
        let event = sampled.next().await.expect("the stream continues");
        let seq = event.data["seq"].as_u64().expect("a number");
        assert!(seq >= newest, "in order: {event:?}");
        newest = seq;
        if event.name == "left-out" {
            left_out += event.data["left_out"].as_u64().expect("a number");
        } else {
            shown += 1;
        }
    }
    assert_eq!(shown + left_out, 600);
    assert!((1..=400).contains(&shown), "{shown} are shown");
    // One event alone is shown, however few a second may be.
    let mut one = client.follow("/events?sample=1&plugin=misbehave", None).await;
    client.submit(&json!({"plugin": "noop"})).await;
    let id = client.submit(&misbehave(&json!({"do": "sleep", "ms": 60_000}))).await;
    let event = one.next().await.expect("an event");
    assert_eq!(event.data["task"], json!(id), "{event:?}");
    for query in ["sample=0", "sample=1001", "sample=few", "sample=5&plugin=No+Name"] {
        assert_eq!(
            client.get(&format!("/events?{query}")).await.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_interrupted_stream_resumes_without_gap_or_repetition() {
    let server = Server::start(&[]);
    let client = server.client();
    let mut whole = client.follow("/events", None).await;
    let mut cut = client.follow("/events", None).await;
    let submits = tokio::spawn({
        let client = server.client();
        async move {
            for _ in 0..300 {
                client.submit(&json!({"plugin": "noop"})).await;
            }
            // Else it may complete before one of them does.
            while client.get("/stats").await.json["finished"]["completed"] != 300 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            client.submit(&misbehave(&json!({"do": "echo", "text": "the last"}))).await
        }
    });
    let mut resumed = Vec::new();
    let is_last = |event: &Event| event.name == "completed" && event.data["plugin"] == "misbehave";
    while !resumed.last().is_some_and(is_last) {
        for _ in 0..1 + resumed.len() % 37 {
            resumed.push(cut.next().await.expect("the stream continues"));
            if resumed.last().is_some_and(is_last) {
                break;
            }
        }
        let last = resumed[resumed.len() - 1].id.clone();
        drop(cut);
        cut = client.follow("/events", last.as_deref()).await;
    }
    let last = submits.await.expect("submitted");
    assert_eq!(resumed, until(&mut whole, "completed", &last).await);
    assert_eq!(resumed.len(), 301 * 3);
}

#[tokio::test]
async fn a_task_stream_starts_with_a_snapshot_and_then_sends_each_transition() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let running = client.submit(&misbehave(&json!({"do": "sleep", "ms": 3_600_000}))).await;
    client.until(&running, "running").await;
    let id = client.submit(&json!({"plugin": "noop"})).await;
    let mut stream = follow_task(&client, &id, None).await;
    let first = stream.next().await.expect("a snapshot");
    assert_eq!((first.name.as_str(), &first.data["snapshot"]), ("created", &json!(true)));
    // Disconnects, and reconnects after the next transitions.
    drop(stream);
    client.delete(&format!("/task/{running}")).await;
    client.until(&id, "completed").await;
    let mut stream = follow_task(&client, &id, first.id.as_deref()).await;
    let rest = stream.rest().await;
    assert_eq!(names(&rest), ["started", "completed"]);
    assert!(rest.iter().all(|event| event.data.get("snapshot").is_none()), "{rest:?}");
    // No more events will follow: 204 stops a browser from reconnecting.
    let last = rest[1].id.as_deref();
    assert_eq!(follow_task(&client, &id, last).await.status, StatusCode::NO_CONTENT);
    let again = follow_task(&client, &id, None).await.rest().await;
    assert_eq!((names(&again), &again[0].data["snapshot"]), (vec!["completed"], &json!(true)));
}

#[tokio::test]
async fn a_deleted_task_ends_its_streams() {
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&misbehave(&json!({"do": "sleep", "ms": 3_600_000}))).await;
    client.until(&id, "running").await;
    let mut events = follow_task(&client, &id, None).await;
    let mut logs = client.follow(&format!("/task/{id}/logs"), None).await;
    let started = events.next().await.expect("a snapshot");
    assert_eq!((started.name.as_str(), &started.data["attempt"]), ("started", &json!(1)));
    client.delete(&format!("/task/{id}")).await;
    assert_eq!(names(&events.rest().await), ["deleted"]);
    let end = logs.rest().await;
    assert_eq!((names(&end), &end[0].data["state"]), (vec!["end"], &json!("deleted")));
    // A client that reconnects still gets the event; a new one gets 404.
    let away = follow_task(&client, &id, started.id.as_deref()).await.rest().await;
    assert_eq!(names(&away), ["deleted"]);
    assert_eq!(follow_task(&client, &id, None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn event_ids_of_an_earlier_host_are_valid_and_never_reused() {
    let server = Server::start(&["--slots", "1"]);
    let client = server.client();
    let id = client.submit(&misbehave(&json!({"do": "sleep", "ms": 3_600_000}))).await;
    client.until(&id, "running").await;
    let before = follow_task(&client, &id, None).await.next().await.expect("a snapshot");
    let last = before.id.expect("a number");
    let server = server.kill_and_restart();
    let client = server.client();
    let mut all = client.follow("/events", Some(&last)).await;
    let gap = all.next().await.expect("a gap");
    assert_eq!((gap.name.as_str(), gap.data["after"].to_string()), ("gap", last.clone()));
    client.until(&id, "running").await;
    let mut stream = follow_task(&client, &id, Some(&last)).await;
    let now = stream.next().await.expect("a snapshot");
    assert_eq!((now.name.as_str(), &now.data["snapshot"]), ("started", &json!(true)));
    assert_eq!(now.data["attempt"], 2);
    assert!(now.data["seq"].as_u64() > last.parse().ok(), "{now:?} after {last}");
    let unknown = client.follow("/events", Some("what?")).await.next().await.expect("a gap");
    assert_eq!(unknown.name, "gap");
}

#[tokio::test]
async fn progress_events_are_rate_limited() {
    let server = Server::start(&[]);
    let client = server.client();
    let mut all = client.follow("/events", None).await;
    let id = client.submit(&misbehave(&json!({"do": "progress-often", "calls": 2_000_000}))).await;
    let received = until(&mut all, "completed", &id).await;
    let times: Vec<wasmill_model::Timestamp> = received
        .iter()
        .filter(|event| event.name == "progress")
        .map(|event| event.data["time"].as_str().expect("a time").parse().expect("a time"))
        .collect();
    assert!(!times.is_empty() && times.len() < 1_000, "{} events", times.len());
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] > wasmill_model::TimeDelta::milliseconds(150), "{times:?}");
    }
}

#[tokio::test]
async fn the_latest_progress_is_sent_and_listed_even_if_the_guest_falls_silent() {
    let server = Server::start(&[]);
    let client = server.client();
    let input = json!({"do": "progress", "fraction": 0.25, "note": "a quarter", "ms": 3_600_000});
    let id = client.submit(&misbehave(&input)).await;
    let mut stream = follow_task(&client, &id, None).await;
    let progress = json!({"fraction": 0.25, "note": "a quarter"});
    while stream.next().await.expect("the stream continues").data["progress"] != progress {}
    let list = client.get("/task?state=running").await;
    assert_eq!(list.json[0]["progress"], progress);
    assert_eq!(client.get("/task").await.json[0]["progress"], progress);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_of_one_task_all_see_its_end() {
    raise_open_files();
    let server = Server::start(&[]);
    let client = server.client();
    let id = client.submit(&misbehave(&json!({"do": "lines", "count": 400, "ms": 10}))).await;
    client.until(&id, "running").await;
    let before = server.memory("VmRSS");
    let mut followers = Vec::new();
    for number in 0..1_000 {
        let what = if number % 2 == 0 { "logs" } else { "events" };
        let mut stream = client.follow(&format!("/task/{id}/{what}"), None).await;
        followers.push(tokio::spawn(async move { stream.rest().await }));
    }
    for (number, follower) in followers.into_iter().enumerate() {
        let events = follower.await.expect("no panic");
        let last = events.last().expect("an end");
        assert_eq!(last.data["state"], "completed", "follower {number}");
        if number % 2 == 0 {
            let lines: Vec<_> = events.iter().filter(|event| event.name == "log").collect();
            assert_eq!(lines.len(), 400);
            assert!((1_u64..).zip(lines).all(|(seq, line)| line.data["seq"] == seq));
        }
    }
    let grown = server.memory("VmHWM").saturating_sub(before);
    assert!(grown < 96 << 20, "{} MiB", grown >> 20);
}

#[tokio::test]
async fn clients_that_never_read_cost_little_and_delay_nobody() {
    raise_open_files();
    let server = Server::start(&[]);
    let client = server.client();
    client.submit(&json!({"plugin": "noop"})).await;
    let before = server.memory("VmRSS");
    let mut deaf = Vec::new();
    for _ in 0..200 {
        deaf.push(client.follow("/events", None).await);
    }
    let mut all = client.follow("/events", None).await;
    let submits = (0..20).map(|_| {
        let client = server.client();
        tokio::spawn(async move {
            for _ in 0..250 {
                client.submit(&json!({"plugin": "noop"})).await;
            }
        })
    });
    for submit in submits.collect::<Vec<_>>() {
        submit.await.expect("submitted");
    }
    let last = client.submit(&misbehave(&json!({"do": "noop"}))).await;
    assert!(until(&mut all, "completed", &last).await.len() > 15_000);
    let grown = server.memory("VmHWM").saturating_sub(before);
    assert!(grown < 96 << 20, "{} MiB", grown >> 20);
    drop(deaf);
}

#[tokio::test]
async fn streams_end_when_the_drain_is_done_and_do_not_delay_the_stop() {
    let mut server = Server::start(&["--drain", "1s", "--slots", "1"]);
    let client = server.client();
    let running = client.submit(&misbehave(&json!({"do": "lines", "count": 1_000_000, "ms": 50}))).await;
    client.until(&running, "running").await;
    let waiting = client.submit(&json!({"plugin": "noop"})).await;
    let mut of_running = follow_task(&client, &running, None).await;
    let mut of_waiting = follow_task(&client, &waiting, None).await;
    let mut logs = client.follow(&format!("/task/{running}/logs"), None).await;
    let mut all = client.follow("/events", None).await;
    assert_eq!(of_running.next().await.expect("a snapshot").name, "started");
    server.signal();
    assert_eq!(names(&of_running.rest().await), ["retrying"]);
    assert_eq!(names(&of_waiting.rest().await), ["created"]);
    assert_eq!(names(&all.rest().await), ["retrying"]);
    let lines = logs.rest().await;
    assert!(lines.len() > 10 && lines.iter().all(|event| event.name == "log"), "{lines:?}");
    assert!(server.wait().success());
    assert!(!server.log().contains("were aborted"), "{}", server.log());
    // Its lines are stored, and the stream resumes after them.
    let server = server.start_beside().expect("a server");
    let last = lines[lines.len() - 1].data["seq"].as_u64().expect("a number");
    let client = server.client();
    let stored = client.get(&format!("/task/{running}/logs")).await.json;
    assert!(stored.as_array().expect("lines").iter().any(|line| line["seq"] == last), "{stored}");
    let mut logs = client.follow(&format!("/task/{running}/logs"), Some(&last.to_string())).await;
    loop {
        let line = logs.next().await.expect("the stream continues");
        assert!(line.data["seq"].as_u64().expect("a number") > last);
        // The first line of the next run.
        if line.data["text"] == "line 1" {
            break;
        }
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_does_not_delay_the_stop() {
    let mut server = Server::start(&["--drain", "0s"]);
    let client = server.client();
    let mut deaf = Vec::new();
    for path in ["/events", "/events?plugin=noop"] {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("set");
        let mut stream = socket.connect(server.address()).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        deaf.push(stream);
    }
    // More events than the buffers of both kernels hold.
    let tasks: Vec<_> = (0..8_000).map(|_| json!({"plugin": "noop"})).collect();
    assert_eq!(client.post("/task/batch", &json!(tasks)).await.status, StatusCode::CREATED);
    let last = client.submit(&misbehave(&json!({"do": "noop"}))).await;
    client.until_finished(&last).await;
    assert!(server.terminate().success());
    assert!(!server.log().contains("were aborted"), "{}", server.log());
}

/// Raises the limit of open files of this process.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("raised");
}

#[tokio::test]
async fn an_idle_stream_sends_keep_alives() {
    use http_body_util::BodyExt;
    let server = Server::start(&[]);
    let http = tokio::net::TcpStream::connect(server.address()).await.expect("connected");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(http)).await.expect("connected");
    tokio::spawn(connection);
    let request = hyper::Request::get("/events").header("host", "localhost");
    let request = request.body(http_body_util::Empty::<hyper::body::Bytes>::new()).expect("a request");
    let mut body = sender.send_request(request).await.expect("an answer").into_body();
    let mut text = String::new();
    while !text.contains(":\n\n") {
        let frame =
            tokio::time::timeout(Duration::from_secs(40), body.frame()).await.expect("a sign of life");
        let data =
            frame.expect("the stream continues").expect("the stream continues").into_data().expect("data");
        text.push_str(std::str::from_utf8(&data).expect("text"));
    }
    assert_eq!(text, "retry: 1000\n\n:\n\n");
}
