//! The dashboard without a browser: pages, polls, forms, what strangers wrote, and who may do what.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::json;
use wasmill_tests::{Answer, Client, Server, sleep};

const HOSTILE: &str = "\"'><script>alert(1)</script>\u{202e}";

fn pages(server: &Server) -> Client {
    server.client().undocumented()
}

async fn page(client: &Client, path: &str) -> Answer {
    client.send_with(Method::GET, path, &[("accept", "text/html")], None).await.expect("an answer")
}

/// Sends a form, as a browser does.
async fn send(client: &Client, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(fields);
    let body = ("application/x-www-form-urlencoded", body.finish().into_bytes());
    client.send(Method::POST, path, Some(body)).await.expect("an answer")
}

fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    answer.headers["location"].to_str().expect("text")
}

/// Returns what was counted on the page that asks.
fn counted(page: &Answer) -> &str {
    let field = page.text.split("name=\"count\" value=\"").nth(1).expect("a count");
    field.split('"').next().expect("a number")
}

fn misbehave(input: &serde_json::Value) -> serde_json::Value {
    json!({"plugin": "misbehave", "input": input})
}

#[tokio::test]
async fn every_page_has_the_strict_policy_and_only_relative_links() {
    let server = Server::start(&["--allow-upload"]);
    let client = pages(&server);
    let id = client.submit(&sleep(30_000)).await;
    let task = format!("/ui/task/{id}");
    let tabs = ["", "/result", "/input", "/checkpoint", "/depends", "/webhook", "/record"]
        .map(|tab| format!("{task}{tab}"));
    let others = [
        "/ui/",
        "/ui/tasks",
        "/ui/plugins",
        "/ui/schedules",
        "/ui/schedule",
        "/ui/submit",
        "/ui/live",
        "/ui/hosts",
        "/ui/doctor",
        "/ui/keys",
        "/ui/find?text=none",
        "/ui/plugin?name=noop",
    ];
    for path in others.into_iter().chain(tabs.iter().map(String::as_str)) {
        let shown = page(&client, path).await;
        assert_eq!(shown.status, StatusCode::OK, "{path}: {}", shown.text);
        assert_eq!(shown.headers["content-type"], "text/html; charset=utf-8");
        let policy = shown.headers["content-security-policy"].to_str().expect("text");
        assert!(
            policy.contains("require-trusted-types-for 'script'") && policy.contains("default-src 'none'")
        );
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        for inline in [
            " style=",
            " onclick",
            " onerror=",
            "<style",
            "javascript:",
            " href=\"/",
            " src=\"/",
            " action=\"/",
        ] {
            assert!(!shown.text.contains(inline), "{path} has {inline}");
        }
        assert_eq!(shown.text.matches("<h1").count(), 1, "{path}");
    }
}

#[tokio::test]
async fn browsers_are_led_to_the_dashboard_and_programs_are_not() {
    let server = Server::start(&[]);
    let client = pages(&server);
    assert_eq!(location(&page(&client, "/").await), "ui/");
    assert_eq!(location(&page(&client, "/ui").await), "ui/");
    for accept in ["*/*", "application/json"] {
        let index = client.send_with(Method::GET, "/", &[("accept", accept)], None).await.expect("an answer");
        assert_eq!((index.status, index.str("name")), (StatusCode::OK, "wasmill"));
    }
    let unknown = page(&client, "/ui/nothing").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.text.contains("<h1>Unknown route</h1>"), "{}", unknown.text);
    let unknown = page(&client, "/ui/task/01a2074c-e503-703b-819d-4717c026346b").await;
    assert!(unknown.status == StatusCode::NOT_FOUND && unknown.text.contains("does not exist"));
}

#[tokio::test]
async fn assets_may_be_kept_for_good() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let shown = page(&client, "/ui/").await;
    let names = shown.text.split("ui/assets/").skip(1).filter_map(|rest| rest.split('"').next());
    let mut seen = 0;
    for name in names {
        let path = format!("/ui/assets/{name}");
        let (status, bytes) = client.send_for_bytes(&path).await;
        assert!(status == StatusCode::OK && bytes.starts_with(&[0x1f, 0x8b]), "{path}");
        seen += 1;
    }
    assert_eq!(seen, 3);
    assert_eq!(page(&client, "/ui/assets/ui.000000000000.css").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_unchanged_page_costs_a_poll_nothing() {
    let server = Server::start(&[]);
    let client = pages(&server);
    client.until_finished(&client.submit(&json!({"plugin": "noop"})).await).await;
    let first = page(&client, "/ui/tasks?fragment=1").await;
    let etag = first.headers["etag"].to_str().expect("text").to_owned();
    assert!(first.headers["poll-after"].to_str().expect("text").parse::<u64>().expect("a number") >= 1_000);
    assert!(!first.text.contains("<html") && first.text.contains("<main"));
    let poll = |etag: String| {
        let client = client.clone();
        async move {
            let headers = [("if-none-match", etag.as_str())];
            client.send_with(Method::GET, "/ui/tasks?fragment=1", &headers, None).await.expect("an answer")
        }
    };
    let again = poll(etag.clone()).await;
    assert!(again.status == StatusCode::NOT_MODIFIED && again.text.is_empty(), "{}", again.text);
    client.until_finished(&client.submit(&json!({"plugin": "noop"})).await).await;
    // A rendering is good for half a second.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(poll(etag).await.status, StatusCode::OK);
}

#[tokio::test]
async fn pages_are_compressed_for_those_who_take_it() {
    let server = Server::start(&[]);
    let client = pages(&server);
    for path in ["/ui/tasks", "/ui/tasks?fragment=1", "/ui/tasks?state=nonsense", "/ui/nothing"] {
        let plain = page(&client, path).await;
        assert_eq!(plain.headers["vary"], "accept-encoding", "{path}");
        assert!(!plain.headers.contains_key("content-encoding"), "{path}");
        let headers = [("accept", "text/html"), ("accept-encoding", "br, gzip")];
        let small = client.send_with(Method::GET, path, &headers, None).await.expect("an answer");
        assert_eq!(
            (small.status, &small.headers["content-encoding"]),
            (plain.status, &"gzip".parse().unwrap())
        );
        let length =
            |answer: &Answer| answer.headers["content-length"].to_str().unwrap().parse::<usize>().unwrap();
        assert!(length(&small) < length(&plain) / 5 * 3, "{path}: {} of {}", length(&small), length(&plain));
    }
    // The interface is not.
    let answer = client.send_with(Method::GET, "/openapi.json", &[("accept-encoding", "gzip")], None).await;
    assert!(!answer.expect("an answer").headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn a_filter_is_the_url_and_a_wrong_one_is_said() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let noop = client.submit(&json!({"plugin": "noop", "tags": ["a&b"]})).await;
    let other = client.submit(&json!({"plugin": "misbehave", "input": {"do": "noop"}})).await;
    for id in [&noop, &other] {
        client.until_finished(id).await;
    }
    let has = |answer: &Answer, id: &str| answer.text.contains(&format!("id=\"t-{id}\""));
    let shown = page(&client, "/ui/tasks?plugin=noop").await;
    assert!(has(&shown, &noop) && !has(&shown, &other));
    let shown = page(&client, "/ui/tasks?tag=a%26b&state=completed").await;
    assert!(
        has(&shown, &noop)
            && !has(&shown, &other)
            && shown.text.contains("state=completed&amp;tag=") | shown.text.contains("tag=a%26b")
    );
    // A form sends its empty fields too.
    assert_eq!(location(&page(&client, "/ui/tasks?q=&plugin=noop&tag=").await), "tasks?plugin=noop");
    let wrong = page(&client, "/ui/tasks?state=done").await;
    assert!(
        wrong.status == StatusCode::OK && wrong.text.contains("state must be one or more of"),
        "{}",
        wrong.text
    );
    assert_eq!(page(&client, "/ui/tasks?nonsense=1").await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn pages_are_cursors_to_the_last_task() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let tasks: Vec<_> = (0..230).map(|_| json!({"plugin": "noop"})).collect();
    client.submit_batch(&json!(tasks)).await;
    let (mut path, mut rows) = ("/ui/tasks".to_owned(), Vec::new());
    loop {
        let shown = page(&client, &path).await;
        rows.push(shown.text.matches("id=\"t-").count());
        let Some(next) = shown.text.split("href=\"tasks?cursor=").nth(1) else { break };
        path = format!("/ui/tasks?cursor={}", next.split('"').next().expect("a cursor"));
    }
    assert_eq!(rows, [100, 100, 30]);
}

#[tokio::test]
async fn what_is_counted_is_what_is_done() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let fail = |message: &str| {
        misbehave(&json!({"do": "fail", "kind": "io", "message": message, "permanent": true}))
    };
    for _ in 0..3 {
        client.until_finished(&client.submit(&fail("no")).await).await;
    }
    let asked = page(&client, "/ui/act?action=retry&select=all&state=failed&plugin=misbehave").await;
    assert_eq!((asked.status, counted(&asked)), (StatusCode::OK, "3"));
    assert!(asked.text.contains("Retry 3 tasks") && asked.text.contains("failed · plugin misbehave"));
    let fields = [
        ("action", "retry"),
        ("select", "all"),
        ("state", "failed"),
        ("plugin", "misbehave"),
        ("count", "3"),
        ("once", "k1"),
    ];
    let done = send(&client, "/ui/do", &fields).await;
    assert_eq!(location(&done), "tasks?state=failed&plugin=misbehave&did=retry&n=3&left=0");
    // A second click does it no second time.
    send(&client, "/ui/do", &fields).await;
    let tasks = client.get("/task?plugin=misbehave").await;
    assert_eq!(tasks.json.as_array().expect("tasks").len(), 6);
    let shown = page(&client, "/ui/tasks?did=retry&n=3&left=1").await;
    assert!(shown.text.contains("Submitted 3 tasks again. 1 task left out"), "{}", shown.text);
    let shown = page(&client, "/ui/tasks?did=%3Cb%3E&n=x").await;
    assert!(!shown.text.contains("class=\"flash\""));
}

#[tokio::test]
async fn cancelled_means_that_the_guest_is_gone_and_what_ended_by_itself_is_told() {
    let server = Server::start(&["--slots", "5"]);
    let client = pages(&server);
    let (mut long, mut short) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        long.push(client.submit(&sleep(600_000)).await);
    }
    for _ in 0..2 {
        short.push(client.submit(&sleep(3_000)).await);
    }
    for id in long.iter().chain(&short) {
        client.until(id, "running").await;
    }
    let asked = page(&client, "/ui/act?action=cancel&select=all&plugin=misbehave").await;
    assert_eq!(counted(&asked), "5", "{}", asked.text);
    for id in &short {
        client.until(id, "completed").await;
    }
    let fields =
        [("action", "cancel"), ("select", "all"), ("plugin", "misbehave"), ("count", "5"), ("once", "k")];
    let done = send(&client, "/ui/do", &fields).await;
    assert_eq!(client.slots_used().await, 0, "no guest is left");
    let shown = location(&done);
    assert_eq!(shown, "tasks?plugin=misbehave&did=cancel&n=3&left=2");
    let shown = page(&client, &format!("/ui/{shown}")).await;
    assert!(shown.text.contains("Cancelled 3 tasks. 2 tasks ended by themselves before."), "{}", shown.text);
}

#[tokio::test]
async fn the_doctor_is_a_page_with_what_fails_first_and_what_to_do() {
    let server = Server::start(&[]);
    let client = pages(&server);
    std::fs::write(server.folder().join("plugins/broken.wasm"), "not WebAssembly").expect("written");
    let report = client.get("/doctor").await;
    let shown = page(&client, "/ui/doctor").await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    let checks = report.json["checks"].as_array().expect("checks");
    assert!(checks.len() > 5, "{}", report.text);
    let mut places = Vec::new();
    for state in ["fail", "warn", "ok"] {
        for check in checks.iter().filter(|check| check["state"] == state) {
            let line = format!("<b>{}</b>", check["name"].as_str().expect("a name"));
            places.push(shown.text.find(&line).unwrap_or_else(|| panic!("{line} is not on the page")));
        }
    }
    assert_eq!(places.len(), checks.len());
    assert!(places.is_sorted(), "what fails stands first: {}", shown.text);
    let fixes = checks.iter().filter(|check| check["fix"].is_string()).count();
    assert_eq!(shown.text.matches("<p>Do: ").count(), fixes, "{}", shown.text);
}

#[tokio::test]
async fn many_have_to_be_typed_and_no_filter_means_all() {
    let server = Server::start(&["--slots", "1"]);
    let client = pages(&server);
    let tasks: Vec<_> = (0..120).map(|_| sleep(600_000)).collect();
    client.submit_batch(&json!(tasks)).await;
    let asked = page(&client, "/ui/act?action=cancel&select=all").await;
    assert_eq!(counted(&asked), "120");
    let fields = [("action", "cancel"), ("select", "all"), ("count", "120"), ("once", "k1")];
    let refused = send(&client, "/ui/do", &fields).await;
    assert!(
        refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.text.contains("type 120"),
        "{}",
        refused.text
    );
    let typed = [&fields[..], &[("typed", "120")]].concat();
    assert_eq!(location(&send(&client, "/ui/do", &typed).await), "tasks?did=cancel&n=120&left=0");
    assert_eq!(client.get("/stats").await.json["stored"]["cancelled"], 120);
}

#[tokio::test]
async fn selected_tasks_are_cancelled_and_deleted_and_the_rest_is_told() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let runs = client.submit(&sleep(600_000)).await;
    let done = client.submit(&json!({"plugin": "noop"})).await;
    client.until_finished(&done).await;
    let asked =
        page(&client, &format!("/ui/act?action=cancel&id={runs}&id={done}&back=plugin%3Dnoop%26x%3D1")).await;
    assert!(
        asked.text.contains("Cancel 2 tasks") && asked.text.contains("name=\"back\" value=\"plugin=noop\""),
        "{}",
        asked.text
    );
    let fields = |action| [("action", action), ("id", runs.as_str()), ("id", done.as_str()), ("once", "k")];
    assert_eq!(location(&send(&client, "/ui/do", &fields("cancel")).await), "tasks?did=cancel&n=1&left=1");
    assert_eq!(location(&send(&client, "/ui/do", &fields("delete")).await), "tasks?did=delete&n=2&left=0");
    let gone = send(&client, "/ui/do", &fields("delete")).await;
    assert!(gone.status == StatusCode::NOT_FOUND && gone.text.contains("does not exist"), "{}", gone.text);
    let nothing = send(&client, "/ui/do", &[("action", "cancel")]).await;
    assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send(&client, "/ui/do", &[("action", "drop")]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send(&client, "/ui/do", &[]).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn what_strangers_wrote_is_text_everywhere() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let mut request = misbehave(&json!({"do": "fail", "kind": "io", "message": HOSTILE, "permanent": true}));
    request["tags"] = json!(["<b>tag</b>"]);
    request["group"] = json!("<i>group</i>");
    request["unique_key"] = json!("<u>key</u>");
    let failed = client.submit(&request).await;
    let logged =
        client.submit(&misbehave(&json!({"do": "log", "out": HOSTILE, "err": "\u{1b}[31mred\u{0}"}))).await;
    let done =
        client.submit(&misbehave(&json!({"do": "echo", "text": format!("<!doctype html>{HOSTILE}")}))).await;
    for id in [&failed, &logged, &done] {
        client.until_finished(id).await;
    }
    let mut paths = vec!["/ui/".to_owned(), "/ui/tasks".to_owned()];
    for id in [&failed, &logged, &done] {
        paths.extend(
            ["", "/result", "/input", "/record", "/result?as=page"].map(|tab| format!("/ui/task/{id}{tab}")),
        );
    }
    for path in paths {
        let shown = page(&client, &path).await;
        let text = shown.text.to_lowercase();
        assert!(
            !text.contains("<script>alert")
                && !text.contains("<b>tag")
                && !text.contains("<i>group")
                && !text.contains("<u>key"),
            "{path}"
        );
        assert!(!text.contains(['\u{202e}', '\u{1b}', '\0']), "{path}");
    }
    let raw = page(&client, &format!("/ui/raw/{done}/result")).await;
    let policy = raw.headers["content-security-policy"].to_str().expect("text");
    assert!(policy.starts_with("sandbox; default-src 'none'") && !policy.contains("allow-"), "{policy}");
    assert!(raw.text.contains("<script>alert") && raw.headers["x-content-type-options"] == "nosniff");
    let saved = page(&client, &format!("/ui/raw/{done}/result?download=1")).await;
    assert_eq!(
        saved.headers["content-disposition"],
        format!("attachment; filename=\"result-{done}.html\"").as_str()
    );
    assert_eq!(page(&client, &format!("/ui/raw/{failed}/result")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn numbers_are_shown_as_they_were_written() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let body = r#"{"plugin": "noop", "input": {"big": 12345678901234567890, "price": 1.10, "tiny": 1e-400}}"#;
    let sent =
        client.send(Method::POST, "/task", Some(("application/json", body.into()))).await.expect("an answer");
    let shown = page(&client, &format!("/ui/task/{}/input", sent.str("id"))).await;
    for number in ["12345678901234567890", "1.10", "1e-400"] {
        assert!(shown.text.contains(&format!(">{number}</span>")), "{number}");
    }
}

#[tokio::test]
async fn a_form_submits_one_task_and_keeps_what_was_refused() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let fields = |input: &'static str, timeout: &'static str| {
        [
            ("plugin", "misbehave"),
            ("shown", "json"),
            ("once", "once-1"),
            ("input", input),
            ("option-timeout", timeout),
            ("option-tags", "a, b"),
        ]
    };
    for (input, timeout, why) in [("{", "1m", "not valid JSON"), ("{\"do\": \"noop\"}", "soon", "timeout")] {
        let refused = send(&client, "/ui/submit", &fields(input, timeout)).await;
        assert!(refused.status.is_client_error() && refused.text.contains(why), "{}", refused.text);
        assert!(
            refused.text.contains(&input.replace('"', "&quot;"))
                && refused.text.contains(&format!("value=\"{timeout}\""))
        );
    }
    let accepted = send(&client, "/ui/submit", &fields("{\"do\": \"noop\"}", "1m")).await;
    let again = send(&client, "/ui/submit", &fields("{\"do\": \"noop\"}", "1m")).await;
    assert_eq!(location(&accepted), location(&again), "a double click makes one task");
    let tasks = client.get("/task").await;
    assert_eq!(
        (tasks.json[0]["timeout_ms"].as_u64(), &tasks.json[0]["tags"]),
        (Some(60_000), &json!(["a", "b"]))
    );
    assert_eq!(tasks.json.as_array().expect("tasks").len(), 1);
    let similar =
        page(&client, &format!("/ui/submit?like={}", tasks.json[0]["id"].as_str().expect("an id"))).await;
    assert!(similar.text.contains("{&quot;do&quot;: &quot;noop&quot;}"), "{}", similar.text);
}

#[tokio::test]
async fn plugins_are_paused_uploaded_and_deleted_by_forms() {
    let server = Server::start(&["--allow-upload"]);
    let client = pages(&server);
    assert_eq!(
        location(&send(&client, "/ui/do", &[("action", "pause-plugin"), ("name", "noop")]).await),
        "plugins?did=pause"
    );
    assert_eq!(client.get("/plugins/noop").await.json["paused"], true);
    send(&client, "/ui/do", &[("action", "resume-plugin"), ("name", "noop")]).await;
    assert_eq!(client.get("/plugins/noop").await.json["paused"], false);
    let wasm = std::fs::read(server.folder().join("plugins/noop.wasm")).expect("a plugin");
    let upload = |name: &str, file: &[u8]| {
        let head = format!(
            "--x\r\ncontent-disposition: form-data; name=\"name\"\r\n\r\n{name}\r\n--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"
        );
        let body = [head.as_bytes(), file, b"\r\n--x--\r\n"].concat();
        let client = client.clone();
        async move {
            client
                .send(Method::POST, "/ui/upload", Some(("multipart/form-data; boundary=x", body)))
                .await
                .expect("an answer")
        }
    };
    assert_eq!(location(&upload("second", &wasm).await), "plugins?did=upload");
    assert_eq!(client.get("/plugins/second").await.json["state"], "ready");
    let refused = upload("third", b"nonsense").await;
    assert!(
        refused.status == StatusCode::UNPROCESSABLE_ENTITY
            && refused.text.contains("role=\"alert\"")
            && refused.text.contains("value=\"third\"")
    );
    for (name, file) in [("", &wasm[..]), ("Bad Name", &wasm), ("third", b"")] {
        assert!(upload(name, file).await.status.is_client_error(), "{name}");
    }
    let broken = client
        .send(Method::POST, "/ui/upload", Some(("multipart/form-data; boundary=x", b"--x".to_vec())))
        .await;
    assert_eq!(broken.expect("an answer").status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        location(&send(&client, "/ui/do", &[("action", "delete-plugin"), ("name", "second")]).await),
        "plugins?did=delete-plugin"
    );
    let gone = send(&client, "/ui/do", &[("action", "delete-plugin"), ("name", "second")]).await;
    assert!(gone.status == StatusCode::NOT_FOUND && gone.text.contains("does not exist"));
}

/// The form of a schedule that is due at these times.
fn schedule_fields(cron: &'static str) -> [(&'static str, &'static str); 9] {
    [
        ("name", "nightly"),
        ("cron", cron),
        ("timezone", "Europe/Berlin"),
        ("plugin", "noop"),
        ("shown", "json"),
        ("input", "{\"n\": 1.10}"),
        ("option-webhook", "http://203.0.113.1/"),
        ("option-more", "{\"backoff\": {\"first\": \"2s\"}}"),
        ("missed", "one"),
    ]
}

#[tokio::test]
async fn schedules_are_made_run_and_deleted_by_forms() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let fields = schedule_fields;
    let refused = send(&client, "/ui/schedule", &fields("61 * * * *")).await;
    assert!(
        refused.status == StatusCode::UNPROCESSABLE_ENTITY && refused.text.contains("value=\"61 * * * *\""),
        "{}",
        refused.text
    );
    assert_eq!(
        location(&send(&client, "/ui/schedule", &fields("30 2 * * *")).await),
        "schedules?did=put-schedule"
    );
    let stored = client.get("/schedules/nightly").await;
    assert_eq!(stored.json["task"]["webhook"]["url"], "http://203.0.113.1/");
    assert!(
        stored.text.contains("1.10") && stored.json["task"]["backoff"]["first"] == "2s",
        "{}",
        stored.text
    );
    assert!(page(&client, "/ui/schedules").await.text.contains("at 02:30 every day"));
    // The form of one that is there has the whole of it, and stores the same again.
    let shown = page(&client, "/ui/schedule?name=nightly").await;
    for part in [
        "value=\"30 2 * * *\"",
        "{&quot;n&quot;: 1.10}",
        "value=\"http://203.0.113.1/\"",
        "&quot;backoff&quot;",
    ] {
        assert!(shown.text.contains(part), "{part}: {}", shown.text);
    }
    for (action, location_is) in
        [("run-schedule", "schedules?did=run-schedule"), ("pause-schedule", "schedules?did=pause")]
    {
        assert_eq!(
            location(&send(&client, "/ui/do", &[("action", action), ("name", "nightly")]).await),
            location_is
        );
    }
    assert_eq!(client.get("/schedules/nightly").await.json["paused"], true);
    assert_eq!(
        location(&send(&client, "/ui/do", &[("action", "delete-schedule"), ("name", "nightly")]).await),
        "schedules?did=delete-schedule"
    );
}

#[tokio::test]
async fn a_form_of_a_schedule_that_is_refused_changes_nothing_and_keeps_what_was_typed() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let fields = schedule_fields;
    location(&send(&client, "/ui/schedule", &fields("30 2 * * *")).await);
    let stored = client.get("/schedules/nightly").await;
    for (field, wrong, why) in [
        ("option-more", "[]", "must be a JSON object"),
        ("input", "{", "not valid JSON"),
        ("option-timeout", "soon", "timeout must"),
    ] {
        let mut fields: Vec<_> =
            fields("30 2 * * *").into_iter().filter(|(name, _)| *name != field).collect();
        fields.push((field, wrong));
        let refused = send(&client, "/ui/schedule", &fields).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
        assert!(
            refused.text.contains(why) && refused.text.contains("value=\"30 2 * * *\""),
            "{}",
            refused.text
        );
    }
    assert_eq!(
        client.get("/schedules/nightly").await.json["task"],
        stored.json["task"],
        "nothing has changed"
    );
    let other =
        send(&client, "/ui/schedule", &[&fields("1 1 * * *")[..], &[("laid-out", "misbehave")]].concat())
            .await;
    assert!(
        other.status == StatusCode::OK && other.text.contains("value=\"1 1 * * *\""),
        "the form of the other plugin"
    );
}

#[tokio::test]
async fn a_log_is_filtered_by_its_url() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let log = misbehave(&json!({"do": "log", "out": "GET one\nGET <b>two</b>", "err": "got 503"}));
    let id = client.submit(&log).await;
    client.until(&id, "completed").await;
    let lines = async |query: &str| {
        let shown = page(&client, &format!("/ui/task/{id}?{query}")).await;
        assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
        let log = shown.text.split("<div class=\"log\"").nth(1).expect("a log").to_owned();
        log.split("<details").next().expect("its end").to_owned()
    };
    let all = lines("").await;
    assert!(all.contains("GET one") && all.contains("got 503"));
    let errors = lines("stream=stderr").await;
    assert!(errors.contains("got 503") && !errors.contains("GET"), "{errors}");
    let found = lines("stream=&attempt=1&find=get+%3CB%3E").await;
    assert!(found.contains("<mark>GET &lt;b&gt;</mark>two") && !found.contains("GET one"), "{found}");
    assert!(lines("find=%3Cscript%3E").await.contains("No line is like that."));
    assert!(!lines("attempt=7").await.contains("GET"));
    for query in ["stream=stdin", "attempt=x", "attempt=99999999999", &format!("find={}", "x".repeat(201))] {
        let refused = page(&client, &format!("/ui/task/{id}?{query}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
}

#[tokio::test]
async fn a_key_that_may_only_read_sees_no_button_and_can_press_none() {
    let server = Server::start(&["--allow-upload"]);
    let key = server.create_key("reader", &["--scope", "watch,read"]);
    let open = pages(&server);
    let client = open.clone().with_key(&key);
    for path in
        ["/ui/", "/ui/tasks", "/ui/plugins", "/ui/schedules", "/ui/schedule", "/ui/submit", "/ui/live"]
    {
        assert_eq!(page(&open, path).await.status, StatusCode::UNAUTHORIZED, "{path}");
        let shown = page(&client, path).await;
        assert_eq!(shown.status, StatusCode::OK, "{path}: {}", shown.text);
        assert!(
            !shown.text.contains("method=\"post\"") && !shown.text.contains("data-dialog"),
            "{path}: {}",
            shown.text
        );
    }
    for (action, field) in [
        ("cancel", ("select", "all")),
        ("pause", ("name", "noop")),
        ("pause-plugin", ("name", "noop")),
        ("run-schedule", ("name", "x")),
        ("delete-plugin", ("name", "noop")),
    ] {
        let refused = send(&client, "/ui/do", &[("action", action), field, ("count", "1")]).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{action}: {}", refused.text);
    }
    let submit = send(&client, "/ui/submit", &[("plugin", "noop"), ("shown", "json")]).await;
    assert_eq!(submit.status, StatusCode::FORBIDDEN, "{}", submit.text);
    let upload = client
        .send(Method::POST, "/ui/upload", Some(("multipart/form-data; boundary=x", b"--x--".to_vec())))
        .await;
    assert_eq!(upload.expect("an answer").status, StatusCode::FORBIDDEN);
    let schedule = send(&client, "/ui/schedule", &[("name", "x"), ("cron", "* * * * *")]).await;
    assert_eq!(schedule.status, StatusCode::FORBIDDEN);
    assert_eq!(page(&client, "/ui/act?action=cancel&select=all").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_page_of_another_origin_can_send_no_form() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let body = || Some(("application/x-www-form-urlencoded", b"action=pause".to_vec()));
    let foreign = [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")];
    let refused = client.send_with(Method::POST, "/ui/do", &foreign, body()).await.expect("an answer");
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
    assert_eq!(client.get("/stats").await.json["paused"], false);
    let own = [("sec-fetch-site", "same-origin")];
    let accepted = client.send_with(Method::POST, "/ui/do", &own, body()).await.expect("an answer");
    assert_eq!(location(&accepted), "./?did=pause");
    let shown = page(&client, "/ui/tasks").await;
    assert!(shown.text.contains("The queue is paused."));
}

#[tokio::test]
async fn a_page_says_why_a_task_waits_and_what_waits_for_it() {
    let server = Server::start(&[]);
    let client = pages(&server);
    let runs = client.submit(&sleep(600_000)).await;
    let waits = client.submit(&json!({"plugin": "noop", "depends_on": [runs]})).await;
    let shown = page(&client, &format!("/ui/task/{waits}")).await;
    assert!(
        shown.text.contains("Why it waits") && shown.text.contains("it depends on 1 task"),
        "{}",
        shown.text
    );
    let shown = page(&client, &format!("/ui/task/{runs}/depends")).await;
    assert!(shown.text.contains(&format!("../../../ui/task/{waits}")), "{}", shown.text);
    let shown = page(&client, &format!("/ui/task/{runs}")).await;
    assert!(!shown.text.contains("Why it waits"));
}

#[tokio::test]
async fn the_overview_draws_what_happened_and_says_what_needs_a_person() {
    let server = Server::start(&[]);
    let client = pages(&server);
    std::fs::write(server.folder().join("plugins/broken.wasm"), "nonsense").expect("writable");
    client.until_finished(&client.submit(&json!({"plugin": "noop"})).await).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let shown = page(&client, "/ui/").await;
        if shown.text.contains("<polyline") && shown.text.contains("Needs you") {
            assert!(shown.text.contains("href=\"plugins#p-broken\""), "{}", shown.text);
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{}", shown.text);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for span in ["5min", "1h", "24h", "nonsense"] {
        assert_eq!(page(&client, &format!("/ui/?span={span}")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_upload_shows_what_changes_before_it_is_taken() {
    let server = Server::start(&["--allow-upload"]);
    let client = pages(&server);
    let wasm = std::fs::read(server.folder().join("plugins/misbehave.wasm")).expect("a plugin");
    let before = client.get("/plugins/noop").await.json["digest"].clone();
    let head = "--x\r\ncontent-disposition: form-data; name=\"check\"\r\n\r\n1\r\n--x\r\ncontent-disposition: form-data; name=\"name\"\r\n\r\n\
                noop\r\n--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    let body = [head.as_bytes(), &wasm, b"\r\n--x--\r\n"].concat();
    let shown =
        client.send(Method::POST, "/ui/upload", Some(("multipart/form-data; boundary=x", body))).await;
    let shown = shown.expect("an answer");
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text);
    assert!(
        shown.text.contains("Replace noop?")
            && shown.text.contains("Nothing has been stored yet")
            && shown.text.contains("+ import"),
        "{}",
        shown.text
    );
    assert_eq!(client.get("/plugins/noop").await.json["digest"], before);
}
