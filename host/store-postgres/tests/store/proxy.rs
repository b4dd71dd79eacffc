//! A server between host and database, which cuts connections around a commit, or at any message.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use wasmill_store::Store;
use wasmill_store_suite::Fixture;
use wasmill_store_suite::fixture::at;

use crate::cluster::{Schema, start};

/// What the proxy does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    Pass,
    /// Cuts the next connection that commits; the server never gets the commit.
    CutBeforeCommit,
    /// Cuts the next connection that commits, once the server has answered; the host never gets the answer.
    CutAfterCommit,
    /// As before, and accepts no connection then.
    CutAfterCommitAndRefuse,
    /// Cuts every connection, and accepts none.
    Refuse,
    /// Carries nothing more of the next connection that commits, as if its host were stopped.
    StopBeforeCommit,
    /// Carries everything but notifications, as a pooler does.
    DropNotifications,
}

const MODES: [Mode; 7] = [
    Mode::Pass,
    Mode::CutBeforeCommit,
    Mode::CutAfterCommit,
    Mode::CutAfterCommitAndRefuse,
    Mode::Refuse,
    Mode::StopBeforeCommit,
    Mode::DropNotifications,
];

/// The message of the writer, which sends it alone.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// The kind of a message with a notification.
const NOTIFICATION: u8 = b'A';

/// In the first message of a write connection.
const OF_WRITER: &[u8] = b"wasmill writer";

/// A store whose connections go through a proxy.
pub(crate) struct Bed {
    pub(crate) schema: Schema,
    pub(crate) proxy: Proxy,
    pub(crate) store: Store,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let schema = Schema::new();
        let proxy = Proxy::start(schema.folder());
        let store = start(schema.config(&proxy.url(), "one"), at(0)).0;
        Self { schema, proxy, store }
    }
}

/// A proxy on a thread of its own.
pub(crate) struct Proxy {
    port: u16,
    line: Line,
}

impl Proxy {
    /// Starts a proxy of the server whose socket is in this folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let socket = folder.join(".s.PGSQL.5432");
        let (sender, receiver) = std::sync::mpsc::channel();
        let line = Line::default();
        let of_thread = line.clone();
        std::thread::spawn(move || {
            let line = of_thread;
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                sender.send(listener.local_addr().expect("it is bound").port()).expect("the test waits");
                loop {
                    let (host, _) = listener.accept().await.expect("a connection");
                    if line.mode() != Mode::Refuse {
                        // A server that restarts refuses.
                        let Ok(server) = UnixStream::connect(&socket).await else { continue };
                        tokio::spawn(line.clone().carry(host, server));
                    }
                }
            });
        });
        Self { port: receiver.recv().expect("the proxy started"), line }
    }

    /// Returns the URL of a database behind it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://wasmill@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.line.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Cuts the write connection instead of carrying its next message but this many, of either side.
    pub(crate) fn cut_at(&self, message: i64) {
        self.line.messages_left.store(message, Ordering::SeqCst);
    }

    /// Returns how many connections were cut around a commit, or at a message.
    pub(crate) fn cuts(&self) -> u32 {
        self.line.cuts.load(Ordering::SeqCst)
    }

    /// Returns how many notifications were dropped.
    pub(crate) fn dropped(&self) -> u32 {
        self.line.dropped.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
struct Line {
    mode: Arc<AtomicU8>,
    cuts: Arc<AtomicU32>,
    dropped: Arc<AtomicU32>,
    /// How many messages of write connections are carried before one is cut; negative for no end.
    messages_left: Arc<AtomicI64>,
}

impl Default for Line {
    fn default() -> Self {
        let (mode, cuts, dropped) = (Arc::default(), Arc::default(), Arc::default());
        Self { mode, cuts, dropped, messages_left: Arc::new(AtomicI64::new(-1)) }
    }
}

impl Line {
    fn mode(&self) -> Mode {
        MODES[usize::from(self.mode.load(Ordering::SeqCst))]
    }

    fn cut(&self, next: Mode) {
        self.mode.store(next as u8, Ordering::SeqCst);
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts a message of a write connection; true if the connection is cut before it.
    fn is_cut_at_message(&self) -> bool {
        let left = self.messages_left.load(Ordering::SeqCst);
        if left >= 0 {
            self.messages_left.fetch_sub(1, Ordering::SeqCst);
        }
        if left == 0 {
            self.cuts.fetch_add(1, Ordering::SeqCst);
        }
        left == 0
    }

    /// Carries messages both ways until one side closes or the connection is cut.
    async fn carry(self, mut host: TcpStream, mut server: UnixStream) {
        // It writes message by message, and nobody should wait for the next one.
        host.set_nodelay(true).expect("a socket");
        let (mut from_host, mut from_server) = (Messages::default(), Messages::default());
        from_server.has_begun = true;
        let mut is_of_writer = false;
        loop {
            tokio::select! {
                read = host.read_buf(&mut from_host.bytes) => {
                    if read.ok().is_none_or(|read| read == 0) {
                        return;
                    }
                    while let Some(message) = from_host.next() {
                        is_of_writer |= contains(&message, OF_WRITER);
                        let mode = self.mode();
                        let is_commit = message == COMMIT;
                        if is_commit && mode == Mode::CutBeforeCommit {
                            return self.cut(Mode::Pass);
                        }
                        if is_of_writer && self.is_cut_at_message() {
                            return;
                        }
                        if is_commit && mode == Mode::StopBeforeCommit {
                            self.cut(Mode::Pass);
                            // Until the server ends it.
                            let _ = tokio::io::copy(&mut server, &mut tokio::io::sink()).await;
                            return;
                        }
                        if server.write_all(&message).await.is_err() {
                            return;
                        }
                        if is_commit && matches!(mode, Mode::CutAfterCommit | Mode::CutAfterCommitAndRefuse) {
                            let _ = server.read_buf(&mut from_server.bytes).await;
                            let next = if mode == Mode::CutAfterCommit { Mode::Pass } else { Mode::Refuse };
                            return self.cut(next);
                        }
                    }
                }
                read = server.read_buf(&mut from_server.bytes) => {
                    if read.ok().is_none_or(|read| read == 0) {
                        return;
                    }
                    while let Some(message) = from_server.next() {
                        if is_of_writer && self.is_cut_at_message() {
                            return;
                        }
                        if self.mode() == Mode::DropNotifications && message.first() == Some(&NOTIFICATION) {
                            self.dropped.fetch_add(1, Ordering::SeqCst);
                            continue;
                        }
                        if host.write_all(&message).await.is_err() {
                            return;
                        }
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            if self.mode() == Mode::Refuse {
                return;
            }
        }
    }
}

/// The messages of one side.
#[derive(Default)]
struct Messages {
    bytes: Vec<u8>,
    /// Whether the message was seen with which a host begins, and which has no kind.
    has_begun: bool,
}

impl Messages {
    /// Takes the next message that is complete.
    fn next(&mut self) -> Option<Vec<u8>> {
        let kind = usize::from(self.has_begun);
        let length: [u8; 4] = self.bytes.get(kind..kind + 4)?.try_into().expect("four bytes");
        let end = kind + u32::from_be_bytes(length) as usize;
        if self.bytes.len() < end {
            return None;
        }
        self.has_begun = true;
        let rest = self.bytes.split_off(end);
        Some(std::mem::replace(&mut self.bytes, rest))
    }
}

fn contains(message: &[u8], part: &[u8]) -> bool {
    message.windows(part.len()).any(|window| window == part)
}
