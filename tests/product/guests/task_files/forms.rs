//! Task requests as forms, whose files are stored as they arrive.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;

use hyper::{Method, StatusCode};
use serde_json::json;
use wasmill_tests::{Answer, Client};

use super::{KEEPS, listed, server, until_stored};

/// One part of a form: its name, the name of its file, and its bytes.
type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

const TASK: Part<'_> =
    ("task", None, b"{\"plugin\": \"program\", \"input\": {\"args\": [\"read\", \"/tmp/a\"]}}");

fn file<'a>(name: &'a str, bytes: &'a [u8]) -> Part<'a> {
    ("files", Some(name), bytes)
}

/// Returns a form with this boundary.
fn form(boundary: &str, parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, bytes) in parts {
        let mut head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"");
        if let Some(file) = file {
            write!(head, "; filename=\"{file}\"").expect("written");
        }
        body.extend_from_slice(format!("{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

async fn send(client: &Client, headers: &[(&str, &str)], boundary: &str, body: Vec<u8>) -> Answer {
    let media = format!("multipart/form-data; boundary={boundary}");
    client.send_with(Method::POST, "/task", headers, Some((&media, body))).await.expect("an answer")
}

async fn send_parts(client: &Client, parts: &[Part<'_>]) -> Answer {
    send(client, &[], "b0undary", form("b0undary", parts)).await
}

#[tokio::test]
async fn a_form_may_be_larger_than_a_body() {
    let server = server("outputs = [\"*.json\"]\nallow.scratch = \"16MiB\"", &[]);
    let client = server.client();
    // Over several parts of a MiB, and with what looks like a boundary.
    let mut large: Vec<u8> = (0..5 << 20).map(|at: u32| (at % 251) as u8).collect();
    large.extend_from_slice(b"\r\n--b0undar\r\n--");
    let files = [TASK, file("large", &large), file("a", b"x"), file("b/c", b"")];
    let accepted = send_parts(&client, &files).await;
    assert_eq!(accepted.status, StatusCode::CREATED, "{}", accepted.text);
    let task = client.until_finished(accepted.str("id")).await;
    assert_eq!((task.str("state"), task.str("result")), ("completed", "x"), "{}", task.text);
    let whole = client.get(&format!("/task/{}", task.str("id"))).await;
    assert_eq!(
        listed(&whole),
        [("a", "input", 1), ("b/c", "input", 0), ("large", "input", large.len() as u64)]
    );
    let (_, got) = client.send_for_bytes(&format!("/task/{}/files/large", task.str("id"))).await;
    assert!(got == large, "{} bytes", got.len());
    // Without files and without a task.
    let plain =
        send_parts(&client, &[("task", None, b"{\"plugin\": \"bare\", \"input\": {\"args\": [\"args\"]}}")])
            .await;
    assert_eq!(plain.status, StatusCode::CREATED, "{}", plain.text);
    assert_eq!(send_parts(&client, &[]).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_refused_form_leaves_nothing_behind() {
    let args = ["--file-max", "10B", "--files-max", "15B", "--files-per-task", "3", "--body-max", "1KiB"];
    let server = server(KEEPS, &args);
    let client = server.client();
    let (large, eight): (&[u8], &[u8]) = (&[0; 11], &[0; 8]);
    let (unknown, with_files) =
        (&b"{\"plugin\": \"nobody\"}"[..], &b"{\"plugin\": \"program\", \"files\": {\"a\": \"\"}}"[..]);
    let bare = &b"{\"plugin\": \"bare\"}"[..];
    let long = format!("{{\"plugin\": \"program\", \"input\": \"{}\"}}", "x".repeat(2000));
    for (parts, pointer, why) in [
        (vec![TASK, file("a", b""), file("../a", eight)], "/files/..~1a", ".."),
        (vec![TASK, file("/etc/passwd", eight)], "/files/~1etc~1passwd", "relative"),
        (vec![TASK, file("a", eight), file("a/b", b"")], "/files/a~1b", "one is a folder"),
        (vec![TASK, file("a", eight), file("a", b"")], "/files/a", "more than once"),
        (vec![TASK, file("a", large)], "/files/a", "file_max"),
        (vec![TASK, file("a", eight), file("b", eight)], "/files/b", "files_max"),
        (
            vec![TASK, file("a", b""), file("b", b""), file("c", b""), file("d", b"")],
            "/files",
            "files_per_task",
        ),
        (vec![TASK, file("a", eight), ("files", None, b"x")], "/files", "has no file name"),
        (vec![TASK, file("a", eight), ("other", Some("b"), b"x")], "", "unknown part 'other'"),
        (vec![TASK, file("a", eight), TASK], "", "must appear once and come first"),
        (vec![file("a", eight), TASK], "/files", "takes no files"),
        (vec![("task", None, bare), file("a", eight)], "/files", "takes no files: `scratch`"),
        (vec![("task", None, unknown), file("a", eight)], "/plugin", "nobody"),
        (vec![("task", None, with_files)], "/files", "parts named 'files'"),
        (vec![("task", None, long.as_bytes()), file("a", eight)], "", "body_max"),
    ] {
        let refused = send_parts(&client, &parts).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{why}: {}", refused.text);
        assert_eq!(refused.pointers(), [pointer], "{}", refused.text);
        assert!(refused.str("detail").contains(why), "{why}: {}", refused.text);
    }
    let whole = form("b0undary", &[TASK, file("a", eight)]);
    for cut in [0, 3, 40, whole.len() - 30, whole.len() - 4] {
        let refused = send(&client, &[], "b0undary", whole[..cut].to_vec()).await;
        assert_eq!(
            (refused.status.as_u16(), refused.str("code")),
            (422, "invalid-request"),
            "{}",
            refused.text
        );
        assert!(refused.str("detail").contains("ends too early"), "{}", refused.text);
    }
    let not_json = send_parts(&client, &[("task", None, b"{"), file("a", eight)]).await;
    assert_eq!(not_json.str("code"), "invalid-json", "{}", not_json.text);
    let much = [whole, vec![b'x'; 64 << 10]].concat();
    let refused = send(&client, &[], "b0undary", much).await;
    assert_eq!((refused.status.as_u16(), refused.str("code")), (413, "body-too-large"), "{}", refused.text);
    assert!(refused.str("detail").contains("files_max"), "{}", refused.text);
    until_stored(&server, 0).await;
    let tasks = client.get("/task").await;
    assert_eq!(tasks.json, json!([]));
}

#[tokio::test]
async fn a_repeated_form_is_the_same_with_any_boundary() {
    let server = server(KEEPS, &[]);
    let client = server.client();
    let files = [TASK, file("a", &b"x"[..])];
    let key = [("idempotency-key", "k")];
    let first = send(&client, &key, "one", form("one", &files)).await;
    let again = send(&client, &key, "other", form("other", &files)).await;
    assert_eq!((again.status, again.str("id")), (StatusCode::CREATED, first.str("id")), "{}", again.text);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    let changed = send(&client, &key, "one", form("one", &[TASK, file("a", b"y")])).await;
    assert_eq!(changed.str("code"), "idempotency-key-reused", "{}", changed.text);
    client.until_finished(first.str("id")).await;
    until_stored(&server, 1).await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing_behind() {
    let server = server("allow.scratch = \"64MiB\"", &[]);
    let client = server.client();
    let head = form("x", &[TASK]);
    let head = &head[..head.len() - "--x--\r\n".len()];
    let file = "--x\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a\"\r\n\r\n";
    let upload = || {
        let mut stream = TcpStream::connect(client.address()).expect("connected");
        let length = 32 << 20;
        let request = format!(
            "POST /task HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=x\r\n\
             content-length: {length}\r\n\r\n",
            client.address()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        stream.write_all(head).expect("sent");
        stream.write_all(file.as_bytes()).expect("sent");
        stream.write_all(&vec![b'y'; 3 << 20]).expect("sent");
        stream
    };
    let stream = upload();
    until_stored(&server, 1).await;
    drop(stream);
    until_stored(&server, 0).await;
    let mut stream = upload();
    until_stored(&server, 1).await;
    let server = server.kill_and_restart();
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    until_stored(&server, 0).await;
    assert_eq!(server.client().get("/task").await.json, json!([]));
}
