//! Odd clients beside the load: partial requests, extra bytes, wrong lengths, slow heads, unread responses and
//! hang-ups. Tasks that they submit successfully are recorded in the ledger like any other.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ledger::{Fault, Ledger};
use crate::rng::Rng;

/// Maximum time for a response; a frozen server, a full disk and a restart take less.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Maximum bytes read of a response.
const ANSWER_BYTES: usize = 64 << 10;

/// A task that finishes at once.
const TASK: &str = r#"{"plugin":"noop"}"#;

/// An invalid length.
const NO_LENGTH: &str = "POST /task HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n";

/// Does one odd thing to the server at this address.
pub(crate) async fn run_odd_client(address: SocketAddr, ledger: &Ledger, rng: &mut Rng) {
    // Between two servers there is none.
    let Ok(stream) = TcpStream::connect(address).await else { return };
    ledger.odd_clients.fetch_add(1, Ordering::Relaxed);
    let length = TASK.len();
    match rng.below(9) {
        0 => half(stream, &head(length), rng).await,
        1 => half(stream, &(head(length) + TASK), rng).await,
        // Bytes behind the body that belong to no request: the task is stored, and the response arrives.
        2 => stored(stream, &(head(length) + TASK + "\r\n"), ledger).await,
        3 => stored(stream, &(head(length) + TASK + "GET /healthz HT"), ledger).await,
        4 => refused(stream, &(head(length / 2) + TASK), ledger).await,
        5 => refused(stream, "BREW /task HTTP/9.9\r\n\r\n", ledger).await,
        6 => refused(stream, NO_LENGTH, ledger).await,
        7 => slow(stream, &head(length), rng).await,
        _ => unread(stream, rng).await,
    }
}

fn head(length: usize) -> String {
    format!(
        "POST /task HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// Sends part of a request and hangs up after a while.
async fn half(mut stream: TcpStream, request: &str, rng: &mut Rng) {
    let part = &request.as_bytes()[..rng.below(request.len())];
    if stream.write_all(part).await.is_ok() {
        tokio::time::sleep(rng.millis(0, 300)).await;
    }
}

/// Submits a task in an odd way and expects it to be stored.
async fn stored(mut stream: TcpStream, request: &str, ledger: &Ledger) {
    let Some(answer) = exchange(&mut stream, request, ledger).await else { return };
    if !answer.starts_with("HTTP/1.1 201 ") {
        return;
    }
    let body = answer.split_once("\r\n\r\n").and_then(|(_, body)| {
        let mut values = serde_json::Deserializer::from_str(body).into_iter::<Value>();
        values.next()?.ok()
    });
    match body.as_ref().and_then(|body| body["id"].as_str()) {
        Some(id) => ledger.accept(id.to_owned(), None, None),
        None => ledger.report(Fault::Odd, format!("a task was stored without an id: {answer}")),
    }
}

/// Sends an invalid request and expects an error.
async fn refused(mut stream: TcpStream, request: &str, ledger: &Ledger) {
    let Some(answer) = exchange(&mut stream, request, ledger).await else { return };
    if !answer.starts_with("HTTP/1.1 4") && !answer.starts_with("HTTP/1.1 503 ") {
        ledger.report(Fault::Odd, format!("an invalid request was answered {answer}"));
    }
}

/// Sends bytes and reads the start of the response; `None` if the server cut the connection, as it does when it is
/// killed.
async fn exchange(stream: &mut TcpStream, request: &str, ledger: &Ledger) -> Option<String> {
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let mut piece = vec![0; 4 << 10];
    while answer.len() < ANSWER_BYTES && !is_whole(&answer) {
        match timeout(ANSWER_MAX, stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(count)) => answer.extend_from_slice(&piece[..count]),
            Err(_) => {
                ledger.report(Fault::Stuck, format!("no answer within {ANSWER_MAX:?} to {request:?}"));
                return None;
            }
        }
    }
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}

/// Returns true if a response is complete: its head and the announced length.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    length.is_some_and(|length| body.len() >= length)
}

/// Sends a head byte by byte and hangs up before its end.
async fn slow(mut stream: TcpStream, head: &str, rng: &mut Rng) {
    for byte in head.bytes().take(rng.below(head.len())) {
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Requests long lists repeatedly and reads nothing.
async fn unread(mut stream: TcpStream, rng: &mut Rng) {
    let asked = "GET /task?limit=1000 HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20);
    // The server stops reading once the buffers of both sides are full.
    let _ = timeout(rng.millis(100, 1_000), stream.write_all(asked.as_bytes())).await;
    tokio::time::sleep(rng.millis(0, 500)).await;
}
