//! The attackers. Each does one thing again and again until its turn is over; then all their connections are dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use wasmill_tests::tiny;

use crate::tally::Tally;
use crate::tricks;
use crate::wire::Wire;

/// The kinds, and how many attackers there are of each.
pub(crate) const KINDS: [(&str, usize); 8] = [
    ("slow-heads", 300),
    ("slow-bodies", 100),
    ("wrong-keys", 8),
    ("batches", 2),
    ("uploads", 2),
    ("unread-streams", 100),
    ("unread-lists", 20),
    ("tricks", 4),
];

/// The wait between two requests of a flood, between two large ones, and between two bytes of a slow one.
const FLOOD_PACE: Duration = Duration::from_millis(4);
const LARGE_PACE: Duration = Duration::from_millis(200);
const BYTE_PACE: Duration = Duration::from_secs(1);

/// Sizes of bodies: tasks of a batch, bytes of an upload, bytes that no request may have.
const BATCH_TASKS: usize = 20_000;
const UPLOAD_BYTES: usize = 8 << 20;
const ENDLESS_BYTES: u64 = 1 << 40;

/// Depth of nested JSON.
const DEPTH: usize = 100_000;

/// Kinds that are answered; one that never was did not attack.
pub(crate) const ANSWERED: [&str; 4] = ["wrong-keys", "batches", "uploads", "tricks"];

/// The keys of those that have one.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// May submit and read, in a group of its own.
    pub(crate) tenant: String,
    /// May change plugins.
    pub(crate) uploader: String,
    /// Of the good client; attackers know no more than its id.
    pub(crate) good: String,
}

/// An attack of all kinds at once.
pub(crate) struct Attack(JoinSet<()>);

/// What an attacker needs.
#[derive(Clone)]
struct Target {
    server: SocketAddr,
    keys: Keys,
    tally: Arc<Tally>,
}

impl Attack {
    /// Starts the attackers of these kinds; of all, if none is named.
    pub(crate) fn start(server: SocketAddr, keys: &Keys, tally: &Arc<Tally>, only: &[String]) -> Self {
        let target = Target { server, keys: keys.clone(), tally: Arc::clone(tally) };
        let mut attackers = JoinSet::new();
        for (kind, count) in KINDS {
            if !only.is_empty() && !only.iter().any(|named| named == kind) {
                continue;
            }
            for number in 0..count {
                let target = target.clone();
                match kind {
                    "slow-heads" => attackers.spawn(slow_head(target, number)),
                    "slow-bodies" => attackers.spawn(slow_body(target, number)),
                    "wrong-keys" => attackers.spawn(wrong_keys(target, number)),
                    "batches" => attackers.spawn(giant_batches(target, number)),
                    "uploads" => attackers.spawn(uploads(target, number)),
                    "unread-streams" => attackers.spawn(unread(target, number, "/events")),
                    "unread-lists" => attackers.spawn(unread(target, number, "/task?limit=1000")),
                    _ => attackers.spawn(play_tricks(target, number)),
                };
            }
        }
        Self(attackers)
    }

    /// Ends it, in the middle of whatever it does.
    pub(crate) async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

/// Sends a head a byte at a time, until the server closes.
async fn slow_head(target: Target, number: usize) {
    loop {
        if let Some(mut wire) = Wire::open(target.server, number).await {
            for byte in
                b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ".iter().chain([b'a'; 600].iter())
            {
                if !wire.send(&[*byte]).await {
                    break;
                }
                sleep(BYTE_PACE).await;
            }
        }
        sleep(BYTE_PACE).await;
    }
}

/// Sends a body a byte at a time.
async fn slow_body(target: Target, number: usize) {
    let head = head("POST", "/task", &target.keys.tenant, 60_000);
    loop {
        if let Some(mut wire) = Wire::open(target.server, number).await
            && wire.send(head.as_bytes()).await
        {
            while wire.send(b" ").await {
                sleep(BYTE_PACE).await;
            }
        }
        sleep(BYTE_PACE).await;
    }
}

/// Guesses keys: of no id, of an unknown one, and of one that exists; as a header, in the URL, and at the sign-in.
async fn wrong_keys(target: Target, number: usize) {
    let id = target.keys.good.split('_').nth(1).unwrap_or_default().to_owned();
    let mut wire = None;
    for guess in 0_u64.. {
        if wire.is_none() {
            wire = Wire::open(target.server, number).await;
        }
        let secret = format!("{guess:020}{number:023}abcdef");
        let (name, request) = match guess % 5 {
            0 => ("a random key", get("/stats", &format!("wmk_{:08x}_{secret}", guess % 0xffff_ffff))),
            1 => ("a known id", get("/stats", &format!("wmk_{id}_{secret}"))),
            2 => ("no key of ours", get("/task", &secret.repeat(3))),
            3 => (
                "a key in a URL",
                format!("GET /stats?key=wmk_{id}_{secret} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
            ),
            _ => {
                let form = format!("key=wmk_{id}_{secret}&next=/ui/");
                (
                    "a sign-in",
                    format!(
                        "POST /ui/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                     content-length: {}\r\n\r\n{form}",
                        form.len()
                    ),
                )
            }
        };
        if let Some(open) = &mut wire {
            let reply = open.ask(request.as_bytes()).await;
            if reply.is_none() {
                wire = None;
            }
            target.tally.count("wrong-keys", name, reply.as_ref());
        }
        sleep(FLOOD_PACE).await;
    }
}

/// Sends batches that are too many, too large, too deep or endless.
async fn giant_batches(target: Target, number: usize) {
    let task = r#"{"plugin":"noop"},"#;
    let many = format!("[{}{{\"plugin\":\"noop\"}}]", task.repeat(BATCH_TASKS - 1));
    let thousand = format!("[{}{{\"plugin\":\"noop\"}}]", task.repeat(999));
    let large = format!("[{{\"plugin\":\"noop\",\"input\":\"{}\"}}]", "a".repeat(6 << 20));
    let deep = format!("[{{\"plugin\":\"noop\",\"input\":{}{}}}]", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let bodies =
        [("20,000 tasks", many), ("1,000 tasks", thousand), ("6 MiB of input", large), ("deep JSON", deep)];
    for turn in number.. {
        let (name, body) = &bodies[turn % bodies.len()];
        if let Some(mut wire) = Wire::open(target.server, number).await {
            let request = head("POST", "/task/batch", &target.keys.tenant, body.len() as u64) + body;
            let reply = wire.ask(request.as_bytes()).await;
            target.tally.count("batches", name, reply.as_ref());
        }
        if let Some(mut wire) = Wire::open(target.server, number).await {
            let request = head("POST", "/task/batch", &target.keys.tenant, ENDLESS_BYTES)
                + &body[..body.len().min(1 << 20)];
            let reply = wire.ask(request.as_bytes()).await;
            target.tally.count("batches", "an endless body", reply.as_ref());
        }
        sleep(LARGE_PACE).await;
    }
}

/// Uploads what is no plugin, what is large, what is one but under a bad name, and by a key that may not.
async fn uploads(target: Target, number: usize) {
    let noise: Vec<u8> = (0..UPLOAD_BYTES).map(|at| (at % 251) as u8).collect();
    let mut padded = b"\0asm\x01\0\0\0".to_vec();
    padded.extend_from_slice(&noise);
    let valid = tiny::plugin("EVIL");
    let Keys { tenant, uploader, .. } = &target.keys;
    let tries: [(&str, &str, &str, &[u8]); 6] = [
        ("noise", "/plugins/noise", uploader, &noise),
        ("noise with a magic number", "/plugins/padded", uploader, &padded),
        ("half of a plugin", "/plugins/half", uploader, &valid[..valid.len() / 2]),
        ("a name that leads up", "/plugins/..%2f..%2fevil", uploader, &valid),
        ("a plugin, and its deletion", "/plugins/evil", uploader, &valid),
        ("a key that may not", "/plugins/noop", tenant, &noise),
    ];
    for turn in number.. {
        let (name, path, key, body) = tries[turn % tries.len()];
        if let Some(mut wire) = Wire::open(target.server, number).await {
            let mut request = head("PUT", path, key, body.len() as u64)
                .replace("application/json", "application/wasm")
                .into_bytes();
            request.extend_from_slice(body);
            let reply = wire.ask(&request).await;
            target.tally.count("uploads", name, reply.as_ref());
        }
        if path == "/plugins/evil"
            && let Some(mut wire) = Wire::open(target.server, number).await
        {
            let reply = wire.ask(head("DELETE", path, key, 0).as_bytes()).await;
            target.tally.count("uploads", name, reply.as_ref());
        }
        sleep(LARGE_PACE).await;
    }
}

/// Asks for a stream or for many long answers, and reads nothing.
async fn unread(target: Target, number: usize, path: &str) {
    let request = get(path, &target.keys.tenant).repeat(if path == "/events" { 1 } else { 200 });
    loop {
        if let Some(mut wire) = Wire::open(target.server, number).await {
            wire.send(request.as_bytes()).await;
            // As long as the server bears it; a byte is refused once it has closed.
            while wire.send(b"\r").await {
                sleep(BYTE_PACE * 10).await;
            }
        }
        sleep(BYTE_PACE).await;
    }
}

/// Sends requests that no library sends.
async fn play_tricks(target: Target, number: usize) {
    let tricks = tricks::all(&target.keys.tenant);
    for turn in number * 7.. {
        let (name, request) = &tricks[turn % tricks.len()];
        if let Some(mut wire) = Wire::open(target.server, number).await {
            let reply = wire.ask(request).await;
            target.tally.count("tricks", name, reply.as_ref());
        }
        sleep(FLOOD_PACE).await;
    }
}

fn get(path: &str, key: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\r\n")
}

fn head(method: &str, path: &str, key: &str, length: u64) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}
