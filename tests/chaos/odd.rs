//! Odd clients beside the load: half requests, extra bytes, wrong lengths, slow heads, answers that are not read,
//! and hang-ups. What they are told to be stored is noted in the ledger like anything else.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::dice::Dice;
use crate::ledger::{Fault, Ledger};

/// How long an answer may take that nothing holds up: a frozen server, a full disk and a restart are shorter.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The most that is read of an answer.
const ANSWER_BYTES: usize = 64 << 10;

/// A task that ends at once.
const TASK: &str = r#"{"plugin":"noop"}"#;

/// A length that is none.
const NO_LENGTH: &str = "POST /task HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n";

/// Does one odd thing to the server that is at this address now.
pub(crate) async fn act(server: &Mutex<SocketAddr>, ledger: &Ledger, dice: &mut Dice) {
    let address = *server.lock().unwrap_or_else(PoisonError::into_inner);
    // Between two servers there is none.
    let Ok(stream) = TcpStream::connect(address).await else { return };
    ledger.odd_clients.fetch_add(1, Ordering::Relaxed);
    let length = TASK.len();
    match dice.below(9) {
        0 => half(stream, &head(length), dice).await,
        1 => half(stream, &(head(length) + TASK), dice).await,
        // Bytes behind the body, which belong to no request: the task is stored, and the answer comes.
        2 => stored(stream, &(head(length) + TASK + "\r\n"), ledger).await,
        3 => stored(stream, &(head(length) + TASK + "GET /healthz HT"), ledger).await,
        4 => refused(stream, &(head(length / 2) + TASK), ledger).await,
        5 => refused(stream, "BREW /task HTTP/9.9\r\n\r\n", ledger).await,
        6 => refused(stream, NO_LENGTH, ledger).await,
        7 => slow(stream, &head(length), dice).await,
        _ => unread(stream, dice).await,
    }
}

fn head(length: usize) -> String {
    format!(
        "POST /task HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// Sends a part of a request, and hangs up after a while.
async fn half(mut stream: TcpStream, request: &str, dice: &mut Dice) {
    let part = &request.as_bytes()[..dice.below(request.len())];
    if stream.write_all(part).await.is_ok() {
        tokio::time::sleep(dice.millis(0, 300)).await;
    }
}

/// Sends a task in an odd way, and expects to be told that it is stored.
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
        Some(id) => ledger.accept(id.to_owned(), None),
        None => ledger.report(Fault::Odd, format!("a task was stored without an id: {answer}")),
    }
}

/// Sends what is no request, and expects a refusal.
async fn refused(mut stream: TcpStream, request: &str, ledger: &Ledger) {
    let Some(answer) = exchange(&mut stream, request, ledger).await else { return };
    if !answer.starts_with("HTTP/1.1 4") && !answer.starts_with("HTTP/1.1 503 ") {
        ledger.report(Fault::Odd, format!("what is no request was answered {answer}"));
    }
}

/// Sends bytes and reads the beginning of the answer; `None` if the server cut the connection, as it does when it
/// is killed.
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

/// Says whether an answer has come whole: its head, and as much as that announces.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    length.is_some_and(|length| body.len() >= length)
}

/// Sends a head a byte at a time, and hangs up before it ends.
async fn slow(mut stream: TcpStream, head: &str, dice: &mut Dice) {
    for byte in head.bytes().take(dice.below(head.len())) {
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Asks for long lists again and again, and reads nothing of them.
async fn unread(mut stream: TcpStream, dice: &mut Dice) {
    let asked = "GET /task?limit=1000 HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(20);
    // It is not taken once the buffers of both sides are full.
    let _ = timeout(dice.millis(100, 1_000), stream.write_all(asked.as_bytes())).await;
    tokio::time::sleep(dice.millis(0, 500)).await;
}
