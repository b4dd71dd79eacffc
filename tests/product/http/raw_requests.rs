//! Requests that no library sends: each gets its response at once, whatever follows it on the connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;
use wasmill_tests::Server;

/// Deadline for a response. A server that waits for more bytes times out long before.
const DEADLINE: Duration = Duration::from_secs(60);

/// One response.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    /// Returns the problem code; empty if the response is not a problem.
    fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let is_problem = self.head.contains("content-type: application/problem+json");
        if is_problem { body["code"].as_str().unwrap_or_default().to_owned() } else { String::new() }
    }
}

/// Sends bytes on a new connection, which stays open.
fn send(server: &Server, bytes: &[u8]) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    // A server that refuses a request may close before reading all of it.
    let _ = stream.write_all(bytes);
    BufReader::new(stream)
}

/// Reads one response; `None` at the end.
fn read(stream: &mut BufReader<TcpStream>) -> Option<Answer> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            assert!(head.is_empty(), "{head}");
            return None;
        }
    }
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
    stream.read_exact(&mut body).ok()?;
    Some(Answer { status, head, body })
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

/// A request for a task that finishes at once.
fn post(headers: &str, body: &str) -> String {
    format!("POST /task HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n{body}")
}

const TASK: &str = r#"{"plugin":"noop","input":"é"}"#;

/// The request, and the expected status and problem code. The library answers a head that is not HTTP,
/// without a body.
#[expect(clippy::too_many_lines, reason = "a table of requests")]
fn rows() -> Vec<(&'static str, String, u16, &'static str)> {
    let length = |length: usize| format!("Content-Length: {length}\r\n");
    let whole = post(&length(TASK.len()), TASK);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let many: String = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect();
    vec![
        ("a line end behind a body", format!("{whole}\r\n"), 201, ""),
        ("a line end behind a head", get("/healthz", "") + "\r\n", 200, ""),
        ("line ends before a head", "\r\n\r\n".to_owned() + &get("/healthz", ""), 200, ""),
        ("half a request behind", get("/healthz", "") + "GET /heal", 200, ""),
        ("rubbish behind", get("/healthz", "") + "\x01\x02\x03", 200, ""),
        ("the last request, and bytes behind", get("/healthz", "Connection: close\r\n") + "GET /", 200, ""),
        ("HTTP/1.0 without a host", "GET /healthz HTTP/1.0\r\n\r\n".to_owned(), 200, ""),
        (
            "HTTP/1.0 with bytes behind",
            "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\nxx".to_owned(),
            200,
            "",
        ),
        ("bare line feeds", "GET /healthz HTTP/1.1\nHost: localhost\n\n".to_owned(), 200, ""),
        ("a length in characters", post(&length(TASK.chars().count()), TASK), 400, "invalid-json"),
        ("chunks", post(chunked, &format!("{:x}\r\n{TASK}\r\n0\r\n\r\n", TASK.len())), 201, ""),
        ("chunks with extras", post(chunked, "2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n"), 201, ""),
        ("a chunk of a wrong length", post(chunked, "1\r\n{}\r\n0\r\n\r\n"), 400, "unreadable-body"),
        ("a chunk of no length", post(chunked, "x\r\n{}\r\n0\r\n\r\n"), 400, "unreadable-body"),
        ("the same length twice", post(&length(TASK.len()).repeat(2), TASK), 201, ""),
        ("two lengths", post(&(length(2) + &length(3)), "{} "), 400, ""),
        ("a negative length", post("Content-Length: -1\r\n", ""), 400, ""),
        ("a length that is no number", post("Content-Length: 2x\r\n", "{}"), 400, ""),
        ("an unknown transfer encoding", post("Transfer-Encoding: rot13\r\n", "{}"), 400, ""),
        ("a long path", get(&format!("/{}", "x".repeat(15_000)), ""), 404, "unknown-route"),
        ("a path over the limit", get(&format!("/{}", "x".repeat(17_000)), ""), 431, ""),
        ("a head within the limit", get("/", &format!("X: {}\r\n", "x".repeat(15_000))), 200, ""),
        ("a head over the limit", get("/", &format!("X: {}\r\n", "x".repeat(17_000))), 431, ""),
        ("a head far over the limit", get("/", &format!("X: {}\r\n", "x".repeat(3 << 20))), 431, ""),
        ("more headers than allowed", get("/healthz", &many), 431, ""),
        (
            "a method of another",
            "BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            405,
            "method-not-allowed",
        ),
        ("an invalid method", "G<T / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400, ""),
        ("an invalid version", "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n".to_owned(), 400, ""),
        ("no version", "GET /\r\n\r\n".to_owned(), 400, ""),
        ("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".to_owned(), 400, ""),
        ("no HTTP", "hello\r\n\r\n".to_owned(), 400, ""),
        ("a space before a colon", get("/healthz", "X : y\r\n"), 400, ""),
        ("a folded header", get("/healthz", "X: y\r\n z\r\n"), 400, ""),
        ("a NUL in a header", get("/healthz", "X: a\0b\r\n"), 400, ""),
        (
            "the absolute form",
            "GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            200,
            "",
        ),
        (
            "the absolute form for another",
            "GET http://rebound.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
            421,
            "unknown-host",
        ),
        (
            "CONNECT",
            "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n".to_owned(),
            404,
            "unknown-route",
        ),
        ("an asterisk", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 404, "unknown-route"),
        ("no host", "GET /healthz HTTP/1.1\r\n\r\n".to_owned(), 400, "invalid-host"),
        ("two hosts", get("/healthz", "Host: localhost\r\n"), 400, "invalid-host"),
        ("a body that is too large", post(&length(8 << 20), &" ".repeat(8 << 20)), 413, "body-too-large"),
        (
            "chunks that are too large",
            post(chunked, &format!("{:x}\r\n{}\r\n0\r\n\r\n", 8 << 20, " ".repeat(8 << 20))),
            413,
            "body-too-large",
        ),
        (
            "a large unwanted body",
            format!(
                "PUT /task HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}",
                8 << 20,
                " ".repeat(8 << 20)
            ),
            405,
            "method-not-allowed",
        ),
        (
            "100 Continue for what is refused",
            post("Expect: 100-continue\r\nContent-Length: 50000000\r\n", ""),
            413,
            "body-too-large",
        ),
        (
            "an encoded body",
            post("Content-Encoding: gzip\r\nContent-Length: 2\r\n", "\x1f{"),
            415,
            "unsupported-content-encoding",
        ),
    ]
}

#[test]
fn every_raw_request_gets_its_response_at_once() {
    let server = Server::start(&[]);
    for (what, bytes, status, code) in rows() {
        let answer =
            read(&mut send(&server, bytes.as_bytes())).unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!((answer.status, &*answer.code()), (status, code), "{what}: {answer:?}");
    }
    let healthy = read(&mut send(&server, get("/healthz", "").as_bytes())).expect("an answer");
    assert_eq!(healthy.status, 200);
}

#[test]
fn a_half_closed_client_gets_its_response() {
    let server = Server::start(&[]);
    for (what, bytes, status, code) in [
        ("a whole request", post(&format!("Content-Length: {}\r\n", TASK.len()), TASK), 201, ""),
        ("a body that ends too early", post("Content-Length: 90\r\n", TASK), 400, "unreadable-body"),
        (
            "chunks that end too early",
            post("Transfer-Encoding: chunked\r\n", "9\r\n{"),
            400,
            "unreadable-body",
        ),
    ] {
        let mut stream = send(&server, bytes.as_bytes());
        stream.get_ref().shutdown(Shutdown::Write).expect("open");
        let answer = read(&mut stream).unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!((answer.status, &*answer.code()), (status, code), "{what}: {answer:?}");
        assert!(read(&mut stream).is_none(), "{what}: the connection ends");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(&[]);
    let task = post(&format!("Content-Length: {}\r\n", TASK.len()), TASK);
    let requests = [get("/healthz", ""), task, get("/nothing", ""), get("/healthz", "")].concat();
    let mut stream = send(&server, requests.as_bytes());
    let answers: Vec<_> = (0..4).map(|_| read(&mut stream).expect("an answer").status).collect();
    assert_eq!(answers, [200, 201, 404, 200]);
}

#[test]
fn a_100_continue_is_sent_only_if_the_body_will_be_read() {
    let server = Server::start(&[]);
    let head = post(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n", TASK.len()), "");
    let mut stream = send(&server, head.as_bytes());
    assert_eq!(read(&mut stream).expect("an answer").status, 100);
    stream.get_mut().write_all(TASK.as_bytes()).expect("written");
    assert_eq!(read(&mut stream).expect("an answer").status, 201);
}

#[test]
fn a_response_to_an_unread_body_has_connection_close() {
    let server = Server::start(&[]);
    let large = " ".repeat(1 << 20);
    let length = format!("Content-Length: {}\r\n", large.len());
    let chunked = "Transfer-Encoding: chunked\r\n";
    let put = |path: &str, headers: &str| {
        format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\n{length}{headers}\r\n{large}")
    };
    for (what, bytes, status) in [
        ("at the door", put("/plugins/fresh", "Origin: https://example.com\r\n"), 403),
        ("where uploads are off", put("/plugins/fresh", ""), 403),
        ("by a method", put("/task", ""), 405),
        ("by a path", put("/nothing", ""), 404),
        ("a length", post(&format!("Content-Length: {}\r\n", 8 << 20), &large), 413),
        ("a chunk", post(chunked, "x\r\n{}\r\n0\r\n\r\n"), 400),
    ] {
        let mut stream = send(&server, bytes.as_bytes());
        let answer = read(&mut stream).unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(answer.head.to_ascii_lowercase().contains("connection: close"), "{what}: {answer:?}");
        assert!(read(&mut stream).is_none(), "{what}: the connection ends");
    }
    // A connection whose request was read completely stays open.
    let mut stream = send(&server, post(&format!("Content-Length: {}\r\n", TASK.len()), TASK).as_bytes());
    assert!(!read(&mut stream).expect("an answer").head.contains("connection: close"));
    stream.get_mut().write_all(get("/healthz", "").as_bytes()).expect("written");
    assert_eq!(read(&mut stream).expect("an answer").status, 200);
}

#[test]
fn a_stream_starts_despite_pipelined_bytes() {
    let server = Server::start(&[]);
    let mut stream = send(&server, (get("/events", "Accept: text/event-stream\r\n") + "\r\n").as_bytes());
    assert_eq!(read(&mut stream).expect("an answer").status, 200);
    let mut greeting = String::new();
    while !greeting.contains("retry:") {
        assert!(stream.read_line(&mut greeting).expect("the stream continues") > 0);
    }
}

#[test]
fn a_byte_order_mark_is_ignored() {
    let server = Server::start(&[]);
    let marked = format!("\u{feff}{TASK}");
    let single = post(&format!("Content-Length: {}\r\n", marked.len()), &marked);
    assert_eq!(read(&mut send(&server, single.as_bytes())).expect("an answer").status, 201);
    for (kind, body) in [("json", format!("\u{feff}[{TASK}]")), ("x-ndjson", format!("{marked}\n{TASK}\n"))] {
        let batch = format!(
            "POST /task/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/{kind}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = read(&mut send(&server, batch.as_bytes())).expect("an answer");
        assert_eq!(answer.status, 201, "{kind}: {}", String::from_utf8_lossy(&answer.body));
    }
}

#[test]
fn an_invalid_line_is_named_by_its_line_number() {
    let server = Server::start(&[]);
    let body = "{}\n{x\n";
    let batch = format!(
        "POST /task/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = read(&mut send(&server, batch.as_bytes())).expect("an answer");
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let detail = body["detail"].as_str().expect("a detail");
    assert_eq!(detail, "line 2 of the body is not valid JSON: key must be a string at column 2");
}
